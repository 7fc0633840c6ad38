from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest
import torch

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.load import load_model
from attachtrans.models.package import FileRef
from attachtrans.models.recognise import recognise
from tests.models.junyanz_nets import resnet, saved, unet
from tests.models.nets import bicubic_x2, cyclegan


def test_files_with_their_own_graph_are_told_by_their_format(tmp_path):
    emd = bicubic_x2(tmp_path / "net.emd")
    least = {"Framework": "attachtrans"}
    for name, kind in (("a.onnx", "ONNX"), ("b.pt2", "ExportedProgram")):
        (tmp_path / name).write_bytes(b"")
        known = recognise(FileRef(path=tmp_path / name))
        assert known == {**least, "ModelType": kind, "ModelFile": name}
    for name in ("c.pt", "c.pth", "C.PT"):
        (tmp_path / name).write_bytes(emd.with_suffix(".ts.pt").read_bytes())
        known = recognise(FileRef(path=tmp_path / name))
        assert known == {**least, "ModelType": "TorchScript", "ModelFile": name}


def test_graphs_are_told_without_torch(tmp_path):
    emd = bicubic_x2(tmp_path / "net.emd")
    code = (
        "import sys; from pathlib import Path;"
        "from attachtrans.models.package import FileRef;"
        "from attachtrans.models.recognise import recognise;"
        f"recognise(FileRef(path=Path({str(emd.with_suffix('.ts.pt'))!r})));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_generators_are_known_with_their_ranges(tmp_path, suffix):
    ranges = {"InputRange": [-1, 1], "OutputRange": [-1, 1]}
    path = saved(tmp_path / f"net{suffix}", resnet())
    assert recognise(FileRef(path=path)) == {
        "Framework": "attachtrans",
        "ModelType": "ResnetGenerator",
        "ModelFile": path.name,
        **ranges,
    }
    known = recognise(FileRef(path=saved(path, unet(widths=(2,) * 7))))
    assert known is not None
    assert known["ModelType"] == "UnetGenerator"
    assert known["ImageHeight"] == known["ImageWidth"] == 128


def test_weights_in_packages(tmp_path):
    saved(tmp_path / "net.pth", resnet())
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        archive.write(tmp_path / "net.pth", "folder/net.pth")
    known = recognise(FileRef(path=tmp_path / "net.zip", member="folder/net.pth"))
    assert known is not None
    assert known["ModelFile"] == "net.pth"


def test_weights_of_arcgis_need_their_definition(tmp_path):
    cyclegan(tmp_path / "net.emd")
    (tmp_path / "net.emd").unlink()
    assert recognise(FileRef(path=tmp_path / "net.pth")) is None
    with pytest.raises(ModelError, match=r"\.emd or \.dlpk"):
        ModelDefinition.read(tmp_path / "net.pth")


def test_other_files_are_not_looked_into(tmp_path):
    (tmp_path / "net.jpg").write_bytes(b"anything")
    assert recognise(FileRef(path=tmp_path / "net.jpg")) is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"noise", b"\x80\x04."])
def test_damaged_files(tmp_path, content):
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.pth"):
        recognise(FileRef(path=tmp_path / "net.pth"))


class Payload:
    def __reduce__(self):
        return print, ("executed",)


def test_code_is_refused_and_not_run(tmp_path, capsys):
    torch.save({**resnet(), "x": Payload()}, tmp_path / "net.pth")
    with pytest.raises(UntrustedModelError):
        ModelDefinition.read(tmp_path / "net.pth")
    assert "executed" not in capsys.readouterr().out


def test_recognised_weights_are_a_model(tmp_path):
    path = saved(tmp_path / "vintage.pth", resnet())
    definition = ModelDefinition.read(path)
    assert (definition.name, definition.model_type) == ("vintage", "ResnetGenerator")
    assert load_model(definition, device="cpu").spec.in_bands == 3
    fingerprint = definition.fingerprint
    assert ModelDefinition.read(path.rename(tmp_path / "other.pth")).fingerprint == fingerprint


def test_a_definition_beside_the_weights_wins(tmp_path):
    saved(tmp_path / "net.pth", resnet())
    (tmp_path / "net.emd").write_text(
        '{"Framework": "attachtrans", "ModelType": "ResnetGenerator", "ModelFile": "net.pth", '
        '"InputRange": [0, 1], "OutputRange": [-1, 1]}'
    )
    definition = ModelDefinition.read(tmp_path / "net.pth")
    assert definition.file is not None
    assert load_model(definition, device="cpu").spec.in_range == (0, 1)


def test_real_files_are_told_by_their_format(shared):
    for path in sorted((shared / "models").glob("*/*.onnx")):
        known = recognise(FileRef(path=path))
        assert known is not None
        assert known["ModelType"] == "ONNX"
    for path in sorted((shared / "models").glob("*/*.ts.pt")):
        known = recognise(FileRef(path=path))
        assert known is not None
        assert known["ModelType"] == "TorchScript"
