"""File geodatabases read: tables, relations and photos, by pyogrio (GDAL's OpenFileGDB).

pyogrio, not fiona: it hands out geometries as they are stored, with M and curves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyproj import CRS
from pyproj.exceptions import CRSError

from attachtrans.errors import SourceError
from attachtrans.stores.geodatabase.kinds import gdal_name
from attachtrans.stores.geodatabase.relations import (
    RELATIONSHIP_TYPE,
    Relation,
    attachment_relations,
)
from attachtrans.stores.geodatabase.tables import (
    GdbColumn,
    GdbGeometry,
    GdbRow,
    GdbTable,
    Value,
)
from attachtrans.stores.gpb import to_iso

_ROWS_PER_STEP = 50_000
_DECLARED = {
    ("OFTInteger", "OFSTInt16"): "SMALLINT",
    ("OFTInteger", "OFSTNone"): "MEDIUMINT",
    ("OFTInteger64", "OFSTNone"): "INTEGER",
    ("OFTReal", "OFSTFloat32"): "FLOAT",
    ("OFTReal", "OFSTNone"): "DOUBLE",
    ("OFTDate", "OFSTNone"): "DATE",
    ("OFTDateTime", "OFSTNone"): "DATETIME",
    ("OFTBinary", "OFSTNone"): "BLOB",
}
_TYPES = {"Unknown": "GEOMETRY", "3D Unknown": "GEOMETRY"}


def read_tables(path: Path) -> list[GdbTable]:
    """The layers and tables of a .gdb (folder or .zip), in its order. Raises SourceError."""
    import pyogrio

    name = gdal_name(path)
    with _explained(path):
        layers = [str(layer) for layer, _ in pyogrio.list_layers(name)]
        return [_table(path, layer, pyogrio.read_info(name, layer=layer)) for layer in layers]


def _table(path: Path, layer: str, info: dict[str, Any]) -> GdbTable:
    kinds = zip(info["ogr_types"], info["ogr_subtypes"], strict=True)
    columns = tuple(
        GdbColumn(name=str(field), declared=_DECLARED.get(kind, "TEXT"))
        for field, kind in zip(info["fields"], kinds, strict=True)
    )
    return GdbTable(
        name=layer,
        key=info["fid_column"] or "OBJECTID",
        columns=columns,
        geometry=_geometry(info),
        rows=_rows(path, layer, columns),
    )


def read_relations(path: Path) -> list[Relation]:
    """The relations of attachments that are registered. Raises SourceError."""
    import pyogrio

    with _explained(path):
        _, _, _, (kinds, definitions) = pyogrio.raw.read(
            gdal_name(path), layer="GDB_Items", columns=["Type", "Definition"], read_geometry=False
        )
    pairs = zip(kinds, definitions, strict=True)
    return attachment_relations(text for kind, text in pairs if kind == RELATIONSHIP_TYPE)


def read_value(path: Path, table: str, column: str, row: int) -> bytes | None:
    """A binary value of one row, None when it holds none. Raises SourceError."""
    value = read_columns(path, table, [column], row)[column]
    return None if value is None else bytes(value)


def read_columns(path: Path, table: str, columns: Sequence[str], row: int) -> dict[str, Any]:
    """The values of one row by column. Raises SourceError."""
    import pyogrio

    with _explained(path):
        meta, _, _, data = pyogrio.raw.read(
            gdal_name(path), layer=table, columns=list(columns), fids=[row], read_geometry=False
        )
    pairs = zip(meta["fields"], data, strict=True)
    return {str(name): values.tolist()[0] for name, values in pairs}


def _geometry(info: dict[str, Any]) -> GdbGeometry | None:
    kind = info["geometry_type"]
    if kind is None:
        return None
    z = kind.startswith(("2.5D ", "3D ")) or kind.endswith((" Z", " ZM"))
    m = kind.startswith(("Measured ", "3D Measured ")) or kind.endswith((" M", " ZM"))
    for mark in ("2.5D ", "3D ", "Measured "):
        kind = kind.removeprefix(mark)
    for mark in (" ZM", " Z", " M"):
        kind = kind.removesuffix(mark)
    return GdbGeometry(
        column=info["geometry_name"] or "SHAPE",
        type_name=_TYPES.get(kind, kind.upper()),
        z=z,
        m=m,
        crs=_crs(info["crs"]),
    )


def _crs(text: str | None) -> CRS | None:
    try:
        return None if text is None else CRS.from_user_input(text)
    except CRSError:  # a system that only Esri's software knows
        return None


def _rows(path: Path, layer: str, columns: tuple[GdbColumn, ...]) -> Iterator[GdbRow]:
    import pyogrio

    plain = [c.name for c in columns if c.declared != "BLOB"]
    empty = {c.name: _empty_rows(path, layer, c.name) for c in columns if c.declared == "BLOB"}
    start = 0
    while True:
        with _explained(path):
            meta, fids, shapes, data = pyogrio.raw.read(
                gdal_name(path),
                layer=layer,
                columns=plain,
                skip_features=start,
                max_features=_ROWS_PER_STEP,
                return_fids=True,
                datetime_as_string=True,
            )
        named = {
            str(name): values.tolist() for name, values in zip(meta["fields"], data, strict=True)
        }
        for index, fid in enumerate(fids.tolist()):
            shape = None if shapes is None else shapes[index]
            yield GdbRow(
                fid=fid,
                geometry=None if shape is None else to_iso(bytes(shape)),
                values=tuple(
                    (None if fid in empty[c.name] else b"")
                    if c.declared == "BLOB"
                    else _value(named[c.name][index], c.declared)
                    for c in columns
                ),
            )
        start += len(fids)
        if len(fids) < _ROWS_PER_STEP:
            return


def _empty_rows(path: Path, layer: str, column: str) -> set[int]:
    """The object ids of the rows that have nothing in a binary column."""
    import pyogrio

    quoted = '"' + column.replace('"', '\\"') + '"'
    with _explained(path):
        _, fids, _, _ = pyogrio.raw.read(
            gdal_name(path),
            layer=layer,
            columns=[column],  # or the filter would not see it
            where=f"{quoted} IS NULL",
            read_geometry=False,
            return_fids=True,
        )
    return set(fids.tolist())


def _value(value: Value, declared: str) -> Value:
    """A value of NumPy's as SQLite should hold it: NULL is NaN among numbers."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if declared.endswith("INT") or declared == "INTEGER" else value
    return value


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what pyogrio raises into SourceErrors."""
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError

    try:
        yield
    except (DataSourceError, DataLayerError, FeatureError, FieldError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
