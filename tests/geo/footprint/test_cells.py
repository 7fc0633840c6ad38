"""Masks as polygons, against GDAL's rasterising and polygonising."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from attachtrans.errors import ArgumentError
from attachtrans.geo.footprint import cells_area

TURNED = (0.4, 0.3, 500_000.0, 0.3, -0.4, 5_400_000.0)


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_it_is_what_gdal_makes_of_the_mask(mask):
    made = cells_area(mask, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    assert made.is_valid
    parts = rasterio.features.shapes(mask.astype(np.uint8), mask=mask, connectivity=4)
    expected = shapely.union_all([shapely.geometry.shape(part) for part, _ in parts])
    assert made.symmetric_difference(expected).area == 0.0
    assert made.area == mask.sum()


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_it_can_be_burnt_back(mask):
    made = cells_area(mask, TURNED)
    assert made.is_valid
    assert made.area == pytest.approx(0.25 * mask.sum())
    if mask.any():
        back = rasterio.features.rasterize([made], out_shape=mask.shape, transform=Affine(*TURNED))
        assert np.array_equal(back == 1, mask)


def test_hidden_parts_are_holes():
    mask = np.ones((9, 9), dtype=bool)
    mask[4, 4] = mask[2, 2] = False
    made = cells_area(mask, (2.0, 0.0, 0.0, 0.0, -2.0, 0.0))
    (part,) = made.geoms
    assert len(part.interiors) == 2


@given(st.integers(0, 3))
def test_a_mask_has_two_dimensions(dims):
    if dims != 2:
        with pytest.raises(ArgumentError, match="height, width"):
            cells_area(np.ones((2,) * dims, dtype=bool), (1, 0, 0, 0, 1, 0))
