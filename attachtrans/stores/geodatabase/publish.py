"""What a staging GeoPackage has gathered, put into a file geodatabase (see `append`).

Everything happens in a copy of the geodatabase, which is read again before it takes its place.
GlobalIDs are kept, as features and photos know each other by them; object ids are given anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attachtrans.errors import SchemaError, SinkError
from attachtrans.journal import digest_of
from attachtrans.stores.geodatabase.edition import edition
from attachtrans.stores.geodatabase.filegdb import Binaries, read_relations, read_tables
from attachtrans.stores.geodatabase.gdal import GdbFile, Value, created, opened
from attachtrans.stores.geodatabase.specs import AttachmentRelation, FieldSpec, FieldType, LayerSpec
from attachtrans.stores.geodatabase.staging import (
    changed_keys,
    guid_column,
    is_output,
    pending_keys,
    seeded_keys,
    staged_rows,
)
from attachtrans.stores.geodatabase.tables import GdbGeometry, GdbTable
from attachtrans.stores.geopackage import Table, connect, quote, read_schema, same
from attachtrans.stores.registry import read_geometry
from attachtrans.stores.schema import GUID, SRC_FID
from attachtrans.stores.srs import read_all_srs

_SUFFIX = "__ATTACH"
_INT16 = 2  # OFSTInt16
_INT32 = 1 << 31
_NO_GEOMETRY = 100  # wkbNone
_GEOMETRY_CODES = {
    "POINT": 1,
    "LINESTRING": 5,
    "POLYGON": 6,
    "MULTIPOINT": 4,
    "MULTILINESTRING": 5,
    "MULTIPOLYGON": 6,
}
# The types (of well-known binary, without Z and M) that go into a class.
_ALLOWED = {
    "POINT": {1},
    "MULTIPOINT": {1, 4},
    "MULTILINESTRING": {2, 5, 8, 9, 11},
    "MULTIPOLYGON": {3, 6, 10, 12},
}
# Fields of attachments, Esri's level "base, GlobalID key": width, may be NULL, Esri's type.
_ATTACHMENT_FIELDS = {
    "REL_GLOBALID": (0, False, "GUID"),
    "CONTENT_TYPE": (150, False, ""),
    "ATT_NAME": (250, False, ""),
    "DATA_SIZE": (0, False, ""),
    "GLOBALID": (0, False, "GlobalID"),
}


def publish(staging: Path, path: Path) -> None:
    """Put new and changed rows into the geodatabase, which is made when it is not there.

    Raises SchemaError for what a geodatabase cannot hold, SinkError. Either everything is in it
    afterwards, or it is as it was.
    """
    with closing(connect(staging)) as source:
        tables = [table for table in read_schema(source, staging).tables if is_output(table)]
        there = {t.name: t for t in read_tables(path)} if path.exists() else {}
        changed = {
            table.name: pending_keys(source, table, _guids(table, there.get(table.name)))
            for table in tables
        }
        if not any(changed.values()):
            return
        # A class comes with its table of attachments, though a run may not have got to any.
        new = [table for table in tables if table.name not in there]
        for table in new:
            _check_names(table)
        with edition(path) as copy:
            if not copy.exists():
                with created(copy):
                    pass
            with opened(copy) as file:
                for table in new:
                    file.make_layer(_layer_spec(source, table))
            _relate(copy, new)
            written: dict[str, dict[int, int]] = {}
            with opened(copy) as file:
                for table in tables:
                    seeded = seeded_keys(source, table)
                    written[table.name] = _write(file, source, table, changed[table.name], seeded)
            for table in tables:
                _verify(copy, source, table, written[table.name])


def _guids(table: Table, there: GdbTable | None) -> set[object]:
    """The GlobalIDs of the rows of a table that is there."""
    if there is None:
        return set()
    place = [column.name for column in there.columns].index(guid_column(table))
    return {row.values[place] for row in there.rows}


def check(staging: Path, path: Path) -> None:
    """Refuse what cannot go into the geodatabase, before photos are computed. Raises SchemaError.

    Only what is in the staging GeoPackage by now: the features of a run, no photos yet.
    """
    there = {table.name.lower(): table for table in read_tables(path)} if path.exists() else {}
    with closing(connect(staging)) as source:
        for table in read_schema(source, staging).tables:
            if not is_output(table):
                continue
            _check_names(table)
            target = there.get(table.name.lower())
            if target is None:
                _layer_spec(source, table)
            elif target.geometry is not None:
                _check_shapes(source, table, target.geometry)


def _check_shapes(source: sqlite3.Connection, table: Table, target: GdbGeometry) -> None:
    """Whether the added geometries are such as the class holds."""
    allowed = _ALLOWED.get(target.type_name)
    for row in staged_rows(source, table, changed_keys(source, table)):
        if allowed is None or row.shape is None:
            continue
        order = "little" if row.shape[0] else "big"
        code = int.from_bytes(row.shape[1:5], order)  # type: ignore[arg-type]
        if code % 1000 not in allowed or (code // 1000 in (1, 3) and not target.z):
            raise SchemaError(
                f"the output class {table.name} holds geometries of type {target.type_name}, the "
                f"source has others (feature {row.values.get(SRC_FID)!r}: well-known binary type "
                f"{code}). Name another layer with --output OUT.gdb:layer"
            )


def _check_names(table: Table) -> None:
    names = [table.name, *(column.name for column in table.columns)]
    if wrong := [name for name in names if not name.isidentifier()]:
        raise SchemaError(
            f"{table.name}: in a geodatabase names are made of letters, digits and underscores, so "
            f"{', '.join(map(repr, wrong))} cannot be one. Name another layer with --output "
            "OUT.gdb:layer, or write to a GeoPackage with --output out.gpkg"
        )


def _layer_spec(source: sqlite3.Connection, table: Table) -> LayerSpec:
    geometry = read_geometry(source, table.name)
    code, wkt = _NO_GEOMETRY, None
    if geometry is not None:
        known = {srs.srs_id: srs for srs in read_all_srs(source)}
        srs = known.get(geometry.srs_id)
        if srs is not None and srs.srs_id > 0:
            wkt = srs.definition if srs.epoch is None and not srs.needs_wkt2 else srs.wkt2
        base = _GEOMETRY_CODES.get(geometry.type_name)
        if base is None:
            raise SchemaError(
                f"{table.name}: a geodatabase cannot hold geometries of type "
                f"{geometry.type_name} in one class. Write to a GeoPackage with --output out.gpkg"
            )
        code = base + 1000 * bool(geometry.z) + 2000 * bool(geometry.m)
    shape = None if geometry is None else geometry.column
    fields = [
        _field(source, table, column.name, column.declared)
        for column in table.columns
        if column.name not in (table.key, shape)
    ]
    return LayerSpec(
        name=table.name,
        geometry_type=code,
        wkt=wkt,
        key=table.key or "OBJECTID",
        geometry=shape or "SHAPE",
        fields=tuple(fields),
    )


def _field(source: sqlite3.Connection, table: Table, name: str, declared: str) -> FieldSpec:
    """The field for a column; GeoPackage types are those of OGC 12-128 table 1."""
    base = declared.partition("(")[0].strip()
    subtype = 0
    match base:
        case "BOOLEAN" | "TINYINT" | "SMALLINT":
            kind, subtype = FieldType.INTEGER, _INT16
        case "MEDIUMINT":
            kind = FieldType.INTEGER
        case "INT" | "INTEGER":
            kind = FieldType.INTEGER if _fits(source, table, name) else FieldType.REAL
        case "FLOAT" | "DOUBLE" | "REAL":
            kind = FieldType.REAL
        case "DATE" | "DATETIME":
            kind = FieldType.DATETIME
        case "BLOB":
            kind = FieldType.BINARY
        case _:
            kind = FieldType.STRING
    width, nullable, esri = 0, True, ""
    if table.name.endswith(_SUFFIX):
        width, nullable, esri = _ATTACHMENT_FIELDS.get(name, (width, nullable, esri))
    elif name == GUID:
        nullable, esri = False, "GlobalID"
    return FieldSpec(
        name=name, type=kind, subtype=subtype, width=width, nullable=nullable, esri=esri
    )


def _fits(source: sqlite3.Connection, table: Table, column: str) -> bool:
    """Whether the numbers of a column fit into 32 bits, as fields of geodatabases have them."""
    if column == SRC_FID:
        return True
    name = quote(column)
    least, most = source.execute(
        f"SELECT min({name}), max({name}) FROM {quote(table.name)}"
    ).fetchone()
    numbers = [value for value in (least, most) if isinstance(value, int)]
    return all(-_INT32 <= value < _INT32 for value in numbers)


def _relate(copy: Path, tables: Sequence[Table]) -> None:
    """Register the attachments of new classes; GDAL wants their tables to be there before."""
    known = {relation.table for relation in read_relations(copy)}
    for table in tables:
        layer = table.name.removesuffix(_SUFFIX)
        if layer == table.name or table.name in known:
            continue
        with opened(copy) as file:
            file.relate(
                AttachmentRelation(
                    name=f"{table.name}REL",
                    layer=layer,
                    layer_column=GUID,
                    table=table.name,
                    column="REL_GLOBALID",
                )
            )


def _write(
    file: GdbFile,
    source: sqlite3.Connection,
    table: Table,
    keys: Sequence[int],
    seeded: set[int],
) -> dict[int, int]:
    """Write these rows; returns the object ids that they have in the geodatabase, by their keys."""
    written = {}
    for row in staged_rows(source, table, keys):
        if row.key in seeded:
            file.update(table.name, row.key, row.values, row.shape)
            written[row.key] = row.key
        else:
            written[row.key] = file.insert(table.name, row.values, row.shape)
    return written


def _verify(
    copy: Path, source: sqlite3.Connection, table: Table, written: Mapping[int, int]
) -> None:
    """Read what was written again. Raises SinkError."""
    there = _table(copy, table.name)
    ids = set(written.values())
    found, rows = {}, 0
    for stored in there.rows:
        rows += 1
        if stored.fid in ids:
            found[stored.fid] = stored
    wrong = f"{copy}: {table.name} was not written as it should be"
    (count,) = source.execute(f"SELECT count(*) FROM {quote(table.name)}").fetchone()
    if rows != count or len(found) != len(written):
        raise SinkError(f"{wrong}: rows are missing. The geodatabase is as it was.")
    declared = {column.name: column.declared for column in there.columns}
    with closing(Binaries(copy)) as binaries:
        for row in staged_rows(source, table, list(written)):
            fid = written[row.key]
            values: dict[str, object] = dict(zip(declared, found[fid].values, strict=True))
            for name, value in row.values.items():
                if isinstance(value, bytes):
                    values[name] = binaries.read(table.name, name, fid)
                if not _equal(value, values.get(name), declared.get(name, "")):
                    raise SinkError(
                        f"{wrong}: {name} of row {row.key}. The geodatabase is as it was. Name "
                        "another layer with --output OUT.gdb:layer, or write to a GeoPackage with "
                        "--output out.gpkg"
                    )


def _table(path: Path, name: str) -> GdbTable:
    return next(table for table in read_tables(path) if same(table.name, name))


def _equal(written: Value, found: object, declared: str) -> bool:
    """Whether a value came back; moments are rounded to seconds in a geodatabase."""
    if isinstance(written, bytes):
        return isinstance(found, bytes) and digest_of(found) == digest_of(written)
    if isinstance(written, str) and isinstance(found, str):
        if declared in ("DATE", "DATETIME"):
            return abs(_moment(written) - _moment(found)) <= timedelta(seconds=1)
        return written.encode("utf-8", "replace").decode() == found
    return written == found


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
