"""The photos of a folder (or one photo) as a source."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from attachtrans.errors import ArgumentError, LayoutError, SourceError
from attachtrans.image.sniff import sniff
from attachtrans.journal import SUFFIX
from attachtrans.stores.filenames import promises_image
from attachtrans.stores.layouts.base import LayoutName, PhotoTable
from attachtrans.types import Item

if TYPE_CHECKING:
    from attachtrans.stores.photos import Place

RESULTS = f"results{SUFFIX}"
ROWS = f"rows{SUFFIX}"
"""Journal of a folder of results, and rows behind its index: by them a folder of ours is known."""

_BACKUP = ".bak"
_HEAD_BYTES = 4096
_NO_PICTURES = frozenset({".ovr", ".msk"})
"""TIFF inside, but GDAL's overviews and masks of the picture that they lie beside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFile:
    """One photo of a folder.

    key      its path below the folder, with "/"
    path     where it is named first
    files    its real paths (links resolved) as they are named; several for hard links
    crowded  another photo of its folder differs from it by the ending only
    problem  why it is not read, None when it is
    """

    key: str
    path: Path
    files: tuple[Path, ...]
    nbytes: int | None
    crowded: bool = False
    problem: str | None = None


class FolderPhotos:
    """A `PhotoSource` over image files; made by `open_folder`.

    path    of the folder, or of the one photo; so is `database`, which it has none of
    folder  that keys are relative to
    tables  one, that stands for the folder where photos are overwritten
    """

    def __init__(self, path: Path, folder: Path, files: Sequence[FolderFile]) -> None:
        self.path, self.database, self.folder = path, path, folder
        self.tables: tuple[PhotoTable, ...] = (_as_table(folder),)
        self._files = {file.key: file for file in files}

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Item]:
        """Items in the order of their keys."""
        for file in self._files.values():
            yield Item(
                key=file.key,
                name=PurePosixPath(file.key).name,
                media_type="",
                nbytes=file.nbytes,
                features=(),
            )

    def file(self, item: Item) -> FolderFile:
        """The file of an item. Raises SourceError when the item is not of this source."""
        found = self._files.get(item.key)
        if found is None:
            raise SourceError(f"{self.path}: has no photo {item.key}")
        return found

    def place(self, item: Item) -> Place:
        """Where an item's content is, for who overwrites it. Raises SourceError."""
        from attachtrans.stores.photos import Place

        return Place(table=self.tables[0], files=self.file(item).files)

    def read(self, item: Item) -> bytes:
        """See PhotoSource."""
        return self._read(item, None)

    def read_head(self, item: Item, nbytes: int) -> bytes:
        """The first bytes of the content, without reading all of it. Raises SourceError."""
        return self._read(item, nbytes)

    def _read(self, item: Item, nbytes: int | None) -> bytes:
        file = self.file(item)
        if file.problem is not None:
            raise SourceError(f"{item.key}: {file.problem}")
        try:
            with file.path.open("rb") as opened:
                return opened.read(nbytes)
        except OSError as error:
            raise SourceError(f"{file.path}: cannot be read ({error.strerror})") from error

    def close(self) -> None:
        """See PhotoSource; nothing is kept open."""


def open_folder(
    path: str | os.PathLike[str],
    *,
    patterns: Sequence[str] = (),
    recursive: bool = True,
    limit: int | None = None,
    leave_out: Sequence[Path] = (),
    others: Collection[Path] = (),
) -> FolderPhotos:
    """List the photos of a folder, or take one photo; nothing but the files' beginnings is read.

    What a file is is told by its content; one that is named as a picture but is none is listed
    too, so that a run can say what is wrong with it. Hidden files and folders, GDAL's overviews,
    folders of results and backups of earlier runs are left out. A file counts once, whatever hard
    and symbolic links lead to it; links that lead out of the folder are listed, and reading them
    is refused. Links to folders are not followed.

    Args:
        path: of the folder, or of one photo.
        patterns: of names ("*.jpg") or paths below the folder ("DCIM/*"), in any case; none: all.
        recursive: look into folders in it.
        limit: the first so many photos.
        leave_out: folders that are not looked into.
        others: files that are not taken for photos, though they are pictures.

    Raises:
        ArgumentError: limit below 1.
        SourceError: the folder cannot be read (LayoutError: there are no photos in it).
    """
    root = Path(path)
    if limit is not None and limit < 1:
        raise ArgumentError(f"--limit {limit}: give a number of photos, 1 or more")
    if root.is_file():
        listed = _listed(root.parent, [root], ())
        if not listed:
            raise LayoutError(f"{root}: is no photo")
        return FolderPhotos(root, root.parent, listed)
    if not root.is_dir():
        raise SourceError(f"{root}: there is no such file or folder")
    paths = files_below(root, leave_out, recursive=recursive)
    files = [file for file in _listed(root, paths, patterns) if file.path not in others]
    if not files:
        asked = f" that match {' or '.join(patterns)}" if patterns else ""
        deeper = "" if recursive else " (folders in it were not looked into)"
        raise LayoutError(f"{root}: there are no photos{asked} in this folder{deeper}")
    return FolderPhotos(root, root, files[:limit])


def files_below(
    root: Path, leave_out: Sequence[Path] = (), *, recursive: bool = True
) -> Iterator[Path]:
    """The files that may be pictures, by their names; sorted by their paths below the root.

    See `open_folder` for what is left out.

    Raises:
        SourceError: the folder cannot be read.
    """
    skipped = {os.path.realpath(folder) for folder in leave_out}

    def refuse(error: OSError) -> None:
        if error.filename == os.fspath(root):
            raise SourceError(f"{root}: cannot be read ({error.strerror})") from error

    found: list[Path] = []
    for where, folders, names in os.walk(root, onerror=refuse):
        journals = [name for name in names if name.endswith(SUFFIX)]
        folders[:] = [
            name
            for name in folders
            if recursive
            and not name.startswith(".")
            and not _is_backup(name, journals)
            and not any(Path(where, name, mark).exists() for mark in (RESULTS, ROWS))
            and os.path.realpath(Path(where, name)) not in skipped
        ]
        found.extend(
            Path(where, name)
            for name in names
            if not name.startswith(".") and PurePosixPath(name).suffix.lower() not in _NO_PICTURES
        )
    return iter(sorted(found, key=lambda file: file.relative_to(root).parts))


def _is_backup(folder: str, journals: Sequence[str]) -> bool:
    """Whether a folder holds originals that a run kept: `photos.bak` beside its journal."""
    return folder.endswith(_BACKUP) and any(
        journal.startswith(folder.removesuffix(_BACKUP)) for journal in journals
    )


def _listed(
    root: Path, paths: Iterator[Path] | list[Path], patterns: Sequence[str]
) -> list[FolderFile]:
    """The photos among files, each once."""
    real_root = Path(os.path.realpath(root))
    found: dict[object, FolderFile] = {}
    for path in paths:
        key = key_of(path.relative_to(root))
        real = Path(os.path.realpath(path))
        problem = link_problem(real, real_root)
        if problem is not None:
            if promises_image(path.suffix):
                found[key] = FolderFile(key=key, path=path, files=(), nbytes=None, problem=problem)
            continue
        if not path.is_file() or not _is_photo(path):
            continue
        status = path.stat()
        identity = (status.st_dev, status.st_ino) if status.st_ino else real
        known = found.get(identity)
        if known is None:
            found[identity] = FolderFile(key=key, path=path, files=(real,), nbytes=status.st_size)
        elif real not in known.files:
            found[identity] = replace(known, files=(*known.files, real))
    stems = Counter(_stem(file.key) for file in found.values())
    return [
        replace(file, crowded=stems[_stem(file.key)] > 1)
        for file in found.values()
        if matches(file.key, patterns)
    ]


def link_problem(real: Path, real_root: Path) -> str | None:
    """Why a link is not followed."""
    if not real.is_relative_to(real_root):
        return f"is a link that leads out of its folder, to {real}; it is not followed"
    return None if real.exists() else f"is a link to {real}, which is not there"


def _is_photo(path: Path) -> bool:
    """By its beginning; what cannot be read is judged by its name, for the run to say so."""
    try:
        with path.open("rb") as file:
            is_image = sniff(file.read(_HEAD_BYTES)).is_image
    except OSError:
        is_image = False
    return is_image or promises_image(path.suffix)


def matches(key: str, patterns: Sequence[str]) -> bool:
    """Whether a path below the folder, or its name, fits one of the patterns; no patterns: yes."""
    folded, name = key.casefold(), PurePosixPath(key).name.casefold()
    return not patterns or any(
        fnmatchcase(folded, pattern.casefold()) or fnmatchcase(name, pattern.casefold())
        for pattern in patterns
    )


def _stem(key: str) -> str:
    """What photos of one name and several endings have in common."""
    return PurePosixPath(key).with_suffix("").as_posix().casefold()


def key_of(path: Path) -> str:
    """A path with "/"; bytes that are no text in the file system's code are escaped."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode("utf-8")


def _as_table(folder: Path) -> PhotoTable:
    return PhotoTable(
        layout=LayoutName.PATH,
        table="folder",
        key="",
        data="file",
        base=folder,
        folders=(folder,),
        reason="image files of a folder",
    )
