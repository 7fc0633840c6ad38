from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from attachtrans.errors import InferenceError
from attachtrans.models.local import GlobalMean, Normalisation, Patch, Pointwise, Slot, only
from attachtrans.models.translator import Moments, Region, Shape

X = torch.randn((1, 6, 7, 9), generator=torch.Generator().manual_seed(0)) * 3 + 5
PART = Region(range(2, 5), range(1, 8))


def patch(values: Tensor) -> Patch:
    shape = Shape(*values.shape[1:])
    return Patch(values=values, region=shape.region, shape=shape)


def moments(values: Tensor) -> Moments:
    variance, mean = torch.var_mean(values, (0, 2, 3), correction=0)
    return Moments(mean=mean, variance=variance)


@pytest.mark.parametrize("groups", [None, 1, 2, 3, 6])
def test_norms_by_known_moments(groups):
    weight, bias = torch.linspace(0.5, 2, 6), torch.linspace(-1, 1, 6)
    norm = Normalisation(groups=groups, epsilon=1e-3, weight=weight, bias=bias)
    got = norm.compute(PART, [patch(X)], moments(X))
    expected = functional.group_norm(X, groups or 6, weight, bias, 1e-3)
    torch.testing.assert_close(got, expected[..., *PART.slices])


def test_the_mean_of_an_image_needs_no_pixels():
    mean = GlobalMean()
    assert mean.shape(Shape(6, 7, 9)) == (6, 1, 1)
    one = Region(range(1), range(1))
    assert mean.needs(one, Shape(6, 7, 9)) == (None,)
    torch.testing.assert_close(mean.compute(one, [None], moments(X)), X.mean((2, 3), keepdim=True))


@pytest.mark.parametrize(
    "operation", [Normalisation(groups=None, epsilon=0, weight=None, bias=None), GlobalMean()]
)
def test_moments_come_first(operation):
    with pytest.raises(InferenceError, match="before its statistics"):
        operation.compute(PART, [patch(X)], None)


def test_one_pixel_counts_for_all():
    gate = Pointwise(label="*", channels=6, function=torch.mul, arguments=(Slot(0), Slot(1)))
    pixel = X[..., :1, :1]
    shapes = Shape(6, 7, 9), Shape(6, 1, 1)
    assert gate.needs(PART, *shapes) == (PART, Region(range(1), range(1)))
    got = gate.compute(PART, [patch(X), patch(pixel)], None)
    torch.testing.assert_close(got, X[..., *PART.slices] * pixel)


def test_values_of_other_sizes_cannot_be_joined():
    add = Pointwise(label="+", channels=6, function=torch.add, arguments=(Slot(0), Slot(1)))
    with pytest.raises(InferenceError, match="7 x 9 and 7 x 8"):
        add.shape(Shape(6, 7, 9), Shape(6, 7, 8))


def test_operations_that_differ_in_weights_only_are_equal():
    norms = [
        Normalisation(groups=2, epsilon=1e-5, weight=torch.rand(6), bias=None) for _ in range(2)
    ]
    assert norms[0] == norms[1]
    assert norms[0] != Normalisation(groups=3, epsilon=1e-5, weight=None, bias=None)


def test_a_patch_is_filled_beyond_the_image():
    whole = patch(X)
    outside = Region(range(-2, 9), range(3, 12))
    expected = functional.pad(X[..., 3:], (0, 3, 2, 2), value=7.0)
    torch.testing.assert_close(whole.filled(outside, 7.0), expected)
    assert (whole.filled(Region(range(-5, -2), range(2, 4)), 7.0) == 7).all()


def test_a_missing_patch():
    with pytest.raises(InferenceError, match="without its input"):
        only([None])
