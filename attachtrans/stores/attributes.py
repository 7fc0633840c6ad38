"""Attributes and geometries of single features, as values that files of other formats can hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from attachtrans.errors import SourceError
from attachtrans.stores.geopackage import Table, connect, quote, read_schema, same
from attachtrans.stores.gpb import well_known
from attachtrans.stores.layouts.base import LayoutName, PhotoTable
from attachtrans.stores.srs import Srs, read_all_srs
from attachtrans.types import FeatureRef

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A feature as stored now; geometry is well-known binary (ISO), None when it has none."""

    attributes: Mapping[str, Value]
    geometry: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    table: Table
    key: str
    columns: tuple[str, ...]
    truths: frozenset[str]
    srs: Srs | None


class FeatureReader:
    """Reads features by layer and key; close it after use.

    BLOB columns and columns that hold photos as text are left out, and so is the geometry, which
    comes by itself.
    """

    def __init__(self, path: Path, tables: Iterable[PhotoTable]) -> None:
        """Open the GeoPackage for the layers of these photo tables. Raises SourceError."""
        self._path = path
        self._connection = connect(path)
        try:
            self._layers = self._describe(tuple(tables))
        except sqlite3.Error as error:
            self.close()
            message = f"{path}: cannot be read: {error}"
            raise SourceError(message) from error
        except BaseException:
            self.close()
            raise

    def _describe(self, tables: tuple[PhotoTable, ...]) -> dict[str, _Layer]:
        schema = read_schema(self._connection, self._path)
        systems = {srs.srs_id: srs for srs in read_all_srs(self._connection)}
        photos = {(t.table, t.data) for t in tables if t.layout is not LayoutName.PATH}
        layers = {}
        for name, key in {link.layer: link.layer_key for t in tables for link in t.links}.items():
            table = schema.table(name)
            if table is None:
                message = f"{self._path}: the layer {name} is gone"
                raise SourceError(message)
            geometry = table.geometry
            columns = [
                column
                for column in table.columns
                if column.declared != "BLOB"
                and (table.name, column.name) not in photos
                and not (geometry is not None and same(column.name, geometry.column))
            ]
            layers[name] = _Layer(
                table=table,
                key=key,
                columns=tuple(column.name for column in columns),
                truths=frozenset(c.name for c in columns if c.declared == "BOOLEAN"),
                srs=None if geometry is None else systems.get(geometry.srs_id),
            )
        return layers

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers it reads."""
        return tuple(self._layers)

    def columns(self, layer: str) -> tuple[str, ...]:
        """The names of a layer's attributes, in their order."""
        return self._layers[layer].columns

    def srs(self, layer: str) -> Srs | None:
        """What a layer's coordinates mean; None for a layer without geometry."""
        return self._layers[layer].srs

    def read(self, ref: FeatureRef) -> Feature | None:
        """The feature, None when it is gone. Raises SourceError."""
        layer = self._layers[ref.layer]
        geometry = layer.table.geometry
        last = "NULL" if geometry is None else quote(geometry.column)
        names = ", ".join([*map(quote, layer.columns), last])
        sql = f"SELECT {names} FROM {quote(layer.table.name)} WHERE {quote(layer.key)} = ?"
        try:
            row = self._connection.execute(sql, (ref.fid,)).fetchone()
        except sqlite3.Error as error:
            message = f"{self._path}: {ref.layer} cannot be read: {error}"
            raise SourceError(message) from error
        if row is None:
            return None
        values = {
            name: bool(value) if name in layer.truths and value in (0, 1) else _plain(value)
            for name, value in zip(layer.columns, row[:-1], strict=True)
        }
        return Feature(attributes=values, geometry=well_known(row[-1]))

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def _plain(value: object) -> Value:
    """A value without bytes (SQLite's types belong to values, not to columns)."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return value if isinstance(value, int | float) else None
