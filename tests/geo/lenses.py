"""Lenses and points for the camera tests."""

from __future__ import annotations

import numpy as np

# Of a DJI FC6310R, as OpenSfM found them, and made stronger step by step.
BROWN5 = (-0.2640629, 0.1018893, 0.00073459, 0.00025952, -0.02581956)
RATIONAL8 = (0.41, 0.12, -0.0011, 0.0007, 0.031, 0.72, 0.33, 0.052)
PRISM12 = (*RATIONAL8, 0.0011, -0.0003, -0.0008, 0.0002)
TILTED14 = (*PRISM12, 0.012, -0.021)
OPENCV = {
    0: (),
    4: BROWN5[:4],
    5: BROWN5,
    8: RATIONAL8,
    12: PRISM12,
    14: TILTED14,
}


def edges(size, count=33):
    """(2, N) pixels of a grid over the image, its outer edges and corners included."""
    width, height = size
    cols, rows = np.meshgrid(
        np.linspace(-0.5, width - 0.5, count), np.linspace(-0.5, height - 0.5, count)
    )
    return np.stack([cols.ravel(), rows.ravel()])


def away(camera, rays, seed=0, near=1.0, far=200.0):
    """(3, N) points at random distances on rays."""
    distance = np.random.default_rng(seed).uniform(near, far, rays.shape[1])
    return camera.position[:, None] + rays * distance
