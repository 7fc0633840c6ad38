"""The pickles of a TorchScript archive, checked before PyTorch reads them.

`torch.jit.load` unpickles in C++ and believes what it reads: a tensor may claim more elements than
its storage holds, and a storage more bytes than its record, and the net then reads and writes
memory that is not its own (measured on PyTorch 2.13). So each pickle is read here first, by
Python's unpickler with stand-ins for all that it may name: numbers, text, containers, tensors
whose elements lie inside their record, and objects of the archive's own classes. Nothing is made
of it but those stand-ins.

Format: pickle protocol 2 with the instructions of torch/csrc/jit/serialization/pickler.cpp.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections.abc import Callable, Mapping
from typing import Any

from attachtrans.errors import ModelError, UntrustedModelError

_INSTRUCTIONS = frozenset(
    (
        *("PROTO", "STOP", "MARK", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1"),
        *("BINFLOAT", "BINUNICODE", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("EMPTY_LIST", "APPENDS", "EMPTY_DICT", "SETITEMS"),
        *("GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID"),
    )
)
_STORAGES = {
    "ByteStorage": 1,
    "CharStorage": 1,
    "ShortStorage": 2,
    "IntStorage": 4,
    "LongStorage": 8,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "FloatStorage": 4,
    "DoubleStorage": 8,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "BoolStorage": 1,
}
"""Bytes per element."""
_TYPE = re.compile(r"[\w.\[\], ]{1,500}")
_DEVICE = re.compile(r"[a-z]{1,20}(:\d{1,3})?")


class _StorageType:
    """Stands for a class such as torch.FloatStorage."""

    def __init__(self, item_bytes: int) -> None:
        self.item_bytes = item_bytes


class _Storage:
    """Stands for the memory of tensors: so many bytes in a record of the archive."""

    def __init__(self, elements: int) -> None:
        self.elements = elements


class _Tensor:
    """Stands for a tensor that lies inside its storage."""


class _Object:
    """Stands for an object of a class of the archive."""

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
            raise ModelError("an object without attributes by name")


def check_pickle(content: bytes, records: Mapping[str, int], classes: frozenset[str]) -> None:
    """Refuse a pickle of a TorchScript archive that PyTorch must not be shown.

    Args:
        content: the pickle.
        records: length in bytes of the records that it may name as storages, by key.
        classes: full names of the classes that the archive's own code defines.

    Raises:
        UntrustedModelError: it names something else than tensors and the archive's own classes.
        ModelError: it is damaged, or a tensor reaches beyond its storage.
    """
    try:
        names = {instruction.name for instruction, _, _ in pickletools.genops(content)}
        foreign = names - _INSTRUCTIONS
        if not foreign:
            _Unpickler(content, records, classes).load()
            return
    except ModelError:
        raise
    except Exception as error:
        # An unpickler may raise anything on damaged input, and runs nothing but this module.
        raise ModelError(f"a damaged pickle ({error!s:.200})") from error
    raise UntrustedModelError(
        f"the pickle instruction {min(foreign)}, which torch.jit.save never writes"
    )


class _Unpickler(pickle.Unpickler):
    """Python's unpickler, in which every name leads to a stand-in of this module."""

    def __init__(self, content: bytes, records: Mapping[str, int], classes: frozenset[str]) -> None:
        super().__init__(io.BytesIO(content))
        self._records = records
        self._classes = classes

    def find_class(self, module: str, name: str) -> Any:
        known = _FUNCTIONS.get((module, name))
        if known is not None:
            return known
        if module == "torch" and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        if f"{module}.{name}" in self._classes:
            return _Object
        raise UntrustedModelError(f"{module}.{name}, which is neither tensor nor class of its own")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage, key, device, elements = pid
        if kind != "storage" or not isinstance(storage, _StorageType):
            raise ModelError("a storage that is none")
        if not isinstance(key, str) or key not in self._records:
            raise ModelError(f"a tensor without its record {key!r:.60}")
        if not isinstance(device, str) or not _DEVICE.fullmatch(device):
            raise ModelError(f"a tensor on the device {device!r:.60}")
        held = self._records[key]
        if not _is_count(elements) or elements * storage.item_bytes > held:
            raise ModelError(
                f"a tensor that claims {elements} x {storage.item_bytes} bytes of the record "
                f'"{key}", which holds {held}'
            )
        return _Storage(elements)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def lies_within(elements: int, offset: object, size: object, stride: object) -> bool:
    """Whether a strided tensor reaches no element outside a storage of `elements`."""
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        return False
    if not _is_count(offset) or not all(map(_is_count, (*size, *stride))):
        return False
    if 0 in size:
        return True
    last = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = 1
    for n in size:
        count *= n
    # A view of few numbers that claims many (stride 0) is no weight, and could fill the memory.
    return offset + last < elements and count <= elements


def _tensor(*parts: Any) -> _Tensor:
    storage, offset, size, stride, requires_grad, hooks = parts
    if (
        not isinstance(storage, _Storage)
        or not isinstance(requires_grad, bool)
        or hooks is not None
    ):
        raise ModelError("a tensor that is none")
    if not lies_within(storage.elements, offset, size, stride):
        raise ModelError(
            f"a tensor of size {size} and strides {stride} at {offset} that reaches beyond its "
            f"{storage.elements} elements"
        )
    return _Tensor()


def _no_hooks() -> None:
    """Stands for the empty dictionary of backward hooks of a tensor."""


def _list_of(kind: type) -> Callable[[Any], list[Any]]:
    def build(entries: Any) -> list[Any]:
        if not isinstance(entries, list) or not all(type(entry) is kind for entry in entries):
            raise ModelError(f"a list that does not hold {kind.__name__} only")
        return entries

    return build


def _tagged(value: Any, type_name: Any) -> Any:
    if not isinstance(value, list | dict) or not isinstance(type_name, str):
        raise ModelError("a container without its type")
    if not _TYPE.fullmatch(type_name):
        raise ModelError(f"the type {type_name!r:.100}")
    return value


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("collections", "OrderedDict"): _no_hooks,
    ("torch.jit._pickle", "build_intlist"): _list_of(int),
    ("torch.jit._pickle", "build_doublelist"): _list_of(float),
    ("torch.jit._pickle", "build_boollist"): _list_of(bool),
    ("torch.jit._pickle", "build_tensorlist"): _list_of(_Tensor),
    ("torch.jit._pickle", "restore_type_tag"): _tagged,
}
