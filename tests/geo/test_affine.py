from __future__ import annotations

import numpy as np
import pytest
from rasterio.transform import Affine

from attachtrans.errors import ArgumentError
from attachtrans.geo.affine import PixelToMap

ROTATED = Affine.translation(5e5, 4e6) @ Affine.rotation(30.0) @ Affine.scale(0.5, -0.7)


@pytest.mark.parametrize("form", [ROTATED, ROTATED[:6], list(ROTATED[:6]), np.array(ROTATED[:6])])
def test_reads_what_rasterio_writes(form):
    grid = PixelToMap.read(form)
    pixels = np.array([[0.0, 10.5, -3.0], [0.0, 2.25, 7.0]])
    expected = np.array([ROTATED @ tuple(pixel) for pixel in pixels.T]).T
    assert np.abs(grid.to_map(pixels) - expected).max() < 1e-9
    assert np.abs(grid.to_pixels(grid.to_map(pixels)) - pixels).max() < 1e-8
    assert PixelToMap.read(grid) == grid


@pytest.mark.parametrize(
    ("form", "match"),
    [
        ((1, 0, 0, 0, 1), "6 finite numbers"),
        ((1, 0, 0, 0, 1, np.inf), "6 finite numbers"),
        ((1, 0, 0, 0, 1, 0, 0, 0, 2), "6 finite numbers"),
        ((1, 2, 0, 2, 4, 0), "onto a line"),
    ],
)
def test_other_numbers_are_refused(form, match):
    with pytest.raises(ArgumentError, match=match):
        PixelToMap.read(form)
