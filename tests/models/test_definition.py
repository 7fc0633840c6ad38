from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import ModelError
from attachtrans.models.definition import ModelDefinition, builtin_names
from tests.models.nets import bicubic_x2, cyclegan, package


def test_reads_without_loading_torch(tmp_path):
    emd = bicubic_x2(tmp_path / "m.emd")
    code = (
        "import sys; from attachtrans.models.definition import ModelDefinition as D;"
        "from attachtrans.models.job import job_fingerprint, resolve_arguments;"
        f"d = D.read({str(emd)!r}); job_fingerprint(d, resolve_arguments(d));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_all_ways_to_name_a_model_are_the_same_model(tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    emd = cyclegan(folder / "photo.emd")
    weights = folder / "photo.pth"
    ways = [
        emd,
        str(emd),
        folder,
        weights,
        package(tmp_path / "a.dlpk", emd, weights),
        package(tmp_path / "b.zip", emd, weights, folder="nested/"),
        json.dumps({**json.loads(emd.read_text()), "ModelFile": str(weights)}),
    ]
    read = [ModelDefinition.read(way) for way in ways]
    assert {one.fingerprint for one in read} == {read[0].fingerprint}
    first = read[0]
    assert (first.name, first.model_type, first.bands) == ("photo", "CycleGAN", 3)
    assert (first.tile_size, first.scale) == (64, 1.0)
    assert first.normalization.a == ((0, 255),) * 3
    assert [argument.name for argument in first.arguments] == [
        "batch_size",
        "padding",
        "tile_size",
        "direction",
    ]


def test_fingerprint_follows_meaning_and_weights_only(tmp_path):
    emd = cyclegan(tmp_path / "m.emd")
    before = ModelDefinition.read(emd).fingerprint
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.copy(tmp_path / "m.pth", moved / "renamed.pth")
    raw = {**json.loads(emd.read_text()), "ModelFile": "renamed.pth", "LearningRate": "1e-3"}
    (moved / "n.emd").write_text(json.dumps(dict(reversed(raw.items()))))
    assert ModelDefinition.read(moved / "n.emd").fingerprint == before
    (moved / "n.emd").write_text(json.dumps({**raw, "n_channel": 2}))
    assert ModelDefinition.read(moved / "n.emd").fingerprint != before
    with (tmp_path / "m.pth").open("ab") as weights:
        weights.write(b"\0")
    assert ModelDefinition.read(emd).fingerprint != before


def test_a_file_with_its_definition_beside_it(tmp_path):
    emd = bicubic_x2(tmp_path / "net.emd")
    assert ModelDefinition.read(tmp_path / "net.ts.pt").file.path == emd
    (tmp_path / "net.onnx").write_bytes(b"another")
    with pytest.raises(ModelError, match=r"describes .*net\.ts\.pt"):
        ModelDefinition.read(tmp_path / "net.onnx")


def test_a_bare_file_is_answered_with_a_definition_to_paste(tmp_path):
    emd = bicubic_x2(tmp_path / "net.emd")
    emd.unlink()
    with pytest.raises(ModelError, match=r"net\.emd") as caught:
        ModelDefinition.read(tmp_path / "net.ts.pt")
    emd.write_text(str(caught.value).partition("\n")[2])
    assert ModelDefinition.read(tmp_path / "net.ts.pt").model_type == "TorchScript"
    torch.save({"weight": torch.zeros(1)}, tmp_path / "state.pth")
    with pytest.raises(ModelError, match="without their net"):
        ModelDefinition.read(tmp_path / "state.pth")


def test_built_in_models_go_by_name():
    for name in builtin_names():
        assert ModelDefinition.read(name).name == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere.emd", "no such file"),
        ("sr-x3", "built-in models"),
        ("{", "not valid JSON"),
        ('{"ModelType": }', "not valid JSON"),
        ("{" + '"a":{' * 100_000, "not valid JSON"),
        ("{}", "ModelType is missing"),
        ('{"ModelType": 3}', "must be text"),
        ('{"ModelType": "CycleGAN"}', "ModelFile is missing"),
        ('{"ModelType": "CycleGAN", "ModelFile": []}', "must be text"),
        ('{"ModelType": "ClimaX", "ImageHeight": NaN}', "ImageHeight"),
        ('{"ModelType": "ClimaX", "ImageHeight": 1e999}', "ImageHeight"),
        ('{"Framework": "attachtrans", "ModelType": "X", "Scale": "big"}', "Scale"),
        ('{"ModelType": "ClimaX", "ImageHeight": -4}', "ImageHeight"),
        ('{"ModelType": "ClimaX", "ImageHeight": 1' + "0" * 5000 + "}", "JSON|ImageHeight"),
        ('{"ModelType": "Pix2Pix", "NormalizationStats": 7}', "object"),
        (
            '{"ModelType": "Pix2Pix", "NormalizationStats": {"band_min_values": [NaN]}}',
            "finite",
        ),
        (
            '{"ModelType": "P", "NormalizationStats_b": {"band_min_values": [0, 1]}}',
            "list of finite numbers",
        ),
        (
            json.dumps(
                {
                    "ModelType": "Pix2Pix",
                    "NormalizationStats": {"band_min_values": [0, 1], "band_max_values": [1]},
                }
            ),
            "one of each",
        ),
        ("nul\0l.emd", "no such file"),
        ("x" * 5000, "no path"),
    ],
)
def test_nonsense_is_named(text, message):
    with pytest.raises(ModelError, match=message):
        ModelDefinition.read(text)


@pytest.mark.parametrize("content", [b"[]", b"3", b"\xff\xfe{", b"", b"null"])
def test_files_that_are_no_definitions(tmp_path, content):
    (tmp_path / "m.emd").write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.emd"):
        ModelDefinition.read(tmp_path / "m.emd")


def test_a_byte_order_mark_and_unknown_keys_are_fine(tmp_path):
    emd = cyclegan(tmp_path / "m.emd", label_nc=False, Strange={"deep": [1]}, FID_A=float("nan"))
    emd.write_bytes(b"\xef\xbb\xbf" + emd.read_bytes())
    definition = ModelDefinition.read(emd)
    assert definition.raw["Strange"] == {"deep": [1]}
    assert definition.fingerprint


def test_an_unknown_suffix_is_named(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(ModelError, match=r"\.dlpk"):
        ModelDefinition.read(tmp_path / "photo.jpg")


@pytest.mark.parametrize(
    ("keys", "model_type"),
    [
        ({"ModelName": "Pix2PixHD", "ModelType": "Pix2Pix"}, "Pix2PixHD"),
        ({"ModelType": "Pix2Pix"}, "Pix2Pix"),
        ({"ModelName": "SuperResolution", "ModelArch": "SR3_UViT"}, "SR3_UViT"),
        ({"ModelName": "SuperResolution", "ModelArch": "UNet"}, "SuperResolution"),
        ({"ModelName": "SuperResolution"}, "SuperResolution"),
        ({"ModelName": "mine", "ModelType": "Pix2Pix"}, "Pix2Pix"),
        ({"ModelType": "ObjectDetection"}, "ObjectDetection"),
        (
            {"Framework": "PyTorch", "ModelType": "CycleGAN", "InferenceFunction": ".\\Mine.py"},
            "PythonRasterFunction",
        ),
        (
            {
                "ModelType": "Pix2Pix",
                "InferenceFunction": "[Functions]System\\DeepLearning\\ArcGISLearn\\"
                "ArcGISImageTranslation.py",
            },
            "Pix2Pix",
        ),
    ],
)
def test_dispatch(tmp_path, keys, model_type):
    (tmp_path / "m.pth").write_bytes(b"")
    emd = tmp_path / "m.emd"
    emd.write_text(json.dumps({**keys, "ModelFile": "m.pth"}))
    assert ModelDefinition.read(emd).model_type == model_type


@pytest.mark.parametrize(
    ("model_type", "factor", "enlarge"),
    [
        ("SuperResolution", 4, 4),
        ("SuperResolution", 2.5, 2.5),
        ("SuperResolution", None, None),
        ("Pix2Pix", 4, 1),
    ],
)
def test_enlargement(tmp_path, model_type, factor, enlarge):
    (tmp_path / "m.pth").write_bytes(b"")
    keys = {"ModelType": model_type, "ModelFile": "m.pth", "downsample_factor": factor}
    (tmp_path / "m.emd").write_text(json.dumps(keys))
    assert ModelDefinition.read(tmp_path / "m.emd").enlarge == enlarge


@pytest.mark.parametrize("factor", [0, -4, 65, "four", [4], float("nan")])
def test_enlargements_that_cannot_be(tmp_path, factor):
    (tmp_path / "m.pth").write_bytes(b"")
    keys = {"ModelType": "SuperResolution", "ModelFile": "m.pth", "downsample_factor": factor}
    (tmp_path / "m.emd").write_text(json.dumps(keys))
    with pytest.raises(ModelError, match="downsample_factor"):
        ModelDefinition.read(tmp_path / "m.emd")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = (
    "Framework",
    "ModelType",
    "ModelName",
    "ModelFile",
    "ImageHeight",
    "InputBands",
    "Scale",
    "NormalizationStats",
    "n_channel_rev",
)


@given(st.dictionaries(st.sampled_from(KEYS), json_values))
def test_any_json_object_is_read_or_refused_by_name(raw):
    try:
        definition = ModelDefinition.read(json.dumps(raw))
    except ModelError:
        return
    assert definition.model_type
