"""One photo replaced: in a transaction, or by renaming a complete file over the old one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attachtrans.errors import BusyError, ChangedError, ImageError, SinkError, SourceError
from attachtrans.journal import digest_of
from attachtrans.stores.content import content_of, value_like
from attachtrans.stores.durable import digest_of_file, is_on_network, link_over, replace_file
from attachtrans.stores.geopackage import connect, quote
from attachtrans.stores.photos import Place
from attachtrans.stores.registry import has_table, touch
from attachtrans.types import Draft

_PATIENCE_S = 30.0
_SCRUB, _SCRUB_BYTES = "attachtrans_scrub", 64 << 20


def _changed(draft: Draft) -> ChangedError:
    return ChangedError(
        f"{draft.item.key} was changed by another program while it was translated; the other "
        "program's version stays. Run the same command again to translate it."
    )


class BlobWriter:
    """Replaces blobs in a GeoPackage or a mobile geodatabase, in place."""

    def __init__(self, path: Path, *, secure: bool) -> None:
        """Open for writing; raises BusyError when somebody else holds the file.

        secure: zero what is freed, and insist on an empty -wal file at the end.
        """
        self._path = path
        self._secure = secure
        self._notes: list[str] = []
        self._connection = connect(path, write=True)
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        patience = f"PRAGMA busy_timeout = {int(_PATIENCE_S * 1000)}"
        self._connection.execute(patience)
        with self._transaction():
            pass  # somebody else's edit session makes this wait, and fail in the end
        self._is_geopackage = has_table(self._connection, "gpkg_contents")
        (self._mode,) = self._connection.execute("PRAGMA journal_mode").fetchone()
        if not is_on_network(self._path):
            # A reader in rollback mode can hold this up; that mode is as safe, only slower.
            self._connection.execute("PRAGMA busy_timeout = 2000")
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                self._notes.append(f"{self._path.name} is open elsewhere: written without WAL")
            self._connection.execute(patience)
        self._connection.execute("PRAGMA synchronous = FULL")
        if self._secure:
            self._connection.execute("PRAGMA secure_delete = ON")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise self._explained(error) from error
            raise

    def _explained(self, error: sqlite3.OperationalError) -> SinkError:
        if "locked" in str(error) or "busy" in str(error):
            return BusyError(
                f"{self._path} has been locked by another program for {_PATIENCE_S:.0f} s. Save or "
                "end its edit session and run the same command again; every photo is either "
                "original or translated."
            )
        return SinkError(
            f"{self._path} cannot be written: {error}. Every photo is either original or "
            "translated; put this right and run the same command again."
        )

    def value(self, place: Place) -> bytes | str | None:
        """What the data column holds now, as it is stored; None when the row is gone."""
        table = place.table
        row = self._connection.execute(
            f"SELECT {quote(table.data)} FROM {quote(table.table)} WHERE {quote(table.key)} = ?",
            (place.row,),
        ).fetchone()
        return row[0] if row else None

    def digest(self, place: Place) -> str | None:
        """SHA-256 of what the photo holds now, None when it is gone."""
        return _digest_of_value(self.value(place))

    def replace(self, draft: Draft, place: Place) -> None:
        """Replace one photo, if it still holds what was translated.

        Raises ChangedError, ImageError (this photo), BusyError, SinkError (all of them).
        """
        table = place.table
        with self._transaction():
            before = self.value(place)
            if _digest_of_value(before) != draft.digest_in:
                raise _changed(draft)
            columns: dict[str, object] = {
                table.data: value_like(draft.data, before, draft.media_type)
            }
            if table.size:
                columns[table.size] = len(draft.data)
            if draft.reformatted and table.content_type:
                columns[table.content_type] = draft.media_type
            if draft.reformatted and table.name:
                columns[table.name] = str(Path(draft.item.name).with_suffix(draft.extension))
            self._update(place, columns)

    def restore(self, place: Place, original: Mapping[str, object]) -> None:
        """Put these columns of an original back."""
        with self._transaction():
            self._update(place, original)

    def _update(self, place: Place, columns: Mapping[str, object]) -> None:
        table = place.table.table
        assignments = ", ".join(f"{quote(name)} = ?" for name in columns)
        try:
            self._connection.execute(
                f"UPDATE {quote(table)} SET {assignments} WHERE {quote(place.table.key)} = ?",
                (*columns.values(), place.row),
            )
        except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError) as error:
            message = f"the result does not fit into {table} row {place.row}: {error}"
            raise ImageError(message) from error
        if self._is_geopackage:
            touch(self._connection, table)

    def finish(self) -> tuple[str, ...]:
        """Check the file and bring back its journal mode. Raises SinkError, BusyError."""
        connection = self._connection
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            message = (
                f"{self._path} does not pass SQLite's check: {found}. Keep the backup and the "
                "journal; do not go on with this file."
            )
            raise SinkError(message)
        if self._secure:
            self._scrub()
        if self._leave_wal() and self._secure:
            message = (
                f"{self._path} is open in another program, so its -wal file, which may hold "
                "originals, cannot be emptied. Close that program and run the same command again."
            )
            raise BusyError(message)
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        if free * page >= 1 << 20 and self._is_geopackage:
            self._notes.append(
                f"{free * page / 1e6:.0f} MB inside {self._path.name} are free for reuse; "
                "--vacuum gives them back"
            )
        return tuple(self._notes)

    def _scrub(self) -> None:
        """Zero the free pages: earlier runs may have freed originals without doing so.

        A table that takes them all up is made and dropped under secure_delete, in one transaction.
        """
        (page,) = self._connection.execute("PRAGMA page_size").fetchone()
        with self._transaction() as connection:
            connection.execute(f"CREATE TABLE {_SCRUB} (filler BLOB)")
            while free := connection.execute("PRAGMA freelist_count").fetchone()[0]:
                filler = min(free * page, _SCRUB_BYTES)
                connection.execute(f"INSERT INTO {_SCRUB} VALUES (zeroblob(?))", (filler,))
            connection.execute(f"DROP TABLE {_SCRUB}")

    def _leave_wal(self) -> bool:
        """Empty the -wal file and bring back the original mode; True when others prevent it."""
        connection = self._connection
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            return False
        connection.execute("PRAGMA busy_timeout = 2000")
        busy = bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        if self._mode != "wal" and not busy:
            try:
                connection.execute(f"PRAGMA journal_mode = {self._mode}")
            except sqlite3.OperationalError:
                busy = True
        if busy:
            self._notes.append(
                f"{self._path.name} is open in another program and stays in WAL mode: copy it "
                "together with its -wal file, or close that program first"
            )
        return busy

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


class FileWriter:
    """Replaces photo files where they are."""

    def digest(self, place: Place) -> str | None:
        """SHA-256 of what the photo holds now, None when it is gone."""
        path = place.files[0]
        return digest_of_file(path) if path.is_file() else None

    def replace(self, draft: Draft, place: Place) -> None:
        """Replace one photo, if it still holds what was translated.

        Raises ChangedError, ImageError (this photo), SinkError (all of them).
        """
        if draft.reformatted:
            message = (
                f"{draft.item.key} would become {draft.extension} but the features name it as it "
                "is. Write to --output instead of overwriting, or leave --format out."
            )
            raise ImageError(message)
        if self.digest(place) != draft.digest_in:
            raise _changed(draft)
        self.put(place, draft.data)

    def put(self, place: Place, data: bytes) -> None:
        """Put content in the place of a photo, under all its names."""
        first, *others = place.files
        try:
            replace_file(first, data)
            for other in others:
                link_over(first, other)
        except PermissionError as error:
            message = f"{first} may not be written: {error.strerror}"
            raise ImageError(message) from error
        except OSError as error:
            message = f"{first} cannot be written: {error}. It holds the original or the result."
            raise SinkError(message) from error


def _digest_of_value(value: bytes | str | None) -> str | None:
    if value is None:
        return None
    try:
        return digest_of(content_of(value))
    except SourceError:  # somebody put something else there
        return None


def vacuum(path: Path) -> str:
    """Give free pages back to the file system; says what that brought.

    Needs free disk space for a second copy. INTEGER PRIMARY KEYs, to which everything in a
    GeoPackage refers, are kept; nameless rowids may be renumbered.
    """
    before = path.stat().st_size
    connection = connect(path, write=True)
    try:
        connection.execute("VACUUM")
    except sqlite3.OperationalError as error:
        return f"{path.name} could not be made smaller ({error}); everything else is done"
    finally:
        connection.close()
    return f"--vacuum gave back {(before - path.stat().st_size) / 1e6:.1f} MB"
