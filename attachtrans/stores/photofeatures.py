"""A feature class with one feature per photo: its footprint, and what is known of its camera.

It is filled photo by photo, in the transactions of the sink that owns it, and knows its rows by
SRC_FILE, SRC_LAYER, SRC_ATT and MODEL_FP: a photo that is stored again replaces its row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pyproj import CRS

from attachtrans.errors import ImageError
from attachtrans.stores.carry import Origin, OutFeature, insert, new_guid
from attachtrans.stores.crs import srs_of
from attachtrans.stores.geopackage import quote, same
from attachtrans.stores.gpb import to_blob
from attachtrans.stores.registry import GeometryRow, extend_extent, forget_count, touch
from attachtrans.stores.schema import (
    GUID,
    MODEL_FP,
    SRC_ATT,
    SRC_FILE,
    SRC_LAYER,
    ClassPlan,
    Field,
    TableSpec,
    class_fields,
    key_field,
    raise_differences,
)
from attachtrans.types import Placement

PLACE_FIELDS = (
    Field(name="NAME", declared="TEXT"),
    Field(name="KIND", declared="TEXT"),
    Field(name="SKY_SHARE", declared="DOUBLE"),
    Field(name="CLIP_SHARE", declared="DOUBLE"),
    Field(name="OFF_SHARE", declared="DOUBLE"),
    Field(name="GSD_M", declared="DOUBLE"),
    Field(name="CAM_X", declared="DOUBLE"),
    Field(name="CAM_Y", declared="DOUBLE"),
    Field(name="CAM_Z", declared="DOUBLE"),
    Field(name="HEADING", declared="DOUBLE"),
    Field(name="PITCH", declared="DOUBLE"),
    Field(name="ROLL", declared="DOUBLE"),
    Field(name="POSE_SRC", declared="TEXT"),
    Field(name="ASSUMED", declared="TEXT"),
    Field(name="GROUND_SRC", declared="TEXT"),
    Field(name="SIGMA_M", declared="DOUBLE"),
    Field(name="TIME", declared="TEXT"),
    Field(name="PROBLEM", declared="TEXT"),
)
"""What a footprint's row says; `geo.footprint` says what each means. PROBLEM: why there is none."""

_TYPE = "MULTIPOLYGON"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoKey:
    """By what a photo's row is known: its source layer ("" for none) and its key."""

    layer: str
    key: str


PHOTO_FIELDS = (Field(name=SRC_ATT, declared="TEXT"), *PLACE_FIELDS)
"""The own columns of such a class, besides those of every output class."""


def photo_class(name: str, crs: CRS, *, layer: str, extra: Sequence[Field] = ()) -> ClassPlan:
    """An output class of footprints for photos of a layer ("" for none), without its attributes."""
    own = (*class_fields(), *extra)
    there = {field.name for field in own}
    added = [field for field in PHOTO_FIELDS if field.name not in there]
    plan = ClassPlan(
        table=TableSpec(name=name, key="fid", fields=(key_field("fid"), *own, *added)),
        layer=layer,
        layer_key="",
        layer_guid=None,
        geometry=None,
        srs=None,
    )
    return with_footprints(plan, crs)


def with_footprints(plan: ClassPlan, crs: CRS) -> ClassPlan:
    """An output class whose geometries are footprints in `crs` instead of the source's."""
    left = [
        field
        for field in plan.table.fields
        if plan.geometry is None or field.name != plan.geometry.column
    ]
    column = "geom"
    while any(same(column, field.name) for field in left):
        column += "_"
    table = replace(plan.table, fields=(left[0], Field(name=column, declared=_TYPE), *left[1:]))
    geometry = GeometryRow(table=table.name, column=column, type_name=_TYPE, srs_id=0, z=0, m=0)
    return replace(plan, table=table, geometry=geometry, srs=srs_of(crs))


def furnish_rows(connection: sqlite3.Connection, plan: ClassPlan, is_new: bool) -> None:  # noqa: FBT001
    """Make the index by which photos' rows are found, or check their columns (`classes.prepare`).

    Raises SchemaError.
    """
    table = plan.table.name
    if is_new:
        connection.execute(
            f"CREATE INDEX {quote(f'idx_{table}_photo')} ON {quote(table)} ({SRC_ATT}, {SRC_FILE})"
        )
    rows = connection.execute("SELECT lower(name) FROM pragma_table_info(?)", (table,)).fetchall()
    there = {name for (name,) in rows}
    lacking = [field.name for field in PHOTO_FIELDS if field.name.lower() not in there]
    raise_differences(table, [f"{table} has no column {name}" for name in lacking])


class PhotoFeatures:
    """The rows of one such class; every method works in the caller's transaction."""

    def __init__(self, plan: ClassPlan, origin: Origin) -> None:
        """`plan` as `classes.prepare` gave it back."""
        self.plan = plan
        self._origin = origin

    def find(self, connection: sqlite3.Connection, photo: PhotoKey) -> OutFeature | None:
        """The row of a photo by this model, None when there is none."""
        table = self.plan.table
        rows = connection.execute(
            f"SELECT {quote(table.key)}, {GUID} FROM {quote(table.name)} WHERE {SRC_ATT} = ? "
            f"AND {SRC_FILE} = ? AND {SRC_LAYER} = ? AND {MODEL_FP} = ?",
            (photo.key, self._origin.file, photo.layer, self._origin.model),
        ).fetchall()
        return OutFeature(*rows[0]) if rows else None

    def put(
        self,
        connection: sqlite3.Connection,
        photo: PhotoKey,
        carried: Mapping[str, object],
        placement: Placement | None,
    ) -> OutFeature:
        """Store a photo's row; `carried` are its source feature's values, by output column.

        Raises ImageError for a geometry that cannot be stored.
        """
        row = self._row(photo, carried, placement)
        table, shape = self.plan.table, self.plan.geometry
        known = self.find(connection, photo)
        if known is None:
            guid = new_guid()
            known = OutFeature(insert(connection, table.name, row | {GUID: guid}), guid)
        else:
            sets = ", ".join(f"{quote(name)} = ?" for name in row)
            connection.execute(
                f"UPDATE {quote(table.name)} SET {sets} WHERE {quote(table.key)} = ?",
                (*row.values(), known.fid),
            )
        touch(connection, table.name)
        forget_count(connection, table.name)
        if shape is not None:
            extend_extent(connection, shape, [row[shape.column]])
        return known

    def _row(
        self, photo: PhotoKey, carried: Mapping[str, object], placement: Placement | None
    ) -> dict[str, object]:
        row = dict(carried) | {
            SRC_FILE: self._origin.file,
            SRC_LAYER: photo.layer,
            SRC_ATT: photo.key,
            MODEL_FP: self._origin.model,
        }
        shape = self.plan.geometry
        if placement is None or shape is None:
            return row
        known = dict(placement.attributes)
        row |= {field.name: known.get(field.name) for field in PLACE_FIELDS}
        row["PROBLEM"] = placement.problem or None
        row[shape.column] = None
        if placement.geometry is not None:
            try:
                row[shape.column] = to_blob(placement.geometry, shape.srs_id)
            except ValueError as error:
                raise ImageError(f"{photo.key}: its footprint cannot be stored: {error}") from error
        return row
