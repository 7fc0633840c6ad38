from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.load import load_model
from tests.models.nets import BicubicX2, package
from tests.models.nets_hostile import exchange

torch.set_num_threads(1)
DYNAMIC = torch.export.Dim.DYNAMIC
EXPORTED: dict[str, bytes] = {}


class Hand(nn.Module):
    """Tied weights, constants of all kinds, arithmetic on sizes, several results."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.again = nn.Conv2d(3, 4, 3, padding=1)
        self.again.weight = self.first.weight
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 3, 1)
        self.factor = torch.full((3, 1, 1), 2.0)
        self.register_buffer("shift", torch.full((1,), 0.25), persistent=False)

    def forward(self, x):
        height, width = x.shape[2:]
        y = functional.pad(x, [0, (-width) % 4, 0, (-height) % 4])
        y = self.last(functional.relu_(self.norm(self.first(y) + self.again(y))))
        y = y * self.factor + self.shift
        y = y + torch.arange(y.shape[3], device=x.device) / 100
        a, b = y[:, :, :height, :width].split([1, 2], 1)
        return y.mean(), torch.cat([b, a], 1)


def export(path: Path, net: nn.Module, shape=(2, 3, 16, 16), *, dynamic=(0, 2, 3), **keys: Any):
    key = repr((net, shape, dynamic))
    if key not in EXPORTED:  # exporting takes longer than what is tested
        sizes = (dict.fromkeys(dynamic, DYNAMIC),) if dynamic else None
        program = torch.export.export(net, (torch.rand(shape),), dynamic_shapes=sizes)
        torch.export.save(program, path.with_suffix(".pt2"))
        EXPORTED[key] = path.with_suffix(".pt2").read_bytes()
    path.with_suffix(".pt2").write_bytes(EXPORTED[key])
    definition = {
        "Framework": "attachtrans",
        "ModelType": "ExportedProgram",
        "ModelFile": path.with_suffix(".pt2").name,
        "InputRange": [0, 1],
        "OutputRange": [0, 1],
        **keys,
    }
    path.write_text(json.dumps(definition), encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_net_of_any_size_computes_what_torch_computes(tmp_path):
    net = Hand().eval()
    translator = load_model(export(tmp_path / "m.emd", net), device="cpu")
    spec = translator.spec
    assert (spec.in_bands, spec.out_bands, spec.scale, spec.margin_px) == (3, 3, 1, 0)
    assert (spec.fixed_size, spec.fixed_batch, spec.multiple_of) == (None, None, 1)
    assert translator.parameters == sum(p.numel() for p in net.parameters())
    for shape in ((1, 3, 16, 16), (3, 3, 9, 14)):
        image = torch.rand(shape)
        with torch.inference_mode():
            assert torch.equal(translator(image), net(image)[1])


@pytest.mark.slow
def test_a_net_of_one_size_is_fixed(tmp_path):
    emd = export(tmp_path / "m.emd", BicubicX2(), (1, 3, 16, 24), dynamic=())
    translator = load_model(emd, device="cpu")
    assert (translator.spec.fixed_size, translator.spec.fixed_batch) == ((24, 16), 1)
    assert translator.spec.scale == 2
    image = torch.rand(1, 3, 16, 24)
    assert torch.equal(translator(image), BicubicX2()(image))
    wrong = export(tmp_path / "n.emd", BicubicX2(), (1, 3, 16, 24), dynamic=(), InputBands=4)
    with pytest.raises(ModelError, match="exported for 3"):
        load_model(wrong, device="cpu")


def test_half_precision_and_bytes(tmp_path):
    half = nn.Conv2d(3, 3, 3, padding=1).half()
    path = tmp_path / "m.emd"
    export(path, Halved(half))
    out = load_model(path, device="cpu")(torch.rand(1, 3, 8, 8))
    assert out.dtype == torch.float32


class Halved(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.half()).float()


@pytest.mark.slow
def test_from_a_package(tmp_path):
    emd = export(tmp_path / "m.emd", BicubicX2())
    packed = package(tmp_path / "m.dlpk", emd, tmp_path / "m.pt2")
    assert load_model(packed, device="cpu").spec == load_model(emd, device="cpu").spec


@pytest.mark.parametrize(
    "name",
    [
        *("data/aotinductor/model/net.so", "data/aotinductor/model/net.wrapper.cpp", "extra/x.py"),
        *("data/aotinductor/model/net.json", "data/constants/custom_obj_0"),
        *("data/constants/opaque_obj_0", "data/weights/kernel.cubin", "data/x.DLL"),
    ],
)
def test_programs_and_objects_are_refused(tmp_path, name):
    emd = export(tmp_path / "m.emd", BicubicX2())
    exchange(tmp_path / "m.pt2", {name: b"\x7fELF"})
    with pytest.raises(UntrustedModelError, match="refused"):
        load_model(emd, device="cpu")


def edited(path: Path, end: str, *changes: tuple[str, str]) -> None:
    def change(content: bytes) -> bytes:
        text = content.decode()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        return text.encode()

    exchange(path, {end: change})


@pytest.mark.parametrize(
    "target",
    [
        *("torch.ops.aten.from_file.default", "torch.ops.aten.save.default", "os.system"),
        *("torch.ops.aten.as_strided.default", "torch.ops.higher_order.cond", "builtins.eval"),
        *("torch.ops.quantized.add.default", "torch.load", "_operator.attrgetter", ""),
        *("torch.ops.aten.clamp.default.__class__", "torch.ops.aten.__class__.x"),
    ],
)
def test_operators_that_do_more_than_compute_are_refused(tmp_path, target):
    emd = export(tmp_path / "m.emd", BicubicX2())
    edited(tmp_path / "m.pt2", "models/model.json", ("torch.ops.aten.clamp.default", target))
    with pytest.raises(UntrustedModelError, match="may do more than compute"):
        load_model(emd, device="cpu")


def test_text_that_torch_would_evaluate_is_never_looked_at(tmp_path):
    """torch.export.load runs this text: it hands sizes to sympy, and compiles guards."""
    emd = export(tmp_path / "m.emd", BicubicX2())
    evil = f"__import__('os').mkdir('{tmp_path / 'pwned'}')"

    def poison(content: bytes) -> bytes:
        program = json.loads(content)
        for meta in program["graph_module"]["graph"]["tensor_values"].values():
            for size in (*meta["sizes"], *meta["strides"]):
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = evil
        program["guards_code"] = [evil]
        return json.dumps(program).encode()

    pickled = b"cos\nmkdir\n(V" + str(tmp_path / "pwned").encode() + b"\ntR."
    exchange(
        tmp_path / "m.pt2",
        {"models/model.json": poison, "data/sample_inputs/model.pt": pickled, "extra/x": pickled},
    )
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(load_model(emd, device="cpu")(image), BicubicX2()(image))
    assert not (tmp_path / "pwned").exists()


CONFIG = "data/weights/model_weights_config.json"


@pytest.mark.parametrize(
    ("end", "old", "new"),
    [
        (CONFIG, '"sizes": [{"as_int": 4}', '"sizes": [{"as_int": 4000000000000}'),
        (CONFIG, '"as_int": 27', '"as_int": 28'),
        (CONFIG, '"storage_offset": {"as_int": 0}', '"storage_offset": {"as_int": 1}'),
        (CONFIG, '"storage_offset": {"as_int": 0}', '"storage_offset": {"as_int": -1}'),
        (CONFIG, '"dtype": 7', '"dtype": 8'),
        (CONFIG, '"dtype": 7', '"dtype": 99'),
        (CONFIG, '"weight_0"', '"../../../../etc/passwd"'),
        (CONFIG, '"config"', '"gifnoc"'),
        (CONFIG, '"layout": 7', '"layout": 1'),
        ("models/model.json", '"major": 8', '"major": 9'),
        ("models/model.json", '"nodes": [', '"nodes": ["x", '),
        ("models/model.json", '"as_ints": [1, 1]', '"as_ints": [1, "x"]'),
        ("models/model.json", '"as_ints": [1, 1]', '"as_graph": {}'),
        ("models/model.json", "conv2d.default", "conv2d.nonsense"),
        ("models/model.json", '"user_output"', '"buffer_mutation"'),
        ("models/model.json", '"user_input"', '"custom_obj"'),
        ("models/model.json", "{", "["),
        ("byteorder", "little", "big"),
    ],
)
def test_damaged_or_absurd_files(tmp_path, end, old, new):
    emd = export(tmp_path / "m.emd", nn.Conv2d(3, 4, 3, padding=1))
    edited(tmp_path / "m.pt2", end, (old, new))
    with pytest.raises(ModelError):
        load_model(emd, device="cpu")


def test_pickled_tensors_are_refused(tmp_path):
    emd = export(tmp_path / "m.emd", nn.Conv2d(3, 4, 3))
    edited(tmp_path / "m.pt2", CONFIG, ('"use_pickle": false', '"use_pickle": true'))
    with pytest.raises(UntrustedModelError, match="as a pickle"):
        load_model(emd, device="cpu")


def test_a_net_in_training_is_refused(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).train()
    with pytest.raises(ModelError, match=r"\.eval\(\)"):
        load_model(export(tmp_path / "m.emd", net), device="cpu")


def test_other_layouts_are_named(tmp_path):
    emd = export(tmp_path / "m.emd", BicubicX2())
    with zipfile.ZipFile(tmp_path / "m.pt2", "w") as archive:
        archive.writestr("m/serialized_exported_program.json", "{}")
    with pytest.raises(ModelError, match=r"PyTorch 2\.7"):
        load_model(emd, device="cpu")
    (tmp_path / "m.pt2").write_bytes(b"noise")
    with pytest.raises(ModelError, match="not a readable exported program"):
        load_model(emd, device="cpu")
    exported = torch.export.export(Two(), (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)))
    torch.export.save(exported, tmp_path / "m.pt2")
    with pytest.raises(ModelError, match="takes the inputs x, y"):
        load_model(emd, device="cpu")


class Two(nn.Module):
    def forward(self, x, y):
        return x + y


@pytest.mark.parametrize(
    ("shape", "stated"), [((), 0.5), ((1, 3, 1, 1), 0.5), ((1, 3, 1, 1), [1, 2, 3])]
)
def test_a_constant_input(tmp_path, shape, stated):
    emd = export(tmp_path / "m.emd", BicubicX2(), Inputs={"y": stated})
    sizes = ({0: DYNAMIC, 2: DYNAMIC, 3: DYNAMIC}, None)
    example = (torch.rand(2, 3, 16, 16), torch.rand(shape))
    torch.export.save(torch.export.export(Two(), example, dynamic_shapes=sizes), tmp_path / "m.pt2")
    image = torch.rand(1, 3, 8, 8)
    expected = image + torch.tensor(stated).reshape(1, -1, 1, 1)
    assert torch.equal(load_model(emd, device="cpu")(image), expected)
