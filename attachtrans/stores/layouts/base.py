"""What a layout says about the places where photos hang: `PhotoTable`, `Link`, `Findings`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from attachtrans.stores.geopackage import Schema, Table, quote, same
from attachtrans.stores.layouts.qgis import Hints

LONGEST_PATHS = 20_000
_FIRST = 20
_SIZES = ("data_size", "file_size", "filesize", "size_bytes")


class LayoutName(StrEnum):
    """The ways photos hang on features, as --layout names them."""

    ATTACH = "attach"
    MEDIA = "media"
    PATH = "path"
    BLOB = "blob"


class Encoding(StrEnum):
    """How a column holds content; text is told apart value by value (see `stores.content`)."""

    BLOB = "blob"
    BASE64 = "base64"
    REPR = "repr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """A table or view between photos and features (OGC 18-000)."""

    table: str
    base_id: str
    related_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How the rows of a photo table hang on the features of one layer.

    layer         the layer's table, and `layer_key` its primary key
    layer_column  column of the layer that photos refer to
    photo_column  column of the photo table that is equal to it; with a mapping, this one is equal
                  to the mapping's related_id and layer_column to its base_id
    guid          both are GUIDs: compared without braces and in upper case
    only          (column of the photo table, value): the rows that belong to this layer, where
                  one table of photos names its layer row by row
    A feature table that holds its photos itself has layer = the photo table and the key on both
    sides.
    """

    layer: str
    layer_key: str
    layer_column: str
    photo_column: str
    guid: bool = False
    mapping: Mapping | None = None
    only: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoTable:
    """One place where photos hang, with all that a reader or a writer needs to know of it.

    key           column that names a row: the INTEGER PRIMARY KEY or "rowid"
    data          column with the content, or with the paths
    content_type, name, size  columns that follow the content, where there are such
    encoding      how `data` holds content; BLOB for paths, which hold none
    base          paths only: the folder that item keys are relative to, the same for all tables
    folders       paths only: the folders, at or below `base`, that paths are looked for in, in
                  this order, and may not leave
    remap         paths only: (old, new) beginnings of paths that have moved
    links         layers whose features the rows hang on
    excluded      links that were left out: rows that hang on these alone are not listed
    orphans       whether rows without a feature are listed
    extra         the photo table's other columns, to carry along
    reason        one line: why detection took it
    warnings      what a user should know of it
    read_only     why it cannot be written, None when it can
    """

    layout: LayoutName
    table: str
    key: str
    data: str
    content_type: str | None = None
    name: str | None = None
    size: str | None = None
    encoding: Encoding = Encoding.BLOB
    base: Path | None = None
    folders: tuple[Path, ...] = ()
    remap: tuple[tuple[str, str], ...] = ()
    links: tuple[Link, ...] = ()
    excluded: tuple[Link, ...] = ()
    orphans: bool = True
    extra: tuple[str, ...] = ()
    reason: str
    warnings: tuple[str, ...] = ()
    read_only: str | None = None

    @property
    def id(self) -> str:
        """Identity within its file: "table.column", the `table` of its items."""
        return f"{self.table}.{self.data}"

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that it serves, in the order of their links."""
        return tuple(dict.fromkeys(link.layer for link in self.links))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A place that looks like photos but is not taken, with the reason."""

    table: str
    column: str | None
    layout: LayoutName
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What detection found in one file.

    refused   cannot be used, whatever is asked for: a join that would hit wrong features
    excluded  not photos by default (map symbols, previews, thumbnails); --layer or
              --photo-column takes them in
    hints     columns that may hold photos but did not pass
    """

    tables: tuple[PhotoTable, ...] = ()
    refused: tuple[Refusal, ...] = ()
    excluded: tuple[Refusal, ...] = ()
    hints: tuple[Refusal, ...] = ()

    def __add__(self, other: Findings) -> Findings:
        return Findings(
            tables=self.tables + other.tables,
            refused=self.refused + other.refused,
            excluded=self.excluded + other.excluded,
            hints=self.hints + other.hints,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked for; everything None = decide alone.

    layer         table of a layer, or of photos
    photo_column  "column" or "table.column"
    base          folder that paths are resolved in
    """

    layer: str | None = None
    photo_column: str | None = None
    base: Path | None = None
    remap: tuple[tuple[str, str], ...] = ()

    def names(self, table: str, column: str) -> bool:
        """Whether --photo-column means this column."""
        return self.photo_column is not None and (
            same(self.photo_column, column) or same(self.photo_column, f"{table}.{column}")
        )

    def opts_in(self, table: str, column: str) -> bool:
        """Whether the user named this very table, so that it is taken though it seems no photos."""
        by_layer = self.layer is not None and same(self.layer, table)
        return by_layer or (
            self.photo_column is not None and same(self.photo_column, f"{table}.{column}")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """One look at a GeoPackage: what layouts are given to find photos with."""

    connection: sqlite3.Connection
    schema: Schema
    hints: Hints
    wish: Wish

    def distinct(self, table: str, column: str, limit: int = 100) -> list[str]:
        """The first different texts of a column, short ones only; none when the first are long.

        So photos that are stored as text are not read in search of paths.
        """
        name, rows = quote(column), quote(table)
        filled = f"SELECT {name} AS v FROM {rows} WHERE typeof({name}) = 'text' AND {name} <> ''"
        (shortest,) = self.connection.execute(
            f"SELECT min(length(v)) FROM ({filled} LIMIT {_FIRST})"
        ).fetchone()
        if shortest is None or shortest > LONGEST_PATHS:
            return []
        found = self.connection.execute(
            f"SELECT DISTINCT v FROM ({filled}) WHERE length(v) <= ? LIMIT ?",
            (LONGEST_PATHS, limit),
        )
        return [value for (value,) in found]


class Layout(Protocol):
    """One way photos hang on features."""

    @property
    def name(self) -> LayoutName:
        """The layout's name."""
        ...

    def find(self, inspection: Inspection, taken: frozenset[str]) -> Findings:
        """Look for this layout.

        taken: the tables (lower case) whose content earlier layouts have found already.
        """
        ...


def own_link(table: Table) -> Link:
    """The link of a table whose rows are the features themselves."""
    key = table.key or "rowid"
    return Link(layer=table.name, layer_key=key, layer_column=key, photo_column=key)


def remaining(table: Table, *used: str | None) -> tuple[str, ...]:
    """The names of a table's columns that are neither its key, its geometry nor used."""
    geometry = None if table.geometry is None else table.geometry.column
    known = [name for name in (*used, table.key, geometry) if name is not None]
    return tuple(
        column.name
        for column in table.columns
        if not column.generated and not any(same(column.name, name) for name in known)
    )


def first_column(table: Table, names: Sequence[str]) -> str | None:
    """The table's column of the first of these names that it has."""
    found = (table.column(name) for name in names)
    return next((column.name for column in found if column is not None), None)


def size_column(connection: sqlite3.Connection, table: Table, data: str) -> str | None:
    """The column that keeps the length of the content, by its name and by what it holds."""
    name = first_column(table, _SIZES)
    if name is None:
        return None
    differs = connection.execute(
        f"SELECT 1 FROM {quote(table.name)} WHERE typeof({quote(data)}) = 'blob' "
        f"AND {quote(name)} <> length({quote(data)}) LIMIT 1"
    ).fetchone()
    return None if differs else name
