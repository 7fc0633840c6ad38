"""Which features' photos are meant: --where, --bbox and --limit."""

from __future__ import annotations

import math
import re
import sqlite3
from dataclasses import dataclass

from attachtrans.errors import ArgumentError
from attachtrans.stores.geopackage import Schema, Table, quote, same
from attachtrans.stores.gpb import envelope
from attachtrans.stores.layouts.base import Link

_MEETS = "attachtrans_meets"
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Conditions that features must meet; with none, photos without a feature count too.

    where  an SQL expression on the columns of the feature layers
    bbox   (min_x, min_y, max_x, max_y) in the layer's CRS; geometries that touch it are in
    limit  the first so many photos
    """

    where: str | None = None
    bbox: tuple[float, float, float, float] | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.where is not None and not self.where.strip():
            message = "--where is empty; give an SQL condition such as \"status = 'new'\""
            raise ArgumentError(message)
        if self.bbox is not None:
            min_x, min_y, max_x, max_y = self.bbox
            finite = all(math.isfinite(value) for value in self.bbox)
            if not finite or min_x > max_x or min_y > max_y:
                message = f"--bbox {self.bbox}: give four numbers MIN_X MIN_Y MAX_X MAX_Y"
                raise ArgumentError(message)
        if self.limit is not None and self.limit < 1:
            message = f"--limit {self.limit}: give a number of photos, 1 or more"
            raise ArgumentError(message)

    @property
    def narrows(self) -> bool:
        """Whether features are chosen, so that photos without one are not meant."""
        return self.where is not None or self.bbox is not None


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """An SQL query with its parameters."""

    sql: str
    parameters: tuple[object, ...] = ()


def check_selection(
    connection: sqlite3.Connection, schema: Schema, layers: tuple[str, ...], selection: Selection
) -> None:
    """Raise ArgumentError when the conditions cannot be asked of one of the layers."""
    if not selection.narrows:
        return
    if not layers:
        message = "--where and --bbox choose features, but the photos here hang on no layer"
        raise ArgumentError(message)
    for name in layers:
        layer = _layer(schema, name)
        if selection.bbox is not None and layer.geometry is None:
            message = f"--bbox: {name} has no geometry; use --where or name another --layer"
            raise ArgumentError(message)
        if selection.where is not None:
            _check_where(connection, layer, selection.where)


def _check_where(connection: sqlite3.Connection, layer: Table, where: str) -> None:
    columns = ", ".join(column.name for column in layer.columns)
    for quoted in _QUOTED.findall(_LITERAL.sub("", where)):
        name = quoted[1:-1].replace('""', '"')
        if layer.column(name) is None and not same(name, layer.name):
            # SQLite would take it as text and find nothing.
            message = (
                f"--where {where!r}: {layer.name} has no column {quoted}; text goes in single "
                f"quotes. Its columns are {columns}"
            )
            raise ArgumentError(message)
    # As an argument it can be nothing but an expression, and every row shows whether it runs.
    query = f"SELECT count(({where}\n)) FROM {quote(layer.name)}"
    try:
        connection.execute(query).fetchall()
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        message = (
            f"--where {where!r} is not a condition on {layer.name}: {error}. "
            f"Its columns are {columns}"
        )
        raise ArgumentError(message) from error


def register(connection: sqlite3.Connection, selection: Selection) -> None:
    """Teach a connection the test that the queries below use for --bbox."""
    if selection.bbox is None:
        return
    min_x, min_y, max_x, max_y = selection.bbox

    def meets(blob: object) -> int:
        try:
            found = envelope(blob) if isinstance(blob, bytes) else None
        except ValueError:
            return 0
        return int(
            found is not None
            and found.min_x <= max_x
            and found.max_x >= min_x
            and found.min_y <= max_y
            and found.max_y >= min_y
        )

    connection.create_function(_MEETS, 1, meets, deterministic=True)


def features_query(schema: Schema, layer_name: str, key: str, selection: Selection) -> Query:
    """The primary keys (fid) of a layer's selected features."""
    condition = _condition(_layer(schema, layer_name), selection)
    sql = f"SELECT {quote(key)} AS fid FROM {quote(layer_name)} WHERE {condition}"
    return Query(sql=sql)


def link_query(schema: Schema, link: Link, table: str, key: str, selection: Selection) -> Query:
    """(row, fid) for every row of a photo table and selected feature that a link joins."""

    def side(column: str, *, guid: bool) -> str:
        return f"upper(trim({quote(column)}, '{{}} '))" if guid else quote(column)

    condition = _condition(_layer(schema, link.layer), selection)
    only, parameters = (
        ("1", ()) if link.only is None else (f"{quote(link.only[0])} = ?", link.only[1:])
    )
    # LIMIT -1 keeps SQLite from merging a subquery into the join: then it builds an index on its
    # result, where a join on expressions would compare every row with every feature.
    features = (
        f"SELECT {quote(link.layer_key)} AS fid, {side(link.layer_column, guid=link.guid)} AS k "
        f"FROM {quote(link.layer)} WHERE {condition} LIMIT -1"
    )
    rows = (
        f"SELECT {quote(key)} AS row, {side(link.photo_column, guid=link.guid)} AS k "
        f"FROM {quote(table)} WHERE {only}"
    )
    if link.mapping is None:
        join = f"({rows}) AS p JOIN ({features}) AS f ON f.k = p.k"
    else:
        pairs = (
            f"SELECT {quote(link.mapping.base_id)} AS b, {quote(link.mapping.related_id)} AS r "
            f"FROM {quote(link.mapping.table)}"
        )
        join = (
            f"({pairs}) AS m JOIN ({rows} LIMIT -1) AS p ON p.k = m.r "
            f"JOIN ({features}) AS f ON f.k = m.b"
        )
    return Query(sql=f"SELECT p.row AS row, f.fid AS fid FROM {join}", parameters=parameters)


def _condition(layer: Table, selection: Selection) -> str:
    parts = []
    if selection.where is not None:
        parts.append(f"({selection.where}\n)")
    if selection.bbox is not None and layer.geometry is not None:
        parts.append(f"{_MEETS}({quote(layer.geometry.column)})")
    return " AND ".join(parts) or "1"


def _layer(schema: Schema, name: str) -> Table:
    layer = schema.table(name)
    if layer is None:
        message = f"{schema.path}: the layer {name} is gone"
        raise ArgumentError(message)
    return layer
