"""Photos in a column of the features themselves, or of a table of their own: BLOB or text.

There is no registration to go by: a column holds photos when some of its first values do.
"""

from __future__ import annotations

from dataclasses import dataclass

from attachtrans.stores.content import head_of_text, is_photo, is_repr
from attachtrans.stores.geopackage import Column, Table, quote, read_blob, same
from attachtrans.stores.layouts.base import (
    Encoding,
    Findings,
    Inspection,
    LayoutName,
    PhotoTable,
    Refusal,
    first_column,
    remaining,
    size_column,
)
from attachtrans.stores.layouts.parents import links_of

_SAMPLED = 50
_SEARCHED = 10_000
_HEAD = 4096
_TEXT_HEAD = 400
_SHORTEST_TEXT = 64
_PREVIEWS = ("thumb", "preview", "icon")
_NOT_PHOTOS = ("nga_", "features_preview")
_CONTENT_TYPES = ("content_type", "mime_type", "mimetype", "media_type")
_NAMES = ("att_name", "file_name", "filename")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """What the first filled values of a column are."""

    column: str
    encoding: Encoding
    seen: int
    photos: int


class BlobColumns:
    """Columns other than geometries whose values are photos: BLOB, base64 or b'...' text."""

    name = LayoutName.BLOB

    def find(self, inspection: Inspection, taken: frozenset[str]) -> Findings:
        """Look into every table that no other layout has taken; tile pyramids never."""
        found = Findings()
        for table in inspection.schema.tables:
            if not table.is_tiles and table.key is not None and table.name.lower() not in taken:
                found += _look_into(inspection, table)
        return found


def _look_into(inspection: Inspection, table: Table) -> Findings:
    wish = inspection.wish
    samples = [
        sample
        for column in table.columns
        if _may_hold_photos(table, column)
        for sample in _samples(inspection, table, column.name)
    ]
    photos = [s for s in samples if s.photos or wish.names(table.name, s.column)]
    full = [s for s in photos if s.photos and not s.column.lower().startswith(_PREVIEWS)]
    found = Findings()
    for sample in photos:
        why = ""
        if table.name.lower().startswith(_NOT_PHOTOS):
            why = "" if wish.opts_in(table.name, sample.column) else "map symbols or previews"
        elif full and sample not in full and not wish.names(table.name, sample.column):
            why = f"small pictures beside {full[0].column}"
        if why:
            refusal = Refusal(
                table=table.name, column=sample.column, layout=LayoutName.BLOB, reason=why
            )
            found += Findings(excluded=(refusal,))
        else:
            found += Findings(tables=(_read(inspection, table, sample),))
    return found


def _may_hold_photos(table: Table, column: Column) -> bool:
    if table.geometry is not None and same(table.geometry.column, column.name):
        return False
    return column.holds_blobs or column.holds_text


def _samples(inspection: Inspection, table: Table, column: str) -> list[_Sample]:
    """One sample of a column that has BLOBs or long texts, none of another."""
    name, rows = quote(column), quote(table.name)
    kinds = inspection.connection.execute(
        f"SELECT k, typeof(v) FROM (SELECT {quote(table.key or 'rowid')} AS k, {name} AS v "
        f"FROM {rows} WHERE {name} IS NOT NULL LIMIT {_SEARCHED}) WHERE typeof(v) = 'blob' "
        f"OR (typeof(v) = 'text' AND length(v) >= {_SHORTEST_TEXT}) LIMIT {_SAMPLED}"
    ).fetchall()
    photos, encoding = 0, Encoding.BLOB
    for key, kind in kinds:
        if kind == "blob":
            head = _blob_head(inspection, table, column, key)
        else:
            (text,) = inspection.connection.execute(
                f"SELECT substr({name}, 1, {_TEXT_HEAD}) FROM {rows} "
                f"WHERE {quote(table.key or 'rowid')} = ?",
                (key,),
            ).fetchone()
            head = head_of_text(text)
            if is_photo(head):
                encoding = Encoding.REPR if is_repr(text) else Encoding.BASE64
        photos += is_photo(head)
    if not kinds:
        return []
    return [_Sample(column=column, encoding=encoding, seen=len(kinds), photos=photos)]


def _blob_head(inspection: Inspection, table: Table, column: str, key: int) -> bytes:
    if table.is_view:
        (head,) = inspection.connection.execute(
            f"SELECT substr({quote(column)}, 1, {_HEAD}) FROM {quote(table.name)} "
            f"WHERE {quote(table.key or 'rowid')} = ?",
            (key,),
        ).fetchone()
        return bytes(head)
    return read_blob(inspection.connection, table.name, column, key, _HEAD)


def _read(inspection: Inspection, table: Table, sample: _Sample) -> PhotoTable:
    content_type = first_column(table, _CONTENT_TYPES)
    name = first_column(table, _NAMES)
    size = size_column(inspection.connection, table, sample.column)
    how = {
        Encoding.BLOB: "BLOB column",
        Encoding.BASE64: "text column with base64",
        Encoding.REPR: "text column with Python's b'...' (written by pyogrio)",
    }
    return PhotoTable(
        layout=LayoutName.BLOB,
        table=table.name,
        key=table.key or "rowid",
        data=sample.column,
        content_type=content_type,
        name=name,
        size=size,
        encoding=sample.encoding,
        links=links_of(inspection, table),
        extra=remaining(table, sample.column, content_type, name, size),
        reason=f"{how[sample.encoding]}: {sample.photos} of the first {sample.seen} values are "
        "photos",
        read_only=f"{table.name} is a view" if table.is_view else None,
    )
