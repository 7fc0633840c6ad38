"""How sure the place of a footprint is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attachtrans.geo.footprint.make import grid_pixels, ground_level
from attachtrans.geo.ground import FlatGround
from attachtrans.geo.pose import Accuracy
from attachtrans.geo.rotation import pose_angles, pose_matrix
from attachtrans.geo.view import CameraView

Floats = NDArray[np.float64]


def position_sigma_m(view: CameraView, accuracy: Accuracy) -> float | None:
    """The standard deviation of where the middle of the ground in view lies, in metres.

    Position and angles are moved by one standard deviation each way, over level ground at the
    height of that place; what comes of them is added as independent. The result is the larger
    half axis of the error ellipse. Deviations that the source does not state count as none, so
    that it is a lower bound.

    Returns:
        None where nothing is stated, where the view shows no ground, and where a deviation lifts
        it above the horizon.
    """
    deviations = (
        accuracy.xy_m,
        accuracy.xy_m,
        accuracy.z_m,
        accuracy.heading_deg,
        accuracy.pitch_deg,
        accuracy.roll_deg,
    )
    if all(value is None for value in deviations) or (middle := _middle(view)) is None:
        return None
    pixel, z = middle
    level = FlatGround(z, earth_radius_m=ground_level(view).earth_radius_m)
    steps = np.diag([value or 0.0 for value in deviations])
    place = np.array([*view.eye.position, *pose_angles("hpr", view.eye.rotation)])

    def seen(parameters: Floats) -> Floats:
        eye = view.eye.posed(pose_matrix("hpr", parameters[3:]), parameters[:3])
        points, _ = level.intersect(eye.position, eye.rays(pixel - 0.5))
        return points[:2, 0]

    moves = np.stack([0.5 * (seen(place + step) - seen(place - step)) for step in steps], axis=1)
    if not np.isfinite(moves).all():
        return None
    return float(np.linalg.svd(moves, compute_uv=False)[0])


def _middle(view: CameraView) -> tuple[Floats, float] | None:
    """(2, 1) the pixel in the middle of those that show ground, and the height there."""
    pixels = grid_pixels(view.size)
    points, _ = view.look(pixels)
    shows = np.flatnonzero(np.isfinite(points).all(axis=0))
    if not shows.size:
        return None
    off = pixels[:, shows] - pixels[:, shows].mean(axis=1, keepdims=True)
    nearest = shows[np.argmin((off**2).sum(axis=0))]
    return pixels[:, [nearest]], float(points[2, nearest])
