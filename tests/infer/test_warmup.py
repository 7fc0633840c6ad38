from __future__ import annotations

import torch

from attachtrans.infer.warmup import agree, bf16_pays
from tests.infer.nets import CPU


def test_agreement():
    full = torch.rand(1, 1, 100, 100)
    nan = full.clone()
    nan[0, 0, 0, 0] = torch.nan
    spots = full.clone()
    spots.view(-1)[:60] += 3 / 255
    assert agree(full + 0.5 / 255, full, (0, 1))
    assert not agree(full + 2 / 255, full, (0, 1))
    assert agree(full + 2 / 255, full, (0, 10))
    assert not agree(spots, full, (0, 1))
    assert not agree(nan, full, (0, 1))
    assert agree(nan, nan, (0, 1))
    assert agree(nan * torch.nan, nan * torch.nan, None)
    assert agree(full * 0, full * 0, None)
    assert not agree(full * 0 + 1, full * 0, None)


def test_the_probe_answers():
    assert bf16_pays(CPU) in (True, False)
