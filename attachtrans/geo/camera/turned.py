"""A camera of pixels that are stored turned or mirrored (EXIF Orientation).

Photos stay in stored order. A compass or a gimbal speaks of the upright picture, so its camera is
built upright and turned here; cameras from image matching speak of stored pixels already.

Source: EXIF 2.32, tag 0x0112.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attachtrans.errors import ArgumentError
from attachtrans.geo.camera.base import Camera, columns
from attachtrans.types import Size

Floats = NDArray[np.float64]

# Orientation -> (columns and rows are swapped, stored columns run backwards, stored rows do),
# from upright to stored.
_TURNS = MappingProxyType(
    {
        1: (False, False, False),
        2: (False, True, False),
        3: (False, True, True),
        4: (False, False, True),
        5: (True, False, False),
        6: (True, False, True),
        7: (True, True, True),
        8: (True, True, False),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TurnedCamera:
    """Another camera's picture as it is stored under an EXIF Orientation.

    upright      the camera of the picture as it is looked at
    orientation  1 to 8: row 0 and column 0 of the stored picture are, looked at, its
                 1 top, left  2 top, right  3 bottom, right  4 bottom, left
                 5 left, top  6 right, top  7 right, bottom  8 left, bottom
    """

    upright: Camera
    orientation: int

    def __post_init__(self) -> None:
        if self.orientation not in _TURNS:
            raise ArgumentError(f"an EXIF orientation is 1 to 8, not {self.orientation}")

    @property
    def size(self) -> Size:
        """Of the stored picture."""
        width, height = self.upright.size
        return Size(height, width) if _TURNS[self.orientation][0] else Size(width, height)

    @property
    def rotation(self) -> Floats:
        """Of the upright picture: heading, pitch and roll are those that a viewer sees."""
        return self.upright.rotation

    @property
    def position(self) -> Floats:
        return self.upright.position

    def project(self, xyz: ArrayLike) -> Floats:
        """(3, N) world points -> (2, N) stored pixels; nan where not seen."""
        return self._stored(self.upright.project(columns(xyz, 3)))

    def rays(self, pixels: ArrayLike) -> Floats:
        """(2, N) stored pixels -> (3, N) unit directions in the world; nan where none."""
        return self.upright.rays(self._looked_at(columns(pixels, 2)))

    def resized(self, size: Size) -> Self:
        """The camera of the same picture at another (stored) size."""
        swapped = _TURNS[self.orientation][0]
        upright = Size(size[1], size[0]) if swapped else Size(*size)
        return replace(self, upright=self.upright.resized(upright))

    def posed(self, rotation: ArrayLike, position: ArrayLike) -> Self:
        """The same camera with another rotation of the upright picture, at another position."""
        return replace(self, upright=self.upright.posed(rotation, position))

    def _stored(self, pixels: Floats) -> Floats:
        swapped, *backwards = _TURNS[self.orientation]
        placed = pixels[::-1] if swapped else pixels
        return self._mirrored(placed, backwards)

    def _looked_at(self, pixels: Floats) -> Floats:
        swapped, *backwards = _TURNS[self.orientation]
        placed = self._mirrored(pixels, backwards)
        return placed[::-1] if swapped else placed

    def _mirrored(self, pixels: Floats, backwards: list[bool]) -> Floats:
        last = np.array(self.size, dtype=np.float64)[:, None] - 1.0
        return np.where(np.array(backwards)[:, None], last - pixels, pixels)
