"""The rows by which a GeoPackage knows its tables: contents, geometry columns, extensions.

Format: OGC 12-128r15 clauses 1.1.3 (contents), 2.1.5 (geometry columns), 2.3 (extensions) and
annex F.3 (R-tree), F.8 (metadata). Everything here belongs inside a transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from attachtrans.journal import now
from attachtrans.stores.geopackage import quote
from attachtrans.stores.gpb import Envelope, envelope

_GEOMETRY_COLUMNS = """
    CREATE TABLE IF NOT EXISTS gpkg_geometry_columns (
        table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL,
        srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
        CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name),
        CONSTRAINT uk_gc_table_name UNIQUE (table_name),
        CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
        CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id))
"""
_EXTENSIONS = """
    CREATE TABLE IF NOT EXISTS gpkg_extensions (
        table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL, definition TEXT NOT NULL,
        scope TEXT NOT NULL, CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name))
"""
_METADATA = (
    """
    CREATE TABLE IF NOT EXISTS gpkg_metadata (
        id INTEGER CONSTRAINT m_pk PRIMARY KEY ASC NOT NULL,
        md_scope TEXT NOT NULL DEFAULT 'dataset', md_standard_uri TEXT NOT NULL,
        mime_type TEXT NOT NULL DEFAULT 'text/xml', metadata TEXT NOT NULL DEFAULT '')
    """,
    """
    CREATE TABLE IF NOT EXISTS gpkg_metadata_reference (
        reference_scope TEXT NOT NULL, table_name TEXT, column_name TEXT, row_id_value INTEGER,
        timestamp DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
        md_file_id INTEGER NOT NULL, md_parent_id INTEGER,
        CONSTRAINT crmr_mfi_fk FOREIGN KEY (md_file_id) REFERENCES gpkg_metadata(id),
        CONSTRAINT crmr_mpi_fk FOREIGN KEY (md_parent_id) REFERENCES gpkg_metadata(id))
    """,
)
_METADATA_URL = "http://www.geopackage.org/spec120/#extension_metadata"
_RTREE_URL = "http://www.geopackage.org/spec120/#extension_rtree"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A row of gpkg_extensions."""

    table: str
    column: str | None
    name: str
    definition: str
    scope: str = "read-write"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometryRow:
    """A row of gpkg_geometry_columns; z and m: 0 prohibited, 1 mandatory, 2 optional."""

    table: str
    column: str
    type_name: str
    srs_id: int
    z: int
    m: int


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Whether the database holds a table or view of that name."""
    return bool(
        connection.execute(
            "SELECT 1 FROM sqlite_master WHERE lower(name) = lower(?) AND type <> 'index'", (name,)
        ).fetchall()
    )


def add_contents(
    connection: sqlite3.Connection, table: str, data_type: str, srs_id: int, description: str
) -> None:
    """Make a table known, so that GDAL and QGIS list it.

    The identifier (a title, unique in the file) is the table's name where that is free.
    """
    connection.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change, "
        "srs_id) SELECT ?1, ?2, CASE WHEN EXISTS (SELECT 1 FROM gpkg_contents WHERE identifier = "
        "?1) THEN NULL ELSE ?1 END, ?3, ?4, ?5",
        (table, data_type, description, now(), srs_id),
    )


def add_extension(connection: sqlite3.Connection, extension: Extension) -> None:
    """Register an extension for a table, once."""
    connection.execute(_EXTENSIONS)
    connection.execute(
        "INSERT INTO gpkg_extensions SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM "
        "gpkg_extensions WHERE table_name = ?1 AND column_name IS ?2 AND extension_name = ?3)",
        (
            extension.table,
            extension.column,
            extension.name,
            extension.definition,
            extension.scope,
        ),
    )


def read_geometry(connection: sqlite3.Connection, table: str) -> GeometryRow | None:
    """How a layer's geometry column is registered, None for a table without."""
    if not has_table(connection, "gpkg_geometry_columns"):
        return None
    rows = connection.execute(
        "SELECT table_name, column_name, upper(geometry_type_name), srs_id, z, m FROM "
        "gpkg_geometry_columns WHERE lower(table_name) = lower(?)",
        (table,),
    ).fetchall()
    if not rows:
        return None
    name, column, type_name, srs_id, z, m = rows[0]
    return GeometryRow(table=name, column=column, type_name=type_name, srs_id=srs_id, z=z, m=m)


def add_geometry(connection: sqlite3.Connection, row: GeometryRow) -> None:
    """Register a layer's geometry column; the layer has its row in gpkg_contents already."""
    connection.execute(_GEOMETRY_COLUMNS)
    connection.execute(
        "INSERT INTO gpkg_geometry_columns VALUES (?, ?, ?, ?, ?, ?)",
        (row.table, row.column, row.type_name, row.srs_id, row.z, row.m),
    )


def add_rtree(
    connection: sqlite3.Connection, geometry: GeometryRow, key: str, *, new_triggers: bool
) -> None:
    """A spatial index for an empty layer, kept by the triggers that the standard prescribes.

    new_triggers: those of GeoPackage 1.4, which also stand INSERT ... ON CONFLICT; else of 1.2.
    """
    tree, table = quote(f"rtree_{geometry.table}_{geometry.column}"), quote(geometry.table)
    column, key = quote(geometry.column), quote(key)
    connection.execute(f"CREATE VIRTUAL TABLE {tree} USING rtree(id, minx, maxx, miny, maxy)")
    full = f"(NEW.{column} NOTNULL AND NOT ST_IsEmpty(NEW.{column}))"
    empty = f"(NEW.{column} ISNULL OR ST_IsEmpty(NEW.{column}))"
    was_full = f"(OLD.{column} NOTNULL AND NOT ST_IsEmpty(OLD.{column}))"
    was_empty = f"(OLD.{column} ISNULL OR ST_IsEmpty(OLD.{column}))"
    bounds = [f"{f}(NEW.{column})" for f in ("ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY")]
    put = f"INSERT OR REPLACE INTO {tree} VALUES (NEW.{key}, {', '.join(bounds)});"
    places = zip(("minx", "maxx", "miny", "maxy"), bounds, strict=True)
    move = f"UPDATE {tree} SET {', '.join(f'{n} = {v}' for n, v in places)} WHERE id = NEW.{key};"
    drop = f"DELETE FROM {tree} WHERE id = OLD.{key};"
    drop_both = f"DELETE FROM {tree} WHERE id IN (OLD.{key}, NEW.{key});"
    same_key, other_key = f"OLD.{key} = NEW.{key}", f"OLD.{key} <> NEW.{key}"
    triggers = [
        ("insert", f"INSERT ON {table} WHEN {full}", put),
        ("update2", f"UPDATE OF {column} ON {table} WHEN {same_key} AND {empty}", drop),
        ("update4", f"UPDATE ON {table} WHEN {other_key} AND {empty}", drop_both),
        ("delete", f"DELETE ON {table} WHEN OLD.{column} NOTNULL", drop),
    ]
    moved = f"UPDATE OF {column} ON {table} WHEN {same_key} AND {full}"
    renumbered = f"UPDATE ON {table} WHEN {other_key} AND {full}"
    if new_triggers:
        triggers += [
            ("update5", renumbered, f"{drop} {put}"),
            ("update6", f"{moved} AND {was_full}", move),
            ("update7", f"{moved} AND {was_empty}", put),
        ]
    else:
        triggers += [("update1", moved, put), ("update3", renumbered, f"{drop} {put}")]
    for suffix, event, action in triggers:
        name = quote(f"rtree_{geometry.table}_{geometry.column}_{suffix}")
        connection.execute(f"CREATE TRIGGER {name} AFTER {event} BEGIN {action} END")
    extension = Extension(
        table=geometry.table,
        column=geometry.column,
        name="gpkg_rtree_index",
        definition=_RTREE_URL,
        scope="write-only",
    )
    add_extension(connection, extension)


def extend_extent(
    connection: sqlite3.Connection, geometry: GeometryRow, added: Iterable[object]
) -> None:
    """Bring a layer's bounds in gpkg_contents up to date; `added` are the new geometries.

    Where there are no bounds yet all geometries are looked at; they stay NULL when none has any.
    """
    values = connection.execute(
        "SELECT min_x, max_x, min_y, max_y FROM gpkg_contents WHERE lower(table_name) = lower(?)",
        (geometry.table,),
    ).fetchall()
    blobs = added
    bounds = None
    if values and None not in values[0]:
        bounds = Envelope(*values[0])
    else:
        column, table = quote(geometry.column), quote(geometry.table)
        query = f"SELECT {column} FROM {table} WHERE {column} NOTNULL"
        blobs = (blob for (blob,) in connection.execute(query))
    for blob in blobs:
        found = _envelope(blob)
        if found is not None:
            bounds = found if bounds is None else _union(bounds, found)
    min_x, max_x, min_y, max_y = bounds or (None, None, None, None)
    connection.execute(
        "UPDATE gpkg_contents SET min_x = ?, min_y = ?, max_x = ?, max_y = ? "
        "WHERE lower(table_name) = lower(?)",
        (min_x, min_y, max_x, max_y, geometry.table),
    )


def _envelope(blob: object) -> Envelope | None:
    try:
        return envelope(blob) if isinstance(blob, bytes) else None
    except ValueError:  # carried over as it is: it was no geometry in the source either
        return None


def _union(first: Envelope, second: Envelope) -> Envelope:
    return Envelope(
        min(first.min_x, second.min_x),
        max(first.max_x, second.max_x),
        min(first.min_y, second.min_y),
        max(first.max_y, second.max_y),
    )


def touch(connection: sqlite3.Connection, table: str) -> None:
    """Say in gpkg_contents that a table was changed now."""
    connection.execute(
        "UPDATE gpkg_contents SET last_change = ? WHERE lower(table_name) = lower(?)",
        (now(), table),
    )


def forget_count(connection: sqlite3.Connection, table: str) -> None:
    """Make GDAL count a table's rows itself where none of its triggers keeps the count."""
    if not has_table(connection, "gpkg_ogr_contents"):
        return
    kept = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(?) AND "
        "sql LIKE '%gpkg_ogr_contents%'",
        (table,),
    ).fetchall()
    if not kept:
        connection.execute(
            "UPDATE gpkg_ogr_contents SET feature_count = NULL WHERE lower(table_name) = lower(?)",
            (table,),
        )


def add_metadata(connection: sqlite3.Connection, table: str, standard_uri: str, text: str) -> None:
    """Attach JSON text to a table as GeoPackage metadata, unless it says the same already."""
    for statement in _METADATA:
        connection.execute(statement)
    known = connection.execute(
        "SELECT 1 FROM gpkg_metadata m JOIN gpkg_metadata_reference r ON r.md_file_id = m.id "
        "WHERE r.table_name = ? AND m.md_standard_uri = ? AND m.metadata = ?",
        (table, standard_uri, text),
    ).fetchall()
    if known:
        return
    cursor = connection.execute(
        "INSERT INTO gpkg_metadata (md_scope, md_standard_uri, mime_type, metadata) "
        "VALUES ('dataset', ?, 'application/json', ?)",
        (standard_uri, text),
    )
    connection.execute(
        "INSERT INTO gpkg_metadata_reference (reference_scope, table_name, timestamp, md_file_id) "
        "VALUES ('table', ?, ?, ?)",
        (table, now(), cursor.lastrowid),
    )
    for name in ("gpkg_metadata", "gpkg_metadata_reference"):
        extension = Extension(
            table=name, column=None, name="gpkg_metadata", definition=_METADATA_URL
        )
        add_extension(connection, extension)
