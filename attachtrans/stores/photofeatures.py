"""A feature class with one feature per photo: its footprint, and what is known of its camera.

It is filled photo by photo, in the transactions of the sink that owns it, and knows its rows by
SRC_FILE, SRC_LAYER, SRC_ATT and MODEL_FP: a photo that is stored again replaces its row. Where
photos are translated as well, PLACE_FP says of what the footprint was made: with other poses or
another ground a photo is done again, and its row is replaced.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pyproj import CRS

from attachtrans.errors import ImageError, SchemaError
from attachtrans.stores.carry import Origin, OutFeature, insert, new_guid
from attachtrans.stores.crs import crs_of, srs_of
from attachtrans.stores.geopackage import Table, quote, same
from attachtrans.stores.gpb import to_blob
from attachtrans.stores.registry import (
    GeometryRow,
    extend_extent,
    forget_count,
    read_geometry,
    touch,
)
from attachtrans.stores.schema import (
    GUID,
    MODEL_FP,
    PLACE_FP,
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
from attachtrans.stores.srs import read_all_srs
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
class Footprinting:
    """What a run's footprints are in, and what they are made of.

    crs      of footprints, by the layer that photos hang on where that has one of its own
    layers   those
    placing  tells apart what the user says of poses and ground; goes to PLACE_FP
    """

    crs: CRS
    layers: Mapping[str, CRS] = field(default_factory=dict)
    placing: str = ""

    def crs_of(self, layer: str) -> CRS:
        """That of photos of this layer ("" for none)."""
        return self.layers.get(layer, self.crs)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoKey:
    """By what a photo's row is known: its source layer ("" for none) and its key."""

    layer: str
    key: str


PHOTO_FIELDS = (Field(name=SRC_ATT, declared="TEXT"), *PLACE_FIELDS)
"""The own columns of such a class, besides those of every output class."""

PLACING_FIELD = Field(name=PLACE_FP, declared="TEXT")
"""That of a class whose photos are translated as well."""


def photo_class(name: str, crs: CRS, *, layer: str, extra: Sequence[Field] = ()) -> ClassPlan:
    """An output class of footprints for photos of a layer ("" for none), without its attributes."""
    own = (*class_fields(), *extra)
    there = {f.name for f in own}
    added = [f for f in PHOTO_FIELDS if f.name not in there]
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
    """An output class whose geometries are footprints in `crs` instead of the source's.

    Its attributes may be NULL whatever the source demands: photos without a feature have none.
    """
    left = [
        f if f.source is None else replace(f, constraint="")
        for f in plan.table.fields
        if plan.geometry is None or f.name != plan.geometry.column
    ]
    column = "geom"
    while any(same(column, f.name) for f in left):
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
    lacking = [f.name for f in PHOTO_FIELDS if f.name.lower() not in there]
    raise_differences(table, [f"{table} has no column {name}" for name in lacking])


def fitted(connection: sqlite3.Connection, existing: Table | None, plan: ClassPlan) -> ClassPlan:
    """The plan with its CRS as an existing class spells it, once it is of this kind.

    existing: what the output has by the name of the class. Raises SchemaError for a class of the
    source's features, one that is not of translated photos, and one in another CRS.
    """
    if existing is None or existing.column(MODEL_FP) is None:
        return plan  # `classes.prepare` says what is wrong with it
    name = existing.name
    if existing.column(PLACE_FP) is None:
        of_photos = existing.column("KIND") is not None and existing.column("PROBLEM") is not None
        why = (
            "has footprints without photos (attachtrans footprint)"
            if of_photos
            else "has the source's features (--geometry source), not one per photo"
        )
        raise SchemaError(
            f"the output class {name} {why}: name another layer with --output FILE:LAYER"
        )
    geometry = read_geometry(connection, name)
    known = {srs.srs_id: srs for srs in read_all_srs(connection)}
    there = None if geometry is None else known.get(geometry.srs_id)
    found, wanted = crs_of(there), crs_of(plan.srs)
    if there is None or found is None or wanted is None:
        return plan
    if not found.equals(wanted, ignore_axis_order=True):
        raise SchemaError(
            f"the output class {name} is in {there.label}, and footprints in {wanted.name} are "
            "asked for (--crs): leave --crs out, or name another layer with --output FILE:LAYER"
        )
    return replace(plan, srs=there)


def refuse_footprints(existing: Table | None) -> None:
    """Raise SchemaError when a class for the source's features is one of footprints."""
    if existing is not None and existing.column(PLACE_FP) is not None:
        raise SchemaError(
            f"the output class {existing.name} has a feature per photo (--geometry footprint), not "
            "the source's features: use --geometry footprint, or name another layer with --output "
            "FILE:LAYER"
        )


class PhotoFeatures:
    """The rows of one such class; every method works in the caller's transaction."""

    def __init__(self, plan: ClassPlan, origin: Origin, placing: str | None = None) -> None:
        """`plan` as `classes.prepare` gave it back; placing goes to PLACE_FP, where that is."""
        self.plan = plan
        self._origin = origin
        self._placing = {} if placing is None else {PLACE_FP: placing}

    def find(self, connection: sqlite3.Connection, photo: PhotoKey) -> OutFeature | None:
        """The row of a photo by this model, None when there is none."""
        table = self.plan.table
        rows = connection.execute(
            f"SELECT {quote(table.key)}, {GUID} FROM {quote(table.name)} WHERE {SRC_ATT} = ? "
            f"AND {SRC_FILE} = ? AND {SRC_LAYER} = ? AND {MODEL_FP} = ?",
            (photo.key, self._origin.file, photo.layer, self._origin.model),
        ).fetchall()
        return OutFeature(*rows[0]) if rows else None

    def placed(self, connection: sqlite3.Connection, photo: PhotoKey) -> OutFeature | None:
        """The row of a photo by this model, made of these poses and this ground."""
        feature = self.find(connection, photo)
        if feature is None or not self._placing:
            return feature
        table = self.plan.table
        rows = connection.execute(
            f"SELECT 1 FROM {quote(table.name)} WHERE {quote(table.key)} = ? AND {PLACE_FP} = ?",
            (feature.fid, self._placing[PLACE_FP]),
        ).fetchall()
        return feature if rows else None

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
            extend_extent(connection, shape, [row.get(shape.column)])
        return known

    def _row(
        self, photo: PhotoKey, carried: Mapping[str, object], placement: Placement | None
    ) -> dict[str, object]:
        row = dict(carried) | {
            SRC_FILE: self._origin.file,
            SRC_LAYER: photo.layer,
            SRC_ATT: photo.key,
            MODEL_FP: self._origin.model,
            **self._placing,
        }
        shape = self.plan.geometry
        if placement is None or shape is None:
            return row
        known = dict(placement.attributes)
        row |= {f.name: known.get(f.name) for f in PLACE_FIELDS}
        row["PROBLEM"] = placement.problem or None
        row[shape.column] = None
        if placement.geometry is not None:
            try:
                row[shape.column] = to_blob(placement.geometry, shape.srs_id)
            except ValueError as error:
                raise ImageError(f"{photo.key}: its footprint cannot be stored: {error}") from error
        return row
