"""The rows of a staging GeoPackage that are to go into a geodatabase (see `append`).

It holds what attachtrans made there before, without photos, and copies of these tables as they were
at the start. So what was added or changed since can be told.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from attachtrans.stores.geodatabase.tables import Value
from attachtrans.stores.geopackage import Table, quote
from attachtrans.stores.gpb import well_known
from attachtrans.stores.registry import has_table
from attachtrans.stores.schema import GUID, MODEL_FP

SEED = "attachtrans_seed_"
"""Names of the copies of tables as they were when the staging GeoPackage was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedRow:
    """A row to write: its key in the staging GeoPackage, its values, its geometry (WKB)."""

    key: int
    values: Mapping[str, Value]
    shape: bytes | None


def is_output(table: Table) -> bool:
    """Whether attachtrans made a table, which then names the model of each row."""
    return table.column(MODEL_FP) is not None and not table.name.startswith(SEED)


def guid_column(table: Table) -> str:
    """The column of a table of attachtrans's that tells its rows from all others."""
    column = table.column(GUID)
    return GUID if column is None else column.name


def changed_keys(source: sqlite3.Connection, table: Table) -> list[int]:
    """The keys of the rows that were added or changed since the staging file was made."""
    name, key = quote(table.name), quote(table.key or "rowid")
    if not has_table(source, SEED + table.name):
        return [fid for (fid,) in source.execute(f"SELECT {key} FROM {name} ORDER BY 1")]
    # Seeded content is empty, new content is not: its length tells, without moving photos around.
    columns = ", ".join(
        f"length({quote(c.name)})" if c.declared == "BLOB" else quote(c.name) for c in table.columns
    )
    rows = f"SELECT {key} AS attachtrans_key, {columns} FROM "
    sql = f"SELECT attachtrans_key FROM ({rows}{name} EXCEPT {rows}{quote(SEED + table.name)})"
    return [fid for (fid,) in source.execute(f"{sql} ORDER BY 1")]


def pending_keys(source: sqlite3.Connection, table: Table, there: Collection[object]) -> list[int]:
    """The keys of the rows that the geodatabase does not hold as they are now.

    there: the GlobalIDs in it. A run that was killed after it had put rows in left them staged.
    """
    seeded = seeded_keys(source, table)
    sql = f"SELECT {quote(guid_column(table))} FROM {quote(table.name)} "
    sql += f"WHERE {quote(table.key or 'rowid')} = ?"
    return [
        key
        for key in changed_keys(source, table)
        if key in seeded or source.execute(sql, (key,)).fetchone()[0] not in there
    ]


def seeded_keys(source: sqlite3.Connection, table: Table) -> set[int]:
    """The keys of the rows that the geodatabase held already."""
    if not has_table(source, SEED + table.name):
        return set()
    return {
        fid
        for (fid,) in source.execute(
            f"SELECT {quote(table.key or 'rowid')} FROM {quote(SEED + table.name)}"
        )
    }


def staged_rows(
    source: sqlite3.Connection, table: Table, keys: Sequence[int], *, seed: bool = False
) -> Iterator[StagedRow]:
    """These rows of a table; seed: as they were when the staging file was made."""
    shape = None if table.geometry is None else table.geometry.column
    names = [c.name for c in table.columns if c.name != table.key]
    sql = (
        f"SELECT {', '.join(map(quote, names))} "
        f"FROM {quote(SEED + table.name if seed else table.name)} "
        f"WHERE {quote(table.key or 'rowid')} = ?"
    )
    for key in keys:
        row = source.execute(sql, (key,)).fetchone()
        values = dict(zip(names, row, strict=True))
        geometry = None if shape is None else well_known(values.pop(shape))
        # What was seeded stays as it is: its content is in the geodatabase only.
        kept = {name: value for name, value in values.items() if value != b""}
        yield StagedRow(key=key, values=kept, shape=geometry)
