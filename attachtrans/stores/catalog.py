"""Detection: which tables and columns of a GeoPackage or vector file hold photos, and why."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from attachtrans.errors import ArgumentError, LayoutError
from attachtrans.stores.geopackage import Schema, quote, read_schema, reading, same
from attachtrans.stores.layouts.base import (
    Findings,
    Inspection,
    LayoutName,
    PhotoTable,
    Refusal,
    Wish,
)
from attachtrans.stores.layouts.known import LAYOUTS
from attachtrans.stores.layouts.qgis import read_hints
from attachtrans.stores.vectortable import VectorTable, paths_of

_UPDATES = re.compile(r"(?:(?!\bBEGIN\b).)*\bUPDATE\b", re.IGNORECASE | re.DOTALL)
_USUAL = re.compile(r"rtree_|gpkg_|fgti_|fgtu_|fgtd_|trigger_(insert|delete)_feature_count_")
_CONTENT_LAYOUTS = frozenset({LayoutName.ATTACH, LayoutName.MEDIA})


def detect(
    source: Path | VectorTable,
    *,
    layout: str | None = None,
    layer: str | None = None,
    photo_column: str | None = None,
    base: Path | None = None,
    remap: Sequence[tuple[str, str]] = (),
) -> list[PhotoTable]:
    """The places where photos hang, in the order of LAYOUTS.

    Everything None: all that is found. Else only what matches:

    layout        "attach", "media", "path" or "blob"
    layer         a feature layer, or the table that holds the photos
    photo_column  "column" or "table.column"; takes columns that detection would not
    base          the folder that paths are resolved in and may not leave
    remap         (old, new) beginnings of paths that have moved

    Raises LayoutError when nothing matches (says what was looked for and what was found), or when
    photos cannot be assigned to their features safely; ArgumentError for names that do not exist;
    SourceError when the file cannot be read.
    """
    findings = inspect(
        source, layout=layout, layer=layer, photo_column=photo_column, base=base, remap=remap
    )
    path, _ = paths_of(source)
    if findings.refused:
        reasons = "\n".join(refusal.reason for refusal in findings.refused)
        message = f"{path}: {reasons}"
        raise LayoutError(message)
    if not findings.tables:
        raise LayoutError(_nothing(path, layout, findings))
    if base is not None and all(t.layout is not LayoutName.PATH for t in findings.tables):
        message = "--base is for columns with paths, but the photos found here are in the file"
        raise ArgumentError(message)
    return list(findings.tables)


def inspect(
    source: Path | VectorTable,
    *,
    layout: str | None = None,
    layer: str | None = None,
    photo_column: str | None = None,
    base: Path | None = None,
    remap: Sequence[tuple[str, str]] = (),
) -> Findings:
    """As `detect`, with what was refused, excluded or only suspected; may find nothing."""
    if layout is not None and layout not in list(LayoutName):
        message = f"--layout {layout}: choose one of {', '.join(LayoutName)}"
        raise ArgumentError(message)
    if base is not None and not base.is_dir():
        message = f"--base {base}: there is no such folder"
        raise ArgumentError(message)
    wish = Wish(layer=layer, photo_column=photo_column, base=base, remap=tuple(remap))
    path, database = paths_of(source)
    with reading(database) as connection:
        schema = read_schema(connection, path)
        _check_names(schema, wish)
        inspection = Inspection(
            connection=connection,
            schema=schema,
            hints=read_hints(connection, schema),
            wish=wish,
        )
        findings = Findings()
        for one in LAYOUTS:
            # All are asked, so that what one layout takes is not taken by another for something
            # else, whichever the user wants to see.
            findings += one.find(inspection, _taken(findings))
        findings = replace(findings, tables=tuple(_warned(connection, t) for t in findings.tables))
        findings = _without_views(connection, findings, wish)
    if isinstance(source, VectorTable):
        findings = replace(findings, tables=tuple(source.guarded(findings.tables)))
    return _narrowed(findings, schema, layout, wish)


def _taken(findings: Findings) -> frozenset[str]:
    refusals = (*findings.refused, *findings.excluded)
    return frozenset(
        [t.table.lower() for t in findings.tables if t.layout in _CONTENT_LAYOUTS]
        + [r.table.lower() for r in refusals if r.layout in _CONTENT_LAYOUTS]
    )


def _warned(connection: sqlite3.Connection, table: PhotoTable) -> PhotoTable:
    """The table with a warning of triggers that act when a photo is replaced."""
    if table.layout is LayoutName.PATH:
        return table
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' "
        "AND lower(tbl_name) = lower(?) ORDER BY name",
        (table.table,),
    )
    names = [name for name, sql in rows if _UPDATES.match(sql) and not _USUAL.match(name)]
    if not names:
        return table
    warning = f"{table.table}: each replaced photo sets off {', '.join(names)}, which may write too"
    return replace(table, warnings=(*table.warnings, warning))


def _without_views(connection: sqlite3.Connection, findings: Findings, wish: Wish) -> Findings:
    """Leave out views, which show what tables hold, unless asked for or all there is."""
    tables: list[PhotoTable] = []
    excluded: list[Refusal] = []
    stored = any(table.read_only is None for table in findings.tables)
    for table in findings.tables:
        why = ""
        if table.read_only is not None and not _numbers_rows(connection, table):
            why = f"{table.read_only}, and {table.key} does not tell its rows apart"
        elif table.read_only is not None and stored and not wish.opts_in(table.table, table.data):
            why = f"{table.read_only}; photos are taken from tables (--layer takes it all the same)"
        if why:
            excluded.append(
                Refusal(table=table.table, column=table.data, layout=table.layout, reason=why)
            )
        else:
            tables.append(table)
    return replace(findings, tables=tuple(tables), excluded=(*findings.excluded, *excluded))


def _numbers_rows(connection: sqlite3.Connection, table: PhotoTable) -> bool:
    key = quote(table.key)
    rows, keys, numbers = connection.execute(
        f"SELECT count(*), count(DISTINCT {key}), sum(typeof({key}) = 'integer') "
        f"FROM {quote(table.table)}"
    ).fetchone()
    return bool(rows == keys == numbers)


def _check_names(schema: Schema, wish: Wish) -> None:
    if wish.layer is not None and schema.table(wish.layer) is None:
        names = ", ".join(table.name for table in schema.tables)
        message = f"--layer {wish.layer}: there is no such table; {schema.path.name} has {names}"
        raise ArgumentError(message)
    if wish.photo_column is not None:
        columns = [(t.name, column.name) for t in schema.tables for column in t.columns]
        if not any(wish.names(table, column) for table, column in columns):
            message = (
                f"--photo-column {wish.photo_column}: no table of {schema.path.name} has such a "
                "column; give COLUMN or TABLE.COLUMN"
            )
            raise ArgumentError(message)


def _narrowed(findings: Findings, schema: Schema, layout: str | None, wish: Wish) -> Findings:
    tables = [
        narrowed
        for table in findings.tables
        if (layout is None or table.layout == layout)
        and (wish.photo_column is None or wish.names(table.table, table.data))
        for narrowed in [_of_layer(table, wish.layer)]
        if narrowed is not None
    ]
    return replace(
        findings,
        tables=tuple(tables),
        refused=tuple(r for r in findings.refused if _concerns(r, schema, layout, wish)),
    )


def _of_layer(table: PhotoTable, layer: str | None) -> PhotoTable | None:
    """The table with the links to one layer only; None when it has none."""
    if layer is None or same(table.table, layer):
        return table
    links = tuple(link for link in table.links if same(link.layer, layer))
    if not links:
        return None
    if len(links) == len(table.links):
        return table
    return replace(table, links=links, orphans=False)


def _concerns(refusal: Refusal, schema: Schema, layout: str | None, wish: Wish) -> bool:
    """Whether what the user asked for includes a refused table."""
    if layout is not None and refusal.layout != layout:
        return False
    if wish.photo_column is not None:
        table = schema.table(refusal.table)
        if table is None or not any(wish.names(table.name, c.name) for c in table.columns):
            return False
    if wish.layer is None:
        return True
    folded = refusal.table.lower()
    return folded in (wish.layer.lower(), f"{wish.layer.lower()}__attach")


def _nothing(path: Path, layout: str | None, findings: Findings) -> str:
    looked = {
        LayoutName.ATTACH: "Esri tables <layer>__ATTACH",
        LayoutName.MEDIA: "OGC related media (gpkgext_relations)",
        LayoutName.PATH: "text columns with paths of photos",
        LayoutName.BLOB: "columns with photos as BLOB or text",
    }
    asked = ", ".join(text for name, text in looked.items() if layout in (None, name))
    lines = [f"{path}: no photos found. Looked for {asked}."]
    lines += [
        f"Not taken: {r.table}{f'.{r.column}' if r.column else ''}: {r.reason}"
        for r in (*findings.excluded, *findings.hints)
    ]
    lines.append(
        "--layout, --layer and --photo-column say where photos are, --base where their files are."
    )
    return "\n".join(lines)
