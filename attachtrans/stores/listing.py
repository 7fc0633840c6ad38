"""Which rows of a photo table are meant, and the features each hangs on: keys, no content."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from attachtrans.errors import SourceError
from attachtrans.stores.geopackage import Schema, quote
from attachtrans.stores.layouts.base import LayoutName, Link, PhotoTable
from attachtrans.stores.selection import EVERYTHING, Query, Selection, link_query
from attachtrans.types import FeatureRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of one photo table in the order of their keys, some 30 bytes each.

    Row i hangs on fids[starts[i]:starts[i + 1]] of layers[layer_of[...]].
    """

    table: PhotoTable
    keys: array[int]
    starts: array[int]
    layers: tuple[str, ...]
    layer_of: array[int]
    fids: array[int]

    def __len__(self) -> int:
        return len(self.keys)

    def features(self, index: int) -> tuple[FeatureRef, ...]:
        """The selected features of a row."""
        span = range(self.starts[index], self.starts[index + 1])
        return tuple(FeatureRef(self.layers[self.layer_of[i]], self.fids[i]) for i in span)

    def first(self, count: int) -> Rows:
        """The first rows only."""
        if count >= len(self):
            return self
        end = self.starts[count]
        return Rows(
            table=self.table,
            keys=self.keys[:count],
            starts=self.starts[: count + 1],
            layers=self.layers,
            layer_of=self.layer_of[:end],
            fids=self.fids[:end],
        )


def list_rows(
    connection: sqlite3.Connection,
    schema: Schema,
    table: PhotoTable,
    selection: Selection = EVERYTHING,
) -> Rows:
    """Rows that hold something and are meant by a selection.

    Without conditions, rows without a feature are listed too unless the table says otherwise.
    The statements are finished when this returns: no lock stays behind. Raises SourceError when
    keys are not numbers (views).
    """
    pairs = _pairs(connection, schema, table, selection)
    with_orphans = table.orphans and not selection.narrows
    excluded = _rows_of(connection, schema, table, table.excluded) if with_orphans else set()
    layers = table.layers
    rows = Rows(
        table=table,
        keys=array("q"),
        starts=array("q", [0]),
        layers=layers,
        layer_of=array("H"),
        fids=array("q"),
    )
    pair = next(pairs, None)
    try:
        for (key,) in connection.execute(_keys_sql(table)):
            before = len(rows.fids)
            while pair is not None and pair[0] <= key:
                if pair[0] == key:
                    rows.layer_of.append(pair[1])
                    rows.fids.append(pair[2])
                pair = next(pairs, None)
            if len(rows.fids) > before or (with_orphans and key not in excluded):
                rows.keys.append(key)
                rows.starts.append(len(rows.fids))
    except TypeError as error:
        message = f"{schema.path}: {table.table}.{table.key} does not number the rows ({error})"
        raise SourceError(message) from error
    return rows


def _keys_sql(table: PhotoTable) -> str:
    data = quote(table.data)
    filled = f"{data} <> ''" if table.layout is LayoutName.PATH else f"{data} IS NOT NULL"
    return f"SELECT {quote(table.key)} FROM {quote(table.table)} WHERE {filled} ORDER BY 1"


def _pairs(
    connection: sqlite3.Connection, schema: Schema, table: PhotoTable, selection: Selection
) -> Iterator[tuple[int, int, int]]:
    """(row, layer index, fid) in order, each once."""
    if not table.links:
        return iter(())
    layers = table.layers
    parts: list[str] = []
    parameters: list[object] = []
    for link in table.links:
        query = link_query(schema, link, table.table, table.key, selection)
        parts.append(f"SELECT row, {layers.index(link.layer)} AS layer, fid FROM ({query.sql})")
        parameters.extend(query.parameters)
    sql = " UNION ".join(parts) + " ORDER BY 1, 2, 3"
    return iter(connection.execute(sql, parameters))


def _rows_of(
    connection: sqlite3.Connection, schema: Schema, table: PhotoTable, links: tuple[Link, ...]
) -> set[int]:
    """Rows that hang on any feature of these links."""
    queries: list[Query] = [
        link_query(schema, link, table.table, table.key, EVERYTHING) for link in links
    ]
    return {row for query in queries for row, _ in connection.execute(query.sql, query.parameters)}
