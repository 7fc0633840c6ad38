from __future__ import annotations

import pytest
import torch

from attachtrans.errors import ArgumentError
from attachtrans.infer.precision import Caller, agree
from tests.infer.nets import CPU, Net, conv_net, spec

NONE = torch.zeros(1, 2, dtype=torch.int64)


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


def test_cpu_runs_in_fp32():
    assert Caller(conv_net(), CPU, "auto").precision == "fp32"


def test_half_precision_on_request():
    caller = Caller(conv_net(), CPU, "bf16")
    batch = torch.rand(1, 3, 16, 16)
    result = caller(batch, NONE)
    assert result.dtype == torch.float32
    exact = conv_net()(batch)
    assert not torch.equal(result, exact)
    torch.testing.assert_close(result, exact, atol=0.02, rtol=0)


def test_unknown_names_are_refused():
    with pytest.raises(ArgumentError, match=r"fp8.*bf16"):
        Caller(conv_net(), CPU, "fp8")


def auto_half(net: Net) -> Caller:
    """What a GPU would do, on the CPU."""
    caller = Caller(net, CPU, "auto")
    caller.precision, caller._trial = "bf16", 8
    return caller


def test_a_good_half_precision_is_kept_after_its_trial():
    net = conv_net()
    caller = auto_half(net)
    for _ in range(3):
        caller(torch.rand(4, 3, 16, 16), NONE)
    assert caller.precision == "bf16"
    assert len(net.shapes) == 2 + 2 + 1


def test_a_bad_half_precision_is_given_up():
    def amplify(batch: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(batch, torch.full((3, 3, 1, 1), 1.0)) * 100 % 1

    net = Net(amplify, spec())
    caller = auto_half(net)
    batch = torch.rand(2, 3, 16, 16)
    assert torch.equal(caller(batch, NONE), amplify(batch))
    assert caller.precision == "fp32"


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
