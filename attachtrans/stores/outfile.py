"""A GeoPackage that results are added to: made when it is not there, changed by transactions.

Format: OGC 12-128r15 (GeoPackage 1.2.0) for new files, which is what GDAL writes by itself up to
3.10 and what every QGIS since 3.0 reads without a warning. A file that is there keeps its version,
its journal mode and the style of its triggers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from attachtrans.errors import BusyError, SinkError, SourceError
from attachtrans.stores.durable import sync_folder
from attachtrans.stores.geopackage import Schema, connect, read_schema

_APPLICATION_ID = 0x47504B47  # "GPKG"
_VERSION = 10200
_VERSION_1_4 = 10400
_PATIENCE_S = 30.0

WGS84_WKT = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,'
    'AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,'
    'AUTHORITY["EPSG","8901"]],UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],'
    'AXIS["Latitude",NORTH],AXIS["Longitude",EAST],AUTHORITY["EPSG","4326"]]'
)

# Columns, their order, types and defaults are prescribed (annex C of the standard).
_CORE_TABLES = (
    """
    CREATE TABLE gpkg_spatial_ref_sys (
        srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY, organization TEXT NOT NULL,
        organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT)
    """,
    """
    CREATE TABLE gpkg_contents (
        table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
        description TEXT DEFAULT '',
        last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
        min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
        CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id))
    """,
)
_CORE_SRS = (
    ("Undefined Cartesian SRS", -1, "NONE", -1, "undefined", "undefined Cartesian CRS"),
    ("Undefined geographic SRS", 0, "NONE", 0, "undefined", "undefined geographic CRS"),
    ("WGS 84 geodetic", 4326, "EPSG", 4326, WGS84_WKT, "longitude and latitude in degrees"),
)


class OutFile:
    """A GeoPackage open for writing.

    One connection serves all threads, one at a time: `lock` is held around every use of
    `connection`, and `transaction` holds it by itself.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; make it when it is missing or empty.

        Raises SinkError when it cannot be written or is no GeoPackage, BusyError when another
        program holds it.
        """
        self.path = path
        self.lock = RLock()
        _make_if_missing(path)
        try:
            self.connection = connect(path, write=True)
        except SourceError as error:
            raise SinkError(str(error)) from error
        try:
            self.connection.execute(f"PRAGMA busy_timeout = {int(_PATIENCE_S * 1000)}")
            self.connection.execute("PRAGMA synchronous = FULL")
            with self.transaction():
                self.has_new_triggers = _version(self.connection) >= _VERSION_1_4
                self.schema()
        except BaseException:
            self.connection.close()
            raise

    def schema(self) -> Schema:
        """The tables that the file holds now. Raises SinkError when it is no GeoPackage."""
        try:
            with self.lock:
                return read_schema(self.connection, self.path)
        except SourceError as error:
            raise SinkError(str(error)) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything that is executed inside is committed, durably, or nothing of it.

        Raises BusyError and SinkError for what stops all writing; values that do not fit pass as
        SQLite's DataError and IntegrityError.
        """
        with self.lock:
            connection = self.connection
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                ours = isinstance(error, sqlite3.DatabaseError)
                if ours and not isinstance(error, (sqlite3.DataError, sqlite3.IntegrityError)):
                    raise self._explained(error) from error
                raise

    def _explained(self, error: BaseException) -> SinkError:
        if "locked" in str(error) or "busy" in str(error):
            return BusyError(
                f"{self.path} has been locked by another program for {_PATIENCE_S:.0f} s. Save or "
                "end its edit session and run the same command again: it goes on where it stopped."
            )
        full = "; free disk space" if "full" in str(error) else ""
        return SinkError(
            f"{self.path} cannot be written: {error}{full}. What was written so far is complete; "
            "put this right and run the same command again: it goes on where it stopped."
        )

    def check(self) -> None:
        """Raise SinkError when SQLite finds the file damaged."""
        with self.lock:
            ((found,),) = self.connection.execute("PRAGMA quick_check(1)").fetchall()
        if found != "ok":
            message = (
                f"{self.path} does not pass SQLite's check: {found}. Do not go on with this file; "
                "write to another --output."
            )
            raise SinkError(message)

    def close(self) -> None:
        """Let go of the file."""
        with self.lock:
            self.connection.close()


def _version(connection: sqlite3.Connection) -> int:
    """10200 for 1.2; files of 1.0 and 1.1 say it in their application id and have 0 here."""
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    return int(version)


def _make_if_missing(path: Path) -> None:
    """An empty GeoPackage at `path`; a file of zero bytes is what a killed run leaves."""
    if path.exists() and (path.is_dir() or path.stat().st_size):
        return
    if not path.parent.is_dir():
        message = f"--output {path}: there is no folder {path.parent}; make it first"
        raise SinkError(message)
    try:
        connection = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            # Another run may have made it while this one waited for the lock.
            if not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall():
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
                for statement in _CORE_TABLES:
                    connection.execute(statement)
                connection.executemany(
                    "INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, ?)", _CORE_SRS
                )
            connection.execute("COMMIT")
        finally:
            connection.close()
    except sqlite3.Error as error:
        message = f"--output {path} cannot be made: {error}; may its folder be written?"
        raise SinkError(message) from error
    sync_folder(path.parent)
