"""Discs, rings and fans about a place, in a metric frame, and which way a fan opens."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from shapely.geometry import Polygon

from attachtrans.errors import HorizonError
from attachtrans.geo.camera import Camera, TurnedCamera

Floats = NDArray[np.float64]

_SAMPLES = 129
STEP_DEG = 2.0
"""Of arcs: the chord lies 1.5e-4 of the radius inside."""


def disc(centre: ArrayLike, radius_m: float, near_m: float = 0.0) -> Polygon:
    """All within a radius of (x, y), or the ring from `near_m` on."""
    bearings = np.arange(0.0, 360.0, STEP_DEG)
    holes = [_arc(centre, near_m, bearings)] if near_m > 0.0 else []
    return Polygon(_arc(centre, radius_m, bearings), holes)


def fan(
    centre: ArrayLike, bearings_deg: tuple[float, float], near_m: float, far_m: float
) -> Polygon:
    """What lies between two bearings (clockwise from the y axis, the second the larger one)."""
    first, last = bearings_deg
    if last - first >= 360.0:
        return disc(centre, far_m, near_m)
    bearings = np.linspace(first, last, 2 + int((last - first) / STEP_DEG))
    inner = _arc(centre, near_m, bearings[::-1] if near_m > 0.0 else bearings[:1])
    return Polygon(np.concatenate([_arc(centre, far_m, bearings), inner]))


def bearings_deg(eye: Camera) -> tuple[float, float]:
    """Left and right end of the horizontal field of view, clockwise from the frame's y axis.

    It is that of the image's middle row, or of its middle column where the camera lies on its
    side, about the camera's own upright axis.

    Raises:
        HorizonError: the lens has no rays there.
    """
    camera = eye.upright if isinstance(eye, TurnedCamera) else eye
    rotation = camera.rotation
    across = 0 if abs(rotation[2, 0]) <= abs(rotation[2, 1]) else 1
    pixels = 0.5 * np.array(camera.size, dtype=np.float64)[:, None].repeat(_SAMPLES, axis=1)
    pixels[across] = np.linspace(0.0, camera.size[across], _SAMPLES)
    directions = rotation.T @ camera.rays(pixels - 0.5)
    directions = directions[:, np.isfinite(directions).all(axis=0)]
    if not directions.size:
        raise HorizonError("the lens has no rays in the middle of the image")
    # The axis that lies level, turned to the right of who looks along with the camera.
    forward = rotation[:, 2]
    sign = -1.0 if rotation[0, across] * forward[1] < rotation[1, across] * forward[0] else 1.0
    right = sign * rotation[:, across]
    heading = np.rad2deg(np.arctan2(-right[1], right[0]))
    angles = np.rad2deg(np.unwrap(np.arctan2(sign * directions[across], directions[2])))
    return float(heading + angles.min()), float(heading + angles.max())


def _arc(centre: ArrayLike, radius_m: float, bearings_deg: Floats) -> Floats:
    """(N, 2) places at bearings."""
    angles = np.deg2rad(bearings_deg)
    return np.asarray(centre) + radius_m * np.stack([np.sin(angles), np.cos(angles)], axis=1)
