from __future__ import annotations

import time
from threading import Event, Thread

import pytest
import torch

from attachtrans.errors import ArgumentError
from attachtrans.infer import precision
from attachtrans.infer.precision import Caller
from tests.infer.nets import CPU, Net, conv_net, spec

NONE = torch.zeros(1, 2, dtype=torch.int64)
CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


@pytest.fixture
def long_run(monkeypatch):
    """As if the run had been going on for long on a CPU that knows bf16."""
    monkeypatch.setattr(precision, "_LONG_CALLS", 2)
    monkeypatch.setattr(precision, "_LONG_S", 0.0)
    monkeypatch.setattr(precision, "bf16_pays", lambda _device: True)


def slow_in_fp32(batch: torch.Tensor) -> torch.Tensor:
    time.sleep(0.001 if torch.is_autocast_enabled("cpu") else 0.01)
    return batch


def run(caller: Caller, calls: int, tiles: int = 4) -> list[str]:
    """The precisions after each call."""
    seen = []
    for _ in range(calls):
        caller(torch.rand(tiles, 3, 16, 16), NONE)
        seen.append(caller.precision)
    return seen


def test_a_short_run_on_the_cpu_stays_in_fp32():
    net = conv_net()
    assert set(run(Caller(net, CPU, "auto"), 49)) == {"fp32"}
    assert len(net.shapes) == 49


def test_half_precision_on_request():
    caller = Caller(conv_net(), CPU, "bf16")
    batch = torch.rand(1, 3, 16, 16)
    result = caller(batch, NONE)
    assert result.dtype == torch.float32
    exact = conv_net()(batch)
    assert not torch.equal(result, exact)
    torch.testing.assert_close(result, exact, atol=0.02, rtol=0)


def test_full_precision_on_request(long_run):
    net = Net(slow_in_fp32, spec())
    assert set(run(Caller(net, CPU, "fp32"), 8)) == {"fp32"}
    assert len(net.shapes) == 8


def test_unknown_names_are_refused():
    with pytest.raises(ArgumentError, match=r"fp8.*bf16"):
        Caller(conv_net(), CPU, "fp8")


def test_faster_half_precision_is_gone_over_to(long_run):
    net = Net(slow_in_fp32, spec())
    seen = run(Caller(net, CPU, "auto"), 7)
    # Two calls to see that the run is long, three both ways, then half alone.
    assert seen == ["fp32"] * 4 + ["bf16"] * 3
    assert len(net.shapes) == 2 + 3 * 2 + 2


def test_slower_half_precision_is_left(long_run):
    def slow_in_half(batch: torch.Tensor) -> torch.Tensor:
        time.sleep(0.01 if torch.is_autocast_enabled("cpu") else 0.001)
        return batch

    net = Net(slow_in_half, spec())
    assert set(run(Caller(net, CPU, "auto"), 8)) == {"fp32"}
    assert len(net.shapes) == 8 + 3


def test_half_precision_with_other_results_is_left_at_once(long_run):
    def amplify(batch: torch.Tensor) -> torch.Tensor:
        slow_in_fp32(batch)
        return torch.nn.functional.conv2d(batch, torch.full((3, 3, 1, 1), 1.0)) * 100 % 1

    net = Net(amplify, spec())
    caller = Caller(net, CPU, "auto")
    run(caller, 2)
    batch = torch.rand(2, 3, 16, 16)
    assert torch.equal(caller(batch, NONE), amplify(batch))
    assert set(run(caller, 3)) == {"fp32"}
    assert len(net.shapes) == 2 + 2 + 3


def test_a_net_that_cannot_do_half_precision_is_left_alone(long_run):
    def only_full(batch: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("expected scalar type Float but found BFloat16")
        return batch

    assert set(run(Caller(Net(only_full, spec()), CPU, "auto"), 8)) == {"fp32"}


def test_memory_that_runs_out_in_the_trial_is_no_verdict(long_run):
    def hungry(batch: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu") and len(batch) > 1:
            raise MemoryError
        return slow_in_fp32(batch)

    caller = Caller(Net(hungry, spec()), CPU, "auto")
    run(caller, 2)
    with pytest.raises(MemoryError):
        run(caller, 1)
    assert run(caller, 12, tiles=1)[-1] == "bf16"


def test_a_processor_that_imitates_bf16_is_not_asked(long_run, monkeypatch):
    monkeypatch.setattr(precision, "bf16_pays", lambda _device: False)
    net = Net(slow_in_fp32, spec())
    assert set(run(Caller(net, CPU, "auto"), 8)) == {"fp32"}
    assert len(net.shapes) == 8


def test_others_go_on_in_fp32_during_the_trial(long_run):
    trying, done = Event(), Event()

    def wait(batch: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu") and len(batch) == 1:
            trying.set()
            assert done.wait(20)
        return batch

    caller = Caller(Net(wait, spec()), CPU, "auto")
    run(caller, 2)
    thread = Thread(target=run, args=(caller, 1, 1))
    thread.start()
    assert trying.wait(20)
    assert run(caller, 3) == ["fp32"] * 3
    done.set()
    thread.join()


@pytest.mark.parametrize(
    ("capability", "expected"), [((6, 1), None), ((7, 5), "fp16"), ((8, 0), "bf16")]
)
def test_graphics_cards_try_what_they_are_made_for(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert Caller(conv_net(), CUDA, "auto")._candidate == expected
