from __future__ import annotations

import pytest
import torch

from attachtrans.errors import ArgumentError, ModelError, UntrustedModelError
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.job import resolve_arguments
from attachtrans.models.load import load_model
from attachtrans.models.module import as_float, pick_device
from tests.models.nets import BicubicX2, bicubic_x2, cyclegan

torch.set_num_threads(1)


def test_arguments_may_be_resolved_or_pairs(tmp_path):
    definition = ModelDefinition.read(cyclegan(tmp_path / "m.emd", bands_a=1))
    pairs = {"direction": "BtoA"}
    for arguments in (pairs, list(pairs.items()), resolve_arguments(definition, pairs)):
        assert load_model(definition, arguments=arguments, device="cpu").spec.out_bands == 1
    assert load_model(definition, device="cpu").spec.out_bands == 3


def test_the_built_in_model_goes_by_name():
    translator = load_model("sr-x2", device="cpu")
    spec = translator.spec
    assert (spec.in_bands, spec.out_bands, spec.scale) == (3, 3, 2)
    assert spec.in_range == spec.out_range == (0, 1)
    assert spec.receptive_field_px is not None
    with torch.inference_mode():
        assert translator(torch.rand(2, 3, 5, 7)).shape == (2, 3, 10, 14)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"precision": "int8"}, "fp32, bf16, fp16"),
        ({"compat": "arcgis-1"}, "arcgis-2.4.4"),
        ({"noise": []}, "noise"),
        ({"arguments": {"direction": "AtoB"}}, "direction"),
    ],
)
def test_parameters_are_checked(tmp_path, keys, named):
    with pytest.raises(ArgumentError, match=named):
        load_model(bicubic_x2(tmp_path / "m.emd"), device="cpu", **keys)


def test_compatibility_changes_nothing_for_cyclegan(tmp_path):
    emd = cyclegan(tmp_path / "m.emd")
    pixels = torch.rand(1, 3, 16, 16) * 255
    outs = [
        load_model(emd, device="cpu", compat=compat)(pixels)
        for compat in (None, "arcgis-2.4.4", "arcgis-2.4.2")
    ]
    assert torch.equal(outs[0], outs[1])
    assert torch.equal(outs[0], outs[2])


def test_types_that_are_not_run_are_refused():
    with pytest.raises(ModelError, match="WNet_cGAN"):
        load_model('{"ModelType": "WNet_cGAN"}', device="cpu")
    with pytest.raises(UntrustedModelError):
        load_model('{"ModelType": "X", "InferenceFunction": "x.py"}')


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "nonsense"])
def test_devices_that_are_not_here(tmp_path, device):
    with pytest.raises(ArgumentError, match="--device"):
        load_model(bicubic_x2(tmp_path / "m.emd"), device=device)


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device(torch.device("cpu")) == torch.device("cpu")
    assert pick_device("auto").type in {"cpu", "cuda", "mps"}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_explicit_precision_wins_over_autocast(tmp_path, precision):
    emd = cyclegan(tmp_path / "m.emd")
    pixels = torch.rand(1, 3, 16, 16) * 255
    fixed = load_model(emd, device="cpu", precision=precision)
    free = load_model(emd, device="cpu")
    assert fixed.spec == free.spec
    with torch.inference_mode():
        exact = free(pixels)
        alone = fixed(pixels)
        with torch.autocast("cpu", torch.bfloat16):
            inside = fixed(pixels)
    assert alone.dtype == torch.float32
    assert torch.equal(alone, inside)
    assert torch.equal(alone, exact) == (precision == "fp32")
    assert (alone - exact).abs().max() < 20


def test_a_translator_under_autocast_gives_float(tmp_path):
    translator = load_model(bicubic_x2(tmp_path / "m.emd"), device="cpu")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert translator(torch.rand(1, 3, 4, 4)).dtype == torch.float32


def test_eight_bit_batches_are_mapped_to_the_range_of_the_net():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert as_float(pixels, (0, 1)).tolist() == pytest.approx([0, 0.2, 1])
    assert as_float(pixels, (-1, 1)).tolist() == pytest.approx([-1, -0.6, 1])
    assert as_float(pixels, (0, 255)).tolist() == [0, 51, 255]
    assert as_float(pixels, None).tolist() == [0, 51, 255]
    assert as_float(torch.tensor([0.5]), (-1, 1)).tolist() == [0.5]


def test_the_bicubic_of_the_tests_is_bounded():
    assert BicubicX2()(torch.ones(1, 3, 4, 4)).max() == 1
