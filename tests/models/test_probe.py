"""Nets whose facts are known by construction are measured as what they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from attachtrans.errors import ModelError
from attachtrans.models.facts import read_facts
from attachtrans.models.probe import complete_spec

torch.set_num_threads(1)


def measured(forward, **keys: Any):
    facts = read_facts({"InputRange": [0, 1], "OutputRange": [0, 1], **keys})
    return complete_spec(facts, forward, weights=1000)


class FixedSize(nn.Module):
    def __init__(self, width, height):
        super().__init__()
        self.size = (height, width)

    def forward(self, x):
        if tuple(x.shape[2:]) != self.size:
            raise RuntimeError("wrong size")
        return x


def unet(x):
    """Halves twice and doubles twice, as U-Nets without padding do: sizes must fit."""
    low = functional.avg_pool2d(functional.avg_pool2d(x, 2), 2)
    up = functional.interpolate(low, scale_factor=4.0, mode="nearest")
    return x + up


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda x: x, {"scale": 1, "margin_px": 0, "multiple_of": 1, "min_size": 1}),
        (unet, {"multiple_of": 4, "min_size": 4}),
        (nn.Conv2d(3, 5, 5).eval(), {"out_bands": 5, "margin_px": 2, "min_size": 5}),
        (nn.AvgPool2d(2), {"scale": 0.5, "multiple_of": 2, "min_size": 2}),
        (lambda x: x[:, :1], {"out_bands": 1}),
        (
            lambda x: functional.interpolate(x, scale_factor=1.5, mode="bilinear"),
            {"scale": 1.5, "multiple_of": 2},
        ),
        (nn.ConvTranspose2d(3, 3, 4, stride=2, padding=1).eval(), {"scale": 2}),
        (nn.ReflectionPad2d(7), "larger"),
        (nn.Conv2d(1, 1, 3, padding=1).eval(), {"in_bands": 1}),
        (nn.Conv2d(4, 3, 3, padding=1).eval(), {"in_bands": 4}),
        (FixedSize(64, 64), {"fixed_size": (64, 64), "multiple_of": 1}),
        (FixedSize(224, 224), {"fixed_size": (224, 224)}),
        (lambda x: functional.pad(x, (3,) * 4, mode="reflect")[..., 3:-3, 3:-3], {"min_size": 4}),
    ],
)
@torch.no_grad
def test_geometry(forward, expected):
    if expected == "larger":
        # Its output is larger than scale * n by a constant: a margin below zero.
        with pytest.raises(ModelError, match="rule"):
            measured(forward)
        return
    spec = measured(forward)
    assert {name: getattr(spec, name) for name in expected} == expected


def test_batches_of_one():
    def single(x):
        return x.reshape(1, *x.shape[1:])

    assert measured(lambda x: x).fixed_batch is None
    assert measured(single).fixed_batch == 1
    # Nets whose images affect each other (statistics over the batch) must be fed one by one.
    assert measured(lambda x: x - x.mean()).fixed_batch == 1


def test_stated_batches_are_used():
    seen = set()

    def forward(x):
        seen.add(x.shape[0])
        if x.shape[0] != 4:
            raise RuntimeError("wrong batch")
        return x

    assert measured(forward, FixedBatch=4).fixed_batch == 4
    assert seen == {4}


def test_stated_facts_stand_where_the_net_agrees():
    spec = measured(
        nn.AvgPool2d(2), Scale=0.5, MultipleOf=6, MinSize=12, InputBands=2, ReceptiveField=9
    )
    assert (spec.multiple_of, spec.min_size, spec.in_bands) == (6, 12, 2)
    assert spec.receptive_field_px == 9
    assert measured(lambda x: x, ReceptiveField="global").receptive_field_px is None
    assert measured(FixedSize(40, 24), FixedSize=[40, 24]).fixed_size == (40, 24)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"Scale": 2}, "Scale is 2"),
        ({"Margin": 1}, "Margin is 1"),
        ({"OutputBands": 1}, "OutputBands is 1"),
        ({"FixedSize": [64, 32], "Scale": 3}, "Scale"),
    ],
)
def test_definitions_that_contradict_the_net(keys, message):
    with pytest.raises(ModelError, match=message):
        measured(lambda x: x, **keys)


def test_a_reach_below_the_margin_is_refused():
    with pytest.raises(ModelError, match="ReceptiveField"):
        measured(lambda x: x[..., 2:-2, 2:-2], ReceptiveField=1)


def test_nets_that_run_nowhere_or_without_rule():
    def never(x):
        raise ValueError(f"no {x.shape[1]}")

    with pytest.raises(ModelError, match=r"InputBands.*no 2"):
        measured(never)
    with pytest.raises(ModelError, match="FixedSize"):
        measured(lambda x: functional.interpolate(x, size=(100, 100)))


def test_raw_nets_are_fed_with_raw_values():
    seen = []

    def forward(x):
        seen.append(float(x.max()))
        return x

    measured(forward, InputRange="raw")
    assert max(seen) > 200
