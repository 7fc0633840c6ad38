from __future__ import annotations

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from attachtrans.errors import ModelError
from attachtrans.models.onnxfile import count_weights, external_files
from attachtrans.models.package import FileRef
from tests.models.nets import package


def with_tensor(path, location=None, size=12):
    """A graph that adds one float tensor, kept in the file or at `location`."""
    tensor = numpy_helper.from_array(np.arange(size, dtype=np.float32), "w")
    if location is not None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location
    counts = numpy_helper.from_array(np.array([1, 2], dtype=np.int64), "shape")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [size])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [size])
    node = helper.make_node("Add", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", [value], [out], [tensor, counts])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return FileRef(path=path)


def test_tensors_in_the_file(tmp_path):
    model = with_tensor(tmp_path / "m.onnx", size=300)
    assert external_files(model) == ()
    assert count_weights(model) == 300


def test_tensors_in_constants_and_branches_count(tmp_path):
    tensor = numpy_helper.from_array(np.zeros((2, 3), np.float32), "c")
    constant = helper.make_node("Constant", [], ["y"], value=tensor)
    branch = helper.make_graph([constant], "b", [], [helper.make_empty_tensor_value_info("y")])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(helper.make_graph([node], "g", [], [])).SerializeToString())
    assert count_weights(FileRef(path=path)) == 12


def test_data_beside_the_model(tmp_path):
    model = with_tensor(tmp_path / "m.onnx", "weights/data.bin")
    with pytest.raises(ModelError, match="does not exist"):
        external_files(model)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/data.bin").write_bytes(bytes(48))
    assert [file.path for file in external_files(model)] == [tmp_path / "weights/data.bin"]
    assert count_weights(model) == 12


@pytest.mark.parametrize("location", ["../data.bin", "/etc/passwd", "a/../../data.bin"])
def test_data_outside_the_folder_is_refused(tmp_path, location):
    (tmp_path / "data.bin").write_bytes(bytes(48))
    (tmp_path / "in").mkdir()
    with pytest.raises(ModelError, match="outside its folder"):
        external_files(with_tensor(tmp_path / "in/m.onnx", location))


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "data.bin").write_bytes(bytes(48))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/data.bin").symlink_to(tmp_path / "data.bin")
    with pytest.raises(ModelError, match="outside its folder"):
        external_files(with_tensor(tmp_path / "in/m.onnx", "data.bin"))


def test_data_beside_the_model_in_a_package_is_refused(tmp_path):
    with_tensor(tmp_path / "m.onnx", "data.bin")
    packed = package(tmp_path / "m.dlpk", tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="in one piece"):
        external_files(FileRef(path=packed, member="m.onnx"))


def test_real_files_count_as_onnx_does(shared):
    for path in sorted((shared / "models").glob("*/*.onnx")):
        model = onnx.load(path)
        floats = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]
        constants = [
            attribute.t
            for node in model.graph.node
            if node.op_type == "Constant"
            for attribute in node.attribute
            if attribute.t.data_type == TensorProto.FLOAT
        ]
        expected = sum(int(np.prod(t.dims)) for t in [*floats, *constants])
        assert count_weights(FileRef(path=path)) == expected


@given(st.binary(max_size=200))
def test_noise_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("o") / "m.onnx"
    path.write_bytes(content)
    with contextlib.suppress(ModelError):
        assert count_weights(FileRef(path=path)) >= 0
