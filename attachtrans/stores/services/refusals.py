"""What servers say in the place of a picture: Esri's JSON, OGC's XML, pages for people."""

from __future__ import annotations

import json
import re
from typing import Any

from attachtrans.errors import SourceError
from attachtrans.stores.services.base import TOKEN_VARIABLE, Answer

_EXCEPTION = re.compile(
    r"<(?:\w+:)?(ServiceException|ExceptionText)\b[^>]*>(?P<words>.*?)</(?:\w+:)?\1>", re.DOTALL
)
_TITLE = re.compile(r"<title[^>]*>(?P<words>.*?)</title>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<!\[CDATA\[|\]\]>|<[^>]*>")
_LONGEST = 300
_WANTS_TOKEN = (401, 403, 498, 499)


class BadAnswerError(SourceError):
    """What came is not what was asked for. `passes`: asking again may help."""

    def __init__(self, message: str, *, passes: bool) -> None:
        super().__init__(message)
        self.passes = passes


def refusal(answer: Answer) -> BadAnswerError:
    """What an answer that is no picture says."""
    document = json_object(answer.data)
    if document is not None:
        return _esri_refusal(document)
    text = answer.data[:65536].decode("utf-8", errors="replace")
    if found := _EXCEPTION.search(text):
        return BadAnswerError(f"the server says: {_words(found['words'])}", passes=False)
    if text.lstrip()[:1] != "<":
        return BadAnswerError(
            f"what came is no picture ({answer.media_type or 'no type'}, {len(answer.data)} bytes)",
            passes=True,
        )
    if re.search(r"<(?:\w+:)?(?:ServiceException|Exception)", text):
        return BadAnswerError(f"the server says: {_words(text)}", passes=False)
    title = _TITLE.search(text)
    words = _words(title["words"] if title else text)
    return BadAnswerError(f"a web page came instead of a picture: {words}", passes=True)


def _esri_refusal(document: dict[str, Any]) -> BadAnswerError:
    error = document.get("error")
    if not isinstance(error, dict):
        return BadAnswerError(f"the server says: {_words(json.dumps(document))}", passes=True)
    code = error.get("code")
    details = error.get("details")
    said = [error.get("message"), *(details if isinstance(details, list) else [])]
    words = f"the server says: {code} {_words(' '.join(str(one) for one in said if one))}"
    if code in _WANTS_TOKEN:
        words += f"; set {TOKEN_VARIABLE} to a token that is valid"
    return BadAnswerError(words, passes=isinstance(code, int) and code >= 500)


def json_object(data: bytes) -> dict[str, Any] | None:
    """An object in JSON, None for anything else."""
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{":
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _words(text: str) -> str:
    """In one line, without tags and what a terminal would obey."""
    plain = "".join(letter if letter.isprintable() else " " for letter in _TAG.sub(" ", text))
    line = " ".join(plain.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
