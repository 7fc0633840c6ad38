from __future__ import annotations

import re

import pytest
import torch

from attachtrans.models.operators import PRIMITIVES, TENSOR_OPERATORS, is_computation

SCHEMAS: dict[str, list[torch._C.FunctionSchema]] = {}
for schema in torch._C._jit_get_all_schemas():
    SCHEMAS.setdefault(schema.name, []).append(schema)

# Types from which nothing but numbers, and memory that PyTorch checks, can be reached.
HARMLESS = re.compile(
    r"(Optional|List|Dict|Tuple|Tensor|int|float|bool|complex|number|Device|Generator|"
    r"AnyEnumType|Any|t|t1|t2|tVal|str|[\[\], ])+"
)
# Where text is taken it names a mode of computation, or is itself what is computed with.
MODES = {
    *("padding", "rounding_mode", "equation", "norm", "approximate", "ord", "indexing", "mode"),
    *("interpolation", "reduce", "side", "assert_msg", "message", "type"),
}
ABOUT_TEXT = {
    *("Float", "Int", "__contains__", "__getitem__", "_set_item", "add", "any", "copy", "device"),
    *("dict", "eq", "ne", "lt", "le", "gt", "ge", "format", "get", "index", "items", "keys"),
    *("len", "list", "ord", "pop", "slice", "sort", "sorted", "split", "str"),
    "values",
}
REFUSED = [
    *("aten::from_file", "aten::save", "aten::set_", "aten::set_data", "aten::as_strided"),
    *("aten::as_strided_", "aten::resize_", "aten::resize_as_", "aten::empty_strided"),
    *("aten::_reshape_alias", "aten::to_mkldnn", "aten::_pin_memory", "aten::record_stream"),
    *("aten::lstm", "aten::lstm_cell", "aten::_pack_padded_sequence", "aten::quantize_per_tensor"),
    *("aten::manual_seed", "aten::set_grad_enabled", "aten::_foobar", "aten::to_sparse"),
    *("prim::Print", "prim::PythonOp", "prim::IgnoredPythonOp", "prim::CallFunction"),
    *("prim::CallMethod", "prim::fork", "prim::rpc_async", "prim::awaitable", "prim::Enter"),
    *("quantized::conv2d", "mkldnn_prepacked::conv2d_run", "profiler::_record_function_enter"),
    *("torchvision::nms", "aten::__setstate__", "aten::", "aten::_", "aten::__"),
]


@pytest.mark.parametrize("name", sorted(TENSOR_OPERATORS))
def test_an_operator_takes_and_gives_numbers_only(name):
    schemas = [*SCHEMAS.get(f"aten::{name}", ()), *SCHEMAS.get(f"aten::{name}_", ())]
    assert schemas, "not in this PyTorch"
    for schema in schemas:
        for value in (*schema.arguments, *schema.returns):
            text = str(value.type)
            assert HARMLESS.fullmatch(text), f"{schema.name}: {value.name} is {text}"
            if "str" in text:
                assert value.name in MODES or name in ABOUT_TEXT, f"{schema.name}: {value.name}"


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_more_is_no_computation(kind):
    namespace, _, name = kind.partition("::")
    assert not is_computation(namespace, name)


def test_in_place_forms_and_namespaces():
    assert is_computation("aten", "relu_")
    assert is_computation("prim", "If")
    assert not is_computation("quantized", "add")
    assert not is_computation("aten", "If")
    assert not is_computation("prim", "conv2d")
    assert not PRIMITIVES & {"Print", "CallMethod", "PythonOp"}
