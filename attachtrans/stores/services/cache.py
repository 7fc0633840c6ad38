"""Answers kept on disk: a file each, whole or not there, shared by any number of processes.

    CACHE/3f/3fa9...    a line of JSON: status, media type, time, SHA-256 of what follows; the bytes

The name is the SHA-256 of what was asked. A file comes by being renamed, so that a kill leaves at
most one with a temporary name, which goes when the cache is next made smaller.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
import time
from pathlib import Path
from threading import Lock

from attachtrans.errors import SourceError
from attachtrans.stores.services.base import Answer

_SUFFIX = ".part"
_OURS = re.compile(r"[0-9a-f]{64}|.*\.part")
_KEPT_SHARE = 0.9
_LOOKED_AT_EVERY = 0.02
"""Share of the limit that is written before the cache's size is looked at again."""


class Cache:
    """Answers in a folder; thread-safe.

    Raises:
        SourceError: the folder cannot be made.
    """

    def __init__(self, folder: Path, *, most_bytes: int, days: float) -> None:
        self._folder, self._most, self._seconds = folder, most_bytes, days * 86_400.0
        self._written = 0
        self._lock = Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(
                f"{folder}: cannot keep what services answer ({error}); name another folder "
                "with --cache, or none"
            ) from error

    def find(self, asked: str, url: str) -> Answer | None:
        """What was kept for this, unless it is too old or damaged."""
        path = self._path(asked)
        try:
            with path.open("rb") as file:
                head = json.loads(file.readline())
                data = file.read()
            fresh = 0 <= time.time() - head["time"] <= self._seconds
            if not fresh or hashlib.sha256(data).hexdigest() != head["sha256"]:
                return None
            os.utime(path)  # used now: the last to go
            return Answer(url=url, status=head["status"], media_type=head["type"], data=data)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, asked: str, answer: Answer) -> None:
        """Keep an answer; a full disk is no error, it is asked for again."""
        head = {
            "status": answer.status,
            "type": answer.media_type,
            "time": time.time(),
            "sha256": hashlib.sha256(answer.data).hexdigest(),
        }
        path = self._path(asked)
        with contextlib.suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(suffix=_SUFFIX, dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(json.dumps(head).encode() + b"\n" + answer.data)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            self._count(len(answer.data))

    def forget(self, asked: str) -> None:
        """Keep this no longer."""
        with contextlib.suppress(OSError):
            self._path(asked).unlink()

    def _path(self, asked: str) -> Path:
        name = hashlib.sha256(asked.encode()).hexdigest()
        return self._folder / name[:2] / name

    def _count(self, nbytes: int) -> None:
        with self._lock:
            self._written += nbytes
            if self._written < self._most * _LOOKED_AT_EVERY:
                return
            self._written = 0
        self._shrink()

    def _shrink(self) -> None:
        """Remove what was not used for longest, until a tenth of the limit is free."""
        files: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("[0-9a-f][0-9a-f]/*"):
            if not _OURS.fullmatch(path.name):  # the folder is somebody's, too
                continue
            with contextlib.suppress(OSError):  # another process was faster
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in files)
        if total <= self._most:
            return
        for _, size, path in sorted(files):
            if total <= self._most * _KEPT_SHARE:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
