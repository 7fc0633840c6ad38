"""GeoPackages for the fixtures, written with plain SQL so that every byte is chosen here.

System tables, R-tree and triggers are those of OGC 12-128 in the wording that GDAL writes:
version 1.2 (update triggers 1 to 4, two of which fire on every UPDATE) or 1.4 (2, 4 to 7).
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from pyproj import CRS

LAST_CHANGE = "2026-05-04T09:30:00.000Z"
RTREE_PAGE = "http://www.geopackage.org/spec120/#extension_rtree"
RELATED_PAGE = "http://www.geopackage.org/18-000.html"

SYSTEM_TABLES = """
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL,srs_id INTEGER NOT NULL PRIMARY KEY,
 organization TEXT NOT NULL,organization_coordsys_id INTEGER NOT NULL,definition TEXT NOT NULL,
 description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY,data_type TEXT NOT NULL,
 identifier TEXT UNIQUE,description TEXT DEFAULT '',last_change DATETIME NOT NULL
 DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),min_x DOUBLE,min_y DOUBLE,max_x DOUBLE,
 max_y DOUBLE,srs_id INTEGER,CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id)
 REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_ogr_contents (table_name TEXT NOT NULL PRIMARY KEY,
 feature_count INTEGER DEFAULT NULL);
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL,column_name TEXT NOT NULL,
 geometry_type_name TEXT NOT NULL,srs_id INTEGER NOT NULL,z TINYINT NOT NULL,m TINYINT NOT NULL,
 CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name),
 CONSTRAINT uk_gc_table_name UNIQUE (table_name),
 CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
 CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
CREATE TABLE gpkg_extensions (table_name TEXT,column_name TEXT,extension_name TEXT NOT NULL,
 definition TEXT NOT NULL,scope TEXT NOT NULL,
 CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name));
"""
RELATIONS_TABLE = """
CREATE TABLE gpkgext_relations (id INTEGER PRIMARY KEY AUTOINCREMENT,
 base_table_name TEXT NOT NULL,base_primary_column TEXT NOT NULL DEFAULT 'id',
 related_table_name TEXT NOT NULL,related_primary_column TEXT NOT NULL DEFAULT 'id',
 relation_name TEXT NOT NULL,mapping_table_name TEXT NOT NULL UNIQUE);
"""
# {t}: quoted table, {c}: quoted geometry column, {k}: quoted key, {r}: the R-tree's bare name,
# {q}: quoted R-tree, {n}: table name as a string.
_SOME = "({side}.{{c}} NOTNULL AND NOT ST_IsEmpty({side}.{{c}}))"
_NONE = "({side}.{{c}} ISNULL OR ST_IsEmpty({side}.{{c}}))"
_NEW, _OLD = _SOME.format(side="NEW"), _SOME.format(side="OLD")
_NO_NEW, _NO_OLD = _NONE.format(side="NEW"), _NONE.format(side="OLD")
_PUT = (
    "INSERT OR REPLACE INTO {q} VALUES (NEW.{k},ST_MinX(NEW.{c}),ST_MaxX(NEW.{c}),"
    "ST_MinY(NEW.{c}),ST_MaxY(NEW.{c}));"
)
_MOVE = (
    "UPDATE {q} SET minx = ST_MinX(NEW.{c}),maxx = ST_MaxX(NEW.{c}),"
    "miny = ST_MinY(NEW.{c}),maxy = ST_MaxY(NEW.{c}) WHERE id = NEW.{k};"
)
_DROP = "DELETE FROM {q} WHERE id = OLD.{k};"
_DROP_BOTH = "DELETE FROM {q} WHERE id IN (OLD.{k}, NEW.{k});"
_SAME, _OTHER = "OLD.{k} = NEW.{k}", "OLD.{k} != NEW.{k}"

COMMON_TRIGGERS = (
    ("insert", "AFTER INSERT ON {t}", _NEW, _PUT),
    ("update2", "AFTER UPDATE OF {c} ON {t}", f"{_SAME} AND {_NO_NEW}", _DROP),
    ("update4", "AFTER UPDATE ON {t}", f"{_OTHER} AND {_NO_NEW}", _DROP_BOTH),
    ("delete", "AFTER DELETE ON {t}", "OLD.{c} NOT NULL", _DROP),
)
UPDATE_TRIGGERS = {
    10200: (
        ("update1", "AFTER UPDATE OF {c} ON {t}", f"{_SAME} AND {_NEW}", _PUT),
        ("update3", "AFTER UPDATE ON {t}", f"{_OTHER} AND {_NEW}", _DROP + _PUT),
    ),
    10400: (
        ("update5", "AFTER UPDATE ON {t}", f"{_OTHER} AND {_NEW}", _DROP + _PUT),
        ("update6", "AFTER UPDATE OF {c} ON {t}", f"{_SAME} AND {_NEW} AND {_OLD}", _MOVE),
        ("update7", "AFTER UPDATE OF {c} ON {t}", f"{_SAME} AND {_NEW} AND {_NO_OLD}", _PUT),
    ),
}


class Geometry(NamedTuple):
    """A GeoPackage geometry blob with its (min x, max x, min y, max y)."""

    blob: bytes
    bounds: tuple[float, float, float, float]


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(name: str) -> str:
    """A name as an SQL string."""
    return "'" + name.replace("'", "''") + "'"


def point(srs_id: int, *xyz: float) -> Geometry:
    """A Point or Point Z; as GDAL does, without an envelope in its header."""
    kind = 1001 if len(xyz) == 3 else 1
    header = b"GP\0\1" + struct.pack("<i", srs_id)
    blob = header + struct.pack(f"<BI{len(xyz)}d", 1, kind, *xyz)
    return Geometry(blob, (xyz[0], xyz[0], xyz[1], xyz[1]))


def line(srs_id: int, vertices: Sequence[Sequence[float]], kind: int = 2) -> Geometry:
    """A LineString, or a Polygon of one ring with kind 3; three numbers a vertex make it Z."""
    xs, ys = [v[0] for v in vertices], [v[1] for v in vertices]
    bounds = min(xs), max(xs), min(ys), max(ys)
    header = b"GP\0\3" + struct.pack("<i4d", srs_id, *bounds)
    rings = struct.pack("<I", 1) if kind == 3 else b""
    body = struct.pack("<I", len(vertices)) + b"".join(
        struct.pack(f"<{len(v)}d", *v) for v in vertices
    )
    kind += 1000 * (len(vertices[0]) == 3)
    return Geometry(header + struct.pack("<BI", 1, kind) + rings + body, bounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A feature table: columns maps names to SQL types, without the key and the geometry.

    rows are (key, geometry or None, *column values). geometry_type as in
    gpkg_geometry_columns, with " Z" behind it for three dimensions.
    """

    name: str
    srs_id: int
    columns: Mapping[str, str]
    rows: Sequence[tuple[object, ...]]
    key: str = "fid"
    geometry: str = "geom"
    geometry_type: str = "POINT"
    identifier: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """An attribute table: rows are (key, *column values)."""

    name: str
    columns: Mapping[str, str]
    rows: Sequence[tuple[object, ...]]
    key: str = "fid"


@dataclass(slots=True)
class Package:
    """A GeoPackage being written; use as a context manager."""

    path: Path
    version: int = 10400
    connection: sqlite3.Connection = field(init=False)

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self.connection = sqlite3.connect(self.path)
        self.connection.execute("PRAGMA application_id = 0x47504B47")
        self.connection.execute(f"PRAGMA user_version = {self.version}")
        self.connection.executescript(SYSTEM_TABLES)
        for name, srs_id in (("Undefined Cartesian SRS", -1), ("Undefined geographic SRS", 0)):
            row = name, srs_id, "NONE", srs_id, "undefined", None
            self.insert("gpkg_spatial_ref_sys", [row])
        self.add_srs(4326)
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.commit()
        self.connection.execute("VACUUM")
        self.connection.close()

    def insert(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert whole rows."""
        for row in rows:
            marks = ",".join("?" * len(row))
            self.connection.execute(f"INSERT INTO {quote(table)} VALUES ({marks})", row)

    def add_srs(self, code: int) -> None:
        """Register an EPSG code."""
        crs = CRS.from_epsg(code)
        row = crs.name, code, "EPSG", code, crs.to_wkt("WKT1_GDAL"), None
        self.connection.execute(
            "INSERT OR IGNORE INTO gpkg_spatial_ref_sys VALUES (?,?,?,?,?,?)", row
        )

    def register(self, table: str, kind: str, bounds: Sequence[float | None], srs_id: int) -> None:
        """Enter a table in gpkg_contents."""
        row = table, kind, table, "", LAST_CHANGE, *bounds, srs_id
        self.insert("gpkg_contents", [row])

    def add_table(self, table: Table) -> None:
        """Create and fill an attribute table."""
        columns = "".join(f", {quote(name)} {kind}" for name, kind in table.columns.items())
        self.connection.execute(
            f"CREATE TABLE {quote(table.name)} "
            f"({quote(table.key)} INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL{columns})"
        )
        self.insert(table.name, table.rows)
        self.register(table.name, "attributes", [None] * 4, 0)
        self.count(table.name, len(table.rows))

    def add_layer(self, layer: Layer) -> None:
        """Create and fill a feature table with its R-tree and triggers."""
        kind, _, z = layer.geometry_type.partition(" ")
        self.add_srs(layer.srs_id)
        columns = "".join(f", {quote(name)} {kind}" for name, kind in layer.columns.items())
        self.connection.execute(
            f"CREATE TABLE {quote(layer.name)} ({quote(layer.key)} INTEGER PRIMARY KEY "
            f"AUTOINCREMENT NOT NULL, {quote(layer.geometry)} {kind}{columns})"
        )
        shapes = {row[0]: row[1] for row in layer.rows if isinstance(row[1], Geometry)}
        stored = [
            (row[0], row[1].blob if isinstance(row[1], Geometry) else None, *row[2:])
            for row in layer.rows
        ]
        self.insert(layer.name, stored)
        left, right, bottom, top = zip(*(shape.bounds for shape in shapes.values()), strict=True)
        bounds = min(left), min(bottom), max(right), max(top)
        self.register(layer.name, "features", bounds, layer.srs_id)
        row = layer.name, layer.geometry, kind, layer.srs_id, int(bool(z)), 0
        self.insert("gpkg_geometry_columns", [row])
        self.index(layer, shapes)
        self.count(layer.name, len(layer.rows))

    def index(self, layer: Layer, shapes: Mapping[object, Geometry]) -> None:
        """The R-tree with its triggers; filled first, so that no ST_ function is needed."""
        bare = f"rtree_{layer.name}_{layer.geometry}"
        self.connection.execute(
            f"CREATE VIRTUAL TABLE {quote(bare)} USING rtree(id, minx, maxx, miny, maxy)"
        )
        self.insert(bare, [(key, *shape.bounds) for key, shape in shapes.items()])
        names = {
            "t": quote(layer.name),
            "c": quote(layer.geometry),
            "k": quote(layer.key),
            "q": quote(bare),
        }
        for suffix, event, condition, action in COMMON_TRIGGERS + UPDATE_TRIGGERS[self.version]:
            body = f"{event} WHEN {condition} BEGIN {action} END".format(**names)
            self.connection.execute(f"CREATE TRIGGER {quote(f'{bare}_{suffix}')} {body}")
        row = layer.name, layer.geometry, "gpkg_rtree_index", RTREE_PAGE, "write-only"
        self.insert("gpkg_extensions", [row])

    def count(self, table: str, rows: int) -> None:
        """GDAL's feature count, with the triggers that keep it."""
        self.insert("gpkg_ogr_contents", [(table, rows)])
        for event, step in (("insert", "+"), ("delete", "-")):
            name = quote(f"trigger_{event}_feature_count_{table}")
            self.connection.execute(
                f"CREATE TRIGGER {name} AFTER {event.upper()} ON {quote(table)} BEGIN UPDATE "
                f"gpkg_ogr_contents SET feature_count = feature_count {step} 1 "
                f"WHERE lower(table_name) = lower({text(table)}); END"
            )

    def relate(
        self, base: str, related: str, name: str, mapping: str, keys: tuple[str, str]
    ) -> None:
        """Register a relation of the Related Tables Extension; keys are (base's, related's)."""
        tables = self.connection.execute("SELECT name FROM sqlite_master").fetchall()
        if ("gpkgext_relations",) not in tables:
            self.connection.executescript(RELATIONS_TABLE)
            self.extend("gpkgext_relations")
        row = None, base, keys[0], related, keys[1], name, mapping
        self.insert("gpkgext_relations", [row])
        self.extend(mapping)

    def extend(self, table: str) -> None:
        """A row of the Related Tables Extension in gpkg_extensions."""
        row = table, None, "gpkg_related_tables", RELATED_PAGE, "read-write"
        self.insert("gpkg_extensions", [row])
