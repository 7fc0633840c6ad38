"""What a staging GeoPackage has gathered, added to classes of a mobile geodatabase (see `append`).

It all happens in one transaction of SQLite, so that a crash leaves the geodatabase as it was or
complete. Only classes that are there get rows: what Esri's software registers of a class with
GlobalIDs and attachments has been seen in no file, so none is made here.

What is written besides rows was found in a geodatabase of ArcGIS Runtime, where it agrees with
every class: the spatial index has the bounds of each geometry, GDB_Layers those of all, and
GDB_RowidGenerators the object id to give next and the first of those that were given last.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from attachtrans.errors import BusyError, SchemaError, SinkError
from attachtrans.stores.geodatabase.esriencode import Encoded, encode
from attachtrans.stores.geodatabase.mobile import julian_day, read_shapes, replica_mark
from attachtrans.stores.geodatabase.staging import (
    StagedRow,
    guid_column,
    is_output,
    pending_keys,
    seeded_keys,
    staged_rows,
)
from attachtrans.stores.geodatabase.tables import Value
from attachtrans.stores.geopackage import Table, connect, quote, read_schema
from attachtrans.stores.gpb import Envelope
from attachtrans.stores.registry import has_table
from attachtrans.stores.schema import SRC_FID

_PATIENCE_S = 30.0
# What the triggers of spatial indexes call; Esri's software has them. The index is filled here.
_ESRI_FUNCTIONS = ("InsertIndexEntry", "UpdateIndexEntry")
_WAY_OUT = "Name another layer with --output, or write to out.gpkg or out.gdb"


def check(staging: Path, path: Path) -> None:
    """Refuse what cannot go into the geodatabase, before photos are computed.

    Everything that is staged by now (the features of a run, no photos yet) is put in and taken
    back. Raises SchemaError, SinkError.
    """
    with closing(connect(staging)) as source, _transaction(path, for_good=False) as target:
        _add(source, target, path)


def publish(staging: Path, path: Path) -> None:
    """Put new and changed rows into the geodatabase, all of them or none.

    Raises SchemaError for what it cannot hold, BusyError, SinkError.
    """
    with closing(connect(staging)) as source, _transaction(path, for_good=True) as target:
        _add(source, target, path)


@contextmanager
def _transaction(path: Path, *, for_good: bool) -> Iterator[sqlite3.Connection]:
    with closing(connect(path, write=True)) as connection:
        for name in _ESRI_FUNCTIONS:
            connection.create_function(name, -1, lambda *_: None)
        connection.execute(f"PRAGMA busy_timeout = {int(_PATIENCE_S * 1000)}")
        connection.execute("PRAGMA synchronous = FULL")
        if not for_good:
            connection.execute("PRAGMA cache_spill = OFF")  # nothing reaches the file
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT" if for_good else "ROLLBACK")
        except (sqlite3.IntegrityError, sqlite3.DataError) as error:
            raise SchemaError(
                f"{path} does not take what is added: {error}. It is as it was. {_WAY_OUT}"
            ) from error
        except sqlite3.Error as error:
            raise _explained(path, error) from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _explained(path: Path, error: sqlite3.Error) -> SinkError:
    if "locked" in str(error) or "busy" in str(error):
        return BusyError(
            f"{path} has been locked by another program for {_PATIENCE_S:.0f} s. Save or end its "
            "edit session and run the same command again: it goes on where it stopped."
        )
    if "no such function" in str(error):
        return SchemaError(
            f"{path} has triggers that call what only Esri's software has ({error}), so nothing "
            f"can be added. It is as it was. {_WAY_OUT}"
        )
    return SinkError(
        f"{path} cannot be written: {error}. It is as it was; put this right and run the same "
        "command again."
    )


def _add(source: sqlite3.Connection, target: sqlite3.Connection, path: Path) -> None:
    for table in read_schema(source, path).tables:
        if is_output(table):
            _Addition(source, target, path, table).run()


class _Addition:
    """The staged rows of one table, put into the table of that name."""

    def __init__(
        self, source: sqlite3.Connection, target: sqlite3.Connection, path: Path, table: Table
    ) -> None:
        """Raises SchemaError where nothing can be added to the table."""
        if not has_table(target, table.name):
            raise SchemaError(
                f"{path} has no class {table.name}. Results are added to classes of mobile "
                "geodatabases that are there; only Esri's software makes new ones. Write to "
                f"out.gdb:{table.name} or out.gpkg; once ArcGIS has copied that class with its "
                f"attachments from out.gdb to {path.name}, results can be added to it there"
            )
        if (why := replica_mark(target, table.name)) is not None:
            raise SchemaError(f"{path}: {why}. {_WAY_OUT}")
        columns = target.execute(
            "SELECT name, lower(type), pk FROM pragma_table_info(?)", (table.name,)
        ).fetchall()
        keys = [name for name, _, pk in columns if pk]
        if len(keys) != 1:
            raise SchemaError(
                f"{path}: {table.name} has no key of object ids, so nothing can be added to it. "
                f"{_WAY_OUT}"
            )
        self._source, self._target, self._path, self._table = source, target, path, table
        self._name, self._key = quote(table.name), quote(keys[0])
        self._dates = {name for name, declared, _ in columns if declared == "realdate"}
        self._guid = guid_column(table)
        self._shapes = read_shapes(target, table.name)
        self._index = self._spatial_index()

    def _spatial_index(self) -> str | None:
        """The R-tree over the geometries, None for a class without."""
        if self._shapes is None:
            return None
        name = f"st_spindex__{self._table.name}_{self._shapes.geometry.column}"
        if has_table(self._target, name):
            return name
        if self._shapes.indexed:
            raise SchemaError(
                f"{self._path}: the spatial index of {self._table.name} is of a kind that is not "
                f"known here. {_WAY_OUT}"
            )
        return None

    def run(self) -> None:
        """Write the rows, and what the geodatabase knows of them."""
        there = {
            guid
            for (guid,) in self._target.execute(f"SELECT {quote(self._guid)} FROM {self._name}")
        }
        keys = pending_keys(self._source, self._table, there)
        seeded = seeded_keys(self._source, self._table)
        first = number = self._next_id()
        bounds: list[Envelope] = []
        for row in staged_rows(self._source, self._table, keys):
            if row.key in seeded:
                self._update(row)
                continue
            encoded = self._encoded(row)
            self._insert(number, row, encoded)
            number += 1
            if encoded is not None:
                bounds.append(encoded.bounds)
        if number > first:
            self._note_ids(first, number - first)
        if bounds:
            self._note_bounds(bounds)
        if keys:
            self._note_change()

    def _next_id(self) -> int:
        """The object id to give next; none is given twice, though its row may be gone."""
        (last,) = self._target.execute(f"SELECT max({self._key}) FROM {self._name}").fetchone()
        ids = [1, (last or 0) + 1]
        if has_table(self._target, "sqlite_sequence"):
            query = "SELECT seq + 1 FROM sqlite_sequence WHERE lower(name) = lower(?)"
            ids += [n for (n,) in self._target.execute(query, (self._table.name,)) if n]
        if has_table(self._target, "GDB_RowidGenerators"):
            query = f"SELECT base_id FROM GDB_RowidGenerators WHERE {_OF_TABLE}"
            ids += [n for (n,) in self._target.execute(query, (self._table.name,)) if n]
        return max(ids)

    def _encoded(self, row: StagedRow) -> Encoded | None:
        if row.shape is None or self._shapes is None:
            return None
        shapes = self._shapes
        try:
            return encode(row.shape, shapes.lattice, shapes.srid, shapes.geometry.type_name)
        except ValueError as error:
            raise SchemaError(
                f"{self._path}: the geometry of feature {row.values.get(SRC_FID)!r} does not go "
                f"into {self._table.name}: {error}. {_WAY_OUT}"
            ) from error

    def _insert(self, number: int, row: StagedRow, encoded: Encoded | None) -> None:
        values = {self._key: number} | {
            quote(name): self._stored(name, value) for name, value in row.values.items()
        }
        if encoded is not None and self._shapes is not None:
            values[quote(self._shapes.geometry.column)] = encoded.blob
        marks = ", ".join("?" * len(values))
        rowid = self._target.execute(
            f"INSERT INTO {self._name} ({', '.join(values)}) VALUES ({marks})", [*values.values()]
        ).lastrowid
        if encoded is not None and self._index is not None:
            self._target.execute(
                f"INSERT INTO {quote(self._index)} VALUES (?, ?, ?, ?, ?)",
                (rowid, *encoded.bounds),
            )
        self._verify(number, values)

    def _verify(self, number: int, values: dict[str, Value]) -> None:
        found = self._target.execute(
            f"SELECT {', '.join(values)} FROM {self._name} WHERE {self._key} = ?", (number,)
        ).fetchone()
        if found != tuple(values.values()):
            raise SinkError(
                f"{self._path}: row {number} of {self._table.name} was not written as it should "
                f"be. The geodatabase is as it was. {_WAY_OUT}"
            )

    def _update(self, row: StagedRow) -> None:
        """Change what has changed of a row that was there."""
        (old,) = staged_rows(self._source, self._table, [row.key], seed=True)
        changed = {
            quote(name): self._stored(name, value)
            for name, value in row.values.items()
            if name not in old.values or old.values[name] != value
        }
        names = ", ".join(f"{name} = ?" for name in changed)
        where = f"{self._key} = ? AND {quote(self._guid)} = ?"
        done = self._target.execute(
            f"UPDATE {self._name} SET {names} WHERE {where}",
            (*changed.values(), row.key, row.values[self._guid]),
        ).rowcount
        if done != 1:
            raise SinkError(
                f"{self._path}: row {row.key} of {self._table.name} was removed by another program "
                "meanwhile. The geodatabase is as it was; run the same command again"
            )
        self._verify(row.key, changed)

    def _stored(self, name: str, value: Value) -> Value:
        """A value as the geodatabase has it."""
        if isinstance(value, str) and name in self._dates:
            try:
                return julian_day(value)
            except ValueError as error:
                message = f"{self._path}: {value!r} is no date for {self._table.name}.{name}"
                raise SchemaError(f"{message}. {_WAY_OUT}") from error
        # Text that is no UTF-8 comes with surrogates.
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value

    def _note_ids(self, first: int, number: int) -> None:
        if has_table(self._target, "GDB_RowidGenerators"):
            self._target.execute(
                f"UPDATE GDB_RowidGenerators SET base_id = ?, last_id = ? WHERE {_OF_TABLE}",
                (first + number, first, self._table.name),
            )

    def _note_bounds(self, added: list[Envelope]) -> None:
        """Let the layer's bounds and its index include what was added."""
        if self._index is not None:
            query = "SELECT rtreecheck(?)"
            ((found,),) = self._target.execute(query, (self._index,)).fetchall()
            if found != "ok":
                raise SinkError(
                    f"{self._path}: the spatial index of {self._table.name} is damaged: {found}. "
                    "The geodatabase is as it was; build the index anew in ArcGIS"
                )
        if not has_table(self._target, "GDB_Layers"):
            return
        sides = [f(e[i] for e in added) for i, f in enumerate((min, max, min, max))]
        done = self._target.execute(
            "UPDATE GDB_Layers SET minx = min(minx, ?1), maxx = max(maxx, ?2), "
            "miny = min(miny, ?3), maxy = max(maxy, ?4) WHERE lower(table_name) = lower(?5) "
            "AND (minx > ?1 OR maxx < ?2 OR miny > ?3 OR maxy < ?4)",
            (*sides, self._table.name),
        ).rowcount
        if done and has_table(self._target, "GDB_TablesModified"):
            self._target.execute(
                "UPDATE GDB_TablesModified SET time_last_modified = ? WHERE table_name = ?",
                (int(time.time()), "GDB_Layers"),
            )

    def _note_change(self) -> None:
        if has_table(self._target, "GDB_Tables_Last_Modified"):
            self._target.execute(
                "UPDATE GDB_Tables_Last_Modified SET last_modified_count = last_modified_count + 1 "
                "WHERE lower(table_name) = lower(?)",
                (self._table.name,),
            )


_OF_TABLE = (
    "registration_id = (SELECT registration_id FROM GDB_TableRegistry "
    "WHERE lower(table_name) = lower(?)) AND num_ids = -1"
)
