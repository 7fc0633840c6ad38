from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from attachtrans.errors import ModelError
from attachtrans.models.load import load_model
from tests.models.onnx_graphs import FLOAT, IMAGE, write

torch.set_num_threads(1)


def gain(emd, shape, *, dtype=FLOAT, default=None, **keys):
    """y = x * gain."""
    nodes, factor = [], "gain"
    if dtype != FLOAT:
        nodes, factor = [helper.make_node("Cast", ["gain"], ["f"], to=FLOAT)], "f"
    nodes.append(helper.make_node("Mul", ["x", factor], ["y"]))
    initializers = () if default is None else (numpy_helper.from_array(default, "gain"),)
    inputs = (IMAGE, ("gain", dtype, shape))
    return write(emd, nodes, inputs=inputs, initializers=initializers, **keys)


PIXELS = torch.rand(2, 3, 6, 9, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("shape", "value", "expected"),
    [
        ((), 0.25, 0.25),
        ((1,), [0.25], 0.25),
        (("k",), 0.25, 0.25),
        ((1, 3, 1, 1), [0.1, 0.2, 0.3], torch.tensor([0.1, 0.2, 0.3]).reshape(1, 3, 1, 1)),
        (("n", 1, "h", "w"), 0.25, 0.25),
        (("a", 1, "b", "c"), 0.25, 0.25),
    ],
)
def test_a_constant_input(tmp_path, shape, value, expected):
    translator = load_model(gain(tmp_path / "m.emd", shape, Inputs={"gain": value}), device="cpu")
    assert translator.spec.receptive_field_px == 0
    assert translator.spec.fixed_size is None
    assert torch.equal(translator(PIXELS), PIXELS * expected)


@pytest.mark.parametrize(
    ("dtype", "value", "factor"),
    [
        (TensorProto.INT64, 2, 2),
        (TensorProto.INT32, 2, 2),
        (TensorProto.BOOL, True, 1),
        (TensorProto.FLOAT16, 0.5, 0.5),
        (TensorProto.DOUBLE, 0.5, 0.5),
    ],
)
def test_constants_of_other_types(tmp_path, dtype, value, factor):
    emd = gain(tmp_path / "m.emd", (), dtype=dtype, Inputs={"gain": value})
    assert torch.equal(load_model(emd, device="cpu")(PIXELS), PIXELS * factor)


def test_a_default_of_the_graph_serves_until_a_value_is_stated(tmp_path):
    half = np.array(0.5, dtype=np.float32)
    by_default = load_model(gain(tmp_path / "a.emd", (), default=half), device="cpu")
    assert torch.equal(by_default(PIXELS), PIXELS * 0.5)
    stated = gain(tmp_path / "b.emd", (), default=half, Inputs={"gain": 0.25})
    assert torch.equal(load_model(stated, device="cpu")(PIXELS), PIXELS * 0.25)


def test_a_missing_value_names_the_key(tmp_path):
    with pytest.raises(ModelError, match=r'"Inputs": \{"gain": 1\}'):
        load_model(gain(tmp_path / "m.emd", (1,)), device="cpu")


def test_a_noise_level_that_comes_first_is_no_image(tmp_path):
    nodes = [helper.make_node("Mul", ["x", "level"], ["y"])]
    inputs = (("level", FLOAT, (1, 1, 1, 1)), IMAGE)
    with pytest.raises(ModelError, match=r'"Inputs": \{"level": 1\}'):
        load_model(write(tmp_path / "a.emd", nodes, inputs=inputs), device="cpu")
    emd = write(tmp_path / "b.emd", nodes, inputs=inputs, Inputs={"level": 0.5})
    assert torch.equal(load_model(emd, device="cpu")(PIXELS), PIXELS * 0.5)


def test_constants_of_nets_with_bands_last(tmp_path):
    nodes = [helper.make_node("Mul", ["x", "map"], ["y"])]
    shape = ("n", "h", "w", 3)
    inputs = (("x", FLOAT, shape), ("map", FLOAT, ("a", "b", "c", 1)))
    emd = write(
        tmp_path / "m.emd", nodes, inputs=inputs, outputs=(("y", FLOAT, shape),), Inputs={"map": 2}
    )
    assert torch.equal(load_model(emd, device="cpu")(PIXELS), PIXELS * 2)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"gian": 1}, r"'gian'.*x: tensor.*gain"),
        ({"gain": [1, 2]}, "2 values"),
        ({"gain": "much"}, "Inputs.gain"),
        ({"gain": []}, "Inputs.gain"),
        ({"gain": [1] * 5000}, "Inputs.gain"),
        ({"gain": None}, "Inputs.gain"),
        ([0.5], "an object"),
    ],
)
def test_wrong_constants_are_named(tmp_path, inputs, message):
    with pytest.raises(ModelError, match=message):
        load_model(gain(tmp_path / "m.emd", (), Inputs=inputs), device="cpu")


def test_texts_are_no_constants(tmp_path):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    inputs = (IMAGE, ("name", TensorProto.STRING, (1,)))
    emd = write(tmp_path / "m.emd", nodes, inputs=inputs, Inputs={"name": 1})
    with pytest.raises(ModelError, match="not numbers"):
        load_model(emd, device="cpu")


def several(emd, **keys):
    """A flat vector, the image halved, the image negated."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Mul", ["x", "half"], ["dim"]),
        helper.make_node("Neg", ["x"], ["negative"]),
    ]
    outputs = (
        ("flat", FLOAT, ("n", "k")),
        ("dim", FLOAT, ("n", 3, "h", "w")),
        ("negative", FLOAT, ("n", 3, "h", "w")),
    )
    half = numpy_helper.from_array(np.array(0.5, dtype=np.float32), "half")
    return write(emd, nodes, outputs=outputs, initializers=(half,), **keys)


def test_of_several_outputs_the_first_image_or_the_stated_one(tmp_path):
    assert torch.equal(load_model(several(tmp_path / "a.emd"), device="cpu")(PIXELS), PIXELS / 2)
    stated = several(tmp_path / "b.emd", Output="negative")
    assert torch.equal(load_model(stated, device="cpu")(PIXELS), -PIXELS)
    with pytest.raises(ModelError, match=r"Output.*flat.*dim.*negative"):
        load_model(several(tmp_path / "c.emd", Output="positive"), device="cpu")


def test_bands_may_come_first_and_leave_last(tmp_path):
    nodes = [helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1])]
    emd = write(tmp_path / "m.emd", nodes, outputs=(("y", FLOAT, ("n", "h", "w", 3)),))
    assert torch.equal(load_model(emd, device="cpu")(PIXELS), PIXELS)


def test_eight_bit_pixels_in_and_out(tmp_path):
    image = ("x", TensorProto.UINT8, ("n", "h", "w", 3))
    result = ("y", TensorProto.UINT8, ("n", "h", "w", 3))
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    keys = {"inputs": (image,), "outputs": (result,), "OutputRange": [0, 255]}
    emd = write(tmp_path / "m.emd", nodes, InputRange=[0, 255], **keys)
    translator = load_model(emd, device="cpu")
    assert translator.spec.receptive_field_px is None
    pixels = torch.tensor([-3.0, 0.4, 0.6, 254.6, 300.0]).expand(1, 3, 2, 5)
    assert translator(pixels)[0, 0, 0].tolist() == [0, 0, 1, 255, 255]
    stated = write(tmp_path / "r.emd", nodes, InputRange=[0, 255], ReceptiveField=0, **keys)
    assert load_model(stated, device="cpu").spec.receptive_field_px == 0
    with pytest.raises(ModelError, match="8-bit"):
        load_model(write(tmp_path / "w.emd", nodes, InputRange=[0, 1], **keys), device="cpu")


def test_one_fixed_side_makes_fixed_squares(tmp_path):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    shape = (1, 3, 48, "w")
    emd = write(
        tmp_path / "m.emd", nodes, inputs=(("x", FLOAT, shape),), outputs=(("y", FLOAT, shape),)
    )
    spec = load_model(emd, device="cpu").spec
    assert (spec.fixed_size, spec.fixed_batch) == ((48, 48), 1)


def test_doubles(tmp_path):
    shape = ("n", 3, "h", "w")
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    emd = write(
        tmp_path / "m.emd",
        nodes,
        inputs=(("x", TensorProto.DOUBLE, shape),),
        outputs=(("y", TensorProto.DOUBLE, shape),),
    )
    out = load_model(emd, device="cpu")(PIXELS)
    assert out.dtype == torch.float32
    assert torch.equal(out, -PIXELS)


@pytest.mark.parametrize("in_range", [[0, 1], [-1, 1], [0, 255], "raw"])
@pytest.mark.parametrize("out_range", [[0, 1], [-1, 1], [0, 255], "raw"])
def test_ranges_are_what_the_definition_states(tmp_path, in_range, out_range):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    emd = write(tmp_path / "m.emd", nodes, InputRange=in_range, OutputRange=out_range)
    spec = load_model(emd, device="cpu").spec
    assert spec.in_range == (None if in_range == "raw" else tuple(in_range))
    assert spec.out_range == (None if out_range == "raw" else tuple(out_range))
