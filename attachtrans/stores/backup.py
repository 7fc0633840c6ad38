"""Originals kept aside before a photo is overwritten, and found again for `--restart`.

A GeoPackage is copied whole with SQLite's online backup, which keeps every rowid (VACUUM INTO
renumbers bare ones) and works while others read and write. The copy is made once; originals that
come later (photos added since) are added to it in a table of ours. Files get a second hard link,
which costs no space: overwriting puts a new file in the old one's place.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from attachtrans.errors import SinkError
from attachtrans.journal import digest_of
from attachtrans.stores.content import content_of
from attachtrans.stores.durable import digest_of_file, link_or_copy, sync_folder
from attachtrans.stores.geodatabase.kinds import is_geodatabase
from attachtrans.stores.geopackage import connect, quote
from attachtrans.stores.photos import Place

_PAGES_PER_STEP = 4096
_LATER = "attachtrans_originals"


def kept_stem(path: Path, folder: Path) -> str:
    """How the names of a source's journal and backup begin in a folder: as its own name.

    In a work folder it bears a mark as well, for files of one name from several folders may share
    that. A link and what it leads to have one backup.
    """
    real = path.resolve()
    stem = real.name if real.is_dir() and not is_geodatabase(real) else real.stem
    if folder.resolve() == real.parent:
        return stem
    return f"{stem}-{digest_of(os.fsencode(real))[:8]}"


def backup_path(path: Path, folder: Path) -> Path:
    """Where the copy of a GeoPackage or geodatabase goes: `photos.gpkg` -> `photos.bak.gpkg`."""
    return folder / f"{kept_stem(path, folder)}.bak{path.resolve().suffix}"


def backup_folder(path: Path, folder: Path) -> Path:
    """Where the originals of photo files go: `photos.gpkg` -> `photos.bak/`."""
    return folder / f"{kept_stem(path, folder)}.bak"


class BlobBackup:
    """The originals of the photos in a GeoPackage."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        """Open an existing backup; `fresh` says that it was made just now, for this run."""
        self._path = path
        self._fresh = fresh
        self._connection = connect(path, write=True)
        self._connection.execute("PRAGMA synchronous = FULL")

    @classmethod
    def make(
        cls, source: Path, target: Path, progress: Callable[[int, int], None] | None = None
    ) -> BlobBackup:
        """Copy a GeoPackage; only a complete copy ever bears the name `target`.

        progress is called with (pages done, pages in all). Raises SinkError when there is no room.
        """
        partial = target.with_name(target.name + ".part")
        try:
            partial.unlink(missing_ok=True)
            _copy_database(source, partial, progress)
            partial.replace(target)
        except (sqlite3.Error, OSError) as error:
            partial.unlink(missing_ok=True)
            message = (
                f"the backup {target} cannot be written: {error}. Nothing was changed. Free disk "
                "space or put it elsewhere with --work-dir; --no-backup goes on without one."
            )
            raise SinkError(message) from error
        sync_folder(target.parent)
        return cls(target, fresh=True)

    def ensure(
        self, place: Place, key: str, digest: str, value: Callable[[], bytes | str | None]
    ) -> None:
        """See to it that the original with this digest is kept; `value` gives its column."""
        if self._fresh or self._in_copy(place, digest):
            return
        try:
            self._connection.execute(
                f"CREATE TABLE IF NOT EXISTS {_LATER} (key TEXT, digest TEXT, data BLOB, "
                "PRIMARY KEY (key, digest))"
            )
            self._connection.execute(
                f"INSERT OR IGNORE INTO {_LATER} VALUES (?, ?, ?)",
                (key, digest, value()),
            )
        except sqlite3.Error as error:
            message = (
                f"the original of {key} cannot be added to the backup {self._path}: {error}. The "
                "photo was not touched."
            )
            raise SinkError(message) from error

    def _in_copy(self, place: Place, digest: str) -> bool:
        content = self._column(place, place.table.data)
        return content is not None and digest_of(content_of(content)) == digest

    def _column(self, place: Place, column: str) -> bytes | str | None:
        row = self._connection.execute(
            f"SELECT {quote(column)} FROM {quote(place.table.table)} "
            f"WHERE {quote(place.table.key)} = ?",
            (place.row,),
        ).fetchone()
        return row[0] if row else None

    def original(self, place: Place, key: str, digest: str) -> dict[str, object] | None:
        """The columns to put back, None when this original is not in the backup."""
        table = place.table
        if self._in_copy(place, digest):
            names = [n for n in (table.data, table.size, table.content_type, table.name) if n]
            return {name: self._column(place, name) for name in names}
        exists = self._connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = ?", (_LATER,)
        ).fetchone()
        row = (
            exists
            and self._connection.execute(
                f"SELECT data FROM {_LATER} WHERE key = ? AND digest = ?",
                (key, digest),
            ).fetchone()
        )
        if not row:
            return None
        size = {table.size: len(content_of(row[0]))} if table.size else {}
        return {table.data: row[0]} | size

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def _copy_database(source: Path, target: Path, progress: Callable[[int, int], None] | None) -> None:
    def report(_: int, left: int, total: int) -> None:
        if progress:
            progress(total - left, total)

    reader = connect(source)
    copy = sqlite3.connect(target)
    try:
        reader.backup(copy, pages=_PAGES_PER_STEP, progress=report)
        # A WAL database's copy would need its -wal: make it one self-contained file.
        copy.execute("PRAGMA journal_mode = DELETE")
    finally:
        copy.close()
        reader.close()
    with target.open("rb+") as file:
        os.fsync(file.fileno())


class FileBackup:
    """The originals of photo files, under their keys."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _place(self, key: str, digest: str) -> Path:
        # A second original under the same name (somebody put a new photo there) has its digest
        # in its name.
        # Keys are relative to the GeoPackage; the base folder may lie above or beside it.
        parts = ["_up" if part == ".." else part.replace(":", "_") for part in key.split("/")]
        first = self._folder.joinpath(*[part for part in parts if part])
        if first.exists() and digest_of_file(first) != digest:
            return first.with_name(f"{first.name}~{digest[:12]}")
        return first

    def ensure(self, path: Path, key: str, digest: str) -> None:
        """Keep the original with this digest; one that is there is never rewritten."""
        try:
            link_or_copy(path, self._place(key, digest))
        except OSError as error:
            message = (
                f"the backup of {path} cannot be written to {self._folder}: {error}. The photo was "
                "not touched. Put backups elsewhere with --work-dir; --no-backup goes on without."
            )
            raise SinkError(message) from error

    def original(self, key: str, digest: str) -> bytes | None:
        """The original with this digest, None when it is not in the backup."""
        place = self._place(key, digest)
        return place.read_bytes() if place.exists() else None


def remove_backup(copy: Path | None, folder: Path) -> None:
    """Delete both kinds of backup, as `--secure` asks for."""
    for path in (copy, folder):
        if path is not None and path.is_dir():
            shutil.rmtree(path)
        elif path is not None:
            path.unlink(missing_ok=True)
    sync_folder(folder.parent)
