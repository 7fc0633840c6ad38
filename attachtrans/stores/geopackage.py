"""GeoPackage files by plain SQL: opening, checking, and what tables and layers they hold.

Format: OGC 12-128 (GeoPackage 1.0 to 1.4), https://www.geopackage.org/spec/.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote as quote_url

from attachtrans.errors import SourceError
from attachtrans.stores.gpb import sql_functions

_SQLITE_MAGIC = b"SQLite format 3\0"
_ESRI_APPLICATION_ID = 1165193833
_BUSY_SECONDS = 10.0
_CANNOT_OPEN = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_PRIMARY_CODE = 0xFF
_TILE_TYPES = frozenset({"tiles", "2d-gridded-coverage", "vector-tiles"})
_VIEW_KEYS = ("fid", "id", "objectid", "ogc_fid", "attachmentid", "pk_uid", "_id")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C within a function that SQL calls stays Ctrl-C; ours raise nothing by themselves."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if str(error) == _FUNCTION_ENDED:
            raise KeyboardInterrupt from error
        raise


class _Connection(sqlite3.Connection):
    """A connection that is counted while it is open, because of `_may_peek`."""

    counted_for: Path | None = None

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        with _interruptible():
            return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        with _interruptible():
            return super().executemany(sql, parameters)

    def close(self) -> None:
        if self.counted_for is not None:
            with _OPEN_LOCK:
                _OPEN[self.counted_for] -= 1
            self.counted_for = None
        super().close()


_FUNCTION_ENDED = "user-defined function raised exception"
_OPEN: Counter[Path] = Counter()
_OPEN_LOCK = Lock()


def _may_peek(path: Path) -> bool:
    """Whether the file's header may be read past SQLite.

    Closing any descriptor of a file drops all POSIX locks that the process holds on it, SQLite's
    included (sqlite.org/howtocorrupt.html, 2.2): never while a connection is open.
    """
    with _OPEN_LOCK:
        return not _OPEN[path.resolve()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; `declared` is its type in upper case, e.g. "TEXT(150)", "" when it has none."""

    name: str
    declared: str
    primary: bool
    generated: bool

    @property
    def holds_text(self) -> bool:
        """Whether text is what it is declared for; columns of views may declare nothing."""
        return any(word in self.declared for word in ("CHAR", "CLOB", "TEXT", "JSON")) or (
            self.declared in ("", "STRING")
        )

    @property
    def holds_blobs(self) -> bool:
        """Whether it is declared for BLOBs, or for nothing."""
        return "BLOB" in self.declared or self.declared in ("", "BINARY", "VARBINARY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The geometry column of a layer, from gpkg_geometry_columns."""

    column: str
    type_name: str
    srs_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table or view that may hold features, attachments or attributes.

    key        the column that names a row: the INTEGER PRIMARY KEY, "rowid" when there is none,
               a column with unique numbers of a view; None when a row cannot be named
    data_type  of gpkg_contents: "features", "attributes", ...; "" when it is not registered
    """

    name: str
    is_view: bool
    key: str | None
    columns: tuple[Column, ...]
    data_type: str
    geometry: Geometry | None

    def column(self, name: str) -> Column | None:
        """The column of that name, in any case (SQLite's names have none)."""
        return next((column for column in self.columns if same(column.name, name)), None)

    @property
    def is_tiles(self) -> bool:
        """Whether it is a tile pyramid, whose pictures are map tiles."""
        return self.data_type in _TILE_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The user's tables of a GeoPackage, in the order of their creation."""

    path: Path
    tables: tuple[Table, ...]

    def table(self, name: str) -> Table | None:
        """The table or view of that name, in any case."""
        return next((table for table in self.tables if same(table.name, name)), None)


def quote(name: str) -> str:
    """A table or column name as SQL; every name goes through here, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def same(first: str, second: str) -> bool:
    """Whether two names are one to SQLite, which folds the case of ASCII letters only."""
    return _fold(first) == _fold(second)


def _fold(name: str) -> str:
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in name)


def connect(path: Path, *, write: bool = False, immutable: bool = False) -> sqlite3.Connection:
    """Open a GeoPackage; every statement commits by itself until BEGIN is executed.

    The connection may be passed between threads (one at a time), waits up to ten seconds for a
    lock, leaves foreign keys off as SQLite does, gives text that is not UTF-8 with surrogate
    escapes, and knows the functions that R-tree triggers call. For reading it leaves no files
    beside the data, and a journal that a crashed writer left is rolled back as by any reader.

    write      open for reading and writing
    immutable  read only, no locks and no journal is looked at: for media that cannot be written

    Raises SourceError when the file is missing, a folder, not SQLite, damaged, locked or not
    readable; whether it is a GeoPackage is for `read_schema` to say.
    """
    _check_file(path, write=write)
    if immutable:
        return _open(path, "mode=ro&immutable=1")
    if write:
        return _open(path, "mode=rw")
    # A reader that may not write would leave an empty -wal and a -shm beside a file in WAL mode,
    # and could not roll back the journal of a crashed writer; so it may write, but never does.
    first, second = ("rw", "ro") if _is_wal(path) and not _side_files(path) else ("ro", "rw")
    for mode in (first, second):
        try:
            return _open(path, f"mode={mode}", query_only=True)
        except SourceError as error:
            if not _cannot_open(error):
                raise
    side = _side_files(path)
    if not side:
        return _open(path, "mode=ro&immutable=1")
    names = " and ".join(file.name for file in side)
    message = (
        f"{path}: {names} beside it holds changes that are not in the file yet, and nothing can be "
        "written there; copy the file together with it to a folder where you may write"
    )
    raise SourceError(message)


def _cannot_open(error: SourceError) -> bool:
    cause = error.__cause__
    code = getattr(cause, "sqlite_errorcode", 0)
    return isinstance(cause, sqlite3.Error) and code & _PRIMARY_CODE in _CANNOT_OPEN


def _check_file(path: Path, *, write: bool) -> None:
    if not path.exists():
        message = f"{path}: there is no such file"
        raise SourceError(message)
    if path.is_dir():
        hint = (
            "; a file geodatabase can only be read where a source is named"
            if path.suffix.lower() == ".gdb"
            else "; name the .gpkg file in it"
        )
        message = f"{path}: is a folder, not a GeoPackage{hint}"
        raise SourceError(message)
    if not os.access(path, os.R_OK) or (write and not os.access(path, os.W_OK)):
        verb = "written" if write else "read"
        message = f"{path}: may not be {verb}; ask for permission or work on a copy"
        raise SourceError(message)
    if not _may_peek(path):
        return
    head = _head(path)
    if not head.startswith(_SQLITE_MAGIC):
        what = "is empty" if not head else "is not an SQLite file, so it is not a GeoPackage"
        message = f"{path}: {what}"
        raise SourceError(message)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(100)
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror})"
        raise SourceError(message) from error


def _is_wal(path: Path) -> bool:
    return _may_peek(path) and _head(path)[18:20] == b"\2\2"


def _side_files(path: Path) -> list[Path]:
    """Journals beside the file that have something in them."""
    candidates = [path.with_name(path.name + end) for end in ("-wal", "-journal")]
    return [file for file in candidates if file.exists() and file.stat().st_size > 0]


def _open(path: Path, options: str, *, query_only: bool = False) -> sqlite3.Connection:
    absolute = path.absolute().as_posix()
    slash = "" if absolute.startswith("/") else "/"
    uri = f"file://{slash}{quote_url(os.fsencode(absolute))}?{options}"
    connection: _Connection | None = None
    try:
        connection = sqlite3.connect(
            uri,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
            factory=_Connection,
        )
        connection.counted_for = path.resolve()
        with _OPEN_LOCK:
            _OPEN[connection.counted_for] += 1
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        if query_only:
            connection.execute("PRAGMA query_only=ON")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        message = f"{path}: cannot be opened: {_explain(error)}"
        raise SourceError(message) from error
    connection.text_factory = _text
    for name, function in sql_functions().items():
        connection.create_function(name, 1, function, deterministic=True)
    return connection


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _explain(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "another program is writing to it; close it there and try again"
    if code == sqlite3.SQLITE_CORRUPT:
        return "the database is damaged; restore it from a backup (sqlite3 FILE .recover)"
    if code == sqlite3.SQLITE_NOTADB:
        return "it is encrypted or not a database"
    return str(error)


def read_blob(
    connection: sqlite3.Connection, table: str, column: str, row: int, nbytes: int | None = None
) -> bytes:
    """A BLOB, or its first bytes, without going through a query where that is safe.

    sqlite3's blobopen is twice as fast and reads no more than asked for, but it takes the wrong
    column in a table with virtual generated columns.
    """
    if connection.execute(
        "SELECT 1 FROM pragma_table_xinfo(?) WHERE hidden > 1 LIMIT 1", (table,)
    ).fetchone():
        query = f"SELECT {quote(column)} FROM {quote(table)} WHERE rowid = ?"
        (value,) = connection.execute(query, (row,)).fetchone()
        return bytes(value[:nbytes])
    with connection.blobopen(table, column, row, readonly=True) as blob:
        return blob.read() if nbytes is None else blob.read(nbytes)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for reading that is closed at the end; SQLite's errors become SourceErrors."""
    connection = connect(path)
    try:
        yield connection
    except sqlite3.Error as error:
        message = f"{path}: cannot be read: {_explain(error)}"
        raise SourceError(message) from error
    finally:
        connection.close()


def read_schema(connection: sqlite3.Connection, path: Path) -> Schema:
    """The user's tables and views of a GeoPackage, without the ones that run it.

    Raises SourceError when the SQLite file is not a GeoPackage, saying what it seems to be.
    """
    names = dict(_masters(connection))
    folded = {_fold(name) for name in names}
    if "gpkg_contents" not in folded:
        message = f"{path}: is an SQLite file but not a GeoPackage{_other_kind(connection, folded)}"
        raise SourceError(message)
    contents = _data_types(connection)
    if "gpkg_tile_matrix_set" in folded:
        for (name,) in connection.execute("SELECT table_name FROM gpkg_tile_matrix_set"):
            contents.setdefault(_fold(name), "tiles")
    geometries = _geometries(connection) if "gpkg_geometry_columns" in folded else {}
    tables = tuple(
        _read_table(connection, name, kind == "view", contents, geometries)
        for name, kind in names.items()
        if not is_system(name)
    )
    return Schema(path=path, tables=tables)


def is_system(name: str) -> bool:
    """Whether a table runs the GeoPackage, SQLite or QGIS, and never holds the user's photos."""
    folded = _fold(name)
    return folded.startswith(("gpkg_", "gpkgext_", "sqlite_", "rtree_")) or folded in {
        "layer_styles",
        "qgis_projects",
        "ogr_empty_table",
        "spatial_ref_sys",
        "st_spatial_ref_sys",
        "geometry_columns",
        "st_geometry_columns",
        "nga_table_index",
        "nga_geometry_index",
        "nga_feature_tile_link",
    }


def _masters(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    # Shadow tables of virtual ones cannot be told from others before SQLite 3.37; rtree_* covers
    # what GeoPackages hold.
    return connection.execute(
        "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY rowid"
    ).fetchall()


def _other_kind(connection: sqlite3.Connection, folded: set[str]) -> str:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application == _ESRI_APPLICATION_ID or "gdb_items" in folded:
        return ": it is a mobile geodatabase, whose name ends in .geodatabase"
    if "tiles" in folded and "metadata" in folded:
        return ": it is an MBTiles file, which holds map tiles and no photos"
    if "geometry_columns" in folded:
        return ": it is a SpatiaLite file; convert it with ogr2ogr -f GPKG"
    return ": it has no table gpkg_contents"


def _data_types(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT table_name, data_type FROM gpkg_contents")
    return {_fold(name): data_type or "" for name, data_type in rows}


def _geometries(connection: sqlite3.Connection) -> dict[str, Geometry]:
    rows = connection.execute(
        "SELECT table_name, column_name, geometry_type_name, srs_id FROM gpkg_geometry_columns"
    )
    return {
        _fold(table): Geometry(column=column, type_name=type_name, srs_id=srs_id)
        for table, column, type_name, srs_id in rows
    }


def _read_table(
    connection: sqlite3.Connection,
    name: str,
    is_view: bool,  # noqa: FBT001
    contents: Mapping[str, str],
    geometries: Mapping[str, Geometry],
) -> Table:
    try:
        rows = connection.execute(
            "SELECT name, type, pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid", (name,)
        ).fetchall()
    except sqlite3.OperationalError:  # a view on tables that are gone, a module not known here
        rows = []
    columns = tuple(
        Column(name=column, declared=(kind or "").upper(), primary=pk > 0, generated=hidden > 1)
        for column, kind, pk, hidden in rows
        if hidden != 1
    )
    return Table(
        name=name,
        is_view=is_view,
        key=_view_key(columns) if is_view else _key(connection, name, columns),
        columns=columns,
        data_type=contents.get(_fold(name), ""),
        geometry=geometries.get(_fold(name)),
    )


def _key(connection: sqlite3.Connection, name: str, columns: tuple[Column, ...]) -> str | None:
    primary = [column for column in columns if column.primary]
    if len(primary) == 1 and primary[0].declared == "INTEGER":
        return primary[0].name
    taken = {_fold(column.name) for column in columns}
    key = next((alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken), None)
    if key is None:
        return None
    try:
        # Unquoted: in quotes, a name that is no column is a string to SQLite, not an error.
        connection.execute(f"SELECT {key} FROM {quote(name)} LIMIT 0")
    except sqlite3.OperationalError:  # WITHOUT ROWID
        return None
    return key


def _view_key(columns: tuple[Column, ...]) -> str | None:
    """The column of a view that most likely numbers its rows; whether it does is checked later."""
    by_name = {_fold(column.name): column.name for column in columns}
    return next((by_name[name] for name in _VIEW_KEYS if name in by_name), None)
