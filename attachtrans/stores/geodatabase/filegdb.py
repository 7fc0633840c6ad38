"""File geodatabases read: tables, relations and photos, by pyogrio (GDAL's OpenFileGDB).

Only geometries are read through `gdal`, as they are stored: pyogrio drops M values, and draws
curves as lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import repeat
from pathlib import Path
from threading import Lock
from typing import Any

from pyproj import CRS
from pyproj.exceptions import CRSError

from attachtrans.errors import SinkError, SourceError
from attachtrans.stores.geodatabase.gdal import GdbFile, open_to_read, quiet
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
    columns_of,
)
from attachtrans.stores.measured import measures_aside

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
_TYPES = {  # by OGRwkbGeometryType, without its Z and M
    1: "POINT",
    2: "LINESTRING",
    3: "POLYGON",
    4: "MULTIPOINT",
    5: "MULTILINESTRING",
    6: "MULTIPOLYGON",
    11: "MULTICURVE",
    12: "MULTISURFACE",
}
_OLD_Z, _NO_GEOMETRY = 0x80000000, 100


def read_tables(path: Path) -> list[GdbTable]:
    """The layers and tables of a .gdb (folder or .zip), in its order. Raises SourceError."""
    import pyogrio

    name = gdal_name(path)
    with _explained(path):
        layers = [str(layer) for layer, _ in pyogrio.list_layers(name)]
        with closing(open_to_read(name)) as file:
            types = [file.geometry_type(layer) for layer in layers]
        return [
            _table(path, layer, code, pyogrio.read_info(name, layer=layer))
            for layer, code in zip(layers, types, strict=True)
        ]


def _table(path: Path, layer: str, code: int, info: dict[str, Any]) -> GdbTable:
    geometry = _geometry(code, info)
    kinds = zip(info["ogr_types"], info["ogr_subtypes"], strict=True)
    columns = columns_of(
        (str(field), _DECLARED.get(kind, "TEXT"))
        for field, kind in zip(info["fields"], kinds, strict=True)
    )
    return GdbTable(
        name=layer,
        key=info["fid_column"] or "OBJECTID",
        columns=columns,
        geometry=geometry,
        rows=_rows(path, layer, columns, has_shapes=geometry is not None),
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
    with closing(Binaries(path)) as binaries:
        return binaries.read(table, column, row)


class Binaries:
    """Binary values of one geodatabase, which is opened when the first is read; thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._file: GdbFile | None = None
        self._inode = 0

    def read(self, table: str, column: str, row: int) -> bytes | None:
        """A value, None for NULL. Raises SourceError when the row is gone."""
        with self._lock, _explained(self._path), quiet():
            name = gdal_name(self._path)
            inode = self._path.stat().st_ino
            if self._file is not None and self._inode != inode:  # another edition is in its place
                self._close()
            if self._file is None:
                self._file, self._inode = open_to_read(name), inode
            return self._file.binary(table, row, column)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Let go of the geodatabase; a later read opens it again."""
        with self._lock:
            self._close()


def read_columns(path: Path, table: str, columns: Sequence[str], row: int) -> dict[str, Any]:
    """The values of one row by column. Raises SourceError."""
    import pyogrio

    with _explained(path):
        meta, _, _, data = pyogrio.raw.read(
            gdal_name(path), layer=table, columns=list(columns), fids=[row], read_geometry=False
        )
    pairs = zip(meta["fields"], data, strict=True)
    return {str(name): values.tolist()[0] for name, values in pairs}


def _geometry(code: int, info: dict[str, Any]) -> GdbGeometry | None:
    """The geometry column of a layer of this OGRwkbGeometryType."""
    if code == _NO_GEOMETRY:
        return None
    base, dimensions = code % 1000 if code < _OLD_Z else code - _OLD_Z, code // 1000
    return GdbGeometry(
        column=info["geometry_name"] or "SHAPE",
        type_name=_TYPES.get(base, "GEOMETRY"),
        z=code >= _OLD_Z or dimensions in (1, 3),
        m=code < _OLD_Z and dimensions in (2, 3),
        crs=_crs(info["crs"]),
    )


def _crs(text: str | None) -> CRS | None:
    try:
        return None if text is None else CRS.from_user_input(text)
    except CRSError:  # a system that only Esri's software knows
        return None


def _rows(
    path: Path, layer: str, columns: tuple[GdbColumn, ...], *, has_shapes: bool
) -> Iterator[GdbRow]:
    import pyogrio

    plain = [c.name for c in columns if not c.left_out]
    empty = {c.name: _empty_rows(path, layer, c.name) for c in columns if c.left_out}
    geometries = _shapes(path, layer) if has_shapes else repeat((0, None))
    start = 0
    while True:
        with _explained(path):
            meta, fids, _, data = pyogrio.raw.read(
                gdal_name(path),
                layer=layer,
                columns=plain,
                skip_features=start,
                max_features=_ROWS_PER_STEP,
                return_fids=True,
                read_geometry=False,
                datetime_as_string=True,
            )
        named = {
            str(name): values.tolist() for name, values in zip(meta["fields"], data, strict=True)
        }
        for index, (fid, shape) in enumerate(zip(fids.tolist(), geometries, strict=False)):
            if has_shapes and shape[0] != fid:
                raise SourceError(f"{path}: {layer} was changed while it was read; try again")
            yield GdbRow(
                fid=fid,
                geometry=shape[1],
                values=tuple(
                    (None if fid in empty[c.name] else b"")
                    if c.left_out
                    else _value(named[c.name][index], c.declared)
                    for c in columns
                ),
            )
        start += len(fids)
        if len(fids) < _ROWS_PER_STEP:
            return


def _shapes(path: Path, layer: str) -> Iterator[tuple[int, bytes | None]]:
    with closing(open_to_read(gdal_name(path))) as file:
        yield from file.shapes(layer)


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


def _value(value: Any, declared: str) -> Value:
    """A value of NumPy's as SQLite should hold it: NULL is NaN among numbers."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if declared.endswith("INT") or declared == "INTEGER" else value
    return bytes(value) if declared == "BLOB" and value is not None else value


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Makes SourceErrors of what readers raise; that pyogrio knows no M does not matter here."""
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError

    try:
        with measures_aside():
            yield
    except (DataSourceError, DataLayerError, FeatureError, FieldError, SinkError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
