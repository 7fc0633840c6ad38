"""What the readers of both kinds of geodatabase give: tables with their rows, without photos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from pyproj import CRS

Value = str | int | float | bytes | None


class GdbRow(NamedTuple):
    """A row: its object id, its geometry (well-known binary, ISO), values in the columns' order.

    Of a column with photos, the value says only whether there is one: b"" or None.
    """

    fid: int
    geometry: bytes | None
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GdbColumn:
    """A column; `declared` is the GeoPackage type that holds its values.

    left_out: it holds photos, which stay where they are.
    """

    name: str
    declared: str
    left_out: bool = False


def columns_of(named: Iterable[tuple[str, str]]) -> tuple[GdbColumn, ...]:
    """The columns of a table, of (name, declared); those of a table of attachments are known."""
    columns = [GdbColumn(name=name, declared=declared) for name, declared in named]
    attached = any(column.name.lower() == "att_name" for column in columns)
    return tuple(
        replace(c, left_out=attached and c.declared == "BLOB" and c.name.lower() == "data")
        for c in columns
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GdbGeometry:
    """A geometry column. type_name as GeoPackage has it; z, m: whether there are such values."""

    column: str
    type_name: str
    z: bool
    m: bool
    crs: CRS | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GdbTable:
    """A table or layer; `key` names its object ids. Iterate over `rows` once."""

    name: str
    key: str
    columns: tuple[GdbColumn, ...]
    geometry: GdbGeometry | None
    rows: Iterator[GdbRow]
