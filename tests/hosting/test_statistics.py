"""Statistics that raster functions are told: numpy over the whole image as judge."""

from __future__ import annotations

import numpy as np
import pytest

from attachtrans.hosting import statistics
from attachtrans.hosting.rasters import RasterInfo
from attachtrans.hosting.statistics import statistics_of


@pytest.mark.parametrize("strip", [7, 1 << 22])
def test_of_all_pixels_that_have_data(monkeypatch, strip):
    monkeypatch.setattr(statistics, "_STRIP_VALUES", strip)
    rng = np.random.default_rng(0)
    values = rng.normal(1e6, 3.0, (3, 70, 30)).astype(np.float32)
    mask = rng.random((70, 30)) > 0.3
    values[1, 5] = np.nan
    for band, found in zip(values, statistics_of(values, mask), strict=True):
        valid = band[mask & np.isfinite(band)].astype(np.float64)
        expected = (valid.min(), valid.max(), valid.mean(), valid.std())
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_of_no_data():
    image = np.ones((2, 4, 5), np.uint8)
    assert statistics_of(image, np.zeros((4, 5))) == ()
    assert statistics_of(image) == ((1.0, 1.0, 1.0, 0.0),) * 2


def test_a_function_is_told():
    told = statistics_of(np.array([[[1, 3]]], np.uint8))
    info = RasterInfo(bands=1, pixel_type="u1", size=(2, 1), span=(2, 1), statistics=told)
    (band,) = info.to_json()["statistics"]
    assert band == {"minimum": 1, "maximum": 3, "mean": 2, "standardDeviation": 1}
