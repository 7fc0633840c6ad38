"""Results of a folder's photos: in a folder of their own, or in the photos' place."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from attachtrans.errors import ArgumentError, GeorefError, ImageError, SinkError
from attachtrans.image.base import Media
from attachtrans.journal import SUFFIX, Entry, Journal
from attachtrans.stores.backup import kept_stem
from attachtrans.stores.base import Objection
from attachtrans.stores.durable import digest_of_file, replace_file
from attachtrans.stores.filenames import ending_for, split_name
from attachtrans.stores.folder import RESULTS, FolderFile, FolderPhotos
from attachtrans.stores.overwrite import OverwriteSink
from attachtrans.stores.pixelcolumns import stored_sizes
from attachtrans.stores.placed import rescaled, sidecar_for, sidecars_of
from attachtrans.stores.poses.camera_json import SUFFIX as CAMERA
from attachtrans.types import Draft, Item

_THIS_PHOTO_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EISDIR})


def prepare_results(folder: Path, own: Path | None = None) -> None:
    """Make the folder that results go to; `own` is that of the photos, where they have one.

    Raises:
        ArgumentError: it is a file, or the photos' own folder.
        SinkError: it cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"--output {folder} is a file; name a folder")
    if own is not None and folder.exists() and folder.samefile(own):
        raise ArgumentError(
            f"--output {folder} is the folder of the photos: name another one, or use "
            "--overwrite-attachments to replace them"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"--output {folder} cannot be made: {error}") from error


def results_journal(folder: Path, work_dir: Path | None = None) -> Path:
    """Where the journal of a folder of results is: in it, or in a work folder."""
    if work_dir is None:
        return folder / RESULTS
    return work_dir / f"{kept_stem(folder, work_dir)}{SUFFIX}"


class FolderSink:
    """A `PhotoSink` that writes results to a folder, in the tree of the photos' folder.

    A result has its photo's name, with the ending of its format; files that say where the photo
    lies (world file, .prj, .aux.xml, .camera.json) go with it, unless it was rectified. The journal
    knows what was made of what; a file that this job did not make is never touched. What is not
    translated is not copied.
    """

    def __init__(
        self, photos: FolderPhotos, folder: Path, journal: Journal, *, fingerprint: str
    ) -> None:
        """`folder` was made by `prepare_results`, `journal` has begun the job `fingerprint`."""
        self._photos = photos
        self._folder = folder
        self._journal = journal
        self._fingerprint = fingerprint
        self._owners = journal.keys_by_table()
        self._written = 0
        self._notes: list[str] = []

    def holds(self, item: Item, digest: str) -> bool:
        """See PhotoSink: the result that the journal knows of this content is still there."""
        result = self._journal.result(item.key, digest)
        if result is None:
            return False
        name, digest_out = result
        path = self._target(self._photos.file(item), split_name(name)[1])
        return path.is_file() and digest_of_file(path) == digest_out

    def objection(self, item: Item, digest: str, marks: tuple[str, ...]) -> Objection | None:
        """See PhotoSink: somebody else's file is in the result's place."""
        del digest, marks  # a result of another model may be translated, on purpose
        file = self._photos.file(item)
        reason = self._taken(self._target(file, file.path.suffix), item)
        return None if reason is None else Objection(reason)

    def keep(self, item: Item, data: bytes) -> None:
        """See PhotoSink: what is not translated stays where it is."""

    def commit(self, draft: Draft) -> None:
        """See PhotoSink: the journal, the files beside it, then the result, each as a whole."""
        file = self._photos.file(draft.item)
        media = Media(media_type=draft.media_type, extension=draft.extension, is_image=True)
        target = self._target(file, ending_for(media, file.path.suffix))
        reason = self._taken(target, draft.item)
        if reason is not None:
            raise ImageError(f"{draft.item.key}: {reason}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._require_inside(target.parent)
            rectified = draft.placement is not None and draft.placement.rectified
            beside = {} if rectified else self._sidecars(draft, file.path, target)
            name = self._name(target)
            self._owners.setdefault(name, set()).add(draft.item.key)
            self._journal.record(
                Entry(
                    table=name,
                    key=draft.item.key,
                    digest_in=draft.digest_in,
                    digest_out=draft.digest_out,
                )
            )
            # First: a result that is there has them all.
            for path, data in beside.items():
                replace_file(path, data)
            replace_file(target, draft.data)
        except OSError as error:
            if error.errno in _THIS_PHOTO_ONLY:
                raise ImageError(f"{target} cannot be written: {error.strerror}") from error
            raise SinkError(
                f"{target} cannot be written: {error}. What was written so far is complete; put "
                "this right and run the same command again: it goes on where it stopped."
            ) from error
        self._written += 1

    def _target(self, file: FolderFile, ending: str) -> Path:
        """The result's path. Photos that differ by their endings only keep these as well."""
        below = file.path.relative_to(self._photos.folder)
        own = file.path.suffix
        stem = below.name if file.crowded else below.name.removesuffix(own)
        return self._folder / below.with_name(below.name if ending == own else stem + ending)

    def _name(self, target: Path) -> str:
        """A result as the journal names it; bytes that are no text are escaped."""
        below = target.relative_to(self._folder).as_posix()
        return below.encode("utf-8", "backslashreplace").decode("utf-8")

    def _taken(self, target: Path, item: Item) -> str | None:
        """Why a result may not take this place."""
        others = self._owners.get(self._name(target), set()) - {item.key}
        if others:
            return f"{target} is the result of {min(others)}; give one of the two another name"
        if not target.exists() or (
            target.is_file()
            and self._journal.is_result_of(digest_of_file(target), self._fingerprint)
        ):
            return None
        return (
            f"{target} is there and is no result of this model with these arguments; it stays as "
            "it is. Name another --output folder"
        )

    def _require_inside(self, folder: Path) -> None:
        if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(self._folder)):
            raise ImageError(f"{folder} is a link that leads out of {self._folder}")

    def _sidecars(self, draft: Draft, image: Path, target: Path) -> dict[Path, bytes]:
        """The files to write beside a result, none of them in the place of somebody else's."""
        ours = target.exists() or self._name(target) in self._owners
        found: dict[Path, bytes] = {}
        for sidecar in sidecars_of(image):
            path = sidecar_for(sidecar, image, target)
            try:
                data = rescaled(sidecar, *stored_sizes(draft))
            except GeorefError as error:
                self._notes.append(f"{sidecar} was not carried over: {error}")
                continue
            if path.exists() and not ours and path.read_bytes() != data:
                raise ImageError(
                    f"{draft.item.key}: {path} is there and is not of this job; it stays as it is"
                )
            found[path] = data
        return found

    def finish(self) -> tuple[str, ...]:
        """See PhotoSink."""
        self._journal.finish()
        return (f"{self._written} translated photos were written to {self._folder}", *self._notes)

    def close(self) -> None:
        """See PhotoSink; nothing is kept open."""


class FolderOverwriteSink(OverwriteSink):
    """Puts results in the place of a folder's photos: see `OverwriteSink`.

    The files beside a photo that say where it lies are not changed, so a photo that has some is
    refused when the result has another size; a .camera.json knows which size it speaks of.
    """

    def commit(self, draft: Draft) -> None:
        """See PhotoSink."""
        if draft.size_in != draft.size_out:
            sidecars = [
                beside.name
                for path in self._photos.place(draft.item).files
                for beside in sidecars_of(path)
                if not beside.name.lower().endswith(CAMERA)
            ]
            if sidecars:
                raise ImageError(
                    f"{draft.item.key} would have another size than {', '.join(sidecars)} beside "
                    "it says; write to an --output folder, where these files are rescaled"
                )
        super().commit(draft)
