"""Photos of a GeoPackage as one source, whatever layouts they hang in."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

from attachtrans.errors import SourceError
from attachtrans.stores.base import PhotoSource
from attachtrans.stores.contents import TableContents
from attachtrans.stores.files import FileEntry, list_files
from attachtrans.stores.geodatabase.source import Geodatabase
from attachtrans.stores.geopackage import connect, quote, read_schema, reading
from attachtrans.stores.layouts.base import LayoutName, PhotoTable
from attachtrans.stores.listing import Rows, list_rows
from attachtrans.stores.selection import (
    EVERYTHING,
    Selection,
    check_selection,
    features_query,
    register,
)
from attachtrans.stores.vectortable import VectorTable, paths_of
from attachtrans.types import FeatureRef, Item

_PAGE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an item's content is, for who writes it.

    table  the photo table; for a file that several use, the first
    row    the photo table's key, for content in a column; None for files
    files  the real paths (links resolved) of a file; several when they are hard links of one
    """

    table: PhotoTable
    row: int | None = None
    files: tuple[Path, ...] = ()


class PlacedPhotos(PhotoSource, Protocol):
    """A source whose photos can be replaced where they are.

    path      of the GeoPackage, vector file or folder
    database  the GeoPackage that tables and attributes are read in: a copy for a vector file
    tables    where the photos hang
    """

    path: Path
    database: Path
    tables: tuple[PhotoTable, ...]

    def place(self, item: Item) -> Place:
        """Where an item's content is. Raises SourceError when the item is not of this source."""
        ...


class Photos:
    """A `PhotoSource` over photo tables of one GeoPackage or vector file; see `open_photos`.

    Reading opens the file on first use; rows are listed by one connection, which serves all threads
    in turn. No lock is held between reads.
    """

    def __init__(
        self,
        source: Path | VectorTable,
        tables: Sequence[PhotoTable],
        selection: Selection,
        rows: Sequence[Rows],
        files: Sequence[FileEntry],
    ) -> None:
        self.path, self.database = paths_of(source)
        self._source = source  # a copy lives as long as somebody holds it
        self.tables = tuple(tables)
        self._selection = selection
        self._rows = {part.table.id: part for part in rows}
        self._files = {entry.key: entry for entry in files}
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._contents = (
            source.contents() if isinstance(source, Geodatabase) else TableContents(self.database)
        )

    def __len__(self) -> int:
        return sum(map(len, self._rows.values())) + len(self._files)

    def __iter__(self) -> Iterator[Item]:
        """Items: tables in their order, rows by key, then files in the order first named."""
        for rows in self._rows.values():
            for start in range(0, len(rows), _PAGE):
                yield from self._page(rows, start)
        for entry in self._files.values():
            yield Item(
                key=entry.key,
                name=_clean(entry.key.rsplit("/", 1)[-1]),
                media_type="",
                nbytes=entry.nbytes,
                features=tuple(entry.features),
            )

    def read(self, item: Item) -> bytes:
        """The encoded content as stored now; base64 and b'...' text is decoded.

        Raises SourceError when it is gone, was refused (outside its folder, a web address) or
        cannot be read.
        """
        return self._read(item, None)

    def read_head(self, item: Item, nbytes: int) -> bytes:
        """The first bytes of the content, without reading all of it. Raises SourceError."""
        return self._read(item, nbytes)

    def _read(self, item: Item, nbytes: int | None) -> bytes:
        entry = self._files.get(item.key)
        if entry is not None:
            return _read_file(entry, nbytes)
        place = self.place(item)
        try:
            return self._contents.read(place.table, place.row or 0, nbytes)
        except SourceError as error:
            message = f"{item.key}: {error}"
            raise SourceError(message) from error

    def place(self, item: Item) -> Place:
        """Where an item's content is. Raises SourceError when the item is not of this source."""
        entry = self._files.get(item.key)
        if entry is not None:
            return Place(table=entry.table, files=tuple(entry.files))
        table_id, _, row = item.key.rpartition("/")
        rows = self._rows.get(table_id)
        if rows is None:
            message = f"{self.path}: has no photo {item.key}"
            raise SourceError(message)
        return Place(table=rows.table, row=int(row))

    def features(self) -> Iterator[FeatureRef]:
        """The selected features of every layer, with photos or without, by layer and key.

        With --limit, only the features of the photos taken.
        """
        if self._selection.limit is not None:
            yield from sorted({feature for item in self for feature in item.features})
            return
        layers = {link.layer: link.layer_key for t in self.tables for link in t.links}
        for layer, key in layers.items():
            with reading(self.database) as connection:
                register(connection, self._selection)
                schema = read_schema(connection, self.path)
                query = features_query(schema, layer, key, self._selection)
                fids = [fid for (fid,) in connection.execute(f"{query.sql} ORDER BY 1")]
            yield from (FeatureRef(layer, fid) for fid in fids)

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        self._contents.close()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self.database)
        return self._connection

    def _page(self, rows: Rows, start: int) -> list[Item]:
        table = rows.table
        keys = rows.keys[start : start + _PAGE].tolist()
        name = "NULL" if table.name is None else quote(table.name)
        media_type = "NULL" if table.content_type is None else quote(table.content_type)
        sql = (
            f"SELECT {quote(table.key)}, {name}, {media_type}, {self._contents.length(table)} "
            f"FROM {quote(table.table)} WHERE {quote(table.key)} IN ({', '.join('?' * len(keys))})"
        )
        with self._lock:
            try:
                found = {row[0]: row[1:] for row in self._connected().execute(sql, keys)}
            except sqlite3.Error as error:
                message = f"{self.path}: {table.table} cannot be read: {error}"
                raise SourceError(message) from error
        items = []
        for offset, key in enumerate(keys):
            shown, declared, nbytes = found.get(key, (None, None, None))
            item = Item(
                key=f"{table.id}/{key}",
                name=_clean(shown) if shown else f"{_clean(table.table)}_{key}",
                media_type=_clean(declared) if declared else "",
                nbytes=nbytes,
                features=rows.features(start + offset),
            )
            items.append(item)
        return items


def open_photos(
    source: Path | VectorTable, tables: Sequence[PhotoTable], selection: Selection = EVERYTHING
) -> Photos:
    """List the photos of one or more photo tables of a source; close the result after use.

    Keys are listed now, so that later writes neither hide nor repeat a photo; content and names
    are read when asked for. Rows without content (NULL, empty path) are no items. A file that
    several rows, columns or tables use is one item. Raises ArgumentError for a selection that the
    layers cannot answer, SourceError when the file cannot be read.
    """
    path, database = paths_of(source)
    with reading(database) as connection:
        schema = read_schema(connection, path)
        layers = tuple(dict.fromkeys(layer for table in tables for layer in table.layers))
        check_selection(connection, schema, layers, selection)
        register(connection, selection)
        listed = [list_rows(connection, schema, table, selection) for table in tables]
        rows = [part for part in listed if part.table.layout is not LayoutName.PATH]
        named = [part for part in listed if part.table.layout is LayoutName.PATH]
        files = list_files(connection, named)
    if selection.limit is not None:
        left = selection.limit
        for index, part in enumerate(rows):
            rows[index] = part.first(left)
            left -= len(rows[index])
        files = files[:left]
    return Photos(source, tables, selection, rows, files)


def _read_file(entry: FileEntry, nbytes: int | None) -> bytes:
    if entry.problem is not None:
        message = f"{entry.key}: {entry.problem}"
        raise SourceError(message)
    path = entry.files[0]
    try:
        with path.open("rb") as file:
            return file.read(nbytes)
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror})"
        raise SourceError(message) from error


def _clean(text: object) -> str:
    """Text that can be printed and stored anywhere: bytes that are not UTF-8 become '?'."""
    return str(text).encode("utf-8", "replace").decode("utf-8")
