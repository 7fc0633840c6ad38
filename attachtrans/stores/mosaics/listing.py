"""From what a collection says of its members to files on disk, each once, with safe names.

Tile indexes, footprints, STAC items and VRTs name rasters by absolute paths as well as by relative
ones that climb ("../assets/a.tif"): both are their normal use, and both are followed. Members are
only ever read, and what is written bears a name of `UniqueNames`, below the output folder.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np

from attachtrans.errors import LayoutError
from attachtrans.stores.filenames import UniqueNames, safe_stem, split_name
from attachtrans.stores.mosaics.base import Contents, Entry, Listing
from attachtrans.stores.resolve import is_remote

_NETWORK = re.compile(
    r"/vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)|(https?|ftps?|s3|gs)(:|%3a)//", re.IGNORECASE
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+._-]{2,}:")
_REMOTE = (
    "lies on a network, and this release reads rasters on this machine only: download it and name "
    "the copy"
)
_SPECIAL = "is no plain file (one of GDAL's own words): unpack or convert it to a file first"
_MISSING = "there is no such file"


def listing_of(contents: Contents, source: Path) -> Listing:
    """Find the members of a collection that was read from `source`.

    A raster that is listed twice is one member, where it was listed last. Nothing is opened.

    Raises:
        LayoutError: there are none.
    """
    base = Path(os.path.abspath(source if source.is_dir() else source.parent))  # noqa: PTH100
    found: dict[str, tuple[Entry, str | None]] = {}
    for entry in contents.entries:
        path, problem = locate(entry.text, base)
        found.pop(path, None)
        found[path] = entry, entry.problem or problem
    if not found:
        raise LayoutError(f"{source}: lists no rasters")
    paths = list(found)
    entries = [entry for entry, _ in found.values()]
    problems = {i: problem for i, (_, problem) in enumerate(found.values()) if problem}
    stamps = np.zeros((len(paths), 2), dtype=np.int64)
    for index, path in enumerate(paths):
        if index not in problems:
            stamp = stamp_of(path)
            if stamp is None:
                problems[index] = _MISSING
            else:
                stamps[index] = stamp
    unknown = (np.nan,) * 4
    return Listing(
        names=_names(paths, [entry.label for entry in entries], base),
        paths=paths,
        dates=[entry.date for entry in entries],
        bounds=np.array([entry.bounds or unknown for entry in entries], dtype=np.float64),
        stamps=stamps,
        crs=contents.crs,
        problems=problems,
    )


def locate(text: str, base: Path) -> tuple[str, str | None]:
    """(absolute path, why it is not read) of a path as a collection writes it."""
    written = text.strip()
    if written.lower().startswith("file:"):
        written = unquote(urlsplit(written).path)
    if is_network(written) or is_remote(written):
        return written, _REMOTE
    if "\0" in written or written[:1] in ("", "<") or written.startswith("/vsi"):
        return written.replace("\0", ""), _SPECIAL
    if _SCHEME.match(written) and not (base / written).exists():
        return written, _SPECIAL
    found = base / written
    if "\\" in written and not found.exists():  # written on Windows
        found = base / written.replace("\\", "/")
    return os.path.normpath(found), None


def is_network(text: str) -> bool:
    """Whether a path as GDAL reads it, or a part of it, leads to a network."""
    return _NETWORK.search(text) is not None


def stamp_of(path: str) -> tuple[int, int] | None:
    """Size in bytes and time of change in nanoseconds; None where there is no plain file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a hundred thousand of them
    except (OSError, ValueError):
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _names(paths: Sequence[str], labels: Sequence[str | None], base: Path) -> list[str]:
    """Relative to the base where they lie below it, else the bare names; each used once."""
    taken = UniqueNames()
    start = f"{base}{os.sep}"
    names = []
    for path, label in zip(paths, labels, strict=True):
        if label is not None:
            names.append(taken.take(safe_stem(label)))
            continue
        below = path.removeprefix(start) if path.startswith(start) else path
        parts = below.replace("\\", "/").split("/") if below is not path else [below]
        stem = split_name(parts[-1])[0]
        folders = [safe_stem(part) for part in parts[:-1]]
        names.append(taken.take(PurePosixPath(*folders, safe_stem(stem)).as_posix()))
    return names
