"""The archive of an exported program (.pt2), read without PyTorch's own loader.

`torch.export.load` evaluates text of the file as Python (symbolic sizes, guards), unpickles sample
inputs and custom objects, and loads compiled libraries. None of that is needed to run a net on
pictures, so only two kinds of entries are read here: the graph, which is JSON, and tensors, which
are bytes with their shape in JSON. A file with libraries, sources or pickled objects is refused,
because it is meant to run them.

Format: torch/export/pt2_archive and torch/_export/serde/schema.py (schema version 8), as written
by torch.export.save from PyTorch 2.8 on.
"""

from __future__ import annotations

import json
import posixpath
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.archive import Archive, open_archive
from attachtrans.models.package import FileRef
from attachtrans.models.scriptdata import lies_within

_MAX_JSON_BYTES = 64 << 20
_SCHEMA = 8
_MODELS = "models/"
_PROGRAMS = {".so", ".dll", ".dylib", ".o", ".a", ".cubin", ".hsaco", ".ptx", ".spv", ".wasm"}
_SOURCES = {".py", ".pyc", ".cpp", ".cc", ".c", ".h", ".hpp", ".cu", ".metal", ".sh"}
_OBJECTS = ("custom_obj", "opaque_obj")
_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
}
_STRIDED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """What a .pt2 holds.

    graph       the JSON object of the graph
    signature   the JSON object that says which inputs are weights
    tensors     weights and constants by name
    trained     names of those that are parameters
    """

    graph: Mapping[str, Any]
    signature: Mapping[str, Any]
    tensors: dict[str, Tensor]
    trained: frozenset[str]


def read_exported(file: FileRef) -> ExportedFile:
    """The graph and the tensors of a .pt2.

    Raises:
        UntrustedModelError: it holds programs or pickled objects.
        ModelError: it is damaged, of another format, or a tensor does not fit its bytes.
    """
    with open_archive(file.read(), file, what="exported program") as archive:
        _refuse_programs(archive)
        name = _model_name(archive)
        try:
            program = _json(archive, f"{_MODELS}{name}.json")
            major = program["schema_version"]["major"]
            if major != _SCHEMA:
                raise ModelError(
                    f"{file} is written in version {major} of the format, and only {_SCHEMA} is "
                    "known: export it with another PyTorch."
                )
            module = program["graph_module"]
            weights = _json(archive, f"data/weights/{name}_weights_config.json")["config"]
            constants = _json(archive, f"data/constants/{name}_constants_config.json")["config"]
            stored = [("weights", entry) for entry in weights.items()]
            stored += [("constants", entry) for entry in constants.items()]
            tensors = _tensors(archive, stored)
            trained = frozenset(key for key, meta in weights.items() if meta["is_param"])
            return ExportedFile(
                graph=module["graph"],
                signature=module["signature"],
                tensors=tensors,
                trained=trained,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{file} is not laid out as an exported program: {error!s:.200}"
            ) from error


def dtype_of(code: object) -> torch.dtype:
    """The data type for its number in the file.

    Raises:
        ModelError: there is none of this number here.
    """
    dtype = _DTYPES.get(code) if type(code) is int else None
    if dtype is None:
        raise ModelError(f"The exported program has values of the unknown data type {code!r:.60}.")
    return dtype


def _refuse_programs(archive: Archive) -> None:
    for name in archive.sizes:
        suffix = posixpath.splitext(name)[1].lower()
        stem = posixpath.basename(name)
        if suffix in _PROGRAMS | _SOURCES or name.startswith("data/aotinductor/"):
            raise UntrustedModelError(
                f"{archive.file} holds compiled code or its source ({name}): refused. Save the "
                "net by torch.export.save, without compiling it."
            )
        if stem.startswith(_OBJECTS):
            raise UntrustedModelError(
                f"{archive.file} holds the pickled object {name}: refused. Export a net of "
                "tensors only."
            )


def _model_name(archive: Archive) -> str:
    models = [
        name.removeprefix(_MODELS).removesuffix(".json")
        for name in archive.sizes
        if name.startswith(_MODELS) and name.endswith(".json")
    ]
    if len(models) == 1:
        if archive.read("byteorder", limit_bytes=10).decode("latin-1").strip() != sys.byteorder:
            raise ModelError(f"{archive.file} was written on a machine of another byte order.")
        return models[0]
    if "serialized_exported_program.json" in archive.sizes:
        raise ModelError(
            f"{archive.file} has the layout of PyTorch 2.7 and earlier: export it with a newer one."
        )
    raise ModelError(
        f"{archive.file} holds {len(models)} exported programs, and exactly one is needed."
    )


def _json(archive: Archive, name: str) -> dict[str, Any]:
    try:
        value = json.loads(archive.read(name, limit_bytes=_MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{archive.file}: the entry {name} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{archive.file}: the entry {name} is not a JSON object.")
    return value


def _tensors(
    archive: Archive, stored: list[tuple[str, tuple[str, Mapping[str, Any]]]]
) -> dict[str, Tensor]:
    """Tensors by name; one object where two names mean the same, as tied weights do."""
    tensors: dict[str, Tensor] = {}
    read: dict[str, Tensor] = {}
    for folder, (key, meta) in stored:
        same = f"{folder}/{meta['path_name']} {meta['tensor_meta']}"
        if same not in read:
            read[same] = _tensor(archive, f"data/{folder}/", key, meta)
        tensors[key] = read[same]
    return tensors


def _tensor(archive: Archive, folder: str, key: str, meta: Mapping[str, Any]) -> Tensor:
    if meta["use_pickle"]:
        raise UntrustedModelError(
            f"{archive.file} holds the tensor {key:.60} as a pickle: refused. Export a net of "
            "ordinary tensors."
        )
    facts = meta["tensor_meta"]
    dtype = dtype_of(facts["dtype"])
    content = bytearray(archive.read(folder + meta["path_name"]))
    elements = len(content) // dtype.itemsize
    size = tuple(entry["as_int"] for entry in facts["sizes"])
    stride = tuple(entry["as_int"] for entry in facts["strides"])
    offset = facts["storage_offset"]["as_int"]
    if facts["layout"] != _STRIDED or not lies_within(elements, offset, size, stride):
        raise ModelError(
            f"{archive.file}: the tensor {key:.60} of size {size} does not lie in the "
            f"{len(content)} bytes that are stored for it."
        )
    if not elements:
        return torch.empty(size, dtype=dtype)
    return torch.frombuffer(content, dtype=dtype, count=elements).as_strided(size, stride, offset)
