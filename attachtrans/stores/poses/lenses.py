"""The insides of cameras as tables give them: at the origin, of the size that the table speaks of.

Some know a field of view alone, and no size: their lens fits whatever picture comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np

from attachtrans.errors import ArgumentError
from attachtrans.geo.camera import Camera, FisheyeCamera, PanoramaCamera, PerspectiveCamera
from attachtrans.geo.camera.base import checked_size
from attachtrans.geo.camera.fisheye import AngleSeries
from attachtrans.geo.camera.lens import LensCamera
from attachtrans.geo.distortion import Distortion
from attachtrans.types import Size

L = TypeVar("L", bound=LensCamera[Any])

_NOMINAL = 1000
"""Pixels; `resized` gives the real ones."""
_ALL_AROUND_DEG = 360.0
_WIDEST_DEG = 175.0
"""Fields of view above belong to fisheyes, whose picture is no central projection."""


@dataclass(frozen=True, slots=True, eq=False)
class SquarePixelCamera(PerspectiveCamera):
    """A pinhole with one angle of view: whatever the picture's size, its pixels are square.

    by_height  the angle is that of the height, else of the width
    """

    by_height: bool = False

    def resized(self, size: Size) -> Self:
        """The camera of that angle of view with a picture of that size, middle to middle."""
        size = checked_size(size)
        side = 1 if self.by_height else 0
        focal = self.focal_px[side] * size[side] / self.size[side]
        return replace(
            self,
            size=size,
            focal_px=(focal, focal),
            centre_px=middle_px(size),
        )


def pinhole(
    size: Size,
    focal_px: tuple[float, float],
    centre_px: tuple[float, float] | None = None,
    distortion: Sequence[float] | Distortion = (),
) -> PerspectiveCamera:
    """A pinhole with a lens, at the origin; the principal point in the middle if not given."""
    return _at_origin(PerspectiveCamera, size, focal_px, centre_px, distortion)


def fisheye(
    size: Size,
    focal_px: tuple[float, float],
    centre_px: tuple[float, float] | None = None,
    distortion: Sequence[float] | AngleSeries = (),
) -> FisheyeCamera:
    """A fisheye, at the origin; the principal point in the middle if not given."""
    return _at_origin(FisheyeCamera, size, focal_px, centre_px, distortion)


def _at_origin(
    kind: type[L],
    size: Size,
    focal_px: tuple[float, float],
    centre_px: tuple[float, float] | None,
    distortion: Any,
) -> L:
    return kind(
        size,
        focal_px=focal_px,
        centre_px=middle_px(size) if centre_px is None else centre_px,
        distortion=distortion,
        rotation=np.eye(3),
        position=np.zeros(3),
    )


def panorama(size: Size | None = None) -> PanoramaCamera:
    """An image all around, at the origin."""
    whole = size or Size(2 * _NOMINAL, _NOMINAL)
    return PanoramaCamera(whole, rotation=np.eye(3), position=np.zeros(3))


def has_own_size(camera: Camera) -> bool:
    """Whether a lens knows the shape of its picture; fields of view and panoramas fit any."""
    anything = isinstance(camera, SquarePixelCamera | PanoramaCamera)
    return not anything and camera.size != Size(_NOMINAL, _NOMINAL)


def middle_px(size: Size) -> tuple[float, float]:
    """The middle of an image, counted from the CENTRE of its first pixel."""
    return 0.5 * (size.width - 1), 0.5 * (size.height - 1)


def lens_of_view(across_deg: float | None, down_deg: float | None) -> Camera | None:
    """The lens of the fields of view that a table gives; None where it gives neither.

    360 degrees across are a panorama.

    Raises:
        ArgumentError: as `fov_camera`.
    """
    if across_deg == _ALL_AROUND_DEG:
        return panorama()
    return fov_camera(across_deg, down_deg) if across_deg or down_deg else None


def fov_camera(across_deg: float | None, down_deg: float | None) -> PerspectiveCamera:
    """The lens, at the origin, of a horizontal and a vertical field of view, or of one of them.

    Raises:
        ArgumentError: neither is given, or one is not above 0 and below 175 degrees.
    """
    size = Size(_NOMINAL, _NOMINAL)
    if across_deg is not None and down_deg is not None:
        return pinhole(size, (_focal_px(across_deg), _focal_px(down_deg)))
    angle = across_deg if down_deg is None else down_deg
    if angle is None:
        raise ArgumentError("a field of view is wanted, horizontal or vertical")
    focal = _focal_px(angle)
    return square_pixels(pinhole(size, (focal, focal)), by_height=across_deg is None)


def square_pixels(camera: PerspectiveCamera, *, by_height: bool) -> SquarePixelCamera:
    """A pinhole of which only one angle of view counts."""
    return SquarePixelCamera(
        camera.size,
        focal_px=camera.focal_px,
        centre_px=camera.centre_px,
        rotation=camera.rotation,
        position=camera.position,
        by_height=by_height,
    )


def _focal_px(angle_deg: float) -> float:
    """Of the nominal size."""
    if not 0.0 < angle_deg < _WIDEST_DEG:
        raise ArgumentError(
            f"a field of view of {angle_deg:g} degrees is no pinhole's: above 0 and below "
            f"{_WIDEST_DEG:g} is; give the lens with --camera FILE"
        )
    return float(0.5 * _NOMINAL / np.tan(np.deg2rad(angle_deg) / 2.0))
