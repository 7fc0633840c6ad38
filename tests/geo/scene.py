"""Scenes that are rendered here: a known camera over a known relief with a known pattern on it."""

from __future__ import annotations

import numpy as np
from pyproj import CRS

from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.geo.ground import DemGround
from attachtrans.geo.rotation import pose_matrix
from attachtrans.geo.view import CameraView
from tests.geo.lenses import BROWN5

UTM = CRS.from_epsg(32633)
CENTRE = np.array([500_300.0, 5_400_200.0])
CELL_M = 2.0


def relief(shape=(120, 140), *, height=200.0, amplitude=8.0, walls=0.0):
    """Smooth hills about a height, with square blocks that high on them."""
    rows, cols = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float64)
    z = height + amplitude * (np.sin(0.11 * cols + 0.5) * np.cos(0.08 * rows) + 0.01 * cols)
    if walls:
        z[(rows % 24 < 6) & (cols % 30 < 7)] += walls
    return z


def dem(heights, cell_m=CELL_M, centre=CENTRE):
    """North up, about a centre."""
    rows, cols = heights.shape
    left, top = centre + np.array([-0.5 * cols, 0.5 * rows]) * cell_m
    return DemGround(heights, (cell_m, 0.0, left, 0.0, -cell_m, top))


def camera(size=(640, 480), *, heading=30.0, pitch=35.0, away=(-35.0, -55.0, 320.0), lens=BROWN5):
    """A drone's, of 60 degrees, that looks at the middle of the relief."""
    focal = 0.85 * size[0]
    return PerspectiveCamera(
        size,
        focal_px=(focal, focal),
        centre_px=(0.5 * size[0] + 3.7, 0.5 * size[1] - 5.2),
        distortion=lens,
        rotation=pose_matrix("hpr", (heading, pitch, 2.0)),
        position=(*(CENTRE + away[:2]), away[2]),
    )


def view(ground=None, eye=None, **options):
    return CameraView(eye or camera(), dem(relief()) if ground is None else ground, UTM, **options)


def checkers(xy, side_m, edge_m=1.0):
    """(N,) from 0 to 1 of a board whose corners lie at multiples of the side.

    Edges are as soft as those of a photo; hard ones would only measure how finely it is rendered.
    """
    waves = np.sin(np.pi / side_m * np.asarray(xy))
    across, down = np.tanh(waves * side_m / (np.pi * edge_m))
    return 0.5 + 0.5 * across * down


def photo(view, pattern, supersampling=8):
    """(height, width) float32 mean of a pattern over each pixel; nan where part of it is sky.

    Rays through the pixel's parts are followed to the ground one by one: nothing of it is shared
    with inverse mapping.
    """
    width, height = view.size
    inner = (np.arange(supersampling) + 0.5) / supersampling
    cols = (np.arange(width)[:, None] + inner).ravel()
    picture = np.empty((height, width), dtype=np.float32)
    for row in range(height):
        rows = row + inner
        pixels = np.stack([np.tile(cols, inner.size), np.repeat(rows, cols.size)])
        points, _ = view.look(pixels)
        with np.errstate(invalid="ignore"):
            seen = np.where(np.isfinite(points[0]), pattern(np.nan_to_num(points[:2])), np.nan)
        parts = seen.reshape(inner.size, width, inner.size)
        picture[row] = parts.mean(axis=(0, 2))
    return picture
