from __future__ import annotations

import numpy as np
import pytest

from attachtrans.infer.seams import seam_ratio
from attachtrans.infer.tiling import Tiling
from attachtrans.types import Size
from tests.infer.nets import spec

SIZE = Size(128, 96)
PLAN = Tiling(tile_size=32, padding=0).plan(SIZE, spec())


def noise(dtype: str = "uint8") -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 100, (3, SIZE.height, SIZE.width)).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_noise_has_no_seams(dtype):
    assert seam_ratio(noise(dtype), PLAN) == pytest.approx(1, abs=0.05)


def test_tiles_of_different_brightness_show():
    image = noise()
    image[:, :, 32:64] += 100
    assert seam_ratio(image, PLAN) > 1.2


def test_flat_images():
    flat = np.zeros((1, SIZE.height, SIZE.width), np.uint8)
    assert seam_ratio(flat, PLAN) == 1
    flat[:, 32:] = 9
    assert seam_ratio(flat, PLAN) > 10


def test_none_without_seams():
    assert seam_ratio(noise(), Tiling().plan(SIZE, spec())) is None
    exact = Tiling(tile_size=32).plan(SIZE, spec(receptive_field_px=2))
    assert seam_ratio(noise(), exact) is None
