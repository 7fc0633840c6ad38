from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from attachtrans.errors import SourceError
from attachtrans.stores.geopackage import connect, quote, read_blob, read_schema, reading, same
from tests.stores.gpkg import JPEG, Gpkg, point

NAMES = ['we"ird; drop', "'single'", "Bäume — süd", "1st", "select", "a" * 120, "%?#& x", "日本"]


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    file = Gpkg(tmp_path / "trees.gpkg")
    file.layer("trees", "name TEXT", [(1, point(1, 2), "a"), (2, None, None)])
    return file.done()


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user whom chmod stops, even when the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that everybody may enter, unlike those above it."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    return tmp_path


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda _: None, "no such file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(JPEG), "not an SQLite file"),
        (lambda path: sqlite3.connect(path).execute("CREATE TABLE t (a)"), "not a GeoPackage"),
        (
            lambda path: sqlite3.connect(path).execute("CREATE TABLE GDB_Items (a)"),
            "mobile geodatabase",
        ),
        (
            lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000),
            "cannot be opened",
        ),
    ],
)
def test_what_is_no_geopackage_is_named(tmp_path: Path, make, says: str) -> None:
    path = tmp_path / "x.gpkg"
    made = make(path)
    if isinstance(made, sqlite3.Cursor):
        made.connection.close()
    with pytest.raises(SourceError, match=says), reading(path) as connection:
        read_schema(connection, path)


def test_a_file_geodatabase_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.gdb").mkdir()
    with pytest.raises(SourceError, match="file geodatabase can only be read where a source"):
        connect(tmp_path / "a.gdb")


def test_a_damaged_file_is_a_source_error(trees: Path) -> None:
    data = bytearray(trees.read_bytes())
    data[4096:] = b"\x55" * (len(data) - 4096)
    trees.write_bytes(data)
    with pytest.raises(SourceError, match=r"damaged|cannot be"), reading(trees) as connection:
        read_schema(connection, trees)


def test_reading_cannot_write(trees: Path) -> None:
    connection = connect(trees)
    with pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM trees")
    connection.close()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_reading_a_wal_file_leaves_nothing_behind(trees: Path) -> None:
    connection = sqlite3.connect(trees)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    before = files(trees.parent)
    connection = connect(trees)
    assert connection.execute("SELECT count(*) FROM trees").fetchone() == (2,)
    with pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM trees")
    connection.close()
    assert files(trees.parent) == before


CRASH = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=" + sys.argv[2])
connection.execute("PRAGMA cache_size=1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("CREATE TABLE IF NOT EXISTS more (a)")
for i in range(200):
    connection.execute("INSERT INTO more VALUES (zeroblob(4000))")
connection.execute("UPDATE trees SET name = 'half'")
if sys.argv[3] == "commit":
    connection.execute("COMMIT")
os._exit(9)
"""


def crash(path: Path, mode: str, end: str) -> None:
    done = subprocess.run([sys.executable, "-c", CRASH, str(path), mode, end], check=False)
    assert done.returncode == 9


def test_a_hot_journal_is_rolled_back(trees: Path) -> None:
    crash(trees, "delete", "kill")
    assert (trees.parent / "trees.gpkg-journal").exists()
    connection = connect(trees)
    assert connection.execute("SELECT name FROM trees WHERE fid = 1").fetchone() == ("a",)
    connection.close()


def test_commits_in_a_leftover_wal_are_seen(trees: Path) -> None:
    crash(trees, "wal", "commit")
    connection = connect(trees)
    assert connection.execute("SELECT name FROM trees WHERE fid = 1").fetchone() == ("half",)
    connection.close()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_folder_without_write_is_read(trees: Path, open_folder: Path, mode: str) -> None:
    connection = sqlite3.connect(trees)
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.close()
    trees.chmod(0o444)
    open_folder.chmod(0o555)
    try:
        with without_rights():
            connection = connect(trees)
            assert connection.execute("SELECT count(*) FROM trees").fetchone() == (2,)
            connection.close()
    finally:
        open_folder.chmod(0o755)


def test_a_leftover_wal_where_nothing_can_be_written_is_named(
    trees: Path, open_folder: Path
) -> None:
    crash(trees, "wal", "commit")
    (open_folder / "trees.gpkg-shm").unlink()
    trees.chmod(0o444)
    (open_folder / "trees.gpkg-wal").chmod(0o444)
    open_folder.chmod(0o555)
    try:
        with without_rights(), pytest.raises(SourceError, match=r"trees\.gpkg-wal beside it"):
            connect(trees)
    finally:
        open_folder.chmod(0o755)


def test_a_file_without_permission_is_named(trees: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    with pytest.raises(SourceError, match="may not be written"):
        connect(trees, write=True)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SourceError, match="may not be read"):
        connect(trees)


@pytest.mark.parametrize("name", [*NAMES[:3], "%41?#& x"])
def test_file_names_are_taken_literally(trees: Path, name: str) -> None:
    path = trees.rename(trees.with_name(f"{name}.gpkg"))
    before = set(path.parent.iterdir())
    connection = connect(path)
    assert connection.execute("SELECT count(*) FROM trees").fetchone() == (2,)
    connection.close()
    assert set(path.parent.iterdir()) == before


@pytest.mark.parametrize("name", NAMES)
def test_names_of_tables_and_columns_are_quoted(tmp_path: Path, name: str) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer(name, f"{quote(name + '2')} TEXT", [(1, None, "v")])
    path = file.done()
    with reading(path) as connection:
        schema = read_schema(connection, path)
        (table,) = schema.tables
        assert (table.name, table.key) == (name, "fid")
        assert schema.table(name.upper() if name.isascii() else name) is table
        assert table.column(name + "2") is not None
        query = f"SELECT {quote(name + '2')} FROM {quote(table.name)}"
        assert connection.execute(query).fetchone() == ("v",)


def test_names_fold_ascii_only() -> None:
    assert same("TREES", "trees")
    assert not same("ÄRA", "ära")


def test_keys(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.table("plain", "id INTEGER PRIMARY KEY, a")
    file.table("late", "a, id INTEGER, PRIMARY KEY(id)")
    file.table("bare", "a TEXT")
    file.table("text", "id TEXT PRIMARY KEY")
    file.table("medium", "id MEDIUMINT PRIMARY KEY")
    file.table("own", "rowid TEXT, a")
    file.table("all", "rowid TEXT, _rowid_ TEXT, oid TEXT")
    file.table("without", "id TEXT PRIMARY KEY, a) WITHOUT ROWID; --")
    file.sql("CREATE VIEW seen AS SELECT id, a FROM plain")
    file.sql("CREATE VIEW unseen AS SELECT a FROM plain")
    file.sql("CREATE TABLE doomed (a)")
    file.sql("CREATE VIEW broken AS SELECT * FROM doomed")
    file.sql("DROP TABLE doomed")
    path = file.done()
    with reading(path) as connection:
        schema = read_schema(connection, path)
    assert {table.name: table.key for table in schema.tables} == {
        "plain": "id",
        "late": "id",
        "bare": "rowid",
        "text": "rowid",
        "medium": "rowid",
        "own": "_rowid_",
        "all": None,
        "without": None,
        "seen": "id",
        "unseen": None,
        "broken": None,
    }


def test_text_that_is_not_utf8_is_kept(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.table("t", "a TEXT")
    file.sql("INSERT INTO t VALUES (CAST(x'666fff' AS TEXT))")
    with reading(file.done()) as connection:
        (text,) = connection.execute("SELECT a FROM t").fetchone()
    assert os.fsencode(text) == b"fo\xff"


def test_rtree_triggers_of_gdal_run(tmp_path: Path) -> None:
    path = tmp_path / "rtree.gpkg"
    make = (
        "import fiona, sys\n"
        "schema = {'geometry': 'Point', 'properties': {'name': 'str'}}\n"
        "with fiona.open(sys.argv[1], 'w', driver='GPKG', schema=schema, crs='EPSG:4326',"
        " layer='trees') as out:\n"
        "    out.write({'geometry': {'type': 'Point', 'coordinates': (1, 2)},"
        " 'properties': {'name': 'a'}})\n"
    )
    subprocess.run([sys.executable, "-c", make, str(path)], check=True)
    connection = connect(path, write=True)
    connection.execute("UPDATE trees SET name = 'b'")
    connection.execute("INSERT INTO trees (geom, name) VALUES (?, 'c')", (point(-7.5, 3),))
    connection.execute("UPDATE trees SET geom = ? WHERE fid = 1", (point(8, 9),))
    rows = connection.execute("SELECT * FROM rtree_trees_geom ORDER BY id").fetchall()
    assert rows == [(1, 8, 8, 9, 9), (2, -7.5, -7.5, 3, 3)]
    connection.close()


def test_a_copy_without_its_wal_still_opens(trees: Path, tmp_path: Path) -> None:
    crash(trees, "wal", "commit")
    copy = tmp_path / "copy.gpkg"
    shutil.copy(trees, copy)
    connection = connect(copy)
    assert connection.execute("SELECT count(*) FROM trees").fetchone() == (2,)
    connection.close()


def test_a_blob_beside_generated_columns_is_the_right_one(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "g.db") as connection:
        connection.execute(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, g AS (upper(a)), d BLOB, e BLOB)"
        )
        connection.execute("INSERT INTO t (a, d, e) VALUES ('x', ?, ?)", (b"right", b"wrong"))
        assert read_blob(connection, "t", "d", 1) == b"right"
        assert read_blob(connection, "t", "d", 1, 3) == b"rig"
    connection.close()


@pytest.mark.parametrize("how", ["execute", "executemany"])
def test_ctrl_c_within_a_function_of_sql_is_ctrl_c(fixture_copy, how):
    """An index's triggers call functions for each feature that is added: it is likely there."""
    with closing(connect(fixture_copy("esri_globalid.gpkg"), write=True)) as connection:
        connection.create_function("stopped", 1, lambda _: signal.raise_signal(signal.SIGINT))
        connection.execute("CREATE TEMP TABLE some (value)")
        given = {"execute": (1,), "executemany": [(1,), (2,)]}[how]
        with pytest.raises(KeyboardInterrupt):
            getattr(connection, how)("INSERT INTO some VALUES (stopped(?))", given)
        assert connection.execute("SELECT count(*) FROM some").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            getattr(connection, how)("INSERT INTO none VALUES (?)", given)
