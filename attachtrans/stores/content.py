"""How columns hold a photo's bytes: as a BLOB, as base64, or as Python's b'...' text.

Base64 is what QGIS HTML widgets show; b'...' is what pyogrio makes of bytes without Arrow.
"""

from __future__ import annotations

import ast
import base64
import binascii
import re

from attachtrans.errors import SourceError

_DATA_URI = re.compile(r"data:(?P<type>[\w.+/-]*)(?P<rest>(;[\w=.+-]+)*);base64,", re.IGNORECASE)
_LINE = re.compile(r"\r?\n")


def content_of(value: object) -> bytes:
    """The bytes that a column's value stands for.

    value is what SQLite gives: bytes are taken as they are; text is Python's b'...' or base64,
    with or without line breaks and a "data:image/jpeg;base64," before it. Raises SourceError for
    NULL, numbers and other text.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return _from_repr(value) if is_repr(value) else _from_base64(value)
    message = "holds no content (NULL)" if value is None else "holds a number, not a photo"
    raise SourceError(message)


def value_like(data: bytes, old: object, media_type: str = "") -> bytes | str:
    """Bytes in the form of the value they replace, so that its readers go on working.

    media_type replaces the one in the value's "data:" beginning, when both are there.
    """
    if not isinstance(old, str):
        return data
    if is_repr(old):
        return repr(data)
    text = base64.b64encode(data).decode("ascii")
    prefix = _DATA_URI.match(old)
    body = old if prefix is None else old[prefix.end() :]
    newline = _LINE.search(body.strip())
    if newline is not None:
        width = newline.start()
        lines = [text[i : i + width] for i in range(0, len(text), width)]
        text = newline.group().join(lines)
    if prefix is None:
        return text
    kind = media_type or prefix["type"]
    return f"data:{kind}{prefix['rest']};base64,{text}"


def is_repr(text: str) -> bool:
    """Whether text looks like Python's b'...'."""
    return text[:2] in ("b'", 'b"')


def head_of_text(text: str) -> bytes:
    """The first bytes that a piece of text from the beginning of a value stands for.

    b"" when it can be neither base64 nor b'...'. The piece may end anywhere.
    """
    if is_repr(text):
        cut = re.sub(r"\\(x[0-9a-f]?)?$", "", text[2:].rstrip("'\""))
        try:
            return content_of(f"{text[:2]}{cut}{text[1]}")
        except SourceError:
            return b""
    prefix = _DATA_URI.match(text)
    body = "".join((text if prefix is None else text[prefix.end() :]).split())
    try:
        return base64.b64decode(body[: len(body) // 4 * 4], validate=True)
    except (binascii.Error, ValueError):
        return b""


def _from_repr(text: str) -> bytes:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        message = f"holds text like b'...' that is damaged ({error})"
        raise SourceError(message) from error
    if not isinstance(value, bytes):
        message = "holds text that is not a photo"
        raise SourceError(message)
    return value


def _from_base64(text: str) -> bytes:
    prefix = _DATA_URI.match(text)
    body = text if prefix is None else text[prefix.end() :]
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"holds text that is not base64 ({error})"
        raise SourceError(message) from error


def is_photo(head: bytes) -> bool:
    """Whether bytes begin like an image of any kind; its name plays no part."""
    from attachtrans.image.sniff import sniff  # NumPy and OpenCV come with it

    return sniff(head).is_image
