"""Files replaced so that a crash leaves the old one or the new one, never a mixture."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from attachtrans.errors import BusyError, SinkError

_TEMPORARY = ".attachtrans-tmp"
_LOCK = ".attachtrans-lock"

# File systems on which SQLite's shared-memory WAL does not work (sqlite.org/wal.html).
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "afs", "fuse.sshfs", "fuse.rclone", "davfs")


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` in the place of `path`, atomically and durably.

    The temporary file lies beside it, so that the final step is one rename inside a folder.
    Permissions and modification time of a file that was there are kept: sync tools and QGIS show
    when the photo was taken or copied, not when it was translated.
    """
    temporary = temporary_for(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copystat(path, temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def temporary_for(path: Path) -> Path:
    """Where a file is built that will be `path` once it is complete: hidden, beside it."""
    return path.with_name(f".{path.name}{_TEMPORARY}")


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a complete file its final name, atomically and durably, in the place of any other."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep other runs of attachtrans from writing `path` (a file, or a folder's files) meanwhile.

    An empty, hidden file is locked by SQLite: such a lock ends with its process, on every system.

    Raises:
        BusyError: another run holds it.
        SinkError: the folder cannot be written to.
    """
    inside = path.is_dir()
    lock = path / _LOCK if inside else path.with_name(f".{path.name}{_LOCK}")
    try:
        connection = sqlite3.connect(lock, isolation_level=None, timeout=0)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error:
            connection.close()
            raise
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise BusyError(
                f"another run of attachtrans writes to {path} (it holds {lock}). Wait for it to "
                "end, or stop it; nothing was changed by this run."
            ) from error
        raise SinkError(f"{lock.parent} cannot be written to: {error}") from error
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):  # of a file that is open, on Windows
            lock.unlink(missing_ok=True)
        connection.close()


def link_over(source: Path, target: Path) -> None:
    """Make `target` another name of `source` (a hard link), in the place of what it named."""
    temporary = temporary_for(target)
    temporary.unlink(missing_ok=True)
    os.link(source, temporary)
    temporary.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; a no-op where folders cannot be opened (Windows)."""
    with contextlib.suppress(PermissionError, NotImplementedError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def digest_of_file(path: Path) -> str:
    """SHA-256 in hex of a file's content, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Give `source` a second name at `target`: a hard link, or a copy on another device.

    Does nothing when `target` is there: the first one holds the original.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another device, or a file system without hard links
        temporary = temporary_for(target)
        shutil.copy2(source, temporary)
        put_in_place(temporary, target)
    sync_folder(target.parent)


def require_room(folder: Path, nbytes: int, purpose: str) -> None:
    """Raise SinkError when a folder's disk has less free space than that."""
    free = shutil.disk_usage(folder).free
    if free < nbytes:
        message = (
            f"{folder} has {free / 1e6:.1f} MB free, {nbytes / 1e6:.1f} MB are needed {purpose}. "
            "Nothing was changed. Free some space, or name another disk with --work-dir."
        )
        raise SinkError(message)


def is_on_network(path: Path) -> bool:
    """Whether the file lies on a network file system, as far as the system tells."""
    resolved = path.resolve()
    if str(resolved).startswith("\\\\"):
        return True
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    best, kind = "", ""
    for line in mounts.splitlines():
        _, point, file_system, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if resolved.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, file_system
    return kind.startswith(_NETWORK_FILE_SYSTEMS)
