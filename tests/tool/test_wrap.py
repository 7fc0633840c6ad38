"""From a file of weights to a model that runs, and what is asked instead of guessed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from attachtrans.errors import (
    ArgumentError,
    ModelError,
    OutputExistsError,
    SourceError,
    UntrustedModelError,
)
from attachtrans.infer.whole import translate_array
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.info import model_info
from attachtrans.models.load import load_model
from attachtrans.tool.wrap import wrap_model
from attachtrans.tool.wrap_wish import Wish
from tests.models.junyanz_nets import resnet
from tests.models.nets import BicubicX2, cyclegan, write_torchscript


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Darkened(nn.Module):
    """-1..1 in and out, at half the light."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.clamp(-1, 1) * 0.5 - 0.5).clamp(-1, 1)


class Toned(nn.Module):
    """Linear, so that each range is as good as another, but with another result."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.8 * x + 0.1


class Flat(nn.Module):
    """Forgets the picture."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x * 0.0)


def script(module: nn.Module, folder: Path, name: str = "net") -> Path:
    """The TorchScript file alone."""
    emd = write_torchscript(module, folder / f"{name}.emd")
    emd.unlink()
    return emd.with_suffix(".ts.pt")


def wish(weights: Path, output: Path, **more: object) -> Wish:
    return Wish(**{"weights": weights, "output": output, "texts": {}, "stated": {}, **more})


def test_an_emd_beside_the_weights(tmp_path):
    weights = script(BicubicX2(), tmp_path)
    done = wrap_model(wish(weights, tmp_path / "x2.emd", texts={"Licence": "MIT"}))
    written = json.loads((tmp_path / "x2.emd").read_text(encoding="utf-8"))
    assert written == done.definition
    assert written == {
        "Framework": "attachtrans",
        "ModelType": "TorchScript",
        "ModelFile": "net.ts.pt",
        "InputRange": [0, 1],
        "OutputRange": [0, 1],
        "InputBands": 3,
        "OutputBands": 3,
        "Scale": 2,
        "Margin": 0,
        "ReceptiveField": 2,
        "MultipleOf": 1,
        "MinSize": 1,
        "Licence": "MIT",
    }
    assert done.ranges.source == "tried"
    assert "never leaves 0..1" in done.ranges.reason
    assert done.info == model_info(ModelDefinition.read(tmp_path / "x2.emd"))
    assert done.output == tmp_path / "x2.emd"
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["net.ts.pt", "x2.emd"]


def test_what_is_written_translates_as_the_net_does(tmp_path):
    weights = script(Darkened(), tmp_path)
    wrap_model(wish(weights, tmp_path / "dark.dlpk"))
    photo = np.random.default_rng(1).integers(0, 256, (3, 40, 50), np.uint8)
    net = load_model(tmp_path / "dark.dlpk", device="cpu")
    expected = np.floor(photo * 0.5 + 0.5)
    assert np.abs(translate_array(net, photo) - expected).max() <= 1


def test_a_package_is_a_plain_zip_that_can_be_moved(tmp_path):
    weights = script(BicubicX2(), tmp_path)
    wrap_model(wish(weights, tmp_path / "x2.dlpk", stated={"ImageHeight": 96}))
    weights.unlink()
    moved = (tmp_path / "x2.dlpk").rename(tmp_path / "other.dlpk")
    with zipfile.ZipFile(moved) as archive:
        assert sorted(archive.namelist()) == ["net.ts.pt", "x2.emd"]
        assert archive.testzip() is None
    definition = ModelDefinition.read(moved)
    assert (definition.name, definition.tile_size) == ("x2", 96)


@pytest.mark.slow
def test_weights_elsewhere_are_named_by_their_full_path_and_this_is_said(tmp_path):
    weights = script(BicubicX2(), tmp_path)
    (tmp_path / "models").mkdir()
    done = wrap_model(wish(weights, tmp_path / "models" / "x2.emd"))
    assert done.definition["ModelFile"] == str(weights.resolve())
    assert any("must stay there" in note for note in done.notes)
    below = wrap_model(wish(script(BicubicX2(), tmp_path / "models", "b"), tmp_path / "up.emd"))
    assert below.definition["ModelFile"] == "models/b.ts.pt"


def test_a_dry_run_writes_nothing(tmp_path):
    weights = script(BicubicX2(), tmp_path)
    done = wrap_model(wish(weights, tmp_path / "x2.emd", dry_run=True))
    assert done.output is None
    assert done.info.name == "x2"
    assert done.info.scale == 2
    assert list(tmp_path.iterdir()) == [weights]
    assert json.loads(json.dumps(done.to_json()))["ranges"]["input"] == [0, 1]


def test_two_meanings_are_asked_about_and_shown(tmp_path):
    weights, look = script(Toned(), tmp_path), tmp_path / "look.png"
    with pytest.raises(ModelError, match=r"ambiguous: .*0\.\.1 -> 0\.\.1.*--input-range") as caught:
        wrap_model(wish(weights, tmp_path / "t.emd", preview=look))
    assert "look.png" in str(caught.value)
    assert not (tmp_path / "t.emd").exists()
    with Image.open(look) as picture:
        assert picture.width > 2 * picture.height
    told = wrap_model(wish(weights, tmp_path / "t.emd", in_range=(0.0, 1.0), out_range=(0.0, 1.0)))
    assert told.ranges.source == "given"
    assert told.definition["InputRange"] == [0, 1]


def test_a_net_that_forgets_the_picture_is_refused_unless_the_user_insists(tmp_path):
    weights = script(Flat(), tmp_path)
    with pytest.raises(ModelError, match="not recognised"):
        wrap_model(wish(weights, tmp_path / "f.emd"))
    done = wrap_model(wish(weights, tmp_path / "f.emd", in_range="raw", out_range="raw"))
    assert done.definition["OutputRange"] == "raw"


def test_the_preview_shows_before_and_after(tmp_path):
    photo = np.zeros((100, 120, 3), np.uint8)
    photo[:, :60] = (255, 0, 0)
    photo[30:60] = 255
    Image.fromarray(photo).save(tmp_path / "photo.png")
    wrap_model(
        wish(
            script(BicubicX2(), tmp_path),
            tmp_path / "x2.emd",
            sample=tmp_path / "photo.png",
            preview=tmp_path / "look.png",
            in_range=(0.0, 1.0),
            out_range=(0.0, 1.0),
        )
    )
    with Image.open(tmp_path / "look.png") as picture:
        look = np.asarray(picture)
    assert look.shape == (216, 240 + 8 + 240, 3)
    assert look[200, 10].tolist() == look[200, 258].tolist() == [255, 0, 0]


def test_recognised_weights_have_the_ranges_of_their_type(tmp_path):
    torch.save(resnet(), tmp_path / "g.pth")
    done = wrap_model(wish(tmp_path / "g.pth", tmp_path / "g.dlpk"))
    assert done.ranges.source == "type"
    assert done.definition["InputRange"] == [-1, 1]
    assert done.info.receptive_field_px == "global"


def test_weights_of_arcgis_need_their_definition(tmp_path):
    cyclegan(tmp_path / "m.emd")
    with pytest.raises(ModelError, match=r"ArcGIS CycleGAN.*\.emd or \.dlpk"):
        wrap_model(wish(tmp_path / "m.pth", tmp_path / "w.emd"))


def test_a_definition_is_no_weights(tmp_path):
    emd = write_torchscript(BicubicX2(), tmp_path / "m.emd")
    with pytest.raises(ModelError, match="is a model already"):
        wrap_model(wish(emd, tmp_path / "w.emd"))


def test_code_in_weights_does_not_run(tmp_path):
    class Bad:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"weight": Bad()}, tmp_path / "bad.pth")
    with pytest.raises(UntrustedModelError):
        wrap_model(wish(tmp_path / "bad.pth", tmp_path / "w.dlpk"))
    assert not (tmp_path / "ran").exists()
    assert not list(tmp_path.glob("*.dlpk"))


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"output": "x.zip"}, ArgumentError, r"\.emd"),
        ({"output": "nowhere/x.emd"}, ArgumentError, "does not exist"),
        ({"weights": "none.onnx"}, SourceError, "no file of weights"),
        ({"output": "there.emd"}, OutputExistsError, "--overwrite"),
        ({"preview": "there.emd"}, OutputExistsError, "--overwrite"),
        ({"model_type": "CycleGAN"}, ArgumentError, "--type"),
        ({"stated": {"Bands": 3}}, ArgumentError, "InputBands"),
        ({"in_range": "raw"}, ArgumentError, "--output-range"),
        ({"sample": "none.jpg"}, SourceError, "--sample"),
        ({"sample": "there.emd"}, ArgumentError, "--sample"),
        ({"sample": "small.png"}, ArgumentError, "64 x 64"),
    ],
)
def test_wishes_that_cannot_be_granted(tmp_path, more, error, message):
    (tmp_path / "there.emd").write_text("mine", encoding="utf-8")
    Image.new("RGB", (20, 80)).save(tmp_path / "small.png")
    script(BicubicX2(), tmp_path)
    names = {"weights": "net.ts.pt", "output": "x.emd", **more}
    paths = {
        key: tmp_path / value if key in {"weights", "output", "preview", "sample"} else value
        for key, value in names.items()
    }
    with pytest.raises(error, match=message):
        wrap_model(wish(**paths))
    assert (tmp_path / "there.emd").read_text(encoding="utf-8") == "mine"
    assert not list(tmp_path.glob(".*"))


def test_overwrite_replaces(tmp_path):
    weights = script(BicubicX2(), tmp_path)
    (tmp_path / "x.emd").write_text("old", encoding="utf-8")
    wrap_model(wish(weights, tmp_path / "x.emd", overwrite=True))
    assert ModelDefinition.read(tmp_path / "x.emd").model_type == "TorchScript"


def test_a_stated_key_that_the_net_contradicts_is_said_and_leaves_nothing(tmp_path):
    weights = script(BicubicX2(), tmp_path)
    with pytest.raises(ModelError, match="Scale is 3"):
        wrap_model(wish(weights, tmp_path / "x.emd", stated={"Scale": 3}))
    assert list(tmp_path.iterdir()) == [weights]


def clip(onnx, shape: list[object], inputs: list[object] | None = None):
    """A graph that clips to 0..`high`, 255 unless `high` is an input."""
    value = onnx.helper.make_tensor_value_info
    limits = {"low": 0.0, "high": 255.0}
    for given in inputs or []:
        del limits[given.name]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Clip", ["x", "low", "high"], ["y"])],
        "clip",
        [value("x", onnx.TensorProto.FLOAT, shape), *(inputs or [])],
        [value("y", onnx.TensorProto.FLOAT, shape)],
        [
            onnx.numpy_helper.from_array(np.array(limit, np.float32), name)
            for name, limit in limits.items()
        ],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_a_fixed_size_and_batch_are_found(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    onnx.save(clip(onnx, [1, 64, 96, 3]), tmp_path / "c.onnx")
    done = wrap_model(wish(tmp_path / "c.onnx", tmp_path / "c.dlpk"))
    assert done.definition["InputRange"] == done.definition["OutputRange"] == [0, 255]
    assert done.definition["FixedSize"] == [96, 64]
    assert done.definition["FixedBatch"] == 1
    assert done.info.receptive_field_px == 0


def test_a_second_input_is_stated(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    high = onnx.helper.make_tensor_value_info("high", onnx.TensorProto.FLOAT, [])
    onnx.save(clip(onnx, ["n", 3, "h", "w"], [high]), tmp_path / "c.onnx")
    with pytest.raises(ModelError, match="Inputs"):
        wrap_model(wish(tmp_path / "c.onnx", tmp_path / "c.emd"))
    stated = {"Inputs": {"high": 1.0}}
    done = wrap_model(wish(tmp_path / "c.onnx", tmp_path / "c.emd", stated=stated))
    assert done.definition["Inputs"] == {"high": 1.0}
    assert done.definition["InputRange"] == [0, 1]


def test_tensors_in_other_files_go_into_no_package(tmp_path):
    onnx = pytest.importorskip("onnx")
    onnx.save(
        clip(onnx, [1, 3, 64, 64]),
        tmp_path / "c.onnx",
        save_as_external_data=True,
        location="c.data",
        size_threshold=0,
    )
    with pytest.raises(ModelError, match=r"c\.data.*\.emd beside it"):
        wrap_model(wish(tmp_path / "c.onnx", tmp_path / "c.dlpk"))


@pytest.mark.slow
def test_an_exported_program(tmp_path):
    height, width = torch.export.Dim("h", min=2, max=4096), torch.export.Dim("w", min=2, max=4096)
    program = torch.export.export(
        Darkened(), (torch.zeros(1, 3, 32, 40),), dynamic_shapes=({2: height, 3: width},)
    )
    torch.export.save(program, tmp_path / "d.pt2")
    done = wrap_model(wish(tmp_path / "d.pt2", tmp_path / "d.dlpk"))
    assert done.definition["ModelType"] == "ExportedProgram"
    assert done.definition["InputRange"] == done.definition["OutputRange"] == [-1, 1]
