"""Rows of photos: found by their keys, replaced, and classes of footprints planned."""

from __future__ import annotations

from pathlib import Path

import pytest
import shapely
from pyproj import CRS
from shapely.geometry import MultiPolygon, box

from attachtrans.errors import ImageError, SchemaError
from attachtrans.geo.footprint.attributes import COLUMNS
from attachtrans.stores.carry import Origin
from attachtrans.stores.classes import prepare
from attachtrans.stores.outfile import OutFile
from attachtrans.stores.photofeatures import (
    PLACE_FIELDS,
    PLACING_FIELD,
    Footprinting,
    PhotoFeatures,
    PhotoKey,
    fitted,
    furnish_rows,
    photo_class,
    refuse_footprints,
)
from attachtrans.stores.schema import ClassPlan, Field
from attachtrans.types import Placement

from .appending import findings, rows

WGS84 = CRS.from_epsg(4326)
PHOTO = PhotoKey(layer="trees", key="a/1")


def made(out: OutFile, *, name: str = "seen", extra: tuple[Field, ...] = ()) -> ClassPlan:
    plan, _ = prepare(out, None, photo_class(name, WGS84, layer="", extra=extra), furnish_rows)
    return plan


def square(x: float = 0.0) -> Placement:
    shape = MultiPolygon([box(x, 0, x + 1, 1)])
    return Placement(geometry=shapely.to_wkb(shape), attributes={"NAME": "one", "GSD_M": 0.5})


@pytest.fixture
def out(tmp_path: Path) -> OutFile:
    return OutFile(tmp_path / "out.gpkg")


def test_rows_are_known_by_source_layer_key_and_model(out: OutFile) -> None:
    plan = made(out)
    kinds = [Origin(file=file, model=model) for file in ("a", "b") for model in ("1", "2")]
    photos = [PhotoKey(layer=layer, key=key) for layer in ("", "trees") for key in ("x", "y")]
    known = {}
    with out.transaction() as connection:
        for kind in kinds:
            for photo in photos:
                known[kind, photo] = PhotoFeatures(plan, kind).put(connection, photo, {}, square())
        for (kind, photo), feature in known.items():
            features = PhotoFeatures(plan, kind)
            assert features.find(connection, photo) == feature
            assert features.put(connection, photo, {}, square(5)) == feature
    out.close()
    assert rows(out.path, "SELECT count(*), count(DISTINCT GlobalID) FROM seen") == [(16, 16)]
    assert findings(out.path) == []


def test_a_new_placement_leaves_nothing_of_the_old(out: OutFile) -> None:
    features = PhotoFeatures(made(out), Origin(file="a", model="1"))
    with out.transaction() as connection:
        features.put(connection, PHOTO, {}, square())
        nowhere = Placement(geometry=None, attributes={"NAME": "two"}, problem="sky only")
        features.put(connection, PHOTO, {}, nowhere)
    out.close()
    query = "SELECT NAME, GSD_M, geom, PROBLEM FROM seen"
    assert rows(out.path, query) == [("two", None, None, "sky only")]
    assert rows(out.path, "SELECT count(*) FROM rtree_seen_geom") == [(0,)]


def test_what_it_was_made_of_decides_whether_it_is_placed(out: OutFile) -> None:
    plan, origin = made(out, extra=(PLACING_FIELD,)), Origin(file="a", model="1")
    first, second = (PhotoFeatures(plan, origin, placing) for placing in ("p1", "p2"))
    with out.transaction() as connection:
        assert first.placed(connection, PHOTO) is None
        feature = first.put(connection, PHOTO, {}, square())
        assert first.placed(connection, PHOTO) == feature == second.find(connection, PHOTO)
        assert second.placed(connection, PHOTO) is None
        assert PhotoFeatures(plan, origin).placed(connection, PHOTO) == feature
    out.close()


def test_an_index_finds_photos(out: OutFile) -> None:
    made(out)
    plan = out.connection.execute(
        "EXPLAIN QUERY PLAN SELECT fid FROM seen WHERE SRC_ATT = '1' AND SRC_FILE = '2' "
        "AND SRC_LAYER = '3' AND MODEL_FP = '4'"
    ).fetchall()
    out.close()
    assert "idx_seen_photo" in plan[0][3]


def test_a_class_of_others_is_not_taken(out: OutFile) -> None:
    made(out)
    with out.transaction() as connection:
        connection.execute("ALTER TABLE seen DROP COLUMN GSD_M")
        connection.execute("ALTER TABLE seen DROP COLUMN PROBLEM")
    with pytest.raises(SchemaError, match=r"no column GSD_M.*no column PROBLEM"):
        made(out)
    out.close()


def test_kinds_of_classes_are_told_apart(out: OutFile) -> None:
    made(out, name="bare")
    made(out, name="photos", extra=(PLACING_FIELD,))
    schema = out.schema()
    plan = photo_class("x", WGS84, layer="", extra=(PLACING_FIELD,))
    assert fitted(out.connection, None, plan) is plan
    assert fitted(out.connection, schema.table("photos"), plan).srs is not None
    with pytest.raises(SchemaError, match="bare has footprints without photos"):
        fitted(out.connection, schema.table("bare"), plan)
    refuse_footprints(None)
    refuse_footprints(schema.table("bare"))
    with pytest.raises(SchemaError, match="photos has a feature per photo"):
        refuse_footprints(schema.table("photos"))
    out.close()


def test_a_broken_geometry_is_of_this_photo_alone(out: OutFile) -> None:
    features = PhotoFeatures(made(out), Origin(file="a", model="1"))
    with pytest.raises(ImageError, match="a/1: its footprint cannot be stored"):
        features.put(out.connection, PHOTO, {}, Placement(geometry=b"\x01\x06\x00\x00\x00\xff"))
    out.close()


def test_a_system_per_layer() -> None:
    utm = CRS.from_epsg(25832)
    footprints = Footprinting(crs=WGS84, layers={"b": utm})
    assert footprints.crs_of("b") == utm
    assert footprints.crs_of("") == footprints.crs_of("a") == WGS84


def test_the_columns_are_what_footprints_tell() -> None:
    assert [field.name for field in PLACE_FIELDS[1:-1]] == list(COLUMNS)
