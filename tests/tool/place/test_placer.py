"""Sights: photos on the map as the pipeline meets them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from pyproj import CRS

from attachtrans.geo.footprint import footprint
from attachtrans.image import Limits, decode
from attachtrans.stores.folder import open_folder
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.placer import Placer, multi
from attachtrans.tool.place.poser import Poser
from attachtrans.tool.place.products import Products
from attachtrans.tool.place.viewer import Viewer
from tests.stores.poses.photos import gps, jpeg
from tests.tool.place import world

WGS84 = CRS.from_epsg(4326)


def placer(photos, placing, **options):
    return Placer(
        **{
            "placing": placing,
            "poser": Poser(placing, photos),
            "viewer": Viewer(placing),
            "products": Products(placing=placing),
            "crs_of": lambda _: WGS84,
            "map_space": False,
            "overwrite": False,
            "max_pixels": 10**7,
            **options,
        }
    )


def sights(photos, placing, **options):
    made = placer(photos, placing, **options)
    found = []
    for item in photos:
        data = photos.read(item)
        found.append(made.look(item, data, decode(data, Limits())))
    return made, found


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    photos, placing, views = world.survey(folder, 1)
    return photos, Placing(**placing), views


def test_a_result_lies_where_the_photo_does(survey):
    photos, placing, views = survey
    _, (sight,) = sights(open_folder(photos), placing)
    assert (sight.objection, sight.problem) == (None, "")
    for factor in (1, 2):
        result = np.zeros((3, 120 * factor, 160 * factor), dtype=np.uint8)
        placed = sight.place(result)
        shape = shapely.from_wkb(placed.geometry)
        wanted = footprint(views[0], far_m=sight.seen.view.far_m).to_crs(WGS84).geometry
        assert shape.geom_type == "MultiPolygon"
        assert shape.intersection(wanted).area > 0.9999 * shape.union(wanted).area
        assert placed.attributes["NAME"] == "0.png"
        assert placed.attributes["GSD_M"] == pytest.approx(
            sight.place(np.zeros((3, 120, 160), np.uint8)).attributes["GSD_M"] / factor, rel=1e-3
        )
        assert sight.encode(result) is None


def test_map_space_feeds_the_net_with_an_ortho(survey, tmp_path):
    photos, placing, _ = survey
    made, (sight,) = sights(open_folder(photos), replace(placing, resolution=1.0), map_space=True)
    height, width = sight.photo.pixels.shape[1:]
    assert (width, height) == sight.grid.size
    assert sight.photo.orientation == 1
    encoded = sight.encode(np.zeros((3, 2 * height, 2 * width), dtype=np.uint8))
    path = tmp_path / "a.tif"
    path.write_bytes(encoded.data)
    import rasterio

    with rasterio.open(path) as file:
        assert (file.crs.to_epsg(), file.res, file.count) == (32633, (0.5, 0.5), 4)
        assert file.bounds.left == sight.grid.affine.c
        alpha = file.read(4)
        assert file.tags()["POSE_SOURCE"] == sight.seen.pose.source
        assert file.tags()["GROUND_SOURCE"] == sight.seen.ground
    assert np.array_equal(alpha[::2, ::2] > 127, sight.photo.alpha > 0)
    _, (large,) = sights(open_folder(photos), placing, map_space=True, max_pixels=100)
    assert "--max-pixels 100" in large.problem
    assert large.grid is None
    assert made.notes == made.viewer.notes


def test_map_space_never_takes_a_photos_place(survey):
    photos, placing, _ = survey
    _, (sight,) = sights(open_folder(photos), placing, map_space=True, overwrite=True)
    assert "--pixel-space" in sight.objection
    assert sight.grid is None


def test_what_lacks_is_told_by_the_placement(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(gps=gps(15, 50, 3.0)))
    (tmp_path / "b.jpg").write_bytes(jpeg())
    _, found = sights(open_folder(tmp_path), Placing())
    for sight, words in zip(found, ("no direction", "no position and no direction"), strict=True):
        placed = sight.place(np.zeros((3, 48, 64), np.uint8))
        assert placed.geometry is None
        assert words in placed.problem
        assert sight.objection is None
        assert sight.rectified() is sight


def test_a_product_that_fails_leaves_the_footprint(survey, tmp_path):
    photos, placing, _ = survey
    wish = replace(placing, ortho=tmp_path / "o", resolution=1e-6)
    _, (sight,) = sights(open_folder(photos), wish)
    placed = sight.place(np.zeros((3, 120, 160), np.uint8))
    assert placed.geometry is not None
    assert "give a larger one" in placed.problem


def test_nobody_wants_footprints(survey):
    photos, placing, _ = survey
    _, (sight,) = sights(open_folder(photos), placing, crs_of=None)
    assert sight.place(np.zeros((3, 120, 160), np.uint8)).geometry is None


def test_multi():
    box = shapely.box(0, 0, 1, 1)
    assert multi(box) == multi(multi(box)) == shapely.MultiPolygon([box])
