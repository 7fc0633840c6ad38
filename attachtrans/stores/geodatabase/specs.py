"""What a file geodatabase is told to make: layers, tables, their fields, relationship classes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class FieldType(IntEnum):
    """OGRFieldType, as far as geodatabases have them."""

    INTEGER = 0
    REAL = 2
    STRING = 4
    BINARY = 8
    DATE = 9
    DATETIME = 11
    INTEGER64 = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """A field to make. subtype: 2 = 16 bits of an INTEGER, 3 = 32 bits of a REAL (OGRFieldSubType).

    esri: the type's name in Esri's words where GDAL has none for it (GUID, GlobalID).
    """

    name: str
    type: FieldType
    subtype: int = 0
    width: int = 0
    nullable: bool = True
    esri: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpec:
    """A layer or table to make. geometry_type: an OGRwkbGeometryType; 100 for none.

    wkt: of its coordinate reference system. key: what its object ids are called.
    """

    name: str
    geometry_type: int
    wkt: str | None
    key: str
    geometry: str
    fields: tuple[FieldSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentRelation:
    """`table`.`column` of attachments is equal to `layer`.`layer_column`."""

    name: str
    layer: str
    layer_column: str
    table: str
    column: str
