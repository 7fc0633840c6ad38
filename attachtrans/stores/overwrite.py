"""Photos replaced where they are, the journal first.

The order for each photo is: digests to the journal (durable), then `BEGIN IMMEDIATE`, look whether
the content is still the one that was translated, update, commit. So a crash leaves the photo
original or translated once, and an edit that somebody makes meanwhile is never lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attachtrans.errors import SinkError
from attachtrans.journal import Entry, Journal
from attachtrans.stores.backup import (
    FileBackup,
    backup_folder,
    backup_path,
    remove_backup,
)
from attachtrans.stores.base import Objection
from attachtrans.stores.contentwriters import (
    ContentBackup,
    ContentWriter,
    bytes_to_keep,
    make_backup,
    open_backup,
    open_writer,
)
from attachtrans.stores.durable import require_room
from attachtrans.stores.layouts.base import LayoutName
from attachtrans.stores.photos import Place, PlacedPhotos
from attachtrans.stores.pixelcolumns import kept_note, layer_pixel_columns
from attachtrans.stores.replace import FileWriter
from attachtrans.types import Draft, Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """How originals are protected.

    folder    where backups go
    backup    keep a copy of the originals
    secure    leave no trace of them once everything is done: backup deleted, freed pages zeroed
    again     translate photos once more although they bear the mark of an earlier run
    """

    folder: Path
    backup: bool = True
    secure: bool = False
    again: bool = False


def secured(fingerprint: str) -> str:
    """The fingerprint of a job under --secure: its results differ, they bear no maker notes."""
    return f"{fingerprint}+secure"


class OverwriteSink:
    """Puts results in the place of their photos."""

    def __init__(
        self,
        photos: PlacedPhotos,
        journal: Journal,
        safety: Safety,
        *,
        fingerprint: str = "",
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Take the data's lock, look whether it can be written and backed up.

        fingerprint is that of the model and its arguments; with safety.secure the journal's job is
        `secured(fingerprint)`. progress is called with (pages done, pages in all) while a
        GeoPackage is backed up. Raises BusyError, SinkError.
        """
        for table in photos.tables:
            if table.read_only:
                message = f"{table.id} cannot be overwritten: {table.read_only}. Use --output."
                raise SinkError(message)
        self._photos = photos
        self._journal = journal
        self._safety = safety
        self._fingerprint = fingerprint
        self._copy = _copy_path(photos, safety)
        self._originals = backup_folder(photos.path, safety.folder)
        kept = _kept(self._copy, self._originals)
        if journal.is_new and kept:
            message = (
                f"there is a backup of an earlier run ({kept[0].name}) but its journal "
                f"{journal.path} is missing or empty, so it is not known what is translated "
                "already. Bring the journal back, or move the backup away if the photos are "
                "originals."
            )
            raise SinkError(message)
        self._check_room()
        self._pixels = layer_pixel_columns(photos.database, photos.tables)
        self._resized = False
        self._files = FileWriter()
        self._file_backup = FileBackup(self._originals) if safety.backup else None
        self._blobs: ContentWriter | None = None
        self._blob_backup: ContentBackup | None = None
        if self._copy is not None:
            self._blobs = open_writer(photos.path, secure=safety.secure)
        self._progress = progress

    def _check_room(self) -> None:
        path = self._photos.path
        largest = max((item.nbytes or 0 for item in self._photos), default=0)
        require_room(path.parent, 2 * largest, f"to overwrite photos in {path.name}")
        if self._safety.backup and self._copy is not None and not self._copy.exists():
            require_room(self._copy.parent, bytes_to_keep(path), f"for the backup {self._copy}")

    def holds(self, item: Item, digest: str) -> bool:
        """See PhotoSink: the journal knows this content as a result of this job."""
        del item  # content decides: a renamed photo is still translated
        if self._journal.is_done(digest):
            return True
        # What was translated and stripped of its secrets is translated.
        return not self._safety.secure and self._journal.is_result_of(
            digest, secured(self._fingerprint)
        )

    def objection(self, item: Item, digest: str, marks: tuple[str, ...]) -> Objection | None:
        """See PhotoSink: refuse a photo that bears our mark but is not in the journal."""
        del item
        if marks and not self._safety.again and not self._journal.is_known(digest):
            return Objection(
                f"it was translated before ({marks[-1]}) but the journal {self._journal.path.name} "
                "does not know it: the journal was lost, or the photo was edited since. "
                "Restore the journal; --again translates it once more on purpose"
            )
        if self._safety.secure and self._journal.is_result_of(digest, self._fingerprint):
            return Objection(
                "it was translated without --secure, so maker notes and previews in it may still "
                "show the original; --restart --secure begins anew from the backup"
            )
        return None

    def keep(self, item: Item, data: bytes) -> None:
        """See PhotoSink: what is not translated stays where it is."""

    def commit(self, draft: Draft) -> None:
        """See PhotoSink."""
        self._resized |= draft.size_in != draft.size_out
        place = self._photos.place(draft.item)
        if not self._journal.is_known(draft.digest_in):
            self._back_up(draft, place)  # a result of ours has its original kept already
        self._journal.record(
            Entry(
                table=place.table.id,
                key=draft.item.key,
                digest_in=draft.digest_in,
                digest_out=draft.digest_out,
            )
        )
        if place.files or self._blobs is None:
            self._files.replace(draft, place)
        else:
            self._blobs.replace(draft, place)

    def _back_up(self, draft: Draft, place: Place) -> None:
        if place.files and self._file_backup:
            self._file_backup.ensure(place.files[0], draft.item.key, draft.digest_in)
        elif self._blobs and self._copy is not None and self._safety.backup:
            blobs = self._blobs
            self._opened_backup(self._copy).ensure(
                place, draft.item.key, draft.digest_in, lambda: blobs.value(place)
            )

    def _opened_backup(self, copy: Path) -> ContentBackup:
        """The backup of the database; made when the first photo is about to be replaced."""
        if self._blob_backup is None:
            path, later = self._photos.path, self._originals
            self._blob_backup = (
                open_backup(path, copy, later)
                if copy.exists()
                else make_backup(path, copy, later, self._progress)
            )
        return self._blob_backup

    def finish(self) -> tuple[str, ...]:
        """See PhotoSink: check the file, restore its journal mode; with `secure`, drop the backup.

        The backup goes only after every photo of this job was read again and found to be as the
        journal says.
        """
        if self._safety.secure:
            self._verify()
        self._photos.close()  # an open reader would keep the file in WAL mode
        notes = list(self._blobs.finish()) if self._blobs else []
        self._journal.finish()
        if self._safety.secure:
            if self._blob_backup:
                self._blob_backup.close()
            remove_backup(self._copy, self._originals)
            notes.append("the backup was deleted (--secure)")
        elif self._safety.backup:
            kept = _kept(self._copy, self._originals)
            if kept:
                notes.append(f"originals are kept in {' and '.join(map(str, kept))}")
        if self._pixels and self._resized:
            notes.append(kept_note(self._pixels))
        return tuple(notes)

    def _verify(self) -> None:
        results = self._journal.results()
        for item in self._photos:
            digests = results.get(item.key)
            if digests is None:
                continue
            place = self._photos.place(item)
            writer = self._files if place.files or self._blobs is None else self._blobs
            # A photo that somebody deleted meanwhile holds no original either.
            if writer.digest(place) not in digests | {None}:
                message = (
                    f"{item.key} does not hold the translated photo. The backup was kept for this "
                    "reason; look at the photo, then run the same command again."
                )
                raise SinkError(message)

    def close(self) -> None:
        """See PhotoSink."""
        if self._blobs:
            self._blobs.close()
        if self._blob_backup:
            self._blob_backup.close()


def restore_originals(photos: PlacedPhotos, journal: Journal, safety: Safety) -> int:
    """Bring back the originals of the photos that any run translated; returns how many.

    Only photos that still hold a result of ours are touched: what somebody edited since stays.
    Attributes and geometries are not touched. Raises SinkError when there is no backup.
    """
    copy_path = _copy_path(photos, safety)
    originals = backup_folder(photos.path, safety.folder)
    if not _kept(copy_path, originals):
        places = " nor ".join(str(path) for path in (copy_path, originals) if path is not None)
        message = (
            f"--restart needs the backup of the originals, and {places} is not there. Without it "
            "nothing can be restored; nothing was changed."
        )
        raise SinkError(message)
    files, kept_files = FileWriter(), FileBackup(originals)
    has_copy = copy_path is not None and copy_path.exists()
    blobs = open_writer(photos.path, secure=False) if has_copy else None
    kept_blobs = (
        open_backup(photos.path, copy_path, originals)
        if copy_path is not None and has_copy
        else None
    )
    restored = []
    try:
        for item in photos:
            origin, results = journal.story(item.key)
            place = photos.place(item)
            if place.files:
                data = kept_files.original(item.key, origin) if origin else None
                if data is not None and files.digest(place) in results:
                    files.put(place, data)
                    restored.append(item.key)
            elif origin and blobs and kept_blobs and blobs.digest(place) in results:
                columns = kept_blobs.original(place, item.key, origin)
                if columns:
                    blobs.restore(place, columns)
                    restored.append(item.key)
        photos.close()
        if blobs:
            blobs.finish()
        journal.mark_restored(restored)
    finally:
        if kept_blobs:
            kept_blobs.close()
        if blobs:
            blobs.close()
    return len(restored)


def _copy_path(photos: PlacedPhotos, safety: Safety) -> Path | None:
    """Where the copy of the GeoPackage goes; None where all photos are files of their own."""
    if all(table.layout is LayoutName.PATH for table in photos.tables):
        return None
    return backup_path(photos.path, safety.folder)


def _kept(copy: Path | None, originals: Path) -> list[Path]:
    """The backups that are there."""
    return [path for path in (copy, originals) if path is not None and path.exists()]
