"""ONNX graphs for tests, with their definitions."""

from __future__ import annotations

import json

import onnx
from onnx import TensorProto, helper

FLOAT = TensorProto.FLOAT
IMAGE = ("x", FLOAT, ("n", 3, "h", "w"))
RESULT = ("y", FLOAT, ("n", 3, "h", "w"))


def write(emd, nodes, *, inputs=(IMAGE,), outputs=(RESULT,), initializers=(), **keys):
    """A graph and its .emd; inputs and outputs are (name, type, shape)."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        list(initializers),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    emd.with_suffix(".onnx").write_bytes(model.SerializeToString())
    definition = {
        "Framework": "attachtrans",
        "ModelType": "ONNX",
        "ModelFile": emd.with_suffix(".onnx").name,
        "InputRange": [0, 1],
        "OutputRange": [0, 1],
        **keys,
    }
    emd.write_text(json.dumps(definition))
    return emd
