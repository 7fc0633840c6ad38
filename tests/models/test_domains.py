from __future__ import annotations

import json

import pytest
import torch

from attachtrans.errors import ModelError
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.domains import Domain, Rescaled, column, domain_a, domain_b, require_spread


def define(**keys):
    return ModelDefinition.read(json.dumps({"ModelType": "WNet_cGAN", **keys}))


def ranged(*pairs):
    low, high = zip(*pairs, strict=True)
    return {"band_min_values": list(low), "band_max_values": list(high)}


A = ranged((0, 1), (2, 3), (4, 5))


@pytest.mark.parametrize(
    ("keys", "used", "ranges"),
    [
        ({}, (0, 1, 2), ((0, 255),) * 3),
        ({"NormalizationStats": A}, (0, 1, 2), ((0, 1), (2, 3), (4, 5))),
        ({"NormalizationStats": ranged((0, 1))}, (0,), ((0, 1),)),
        ({"NormalizationStats": ranged(*[(0, 1)] * 5)}, (0, 1, 2), ((0, 1),) * 3),
        ({"NormalizationStats": A, "ExtractBands": [2, 0]}, (2, 0), ((4, 5), (0, 1))),
        ({"ExtractBands": [7]}, (7,), ((0, 255),)),
    ],
)
def test_domain_a(keys, used, ranges):
    domain = domain_a(define(**keys), 3)
    assert (domain.used, domain.ranges) == (used, ranges)
    assert domain.raster_bands == max(used) + 1


def test_stated_bands_win():
    domain = domain_a(define(NormalizationStats=A), 3, bands=1)
    assert domain.ranges == ((0, 1),)
    domain = domain_b(define(NormalizationStats_b=ranged((0, 9)), n_channel=2), 3)
    assert domain.ranges == ((0, 9), (0, 9))
    assert domain.span == (0, 9)


def test_bands_that_are_not_extracted():
    keys = {"NormalizationStats": A, "ExtractBands": [2, 0]}
    assert domain_a(define(**keys), 3, extracts=False).used == (0, 1, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: domain_a(define(), 3, bands=4), "states 4 bands"),
        (lambda: domain_a(define(ExtractBands=[0, 1, 2, 3]), 3), "states 4 bands"),
        (lambda: domain_a(define(ExtractBands=[3], NormalizationStats=A), 3), "ExtractBands"),
        (lambda: domain_a(define(ExtractBands=True), 3), "ExtractBands"),
        (lambda: domain_a(define(ExtractBands=[1, "2"]), 3), "ExtractBands"),
        (lambda: domain_b(define(n_channel=4), 3), "states 4 bands"),
    ],
)
def test_bands_that_cannot_be(make, message):
    with pytest.raises(ModelError, match=message):
        make()


def test_rescaling_is_from_range_to_range():
    source = Domain(raster_bands=2, used=(1, 0), ranges=((0, 10), (100, 300)))
    target = Domain(raster_bands=1, used=(0,), ranges=((-5, 5),))
    seen = []
    net = torch.nn.Module()
    net.forward = lambda x: seen.append(x) or x
    module = Rescaled(net, channels=3, source=source, target=target)
    out = module(column([100, 5]))
    assert seen[0].flatten().tolist() == [0, -1, -1]
    assert out.flatten().tolist() == [0]


def test_a_flat_band_cannot_be_a_source():
    flat = Domain(raster_bands=1, used=(0,), ranges=((3.0, 3.0),))
    with pytest.raises(ModelError, match="input band 1"):
        require_spread(flat, "m")
