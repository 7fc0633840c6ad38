from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attachtrans.models.extent import Extent

torch.set_num_threads(1)

STEPS = {
    "conv3": (lambda e: e.convolved(3), lambda: nn.Conv1d(1, 1, 3, padding=1)),
    "conv7": (lambda e: e.convolved(7), lambda: nn.Conv1d(1, 1, 7, padding=3)),
    "half3": (lambda e: e.halved(3), lambda: nn.Conv1d(1, 1, 3, stride=2, padding=1)),
    "half7": (lambda e: e.halved(7), lambda: nn.Conv1d(1, 1, 7, stride=2, padding=3)),
    "shuffle": (Extent.doubled, lambda: nn.Upsample(scale_factor=2)),
    "transposed": (
        Extent.doubled_by_convolution,
        lambda: nn.ConvTranspose1d(1, 1, 3, stride=2, padding=1, output_padding=1),
    ),
    "previous": (
        Extent.with_previous,
        lambda: nn.Sequential(nn.ReplicationPad1d((1, 0)), nn.AvgPool1d(2, 1)),
    ),
}


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=8))
@settings(max_examples=60)
def test_an_extent_holds_all_that_a_chain_of_layers_sees(names):
    depth = 0
    chain = []
    for name in names:
        depth += {"half3": 1, "half7": 1, "shuffle": -1, "transposed": -1}.get(name, 0)
        if depth in {-1, 4}:
            depth = min(max(depth, 0), 3)
            continue
        chain.append(name)
    extent, layers = Extent(), []
    for name in chain:
        grow, make = STEPS[name]
        extent = grow(extent)
        layers.append(make())
    period = 1 << sum(name.startswith("half") for name in chain)
    size = 8 * period * period + 64
    image = torch.zeros(1, 1, size, requires_grad=True)
    out = nn.Sequential(*layers)(image)
    befores, afters = [0], [0]
    for place in range(period):
        at = out.shape[2] // 2 // period * period + place
        (seen,) = torch.autograd.grad(out[0, 0, at], image, retain_graph=True)
        columns = torch.nonzero(seen[0, 0]).flatten()
        befores.append(extent.step * at - int(columns.min()))
        afters.append(int(columns.max()) - extent.step * at)
    assert extent.before >= max(befores)
    assert extent.after >= max(afters)
    assert extent.reach_px - extent.step <= max(*befores, *afters)


def test_joining_takes_the_farther():
    near, far = Extent(before=1, after=5), Extent(before=3, after=2)
    assert near.joined(far) == Extent(before=3, after=5)


@pytest.mark.parametrize("times", [0, 1, 3])
def test_repeated_convolutions(times):
    assert Extent(step=4).convolved(3, times=times).reach_px == 4 * times
