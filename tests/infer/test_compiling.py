from __future__ import annotations

import shutil
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from attachtrans.errors import ArgumentError, InferenceError
from attachtrans.infer.compiling import Compiled
from attachtrans.infer.devices import tiles_per_call
from attachtrans.infer.engine import Engine
from attachtrans.models.module import ModuleTranslator
from attachtrans.types import Size
from tests.infer.nets import CPU, Net, conv_net, convolutions, spec


@dataclass
class Compilable(Net):
    """A net with a stand-in for what torch makes of it."""

    fast: Net = field(default_factory=conv_net)

    def compiled(self) -> Net:
        return self.fast


def pair(fast=None, **facts) -> Compilable:
    def plain(batch: Tensor) -> Tensor:
        return batch * 0.5

    facts = {"receptive_field_px": 0} | facts
    return Compilable(plain, spec(**facts), fast=Net(fast or plain, spec(**facts)))


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


def test_one_shape_is_compiled_and_others_run_as_they_are():
    net = pair()
    compiled = Compiled(net, tile_size=32, batch_size=None)
    assert net.fast.shapes == [(1, 3, 32, 32)]
    for shape in ((1, 3, 32, 32), (2, 3, 32, 32), (1, 3, 32, 16)):
        assert torch.equal(compiled(torch.ones(shape)), torch.full(shape, 0.5))
    assert len(net.fast.shapes) == 2
    assert net.shapes[1:] == [(2, 3, 32, 32), (1, 3, 32, 16)]


def test_the_shape_is_that_of_the_engines_batches():
    net = pair()
    compiled = Compiled(net, tile_size=64, batch_size=2)
    engine = Engine[int](compiled, tile_size=64, batch_size=2, device=CPU, padding=4)
    image = torch.rand(3, 300, 256).numpy()
    ((_, result),) = [*engine.submit(0, image), *engine.flush()]
    assert abs(result.array - image * 0.5).max() < 1e-6
    assert set(net.fast.shapes) == {(2, 3, 64, 64)}
    assert len(net.fast.shapes) > result.tiles // 2 - 2


def test_a_fixed_size_needs_no_tile_size():
    net = pair(fixed_size=(48, 32), fixed_batch=3)
    Compiled(net, tile_size=None, batch_size=None)
    assert net.fast.shapes == [(3, 3, 32, 48)]


def test_without_a_tile_size_it_is_refused():
    with pytest.raises(ArgumentError, match=r"--compile.*tile_size=512"):
        Compiled(pair(), tile_size=None, batch_size=None)


def test_what_torch_cannot_compile_is_refused():
    with pytest.raises(ArgumentError, match=r"--compile.*ONNX"):
        Compiled(conv_net(), tile_size=64, batch_size=None)
    script = torch.jit.script(convolutions())
    net = ModuleTranslator(module=script, spec=spec(), device=CPU)
    with pytest.raises(ArgumentError, match=r"--compile.*TorchScript"):
        Compiled(net, tile_size=64, batch_size=None)


def test_a_compiler_that_fails_is_an_error_not_a_fallback():
    def fail(batch: Tensor) -> Tensor:
        raise RuntimeError("No working C++ compiler found\nsecond line")

    with pytest.raises(InferenceError, match=r"--compile.*No working.*g\+\+") as caught:
        Compiled(pair(fail), tile_size=32, batch_size=None)
    assert "second" not in str(caught.value)


def test_other_results_are_an_error():
    with pytest.raises(InferenceError, match=r"--compile.*other results"):
        Compiled(pair(lambda batch: batch * 0.6), tile_size=32, batch_size=None)


@pytest.mark.long  # half a minute of a C++ compiler
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_real_net():
    module = convolutions(2)
    net = ModuleTranslator(module=module, spec=spec(receptive_field_px=2), device=CPU)
    compiled = Compiled(net, tile_size=32, batch_size=None)
    batch = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(compiled(batch), net(batch), atol=1e-5, rtol=0)
    assert compiled.spec is net.spec
    assert compiled.device == CPU
    assert net.parameters == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("edge", "expected"), [(256, 16), (512, 16), (1024, 4), (4096, 1)])
def test_small_tiles_fill_a_graphics_card_in_larger_batches(edge, expected):
    assert tiles_per_call(torch.device("cuda"), Size(edge, edge)) == expected
    assert tiles_per_call(CPU, Size(edge, edge)) == 1
