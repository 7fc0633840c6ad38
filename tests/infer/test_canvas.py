from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.infer.canvas import Canvas, read_tile, upload
from attachtrans.infer.ranges import Decoding, encoding
from attachtrans.infer.tiling import Tiling
from attachtrans.types import Size, Window
from tests.infer.nets import CPU, spec

RAW = Decoding()


def image(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", ">u2", "float32", ">f4", "float64"])
def test_upload_takes_any_layout(dtype):
    pixels = image(5, 4, 3, dtype=dtype)
    frozen = pixels.copy()
    frozen.flags.writeable = False
    for view in (pixels, pixels.transpose(2, 0, 1), pixels[::-1, :, ::-1], frozen):
        assert (upload(view, CPU).numpy() == view).all()


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    col=st.integers(-30, 30),
    row=st.integers(-30, 30),
)
def test_fill_reflects_as_often_as_needed(height, width, col, row):
    pixels = image(2, height, width)
    window = Window(col=col, row=row, width=7, height=5)
    out = torch.empty(2, 5, 7)
    read_tile(upload(pixels, CPU), window, RAW, out)
    pad = 60
    filled = np.pad(pixels, ((0, 0), (pad, pad), (pad, pad)), mode="reflect")
    expected = filled[:, row + pad : row + pad + 5, col + pad : col + pad + 7]
    assert (out.numpy() == expected).all()


@pytest.mark.parametrize(
    ("bands", "wanted", "expected"),
    [(1, 3, [0, 0, 0]), (2, 4, [0, 1, 1, 1]), (4, 3, [0, 1, 2]), (3, 3, [0, 1, 2])],
)
def test_bands_are_repeated_or_dropped(bands, wanted, expected):
    pixels = image(bands, 6, 6)
    out = torch.empty(wanted, 4, 4)
    read_tile(upload(pixels, CPU), Window(col=1, row=1, width=4, height=4), RAW, out)
    assert (out.numpy() == pixels[expected, 1:5, 1:5]).all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
def test_values_are_rounded_half_up_and_clipped(dtype):
    limits = np.iinfo(dtype)
    net = spec(bands=1, in_range=None, out_range=(0, 100))
    plan = Tiling().plan(Size(6, 1), net)
    canvas = Canvas(plan, 1, encoding(np.dtype(dtype), net), CPU)
    values = torch.tensor([[[-0.6, 0.49, 0.5, 98.5, 1e12, -1e12]]])
    canvas.paste(values, 0, 0)
    result = canvas.finish().numpy()
    low = max(-1, limits.min)
    assert result.tolist() == [[[low, 0, 1, 99, limits.max, limits.min]]]
    assert canvas.total.isfinite()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("halo", [None, 0])
def test_bad_numbers_are_noticed(bad, dtype, halo):
    net = spec(bands=1, in_range=None, out_range=(0, 255), receptive_field_px=halo)
    plan = Tiling(tile_size=8, padding=2).plan(Size(12, 8), net)
    canvas = Canvas(plan, 1, encoding(np.dtype(dtype), net), CPU)
    for row, column in plan:
        tile = torch.zeros(1, 8, 8)
        if column == 1:
            tile[0, 3, 7] = bad
        canvas.paste(tile, row, column)
    canvas.finish()
    assert not canvas.total.isfinite()
