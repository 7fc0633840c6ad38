"""Tables as text: delimiter, quotes and header are found out, comments left out.

Spellings that occur: CSV of spreadsheets (comma; or semicolon with decimal commas), Pix4D's and
Bingo's columns between spaces, Metashape's header behind a "#", names in single quotes.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.stores.poses.base import number

_DELIMITERS = ("\t", ";", ",", "|")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """Cells as they are written; `named` says whether the columns' names are known."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    named: bool


def read_text_table(path: Path, columns: tuple[str, ...] = ()) -> TextTable:
    """A table from a text file.

    Args:
        path: of the file.
        columns: names for its columns; a header in the file is then left out.

    Raises:
        SourceError: it cannot be read, or is no table.
        ArgumentError: `columns` are more or fewer than those of the file.
    """
    lines = [line for line in _text(path).splitlines() if line.strip()]
    plain = [line for line in lines if not line.lstrip().startswith("#")]
    if not plain:
        raise SourceError(f"{path}: has no rows")
    cells = _cells(path, plain)
    head = () if _is_data(cells[0]) else cells.pop(0)
    if not head:
        # Metashape's header is the last of the comments above the data.
        comments = [line.strip().lstrip("#") for line in lines[: lines.index(plain[0])]]
        last = _cells(path, comments[-1:], like=plain[0]) if comments else []
        head = last[0] if last and len(last[0]) > 2 and not _is_data(last[0]) else ()
    width = max((len(row) for row in cells), default=len(head))
    if columns and len(columns) != width:
        raise ArgumentError(f"--poses-columns names {len(columns)} columns; {path} has {width}")
    named = columns or head
    names = named or tuple(f"column {place}" for place in range(1, width + 1))
    return TextTable(columns=names, rows=tuple(cells), named=bool(named))


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
    encoding = "utf-16" if raw[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        return raw.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError:
        # Of spreadsheets in Western Europe; wrong letters in names match no photo, and harm none.
        return raw.decode("cp1252", errors="replace")


def _cells(path: Path, lines: list[str], like: str = "") -> list[tuple[str, ...]]:
    """The cells of lines that are delimited as `like`, or as the first of them."""
    sample = like or lines[0]
    mark = next((mark for mark in _DELIMITERS if mark in _unquoted(sample)), " ")
    quote = "'" if sample.lstrip().startswith("'") else '"'
    reader = csv.reader(
        (line.strip() if mark == " " else line for line in lines),
        delimiter=mark,
        quotechar=quote,
        skipinitialspace=True,
    )
    try:
        read = [tuple(cell.strip() for cell in row) for row in reader]
    except csv.Error as error:
        raise SourceError(f"{path}: is no table that can be read: {error}") from error
    if mark == ",":
        return read
    return [tuple(_decimal_point(cell) for cell in row) for row in read]


def _unquoted(line: str) -> str:
    return re.sub(r"\"[^\"]*\"|'[^']*'", "", line)


def _decimal_point(cell: str) -> str:
    return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell


def _is_data(cells: tuple[str, ...]) -> bool:
    """Whether one of the cells is a number, which no column is called."""
    return any(number(cell) is not None for cell in cells)
