"""Blocks encoded apart; that their tiles are right shows in `test_resumable`."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import rasterio

from attachtrans.stores.raster import RasterOptions, RasterSpec, ResumableWriter, encoding
from attachtrans.stores.raster.encoding import encoded_pixels
from attachtrans.types import Size, Window


def test_nothing_of_a_block_stays_until_garbage_is_looked_for() -> None:
    """What is left of a block would be as much memory as there are blocks between two looks."""
    spec = RasterSpec(size=Size(1024, 1024), bands=3, dtype=np.dtype(np.uint8))
    block = np.random.default_rng(1).integers(0, 256, (3, 1024, 1024), np.uint8)
    encoded_pixels(block, spec, RasterOptions())
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(4):
            encoded_pixels(block, spec, RasterOptions())
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert kept < block.nbytes / 4


INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32"]


@pytest.mark.parametrize("creation", [{}, {"PREDICTOR": "1"}, {"ZSTD_LEVEL": "3"}])
@pytest.mark.parametrize("bands", [1, 2, 3, 5, 600])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_gdal_reads_tiles_that_it_did_not_encode(
    tmp_path: Path,
    dtype: str,
    bands: int,
    creation: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoding, "_encoded", None)
    info, size = np.iinfo(dtype), Size(150, 100)
    rng = np.random.default_rng(bands)
    values = rng.integers(info.min, info.max, (bands, 100, 150), dtype, endpoint=True)
    spec = RasterSpec(size=size, bands=bands, dtype=np.dtype(dtype), transform=(1, 0, 0, 0, -1, 0))
    options = RasterOptions(compression="zstd", tile=64, creation=creation)
    path = tmp_path / "whole.tif"
    with ResumableWriter(path, spec, options, job="test") as writer:
        for row in (0, 64):
            block = Window(col=0, row=row, width=150, height=min(64, 100 - row))
            writer.write(values[:, block.slices[0]], block)
    with rasterio.open(path) as found:
        assert found.compression.name == "zstd"
        np.testing.assert_array_equal(found.read(), values)


@pytest.mark.parametrize(
    ("dtype", "creation"),
    [
        ("float32", {}),
        ("float64", {}),
        ("uint8", {"INTERLEAVE": "BAND"}),
        ("uint8", {"COMPRESS": "LZW"}),
        ("uint16", {"NBITS": "12", "PREDICTOR": "1"}),
    ],
)
def test_whatever_else_there_is_gdal_encodes(dtype: str, creation: dict[str, str]) -> None:
    spec = RasterSpec(size=Size(64, 64), bands=2, dtype=np.dtype(dtype))
    options = RasterOptions(compression="zstd", tile=64, creation=creation)
    profile = encoding.tiff_profile(spec, options)
    assert not encoding._is_plain_zstd(profile, np.dtype(dtype))
    assert encoded_pixels(np.ones((2, 64, 64), dtype), spec, options)
