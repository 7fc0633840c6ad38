"""How far a raster is written: a small side file, and the lock against a second run.

The side file is an SQLite database in exclusive locking mode, as the journal of photos is: an
operating-system lock that a killed process cannot leave behind, and commits that are durable or
did not happen. It holds the identity of the job, the bytes of the raster's header as they were
before any pixel, and where each tile lies that was durable when it was last committed.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from attachtrans.errors import BusyError, SinkError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS progress (
  job TEXT NOT NULL, done INTEGER NOT NULL, nbytes INTEGER NOT NULL, header BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS tile (
  page INTEGER NOT NULL, number INTEGER NOT NULL, offset INTEGER NOT NULL, nbytes INTEGER NOT NULL,
  PRIMARY KEY (page, number)) WITHOUT ROWID;
"""


class Tile(NamedTuple):
    """Where an encoded tile lies: page 0 is the image, 1 its mask."""

    page: int
    number: int
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What was durable at the last checkpoint.

    job     identity of what is written
    done    blocks that are complete
    nbytes  of the file; what lies behind was written later
    header  the file's first bytes, as they were before any pixel
    """

    job: str
    done: int
    nbytes: int
    header: bytes


class Checkpoints:
    """The open side file of one raster; holds the lock until it is closed."""

    def __init__(self, path: Path, target: Path) -> None:
        """Open or create the side file at `path`.

        Raises:
            BusyError: another run is writing `target`.
            SinkError: the side file cannot be written.
        """
        self.path, self._target = path, target
        self._connection = self._open()
        # A run that just ended may have removed the name between our opening and our locking.
        if not path.exists():
            self._connection.close()
            self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, timeout=0.2
            )
            try:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN EXCLUSIVE")
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute("COMMIT")
            except sqlite3.Error:
                connection.close()
                raise
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise BusyError(
                    f"another run is writing {self._target} (it holds {self.path.name}). Wait for "
                    "it to end, stop it, or name another output."
                ) from error
            raise SinkError(f"{self._target} cannot be written: {self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise SinkError(
                f"{self.path} is not what attachtrans left there: {error}. Remove it."
            ) from error
        return connection

    def progress(self) -> Progress | None:
        """What the last run left, None when there was none."""
        row = self._connection.execute(
            "SELECT job, done, nbytes, header FROM progress WHERE done > 0"
        ).fetchone()
        return row and Progress(job=row[0], done=row[1], nbytes=row[2], header=row[3])

    def tiles(self) -> Iterable[Tile]:
        """Where the tiles lie that were durable at the last checkpoint."""
        rows = self._connection.execute("SELECT page, number, offset, nbytes FROM tile")
        return (Tile(*row) for row in rows)

    def begin(self, job: str, header: bytes) -> None:
        """Forget all and begin a job."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM tile")
            connection.execute("DELETE FROM progress")
            connection.execute(
                "INSERT INTO progress (job, done, nbytes, header) VALUES (?, 0, ?, ?)",
                (job, len(header), header),
            )

    def record(self, done: int, nbytes: int, tiles: Iterable[Tile]) -> None:
        """Commit that `nbytes` of the file are durable, with these further tiles among them."""
        with self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO tile VALUES (?, ?, ?, ?)", tiles)
            connection.execute("UPDATE progress SET done = ?, nbytes = ?", (done, nbytes))

    def close(self) -> None:
        """Give the lock back; what was recorded stays."""
        self._connection.close()

    def discard(self) -> None:
        """Remove the side file and give the lock back."""
        try:  # while the lock is held, so that nobody gets between
            # SQLite keeps its empty journal while it locks; alone it would stay after a crash here.
            self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
        except PermissionError:  # Windows removes no open files
            self._connection.close()
            self.path.unlink(missing_ok=True)
        else:
            self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise OSError(f"{self.path.name}: {error}") from error
