"""The little of YAML that camera files are written in: nested mappings, lists, numbers, text.

Read are mappings by indentation, lists in brackets (over several lines too), scalars, quotes,
comments, tags (left out). Not read: anchors, lists by dashes, block text. It makes values only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attachtrans.errors import SourceError

_MOST_LINES = 100_000
_LONGEST_LINE = 10_000
_DEEPEST = 20
_KEY = re.compile(r"(\s*)((?:[^\s:#\"'\[{][^:#]{0,100}?)|\"[^\"]*\"|'[^']*')\s{0,100}:(?:\s(.*))?$")


def read_yaml(text: str) -> dict[str, object]:
    """The mapping that a text is.

    Raises:
        SourceError: another kind of YAML, or none; names the line.
    """
    root: dict[str, object] = {}
    # Indentation of each open mapping, and the mapping.
    open_: list[tuple[int, dict[str, object]]] = [(-1, root)]
    for place, line in _logical_lines(text):
        match = _KEY.match(line)
        if match is None:
            raise SourceError(
                f"line {place} is not the YAML of camera files: {line.strip()[:60]!r}"
            )
        indent, name, rest = len(match[1]), _scalar(match[2]), (match[3] or "").strip()
        while indent <= open_[-1][0]:
            open_.pop()
        holder = open_[-1][1]
        rest = re.sub(r"^!\S*\s*", "", rest)
        if rest:
            holder[str(name)] = _value(rest)
            continue
        if len(open_) > _DEEPEST:
            raise SourceError(f"line {place}: YAML nested deeper than a camera file is")
        child: dict[str, object] = {}
        holder[str(name)] = child
        open_.append((indent, child))
    return root


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) without comments and directives, lists in brackets on one line each."""
    held: list[str] = []
    began = open_ = 0
    for place, raw in enumerate(text.splitlines()[:_MOST_LINES], start=1):
        if len(raw) > _LONGEST_LINE:
            raise SourceError(f"line {place} is longer than any of a camera file")
        line = re.sub(r"(^|\s)#.*$", "", raw.expandtabs()).rstrip()
        if not held and (not line.strip() or line.startswith(("%", "---", "..."))):
            continue
        began = began if held else place
        held.append(line if not held else line.strip())
        open_ += line.count("[") - line.count("]")
        if open_ <= 0:
            yield began, " ".join(held)
            held, open_ = [], 0
    if held:
        raise SourceError(f"line {began}: a list in brackets does not end")


def _value(text: str) -> object:
    if text.startswith("["):
        inner = text.strip("[] ")
        return [_scalar(cell) for cell in inner.split(",") if cell.strip()] if inner else []
    return _scalar(text)


def _scalar(text: str) -> object:
    plain = text.strip()
    if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "\"'":
        return plain[1:-1]
    try:
        return float(plain)
    except ValueError:
        return plain
