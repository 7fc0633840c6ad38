"""What the readers of both kinds of geodatabase give: tables with their rows, without photos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pyproj import CRS

Value = str | int | float | bytes | None


class GdbRow(NamedTuple):
    """A row: its object id, its geometry (well-known binary, ISO), values in the columns' order.

    Of a column with binary content, the value says only whether there is any: b"" or None.
    """

    fid: int
    geometry: bytes | None
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GdbColumn:
    """A column; `declared` is the GeoPackage type that holds its values."""

    name: str
    declared: str


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
