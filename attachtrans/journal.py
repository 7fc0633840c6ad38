"""The journal: what makes "each photo is either original or translated once" true.

A side SQLite file beside the data (or in a work folder). An entry with the digests before and
after is committed here BEFORE the photo itself is committed. So after any crash a photo's current
digest tells where it stands: equal to `digest_in` it is still original, equal to `digest_out` it
is translated. Nothing is written to the user's data to know that.

The open journal is also the lock against a second run: SQLite's exclusive locking mode holds an
operating-system lock that a killed process cannot leave behind.

A job is a model fingerprint (weights and arguments that change pixels) and a generation. `--again`
starts a new generation once the last one has been finished; before that it goes on with it, so
that an interrupted `--again` does not translate a photo a third time.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from attachtrans.errors import BusyError, SinkError

SUFFIX = ".attachtrans"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
  id INTEGER PRIMARY KEY, source TEXT NOT NULL, fingerprint TEXT NOT NULL, generation INTEGER
  NOT NULL, model TEXT NOT NULL, arguments TEXT NOT NULL, version TEXT NOT NULL,
  started TEXT NOT NULL, finished TEXT, UNIQUE (fingerprint, generation));
CREATE TABLE IF NOT EXISTS entry (
  id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES job, "table" TEXT NOT NULL,
  key TEXT NOT NULL, digest_in TEXT NOT NULL, digest_out TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('intent', 'done', 'restored')), time TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS entry_digest_out ON entry (digest_out);
CREATE INDEX IF NOT EXISTS entry_key ON entry (key);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDescription:
    """What a job is: where, with which model, how. `arguments` is JSON text."""

    source: str
    fingerprint: str
    model: str
    arguments: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One photo of a job: its table, key and digests (SHA-256 in hex) before and after.

    Where results are files of a folder, the table is the path of the file below it.
    """

    table: str
    key: str
    digest_in: str
    digest_out: str


def digest_of(data: bytes | memoryview) -> str:
    """SHA-256 in hex, by which contents are known here."""
    return hashlib.sha256(data).hexdigest()


def now() -> str:
    """The present moment in UTC, as GeoPackage writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Journal:
    """One open journal; holds the lock until it is closed. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open or create the journal at `path`.

        Raises BusyError when another run holds it, SinkError when it cannot be written.
        """
        self.path = path
        self._lock = threading.RLock()
        self._job: int | None = None
        self._connection = self._open(path)
        (jobs,) = self._connection.execute("SELECT count(*) FROM job").fetchone()
        self.is_new = jobs == 0
        """Whether no run has used it before."""

    @staticmethod
    def _open(path: Path) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=1
            )
            try:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                # Every commit reaches the main file before the photo is touched, so that losing
                # the -wal file (a user copies only what he knows) loses no entry that matters.
                connection.execute("PRAGMA wal_autocheckpoint = 1")
                connection.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute("COMMIT")
            except sqlite3.Error:
                connection.close()
                raise
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                message = (
                    f"another run of attachtrans is at work on this data (it holds {path}). "
                    "Wait for it to end, or stop it; nothing was changed by this run."
                )
                raise BusyError(message) from error
            message = (
                f"the journal {path} cannot be written: {error}. Make its folder writable or name "
                "another one with --work-dir."
            )
            raise SinkError(message) from error
        except sqlite3.DatabaseError as error:
            message = (
                f"{path} is not a journal of attachtrans: {error}. Move it away if it is not "
                "yours; without its journal a run cannot know what is translated already."
            )
            raise SinkError(message) from error
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._connection.execute("ROLLBACK")
                message = f"the journal {self.path} cannot be written: {error}"
                raise SinkError(message) from error

    def begin(self, description: JobDescription, *, again: bool) -> None:
        """Take up the job: go on with its last generation, or start one.

        `again` starts a new generation when the last one was finished.
        """
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT id, generation, finished FROM job WHERE fingerprint = ? "
                "ORDER BY generation DESC LIMIT 1",
                (description.fingerprint,),
            ).fetchone()
            if row and not (again and row[2]):
                self._job = row[0]
                return
            cursor = connection.execute(
                "INSERT INTO job (source, fingerprint, generation, model, arguments, version, "
                "started) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    description.source,
                    description.fingerprint,
                    row[1] + 1 if row else 1,
                    description.model,
                    description.arguments,
                    description.version,
                    now(),
                ),
            )
            self._job = cursor.lastrowid

    def look_at(self, fingerprint: str) -> None:
        """Take up the last generation of a job for asking only; nothing is written."""
        with self._lock:
            row = self._connection.execute(
                "SELECT id FROM job WHERE fingerprint = ? ORDER BY generation DESC LIMIT 1",
                (fingerprint,),
            ).fetchone()
        self._job = row[0] if row else None

    def finish(self) -> None:
        """Note that every photo of the job was dealt with."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE entry SET state = 'done' WHERE job = ? AND state = 'intent'", (self._job,)
            )
            connection.execute("UPDATE job SET finished = ? WHERE id = ?", (now(), self._job))

    def record(self, entry: Entry) -> None:
        """Commit the intent to replace a photo. Returns once it is on disk.

        The photo before it has been committed by now, so it is marked done in the same
        transaction instead of in one of its own.
        """
        with self._transaction() as connection:
            connection.execute(
                "UPDATE entry SET state = 'done' WHERE id = "
                "(SELECT max(id) FROM entry WHERE job = ?) AND state = 'intent'",
                (self._job,),
            )
            connection.execute(
                'INSERT INTO entry (job, "table", key, digest_in, digest_out, state, time) '
                "VALUES (?, ?, ?, ?, ?, 'intent', ?)",
                (self._job, entry.table, entry.key, entry.digest_in, entry.digest_out, now()),
            )

    def is_done(self, digest: str) -> bool:
        """Whether this content is a result of the present job and generation."""
        return self._exists("digest_out = ? AND job = ?", (digest, self._job))

    def is_result_of(self, digest: str, fingerprint: str) -> bool:
        """Whether this content is a result of a job with this fingerprint, of any generation."""
        condition = "digest_out = ? AND job IN (SELECT id FROM job WHERE fingerprint = ?)"
        return self._exists(condition, (digest, fingerprint))

    def is_known(self, digest: str) -> bool:
        """Whether this content is a result of any job in this journal."""
        return self._exists("digest_out = ?", (digest,))

    def _exists(self, condition: str, values: tuple[object, ...]) -> bool:
        query = f"SELECT 1 FROM entry WHERE state <> 'restored' AND {condition} LIMIT 1"
        with self._lock:
            return self._connection.execute(query, values).fetchone() is not None

    def result(self, key: str, digest_in: str) -> tuple[str, str] | None:
        """(table, digest_out) of what the present job made of this content, the latest."""
        with self._lock:
            row: tuple[str, str] | None = self._connection.execute(
                'SELECT "table", digest_out FROM entry WHERE key = ? AND digest_in = ? '
                "AND job = ? AND state <> 'restored' ORDER BY id DESC LIMIT 1",
                (key, digest_in, self._job),
            ).fetchone()
        return row

    def keys_by_table(self) -> dict[str, set[str]]:
        """The keys whose results the present job put into each table (for a folder: file)."""
        with self._lock:
            rows = self._connection.execute(
                'SELECT "table", key FROM entry WHERE job = ?', (self._job,)
            ).fetchall()
        found: dict[str, set[str]] = {}
        for table, key in rows:
            found.setdefault(table, set()).add(key)
        return found

    def story(self, key: str) -> tuple[str | None, set[str]]:
        """The digest of a photo's original, and those of every result that it was given.

        An original is what was translated without being a result itself; the latest one counts
        (somebody may have put a new photo in an old one's place).
        """
        with self._lock:
            rows = self._connection.execute(
                "SELECT digest_in, digest_out FROM entry WHERE key = ? AND state <> 'restored' "
                "ORDER BY id",
                (key,),
            ).fetchall()
        origin: str | None = None
        results: set[str] = set()
        for digest_in, digest_out in rows:
            if digest_in not in results:
                origin = digest_in
            results.add(digest_out)
        return origin, results

    def results(self) -> dict[str, set[str]]:
        """The digests that the present job gave each key."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT key, digest_out FROM entry WHERE job = ? AND state <> 'restored'",
                (self._job,),
            ).fetchall()
        found: dict[str, set[str]] = {}
        for key, digest in rows:
            found.setdefault(key, set()).add(digest)
        return found

    def mark_restored(self, keys: list[str]) -> None:
        """Note that these photos hold their originals again."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE entry SET state = 'restored' WHERE key = ?", [(key,) for key in keys]
            )

    def discard_if_empty(self) -> None:
        """Give the lock back and delete the file, if no photo was ever recorded in it.

        For runs that needed the lock only: an output tells by itself what it holds.
        """
        with self._lock:
            (entries,) = self._connection.execute("SELECT count(*) FROM entry").fetchone()
        self.close()
        if not entries:
            for side in ("-wal", "-shm", ""):
                self.path.with_name(self.path.name + side).unlink(missing_ok=True)

    def close(self) -> None:
        """Give the lock back."""
        with self._lock:
            self._connection.close()
