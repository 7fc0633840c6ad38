"""From the text of a path column to files on disk, never outside one folder."""

from __future__ import annotations

import json
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_FILE_LIKE = re.compile(r"[^/\\]\.(?=[0-9]?[A-Za-z])[A-Za-z0-9]{2,5}$")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_DELETED = "Deleted"
_SEPARATORS = ("\n", ";", "|", ",")
_QUOTES = ('""', "''", "[]", "{}")
_SEARCHED_ENTRIES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one path of a column leads to.

    text     the path as cleaned: no quotes, no file://, "/" between folders
    path     the real path (links resolved) of a file, None when there is none
    folder   the one of the resolver's folders that the file is in
    problem  why there is none
    """

    text: str
    path: Path | None = None
    folder: Path | None = None
    problem: str | None = None


class Resolver:
    """Finds the files that a column's values mean, inside some folders.

    Folders are tried in order, spellings from the literal to the tolerant: the path as it is, with
    other case or Unicode form of its names, and for absolute paths that are dead (the data have
    moved) the longest tail that exists, then the file name if one file only has it. What leads out
    of the folder it was looked for in, by "..", an absolute path or a link, is refused.

    remap: (old, new) beginnings of paths, tried first; relative new ones start in the folders.
    Listings are remembered: use a new one after files have moved.
    """

    def __init__(self, folders: Sequence[Path], remap: tuple[tuple[str, str], ...] = ()) -> None:
        self._folders = [_Folder(folder) for folder in folders]
        self._remap = remap

    def resolve(self, value: str) -> list[Found]:
        """The files of one value: one path, or a list of paths when the whole is no file.

        Lists are JSON arrays, brackets, or separated by line ends, ';', '|' or ','. A text is only
        split when a part of it exists or every part looks like a file name, so that names
        with commas stay whole. What Kobo writes for a photo that was deleted is none.
        """
        texts = [text for text in _json_items(value) if text.strip() != _DELETED]
        return [found for text in texts for found in self._split(text, _SEPARATORS)]

    def _split(self, text: str, separators: tuple[str, ...]) -> list[Found]:
        whole = self._one(text)
        if whole.path is not None or is_remote(whole.text):
            return [whole]
        for index, separator in enumerate(separators):
            parts = [part for part in _unwrapped(text).split(separator) if part.strip()]
            if len(parts) < 2:
                continue
            found = [one for part in parts for one in self._split(part, separators[index + 1 :])]
            if any(one.path for one in found) or all(_FILE_LIKE.search(o.text) for o in found):
                return found
        return [whole]

    def _one(self, value: str) -> Found:
        raw = _local(_strip(value))
        text = _slashes(raw)
        if is_remote(raw):
            return Found(text=raw, problem="is a web address, not a local file")
        if "\0" in raw or not raw:
            return Found(text=raw.replace("\0", ""), problem="is not a path")
        problem = None
        for look in (self._literal, self._tolerant, self._moved, _Folder.by_uuid):
            for folder in self._folders:
                found = look(folder, raw)
                if isinstance(found, Path):
                    return Found(text=text, path=found, folder=folder.root)
                problem = problem or found
            if problem is not None:
                return Found(text=text, problem=problem)
        names = " or ".join(str(folder.root) for folder in self._folders)
        what = "is gone, and no file of its name is" if is_absolute(text) else "is not"
        problem = f"{what} in {names} (--base names another folder, --remap a move)"
        return Found(text=text, problem=problem)

    def _literal(self, folder: _Folder, raw: str) -> Path | str | None:
        problem = None
        for variant in dict.fromkeys((raw, _slashes(raw))):
            for old, new in self._remap:
                rest = _after(variant, old)
                if rest is not None:
                    found = folder.file(folder.root / _slashes(new) / rest.lstrip("/"))
                    if found is not None:
                        return found
            found = folder.file(folder.root / variant)
            if isinstance(found, Path):
                return found
            problem = problem or found
        return problem

    def _tolerant(self, folder: _Folder, raw: str) -> Path | str | None:
        return None if is_absolute(raw) else folder.tolerant(_slashes(raw))

    def _moved(self, folder: _Folder, raw: str) -> Path | str | None:
        if not is_absolute(raw):
            return None
        parts = [part for part in _slashes(raw).split("/") if part]
        for start in range(1, len(parts)):
            found = folder.tolerant("/".join(parts[start:]))
            if isinstance(found, Path):
                return found
        return folder.by_name(parts[-1]) if parts else None


class _Folder:
    """One folder that files are looked for in, with what was learnt of it."""

    def __init__(self, folder: Path) -> None:
        self.root = Path(os.path.realpath(folder))
        self._listings: dict[Path, dict[str, list[str]]] = {}
        self._names: dict[str, list[Path]] | None = None

    def file(self, candidate: Path) -> Path | str | None:
        """The real path of a file in here; why it is not taken; None: there is nothing."""
        try:
            real = Path(os.path.realpath(candidate))
            mode = real.stat().st_mode
        except (OSError, ValueError):
            return None
        if not real.is_relative_to(self.root):
            return (
                f"leads to {real}, outside {self.root}; only files in that folder are touched "
                "(--base names another)"
            )
        return real if stat.S_ISREG(mode) else "is not a file"

    def tolerant(self, text: str) -> Path | str | None:
        """The file whose path differs only by the case or the Unicode form of its names."""
        folder = self.root
        for part in text.split("/"):
            if part in ("", "."):
                continue
            if part == "..":
                return None
            names = self._listing(folder).get(_folded(part), [])
            if part not in names and len(names) != 1:
                return None
            folder = folder / (part if part in names else names[0])
        return self.file(folder)

    def by_name(self, name: str) -> Path | str | None:
        """The only file of that name in here and below."""
        if self._names is None:
            self._names = {}
            seen = 0
            for folder, _, names in os.walk(self.root):
                seen += len(names)
                if seen > _SEARCHED_ENTRIES:
                    break
                for found in names:
                    self._names.setdefault(_folded(found), []).append(Path(folder) / found)
        matches = [self.file(path) for path in self._names.get(_folded(name), [])]
        if len(matches) > 1:
            return f"is gone, and {len(matches)} files in {self.root} have its name; use --remap"
        return matches[0] if matches else None

    def by_uuid(self, text: str) -> Path | str | None:
        """A Fulcrum photo: its id is the file's name up to the ending."""
        if not _UUID.fullmatch(text):
            return None
        for names in self._listing(self.root).values():
            for name in names:
                if _folded(Path(name).stem) == _folded(text):
                    return self.file(self.root / name)
        return None

    def _listing(self, folder: Path) -> dict[str, list[str]]:
        listing = self._listings.get(folder)
        if listing is None:
            listing = {}
            try:
                names = [entry.name for entry in folder.iterdir()]
            except OSError:
                names = []
            for name in names:
                listing.setdefault(_folded(name), []).append(name)
            self._listings[folder] = listing
        return listing


def looks_like_path(value: str) -> bool:
    """Whether text reads like a file name or path (a short ending), or a list of them."""
    texts = list(_json_items(value))
    return bool(texts) and all(
        len(text) < 4096 and _FILE_LIKE.search(_strip(text)) is not None for text in texts
    )


def _json_items(value: str) -> Iterator[str]:
    text = value.strip()
    if text[:1] + text[-1:] in ("[]", "{}"):
        try:
            items = json.loads(text)
        except ValueError:
            items = None
        if isinstance(items, list):
            yield from (item for item in items if isinstance(item, str) and item.strip())
            return
    yield value


def _strip(value: str) -> str:
    """Without the blanks, quotes and brackets around it."""
    text = value.strip()
    while len(text) > 1 and text[0] + text[-1] in _QUOTES:
        text = text[1:-1].strip()
    return text


def _unwrapped(value: str) -> str:
    """As `_strip`, but with the quotes that are around the items of a list, not around it all."""
    text = value.strip()
    while len(text) > 1 and text[0] + text[-1] in _QUOTES:
        if text[0] == text[-1] and text[0] in text[1:-1]:
            break
        text = text[1:-1].strip()
    return text


def _local(text: str) -> str:
    """A file:// address as a path; anything else as it is."""
    if not text.lower().startswith("file:"):
        return text
    parts = urlsplit(text)
    path = unquote(parts.path, errors="surrogateescape")
    if _DRIVE.match(path.lstrip("/")):
        return path.lstrip("/")
    host = "" if parts.netloc in ("", "localhost") else f"//{parts.netloc}"
    return host + path


def is_remote(text: str) -> bool:
    """Whether text is the address of something on a network."""
    return _URL.match(text) is not None


def is_absolute(value: str) -> bool:
    """Whether text is the path of a place of its own, on this machine or another."""
    text = _local(_strip(value))
    return text.startswith(("/", "\\")) or _DRIVE.match(text) is not None


def _slashes(text: str) -> str:
    return text.replace("\\", "/")


def _after(text: str, old: str) -> str | None:
    """What follows a beginning, compared by whole folder names; None when it is another."""
    old = _slashes(old).rstrip("/")
    text = _slashes(text)
    same_case = text[: len(old)] == old or (
        _DRIVE.match(old) is not None and text[: len(old)].lower() == old.lower()
    )
    rest = text[len(old) :]
    return rest if same_case and (rest == "" or rest.startswith("/")) else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
