"""Features carried over from a source layer to an output class, once each.

Values pass byte for byte: geometries with their Z, M, curves and envelopes, text that is not
UTF-8, numbers as they are stored. Only the CRS number in a geometry's header follows the output,
where that numbers its systems differently.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from attachtrans.errors import SinkError, SourceError
from attachtrans.stores.geopackage import connect, quote
from attachtrans.stores.outfile import OutFile
from attachtrans.stores.registry import extend_extent, forget_count, touch
from attachtrans.stores.schema import (
    GUID,
    MODEL_FP,
    SRC_FID,
    SRC_FILE,
    SRC_GLOBALID,
    SRC_LAYER,
    ClassPlan,
)
from attachtrans.types import FeatureRef

_BATCH = 500
_HEADER_SRS = slice(4, 8)


class OutFeature(NamedTuple):
    """A feature of the output: its key and its GlobalID."""

    fid: int
    guid: str


class RawText(bytes):
    """Text of the source that is not UTF-8, as its bytes."""


class _Row(NamedTuple):
    """A source feature: its key, its GlobalID, the values of the carried fields."""

    fid: int
    guid: object
    values: list[object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the rows of one run have in common: the source as the output names it, the model."""

    file: str
    model: str


def source_name(source: Path, output: Path) -> str:
    """How an output names its source: relative to the output's folder, with "/".

    Absolute where there is no relative path (another drive on Windows).
    """
    try:
        return Path(os.path.relpath(source.resolve(), output.resolve().parent)).as_posix()
    except ValueError:
        return source.resolve().as_posix()


def new_guid() -> str:
    """A GlobalID in the form that Esri writes: braces, upper case."""
    return f"{{{str(uuid4()).upper()}}}"


class FeatureIndex:
    """Which output feature a source feature became; kept in a temporary table of SQLite."""

    def __init__(self, out: OutFile) -> None:
        self._out = out
        with out.transaction() as connection:
            connection.execute(
                "CREATE TEMP TABLE attachtrans_features (layer TEXT, fid INTEGER, out_fid INTEGER, "
                "guid TEXT, PRIMARY KEY (layer, fid)) WITHOUT ROWID"
            )

    def put(self, ref: FeatureRef, feature: OutFeature) -> None:
        """Note what a source feature became."""
        self._out.connection.execute(
            "INSERT OR REPLACE INTO temp.attachtrans_features VALUES (?, ?, ?, ?)", (*ref, *feature)
        )

    def get(self, ref: FeatureRef) -> OutFeature | None:
        """What a source feature became, None when it was not selected or is gone."""
        rows = self._out.connection.execute(
            "SELECT out_fid, guid FROM temp.attachtrans_features WHERE layer = ? AND fid = ?", ref
        ).fetchall()
        return OutFeature(*rows[0]) if rows else None


class Carrier:
    """Copies the features of one layer that the output does not hold yet."""

    def __init__(self, source: Path, out: OutFile, plan: ClassPlan, origin: Origin) -> None:
        """`plan` names columns as the output class has them."""
        self._source = source
        self._out = out
        self._plan = plan
        self._origin = origin
        self._fields = [field for field in plan.table.fields if field.source is not None]
        self._srs = plan.geometry.srs_id if plan.geometry else None

    def carry(self, fids: Sequence[int], index: FeatureIndex) -> int:
        """Copy what is missing, note every feature in `index`; returns how many were added.

        Batches are transactions: after a crash the next run copies the rest.
        Raises SourceError, BusyError, SinkError.
        """
        added = 0
        connection = connect(self._source)
        try:
            connection.text_factory = raw_text
            twins = self._twins(connection)
            for start in range(0, len(fids), _BATCH):
                rows = self._read(connection, fids[start : start + _BATCH])
                with self._out.transaction() as output:
                    added += self._carry_batch(output, rows, twins, index)
        finally:
            connection.close()
        return added

    def values(self, source: sqlite3.Connection, fid: int) -> dict[str, object] | None:
        """A feature's values by the output's columns, its keys included; None when it is gone.

        `source` was opened with `raw_text` as its text factory. Raises SourceError.
        """
        rows = self._read(source, [fid])
        if not rows:
            return None
        named = zip(self._fields, rows[0].values, strict=True)
        return {field.name: value for field, value in named} | {
            SRC_GLOBALID: _plain(rows[0].guid),
            SRC_FID: fid,
        }

    def _carry_batch(
        self,
        output: sqlite3.Connection,
        rows: Sequence[_Row],
        twins: set[object],
        index: FeatureIndex,
    ) -> int:
        new = []
        for row in rows:
            by_guid = row.guid is not None and row.guid not in twins
            feature = self._find(output, row, by_guid=by_guid)
            if feature is None:
                feature = self._add(output, row)
                new.append(row)
            index.put(FeatureRef(self._plan.layer, row.fid), feature)
        if new:
            touch(output, self._plan.table.name)
            forget_count(output, self._plan.table.name)
        if new and self._plan.geometry is not None:
            at = [field.name for field in self._fields].index(self._plan.geometry.column)
            extend_extent(output, self._plan.geometry, [row.values[at] for row in new])
        return len(new)

    def _twins(self, source: sqlite3.Connection) -> set[object]:
        """GlobalIDs that several features of the source share: no key to know one by."""
        if self._plan.layer_guid is None:
            return set()
        guid = quote(self._plan.layer_guid)
        query = (
            f"SELECT {guid} FROM {quote(self._plan.layer)} WHERE {guid} NOTNULL GROUP BY {guid} "
            "HAVING count(*) > 1"
        )
        return {value for (value,) in self._fetch(source, query, ())}

    def _read(self, source: sqlite3.Connection, fids: Sequence[int] | array[int]) -> list[_Row]:
        plan = self._plan
        guid = quote(plan.layer_guid) if plan.layer_guid else "NULL"
        names = [quote(field.source or "") for field in self._fields]
        columns = ", ".join([quote(plan.layer_key), guid, *names])
        marks = ", ".join("?" * len(fids))
        query = (
            f"SELECT {columns} FROM {quote(plan.layer)} WHERE {quote(plan.layer_key)} "
            f"IN ({marks}) ORDER BY 1"
        )
        rows = self._fetch(source, query, tuple(fids))
        return [_Row(fid, guid_value, values) for fid, guid_value, *values in rows]

    def _fetch(
        self, source: sqlite3.Connection, query: str, values: tuple[int, ...]
    ) -> list[tuple[Any, ...]]:
        """All rows at once, so that no lock stays on a source that is the output as well."""
        try:
            return source.execute(query, values).fetchall()
        except sqlite3.Error as error:
            message = f"{self._source}: {self._plan.layer} cannot be read: {error}"
            raise SourceError(message) from error

    def _find(self, output: sqlite3.Connection, row: _Row, *, by_guid: bool) -> OutFeature | None:
        """The feature that an earlier run of the same command made of this one."""
        table = self._plan.table
        query = (
            f"SELECT {quote(table.key)}, {GUID} FROM {quote(table.name)} WHERE {SRC_GLOBALID} IS ? "
            f"AND {SRC_FILE} = ? AND {SRC_LAYER} = ? AND {MODEL_FP} = ?"
        )
        values = [_plain(row.guid), self._origin.file, self._plan.layer, self._origin.model]
        if not by_guid:
            query += f" AND {SRC_FID} = ?"
            values.append(row.fid)
        rows = output.execute(query, values).fetchall()
        return OutFeature(*rows[0]) if rows else None

    def _add(self, output: sqlite3.Connection, row: _Row) -> OutFeature:
        table = self._plan.table
        new = new_guid()
        values: dict[str, object] = {
            field.name: self._renumbered(value) if self._is_geometry(field.name) else value
            for field, value in zip(self._fields, row.values, strict=True)
        }
        values |= {
            GUID: new,
            SRC_FILE: self._origin.file,
            SRC_LAYER: self._plan.layer,
            SRC_GLOBALID: _plain(row.guid),
            SRC_FID: row.fid,
            MODEL_FP: self._origin.model,
        }
        try:
            return OutFeature(insert(output, table.name, values), new)
        except sqlite3.IntegrityError as error:
            message = (
                f"feature {row.fid} of {self._plan.layer} does not fit into {table.name}: {error}; "
                "name another layer with --output FILE:LAYER"
            )
            raise SinkError(message) from error

    def _is_geometry(self, name: str) -> bool:
        return self._plan.geometry is not None and name == self._plan.geometry.column

    def _renumbered(self, value: object) -> object:
        """A geometry with the output's number of the CRS where it bears the source's."""
        srs = self._plan.srs
        if srs is None or srs.srs_id == self._srs or not isinstance(value, bytes):
            return value
        order = "<i" if value[3:4] and value[3] & 1 else ">i"
        if value[_HEADER_SRS] != struct.pack(order, srs.srs_id):
            return value
        return value[:4] + struct.pack(order, self._srs) + value[8:]


def insert(connection: sqlite3.Connection, table: str, row: dict[str, object]) -> int:
    """Insert a row; returns its key."""
    names = ", ".join(quote(name) for name in row)
    marks = ", ".join(
        "CAST(? AS TEXT)" if isinstance(value, RawText) else "?" for value in row.values()
    )
    cursor = connection.execute(
        f"INSERT INTO {quote(table)} ({names}) VALUES ({marks})", tuple(row.values())
    )
    return int(cursor.lastrowid or 0)


def raw_text(raw: bytes) -> str | RawText:
    """A `text_factory` that loses nothing: text, or `RawText` where it is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return RawText(raw)


def _plain(value: object) -> object:
    """A value to compare and store as text."""
    return value.decode("utf-8", "replace") if isinstance(value, RawText) else value
