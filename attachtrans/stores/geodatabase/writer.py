"""Photos of a file geodatabase replaced, and their originals kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from attachtrans.errors import ChangedError, SinkError, SourceError
from attachtrans.journal import digest_of
from attachtrans.stores.durable import replace_file
from attachtrans.stores.geodatabase.edition import clear, edition, keep_copy
from attachtrans.stores.geodatabase.filegdb import (
    Binaries,
    read_columns,
    read_tables,
    read_value,
)
from attachtrans.stores.geodatabase.gdal import library, opened
from attachtrans.stores.geodatabase.kinds import refuse_writing
from attachtrans.stores.geodatabase.staged import Change, Staged
from attachtrans.stores.geodatabase.tables import GdbTable
from attachtrans.stores.photos import Place
from attachtrans.types import Draft


class GdbWriter:
    """Replaces photos in a file geodatabase: results are staged, then put in all together."""

    def __init__(self, path: Path) -> None:
        """Look whether it can be written, put in what an interrupted run left. Raises SinkError."""
        clear(path)
        refuse_writing(path)
        library()
        self._path = path
        self._staged = Staged(path)
        self._notes: list[str] = []
        try:
            self._publish()
        except BaseException:
            self._staged.close()
            raise

    def value(self, place: Place) -> bytes | None:
        """What the photo holds now or will hold, None when it is gone."""
        staged = self._staged.data(place.table.table, place.row or 0)
        return staged if staged is not None else self._stored(place)

    def _stored(self, place: Place) -> bytes | None:
        try:
            return read_value(self._path, place.table.table, place.table.data, place.row or 0)
        except SourceError:  # the row is gone
            return None

    def digest(self, place: Place) -> str | None:
        """SHA-256 of what the photo holds now or will hold, None when it is gone."""
        value = self.value(place)
        return None if value is None else digest_of(value)

    def replace(self, draft: Draft, place: Place) -> None:
        """Replace one photo, if it still holds what was translated.

        Raises ChangedError, SinkError.
        """
        stored = self._stored(place)
        if stored is None or digest_of(stored) != draft.digest_in:
            raise ChangedError(
                f"{draft.item.key} was changed by another program while it was translated; the "
                "other program's version stays. Run the same command again to translate it."
            )
        table = place.table
        beside: dict[str, str | int] = {}
        if table.size:
            beside[table.size] = len(draft.data)
        if draft.reformatted and table.content_type:
            beside[table.content_type] = draft.media_type
        if draft.reformatted and table.name:
            beside[table.name] = str(Path(draft.item.name).with_suffix(draft.extension))
        self._stage(place, draft.digest_in, draft.data, beside)

    def restore(self, place: Place, original: Mapping[str, object]) -> None:
        """Put these columns of an original back."""
        data = original[place.table.data]
        stored = self._stored(place)
        if not isinstance(data, bytes) or stored is None:
            return
        beside = {
            name: value
            for name, value in original.items()
            if name != place.table.data and isinstance(value, str | int)
        }
        self._stage(place, digest_of(stored), data, beside)

    def _stage(
        self, place: Place, digest_in: str, data: bytes, beside: Mapping[str, str | int]
    ) -> None:
        change = Change(
            table=place.table.table,
            row=place.row or 0,
            column=place.table.data,
            digest_in=digest_in,
            digest_out=digest_of(data),
            beside=beside,
        )
        self._staged.put(change, data)

    def finish(self) -> tuple[str, ...]:
        """Put everything in. Raises SinkError; the geodatabase is as it was then."""
        self._publish()
        return tuple(self._notes)

    def _publish(self) -> None:
        with closing(Binaries(self._path)) as present:
            changes = [change for change in self._staged if self._is_due(change, present)]
        if changes:
            with edition(self._path) as copy:
                with opened(copy) as file:
                    for change in changes:
                        content = {change.column: self._staged.whole(change)}
                        file.update(change.table, change.row, content | dict(change.beside))
                verify(self._path, copy, changes)
        self._staged.clear()

    def _is_due(self, change: Change, present: Binaries) -> bool:
        """Whether a photo still holds what its result was made of."""
        try:
            value = present.read(change.table, change.column, change.row)
        except SourceError:
            value = None
        digest = None if value is None else digest_of(value)
        if digest not in (change.digest_in, change.digest_out):
            self._notes.append(
                f"{change.table} row {change.row} was changed by another program before its result "
                "was put in; the other program's version stays"
            )
        return digest == change.digest_in != change.digest_out

    def close(self) -> None:
        """Let go of the files; what is staged is put in by the next run."""
        self._staged.close()


def verify(before: Path, after: Path, changes: Sequence[Change]) -> None:
    """Read the changed tables of a copy again: these changes are in it, and no others.

    Raises SinkError.
    """
    lacking = {file.name for file in before.iterdir()} - {file.name for file in after.iterdir()}
    if lacking:
        raise SinkError(f"{after} has lost {', '.join(sorted(lacking))}. {before} is as it was.")
    there = {table.name: table for table in read_tables(after)}
    with closing(Binaries(before)) as old, closing(Binaries(after)) as new:
        for table in read_tables(before):
            own = {change.row: change for change in changes if change.table == table.name}
            if own:
                try:
                    _verify_table(table, there[table.name], own, (old, new))
                except (SourceError, ValueError, KeyError, _Difference) as error:
                    raise SinkError(
                        f"{after}: {table.name} was not written as it should be: {error}. {before} "
                        "is as it was."
                    ) from error


class _Difference(Exception):  # noqa: N818 - what was found, not what went wrong
    """Where a copy is not as it should be."""


def _verify_table(
    table: GdbTable,
    copy: GdbTable,
    changes: Mapping[int, Change],
    binaries: tuple[Binaries, Binaries],
) -> None:
    """Raises _Difference, SourceError, ValueError."""
    old, new = binaries
    if copy.columns != table.columns:
        raise _Difference("it has other columns")
    for row, now in zip(table.rows, copy.rows, strict=True):
        change = changes.get(row.fid)
        changed = {change.column, *change.beside} if change else set()
        kept = [c.left_out or c.name not in changed for c in table.columns]
        if row[:2] != now[:2] or _but(row.values, kept) != _but(now.values, kept):
            raise _Difference(f"row {row.fid}")
        for column, value in zip(table.columns, row.values, strict=True):
            place = table.name, column.name, row.fid
            if change is not None and change.column == column.name:
                expected = change.digest_out
            elif column.left_out and value is not None:
                expected = digest_of(old.read(*place) or b"")
            else:
                continue  # compared with the row
            if digest_of(new.read(*place) or b"") != expected:
                raise _Difference(f"photo {row.fid}")


def _but(values: Sequence[object], kept: Sequence[bool]) -> list[object]:
    """The values that nobody meant to change."""
    return [value for value, is_kept in zip(values, kept, strict=True) if is_kept]


def _digest(path: Path, table: str, column: str, row: int) -> str:
    return digest_of(read_value(path, table, column, row) or b"")


class GdbBackup:
    """The originals of the photos in a file geodatabase: a copy of it, and what came later."""

    def __init__(self, copy: Path, later: Path, *, fresh: bool = False) -> None:
        """`later`: the folder for originals that are not in the copy; fresh: it was made now."""
        self._copy = copy
        self._later = later
        self._fresh = fresh

    @classmethod
    def make(cls, source: Path, copy: Path, later: Path) -> GdbBackup:
        """Make the copy. Raises SinkError when there is no room."""
        keep_copy(source, copy)
        return cls(copy, later, fresh=True)

    def ensure(
        self, place: Place, key: str, digest: str, value: Callable[[], bytes | str | None]
    ) -> None:
        """See to it that the original with this digest is kept; `value` gives its content."""
        if self._fresh or self._in_copy(place, digest):
            return
        data = value()
        if not isinstance(data, bytes):
            return
        try:
            self._later.mkdir(parents=True, exist_ok=True)
            replace_file(self._later / digest, data)
        except OSError as error:
            raise SinkError(
                f"the original of {key} cannot be added to the backup {self._later}: {error}. The "
                "photo was not touched."
            ) from error

    def _in_copy(self, place: Place, digest: str) -> bool:
        table = place.table
        try:
            return _digest(self._copy, table.table, table.data, place.row or 0) == digest
        except SourceError:  # the row was added since
            return False

    def original(self, place: Place, key: str, digest: str) -> dict[str, object] | None:
        """The columns to put back, None when this original is not in the backup."""
        del key  # its digest says which it is
        table = place.table
        if self._in_copy(place, digest):
            names = [n for n in (table.data, table.size, table.content_type, table.name) if n]
            return read_columns(self._copy, table.table, names, place.row or 0)
        file = self._later / digest
        if not file.exists():
            return None
        data = file.read_bytes()
        return {table.data: data} | ({table.size: len(data)} if table.size else {})

    def close(self) -> None:
        """Nothing is kept open."""
