"""Titles, descriptions and domains of columns (the GeoPackage Schema extension), carried over.

Format: OGC 12-128r15 annex F.9.
"""

from __future__ import annotations

import sqlite3

from attachtrans.stores.geopackage import same
from attachtrans.stores.registry import Extension, add_extension, has_table
from attachtrans.stores.schema import ClassPlan

_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS gpkg_data_columns (
        table_name TEXT NOT NULL, column_name TEXT NOT NULL, name TEXT, title TEXT,
        description TEXT, mime_type TEXT, constraint_name TEXT,
        CONSTRAINT pk_gdc PRIMARY KEY (table_name, column_name),
        CONSTRAINT gdc_tn UNIQUE (table_name, name))
    """,
    """
    CREATE TABLE IF NOT EXISTS gpkg_data_column_constraints (
        constraint_name TEXT NOT NULL, constraint_type TEXT NOT NULL, value TEXT, min NUMERIC,
        min_is_inclusive BOOLEAN, max NUMERIC, max_is_inclusive BOOLEAN, description TEXT,
        CONSTRAINT gdcc_ntv UNIQUE (constraint_name, constraint_type, value))
    """,
)


def carry_data_columns(
    source: sqlite3.Connection, output: sqlite3.Connection, plan: ClassPlan
) -> None:
    """Copy what the source says of the layer's columns, with the domains that they use."""
    if not has_table(source, "gpkg_data_columns"):
        return
    rows = source.execute(
        "SELECT column_name, name, title, description, mime_type, constraint_name FROM "
        "gpkg_data_columns WHERE lower(table_name) = lower(?)",
        (plan.layer,),
    ).fetchall()
    carried = [
        (field.name, row)
        for row in rows
        for field in plan.table.fields
        if field.source is not None and same(field.source, row[0])
    ]
    if not carried:
        return
    for statement in _TABLES:
        output.execute(statement)
    for table in ("gpkg_data_columns", "gpkg_data_column_constraints"):
        extension = Extension(
            table=table,
            column=None,
            name="gpkg_schema",
            definition="http://www.geopackage.org/spec120/#extension_schema",
        )
        add_extension(output, extension)
    for column, (_, name, title, description, mime_type, constraint) in carried:
        domain = _carry_constraint(source, output, constraint) if constraint else None
        # Some writers make `name` unique in the whole file; a second one is left out there.
        output.execute(
            "INSERT INTO gpkg_data_columns (table_name, column_name, name, title, description, "
            "mime_type, constraint_name) SELECT ?1, ?2, CASE WHEN EXISTS (SELECT 1 FROM "
            "gpkg_data_columns WHERE name = ?3) THEN NULL ELSE ?3 END, ?4, ?5, ?6, ?7",
            (plan.table.name, column, name, title, description, mime_type, domain),
        )


def _carry_constraint(source: sqlite3.Connection, output: sqlite3.Connection, name: str) -> str:
    """The name under which the output has this domain: another one if the name is taken."""
    wanted = _constraint_rows(source, name)
    number, free = 1, name
    while there := _constraint_rows(output, free):
        if there == wanted:
            return free
        number += 1
        free = f"{name}_{number}"
    # The columns' order is fixed, their names differ (1.0: minIsInclusive).
    output.executemany(
        "INSERT INTO gpkg_data_column_constraints VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(free, *row) for row in wanted],
    )
    return free


def _constraint_rows(connection: sqlite3.Connection, name: str) -> list[tuple[object, ...]]:
    if not has_table(connection, "gpkg_data_column_constraints"):
        return []
    rows = connection.execute(
        "SELECT * FROM gpkg_data_column_constraints WHERE constraint_name = ? ORDER BY 2, 3",
        (name,),
    ).fetchall()
    return [row[1:] for row in rows]
