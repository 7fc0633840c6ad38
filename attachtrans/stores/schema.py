"""What tables an output has: planned from the source's layer, compared with what is there.

Column types: OGC 12-128r15 table 1. Types that the standard does not know (VARCHAR(20), none at
all) become the one that stores the same values.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from attachtrans.errors import SchemaError, SourceError
from attachtrans.stores.geopackage import Table, quote, same
from attachtrans.stores.registry import GeometryRow, read_geometry
from attachtrans.stores.srs import Srs, read_all_srs

# Own columns of an output class: the features' ids, where they come from, which model.
GUID = "GlobalID"
SRC_FILE, SRC_LAYER, SRC_GLOBALID, SRC_FID = "SRC_FILE", "SRC_LAYER", "SRC_GLOBALID", "SRC_FID"
SRC_ATT, SRC_DIGEST, MODEL_FP = "SRC_ATT", "SRC_DIGEST", "MODEL_FP"
# Of classes with a feature per photo: what the user said of where photos were taken.
PLACE_FP = "PLACE_FP"

_INTEGERS = ("TINYINT", "SMALLINT", "MEDIUMINT", "INTEGER")
_PLAIN = frozenset(
    {"BOOLEAN", "INT", "FLOAT", "DOUBLE", "REAL", "TEXT", "BLOB", "DATE", "DATETIME"}
)
_SIZED = re.compile(r"(TEXT|BLOB)\s*\(\s*(\d+)\s*\)")
_VARCHAR = re.compile(r"[A-Z ]*(?:CHAR|CLOB|STRING|UUID)[A-Z ]*(?:\(\s*(\d+)\s*\))?")
_LITERAL = re.compile(
    r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?|'([^']|'')*'|NULL|TRUE|FALSE|CURRENT_(DATE|TIME|TIMESTAMP)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column of an output table.

    declared    its type, as GeoPackage knows it
    constraint  SQL after the type
    source      the source's column that its values come from, None for the output's own
    """

    name: str
    declared: str
    constraint: str = ""
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """A table of an output; `key` is the name of its INTEGER PRIMARY KEY."""

    name: str
    key: str
    fields: tuple[Field, ...]

    def create(self, connection: sqlite3.Connection) -> None:
        """Make the table."""
        columns = [f"{quote(f.name)} {f.declared} {f.constraint}".rstrip() for f in self.fields]
        connection.execute(f"CREATE TABLE {quote(self.name)} ({', '.join(columns)})")

    @property
    def writable(self) -> tuple[Field, ...]:
        """The fields that an insert gives values for: all but the key."""
        return tuple(field for field in self.fields if field.name != self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPlan:
    """An output class and the source layer that it is filled from.

    table       the feature table
    layer       the source's layer, `layer_key` its key
    layer_guid  the source's GlobalID column
    geometry    the output's geometry column; its srs_id is the output's once it is registered
    srs         the layer's coordinate reference system
    """

    table: TableSpec
    layer: str
    layer_key: str
    layer_guid: str | None
    geometry: GeometryRow | None
    srs: Srs | None

    def at(self, existing: Table, geometry: GeometryRow | None) -> ClassPlan:
        """The same plan with the key and the geometry column named as an existing class does."""
        names = {self.table.key: existing.key or self.table.key}
        if self.geometry is not None and geometry is not None:
            names[self.geometry.column] = geometry.column
        fields = tuple(replace(f, name=names.get(f.name, f.name)) for f in self.table.fields)
        if geometry is not None:  # compared by `geometry_differences`
            declared = {geometry.column: geometry.type_name}
            fields = tuple(replace(f, declared=declared.get(f.name, f.declared)) for f in fields)
        table = TableSpec(name=existing.name, key=names[self.table.key], fields=fields)
        return replace(self, table=table, geometry=geometry)


def key_field(name: str) -> Field:
    """An INTEGER PRIMARY KEY whose numbers are never given twice."""
    return Field(name=name, declared="INTEGER", constraint="PRIMARY KEY AUTOINCREMENT NOT NULL")


def guid_field(name: str = GUID) -> Field:
    """The output's own GlobalID."""
    return Field(name=name, declared="TEXT(38)", constraint="NOT NULL UNIQUE")


def class_fields() -> tuple[Field, ...]:
    """The own columns of every output class, after the key."""
    return (
        guid_field(),
        Field(name=SRC_FILE, declared="TEXT"),
        Field(name=SRC_LAYER, declared="TEXT"),
        Field(name=SRC_GLOBALID, declared="TEXT(38)"),
        Field(name=SRC_FID, declared="INTEGER"),
        Field(name=MODEL_FP, declared="TEXT"),
    )


def legal_type(declared: str) -> str:
    """The GeoPackage type that stores what a column declared like this stores."""
    name = " ".join(declared.upper().replace("GENERATED ALWAYS", "").split())
    sized = _SIZED.fullmatch(name)
    if sized:
        return f"{sized[1]}({sized[2]})"
    if name in _PLAIN or name in _INTEGERS:
        return name
    varchar = _VARCHAR.fullmatch(name)
    if varchar:
        return f"TEXT({varchar[1]})" if varchar[1] else "TEXT"
    rules = (  # the order of SQLite's own rules (datatype3.html, 3.1) below the dates
        ("BOOL", "BOOLEAN"),
        ("TIMESTAMP", "DATETIME"),
        ("INT", "INTEGER"),
        ("CHAR", "TEXT"),
        ("CLOB", "TEXT"),
        ("TEXT", "TEXT"),
        ("BLOB", "BLOB"),
        ("REAL", "DOUBLE"),
        ("FLOA", "DOUBLE"),
        ("DOUB", "DOUBLE"),
        ("NUM", "DOUBLE"),
        ("DEC", "DOUBLE"),
    )
    return next((legal for part, legal in rules if part in name), "TEXT")


def carried_names(columns: Sequence[str], own: Iterable[str]) -> dict[str, str]:
    """What each of the source's columns is called in the output.

    A column named like one of the output's own becomes SRC_<name>, and a column of that name one
    more SRC_: so a chain of runs keeps what every step wrote, and the plain names are the latest.
    """
    names = {column: column for column in columns}
    for name in own:
        taken = name
        while hit := next((column for column in columns if same(column, taken)), None):
            names[hit] = f"SRC_{hit}"
            taken = f"SRC_{taken}"
    return names


def source_fields(
    connection: sqlite3.Connection, table: Table, own: Iterable[str], leave: Iterable[str]
) -> list[Field]:
    """A source table's columns as fields of an output, in their order, without `leave`.

    Generated columns become plain ones with the values they have.
    """
    rows = connection.execute(
        'SELECT name, type, "notnull", dflt_value FROM pragma_table_xinfo(?) '
        "WHERE hidden <> 1 ORDER BY cid",
        (table.name,),
    ).fetchall()
    left = tuple(leave)
    kept = [row for row in rows if not any(same(row[0], name) for name in left)]
    names = carried_names([row[0] for row in kept], own)
    return [
        Field(
            name=names[name],
            declared=legal_type(declared or ""),
            constraint=_constraint(not_null=bool(not_null), default=default),
            source=name,
        )
        for name, declared, not_null, default in kept
    ]


def _constraint(*, not_null: bool, default: str | None) -> str:
    parts = ["NOT NULL"] if not_null else []
    if default is not None:
        # The new line ends a comment that the expression may end with.
        parts.append("DEFAULT " + (default if _LITERAL.fullmatch(default) else f"({default}\n)"))
    return " ".join(parts)


def plan_class(
    connection: sqlite3.Connection,
    table: Table,
    name: str,
    *,
    extra: Sequence[Field],
    reserved: Iterable[str],
    leave: Iterable[str],
) -> ClassPlan:
    """An output class `name` for the features of a source's layer.

    extra     own columns that the output layout adds
    reserved  names of columns that it may add later
    leave     columns of the source that hold photos
    The key keeps its name, and so does every column; the GlobalID is replaced by a new one.
    Raises SourceError when the layer's CRS is not defined in its file.
    """
    guid = table.column(GUID)
    own_fields = (*class_fields(), *extra)
    own = [*(field.name for field in own_fields), *reserved]
    left = [*leave, *([guid.name] if guid else [])]
    fields = source_fields(connection, table, own, left)
    key = next(
        (f for f in fields if f.source is not None and same(f.source, table.key or "")), None
    )
    if key is None or not _is_integer_key(table):
        fields.insert(0, key_field(_free("fid", [f.name for f in (*fields, *own_fields)])))
        key = fields[0]
    else:
        fields[fields.index(key)] = key = key_field(key.name)
    geometry, srs = None, None
    registered = read_geometry(connection, table.name)
    if registered is not None:
        srs = _srs(connection, registered)
        index = next(i for i, f in enumerate(fields) if same(f.source or "", registered.column))
        fields[index] = replace(fields[index], declared=registered.type_name, constraint="")
        geometry = replace(registered, table=name, column=fields[index].name)
    return ClassPlan(
        table=TableSpec(name=name, key=key.name, fields=(*fields, *own_fields)),
        layer=table.name,
        layer_key=table.key or "rowid",
        layer_guid=guid.name if guid else None,
        geometry=geometry,
        srs=srs,
    )


def _is_integer_key(table: Table) -> bool:
    column = table.column(table.key or "")
    return column is not None and column.primary


def _free(name: str, taken: Sequence[str]) -> str:
    number, free = 1, name
    while any(same(free, other) for other in taken):
        number += 1
        free = f"{name}_{number}"
    return free


def _srs(connection: sqlite3.Connection, geometry: GeometryRow) -> Srs:
    found = next((s for s in read_all_srs(connection) if s.srs_id == geometry.srs_id), None)
    if found is None:
        message = (
            f"{geometry.table} has srs_id {geometry.srs_id}, which the file does not define in "
            "gpkg_spatial_ref_sys; define its CRS (in QGIS, or ogr2ogr -a_srs) and try again"
        )
        raise SourceError(message)
    return found


def differences(connection: sqlite3.Connection, spec: TableSpec) -> list[str]:
    """Why rows of `spec` do not fit into the table of that name; empty when they do."""
    rows = connection.execute(
        'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)', (spec.name,)
    ).fetchall()
    there = {name: (declared, pk) for name, declared, _, _, pk in rows}
    found = []
    for field in spec.fields:
        hit = next((name for name in there if same(name, field.name)), None)
        if hit is None:
            found.append(f"{spec.name} has no column {field.name} ({field.declared})")
        elif field.name != spec.key and not _takes(there[hit][0] or "", field.declared):
            found.append(f"{spec.name}.{hit} is {there[hit][0]}, the source has {field.declared}")
    for name, _, not_null, default, pk in rows:
        filled = any(same(name, field.name) for field in spec.fields)
        if not_null and default is None and not pk and not filled:
            found.append(f"{spec.name}.{name} must have a value and the source has no such column")
    return found


def _takes(there: str, needed: str) -> bool:
    """Whether a column declared `there` holds values of type `needed` without loss."""
    if not there or there.upper() == needed:
        return True
    there, needed = legal_type(there).partition("(")[0], needed.partition("(")[0]
    if there == needed:
        return True
    ranks = {**{name: rank for rank, name in enumerate(_INTEGERS)}, "INT": len(_INTEGERS) - 1}
    if there in ranks and needed in ranks:
        return ranks[there] >= ranks[needed]
    reals = ("FLOAT", "DOUBLE", "REAL")
    return there in reals and needed in reals


def geometry_differences(plan: ClassPlan, there: GeometryRow | None, srs: Srs | None) -> list[str]:
    """Why the layer's geometries do not fit into the class that is there (`srs` is the class's)."""
    name, wanted = plan.table.name, plan.geometry
    if (wanted is None) != (there is None):
        has, not_ = ("a", "none") if there is not None else ("no", "one")
        return [f"{name} has {has} geometry column, {plan.layer} has {not_}"]
    if wanted is None or there is None:
        return []
    found = []
    if there.type_name not in (wanted.type_name, "GEOMETRY"):
        found.append(f"{name} holds {there.type_name}, {plan.layer} holds {wanted.type_name}")
    for dimension, mine, other in (("Z", there.z, wanted.z), ("M", there.m, wanted.m)):
        if mine not in (2, other):
            words = ("without", "with", "with or without")
            found.append(
                f"{name} takes geometries {words[mine]} {dimension}, {plan.layer} has them "
                f"{words[other]}"
            )
    if plan.srs is None or srs is None or not plan.srs.same_as(srs):
        labels = [s.label if s else "undefined" for s in (srs, plan.srs)]
        found.append(f"{name} is in {labels[0]}, {plan.layer or 'what is added'} is in {labels[1]}")
    return found


def raise_differences(name: str, found: Sequence[str]) -> None:
    """Raise SchemaError when there are any."""
    if found:
        message = (
            f"the output class {name} does not fit: {'; '.join(found)}. Name another layer with "
            "--output FILE:LAYER, or make the class fit"
        )
        raise SchemaError(message)
