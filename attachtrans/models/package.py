"""The files of a model, on disk or inside a package (.dlpk or .zip), read without unpacking.

A package is a plain ZIP with one .emd, its weights, and whatever else lay in the folder. Nothing
of it is ever written to disk, so no entry can land outside a folder; packages whose entries point
outside themselves are refused all the same, for nobody makes them by accident. Limits are
absolute, not ratios of compression: weights of zeros compress a thousandfold and are legal.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from attachtrans.errors import ModelError

MAX_FILE_BYTES = 6 << 30
"""The largest file of weights that is read: twice the largest net that ArcGIS makes by default."""
MAX_DEFINITION_BYTES = 16 << 20
MAX_ENTRIES = 20_000
MAX_DEPTH = 6

_PICKLE = b"\x80"
"""First byte of a bare pickle (protocol 2 and later)."""
_CHUNK_BYTES = 1 << 20
_ENCRYPTED = 0x1
_DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRef:
    """A file of a model: `path` itself, or the entry `member` of the package at `path`."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}, entry {self.member}"

    @property
    def name(self) -> str:
        """Name of the file, without folders."""
        return self.path.name if self.member is None else _normal(self.member).rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """Last suffix of the name, lower case, with its dot."""
        return posixpath.splitext(self.name)[1].lower()

    @property
    def size_bytes(self) -> int:
        """Length in bytes; for an entry of a package as its directory declares it.

        Raises:
            ModelError: the file or the package cannot be read.
        """
        if self.member is None:
            try:
                return self.path.stat().st_size
            except OSError as error:
                raise ModelError(f"{self.path} cannot be read: {error}") from error
        with _archive(self.path) as archive:
            return archive.getinfo(self.member).file_size

    @contextmanager
    def open(self, *, limit_bytes: int = MAX_FILE_BYTES) -> Iterator[IO[bytes]]:
        """The content as a binary stream that is at most `limit_bytes` long.

        Raises:
            ModelError: missing, unreadable, damaged or longer than the limit.
        """
        if self.size_bytes > limit_bytes:
            raise ModelError(
                f"{self} is {self.size_bytes} bytes long, more than the {limit_bytes} bytes that "
                "are read of such a file."
            )
        if self.member is None:
            try:
                stream: IO[bytes] = self.path.open("rb")
            except OSError as error:
                raise ModelError(f"{self.path} cannot be read: {error}") from error
            with stream:
                yield stream
            return
        with _archive(self.path) as archive:
            try:
                # zipfile hands out no more bytes than the directory declares, and checks the CRC.
                stream = archive.open(self.member)
            except (*_DAMAGED, RuntimeError) as error:
                raise ModelError(f"{self} cannot be read: {error}") from error
            with stream:
                yield stream

    def read(self, *, limit_bytes: int = MAX_FILE_BYTES) -> bytes:
        """The whole content.

        Raises:
            ModelError: missing, unreadable, damaged or longer than the limit.
        """
        with self.open(limit_bytes=limit_bytes) as stream:
            try:
                # As much as there is: Python makes room beforehand for all that is asked for.
                return stream.read(self.size_bytes + 1)
            except _DAMAGED as error:
                raise ModelError(f"{self} is damaged: {error}") from error

    def chunks(self) -> Iterator[bytes]:
        """The whole content, piece by piece.

        Raises:
            ModelError: missing, unreadable or damaged.
        """
        with self.open() as stream:
            try:
                while chunk := stream.read(_CHUNK_BYTES):
                    yield chunk
            except _DAMAGED as error:
                raise ModelError(f"{self} is damaged: {error}") from error


def check_beginning(file: FileRef) -> None:
    """Refuse by its first bytes what is no weights file, before gigabytes of it are read.

    Raises:
        ModelError: it is empty, too long, or begins like no file of its suffix.
    """
    with file.open() as stream:
        head = stream.read(9)
    if file.suffix == ".safetensors":
        known = head[8:9] == b"{"
    elif file.suffix == ".onnx":
        # A protobuf message begins with the number of a field, which is never 0.
        known = head[:1] > b"\x07"
    else:
        known = head.startswith((_PICKLE, b"PK"))
    if not known:
        what = "is empty" if not head else "does not begin like a file of weights"
        raise ModelError(f"{file} {what}: it is damaged, or something else.")


def find_definition(package: Path) -> FileRef:
    """The only .emd inside the package at `package`, in whatever folder and letter case.

    Raises:
        ModelError: not a ZIP, none or several .emd inside, or entries that point outside.
    """
    with _archive(package) as archive:
        names = [
            info.filename
            for info in archive.infolist()
            if not info.is_dir()
            and _is_definition(_normal(info.filename))
            and not _normal(info.filename).startswith("__MACOSX/")
        ]
    return FileRef(path=package, member=_only(names, f"the package {package}"))


def find_definition_in_folder(folder: Path) -> FileRef:
    """The only .emd in `folder`, or, where none lies directly in it, in the folders below.

    Raises:
        ModelError: none or several, or the tree below is too large to be a model's folder.
    """
    try:
        direct = sorted(p for p in folder.iterdir() if p.is_file() and _is_definition(p.name))
    except OSError as error:
        raise ModelError(f"The folder {folder} cannot be read: {error}") from error
    found = direct or sorted(_definitions_below(folder))
    return FileRef(path=Path(_only([str(p) for p in found], f"the folder {folder}")))


def package_files(package: Path) -> tuple[FileRef, ...]:
    """All files inside the package at `package`, by name.

    Raises:
        ModelError: not a ZIP, or entries that point outside.
    """
    with _archive(package) as archive:
        names = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    return tuple(FileRef(path=package, member=name) for name in names)


def unpack(package: Path, folder: Path) -> None:
    """Write all files inside the package at `package` into an empty folder, for code to read.

    Raises:
        ModelError: the package is damaged or points outside itself, or the disk is too small.
    """
    with _archive(package) as archive:
        files = [info for info in archive.infolist() if not info.is_dir()]
        needed, free = sum(info.file_size for info in files), shutil.disk_usage(folder).free
        if needed > free:
            raise ModelError(
                f"{package} takes {needed} bytes unpacked, and {folder} has {free} left: "
                "set TMPDIR to a folder on a larger disk."
            )
        for info in files:
            target = folder / unpacked_name(info.filename)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("xb") as copy:
                    shutil.copyfileobj(source, copy, _CHUNK_BYTES)
            except (*_DAMAGED, RuntimeError) as error:
                raise ModelError(f"{package} cannot be unpacked: {error}") from error


def unpacked_name(member: str) -> str:
    """The path that an entry of a package gets when it is unpacked, relative to the folder."""
    return posixpath.normpath(_normal(member))


def resolve_model_file(definition: FileRef | None, model_file: str) -> FileRef:
    r"""The file that `ModelFile` of a definition names.

    Separators may be "/" or "\\"; letter case is forgiven where no exact match exists. Beside a
    plain .emd the path may be absolute or relative to the .emd; inside a package it must stay
    inside; a definition given as JSON text (`definition` None) has no folder, so only an absolute
    path is possible there.

    Raises:
        ModelError: no such file, or a path that leaves the package.
    """
    name = _normal(model_file)
    if definition is not None and definition.member is not None:
        return _resolve_member(definition, name)
    path = Path(name)
    if definition is None and not path.is_absolute():
        raise ModelError(
            f'ModelFile "{model_file}" is relative, but a model definition given as JSON text '
            "lies in no folder: give an absolute path."
        )
    folder = Path() if definition is None else definition.path.parent
    found = folder / path
    try:
        if not found.is_file() and not path.is_absolute():
            found = _same_but_for_case(folder, path.parts) or found
        exists = found.is_file()
    except OSError as error:  # a name that is too long, a folder that is not ours to read
        raise ModelError(f'ModelFile "{model_file}" cannot be looked up: {error}') from error
    if not exists:
        raise ModelError(
            f'The model file {found} does not exist (ModelFile is "{model_file}"): put it there '
            "or correct ModelFile in the definition."
        )
    return FileRef(path=found)


def _resolve_member(definition: FileRef, name: str) -> FileRef:
    folder = posixpath.dirname(_normal(definition.member or ""))
    target = posixpath.normpath(posixpath.join(folder, name))
    if posixpath.isabs(name) or _has_drive(name) or _escapes(target):
        raise ModelError(f'ModelFile "{name}" of {definition} points outside the package: refused.')
    with _archive(definition.path) as archive:
        files = {
            posixpath.normpath(_normal(info.filename)): info.filename
            for info in archive.infolist()
            if not info.is_dir()
        }
    if target in files:
        return FileRef(path=definition.path, member=files[target])
    alike = [real for normal, real in files.items() if normal.lower() == target.lower()]
    if len(alike) != 1:
        raise ModelError(
            f"{definition} names the model file {target}, which the package does not hold."
        )
    return FileRef(path=definition.path, member=alike[0])


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGED as error:
        raise ModelError(f"{path} is not a readable model package (ZIP): {error}") from error
    with archive:
        entries = archive.infolist()
        if len(entries) > MAX_ENTRIES:
            raise ModelError(
                f"{path} holds {len(entries)} entries, more than {MAX_ENTRIES}: refused."
            )
        for info in entries:
            _check_entry(path, info)
        yield archive


def _check_entry(path: Path, info: zipfile.ZipInfo) -> None:
    if _escapes(_normal(info.filename)):
        raise ModelError(
            f'{path} holds the entry "{info.filename}", which points outside the package: refused.'
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ModelError(f'{path} holds the link "{info.filename}": refused.')
    if info.flag_bits & _ENCRYPTED:
        raise ModelError(f'{path} holds the encrypted entry "{info.filename}": save it without.')


def _escapes(name: str) -> bool:
    """Whether a name with "/" separators is absolute, has a drive, or climbs out."""
    normal = posixpath.normpath(name)
    return posixpath.isabs(normal) or normal.split("/")[0] == ".." or _has_drive(name)


def _has_drive(name: str) -> bool:
    return name[1:2] == ":"


def _normal(name: str) -> str:
    return name.replace("\\", "/")


def _is_definition(name: str) -> bool:
    stem, suffix = posixpath.splitext(posixpath.basename(name))
    # macOS puts a "._name.emd" of its own beside each file in archives and on foreign disks.
    return suffix.lower() == ".emd" and not stem.startswith("._")


def _only(names: list[str], where: str) -> str:
    if not names:
        raise ModelError(f"There is no model definition (.emd) in {where}.")
    if len(names) > 1:
        raise ModelError(
            f"There are {len(names)} model definitions in {where}, name the one to use: "
            + ", ".join(sorted(names)[:5])
        )
    return names[0]


def _definitions_below(folder: Path) -> Iterator[Path]:
    seen = 0
    for root, folders, files in os.walk(folder):
        seen += len(files) + len(folders)
        if seen > MAX_ENTRIES:
            raise ModelError(
                f"{folder} holds more than {MAX_ENTRIES} files, so it is not searched for a model "
                "definition: name the .emd itself."
            )
        if len(Path(root).relative_to(folder).parts) >= MAX_DEPTH:
            folders.clear()
        yield from (Path(root, name) for name in files if _is_definition(name))


def _same_but_for_case(folder: Path, parts: tuple[str, ...]) -> Path | None:
    """The file below `folder` that differs from `parts` only in letter case, if only one does."""
    found = [folder]
    for part in parts:
        if part == "..":
            found = [base / part for base in found]
            continue
        found = [
            entry
            for base in found
            if base.is_dir()
            for entry in base.iterdir()
            if entry.name.lower() == part.lower()
        ]
    files = [entry for entry in found if entry.is_file()]
    return files[0] if len(files) == 1 else None
