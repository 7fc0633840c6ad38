"""What is in a GeoPackage and its photo files, read by sqlite3 and Pillow alone."""

from __future__ import annotations

import ast
import base64
import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from PIL import Image

# Columns whose values are new in every run.
_MADE_UP = ("GlobalID", "GLOBALID", "REL_GLOBALID")
# What a run may leave beside the data.
OURS = (".attachtrans", ".bak", "-wal", "-shm", "-journal")


def geopackage_in(place: Path) -> Path:
    """The GeoPackage that a fixture is: the file itself, or the one in a project folder."""
    if place.is_file():
        return place
    (found,) = [path for path in place.rglob("*.gpkg") if ".bak." not in path.name]
    return found


def contents(place: Path) -> dict[str, bytes]:
    """Every BLOB (and base64 text) of a GeoPackage and every file around it, by key."""
    found: dict[str, bytes] = {}
    gpkg = geopackage_in(place)
    with closing(sqlite3.connect(gpkg)) as connection:
        found.update(_values(connection))
    if place.is_dir():
        for path in sorted(place.rglob("*")):
            parts = path.relative_to(place).parts
            ours = any(mark in part for part in parts for mark in OURS)
            if path.is_file() and path != gpkg and not ours:
                found[path.relative_to(place).as_posix()] = path.read_bytes()
    return found


def _values(connection: sqlite3.Connection) -> Iterator[tuple[str, bytes]]:
    tables = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'rtree_%' "
            "AND name NOT LIKE 'gpkg_%' AND name NOT LIKE 'sqlite_%'"
        )
    ]
    for table in tables:
        quoted = '"' + table.replace('"', '""') + '"'
        cursor = connection.execute(f"SELECT rowid, * FROM {quoted}")
        names = [column[0] for column in cursor.description][1:]
        for rowid, *row in cursor:
            for name, value in zip(names, row, strict=True):
                if isinstance(value, bytes):
                    yield f"{table}.{name}/{rowid}", value
                elif isinstance(value, str) and len(value) > 500:
                    yield f"{table}.{name}/{rowid}", _bytes_in(value)


def _bytes_in(text: str) -> bytes:
    if text.startswith("b'"):
        return bytes(ast.literal_eval(text))
    return base64.b64decode(text.rpartition("base64,")[2])


def everything_else(gpkg: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every table without photos, their sizes and change times."""
    rows: dict[str, list[tuple[object, ...]]] = {}
    with closing(sqlite3.connect(gpkg)) as connection:
        schema = connection.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
        ).fetchall()
        rows["sqlite_master"] = schema
        for kind, name, _, sql in schema:
            if kind != "table" or "VIRTUAL" in (sql or "") or name.startswith("sqlite_"):
                continue
            quoted = '"' + name.replace('"', '""') + '"'
            cursor = connection.execute(f"SELECT rowid, * FROM {quoted}")
            names = [column[0].lower() for column in cursor.description]
            rows[name] = [
                tuple(
                    "photo" if _is_photo(column, value) else value
                    for column, value in zip(names, row, strict=True)
                )
                for row in cursor
            ]
    return rows


def _is_photo(column: str, value: object) -> bool:
    if column in ("data_size", "last_change"):
        return True
    if isinstance(value, bytes):
        return value[:2] != b"GP"
    return isinstance(value, str) and len(value) > 500


def size_of(data: bytes) -> tuple[int, int] | None:
    """Stored width and height of an image that can be decoded whole, None for all else."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return image.size
    except Exception:  # noqa: BLE001 - Pillow raises many kinds for what is no image
        return None


def judge(before: dict[str, bytes], after: dict[str, bytes], *, scale: int = 2) -> dict[str, str]:
    """ "original", "once" or what is wrong, for every content that was there before."""
    verdicts = {}
    for key, original in before.items():
        now = after.get(key)
        if now == original:
            verdicts[key] = "original"
            continue
        old, new = size_of(original), size_of(now or b"")
        if old and new and new == (old[0] * scale, old[1] * scale):
            verdicts[key] = "once"
        else:
            verdicts[key] = f"wrong: {old} -> {new}, {len(original)} -> {len(now or b'')} bytes"
    return verdicts


def appended(gpkg: Path, *, strict: bool = False) -> dict[str, object]:
    """What a run added to an output: rows by table and key, photo files by name.

    Keys that are made up anew in each run are replaced by the feature that they name. With
    `strict`, nothing else may lie around, such as a temporary file.
    """
    found: dict[str, object] = {}
    with closing(sqlite3.connect(gpkg)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert not connection.execute("PRAGMA foreign_key_check").fetchall()
        guids: dict[object, str] = {}
        rows = dict(_rows(connection))
        for key, row in rows.items():
            if "GlobalID" in row:
                guids[row["GlobalID"]] = key
        for key, row in rows.items():
            found[key] = tuple(
                guids.get(value, "made up") if name in _MADE_UP else value
                for name, value in row.items()
            )
    for path in gpkg.parent.rglob("*"):
        if path.is_file() and path.parent != gpkg.parent:
            if path.name.endswith(".attachtrans-tmp"):
                assert not strict, path
            else:
                found[f"file {path.relative_to(gpkg.parent)}"] = path.read_bytes()
    return found


def _rows(connection: sqlite3.Connection) -> Iterator[tuple[str, dict[str, object]]]:
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'gpkg_%' "
        "AND name NOT LIKE 'rtree_%' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    ).fetchall()
    for (table,) in tables:
        quoted = '"' + table.replace('"', '""') + '"'
        cursor = connection.execute(f"SELECT rowid, * FROM {quoted}")
        names = [column[0] for column in cursor.description][1:]
        for rowid, *row in cursor:
            yield f"{table}/{rowid}", dict(zip(names, row, strict=True))
