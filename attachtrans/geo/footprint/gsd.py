"""How much ground the pixel at an image's centre covers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attachtrans.geo.footprint.probe import CameraProbe
from attachtrans.geo.frame import LocalFrame, horizontal
from attachtrans.geo.ground import FlatGround
from attachtrans.geo.view import Georef
from attachtrans.types import Size

Floats = NDArray[np.float64]

# Of a pixel, from its middle, in the order of a ring.
_CORNERS = 0.5 * np.array([[-1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, 1.0]])


def camera_gsd_m(probe: CameraProbe, size: Size) -> float | None:
    """The square root of what the central pixel covers of level ground where it meets it."""
    place = probe.eye.position
    rays = probe.eye.rays(_centre(size) + _CORNERS - 0.5)
    level = probe.surface
    if not isinstance(level, FlatGround):
        ray = probe.eye.rays(_centre(size) - 0.5)
        points, _ = level.intersect(place, ray, skip_m=probe.skip_m, far_m=probe.far_m)
        if not np.isfinite(points).all():
            return None
        level = FlatGround(float(points[2, 0]), earth_radius_m=probe.level.earth_radius_m)
    placed, _ = level.intersect(place, rays, far_m=probe.far_m)
    area = _area(placed[:2])
    return float(np.sqrt(area)) if np.isfinite(area) else None


def map_gsd_m(georef: Georef) -> float | None:
    """The square root of what the central pixel covers, in metres."""
    placed = georef.pixel_to_map(_centre(georef.size) + _CORNERS)
    if not np.isfinite(placed).all():
        return None
    frame = LocalFrame.at(horizontal(georef.crs), placed.mean(axis=1))
    metres = frame.from_source(np.stack([*placed, np.zeros(4)]))
    area = _area(metres[:2])
    return float(np.sqrt(area)) if np.isfinite(area) else None


def _centre(size: Size) -> Floats:
    return 0.5 * np.array([[size[0]], [size[1]]], dtype=np.float64)


def _area(corners: Floats) -> float:
    """Of a (2, 4) quadrangle: half the product of its diagonals."""
    (x1, y1), (x2, y2) = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    return 0.5 * abs(float(x1 * y2 - y1 * x2))
