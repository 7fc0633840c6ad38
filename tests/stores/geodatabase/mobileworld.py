"""Classes in mobile geodatabases that results can be added to, as ArcGIS copies them from a .gdb.

Tables, checks, triggers and registrations are those of the classes in a real file of ArcGIS
Runtime; columns of GlobalIDs and attachments as the reference on attachments has them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from attachtrans.stores.geodatabase.esrishape import to_wkb
from attachtrans.stores.geodatabase.mobile import read_shapes

_GENERATORS = """
CREATE TABLE IF NOT EXISTS GDB_RowidGenerators (registration_id int32 not null,
 base_id int32 not null, num_ids int32 not null, last_id int32,
 CONSTRAINT GDB_RowidGenerators_pk PRIMARY KEY (registration_id,base_id))
"""
_OWN = ("SRC_FILE text(255)", "SRC_LAYER text(255)", "SRC_GLOBALID text(38)", "SRC_FID int32")
_ATTACHED = (
    "REL_GLOBALID uuidtext not null",
    "CONTENT_TYPE text(150) not null",
    "ATT_NAME text(250) not null",
    "DATA_SIZE int32 not null",
    "DATA blob",
    "GLOBALID uuidtext not null",
    "SRC_GLOBALID text(38)",
    "SRC_ATT text(255)",
    "SRC_DIGEST text(64)",
    "MODEL_FP text(255)",
)
_TRIGGERS = """
CREATE TRIGGER st_insert_trigger_{0}_Shape AFTER INSERT ON {0} FOR EACH ROW
 BEGIN SELECT InsertIndexEntry ('st_spindex__{0}_Shape',NEW.Shape,NEW._ROWID_,2); END;
CREATE TRIGGER st_delete_trigger_{0}_Shape AFTER DELETE ON {0} FOR EACH ROW
 BEGIN DELETE FROM st_spindex__{0}_Shape WHERE pkid = OLD._ROWID_; END;
CREATE TRIGGER st_update_trigger_{0}_Shape AFTER UPDATE OF Shape ON {0}
 WHEN OLD._ROWID_ = NEW._ROWID_
 BEGIN SELECT UpdateIndexEntry ('st_spindex__{0}_Shape',NEW.Shape,NEW._ROWID_,2); END;
"""


def _column(declared: str) -> str:
    name, kind, *rest = declared.split()
    base, _, width = kind.rstrip(")").partition("(")
    checks = {
        "text": f"typeof({name}) = 'text' and not length({name}) > {width}",
        "uuidtext": f"typeof({name}) = 'text' and length({name}) = 38",
        "int32": f"typeof({name}) = 'integer' and abs({name}) <= 2147483647",
        "float64": f"typeof({name}) = 'real'",
        "realdate": f"typeof({name}) = 'real' and {name} >= 0.0",
        "blob": f"typeof({name}) = 'blob'",
        "geometryblob": f"typeof({name}) = 'blob' and length({name}) >= 18 "
        f"and cast(hex(substr({name},1,1)) as integer) = 64",
    }
    check = checks[base] if rest else f"({checks[base]}) or typeof({name}) = 'null'"
    return f"{name} {kind} check({check}) {' '.join(rest)}"


def add_class(
    path: Path, name: str, columns: Sequence[str], *, kind: int = 1, generator: int | None = 7
) -> None:
    """An empty class for results, in the spatial reference of the file's other classes.

    columns: those of the source, like "name text(80)". kind: as st_geometry_columns has it.
    generator: the object id to give next, None for a file without GDB_RowidGenerators.
    """
    own = ("GlobalID uuidtext not null", *_OWN, "MODEL_FP text(255)", "Shape geometryblob")
    tables = {name: ("OBJECTID", (*columns, *own)), f"{name}__ATTACH": ("ATTACHMENTID", _ATTACHED)}
    with closing(sqlite3.connect(path)) as connection, connection:
        for function in ("InsertIndexEntry", "UpdateIndexEntry"):
            connection.create_function(function, 4, lambda *_: None)
        for table, (key, fields) in tables.items():
            inside = ", ".join([f"{key} integer primary key not null", *map(_column, fields)])
            connection.execute(f"CREATE TABLE {table} ({inside})")
            number = connection.execute(
                "INSERT INTO GDB_TableRegistry (table_name, rowid_column, object_flags, "
                "registration_date, minimum_id) VALUES (?, ?, 3, 1777887000, 1)",
                (table, key),
            ).lastrowid
            if generator is not None:
                connection.execute(_GENERATORS)
                row = number, generator, generator
                connection.execute("INSERT INTO GDB_RowidGenerators VALUES (?, ?, -1, ?)", row)
        connection.execute(
            f"CREATE VIRTUAL TABLE st_spindex__{name}_Shape USING RTREE (pkid,minx,maxx,miny,maxy)"
        )
        connection.executescript(_TRIGGERS.format(name))
        connection.execute(
            "INSERT INTO st_geometry_columns (f_table_name, f_geometry_column, geometry_type, "
            "coord_dimension, srid, spatial_index_type) SELECT ?, 'Shape', ?, 2, max(srid), "
            "'RTREEXY' FROM st_geometry_columns",
            (name, kind),
        )


def table(path: Path, name: str) -> dict[int, dict[str, Any]]:
    """The rows of a table, by object id."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
    return {row[0]: dict(row) for row in rows}


def places(path: Path, name: str) -> dict[int, bytes | None]:
    """The geometries of a class as well-known binary, by object id."""
    with closing(sqlite3.connect(path)) as connection:
        shapes = read_shapes(connection, name)
        assert shapes is not None
        rows = connection.execute(f'SELECT rowid, Shape FROM "{name}"').fetchall()
    return {fid: to_wkb(blob, shapes.lattice) for fid, blob in rows}


def index(path: Path, name: str) -> dict[int, tuple[float, ...]]:
    """The entries of a class's spatial index: min x, max x, min y, max y."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(f'SELECT * FROM "st_spindex__{name}_Shape"').fetchall()
    return {fid: tuple(bounds) for fid, *bounds in rows}


def damage(path: Path) -> set[str]:
    """What SQLite finds wrong with a file and its spatial indexes; {"ok"} for nothing."""
    with closing(sqlite3.connect(path)) as connection:
        found = {text for (text,) in connection.execute("PRAGMA integrity_check")}
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE sql LIKE '%USING RTREE%'"
        ).fetchall()
        for (name,) in names:
            ((text,),) = connection.execute("SELECT rtreecheck(?)", (name,)).fetchall()
            found.add(text)
    return found


def others(path: Path, *changed: str) -> dict[str, list[Any]]:
    """The rows of every table (of indexes: their nodes) but these, and the schema."""
    with closing(sqlite3.connect(path)) as connection:
        master = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        found: dict[str, list[Any]] = {"sqlite_master": master}
        for kind, name, sql in master:
            own = any(name == one or f"__{one}_" in name for one in changed)
            if kind == "table" and "VIRTUAL" not in sql and not own:
                found[name] = connection.execute(f'SELECT rowid, * FROM "{name}"').fetchall()
    return found
