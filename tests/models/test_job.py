from __future__ import annotations

import json

import pytest

from attachtrans.errors import ArgumentError, ModelError, UntrustedModelError
from attachtrans.models.arguments import CycleGANArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.job import job_fingerprint, require_runnable, resolve_arguments
from tests.models.nets import bicubic_x2, cyclegan


def test_tile_size_defaults_to_the_training_size_where_the_result_depends_on_it(tmp_path):
    gan = ModelDefinition.read(cyclegan(tmp_path / "gan.emd"))
    assert resolve_arguments(gan) == CycleGANArguments(tile_size=64)
    assert resolve_arguments(gan, {"tile_size": "128"}).tile_size == 128
    bicubic = ModelDefinition.read(bicubic_x2(tmp_path / "cubic.emd"))
    assert resolve_arguments(bicubic).tile_size is None
    with pytest.raises(ArgumentError, match="direction"):
        resolve_arguments(bicubic, {"direction": "AtoB"})


def test_jobs_differ_by_what_changes_pixels(tmp_path):
    definition = ModelDefinition.read(cyclegan(tmp_path / "gan.emd"))
    jobs = {
        json.dumps(pairs): job_fingerprint(definition, resolve_arguments(definition, pairs))
        for pairs in (
            {},
            {"batch_size": "7"},
            {"tile_size": "64"},
            {"direction": "BtoA"},
            {"padding": "8"},
            {"tile_size": "128"},
        )
    }
    same = [jobs["{}"], jobs['{"batch_size": "7"}'], jobs['{"tile_size": "64"}']]
    assert len(set(same)) == 1
    assert len(set(jobs.values())) == 4


@pytest.mark.parametrize(
    "keys",
    [
        {"ModelName": "WNet_cGAN"},
        {"ModelName": "ClimaX"},
        {"ModelType": "ClimaX"},
    ],
)
def test_types_of_later_releases_are_refused_by_name(keys):
    definition = ModelDefinition.read(json.dumps(keys))
    assert definition.arguments == ()
    with pytest.raises(ModelError, match="does not run yet") as caught:
        require_runnable(definition)
    assert definition.model_type in str(caught.value)
    assert "CycleGAN" in str(caught.value)


def test_scripts_and_unknown_types_are_refused():
    script = {"Framework": "PyTorch", "ModelType": "X", "InferenceFunction": "evil.py"}
    definition = ModelDefinition.read(json.dumps(script))
    with pytest.raises(UntrustedModelError, match=r"evil\.py.*--trust-code"):
        require_runnable(definition)
    with pytest.raises(ModelError, match=r"evil\.py.*absolute path"):
        require_runnable(definition, trust_code=True)
    with pytest.raises(ModelError, match="unknown type"):
        require_runnable(ModelDefinition.read('{"ModelType": "Detector"}'))
