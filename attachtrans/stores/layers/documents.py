"""The text of layer files, read with care: they come from anywhere.

Archives are read entry by entry, in memory, up to a size: nothing is unpacked. XML may have a
DOCTYPE (QGIS writes one) but declare no entities, so that none can grow.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from xml.parsers import expat

from attachtrans.errors import SourceError

_MOST_BYTES = 256 << 20


def file_bytes(path: Path) -> bytes:
    """The content of a file. Raises SourceError when it is missing or unlikely large."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SourceError(f"{path}: is larger than {_MOST_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error


def archive_entries(path: Path, ending: str) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the entries of a zip archive whose names end like this.

    Raises SourceError when it is no archive, damaged, or much larger than any that is meant.
    """
    left = _MOST_BYTES
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not entry.filename.lower().endswith(ending):
                    continue
                with archive.open(entry) as file:
                    content = file.read(left + 1)  # what the entry says of its size may be wrong
                left -= len(content)
                if left < 0:
                    raise SourceError(f"{path}: is larger than {_MOST_BYTES >> 20} MiB unpacked")
                yield entry.filename, content
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise SourceError(f"{path}: is a damaged archive: {error}") from error
    except FileNotFoundError as error:
        raise SourceError(f"{path}: there is no such file") from error


def project_bytes(path: Path) -> bytes:
    """The XML of a QGIS project (.qgs, or .qgz with one in it). Raises SourceError."""
    if path.suffix.lower() != ".qgz":
        return file_bytes(path)
    for _, content in archive_entries(path, ".qgs"):
        return content
    raise SourceError(f"{path}: there is no .qgs in it")


def parse_xml(path: Path, content: bytes) -> ET.Element:
    """The root of an XML document. Raises SourceError, also for one that declares entities."""
    try:
        _refuse_entities(content)
        return ET.fromstring(content)  # noqa: S314 - it declares no entities
    except (ET.ParseError, expat.ExpatError, ValueError, LookupError) as error:
        raise SourceError(f"{path}: is not readable XML: {error}") from error


class _Begun(Exception):  # noqa: N818 - no error: the prolog has been read
    pass


def _refuse_entities(content: bytes) -> None:
    """Read up to the first element, before which all declarations are."""
    parser = expat.ParserCreate()

    def begin(_name: str, _attributes: dict[str, str]) -> None:
        raise _Begun

    def declare(name: str, *_: object) -> None:
        raise ValueError(f"it declares the entity {name}, which no layer file needs")

    parser.StartElementHandler = begin
    parser.EntityDeclHandler = declare
    try:
        parser.Parse(content, True)
    except _Begun:
        return


def parse_json(path: Path, content: bytes) -> Any:
    """A JSON document, with or without a byte order mark. Raises SourceError."""
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: is not readable JSON: {error}") from error
