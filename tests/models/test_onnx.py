from __future__ import annotations

import importlib
import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from attachtrans.errors import ModelError
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.load import load_model
from tests.models.nets import package
from tests.models.onnx_graphs import write as write_graph

torch.set_num_threads(1)


def write(
    emd, nodes, *, shape=("n", 3, "h", "w"), initializers=(), dtype=TensorProto.FLOAT, **keys
):
    """An ONNX graph from x to y, and its .emd."""
    return write_graph(
        emd,
        nodes,
        inputs=[("x", dtype, shape)],
        outputs=[("y", dtype, ["a", "b", "c", "d"])],
        initializers=initializers,
        **keys,
    )


def identity(emd, **keys):
    return write(emd, [helper.make_node("Identity", ["x"], ["y"])], **keys)


def conv(emd, kernel, **keys):
    weight = numpy_helper.from_array(kernel, "k")
    pads = [kernel.shape[2] // 2] * 4
    node = helper.make_node("Conv", ["x", "k"], ["y"], pads=pads)
    return write(emd, [node], initializers=[weight], **keys)


def test_a_convolution_is_torchs(tmp_path):
    kernel = np.random.default_rng(1).normal(size=(3, 3, 5, 5)).astype(np.float32)
    translator = load_model(conv(tmp_path / "m.emd", kernel), device="cpu")
    assert translator.spec.receptive_field_px == 2
    assert translator.parameters == kernel.size
    pixels = torch.rand(2, 3, 9, 11).contiguous(memory_format=torch.channels_last)
    expected = torch.nn.functional.conv2d(pixels, torch.from_numpy(kernel), padding=2)
    with torch.inference_mode():
        assert torch.allclose(translator(pixels), expected, atol=1e-5)


def test_both_layouts(tmp_path):
    nchw = load_model(identity(tmp_path / "a.emd"), device="cpu")
    nhwc = load_model(identity(tmp_path / "b.emd", shape=("n", "h", "w", 3)), device="cpu")
    stated = load_model(
        identity(tmp_path / "c.emd", shape=("n", "h", "w", "c"), ModelFormat="NHWC", InputBands=3),
        device="cpu",
    )
    pixels = torch.rand(2, 3, 6, 9)
    for translator in (nchw, nhwc, stated):
        assert torch.equal(translator(pixels), pixels)
        assert (translator.spec.in_bands, translator.spec.out_bands) == (3, 3)
        assert translator.spec.fixed_size is None
    with pytest.raises(ModelError, match="ModelFormat"):
        load_model(identity(tmp_path / "d.emd", ModelFormat="CHW"), device="cpu")


def test_shapes_of_the_graph_are_facts(tmp_path):
    emd = identity(tmp_path / "m.emd", shape=(2, 1, 48, 64))
    spec = load_model(emd, device="cpu").spec
    assert (spec.fixed_batch, spec.in_bands, spec.fixed_size) == (2, 1, (64, 48))


def test_half_precision(tmp_path):
    translator = load_model(identity(tmp_path / "m.emd", dtype=TensorProto.FLOAT16), device="cpu")
    out = translator(torch.full((1, 3, 4, 4), 0.5))
    assert out.dtype == torch.float32
    assert torch.equal(out, torch.full((1, 3, 4, 4), 0.5))


def test_eight_bit_batches_and_packages(tmp_path):
    emd = identity(tmp_path / "m.emd", InputRange=[0, 255])
    packed = package(tmp_path / "m.dlpk", emd, tmp_path / "m.onnx")
    pixels = torch.randint(0, 256, (1, 3, 4, 4), dtype=torch.uint8)
    assert torch.equal(load_model(packed, device="cpu")(pixels), pixels.float())


def test_graphs_that_are_not_for_images(tmp_path):
    with pytest.raises(ModelError, match="four axes"):
        load_model(identity(tmp_path / "a.emd", dtype=TensorProto.INT32), device="cpu")
    with pytest.raises(ModelError, match="four axes"):
        load_model(identity(tmp_path / "b.emd", shape=("n", 3, "w")), device="cpu")


def test_nets_that_move_pixels_count_as_unbounded(tmp_path):
    grid = np.zeros((1, 4, 4, 2), np.float32)
    nodes = [helper.make_node("GridSample", ["x", "g"], ["y"])]
    emd = write(
        tmp_path / "m.emd",
        nodes,
        shape=(1, 3, 4, 4),
        initializers=[numpy_helper.from_array(grid, "g")],
    )
    assert load_model(emd, device="cpu").spec.receptive_field_px is None


def test_damaged_files(tmp_path):
    emd = identity(tmp_path / "m.emd")
    for content in (b"", b"noise", (tmp_path / "m.onnx").read_bytes()[:40]):
        (tmp_path / "m.onnx").write_bytes(content)
        with pytest.raises(ModelError, match="ONNX"):
            load_model(emd, device="cpu")


def test_external_data_is_part_of_the_fingerprint(tmp_path):
    kernel = np.ones((3, 3, 3, 3), np.float32)
    emd = conv(tmp_path / "m.emd", kernel)
    model = onnx.load(tmp_path / "m.onnx")
    onnx.save(
        model,
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="m.data",
        size_threshold=0,
    )
    assert (tmp_path / "m.data").is_file()
    assert load_model(emd, device="cpu").spec.receptive_field_px == 1
    before = ModelDefinition.read(emd).fingerprint
    (tmp_path / "m.data").write_bytes(bytes((tmp_path / "m.data").stat().st_size))
    assert ModelDefinition.read(emd).fingerprint != before


def test_a_missing_runtime_names_the_extra(tmp_path, monkeypatch):
    emd = identity(tmp_path / "m.emd")
    real = importlib.import_module

    def without(name, *args):
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(ModelError, match=r"attachtrans\[onnx\]"):
        load_model(emd, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "websr-anime4k-s-rl-x2/anime4k_s_rl",
        "waifu2x-upconv7-photo-x2/scalex2",
        "neuro-low-light-zerodce/zerodcepp",
    ],
)
def test_real_nets_agree_with_their_torchscript(shared, name):
    file = str(shared / "models" / name)
    pixels = torch.rand(1, 3, 40, 56)
    outs, specs = [], []
    for kind, suffix in (("ONNX", ".onnx"), ("TorchScript", ".ts.pt")):
        definition = {
            "Framework": "attachtrans",
            "ModelType": kind,
            "ModelFile": file + suffix,
            "InputRange": [0, 1],
            "OutputRange": [0, 1],
        }
        translator = load_model(json.dumps(definition), device="cpu")
        specs.append(translator.spec)
        with torch.inference_mode():
            outs.append(translator(pixels))
    assert specs[0] == specs[1]
    assert torch.allclose(outs[0], outs[1], atol=1e-4)
