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


def test_facts_as_json_are_plain_and_complete(tmp_path):
    info = model_info(ModelDefinition.read(bicubic_x2(tmp_path / "m.emd")))
    facts = json.loads(json.dumps(info.to_json()))
    assert set(facts) == {field.name for field in dataclasses.fields(info)}
    assert (facts["scale"], facts["in_range"]) == (2, [0, 1])
    assert [argument["name"] for argument in facts["arguments"]] == [
        "batch_size",
        "padding",
        "tile_size",
    ]
    assert facts["arguments"][0]["type"] == "int"
    assert facts["weights_bytes"] == (tmp_path / "m.ts.pt").stat().st_size


def test_exact_seams_are_offered_where_the_reach_ends_or_the_net_runs_in_stages(tmp_path):
    bounded = model_info(ModelDefinition.read(bicubic_x2(tmp_path / "m.emd")))
    assert (bounded.exact_seams, bounded.no_exact_seams) == (True, "")
    staged = model_info(ModelDefinition.read(cyclegan(tmp_path / "c.emd")))
    assert staged.receptive_field_px == "global"
    assert staged.exact_seams
    opaque = write_torchscript(Half(), tmp_path / "o.emd", ReceptiveField="global")
    info = model_info(ModelDefinition.read(opaque))
    assert not info.exact_seams
    assert info.no_exact_seams


def test_types_that_are_not_run_have_no_facts():
    with pytest.raises(ModelError, match="does not run yet"):
        model_info(ModelDefinition.read('{"ModelType": "WNet_cGAN"}'))
