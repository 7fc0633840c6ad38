"""What replaces photos in tables and keeps their originals: one pair for each kind of database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from attachtrans.stores.backup import BlobBackup
from attachtrans.stores.geodatabase.edition import bytes_of
from attachtrans.stores.geodatabase.kinds import Kind, kind_of
from attachtrans.stores.geodatabase.writer import GdbBackup, GdbWriter
from attachtrans.stores.photos import Place
from attachtrans.stores.replace import BlobWriter
from attachtrans.types import Draft


class ContentWriter(Protocol):
    """Replaces photos in the tables of one database."""

    def value(self, place: Place) -> bytes | str | None:
        """What the data column holds now, as it is stored; None when the row is gone."""
        ...

    def digest(self, place: Place) -> str | None:
        """SHA-256 of what the photo holds now, None when it is gone."""
        ...

    def replace(self, draft: Draft, place: Place) -> None:
        """Replace one photo, if it still holds what was translated.

        Raises ChangedError, ImageError (this photo), BusyError, SinkError (all of them).
        """
        ...

    def restore(self, place: Place, original: Mapping[str, object]) -> None:
        """Put these columns of an original back."""
        ...

    def finish(self) -> tuple[str, ...]:
        """Bring the database into its final state; notes. Raises SinkError, BusyError."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class ContentBackup(Protocol):
    """The originals of the photos in tables."""

    def ensure(
        self, place: Place, key: str, digest: str, value: Callable[[], bytes | str | None]
    ) -> None:
        """See to it that the original with this digest is kept; `value` gives its column."""
        ...

    def original(self, place: Place, key: str, digest: str) -> dict[str, object] | None:
        """The columns to put back, None when this original is not in the backup."""
        ...

    def close(self) -> None:
        """Let go of the backup."""
        ...


def open_writer(path: Path, *, secure: bool) -> ContentWriter:
    """The writer for a database. Raises BusyError, SinkError.

    secure: leave nothing of what was replaced in it.
    """
    if kind_of(path) is Kind.FILE:
        return GdbWriter(path)  # GDAL itself blanks what it replaces
    return BlobWriter(path, secure=secure)


def open_backup(path: Path, copy: Path, later: Path) -> ContentBackup:
    """The backup `copy` of a database; `later`: the folder for what is not in a copied folder."""
    return GdbBackup(copy, later) if kind_of(path) is Kind.FILE else BlobBackup(copy)


def make_backup(
    path: Path, copy: Path, later: Path, progress: Callable[[int, int], None] | None
) -> ContentBackup:
    """Copy a database; see `open_backup`. Raises SinkError when there is no room."""
    if kind_of(path) is Kind.FILE:
        return GdbBackup.make(path, copy, later)
    return BlobBackup.make(path, copy, progress)


def bytes_to_keep(path: Path) -> int:
    """How much room a backup takes at most."""
    return bytes_of(path) if path.is_dir() else path.stat().st_size
