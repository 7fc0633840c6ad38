"""Further columns of the source's photo tables, carried along: KEYWORDS, ATT_TITLE, timestamps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attachtrans.errors import SourceError
from attachtrans.stores.carry import raw_text
from attachtrans.stores.geopackage import Schema, connect, quote, same
from attachtrans.stores.layouts.base import LayoutName, PhotoTable
from attachtrans.stores.photos import Place
from attachtrans.stores.schema import Field, source_fields


class ExtraColumns:
    """The columns beside the content in tables that hold photos and nothing else.

    Not those of a feature table (features carry them already), nor of tables with paths: a file
    is one photo, however many rows name it.
    """

    def __init__(
        self, source: Path, schema: Schema, tables: Iterable[PhotoTable], own: Sequence[str]
    ) -> None:
        """`own`: the columns of the output's photo table, whose names are taken."""
        self._source = source
        self._connection = connect(source)
        self._connection.text_factory = raw_text
        self._fields: dict[str, tuple[Field, ...]] = {}
        for photos in tables:
            table = schema.table(photos.table)
            beside = not any(same(photos.table, layer) for layer in photos.layers)
            if table is not None and photos.layout is not LayoutName.PATH and beside:
                joins = [link.photo_column for link in photos.links if link.mapping is None]
                kept = [n for n in photos.extra if not any(same(n, join) for join in joins)]
                leave = [c.name for c in table.columns if c.name not in kept]
                self._fields[photos.id] = tuple(
                    replace(field, constraint="")  # rows of other tables have no value
                    for field in source_fields(self._connection, table, own, leave)
                )

    def fields(self, tables: Iterable[PhotoTable]) -> tuple[Field, ...]:
        """The columns that an output needs for the photos of these tables."""
        found: dict[str, Field] = {}
        for table in tables:
            for field in self._fields.get(table.id, ()):
                found.setdefault(field.name.lower(), field)
        return tuple(found.values())

    def values(self, place: Place) -> dict[str, Any]:
        """One photo's values, by the output's column names."""
        fields = self._fields.get(place.table.id, ())
        if not fields or place.row is None:
            return {}
        names = ", ".join(quote(field.source or "") for field in fields)
        query = f"SELECT {names} FROM {quote(place.table.table)} WHERE {quote(place.table.key)} = ?"
        try:
            rows = self._connection.execute(query, (place.row,)).fetchall()
        except sqlite3.Error as error:
            message = f"{self._source}: {place.table.table} cannot be read: {error}"
            raise SourceError(message) from error
        if not rows:
            return {}  # deleted since its content was read
        return {field.name: value for field, value in zip(fields, rows[0], strict=True)}

    def close(self) -> None:
        """Let go of the source."""
        self._connection.close()
