"""What an ONNX file says about its tensors, read without onnx or onnxruntime.

An ONNX file is a protocol buffer. A tensor may lie in another file ("external data"): its message
then has key/value pairs of which "location" is a path relative to the model. Only the fields that
lead to tensors are walked. Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto;
wire format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from attachtrans.errors import ModelError
from attachtrans.models.package import FileRef

_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _SPARSE, _FUNCTION, _TENSOR = range(7)

# message -> field number -> message of that field, as far as it leads to a tensor
_FIELDS: dict[int, dict[int, int]] = {
    _MODEL: {7: _GRAPH, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
}
_MAX_NESTING = 64
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


_WEIGHTS = frozenset({1, 2, 3, 10, 11, 16})
"""TensorProto.DataType: float, uint8 and int8 (quantised nets), half, double, bfloat16."""


def external_files(model: FileRef) -> tuple[FileRef, ...]:
    """The files that hold tensors of the ONNX file `model`, by name.

    Raises:
        ModelError: no ONNX file; a file that is missing or lies outside the model's folder; or
            external data inside a package, where onnxruntime cannot reach it.
    """
    names = sorted({name for name in _locations(model) if name})
    if names and model.member is not None:
        raise ModelError(
            f"{model} keeps its tensors in other files ({names[0]}), which is not possible inside "
            "a package: unpack it, or save the ONNX file in one piece."
        )
    folder = model.path.parent.resolve()
    for name in names:
        path = folder / name
        try:
            inside, exists = path.resolve().is_relative_to(folder), path.is_file()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, links in a circle
            raise ModelError(f"{model} names a data file that cannot be: {error}") from error
        if posixpath.isabs(name) or not inside:
            raise ModelError(
                f'{model} refers to the data file "{name}" outside its folder: refused.'
            )
        if not exists:
            raise ModelError(f"{model} needs the data file {path}, which does not exist.")
    return tuple(FileRef(path=folder / name) for name in names)


def count_weights(model: FileRef) -> int:
    """Number of values in the tensors of the ONNX file `model` that may be weights.

    Raises:
        ModelError: no ONNX file.
    """
    try:
        return sum(_count(tensor) for tensor in _tensors(model))
    except (ValueError, IndexError, TypeError) as error:
        raise ModelError(f"{model} is not a readable ONNX file: {error}") from error


def _tensors(model: FileRef) -> list[memoryview]:
    """The TensorProto messages of a model."""
    try:
        return list(_walk(memoryview(model.read()), _MODEL, 0))
    except (ValueError, IndexError) as error:
        raise ModelError(f"{model} is not a readable ONNX file: {error}") from error


def _walk(message: memoryview, kind: int, nesting: int) -> Iterator[memoryview]:
    if nesting > _MAX_NESTING:
        raise ValueError("it is nested too deeply")
    if kind == _TENSOR:
        yield message
        return
    leads = _FIELDS[kind]
    for number, value in _fields(message):
        if number in leads and isinstance(value, memoryview):
            yield from _walk(value, leads[number], nesting + 1)


def _locations(model: FileRef) -> Iterator[str]:
    """Paths of the files that hold values of tensors.

    All that a tensor names: readers differ in which one counts where there are several.
    """
    try:
        for tensor in _tensors(model):
            for number, value in _fields(tensor):
                if number == 13 and isinstance(value, memoryview):  # external_data
                    entry = {
                        key: bytes(text)
                        for key, text in _fields(value)
                        if isinstance(text, memoryview)
                    }
                    if entry.get(1) == b"location":
                        yield entry.get(2, b"").decode()
    except (ValueError, IndexError) as error:
        raise ModelError(f"{model} is not a readable ONNX file: {error}") from error


def _count(tensor: memoryview) -> int:
    count, is_weight = 1, False
    for number, value in _fields(tensor):
        if number == 1:  # dims, packed or one by one
            for size in _varints(value) if isinstance(value, memoryview) else [value]:
                count *= size
        elif number == 2:  # data_type
            is_weight = value in _WEIGHTS
    return count if is_weight else 0


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(number, content) of the fields of a message that are numbers or have a length."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("it ends in the middle of a field")
            yield number, message[at : at + length]
            at += length
        elif wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
        elif wire in (_FIXED32, _FIXED64):
            at += 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"it has a field of the unknown kind {wire}")


def _varints(message: memoryview) -> Iterator[int]:
    at = 0
    while at < len(message):
        value, at = _varint(message, at)
        yield value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("it has a number of more than 64 bits")
