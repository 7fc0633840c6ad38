"""A geodatabase as a temporary GeoPackage: all of its layers and tables, none of its photos.

So that photos are found, joined and chosen (--where, --bbox) there as in any GeoPackage, and
features are carried over from it. Columns with binary content say only whether there is any.
Relations of attachments are foreign keys.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from attachtrans.errors import SourceError
from attachtrans.stores.crs import srs_of
from attachtrans.stores.geodatabase import filegdb, mobile
from attachtrans.stores.geodatabase.kinds import Kind, kind_of
from attachtrans.stores.geodatabase.relations import Relation, with_named
from attachtrans.stores.geodatabase.tables import GdbGeometry, GdbRow, GdbTable
from attachtrans.stores.geopackage import quote, same
from attachtrans.stores.gpb import to_blob
from attachtrans.stores.outfile import OutFile
from attachtrans.stores.registry import GeometryRow, add_contents, add_geometry
from attachtrans.stores.schema import MODEL_FP, Field, TableSpec, key_field
from attachtrans.stores.srs import ensure_srs

_BATCH = 1000


def make_mirror(path: Path, database: Path, *, loosely: bool = False) -> None:
    """Make the GeoPackage `database` of the geodatabase at `path`. Raises SourceError.

    loosely: to compare an output with. Tables that attachtrans did not make get no rows. Columns
    that are neither text nor binary are declared for any value and geometries for any type, as a
    geodatabase has fewer types than a GeoPackage and takes what fits.
    """
    reader = mobile if kind_of(path) is Kind.MOBILE else filegdb
    tables = reader.read_tables(path)
    relations = with_named(reader.read_relations(path), tables)
    out = OutFile(database)
    try:
        # It is thrown away in the end, so nothing needs to be durable.
        out.connection.execute("PRAGMA synchronous = OFF")
        for table in tables:
            try:
                with out.transaction() as connection:
                    _fill(connection, _loose(table) if loosely else table, relations)
            except (sqlite3.IntegrityError, ValueError) as error:
                raise SourceError(f"{path}: {table.name} cannot be read: {error}") from error
    finally:
        out.close()


def _loose(table: GdbTable) -> GdbTable:
    geometry = table.geometry
    if geometry is not None:
        geometry = replace(geometry, type_name="GEOMETRY")
    columns = tuple(
        c if c.declared == "BLOB" or c.declared.startswith("TEXT") else replace(c, declared="")
        for c in table.columns
    )
    own = any(same(column.name, MODEL_FP) for column in columns)
    return replace(table, columns=columns, geometry=geometry, rows=table.rows if own else iter(()))


def _fill(connection: sqlite3.Connection, table: GdbTable, relations: Sequence[Relation]) -> None:
    geometry = table.geometry
    fields = [key_field(table.key)]
    if geometry is not None:
        fields.append(Field(name=geometry.column, declared=geometry.type_name))
    for column in table.columns:
        constraint = _foreign_key(table.name, column.name, relations)
        fields.append(Field(name=column.name, declared=column.declared, constraint=constraint))
    TableSpec(name=table.name, key=table.key, fields=tuple(fields)).create(connection)
    srs_id = 0
    if geometry is not None and geometry.crs is not None:
        srs_id = ensure_srs(connection, srs_of(geometry.crs))
    add_contents(connection, table.name, "features" if geometry else "attributes", srs_id, "")
    if geometry is not None:
        add_geometry(connection, _registered(table.name, geometry, srs_id))
    marks = ", ".join("?" * len(fields))
    sql = f"INSERT INTO {quote(table.name)} VALUES ({marks})"
    while batch := list(islice(table.rows, _BATCH)):
        connection.executemany(sql, _stored(batch, srs_id, has_geometry=geometry is not None))


def _foreign_key(table: str, column: str, relations: Iterable[Relation]) -> str:
    for relation in relations:
        if same(relation.table, table) and same(relation.column, column):
            return f"REFERENCES {quote(relation.layer)}({quote(relation.layer_column)})"
    return ""


def _registered(table: str, geometry: GdbGeometry, srs_id: int) -> GeometryRow:
    return GeometryRow(
        table=table,
        column=geometry.column,
        type_name=geometry.type_name,
        srs_id=srs_id,
        z=2 * geometry.z,  # single geometries of a layer with Z need not have it
        m=2 * geometry.m,
    )


def _stored(
    rows: Iterable[GdbRow], srs_id: int, *, has_geometry: bool
) -> Iterator[tuple[object, ...]]:
    for row in rows:
        shape = None if row.geometry is None else to_blob(row.geometry, srs_id)
        yield (row.fid, *((shape,) if has_geometry else ()), *row.values)
