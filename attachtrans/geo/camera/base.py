"""What every camera answers, and what their constructors check.

Rays and projections of a camera are exact inverses of each other, vectorised, in float64. Where a
lens sees nothing (behind the camera, beyond the fold of its distortion) the answer is nan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attachtrans.errors import ArgumentError
from attachtrans.geo.rotation import nearest_rotation
from attachtrans.types import Size

Floats = NDArray[np.float64]

AXIS = 1e-15
"""Tangent of the angle up to which a direction is that of an axis, but for rounding."""


class Camera(Protocol):
    """Pixels <-> directions in the world. Pixel (0, 0) is the CENTRE of the first pixel.

    size      of the image, in pixels: its edges are at -0.5 and width - 0.5
    rotation  (3, 3): camera axes (x right, y down, z forward) -> world
    position  (3,): the perspective centre in the world, metres
    """

    @property
    def size(self) -> Size: ...

    @property
    def rotation(self) -> Floats: ...

    @property
    def position(self) -> Floats: ...

    def project(self, xyz: Floats) -> Floats:
        """(3, N) world points -> (2, N) pixels, also outside the image; nan where not seen."""
        ...

    def rays(self, pixels: Floats) -> Floats:
        """(2, N) pixels -> (3, N) unit directions in the world; nan where the lens has none."""
        ...

    def resized(self, size: Size) -> Self:
        """The camera of the same picture with another number of pixels."""
        ...

    def posed(self, rotation: ArrayLike, position: ArrayLike) -> Self:
        """The same camera looking another way from another place."""
        ...


def checked_size(size: Sequence[int]) -> Size:
    """`size` as a Size.

    Raises:
        ArgumentError: not two numbers of at least 1.
    """
    if len(size) != 2 or min(size) < 1:
        raise ArgumentError(f"an image size is (width, height) of at least 1, not {tuple(size)}")
    return Size(int(size[0]), int(size[1]))


def checked_pose(rotation: ArrayLike, position: ArrayLike) -> tuple[Floats, Floats]:
    """A rotation (3, 3) and a position (3,), both read-only.

    Raises:
        ArgumentError: not a rotation, not a finite position.
    """
    turn, place = nearest_rotation(rotation), np.array(position, dtype=np.float64)
    if place.shape != (3,) or not np.isfinite(place).all():
        raise ArgumentError(f"a camera position is a finite (x, y, z), not {place.tolist()}")
    turn.flags.writeable = place.flags.writeable = False
    return turn, place


def columns(points: ArrayLike, rows: int) -> Floats:
    """`points` as float64 of shape (rows, N).

    Raises:
        ArgumentError: another shape.
    """
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != rows:
        raise ArgumentError(f"points are an array ({rows}, N), not one of shape {values.shape}")
    return values


def ratios(size: Size, other: Size) -> tuple[float, float]:
    """(horizontal, vertical) factor from `size` to `other`."""
    return other.width / size.width, other.height / size.height


def scaled_px(place: float, factor: float) -> float:
    """A coordinate that counts from a pixel's centre, in an image `factor` times as large."""
    return (place + 0.5) * factor - 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelPlane:
    """Between a lens's normalised plane and pixels: focal lengths, shear, principal point.

    col = fx x + shear_x y + cx,  row = shear_y x + fy y + cy
    """

    focal_px: tuple[float, float]
    shear_px: tuple[float, float]
    centre_px: tuple[float, float]

    def __post_init__(self) -> None:
        for name in ("focal_px", "shear_px", "centre_px"):
            pair = tuple(float(value) for value in getattr(self, name))
            if len(pair) != 2 or not np.isfinite(pair).all():
                raise ArgumentError(f"{name} is two finite numbers (x, y), not {pair}")
            object.__setattr__(self, name, pair)
        (fx, fy), (sx, sy) = self.focal_px, self.shear_px
        if fx * fy <= sx * sy or fx <= 0.0:
            raise ArgumentError(
                f"focal_px {self.focal_px} with shear_px {self.shear_px}: focal lengths are "
                "positive, in pixels, and the picture is not mirrored"
            )

    def pixels(self, plane: Floats) -> Floats:
        """(2, N) normalised -> (2, N) pixels."""
        x, y = plane
        (fx, fy), (sx, sy), (cx, cy) = self.focal_px, self.shear_px, self.centre_px
        if not (sx or sy):
            return np.stack([fx * x + cx, fy * y + cy])
        return np.stack([fx * x + sx * y + cx, sy * x + fy * y + cy])

    def plane(self, pixels: Floats) -> Floats:
        """(2, N) pixels -> (2, N) normalised."""
        (fx, fy), (sx, sy) = self.focal_px, self.shear_px
        u, v = pixels[0] - self.centre_px[0], pixels[1] - self.centre_px[1]
        area = fx * fy - sx * sy
        return np.stack([(fy * u - sx * v) / area, (fx * v - sy * u) / area])

    def scaled(self, across: float, down: float) -> PixelPlane:
        """For an image that many times as wide and as high."""
        (fx, fy), (sx, sy), (cx, cy) = self.focal_px, self.shear_px, self.centre_px
        return PixelPlane(
            focal_px=(fx * across, fy * down),
            shear_px=(sx * across, sy * down),
            centre_px=(scaled_px(cx, across), scaled_px(cy, down)),
        )


def into_camera(camera: Camera, xyz: ArrayLike) -> Floats:
    """(3, N) world points -> (3, N) in camera axes, metres."""
    return camera.rotation.T @ (columns(xyz, 3) - camera.position[:, None])


def into_world(camera: Camera, directions: Floats) -> Floats:
    """(3, N) directions in camera axes -> (3, N) of length 1 in the world."""
    turned: Floats = camera.rotation @ directions
    turned /= np.linalg.norm(turned, axis=0)
    return turned
