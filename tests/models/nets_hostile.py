"""Files that attack whoever loads them, for tests: archives whose entries were exchanged."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path


class Evil:
    """A pickle of this creates a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.canary),)


def exchange(path: Path, entries: Mapping[str, bytes | Callable[[bytes], bytes]]) -> Path:
    """Replace or add entries of an archive by the end of their names; a function edits."""
    with zipfile.ZipFile(path) as archive:
        held = {info.filename: archive.read(info) for info in archive.infolist()}
    folder = next(iter(held)).partition("/")[0]
    for end, change in entries.items():
        names = [name for name in held if name.endswith(f"/{end}")] or [f"{folder}/{end}"]
        for name in names:
            held[name] = change if isinstance(change, bytes) else change(held[name])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in held.items():
            archive.writestr(name, content)
    return path
