from __future__ import annotations

import dataclasses
import json
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from attachtrans.errors import ModelError
from attachtrans.infer.whole import translate_array
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.load import load_model
from attachtrans.models.reach import Sampler, measure_reach
from tests.models.junyanz_nets import resnet, run_resnet, run_unet, saved, unet

torch.set_num_threads(1)

NORMS = ("instance", "affine", "old", "batch")


def noise(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def reach(translator):
    def noisy(bands, height, width, seed):
        return noise(1, bands, height, width, seed=seed)

    spec = dataclasses.replace(translator.spec, receptive_field_px=None)
    return measure_reach(spec, Sampler(noisy, translator), weights=translator.parameters)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("reflect", [False, True])
def test_resnets_compute_what_their_weights_say(tmp_path, norm, dropout, reflect):
    state = resnet(norm, bands=(4, 2), features=3, blocks=2, dropout=dropout, reflect=reflect)
    translator = load_model(saved(tmp_path / "net.pth", state), device="cpu")
    spec = translator.spec
    assert (spec.in_bands, spec.out_bands, spec.multiple_of, spec.min_size) == (4, 2, 4, 8)
    assert spec.in_range == spec.out_range == (-1, 1)
    assert (spec.receptive_field_px is None) == (norm != "batch")
    x = noise(2, 4, 16, 24)
    with torch.inference_mode():
        assert torch.allclose(translator(x), run_resnet(state, x, norm), atol=1e-6)


@pytest.mark.parametrize(("blocks", "halvings"), [(1, 0), (6, 2), (9, 2), (1, 3)])
def test_resnets_of_any_size(tmp_path, blocks, halvings):
    state = resnet(features=2, blocks=blocks, halvings=halvings)
    translator = load_model(saved(tmp_path / "net.pth", state), device="cpu")
    side = translator.spec.min_size
    assert translator.spec.multiple_of == 2**halvings
    x = noise(1, 3, side, 2 * side)
    with torch.inference_mode():
        expected = run_resnet(state, x, "instance", halvings=halvings)
        assert torch.allclose(translator(x), expected, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("widths", [(4, 4), (4, 6, 8), (2, 3, 4, 4, 4)])
def test_unets_compute_what_their_weights_say(tmp_path, norm, widths):
    state = unet(norm, bands=(1, 3), widths=widths)
    definition = ModelDefinition.read(saved(tmp_path / "net.pth", state))
    assert definition.tile_size == 2 ** len(widths)
    translator = load_model(definition, device="cpu")
    spec = translator.spec
    assert (spec.in_bands, spec.out_bands) == (1, 3)
    assert spec.multiple_of == spec.min_size == 2 ** len(widths)
    x = noise(2, 1, spec.min_size, 3 * spec.min_size)
    with torch.inference_mode():
        assert torch.allclose(translator(x), run_unet(state, x, norm), atol=1e-6)


def test_the_reach_of_nets_with_batch_norm_is_what_is_measured(tmp_path):
    for at, state in enumerate(
        (
            resnet("batch", features=2, blocks=1),
            resnet("batch", features=2, blocks=2, reflect=False),
            resnet("batch", features=2, blocks=1, halvings=1),
            unet("batch", widths=(4, 4)),
            unet("batch", widths=(4, 4, 4)),
        )
    ):
        translator = load_model(saved(tmp_path / f"{at}.pth", state), device="cpu")
        with torch.inference_mode():
            measured = reach(translator)
        assert measured is not None
        # What rounds away in the measurement is at the ends of kernels only.
        assert measured <= translator.spec.receptive_field_px <= measured + 2


@pytest.mark.parametrize("state", [resnet("batch", blocks=1), unet("batch", widths=(4, 4, 4))])
def test_with_batch_norm_tiled_is_untiled(tmp_path, state):
    translator = load_model(saved(tmp_path / "net.pth", state), device="cpu")
    photo = (noise(3, 100, 120).numpy() + 1) * 127.5
    photo = photo.astype("uint8")
    with torch.inference_mode():
        tiled = translate_array(translator, photo, tile_size=96)
        untiled = translate_array(translator, photo, tile_size=128)
    assert abs(tiled.astype(int) - untiled.astype(int)).max() <= 1


WRAPPINGS = {
    "module": lambda state: {f"module.{name}": state[name] for name in state},
    "compiled": lambda state: {f"_orig_mod.module.{name}": state[name] for name in state},
    "generator": lambda state: {f"generator.{name}": state[name] for name in state},
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "params_ema": lambda state: {"params": {}, "params_ema": state},
    "nested": lambda state: {"model": {"netG": {f"module.{name}": state[name] for name in state}}},
    "alone": lambda state: {"weights of mine": state},
    "block": lambda state: {name.replace("conv_block", "block"): state[name] for name in state},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_the_ways_in_which_checkpoints_are_wrapped(tmp_path, wrapping):
    state = resnet()
    plain = load_model(saved(tmp_path / "plain.pth", state), device="cpu")
    wrapped = WRAPPINGS[wrapping](state)
    translator = load_model(saved(tmp_path / "net.pth", wrapped), device="cpu")
    x = noise(1, 3, 8, 8)
    assert torch.equal(translator(x), plain(x))


def test_safetensors_packages_and_half_precision(tmp_path):
    state = {name: value.half() for name, value in unet().items()}
    save_file(state, tmp_path / "net.safetensors")
    bare = load_model(tmp_path / "net.safetensors", device="cpu")
    keys = {
        "Framework": "attachtrans",
        "ModelType": "UnetGenerator",
        "ModelFile": "net.safetensors",
        "InputRange": [0, 255],
        "OutputRange": [0, 1],
    }
    (tmp_path / "net.emd").write_text(json.dumps(keys))
    with zipfile.ZipFile(tmp_path / "net.dlpk", "w") as archive:
        archive.write(tmp_path / "net.emd", "net.emd")
        archive.write(tmp_path / "net.safetensors", "net.safetensors")
    packed = load_model(tmp_path / "net.dlpk", device="cpu")
    assert packed.spec.in_range == (0, 255)
    x = noise(1, 3, 8, 8)
    assert torch.equal(bare(x), packed(x))
    assert bare(x).dtype == torch.float32


def without(name):
    return lambda state: {each: state[each] for each in state if each != name}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("model.4.bias"), "model.4.bias"),
        (without("model.10.conv_block.5.weight"), "conv_block.5"),
        (lambda s: {n: s[n] for n in s if "block.5" not in n}, "layers"),
        (lambda s: {**s, "model.1.weight": torch.zeros(4, 3, 5, 5)}, "do not fit"),
        (lambda s: {**s, "extra": torch.zeros(1)}, "extra"),
        (
            lambda s: {**s, "model.900000.conv_block.1.weight": torch.zeros(1, 1, 1, 1)},
            "fit|missing",
        ),
        (lambda s: {n.replace("model.1", "model.99999"): s[n] for n in s}, "another net"),
        (lambda s: {**s, "model.4.weight": torch.zeros(8, 4, 3, 3, dtype=torch.int8)}, "int8"),
    ],
)
def test_resnets_that_are_spoiled(tmp_path, spoil, message):
    keys = {"ModelType": "ResnetGenerator", "InputRange": [-1, 1], "OutputRange": [-1, 1]}
    saved(tmp_path / "net.pth", spoil(resnet()))
    text = json.dumps({"Framework": "attachtrans", "ModelFile": str(tmp_path / "net.pth"), **keys})
    with pytest.raises(ModelError, match=message):
        load_model(text, device="cpu")


def test_a_bottomless_unet_is_refused(tmp_path):
    state = unet(widths=(2,) * 14)
    with pytest.raises(ModelError, match="14 levels"):
        load_model(saved(tmp_path / "net.pth", state), device="cpu")


def test_the_other_kind_is_named(tmp_path):
    saved(tmp_path / "net.pth", unet())
    keys = {
        "Framework": "attachtrans",
        "ModelType": "ResnetGenerator",
        "ModelFile": "net.pth",
        "InputRange": [-1, 1],
        "OutputRange": [-1, 1],
    }
    (tmp_path / "net.emd").write_text(json.dumps(keys))
    with pytest.raises(ModelError, match="a UnetGenerator"):
        load_model(tmp_path / "net.pth", device="cpu")


@pytest.mark.parametrize("state", [resnet("affine"), resnet("batch"), unet(), unet("batch")])
def test_nets_can_be_traced(tmp_path, state):
    translator = load_model(saved(tmp_path / "net.pth", state), device="cpu")
    traced = torch.fx.symbolic_trace(translator.module)
    x = noise(1, 3, 16, 16)
    assert torch.equal(traced(x), translator(x))


def test_statistics_that_could_belong_to_either_norm(tmp_path):
    """Trained values, running statistics and a bias: who counted batches means them."""
    counted = resnet("batch")
    for name in [each for each in counted if each.endswith("running_mean")]:
        convolution = name.removesuffix(".running_mean")
        stem, _, number = convolution.rpartition(".")
        counted[f"{stem}.{int(number) - 1}.bias"] = torch.zeros(counted[name].shape)
    old = {name: value for name, value in counted.items() if "tracked" not in name}
    x = noise(1, 3, 16, 16)
    for state, norm in ((counted, "batch"), (old, "affine")):
        translator = load_model(saved(tmp_path / "net.pth", state), device="cpu")
        with torch.inference_mode():
            assert torch.allclose(translator(x), run_resnet(state, x, norm), atol=1e-6)
