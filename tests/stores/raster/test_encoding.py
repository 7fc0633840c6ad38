"""Blocks encoded apart; that their tiles are right shows in `test_resumable`."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np

from attachtrans.stores.raster import RasterOptions, RasterSpec
from attachtrans.stores.raster.encoding import encoded_pixels
from attachtrans.types import Size


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
