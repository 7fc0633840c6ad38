"""Definitions as old releases, portals and hands wrote them: what they leave out or get wrong
about a net changes no pixel."""

from __future__ import annotations

import json

import pytest
import torch

from attachtrans.models.definition import ModelDefinition
from attachtrans.models.load import load_model
from tests.models.arcgis_nets import pix2pix, pix2pix_hd, pix2pix_resnet, super_resolution
from tests.models.diffusion_nets import sr3
from tests.models.nets import cyclegan

torch.set_num_threads(1)

WRITERS = {
    "CycleGAN": cyclegan,
    "Pix2Pix": pix2pix,
    "Pix2Pix with a backbone": pix2pix_resnet,
    "Pix2PixHD": pix2pix_hd,
    "SuperResolution": super_resolution,
    "SR3": sr3,
    "SR3_UViT": lambda emd: sr3(emd, "SR3_UViT"),
    "SR3_Wavelet": lambda emd: sr3(emd, "SR3_Wavelet"),
}
"""Each writes a model and gives its .emd."""

INSTALLED = "[Functions]System\\DeepLearning\\ArcGISLearn\\"
GONE = object()

VARIANTS = {
    "the script of an installation": lambda raw: {
        "InferenceFunction": INSTALLED + raw["InferenceFunction"]
    },
    "no script": lambda _raw: {"InferenceFunction": GONE},
    "a configuration with a name": lambda _raw: {"ModelConfiguration": {"Name": "_any"}},
    "no framework": lambda _raw: {"Framework": GONE},
    "another framework": lambda _raw: {"Framework": "PyTorch"},
    "no ModelName": lambda _raw: {"ModelName": GONE},
    "a name of its own": lambda _raw: {"ModelName": "My best model"},
    "unknown keys": lambda _raw: {"Colour": {"of": ["the", "sea"]}, "IsEdgeDetection": None},
    "no channels": lambda _raw: {"n_intput_channel": GONE, "label_nc": False},
    "lies about the net": lambda _raw: {
        "ModelParameters": {"backbone": "resnet34", "gen_blocks": 99},
        "backbone": "resnet152",
        "n_intput_channel": 77,
        "perceptual_loss": True,
    },
    "no statistics": lambda _raw: {"NormalizationStats": GONE, "NormalizationStats_b": GONE},
    "statistics of nothing": lambda _raw: {
        "NormalizationStats": {"band_min_values": None, "band_max_values": None},
        "NormalizationStats_b": None,
    },
    "no size": lambda _raw: {"ImageHeight": GONE, "ImageWidth": GONE},
    "DOS paths": lambda raw: {"ModelFile": ".\\" + raw["ModelFile"]},
    "bands that are all": lambda _raw: {"ExtractBands": [0, 1, 2], "Bands": ["o", "o", "o"]},
    "another letter case": lambda raw: {"ModelFile": raw["ModelFile"].upper()},
}
"""By what is odd: the parsed definition -> what to put on top of it."""


def pixels_of(model) -> torch.Tensor:
    size = max(model.spec.min_size, 32 // model.spec.multiple_of * model.spec.multiple_of)
    size = model.spec.fixed_size[0] if model.spec.fixed_size else size
    photo = torch.randint(
        0, 256, (1, 3, size, size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )
    with torch.inference_mode():
        return model(photo)


def load(definition):
    arguments = {"n_timestep": 2} if definition.model_type.startswith("SR3") else {}
    return load_model(definition, arguments=arguments, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_what_is_odd_changes_nothing(tmp_path, name):
    emd = WRITERS[name](tmp_path / "m.emd")
    raw = json.loads(emd.read_text(encoding="utf-8"))
    plain = load(ModelDefinition.read(emd))
    expected = pixels_of(plain)
    for odd, change in VARIANTS.items():
        changed = {**raw, **change(raw)}
        if odd == "a name of its own":
            changed["ModelType"] = raw["ModelType"]
        text = json.dumps({key: value for key, value in changed.items() if value is not GONE})
        (tmp_path / "odd.emd").write_text(text, encoding="utf-8-sig")
        model = load(ModelDefinition.read(tmp_path / "odd.emd"))
        assert model.spec == plain.spec, odd
        assert torch.equal(pixels_of(model), expected), odd


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WRITERS if name != "SR3_UViT"])
def test_versions_matter_to_one_type_only(tmp_path, name):
    emd = WRITERS[name](tmp_path / "m.emd")
    raw = json.loads(emd.read_text(encoding="utf-8"))
    expected = pixels_of(load(ModelDefinition.read(emd)))
    for version in (None, "1.8.1", "2.10", "nightly", 2.4, ["2"]):
        emd.write_text(json.dumps({**raw, "ArcGISLearnVersion": version}), encoding="utf-8")
        assert torch.equal(pixels_of(load(ModelDefinition.read(emd))), expected), version


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_a_definition_as_text_names_its_weights_by_an_absolute_path(tmp_path, name):
    emd = WRITERS[name](tmp_path / "m.emd")
    raw = json.loads(emd.read_text(encoding="utf-8"))
    text = json.dumps({**raw, "ModelFile": str(tmp_path / raw["ModelFile"])})
    read = ModelDefinition.read(text)
    assert torch.equal(pixels_of(load(read)), pixels_of(load(ModelDefinition.read(emd))))
