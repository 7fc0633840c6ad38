"""Statistics: numpy over the whole raster and GDAL's own tags as judges."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio

from attachtrans.errors import SourceError
from attachtrans.stores.raster import open_raster
from attachtrans.stores.raster.statistics import statistics
from tests.stores.raster.making import ArrayRaster, make_file


def test_of_all_pixels_that_have_data():
    rng = np.random.default_rng(0)
    values = rng.normal(1e6, 3.0, (3, 700, 1300)).astype(np.float32)
    mask = np.where(rng.random((700, 1300)) > 0.3, 255, 0).astype(np.uint8)
    values[:, mask == 0] = -9999
    values[1, 5] = np.nan
    found, note = statistics(ArrayRaster(values, mask), [2, 3])
    for band, got in zip((1, 2), found, strict=True):
        valid = values[band][(mask > 0) & np.isfinite(values[band])].astype(np.float64)
        np.testing.assert_allclose(
            got, (valid.min(), valid.max(), valid.mean(), valid.std()), rtol=1e-9
        )
    assert note == "statistics of array from all pixels"


def test_of_a_sample_of_a_large_raster():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 1000, (1, 512, 80 * 512), dtype=np.uint16)
    source = ArrayRaster(values)
    found, note = statistics(source)
    assert note == "statistics of array from a sample of 0.8 of the pixels"
    assert math.isclose(found[0].mean, values.mean(), rel_tol=0.01)
    assert source.largest_read == 512 * 512


def test_as_the_file_states_them(tmp_path: Path):
    path = make_file(tmp_path / "a.tif", np.arange(200, dtype=np.uint8).reshape(2, 10, 10))
    with open_raster(path) as image:
        assert statistics(image).note.endswith("from all pixels")
    with rasterio.open(path, "r+") as file:
        for band in (1, 2):
            file.update_tags(
                band,
                STATISTICS_MINIMUM=band,
                STATISTICS_MAXIMUM=9,
                STATISTICS_MEAN=4.5,
                STATISTICS_STDDEV=0.5,
            )
    with open_raster(path) as image:
        found, note = statistics(image)
        assert found == ((1.0, 9.0, 4.5, 0.5), (2.0, 9.0, 4.5, 0.5))
        assert note.endswith("as its file states them")


@pytest.mark.parametrize("words", ["nan", "high"])
def test_what_a_file_states_wrongly_is_computed(tmp_path: Path, words):
    path = make_file(tmp_path / "a.tif", np.arange(100, dtype=np.uint8).reshape(1, 10, 10))
    with rasterio.open(path, "r+") as file:
        for key in ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV"):
            file.update_tags(1, **{f"STATISTICS_{key}": words})
    with open_raster(path) as image:
        assert statistics(image).bands[0].maximum == 99.0


def test_without_data_there_are_none():
    source = ArrayRaster(np.zeros((1, 4, 4), np.uint8), np.zeros((4, 4), np.uint8))
    with pytest.raises(SourceError, match="band 1 has no data"):
        statistics(source)
