"""A file geodatabase changed as a whole: a copy is worked on, then takes its place.

GDAL keeps no journal, so a crash while it writes may leave a table damaged. The copy lies beside
the geodatabase. Where the system can exchange two folders in one step (Linux), there is no moment
without the geodatabase under its name; elsewhere `recover` puts it back after a crash in between.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attachtrans.errors import SinkError
from attachtrans.stores.durable import link_or_copy, require_room, sync_folder
from attachtrans.stores.geodatabase.kinds import refuse_writing

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # fcntl.h, renameat2(2)
_NEW, _OLD = "attachtrans-new", "attachtrans-old"


def beside(path: Path, mark: str) -> Path:
    """A hidden name beside a geodatabase; it keeps the ending that GDAL knows it by."""
    real = path.resolve()
    return real.with_name(f".{real.stem}.{mark}{real.suffix}")


def recover(path: Path) -> None:
    """Bring back a geodatabase that a crash left under its old name."""
    old = beside(path, _OLD)
    if not path.exists() and old.exists():
        old.rename(path.resolve())


def clear(path: Path) -> None:
    """Remove what a crash left of a copy, or of what a copy has replaced."""
    recover(path)
    for mark in (_NEW, _OLD):
        shutil.rmtree(beside(path, mark), ignore_errors=True)


@contextmanager
def edition(path: Path) -> Iterator[Path]:
    """A copy to change; it takes the geodatabase's place when the block ends without an error.

    For a geodatabase that is not there yet, the path where to make it. Raises SinkError.
    """
    clear(path)
    new = beside(path, _NEW)
    try:
        if path.exists():
            refuse_writing(path)
            require_room(new.parent, bytes_of(path), f"for a copy of {path.name} to work on")
            shutil.copytree(path, new)
        yield new
        for file in new.iterdir():
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())
        sync_folder(new)
        if path.exists():
            refuse_writing(path)  # somebody may have opened it meanwhile
        _put_in_place(new, path.resolve())
    except OSError as error:
        raise SinkError(
            f"{path} cannot be changed: {error}. It is as it was; put this right and run the same "
            "command again."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _put_in_place(new: Path, path: Path) -> None:
    if not path.exists():
        new.rename(path)
    elif not _exchange(new, path):
        old = beside(path, _OLD)
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
        new.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    sync_folder(path.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Let two folders have each other's name in one step; False where that cannot be done."""
    try:
        function = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError, TypeError):  # not Linux
        return False
    names = os.fsencode(first), _AT_FDCWD, os.fsencode(second)
    return bool(function(_AT_FDCWD, *names, _RENAME_EXCHANGE) == 0)


def bytes_of(folder: Path) -> int:
    """How many bytes the files in a folder have."""
    return sum(file.stat().st_size for file in folder.iterdir())


def keep_copy(path: Path, target: Path) -> None:
    """A backup of a geodatabase: second names of its files, which nothing here ever changes.

    So it costs no space, on another disk the space of a copy. Only a complete one ever bears the
    name `target`. Raises SinkError.
    """
    partial = target.with_name(f"{target.name}.part")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for file in path.iterdir():
            link_or_copy(file, partial / file.name)
        partial.rename(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise SinkError(
            f"the backup {target} cannot be written: {error}. Nothing was changed. Free disk space "
            "or put it elsewhere with --work-dir; --no-backup goes on without one."
        ) from error
    sync_folder(target.parent)
