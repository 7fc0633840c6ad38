from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
import textwrap
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from attachtrans.errors import ModelError
from attachtrans.infer.whole import translate_array
from attachtrans.models import upscaler
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.load import load_model
from attachtrans.models.package import FileRef
from attachtrans.models.recognise import recognise

torch.set_num_threads(1)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("spandrel") is None, reason="needs the extra attachtrans[upscalers]"
)


def compact(*, features=8, hidden=2, scale=2, bands=3):
    """Weights of SRVGGNetCompact (Real-ESRGAN's "compact" nets)."""
    generator = torch.Generator().manual_seed(3)
    widths = [bands, *[features] * (hidden + 1), bands * scale**2]
    state = {}
    for layer, (inside, out) in enumerate(pairwise(widths)):
        weight = torch.randn(out, inside, 3, 3, generator=generator) * 0.1
        state[f"body.{2 * layer}.weight"] = weight
        state[f"body.{2 * layer}.bias"] = torch.randn(out, generator=generator) * 0.05
        if layer <= hidden:
            state[f"body.{2 * layer + 1}.weight"] = torch.rand(out, generator=generator)
    return state


def run_compact(state, x, scale=2):
    layers = max(int(name.split(".")[1]) for name in state)
    y = x
    for layer in range(0, layers + 1, 2):
        weight, bias = state[f"body.{layer}.weight"], state[f"body.{layer}.bias"]
        y = functional.conv2d(y, weight, bias, padding=1)
        if layer < layers:
            y = functional.prelu(y, state[f"body.{layer + 1}.weight"])
    enlarged = functional.interpolate(x, scale_factor=scale, mode="nearest")
    return (functional.pixel_shuffle(y, scale) + enlarged).clamp(0, 1)


def saved(path, state):
    torch.save(state, path)
    return path


def picture(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def test_a_compact_net_computes_what_its_weights_say(tmp_path):
    state = compact()
    translator = load_model(saved(tmp_path / "x2.pth", {"params": state}), device="cpu")
    spec = translator.spec
    assert (spec.in_bands, spec.out_bands, spec.scale) == (3, 3, 2)
    assert spec.in_range == spec.out_range == (0, 1)
    assert spec.receptive_field_px == 4
    assert translator.parameters == sum(value.numel() for value in state.values())
    x = picture(2, 3, 17, 20)
    assert torch.allclose(translator(x), run_compact(state, x), atol=1e-6)
    eight_bit = (x * 255).round().byte()
    expected = run_compact(state, eight_bit.float() / 255)
    assert torch.allclose(translator(eight_bit), expected, atol=1e-6)


def test_tiled_is_untiled(tmp_path):
    translator = load_model(saved(tmp_path / "x2.pth", compact()), device="cpu")
    photo = (picture(3, 90, 110) * 255).byte().numpy()
    tiled = translate_array(translator, photo, tile_size=48)
    untiled = translate_array(translator, photo, tile_size=128)
    assert tiled.shape == (3, 180, 220)
    assert abs(tiled.astype(int) - untiled.astype(int)).max() <= 1


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"params": {}, "params_ema": state},
        lambda state: {"state_dict": state, "note": "mine"},
        lambda state: {"state_dict": {f"generator.module.{n}": state[n] for n in state}},
    ],
)
def test_the_ways_in_which_checkpoints_are_wrapped(tmp_path, wrap):
    path = saved(tmp_path / "x2.pth", wrap(compact()))
    assert recognise(FileRef(path=path)) == {
        "Framework": "attachtrans",
        "ModelType": "Upscaler",
        "ModelFile": "x2.pth",
        "InputRange": [0, 1],
        "OutputRange": [0, 1],
    }
    x = picture(1, 3, 9, 9)
    translator = load_model(path, device="cpu")
    assert torch.allclose(translator(x), run_compact(compact(), x), atol=1e-6)


def test_safetensors_in_half_precision(tmp_path):
    state = compact()
    save_file({name: value.half() for name, value in state.items()}, tmp_path / "x2.safetensors")
    definition = ModelDefinition.read(tmp_path / "x2.safetensors")
    assert (definition.name, definition.model_type) == ("x2", "Upscaler")
    out = load_model(definition, device="cpu")(picture(1, 3, 9, 9))
    assert out.dtype == torch.float32
    assert torch.allclose(out, run_compact(state, picture(1, 3, 9, 9)), atol=1e-3)


def test_other_ranges_are_a_mistake(tmp_path):
    saved(tmp_path / "x2.pth", compact())
    keys = {
        "Framework": "attachtrans",
        "ModelType": "Upscaler",
        "ModelFile": str(tmp_path / "x2.pth"),
        "InputRange": [0, 255],
        "OutputRange": [0, 255],
    }
    with pytest.raises(ModelError, match="InputRange"):
        load_model(json.dumps(keys), device="cpu")


def test_weights_that_do_not_fit(tmp_path):
    state = compact()
    state["body.2.weight"] = torch.zeros(5, 5, 3, 3)
    with pytest.raises(ModelError, match="do not fit"):
        load_model(saved(tmp_path / "x2.pth", state), device="cpu")


def test_layers_without_number_are_refused_before_they_are_built(tmp_path):
    state = {**compact(), "body.2000000000.weight": torch.zeros(1)}
    with pytest.raises(ModelError, match="layers beyond"):
        load_model(saved(tmp_path / "x2.pth", state), device="cpu")


def test_a_few_values_do_not_become_terabytes(tmp_path):
    state = compact()
    state["body.0.weight"] = torch.zeros(400_000, 3, 1, 1)
    with pytest.raises(ModelError, match="much larger"):
        load_model(saved(tmp_path / "x2.pth", state), device="cpu")


def test_weights_of_unknown_nets(tmp_path):
    path = saved(tmp_path / "net.pth", {"mine.weight": torch.zeros(3, 3)})
    assert recognise(FileRef(path=path)) is None
    with pytest.raises(ModelError, match=r"without their net.*attachtrans\[upscalers\]"):
        ModelDefinition.read(path)
    keys = {"InputRange": [0, 1], "OutputRange": [0, 1], "ModelType": "Upscaler"}
    text = json.dumps({"Framework": "attachtrans", "ModelFile": str(path), **keys})
    with pytest.raises(ModelError, match="does not know"):
        load_model(text, device="cpu")


class Net(nn.Module):
    """A net of one weight whose rule the test gives."""

    def __init__(self, rule):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.rule = rule

    def forward(self, x):
        return self.rule(x) * self.weight


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads a net as if spandrel had recognised it."""
    upscaler.architecture_of({})
    spandrel = importlib.import_module("spandrel")

    def loaded(rule, *, masked=False, **keys):
        architecture = SimpleNamespace(name="Some")

        def describe(state):
            kind = spandrel.MaskedImageModelDescriptor if masked else spandrel.ImageModelDescriptor
            facts = {
                "purpose": "Inpainting" if masked else "Restoration",
                "tags": [],
                "supports_half": True,
                "supports_bfloat16": True,
                "input_channels": 3,
                "output_channels": 3,
                **({} if masked else {"scale": 1}),
                **keys,
            }
            return kind(Net(rule), state, architecture=architecture, **facts)

        architecture.load = describe
        support = SimpleNamespace(architecture=architecture)
        monkeypatch.setattr(upscaler, "_support", lambda *_: support)
        return load_model(saved(tmp_path / "net.pth", {"weight": torch.ones(())}), device="cpu")

    loaded.spandrel = spandrel
    return loaded


def test_size_requirements(load):
    sizes = load.spandrel.SizeRequirements
    spec = load(lambda x: x, size_requirements=sizes(minimum=20, multiple_of=8)).spec
    assert (spec.min_size, spec.multiple_of, spec.fixed_size) == (24, 8, None)
    square = load(lambda x: x, size_requirements=sizes(multiple_of=48, square=True)).spec
    assert square.fixed_size == (288, 288)


def test_where_tiles_are_discouraged_the_reach_is_global(load):
    tiling = load.spandrel.ModelTiling
    assert load(lambda x: x).spec.receptive_field_px == 0
    for advice in (tiling.DISCOURAGED, tiling.INTERNAL):
        assert load(lambda x: x, tiling=advice).spec.receptive_field_px is None


def test_nets_that_change_their_input_are_given_a_copy(load):
    translator = load(lambda x: x.mul_(0.5))
    x = picture(1, 3, 8, 8)
    before = x.clone()
    assert torch.equal(translator(x), x * 0.5)
    assert torch.equal(x, before)


def test_nets_that_attachtrans_has_no_use_for(load):
    with pytest.raises(ModelError, match="mask"):
        load(lambda x: x, masked=True)
    with pytest.raises(ModelError, match="face"):
        load(lambda x: x, purpose="FaceSR")
    with pytest.raises(ModelError, match="draws noise"):
        load(lambda x: x + torch.rand_like(x))
    with pytest.raises(ModelError, match="does not run"):
        load(lambda x: x @ torch.zeros(1, 7))


def test_a_net_that_contradicts_its_description(load):
    with pytest.raises(ModelError, match="Scale"):
        load(lambda x: functional.interpolate(x, scale_factor=2))


def run(script, *, path=()):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={"PYTHONPATH": ":".join(map(str, path)), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr


ASKS = """
    import sys, torch
    from attachtrans.models.upscaler import architecture_of
    state = {"body.0.weight": torch.zeros(1), "body.1.weight": torch.zeros(1)}
    assert architecture_of(state) is not None
"""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed"
)
def test_without_torchvision_nothing_of_it_remains():
    run(ASKS + "    assert not [name for name in sys.modules if 'torchvision' in name]\n")


@pytest.mark.slow
def test_a_broken_torchvision_is_as_good_as_none(tmp_path):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    run(ASKS, path=[tmp_path])


@pytest.mark.slow
def test_a_whole_torchvision_is_left_to_spandrel(tmp_path):
    folder = tmp_path / "torchvision/transforms"
    folder.mkdir(parents=True)
    (tmp_path / "torchvision/__init__.py").write_text("")
    (folder / "__init__.py").write_text("")
    (folder / "functional.py").write_text("InterpolationMode = rotate = normalize = 'real'\n")
    run(
        ASKS + "    from spandrel.architectures import RestoreFormer\n"
        "    assert RestoreFormer.tv_normalize == 'real'\n",
        path=[tmp_path],
    )


def test_without_spandrel_the_extra_is_named(tmp_path, monkeypatch):
    real = importlib.import_module

    def missing(name, *args):
        if name == "spandrel":
            raise ModuleNotFoundError(name)
        return real(name, *args)

    path = saved(tmp_path / "x2.pth", compact())
    definition = ModelDefinition.read(path)
    monkeypatch.setattr(importlib, "import_module", missing)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"attachtrans\[upscalers\]"):
        load_model(definition, device="cpu")
    with pytest.raises(ModelError, match=r"attachtrans\[upscalers\]"):
        ModelDefinition.read(path)


@pytest.mark.slow
def test_a_real_net_agrees_with_its_onnx(shared):
    stem = shared / "models/realesr-animevideov3-x4/realesr-animevideov3-x4"
    translator = load_model(stem.with_suffix(".pth"), device="cpu")
    assert (translator.spec.scale, translator.spec.receptive_field_px) == (4, 18)
    keys = {
        "Framework": "attachtrans",
        "ModelType": "ONNX",
        "ModelFile": str(stem.with_suffix(".onnx")),
        "InputRange": [0, 1],
        "OutputRange": [0, 1],
        "ReceptiveField": 18,
    }
    twin = load_model(json.dumps(keys), device="cpu")
    x = picture(1, 3, 24, 40)
    assert torch.allclose(translator(x), twin(x).clamp(0, 1), atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "neuro-low-light-zerodce/zerodcepp.pth",
        "waifu2x-upconv7-photo-x2/scalex2.pth",
        "websr-anime4k-s-rl-x2/anime4k_s_rl.pth",
        "websr-anime4k-s-rl-x2/anime4k_s_rl.safetensors",
    ],
)
def test_real_state_dicts_of_nets_that_nobody_knows(shared, name):
    with pytest.raises(ModelError, match="without their net"):
        ModelDefinition.read(shared / "models" / name)
