"""The ZIP archives that PyTorch writes, read entry by entry without PyTorch."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from attachtrans.errors import ModelError
from attachtrans.models.package import MAX_ENTRIES, MAX_FILE_BYTES, FileRef

_DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An open archive whose entries lie in one folder.

    file    where it was read from, for messages
    sizes   length in bytes of each entry by its name without that folder
    """

    file: FileRef
    sizes: dict[str, int]
    inner: zipfile.ZipFile
    folder: str

    def read(self, name: str, *, limit_bytes: int = MAX_FILE_BYTES) -> bytes:
        """The content of an entry.

        Raises:
            ModelError: there is none of this name, it is damaged, or longer than the limit.
        """
        size = self.sizes.get(name)
        if size is None:
            raise ModelError(f"{self.file} lacks the entry {name}: it is damaged.")
        if size > limit_bytes:
            raise ModelError(
                f"{self.file}: the entry {name} holds {size} bytes, more than the {limit_bytes} "
                "that are read of it."
            )
        try:
            return self.inner.read(f"{self.folder}/{name}")
        except _DAMAGED as error:
            raise ModelError(f"{self.file}: the entry {name} is damaged: {error}") from error


@contextmanager
def open_archive(content: bytes, file: FileRef, *, what: str) -> Iterator[Archive]:
    """An archive in memory; refused when it would unpack to more than is ever read.

    `what` it should be is said in messages.

    Raises:
        ModelError: it is damaged, too large, or not laid out as PyTorch does.
    """
    try:
        inner = zipfile.ZipFile(io.BytesIO(content))
    except _DAMAGED as error:
        raise ModelError(f"{file} is not a readable {what}: {error}") from error
    with inner:
        infos = inner.infolist()
        names = [info.filename for info in infos]
        folders = {name.partition("/")[0] for name in names}
        if len(infos) > MAX_ENTRIES * 10 or len(folders) != 1 or len(set(names)) != len(names):
            raise ModelError(
                f"{file} is not a readable {what}: it is not laid out as PyTorch does, but has "
                f"{len(infos)} entries of {len(set(names))} names in {len(folders)} folders."
            )
        sizes = {info.filename.partition("/")[2]: info.file_size for info in infos}
        if sum(sizes.values()) > MAX_FILE_BYTES:
            raise ModelError(
                f"{file} would unpack to {sum(sizes.values())} bytes, more than {MAX_FILE_BYTES}: "
                "refused."
            )
        yield Archive(file=file, sizes=sizes, inner=inner, folder=folders.pop())
