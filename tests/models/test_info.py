from __future__ import annotations

import dataclasses
import json

import pytest

from attachtrans.errors import ModelError
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.info import model_info
from tests.models.nets import bicubic_x2, cyclegan, write_torchscript
from tests.models.test_torchscript import Half


def test_a_cyclegan_depends_on_its_tile(tmp_path):
    definition = ModelDefinition.read(cyclegan(tmp_path / "m.emd", bands_a=1))
    info = model_info(definition)
    assert (info.model_type, info.in_bands, info.out_bands) == ("CycleGAN", 1, 3)
    assert info.receptive_field_px == "global"
    assert info.in_range is None
    assert info.tile_size == 64
    defaults = {argument.name: argument.default for argument in info.arguments}
    assert defaults == {"batch_size": None, "padding": None, "tile_size": 64, "direction": "AtoB"}
    assert model_info(definition, {"direction": "BtoA"}).out_bands == 1
    assert info.fingerprint == definition.fingerprint
    assert info.parameters > 1000


def test_a_torchscript_says_what_was_measured(tmp_path):
    emd = write_torchscript(
        Half(), tmp_path / "m.emd", Licence="MIT\n(c) somebody", Description="Blurs."
    )
    info = model_info(ModelDefinition.read(emd))
    assert (info.receptive_field_px, info.scale, info.parameters) == (1, 1, 84)
    assert (info.licence, info.description) == ("MIT (c) somebody", "Blurs.")


def test_facts_are_plain_values(tmp_path):
    info = model_info(ModelDefinition.read(bicubic_x2(tmp_path / "m.emd")))
    facts = dataclasses.asdict(info)
    for argument in facts["arguments"]:
        argument["type"] = argument["type"].__name__
    assert json.loads(json.dumps(facts))["scale"] == 2


def test_types_that_are_not_run_have_no_facts():
    with pytest.raises(ModelError, match="does not run yet"):
        model_info(ModelDefinition.read('{"ModelType": "WNet_cGAN"}'))
