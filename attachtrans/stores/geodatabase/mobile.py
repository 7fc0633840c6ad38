"""Mobile geodatabases (.geodatabase) read by sqlite3: tables and relations.

System tables: GDB_Items (what there is, in XML), GDB_TableRegistry and GDB_ColumnRegistry (tables
and their columns), st_geometry_columns and st_aux_spatial_reference_systems (geometries), as in
geodatabases that ArcGIS Runtime and ArcGIS Pro have made.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pyproj import CRS
from pyproj.exceptions import CRSError

from attachtrans.errors import SourceError
from attachtrans.stores.geodatabase.esrishape import Lattice, to_wkb
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
from attachtrans.stores.geopackage import quote, reading, same
from attachtrans.stores.schema import legal_type

_UNTIL = "gdb_to_date"
_ARCHIVE = ("gdb_archive_oid", "gdb_from_date", _UNTIL)
_SYNC_DATASET = "{D86502F9-9758-45C6-9D23-6DD1A0107B47}"
_SYSTEM = ("gdb_", "st_", "sqlite_")
_NOON_2000, _JULIAN_2000 = datetime(2000, 1, 1, 12), 2451545.0  # noqa: DTZ001 - UTC, as written
_TYPES = {1: "POINT", 2: "MULTIPOINT", 4: "MULTIPOINT", 5: "MULTILINESTRING", 6: "MULTIPOLYGON"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """A geometry column, and how its coordinates are counted.

    srid: the number of its spatial reference in this file. indexed: it has a spatial index.
    """

    geometry: GdbGeometry
    lattice: Lattice
    srid: int
    indexed: bool


def read_relations(path: Path) -> list[Relation]:
    """The relations of attachments that are registered. Raises SourceError."""
    with reading(path) as connection:
        _require_geodatabase(connection, path)
        rows = connection.execute(
            "SELECT Definition FROM GDB_Items WHERE upper(Type) = ?", (RELATIONSHIP_TYPE,)
        ).fetchall()
    return attachment_relations(text for (text,) in rows)


def read_tables(path: Path) -> list[GdbTable]:
    """The layers and tables of a .geodatabase, in the order of their making. Raises SourceError."""
    with reading(path) as connection:
        _require_geodatabase(connection, path)
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
            " ORDER BY rowid"
        ).fetchall()
        return [
            _table(connection, path, name)
            for (name,) in names
            if not name.lower().startswith(_SYSTEM)
        ]


def replica_mark(connection: sqlite3.Connection, table: str) -> str | None:
    """Why a table of an offline replica may not be written to; None for other tables."""
    columns = {
        name.lower()
        for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
    }
    view = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'view' AND lower(name) = ?",
        (f"{table.lower()}_evw",),
    ).fetchone()
    synchronised = connection.execute(
        "SELECT Name FROM GDB_Items WHERE upper(Type) = ? AND lower(Name) IN (?, ?)",
        (_SYNC_DATASET, table.lower(), f"main.{table.lower()}"),
    ).fetchone()
    if view is not None:
        sign = f"the view {view[0]}"
    elif columns.intersection(_ARCHIVE):
        sign = "archive columns"
    elif synchronised is not None:
        sign = "it is registered for synchronising"
    else:
        return None
    return (
        f"{table} belongs to an offline replica ({sign}): it keeps every version of a photo, and "
        "changes that do not go through Esri's software are never synchronised"
    )


def _require_geodatabase(connection: sqlite3.Connection, path: Path) -> None:
    rows = connection.execute("SELECT 1 FROM sqlite_master WHERE lower(name) = 'gdb_items'")
    if not rows.fetchall():
        raise SourceError(f"{path}: is an SQLite file but no mobile geodatabase: no GDB_Items")


def _table(connection: sqlite3.Connection, path: Path, name: str) -> GdbTable:
    described = connection.execute(
        "SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid", (name,)
    ).fetchall()
    shapes = read_shapes(connection, name)
    shape_column = None if shapes is None else shapes.geometry.column
    key = next((column for column, _, pk in described if pk), "rowid")
    columns = columns_of(
        (column, _declared(kind or ""))
        for column, kind, pk in described
        if not pk and not (shape_column is not None and same(column, shape_column))
    )
    return GdbTable(
        name=name,
        key="OBJECTID" if key == "rowid" else key,
        columns=columns,
        geometry=None if shapes is None else shapes.geometry,
        rows=_rows(path, name, key, columns, shapes),
    )


def _declared(kind: str) -> str:
    """The GeoPackage type for one of Esri's (int16, float64, text(40), uuidtext, realdate)."""
    base = kind.lower().partition("(")[0].strip()
    known = {
        "int16": "SMALLINT",
        "int32": "MEDIUMINT",
        "int64": "INTEGER",
        "float32": "FLOAT",
        "float64": "DOUBLE",
        "realdate": "DATETIME",
        "uuidtext": "TEXT(38)",
        "xmltext": "TEXT",
        "geometryblob": "BLOB",
    }
    return known.get(base) or legal_type(kind)


def read_shapes(connection: sqlite3.Connection, table: str) -> Shapes | None:
    """The geometry column of a table, None when it has none."""
    row = connection.execute(
        "SELECT g.f_geometry_column, g.geometry_type, g.coord_dimension, s.auth_name, s.auth_srid, "
        "s.srtext, s.falsex, s.falsey, s.xyunits, "
        "g.srid, g.spatial_index_type FROM st_geometry_columns g "
        "LEFT JOIN st_aux_spatial_reference_systems s ON s.srid = g.srid "
        "WHERE lower(g.f_table_name) = lower(?)",
        (table,),
    ).fetchone()
    if row is None:
        return None
    column, kind, dimensions, authority, code, wkt, false_x, false_y, units, srid, index = row
    geometry = GdbGeometry(
        column=column,
        type_name=_TYPES.get(kind or 0, "GEOMETRY"),
        z=False,
        m=False,
        crs=_crs(authority, code, wkt),
    )
    # Esri's software knows some spatial references by heart: their lattice is not in the file.
    lattice = Lattice(
        false_x=false_x or 0.0,
        false_y=false_y or 0.0,
        units=units or 1.0,
        known=dimensions == 2 and units is not None,
    )
    return Shapes(geometry=geometry, lattice=lattice, srid=srid, indexed=bool(index))


def _crs(authority: str | None, code: int | None, wkt: str | None) -> CRS | None:
    for text in (f"{authority}:{code}", wkt):
        try:
            return CRS.from_user_input(text)
        except CRSError:
            continue
    return None


def _rows(
    path: Path,
    table: str,
    key: str,
    columns: tuple[GdbColumn, ...],
    shapes: Shapes | None,
) -> Iterator[GdbRow]:
    shape = "NULL" if shapes is None else quote(shapes.geometry.column)
    names = [
        f"CASE WHEN {quote(c.name)} IS NOT NULL THEN X'' END" if c.left_out else quote(c.name)
        for c in columns
    ]
    dates = [c.declared == "DATETIME" for c in columns]
    current = next((c.name for c in columns if c.name.lower() == _UNTIL), None)
    sql = f"SELECT {', '.join([quote(key), shape, *names])} FROM {quote(table)}"
    if current is not None:  # a replica keeps what a row was before; the end of time marks what is
        sql += f" WHERE {quote(current)} >= CASE typeof({quote(current)}) WHEN 'text' "
        sql += "THEN '9999-12-31' ELSE julianday('9999-12-31') END"
    with reading(path) as connection:
        for fid, blob, *values in connection.execute(sql):
            yield GdbRow(
                fid=fid,
                geometry=None if shapes is None else _readable(blob, shapes.lattice),
                values=tuple(
                    _moment(value) if is_date else value
                    for value, is_date in zip(values, dates, strict=True)
                ),
            )


def _readable(blob: bytes | None, lattice: Lattice) -> bytes | None:
    """A geometry, None where it is of a kind that is not read: `unread_geometries` counts those."""
    try:
        return to_wkb(blob, lattice)
    except ValueError:
        return None


def unread_geometries(connection: sqlite3.Connection, layer: str) -> int:
    """How many geometries of a layer cannot be read."""
    shapes = read_shapes(connection, layer)
    if shapes is None:
        return 0
    column, bad = quote(shapes.geometry.column), 0
    for (blob,) in connection.execute(
        f"SELECT {column} FROM {quote(layer)} WHERE {column} IS NOT NULL"
    ):
        try:
            to_wkb(blob, shapes.lattice)
        except ValueError:
            bad += 1
    return bad


def _moment(value: Value) -> Value:
    """A Julian day, as realdate columns hold moments, in GeoPackage's form."""
    if not isinstance(value, float):
        return value
    try:
        moment = _NOON_2000 + timedelta(days=value - _JULIAN_2000, microseconds=500)  # rounded
    except OverflowError:
        return value
    return f"{moment.isoformat(timespec='milliseconds')}Z"


def julian_day(text: str) -> float:
    """A moment in GeoPackage's form, as realdate columns hold it; UTC where it does not say.

    Raises ValueError for other text.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return _JULIAN_2000 + (moment - _NOON_2000) / timedelta(days=1)
