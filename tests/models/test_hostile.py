"""Files that attack whoever loads them: nothing runs, nothing outside is read or written."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import helper, numpy_helper
from torch import nn

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.load import load_model
from tests.models.nets import BicubicX2, bicubic_x2, cyclegan, write_torchscript
from tests.models.nets_hostile import Evil, exchange

torch.set_num_threads(1)


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A path that must not exist after the attack; the current folder must stay as it was."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    path = tmp_path / "pwned"
    yield path
    assert not path.exists()
    assert not list(here.iterdir())


def definition(path: Path, model_type: str, **keys: object) -> Path:
    known = {"Framework": "attachtrans", "InputRange": [0, 1], "OutputRange": [0, 1]}
    path.write_text(json.dumps({**known, "ModelType": model_type, **keys}), encoding="utf-8")
    return path


def pickled(canary: Path, *, how: str) -> bytes:
    stream = io.BytesIO()
    if how == "pickle":
        return pickle.dumps({"a": Evil(canary)}, protocol=2)
    torch.save({"a": Evil(canary)}, stream, _use_new_zipfile_serialization=how == "zip")
    return stream.getvalue()


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_checkpoints(tmp_path, canary, how, suffix):
    weights = tmp_path / f"w{suffix}"
    weights.write_bytes(pickled(canary, how=how))
    for model in (weights, cyclegan(tmp_path / "c.emd", ModelFile=weights.name)):
        weights.write_bytes(pickled(canary, how=how))
        with pytest.raises(UntrustedModelError, match="would run code"):
            load_model(model, device="cpu")


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("name", ["w.safetensors", "w.onnx", "w.pt2", "w.ts.pt"])
def test_pickles_under_other_names(tmp_path, canary, how, name):
    (tmp_path / name).write_bytes(pickled(canary, how=how))
    kinds = {"onnx": "ONNX", "pt2": "ExportedProgram", "pt": "TorchScript"}
    kind = kinds.get(name.rpartition(".")[2], "Upscaler")
    emd = definition(tmp_path / "m.emd", kind, ModelFile=name)
    with pytest.raises(ModelError):
        load_model(emd, device="cpu")


@pytest.mark.parametrize("end", ["data.pkl", "constants.pkl"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_in_torchscript(tmp_path, canary, end, protocol):
    emd = bicubic_x2(tmp_path / "m.emd")
    evil = pickle.dumps(Evil(canary), protocol=protocol)
    exchange(tmp_path / "m.ts.pt", {end: evil})
    with pytest.raises(UntrustedModelError):
        load_model(emd, device="cpu")


@pytest.mark.parametrize(
    "end", ["traced_inputs.pkl", "extra/evil.pkl", "bytecode.pkl", "code/__torch__.py.debug_pkl"]
)
def test_pickles_that_torchscript_does_not_need(tmp_path, canary, end):
    emd = bicubic_x2(tmp_path / "m.emd")
    exchange(tmp_path / "m.ts.pt", {end: pickle.dumps(Evil(canary), protocol=2)})
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(load_model(emd, device="cpu")(image), BicubicX2()(image))


class Weighted(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weights", torch.arange(7.0))

    def forward(self, x):
        return x + self.weights.sum()


def test_torchscript_that_reads_memory_beyond_its_weights(tmp_path):
    """PyTorch 2.13 loads this file, and gives what lies in memory behind the seven weights."""
    emd = write_torchscript(Weighted(), tmp_path / "m.emd")

    def beyond(content: bytes) -> bytes:
        assert b"K\x07" in content
        return content.replace(b"K\x07", b"K\x70")

    exchange(tmp_path / "m.ts.pt", {"data.pkl": beyond})
    with pytest.raises(ModelError, match="112 x 4 bytes"):
        load_model(emd, device="cpu")


@pytest.mark.parametrize(
    "line",
    [
        "torch.save(x, {path!r})",
        "y = torch.from_file({path!r}, True, 16)",
        "y = {path!r}.from_file(True, 16)",
        "t = torch\n    y = t.from_file({path!r}, True, 16)",
        "y = getattr(torch, 'from_\\x66ile')({path!r}, True, 16)",
        "ops.aten.save(x, {path!r})",
    ],
)
def test_torchscript_that_writes_files(tmp_path, canary, line):
    emd = bicubic_x2(tmp_path / "m.emd")

    def poisoned(content: bytes) -> bytes:
        head, _, tail = content.decode().rpartition("    return ")
        return f"{head}    {line.format(path=str(canary))}\n    return {tail}".encode()

    exchange(tmp_path / "m.ts.pt", {"code/__torch__/tests/models/nets.py": poisoned})
    with pytest.raises(UntrustedModelError, match="more than compute"):
        load_model(emd, device="cpu")


def two_readers(path: Path) -> Path:
    """An archive with two entries of one name, of which readers see different ones."""
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("nets.py"))
        content = archive.read(name)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(name, content)
    return path


def test_archives_that_readers_see_differently(tmp_path):
    emd = bicubic_x2(tmp_path / "m.emd")
    two_readers(tmp_path / "m.ts.pt")
    with pytest.raises(ModelError, match="names"):
        load_model(emd, device="cpu")


def packed(path: Path, *entries: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def test_packages(tmp_path, canary):
    emd = cyclegan(tmp_path / "m.emd")
    evil = ("m.pth", pickled(canary, how="zip"))
    with pytest.raises(UntrustedModelError):
        load_model(packed(tmp_path / "a.dlpk", ("m.emd", emd.read_bytes()), evil), device="cpu")
    for name in ("../pwned", "/pwned", "a/../../pwned", "C:\\pwned"):
        path = packed(tmp_path / "b.dlpk", ("m.emd", emd.read_bytes()), (name, b"x"))
        with pytest.raises(ModelError, match="outside"):
            ModelDefinition.read(path)
    link = zipfile.ZipInfo("m.pth")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "c.dlpk", "w") as archive:
        archive.writestr("m.emd", emd.read_bytes())
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ModelError, match="link"):
        ModelDefinition.read(tmp_path / "c.dlpk")


def test_a_package_that_hides_gigabytes_is_refused_before_they_are_hashed(tmp_path):
    emd = cyclegan(tmp_path / "m.emd")
    path = tmp_path / "m.dlpk"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(emd, "m.emd")
        with archive.open("m.pth", "w", force_zip64=True) as entry:
            for _ in range(256):
                entry.write(bytes(1 << 20))
    definition = ModelDefinition.read(path)
    began = time.process_time()
    with pytest.raises(ModelError, match="does not begin"):
        _ = definition.fingerprint
    with pytest.raises(ModelError, match="does not begin"):
        load_model(definition, device="cpu")
    assert time.process_time() - began < 0.5


def test_a_definition_that_hides_gigabytes(tmp_path, monkeypatch):
    monkeypatch.setattr("attachtrans.models.definition.MAX_DEFINITION_BYTES", 1000)
    path = packed(tmp_path / "m.dlpk", ("m.emd", bytes(2000)))
    with pytest.raises(ModelError, match="more than"):
        ModelDefinition.read(path)


def test_safetensors_that_lie(tmp_path):
    safetensors.torch.save_file({"a": torch.zeros(4)}, tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    for lie in (
        content.replace(b"[4]", b"[9]"),
        content.replace(b"[0,16]", b"[0,99]"),
        (1 << 60).to_bytes(8, "little") + content[8:],
        content[:-8],
    ):
        (tmp_path / "w.safetensors").write_bytes(lie)
        with pytest.raises(ModelError):
            load_model(tmp_path / "w.safetensors", device="cpu")


def onnx_with_data(path: Path, *locations: str) -> Path:
    """A graph that adds a constant, whose values lie in the files `locations`."""
    tensor = numpy_helper.from_array(np.zeros((1, 3, 1, 1), np.float32), "k")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for location in locations:
        tensor.external_data.add(key="location", value=location)
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, "h", "w"])
        for name in "xy"
    ]
    node = helper.make_node("Add", ["x", "k"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return definition(path.with_suffix(".emd"), "ONNX", ModelFile=path.name)


@pytest.mark.parametrize(
    "locations",
    [
        ["{outside}"],
        ["../secret"],
        ["a/../../secret"],
        ["link"],
        ["inside", "../secret"],
        ["../secret", "inside"],
    ],
)
def test_onnx_data_outside_its_folder(tmp_path, locations):
    folder = tmp_path / "models"
    folder.mkdir()
    for path in (tmp_path / "secret", folder / "inside"):
        path.write_bytes(bytes(12))
    (folder / "link").symlink_to(tmp_path / "secret")
    names = [name.format(outside=tmp_path / "secret") for name in locations]
    emd = onnx_with_data(folder / "m.onnx", *names)
    with pytest.raises(ModelError, match="outside its folder"):
        load_model(emd, device="cpu")
    with pytest.raises(ModelError, match="outside its folder"):
        _ = ModelDefinition.read(emd).fingerprint


ABSURD = [
    {"inner_channel": 10**12},
    {"inner_channel": 64, "channel_mults": [10**12]},
    {"channel_mults": [1] * 1_000_000},
    {"n_timestep": 10**12},
    {"n_timestep": 1e300},
    {"depth": 10**9},
    {"embed_dim": 10**9},
    {"res_blocks": 10**9},
    {"patch_size": 10**9},
    {"norm_groups": 10**9},
    {"num_heads": float("nan")},
    {"linear_end": float("inf")},
]


@pytest.mark.slow
def test_absurd_sizes_are_refused_before_allocation(tmp_path):
    """In a process that may not take half a gigabyte more than it has."""
    models = []
    for number, kwargs in enumerate(ABSURD):
        path = tmp_path / f"{number}.emd"
        path.write_text(
            json.dumps(
                {
                    "Framework": "arcgis.learn.models._inferencing",
                    "ModelName": "SuperResolution",
                    "ModelArch": ("SR3", "SR3_UViT", "SR3_Wavelet")[number % 3],
                    "ModelFile": "w.pth",
                    "Kwargs": kwargs,
                    "downsample_factor": 4,
                }
            )
        )
        models.append(str(path))
    # Many halvings in a net of tiny tensors: its channels would double each time.
    state = {f"G.model.{4 + 3 * i}.weight": torch.zeros(1, 1, 1, 1) for i in range(90)}
    state["G.model.1.weight"] = torch.zeros(4, 3, 7, 7)
    torch.save(state, tmp_path / "w.pth")
    wide = {"ModelName": "Pix2PixHD", "ModelFile": "w.pth", "n_gen_filters": 10**12}
    (tmp_path / "hd.emd").write_text(json.dumps(wide))
    tall = {"ModelName": "CycleGAN", "ModelFile": "w.pth", "ImageHeight": 65537}
    (tmp_path / "c.emd").write_text(json.dumps(tall))
    models += [str(tmp_path / "hd.emd"), str(tmp_path / "c.emd")]
    script = (
        "import sys, resource\n"
        "import attachtrans.models.sr3, attachtrans.models.pix2pixhd\n"
        "from attachtrans.errors import ModelError\n"
        "from attachtrans.models.load import load_model\n"
        "held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + (1 << 29),) * 2)\n"
        "for model in sys.argv[1:]:\n"
        "    try:\n"
        "        load_model(model, device='cpu')\n"
        "    except ModelError as error:\n"
        "        print(model, str(error)[:100])\n"
        "    else:\n"
        "        raise SystemExit(model + ' was loaded')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *models],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == len(models)


class Hungry(nn.Module):
    """Asks for 64 TiB when it runs."""

    def forward(self, x):
        return x + torch.ones(1 << 22, 1 << 22).sum()


def test_a_program_that_asks_for_terabytes(tmp_path):
    emd = write_torchscript(Hungry(), tmp_path / "m.emd")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError):
        load_model(emd, device="cpu")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def test_a_script_beside_a_definition_does_not_run(tmp_path, canary):
    (tmp_path / "evil.py").write_text(f"import os; os.mkdir({str(canary)!r})")
    raw = {"InferenceFunction": "evil.py", "ModelType": "x", "ModelFile": "w.pth"}
    (tmp_path / "m.emd").write_text(json.dumps(raw))
    with pytest.raises(UntrustedModelError):
        load_model(tmp_path / "m.emd", device="cpu")
