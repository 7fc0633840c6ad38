"""The equirectangular panorama: columns are longitudes, rows are latitudes.

Source: Google's GPano metadata page (FullPano*, CroppedArea*).
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attachtrans.errors import ArgumentError
from attachtrans.geo.camera.base import (
    AXIS,
    checked_pose,
    checked_size,
    columns,
    into_camera,
    into_world,
    ratios,
)
from attachtrans.types import Size

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PanoramaCamera:
    """A sphere, or a part of one, unrolled: the middle of the whole looks forward.

    In camera axes a pixel's longitude is 2 pi ((col + 0.5)/W - 0.5), to the right, its latitude
    pi (0.5 - (row + 0.5)/H), upwards, with col and row counted on the whole panorama W x H.

    size          (width, height) of the image
    rotation      (3, 3) of the whole panorama's middle: axes right, down, forward -> world;
                  `pose_matrix("gpano", (heading, pitch, roll))`
    position      (x, y, z), metres
    full_size_px  (W, H) of the whole panorama; None: the image is whole
    offset_px     (left, top) of the image on it

    Raises:
        ArgumentError: a value that no panorama has; the message names it.
    """

    size: Size
    _: KW_ONLY
    rotation: Floats
    position: Floats
    full_size_px: tuple[float, float] | None = None
    offset_px: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        size = checked_size(self.size)
        rotation, position = checked_pose(self.rotation, self.position)
        full = tuple(float(value) for value in self.full_size_px or size)
        offset = tuple(float(value) for value in self.offset_px)
        if len(full) != 2 or len(offset) != 2 or not np.isfinite([*full, *offset]).all():
            raise ArgumentError(f"full_size_px {full} and offset_px {offset} are finite pairs")
        if size.width > full[0] or size.height > full[1]:
            raise ArgumentError(f"an image of {size} is larger than its whole panorama {full}")
        if offset[1] < 0.0 or offset[1] + size.height > full[1]:
            raise ArgumentError(
                f"rows {offset[1]} to {offset[1] + size.height} lie outside the whole panorama's "
                f"{full[1]}"
            )
        for name, value in (
            ("size", size),
            ("rotation", rotation),
            ("position", position),
            ("full_size_px", full),
            ("offset_px", offset),
        ):
            object.__setattr__(self, name, value)

    @property
    def whole_px(self) -> tuple[float, float]:
        """(W, H) of the whole panorama."""
        return self.full_size_px or (float(self.size.width), float(self.size.height))

    def project(self, xyz: ArrayLike) -> Floats:
        """(3, N) world points -> (2, N) pixels; nan at the camera itself.

        Of the columns that are a whole turn apart, the one next to the image's middle is given.
        """
        x, y, z = into_camera(self, xyz)
        width, height = self.whole_px
        across = np.hypot(x, z)
        # At the poles the longitude is what rounding makes of it: the middle's is taken.
        poles = across <= AXIS * np.abs(y)
        longitude = np.where(poles, 0.0, np.arctan2(x, z))
        longitude[(across == 0.0) & (y == 0.0)] = np.nan
        col = (longitude / (2.0 * np.pi) + 0.5) * width - 0.5 - self.offset_px[0]
        row = (0.5 + np.arctan2(y, across) / np.pi) * height - 0.5 - self.offset_px[1]
        first = 0.5 * (self.size.width - 1 - width)
        return np.stack([np.mod(col - first, width) + first, row])

    def rays(self, pixels: ArrayLike) -> Floats:
        """(2, N) pixels -> (3, N) unit directions in the world; nan above and below the poles."""
        col, row = columns(pixels, 2)
        width, height = self.whole_px
        longitude = 2.0 * np.pi * ((col + self.offset_px[0] + 0.5) / width - 0.5)
        latitude = np.pi * (0.5 - (row + self.offset_px[1] + 0.5) / height)
        # The outermost edges may miss the poles by a rounding.
        latitude = np.where(np.abs(latitude) <= 0.5 * np.pi * (1.0 + 1e-12), latitude, np.nan)
        level = np.cos(latitude)
        directions = np.stack(
            [level * np.sin(longitude), -np.sin(latitude), level * np.cos(longitude)]
        )
        return into_world(self, directions)

    def resized(self, size: Size) -> Self:
        """The camera of the same picture at another size; the ratio is taken per axis."""
        size = checked_size(size)
        across, down = ratios(self.size, size)
        width, height = self.whole_px
        return replace(
            self,
            size=size,
            full_size_px=(width * across, height * down),
            offset_px=(self.offset_px[0] * across, self.offset_px[1] * down),
        )

    def posed(self, rotation: ArrayLike, position: ArrayLike) -> Self:
        """The same panorama with another rotation (3, 3) at another position (3,)."""
        return replace(self, rotation=np.asarray(rotation), position=np.asarray(position))
