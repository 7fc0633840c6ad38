"""A geodatabase as a source of photos: its mirror for rows, itself for the photos."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from attachtrans.errors import SinkError, SourceError
from attachtrans.stores.content import content_of
from attachtrans.stores.contents import Contents, TableContents
from attachtrans.stores.geodatabase.edition import recover
from attachtrans.stores.geodatabase.filegdb import Binaries
from attachtrans.stores.geodatabase.kinds import (
    Kind,
    is_geodatabase,
    kind_of,
    refuse_writing,
)
from attachtrans.stores.geodatabase.mirror import make_mirror
from attachtrans.stores.geodatabase.mobile import replica_mark, unread_geometries
from attachtrans.stores.geodatabase.staged import staged_path
from attachtrans.stores.geopackage import quote, reading
from attachtrans.stores.layouts.base import LayoutName, PhotoTable
from attachtrans.stores.vectortable import VectorTable


class Geodatabase(VectorTable):
    """A geodatabase and the mirror that it is read in; made by `open_geodatabase`."""

    def __init__(self, path: Path, database: Path, kind: Kind) -> None:
        super().__init__(path, database)
        self._kind = kind

    def guarded(self, tables: Iterable[PhotoTable]) -> list[PhotoTable]:
        """The photo tables, with the reason where they cannot be written."""
        if self._kind is Kind.MOBILE:
            with reading(self.path) as connection:
                return [_of_mobile(connection, table) for table in tables]
        why: str | None = None
        warnings: tuple[str, ...] = ()
        try:
            refuse_writing(self.path)
        except SinkError as error:
            why = str(error)
        if staged_path(self.path).exists():
            waiting = "results of an interrupted run wait beside it; the same command puts them in"
            warnings = (f"{self.path.name}: {waiting}",)
        return [
            replace(
                table,
                read_only=None if table.layout is LayoutName.PATH else why,
                warnings=(*table.warnings, *warnings),
            )
            for table in tables
        ]

    def contents(self) -> Contents:
        """What reads its photos."""
        if self._kind is Kind.MOBILE:
            return MobileContents(self.path)
        return GdbContents(self.path)


def _of_mobile(connection: sqlite3.Connection, table: PhotoTable) -> PhotoTable:
    unread = {layer: unread_geometries(connection, layer) for layer in table.layers}
    warnings = [
        f"{layer}: {count} geometries (with Z, M, curves or a spatial reference that the file "
        "does not define) cannot be read from a mobile geodatabase; what is made of their features "
        "has none"
        for layer, count in unread.items()
        if count
    ]
    why = None if table.layout is LayoutName.PATH else replica_mark(connection, table.table)
    return replace(table, read_only=why, warnings=(*table.warnings, *warnings))


def open_geodatabase(path: Path) -> Geodatabase:
    """Look into a geodatabase, so that it can be read as a GeoPackage. Raises SourceError."""
    kind = kind_of(path)
    if kind is None:
        raise SourceError(f"{path}: is no geodatabase")
    if kind is Kind.FILE:
        recover(path)
    folder = Path(tempfile.mkdtemp(prefix="attachtrans-"))
    source = Geodatabase(path, folder / "mirror.gpkg", kind)
    make_mirror(path, source.database)
    return source


def as_source(path: Path) -> Path | VectorTable:
    """A GeoPackage as it is, a geodatabase opened. Raises SourceError."""
    return open_geodatabase(path) if is_geodatabase(path) else path


class MobileContents(TableContents):
    """Photos in a mobile geodatabase, which is an SQLite file."""

    def length(self, table: PhotoTable) -> str:
        """See Contents."""
        return _size_of(table)


class GdbContents:
    """Photos in a file geodatabase."""

    def __init__(self, path: Path) -> None:
        self._binaries = Binaries(path)

    def read(self, table: PhotoTable, row: int, nbytes: int | None) -> bytes:
        """See Contents."""
        return content_of(self._binaries.read(table.table, table.data, row))[:nbytes]

    def length(self, table: PhotoTable) -> str:
        """See Contents."""
        return _size_of(table)

    def close(self) -> None:
        """See Contents."""
        self._binaries.close()


def _size_of(table: PhotoTable) -> str:
    """The mirror has no content of attachments, but the column that says its length."""
    if table.layout is LayoutName.ATTACH:
        return "NULL" if table.size is None else quote(table.size)
    return f"length({quote(table.data)})"
