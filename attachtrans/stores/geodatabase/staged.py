"""Results on their way into a file geodatabase: durable one by one, put in all together.

A geodatabase can only be changed as a whole (see `edition`). Until then each result waits in an
SQLite file beside it, so a run that is killed loses none; the next run puts them in first.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from attachtrans.errors import SinkError
from attachtrans.journal import digest_of
from attachtrans.stores.durable import sync_folder

_SCHEMA = """
CREATE TABLE IF NOT EXISTS staged (
  "table" TEXT NOT NULL, row INTEGER NOT NULL, "column" TEXT NOT NULL, digest_in TEXT NOT NULL,
  digest_out TEXT NOT NULL, data BLOB NOT NULL, beside TEXT NOT NULL, PRIMARY KEY ("table", row))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """New content of one photo.

    table, row, column  where it goes
    digest_in           of the content that it replaces, digest_out its own (SHA-256 in hex)
    beside              further columns of the row that follow it
    """

    table: str
    row: int
    column: str
    digest_in: str
    digest_out: str
    beside: Mapping[str, str | int]


def staged_path(path: Path) -> Path:
    """Where the results for a geodatabase wait."""
    real = path.resolve()
    return real.with_name(f".{real.name}.attachtrans-staged")


class Staged:
    """The results that wait for one geodatabase."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises SinkError."""
        self._file = staged_path(path)
        self._closed = False
        try:
            self._connection = sqlite3.connect(
                self._file, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error) -> SinkError:
        return SinkError(
            f"{self._file} cannot be written: {error}. The geodatabase is as it was; put this "
            "right and run the same command again."
        )

    def put(self, change: Change, data: bytes) -> None:
        """Keep a result; one for the same photo is replaced. Durable when it returns."""
        try:
            self._connection.execute(
                "INSERT OR REPLACE INTO staged VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    change.table,
                    change.row,
                    change.column,
                    change.digest_in,
                    change.digest_out,
                    data,
                    json.dumps(change.beside),
                ),
            )
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def __iter__(self) -> Iterator[Change]:
        """What waits, by table and row."""
        rows = self._connection.execute(
            'SELECT "table", row, "column", digest_in, digest_out, beside FROM staged ORDER BY 1, 2'
        ).fetchall()
        for table, row, column, digest_in, digest_out, beside in rows:
            yield Change(
                table=table,
                row=row,
                column=column,
                digest_in=digest_in,
                digest_out=digest_out,
                beside=json.loads(beside),
            )

    def data(self, table: str, row: int) -> bytes | None:
        """The content that waits for a photo, None where none does."""
        found = self._connection.execute(
            'SELECT data FROM staged WHERE "table" = ? AND row = ?', (table, row)
        ).fetchone()
        return None if found is None else bytes(found[0])

    def whole(self, change: Change) -> bytes:
        """The content of a change. Raises SinkError when the file was damaged."""
        data = self.data(change.table, change.row)
        if data is None or digest_of(data) != change.digest_out:
            raise SinkError(
                f"{self._file} is damaged: {change.table} row {change.row} is not what was put "
                "there. The geodatabase is as it was; delete that file and run the command again."
            )
        return data

    def clear(self) -> None:
        """Forget everything: it is in the geodatabase."""
        self._connection.execute("DELETE FROM staged")

    def close(self) -> None:
        """Let go of the file; an empty one goes."""
        if self._closed:
            return
        self._closed = True
        (rows,) = self._connection.execute("SELECT count(*) FROM staged").fetchone()
        self._connection.close()
        if not rows:
            self._file.unlink(missing_ok=True)
            sync_folder(self._file.parent)
