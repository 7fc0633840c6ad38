"""Every local operation against torch: any region of it is that region of the whole."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from attachtrans.errors import InferenceError
from attachtrans.models.kernels import (
    Convolution,
    Enlargement,
    Padding,
    Pooling,
    Sliding,
    TransposedConvolution,
    inside,
)
from attachtrans.models.local import Operation, Patch
from attachtrans.models.translator import Region, Shape

quick = settings(max_examples=30, deadline=None)
pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))


def shape_of(values: Tensor) -> Shape:
    return Shape(*values.shape[1:])


@st.composite
def region_in(draw, height: int, width: int) -> Region:
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return Region(
        range(top, draw(st.integers(top + 1, height))),
        range(left, draw(st.integers(left + 1, width))),
    )


def noise(channels: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.randn((1, channels, height, width), generator=generator)


def agrees(operation: Operation, x: Tensor, expected: Tensor, data: st.DataObject) -> None:
    """Shape, needs and values of a random region; the operation sees no more than it asked for."""
    assert operation.shape(shape_of(x)) == shape_of(expected)
    region = data.draw(region_in(*expected.shape[2:]))
    (needed,) = operation.needs(region, shape_of(x))
    assert needed is not None
    assert inside(needed, shape_of(x)) == needed
    patch = Patch(values=x[..., *needed.slices], region=needed, shape=shape_of(x))
    got = operation.compute(region, [patch], None)
    torch.testing.assert_close(got, expected[..., *region.slices], rtol=1e-5, atol=1e-5)


sizes = st.tuples(st.integers(5, 14), st.integers(5, 14))


@quick
@given(st.data(), sizes, pairs, pairs, pairs, pairs)
def test_convolution(data, size, kernel, stride, padding, dilation):
    size = tuple(max(s, d * (k - 1) + 1) for s, d, k in zip(size, dilation, kernel, strict=True))
    groups = data.draw(st.sampled_from((1, 2)))
    x, weight, bias = noise(2, *size), noise(4, 2 // groups * kernel[0], kernel[1]), torch.ones(4)
    weight = weight.reshape(4, 2 // groups, *kernel)
    sliding = Sliding(kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    operation = Convolution(sliding=sliding, groups=groups, weight=weight, bias=bias)
    expected = functional.conv2d(x, weight, bias, stride, padding, dilation, groups)
    agrees(operation, x, expected, data)
    assert operation.multiplies == weight.numel()


@quick
@given(st.data(), sizes, pairs, pairs, pairs, pairs)
def test_transposed_convolution(data, size, kernel, stride, padding, dilation):
    padding = tuple(min(p, d * (k - 1)) for p, d, k in zip(padding, dilation, kernel, strict=True))
    larger = (max(s, d) - 1 for s, d in zip(stride, dilation, strict=True))
    extra = tuple(data.draw(st.integers(0, most)) for most in larger)
    groups = data.draw(st.sampled_from((1, 2)))
    x, bias = noise(4, *size), torch.ones(2 * groups)
    weight = noise(4, 2 * kernel[0], kernel[1]).reshape(4, 2, *kernel)
    operation = TransposedConvolution(
        sliding=Sliding(kernel=kernel, stride=stride, padding=padding, dilation=dilation),
        output_padding=extra,
        groups=groups,
        weight=weight,
        bias=bias,
    )
    expected = functional.conv_transpose2d(
        x, weight, bias, stride, padding, extra, groups, dilation
    )
    agrees(operation, x, expected, data)


@quick
@given(st.data(), sizes, st.sampled_from(("constant", "reflect", "replicate")))
def test_padding(data, size, mode):
    left, right, top, bottom = (data.draw(st.integers(0, 4)) for _ in range(4))
    x = noise(3, *size)
    operation = Padding(rows=(top, bottom), cols=(left, right), mode=mode, fill=2.0)
    value = 2.0 if mode == "constant" else None
    agrees(operation, x, functional.pad(x, (left, right, top, bottom), mode, value), data)


@quick
@given(st.data())
def test_padding_by_less_than_nothing_crops(data):
    x = noise(2, 9, 8)
    agrees(
        Padding(rows=(-2, 1), cols=(1, -3), mode="constant"),
        x,
        functional.pad(x, (1, -3, -2, 1)),
        data,
    )


def test_too_few_pixels_to_reflect():
    operation = Padding(rows=(3, 3), cols=(3, 3), mode="reflect")
    with pytest.raises(InferenceError, match="2 pixels are too few"):
        operation.needs(Region(range(8), range(8)), Shape(1, 2, 2))


@quick
@given(st.data(), sizes, pairs, pairs, st.booleans())
def test_mean_pooling(data, size, kernel, stride, count):
    padding = tuple(k // 2 for k in kernel)
    x = noise(2, *size)
    sliding = Sliding(kernel=kernel, stride=stride, padding=padding)
    operation = Pooling(sliding=sliding, largest=False, count_padding=count)
    expected = functional.avg_pool2d(x, kernel, stride, padding, count_include_pad=count)
    agrees(operation, x, expected, data)


@quick
@given(st.data(), sizes, pairs, pairs)
def test_largest_pooling(data, size, kernel, stride):
    padding = tuple(k // 2 for k in kernel)
    x = noise(2, *size)
    operation = Pooling(
        sliding=Sliding(kernel=kernel, stride=stride, padding=padding), largest=True
    )
    agrees(operation, x, functional.max_pool2d(x, kernel, stride, padding), data)


@quick
@given(st.data(), sizes, pairs)
def test_enlargement(data, size, factor):
    x = noise(2, *size)
    expected = functional.interpolate(x, scale_factor=tuple(map(float, factor)), mode="nearest")
    agrees(Enlargement(factor=factor, shuffle=False), x, expected, data)


@quick
@given(st.data(), sizes, st.integers(1, 3))
def test_shuffle(data, size, factor):
    x = noise(2 * factor * factor, *size)
    expected = nn.PixelShuffle(factor)(x)
    agrees(Enlargement(factor=(factor, factor), shuffle=True), x, expected, data)
