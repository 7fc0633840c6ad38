"""Output classes made, or checked when they are there."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from attachtrans.errors import ArgumentError, SchemaError
from attachtrans.stores.datacolumns import carry_data_columns
from attachtrans.stores.geopackage import Table, is_system, quote, read_schema, reading, same
from attachtrans.stores.layouts.base import LayoutName, PhotoTable
from attachtrans.stores.outfile import OutFile
from attachtrans.stores.registry import (
    Extension,
    add_contents,
    add_extension,
    add_geometry,
    add_rtree,
    read_geometry,
)
from attachtrans.stores.schema import (
    GUID,
    MODEL_FP,
    PLACE_FP,
    SRC_FID,
    SRC_FILE,
    SRC_GLOBALID,
    ClassPlan,
    Field,
    TableSpec,
    class_fields,
    differences,
    geometry_differences,
    plan_class,
    raise_differences,
)
from attachtrans.stores.srs import ensure_srs, read_all_srs
from attachtrans.stores.vectortable import VectorTable, paths_of

T = TypeVar("T")

_SLOT = re.compile(r"(photo|SRC_ATT|SRC_DIGEST)(_\d+)?", re.IGNORECASE)
_TAKEN = re.compile("already exists|already an index|already a table|UNIQUE constraint")
_CURVES = frozenset(
    {
        "CIRCULARSTRING",
        "COMPOUNDCURVE",
        "CURVEPOLYGON",
        "MULTICURVE",
        "MULTISURFACE",
        "CURVE",
        "SURFACE",
    }
)


def target_names(layers: Sequence[str], layer: str | None) -> dict[str, str]:
    """What the output of each source layer is called. Raises ArgumentError.

    layer: the name that was asked for; without one, every layer keeps its own.
    """
    if layer is not None and len(layers) > 1:
        message = (
            f"--output names one layer ({layer}) but the photos hang on several "
            f"({', '.join(layers)}); choose one with --layer, or leave the name out"
        )
        raise ArgumentError(message)
    names = {source: source if layer is None else layer for source in layers}
    for name in names.values():
        if not name.strip() or is_system(name):
            message = f"--output: {name!r} cannot be the name of a layer in a GeoPackage"
            raise ArgumentError(message)
    return names


def without_results(
    source: Path | VectorTable,
    tables: Sequence[PhotoTable],
    output: Path,
    layer: str | None,
) -> list[PhotoTable]:
    """The photo tables to read when results go to `layer` of `output`.

    When that is the source file itself, layers in it that are results of its other layers are
    left out, so that the same command again does not take its own results for photos to translate.
    They stay when there is nothing else, because they were asked for; the output itself does not.
    Raises SourceError when the file cannot be read.
    """
    path, database = paths_of(source)
    if not output.exists() or not output.samefile(path):
        return list(tables)
    layers = dict.fromkeys(name for table in tables for name in table.layers)
    with reading(database) as connection:
        schema = read_schema(connection, path)
        results = {n for n in layers if _is_result(connection, schema.table(n), path.name)}
    out = {name for name in layers if layer is not None and same(name, layer)}
    left_out = out if layers.keys() <= results | out else results | out
    if layers.keys() <= left_out:
        return list(tables)  # the sink says why this cannot be
    narrowed = []
    for table in tables:
        links = tuple(link for link in table.links if link.layer not in left_out)
        others = tuple(link for link in table.links if link.layer in left_out)
        if links or not others:
            narrowed.append(replace(table, links=links, excluded=(*table.excluded, *others)))
    return narrowed


def _is_result(connection: sqlite3.Connection, table: Table | None, file: str) -> bool:
    """Whether a layer holds features that a run made of this file's."""
    if table is None or table.column(SRC_FILE) is None or table.column(MODEL_FP) is None:
        return False
    query = f"SELECT 1 FROM {quote(table.name)} WHERE {SRC_FILE} = ? LIMIT 1"
    return bool(connection.execute(query, (file,)).fetchall())


def plan_target(
    connection: sqlite3.Connection,
    table: Table,
    name: str,
    tables: Iterable[PhotoTable],
    extra: Sequence[Field],
) -> ClassPlan:
    """The output class for a source's layer: photos in its own columns are left behind.

    Columns with paths of its photos become SRC_<name>: there they say where the originals are, and
    are not taken for the output's photos. So does PLACE_FP, which tells classes of footprints from
    others. extra: columns that the output layout adds to the class.
    """
    own = [photos for photos in tables if same(photos.table, table.name)]
    leave = [photos.data for photos in own if photos.layout is LayoutName.BLOB]
    reserved = [photos.data for photos in own if photos.layout is LayoutName.PATH] + [PLACE_FP]
    reserved += [c.name for c in table.columns if extra and _SLOT.fullmatch(c.name)]
    return plan_class(connection, table, name, extra=extra, reserved=reserved, leave=leave)


def prepare(
    out: OutFile,
    source: sqlite3.Connection | None,
    plan: ClassPlan,
    furnish: Callable[[sqlite3.Connection, ClassPlan, bool], T],
) -> tuple[ClassPlan, T]:
    """Make the class and what belongs to it, all or nothing, or check those that are there.

    source: the GeoPackage that the plan's layer is in, None for a class with columns of its own.
    furnish(connection, plan, is_new): makes or checks what belongs to the class, in the same
    transaction.
    Returns the plan with the names of the class that is used, and what `furnish` gave. Raises
    SchemaError when an existing class does not fit.
    """
    with out.transaction() as connection:
        existing = out.schema().table(plan.table.name)
        if existing is not None:
            plan = _checked(connection, existing, plan)
            return plan, furnish(connection, plan, False)
        try:
            plan = _create(connection, source, plan, new_triggers=out.has_new_triggers)
            return plan, furnish(connection, plan, True)
        except (sqlite3.OperationalError, sqlite3.IntegrityError) as error:
            if not _TAKEN.search(str(error)):
                raise
            message = (
                f"the output has no layer {plan.table.name} but remains of one ({error}); "
                "name another layer with --output FILE:LAYER"
            )
            raise SchemaError(message) from error


def _create(
    connection: sqlite3.Connection,
    source: sqlite3.Connection | None,
    plan: ClassPlan,
    *,
    new_triggers: bool,
) -> ClassPlan:
    table = plan.table
    srs_id = 0
    if plan.geometry is not None and plan.srs is not None:
        srs_id = ensure_srs(connection, plan.srs)
        plan = replace(plan, geometry=replace(plan.geometry, srs_id=srs_id))
    table.create(connection)
    add_contents(connection, table.name, "features" if plan.geometry else "attributes", srs_id, "")
    connection.execute(
        f"CREATE INDEX {quote(f'idx_{table.name}_source')} ON {quote(table.name)} "
        f"({SRC_GLOBALID}, {SRC_FID})"
    )
    if plan.geometry is not None:
        add_geometry(connection, plan.geometry)
        add_rtree(connection, plan.geometry, table.key, new_triggers=new_triggers)
        extensions = _curve_extensions(source, plan) if source is not None else {}
        for name, definition in extensions.items():
            extension = Extension(
                table=table.name, column=plan.geometry.column, name=name, definition=definition
            )
            add_extension(connection, extension)
    if source is not None:
        carry_data_columns(source, connection, plan)
    return plan


def _curve_extensions(source: sqlite3.Connection, plan: ClassPlan) -> dict[str, str]:
    """Extensions that the source registers for its geometries, other than its index."""
    found: dict[str, str] = {}
    if plan.geometry is not None and plan.geometry.type_name in _CURVES:
        name = f"gpkg_geom_{plan.geometry.type_name}"
        found[name] = "http://www.geopackage.org/spec120/#extension_geometry_types"
    try:
        rows = source.execute(
            "SELECT extension_name, definition FROM gpkg_extensions WHERE lower(table_name) = "
            "lower(?) AND extension_name LIKE 'gpkg\\_geom\\_%' ESCAPE '\\'",
            (plan.layer,),
        ).fetchall()
    except sqlite3.OperationalError:  # the source uses no extension
        return found
    return found | dict(rows)


def _checked(connection: sqlite3.Connection, existing: Table, plan: ClassPlan) -> ClassPlan:
    name = existing.name
    if existing.is_view or existing.key is None:
        message = (
            f"--output: {name} is a view or a table without key, to which nothing can be "
            "appended; name another layer"
        )
        raise SchemaError(message)
    geometry = read_geometry(connection, name)
    known = {srs.srs_id: srs for srs in read_all_srs(connection)}
    found = geometry_differences(plan, geometry, known.get(geometry.srs_id) if geometry else None)
    plan = plan.at(existing, geometry)
    own = {plan.table.key, *(field.name for field in class_fields())}
    needed = tuple(f for f in plan.table.fields if f.source is not None or f.name in own)
    spec = TableSpec(name=name, key=plan.table.key, fields=needed)
    if existing.column(GUID) is None or existing.column(SRC_FID) is None:
        found.insert(0, f"{name} was not made by attachtrans, which knows its rows by own columns")
    raise_differences(name, found + differences(connection, spec))
    return plan
