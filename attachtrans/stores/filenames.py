"""File names for attachments: safe on every system, and each used once.

A name that a database holds may be anything: a path, "..", a reserved word of Windows, two names
that a file system takes for one. What comes out of here is one plain file name.
"""

from __future__ import annotations

import re
import unicodedata

from attachtrans.image.base import Media

# What Windows, the strictest system, does not take, and what shells and archives stumble over.
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ufeff]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}$")
_MAX_BYTES = 120
"""Of a stem. Names may have 255; this leaves room for numbers, endings and temporary files."""

# Endings of one format; a photo keeps the one it has, Photo.JPG stays Photo.JPG.
_FAMILIES = (
    frozenset({".jpg", ".jpeg", ".jpe", ".jfif"}),
    frozenset({".tif", ".tiff"}),
    frozenset({".heic", ".heif", ".hif"}),
)
_IMAGE_ENDINGS = frozenset(
    {".png", ".gif", ".webp", ".bmp", ".avif", ".jxl", ".jp2"}.union(*_FAMILIES)
)


def safe_stem(text: str) -> str:
    """Text as a file name without ending: never empty, no folders, at most 120 bytes of UTF-8."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    text = _UNSAFE.sub("_", text).strip(" .")
    text = text.encode("utf-8")[:_MAX_BYTES].decode("utf-8", "ignore").rstrip(" .")
    if _RESERVED.fullmatch(text):
        text = f"_{text}"
    return text or "photo"


def split_name(name: str) -> tuple[str, str]:
    """(stem, ending with its dot or "") of what a source calls a file; folders are left out."""
    last = re.split(r"[/\\]", name)[-1]
    found = _EXTENSION.search(last)
    if found is None or found.start() == 0:
        return last, ""
    return last[: found.start()], found.group()


def ending_for(media: Media, own: str) -> str:
    """The ending that content asks for; its own where that says the same or cannot be judged.

    media is what the content is, own the ending of the name it has ("" when none). Documents keep
    theirs (a .docx is a zip by its content), unless it promises an image.
    """
    folded = own.lower()
    if folded == media.extension or any({folded, media.extension} <= f for f in _FAMILIES):
        return own
    if media.is_image or not own or folded in _IMAGE_ENDINGS:
        return media.extension
    return own


def promises_image(ending: str) -> bool:
    """Whether a file's ending (with its dot) says that it is a picture."""
    return ending.lower() in _IMAGE_ENDINGS


class UniqueNames:
    """Gives each name once: the second "a" becomes "a_2".

    Names that differ by case or by the Unicode form of their letters are one here, as they are on
    macOS and Windows.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, name: str) -> str:
        """The name, or the name with the next free number."""
        folded = _folded(name)
        unique = name
        while _folded(unique) in self._taken:
            self._next[folded] = self._next.get(folded, 1) + 1
            unique = f"{name}_{self._next[folded]}"
        self._taken.add(_folded(unique))
        return unique


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())
