from __future__ import annotations

import pytest
import torch

from attachtrans.infer.streams import Parcel, bring

CUDA = pytest.param(
    "cuda:0", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
)


@pytest.mark.parametrize("name", ["cpu", CUDA])
def test_there_and_back(name):
    device = torch.device(name)
    values = torch.arange(6_000_000, dtype=torch.int32).reshape(2, 3, -1)
    for turn in range(5):  # memory is used again while copies may still be under way
        there = bring(values + turn, device)
        assert there.device == device
        doubled = there * 2
        parcel = Parcel(doubled, doubled.double().sum())
        del there, doubled
        array, total = parcel.open()
        assert parcel.arrived()
        assert (array == (values + turn) * 2).all()
        assert total == float(((values + turn) * 2).double().sum())
