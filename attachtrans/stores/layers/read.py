"""Layer files: recognised by their endings, read layer by layer."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.stores.layers import cim, qgis
from attachtrans.stores.layers.base import Entry, LayerSource
from attachtrans.stores.layers.documents import (
    archive_entries,
    file_bytes,
    parse_json,
    parse_xml,
    project_bytes,
)

PathLike = str | os.PathLike[str]

_PRO = "open it in ArcGIS Pro and save the layer as a layer file (.lyrx)"
_REFUSED = {
    ".lyr": f"layer files of ArcMap are not documented; {_PRO}",
    ".lpk": f"layer packages hold layer files of ArcMap; {_PRO}",
    ".lpkx": f"layer packages are 7z archives; {_PRO}, or unpack it",
    ".mxd": f"maps of ArcMap are not documented; {_PRO}",
}
_LISTED = 20


def recognise(source: PathLike) -> bool:
    """Whether a source is a layer file, maybe with ":layer" behind; nothing is opened."""
    path, _ = split_layer_name(source)
    ending = path.suffix.lower()
    return (ending in _READERS or ending in _REFUSED) and not path.is_dir()


def split_layer_name(source: PathLike) -> tuple[Path, str | None]:
    """`project.qgz:Trees` as (project.qgz, "Trees"); None where no layer is named."""
    text = os.fspath(source)
    found = _NAMED.fullmatch(text)
    if found is None or Path(text).exists():
        return Path(text), None
    return Path(found["path"]), found["layer"]


def list_layers(path: PathLike) -> tuple[str, ...]:
    """The names of all layers in a layer file, in drawing order. Raises SourceError."""
    return tuple(entry.name for entry in _entries(Path(path)))


def read_layer(source: PathLike, name: str | None = None) -> LayerSource:
    """What a layer shows: the one that is named, else the only one whose data can be read.

    source: a layer file, or one with ":layer" behind; `name` wins.

    Raises:
        ArgumentError: no layer of that name, or several that could be meant; lists them.
        SourceError: the file cannot be read, or the layer's data cannot; says why and what to do.
    """
    path, named = split_layer_name(source)
    wanted = name or named
    entries = _entries(path)
    if wanted is None:
        meant = [entry for entry in entries if entry.source is not None]
    else:
        meant = [entry for entry in entries if entry.name == wanted] or [
            entry for entry in entries if entry.name.casefold() == wanted.casefold()
        ]
    if len({entry.source for entry in meant}) > 1:
        which = "holds several layers" if wanted is None else f"holds several layers {wanted!r}"
        raise ArgumentError(f"{path}: {which}; name one, like {path}:{meant[0].name}. {_in(meant)}")
    if wanted is not None and not meant:
        raise ArgumentError(f"{path}: has no layer {wanted!r}. {_in(entries)}")
    if not meant or meant[0].source is None:
        raise SourceError(_nothing(path, meant or entries))
    return meant[0].source


def _in(entries: list[Entry]) -> str:
    names = ", ".join(repr(entry.name) for entry in entries[:_LISTED]) or "none"
    more = f" and {len(entries) - _LISTED} more" if len(entries) > _LISTED else ""
    return f"Its layers: {names}{more}"


def _nothing(path: Path, entries: list[Entry]) -> str:
    if not entries:
        return f"{path}: holds no layer"
    lines = [f"{path}: its layer {e.name!r} cannot be read: {e.problem}" for e in entries[:_LISTED]]
    return "\n".join(lines)


def _entries(path: Path) -> list[Entry]:
    ending = path.suffix.lower()
    if ending in _REFUSED:
        raise SourceError(f"{path}: {_REFUSED[ending]}")
    reader = _READERS.get(ending)
    if reader is None:
        known = ", ".join(_READERS)
        raise SourceError(f"{path}: is no layer file; their endings are {known}")
    return reader(path)


def _of_qgis(path: Path) -> list[Entry]:
    root = parse_xml(path, project_bytes(path))
    if root.tag not in ("qgis", "qlr"):
        raise SourceError(f"{path}: is XML but no file of QGIS layers (its root is {root.tag})")
    return list(qgis.layers_of(root, path.parent))


def _of_document(path: Path) -> list[Entry]:
    document = parse_json(path, file_bytes(path))
    definitions: Any = document.get("layerDefinitions") if isinstance(document, dict) else None
    if not isinstance(definitions, list):
        raise SourceError(f"{path}: is JSON but no layer file of ArcGIS Pro")
    return list(cim.layers_of(definitions, path.parent))


def _of_project(path: Path) -> list[Entry]:
    """The layers of all maps: each is a file of its own in the archive."""
    found = [parse_json(path, content) for _, content in archive_entries(path, ".json")]
    layers = [one for one in found if isinstance(one, dict) and _is_layer(str(one.get("type")))]
    if not layers:
        raise SourceError(
            f"{path}: no layers are found in it; projects of ArcGIS Pro 2 are not read. Save it "
            "with Pro 3, or save the layer as a layer file (.lyrx)"
        )
    return list(cim.layers_of(layers, path.parent))


def _is_layer(type_name: str) -> bool:
    return type_name.startswith("CIM") and type_name.endswith("Layer")


_READERS: dict[str, Callable[[Path], list[Entry]]] = {
    ".qlr": _of_qgis,
    ".qgs": _of_qgis,
    ".qgz": _of_qgis,
    ".lyrx": _of_document,
    ".mapx": _of_document,
    ".aprx": _of_project,
}
_NAMED = re.compile(
    rf"(?P<path>.+?(?:{'|'.join(map(re.escape, (*_READERS, *_REFUSED)))}))(?::(?P<layer>.+))?",
    re.IGNORECASE | re.DOTALL,
)
