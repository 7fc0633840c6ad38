"""Photos of the town by ray casting: each pixel's parts are followed to the ground one by one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attachtrans.geo.camera import Camera
from attachtrans.geo.ground import GroundStatus
from fixture_parts import town
from fixture_parts.colours import colours, far_colours
from fixture_parts.scenes import Pixels, Plane, sky
from fixture_parts.town import Floats

ROWS = 24
"""Rendered at a time."""


def photo(camera: Camera, *, parts: int = 2, seed: int = 0) -> Pixels:
    """What a camera in UTM sees, (height, width, 3).

    Args:
        camera: above the quarter.
        parts: a pixel is the mean of parts x parts rays.
        seed: of the clouds and of the sensor's noise.
    """
    width, height = camera.size
    rng = np.random.default_rng(seed)
    heaven = sky(rng, height, width)
    picture = np.empty((height, width, 3), np.float32)
    inner = (np.arange(parts) + 0.5) / parts - 0.5
    cols = (np.arange(width)[:, None] + inner).ravel()
    for top in range(0, height, ROWS):
        rows = (np.arange(top, min(top + ROWS, height))[:, None] + inner).ravel()
        pixels = np.stack([np.tile(cols, rows.size), np.repeat(rows, cols.size)])
        seen = _look(camera, pixels)
        blind = np.flatnonzero(np.isnan(seen[:, 0]))
        places = np.clip(np.rint(pixels[:, blind]).astype(int), 0, [[width - 1], [height - 1]])
        seen[blind] = heaven[places[1], places[0]]
        shape = rows.size // parts, parts, width, parts, 3
        picture[top : top + ROWS] = seen.reshape(shape).mean(axis=(1, 3))
    noisy = picture + rng.normal(0.0, 1.2, picture.shape)
    return np.clip(noisy + 0.5, 0, 255).astype(np.uint8)


def _look(camera: Camera, pixels: Floats) -> Plane:
    """(N, 3) colours along pixels' rays, nan for the sky."""
    rays = camera.rays(pixels)
    found = np.full((pixels.shape[1], 3), np.nan, np.float32)
    left = np.arange(pixels.shape[1])
    for ground, shown in ((town.ground(), colours), (town.backdrop(), far_colours)):
        points, status = ground.intersect(camera.position, rays[:, left])
        hit = status == GroundStatus.HIT
        away = np.linalg.norm(points[:, hit] - camera.position[:, None], axis=0)
        if hit.any():
            found[left[hit]] = shown(points[:, hit], away)
        left = left[~hit]
        if not left.size:
            break
    return found


def map_picture(step_m: float, *, parts: int = 2) -> Pixels:
    """The quarter from straight above, north up: what an ortho shows that sees everything."""
    u, v = town.grid(step_m / parts)
    places = np.stack([u.ravel() + town.CORNER[0], v.ravel() + town.CORNER[1]])
    heights: NDArray[np.float64] = town.ground().height(places)
    # Beyond the outermost cells' centres the surface ends; colours go on.
    heights = np.where(np.isfinite(heights), heights, town.terrain(u.ravel(), v.ravel()))
    seen = colours(np.stack([*places, heights]), np.full(heights.size, 1000.0))
    count = u.shape[0] // parts
    mean = seen.reshape(count, parts, count, parts, 3).mean(axis=(1, 3))
    return np.clip(mean + 0.5, 0, 255).astype(np.uint8)
