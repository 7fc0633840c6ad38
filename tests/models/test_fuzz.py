"""Whatever stands in a definition, only ModelError comes out."""

from __future__ import annotations

import contextlib
import copy
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attachtrans.errors import ModelError
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.job import job_fingerprint, resolve_arguments
from attachtrans.models.load import load_model
from tests.models import arcgis_nets, diffusion_nets, nets
from tests.models.definitions import DEFINITIONS, DIFFUSION, NASTY, nested, text_of

torch.set_num_threads(1)
LONGEST_MESSAGE = 10_000
QUIET = settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=8,
)
VALUES = st.sampled_from(NASTY) | JSON


def changed(data: st.DataObject, definition: dict[str, Any]) -> dict[str, Any]:
    """`definition` with some keys gone, added, or of another value, at any depth."""
    mutant = copy.deepcopy(definition)
    keys = sorted({key for known in DEFINITIONS for key in known} | {*DIFFUSION, "x", ""})
    for _ in range(data.draw(st.integers(1, 4))):
        place: Any = mutant
        while isinstance(place, dict) and place and data.draw(st.booleans()):
            inner = [key for key, value in place.items() if isinstance(value, dict)]
            if not inner:
                break
            place = place[data.draw(st.sampled_from(inner))]
        own = [*place, data.draw(st.sampled_from(keys))]
        key = data.draw(st.sampled_from(own))
        if data.draw(st.integers(0, 4)):
            place[key] = copy.deepcopy(data.draw(VALUES))  # it may be changed in turn
        else:
            place.pop(key, None)
    return mutant


@contextlib.contextmanager
def only_short_errors() -> Iterator[None]:
    """Nothing but ModelError comes out, whose message somebody can read."""
    found = ""
    try:
        yield
    except ModelError as error:
        found = str(error)
    assert len(found) < LONGEST_MESSAGE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file that a definition may name."""
    made = tmp_path_factory.mktemp("fuzz")
    torch.save({"a": torch.zeros(1)}, made / "w.pth")
    return made


@given(st.data())
@QUIET
def test_changed_definitions(folder, data):
    mutant = changed(data, data.draw(st.sampled_from(DEFINITIONS)))
    if data.draw(st.booleans()):
        source: str = text_of({**mutant, "ModelFile": str(folder / "w.pth")})
    else:
        (folder / "m.emd").write_text(text_of(mutant), encoding="utf-8")
        source = str(folder / "m.emd")
    with only_short_errors():
        definition = ModelDefinition.read(source)
        arguments = resolve_arguments(definition, ())
        job_fingerprint(definition, arguments)


@given(st.text(max_size=200) | st.builds(lambda text: "{" + text, st.text(max_size=200)))
@QUIET
def test_any_text(text):
    with contextlib.suppress(ModelError):
        ModelDefinition.read(text)


@given(JSON.map(json.dumps).map(lambda text: '{"Framework": "attachtrans", "a": ' + text + "}"))
@QUIET
def test_any_object(text):
    with pytest.raises(ModelError):
        load_model(text, device="cpu")


@given(content=st.binary(max_size=200))
@QUIET
def test_any_bytes(folder, content):
    (folder / "bytes.emd").write_bytes(content)
    with contextlib.suppress(ModelError):
        ModelDefinition.read(folder / "bytes.emd")


@pytest.mark.parametrize(
    "text",
    [
        nested(100_000),
        '{"ModelName": "CycleGAN", "ModelName": "SR3"}',
        '{"ModelType": ' + "9" * 100_000 + "}",
        '{"ModelType": "' + "x" * 1_000_000 + '"}',
        '{"ModelType": "CycleGAN", "ModelFile": "' + "a/" * 100_000 + '"}',
        '{"ModelType": "\ud800"}',
        '{"ModelType": "CycleGAN", "ModelFile": "/\\ud800"}',
        '{"ModelType": "CycleGAN", "ModelFile": "/\\u0000"}',
        '{"a": NaN}',
        '{"ImageHeight": 1e400, "ModelType": "x"}',
    ],
    ids=range(10),
)
def test_bombs(text):
    with pytest.raises(ModelError) as caught:
        load_model(text, device="cpu")
    assert len(str(caught.value)) < LONGEST_MESSAGE


NETS = {
    "CycleGAN": nets.cyclegan,
    "Pix2Pix": arcgis_nets.pix2pix,
    "Pix2PixHD": arcgis_nets.pix2pix_hd,
    "SuperResolution": arcgis_nets.super_resolution,
    "SR3": lambda emd: diffusion_nets.sr3(emd, "SR3"),
    "SR3_UViT": lambda emd: diffusion_nets.sr3(emd, "SR3_UViT"),
    "SR3_Wavelet": lambda emd: diffusion_nets.sr3(emd, "SR3_Wavelet"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small model of each type."""
    made = tmp_path_factory.mktemp("models")
    return {name: write(made / f"{name}.emd") for name, write in NETS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
@given(data=st.data())
@settings(QUIET, max_examples=25)
def test_changed_definitions_of_whole_models(models, name, data):
    emd = models[name]
    raw = json.loads(emd.read_text(encoding="utf-8"))
    mutant = emd.with_name(f"{name}_mutant.emd")
    mutant.write_text(text_of({**changed(data, raw), "ModelFile": raw["ModelFile"]}))
    with only_short_errors(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_model(mutant, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
@given(data=st.data())
@settings(QUIET, max_examples=15)
def test_changed_weights_of_whole_models(models, name, data):
    emd = models[name]
    raw = json.loads(emd.read_text(encoding="utf-8"))
    state = torch.load(emd.parent / raw["ModelFile"], weights_only=True)
    holder = state["model"] if set(state) == {"model", "opt"} else state
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(sorted(holder)))
        shape = data.draw(st.lists(st.sampled_from((0, 1, 2, 3, 32)), max_size=4))
        kind = data.draw(st.sampled_from((torch.float32, torch.float16, torch.int64, torch.bool)))
        renamed = key.replace("0", "99") if data.draw(st.booleans()) else key
        holder.pop(key, None)
        holder[renamed] = torch.zeros(shape, dtype=kind)
    torch.save(state, emd.with_name(f"{name}_mutant.pth"))
    mutant = emd.with_name(f"{name}_mutant_weights.emd")
    mutant.write_text(json.dumps({**raw, "ModelFile": f"{name}_mutant.pth"}))
    with only_short_errors(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_model(mutant, device="cpu")
