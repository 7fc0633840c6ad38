"""The files that path columns name, each real file once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attachtrans.errors import LayoutError
from attachtrans.stores.geopackage import quote
from attachtrans.stores.layouts.base import PhotoTable
from attachtrans.stores.listing import Rows
from attachtrans.stores.resolve import Found, Resolver, is_remote
from attachtrans.types import FeatureRef

_PAGE = 500


@dataclass(slots=True, kw_only=True)
class FileEntry:
    """One file, or one path that leads to none.

    key       the path relative to the table's base, with "/"; what was written, for no file
    files     the real paths that rows name; several for hard links of one file
    features  those that use it, in the order found
    problem   why there is no file to read
    """

    key: str
    table: PhotoTable
    files: list[Path] = field(default_factory=list)
    features: dict[FeatureRef, None] = field(default_factory=dict)
    nbytes: int | None = None
    problem: str | None = None


def list_files(connection: sqlite3.Connection, tables: Sequence[Rows]) -> list[FileEntry]:
    """The files of path columns in the order they are first named.

    A file counts once, however many rows, columns, spellings, symbolic or hard links lead to it.
    """
    entries: dict[object, FileEntry] = {}
    resolvers: dict[object, Resolver] = {}
    for rows in tables:
        table = rows.table
        if table.base is None:
            message = f"{table.id}: no folder is known for its paths; name it with --base"
            raise LayoutError(message)
        resolver = resolvers.setdefault(
            (table.folders, table.remap), Resolver(table.folders, table.remap)
        )
        for index, value in _values(connection, rows):
            for found in resolver.resolve(value):
                entry = _enter(entries, table, Path(os.path.realpath(table.base)), found)
                entry.features.update(dict.fromkeys(rows.features(index)))
    return list(entries.values())


def _enter(
    entries: dict[object, FileEntry], table: PhotoTable, base: Path, found: Found
) -> FileEntry:
    if found.path is None:
        key = _missing_key(table, base, found.text)
        return entries.setdefault(key, FileEntry(key=key, table=table, problem=found.problem))
    status = found.path.stat()
    identity = (status.st_dev, status.st_ino) if status.st_ino else found.path
    entry = entries.get(identity)
    if entry is None:
        key = found.path.relative_to(base).as_posix()
        entry = FileEntry(key=key, table=table, nbytes=status.st_size)
        entries[identity] = entry
    if found.path not in entry.files:
        entry.files.append(found.path)
    return entry


def _missing_key(table: PhotoTable, base: Path, text: str) -> str:
    """Where a file would be, so that no file that is there has the same key."""
    if is_remote(text) or not table.folders:
        return text
    return Path(os.path.relpath(os.path.realpath(table.folders[0]), base), text).as_posix()


def _values(connection: sqlite3.Connection, rows: Rows) -> Iterator[tuple[int, str]]:
    """(index of the row, text of its path column) for every row."""
    table = rows.table
    for start in range(0, len(rows), _PAGE):
        keys = rows.keys[start : start + _PAGE]
        marks = ", ".join("?" * len(keys))
        sql = (
            f"SELECT {quote(table.key)}, CAST({quote(table.data)} AS TEXT) "
            f"FROM {quote(table.table)} WHERE {quote(table.key)} IN ({marks})"
        )
        values = dict(connection.execute(sql, keys.tolist()))
        for offset, key in enumerate(keys):
            if values.get(key):
                yield start + offset, values[key]
