"""Footprints of real frames against independently computed truth (goals G4 and G6)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import shapely

from attachtrans.geo.footprint import footprint
from attachtrans.geo.ground import DemGround, FlatGround
from attachtrans.geo.view import CameraView
from tests.geo.footprint.scenes import iou
from tests.geo.test_real import COAST, FRAMES, coast, frame


@pytest.fixture
def geo(shared):
    return shared / "data" / "geo"


def truth_edges(geo, name):
    """The outline through the outer pixel edges, and the share of its rays that meet the model."""
    folder, _, stem = name.partition("_")
    found = json.loads((geo / "truth" / f"{folder}_footprints_projected.geojson").read_text())
    (one,) = (
        feature
        for feature in found["features"]
        if feature["properties"]["kind"] == "truth_edges"
        and feature["properties"]["filename"] == f"{stem}.tif"
    )
    shape = shapely.from_geojson(json.dumps(one["geometry"]))
    return shapely.make_valid(shape), one["properties"]["dem_hit_share"]


@pytest.mark.parametrize("name", FRAMES)
def test_g4_the_outline_over_the_model_is_the_true_one(geo, name):
    with rasterio.open(geo / "orthority" / "tests" / "data" / FRAMES[name]) as model:
        ground = DemGround(model.read(1), model.transform, model.nodata)
        made = footprint(CameraView(frame(geo, name), ground, model.crs.to_wkt()))
    expected, share = truth_edges(geo, name)
    assert made.geometry.is_valid
    assert iou(made.geometry, expected) > 0.999
    assert made.truncated == (made.off_dem_share > 0.0) == (share < 1.0)


@pytest.mark.parametrize("name", COAST)
def test_g6_sky_and_far_shares_of_cameras_with_a_horizon(geo, name):
    camera = coast(geo, name)
    made = footprint(CameraView(camera, FlatGround(-0.248), "EPSG:32119"))
    height = camera.position[2] + 0.248
    assert made.far_m == pytest.approx(10.0 * height)
    width, rows = camera.size
    cols, lines = np.meshgrid(np.arange(7.5, width, 16), np.arange(rows))
    rays = camera.rays(np.stack([cols.ravel(), lines.ravel()]))
    level = np.hypot(rays[0], rays[1])
    assert made.sky_share == pytest.approx((rays[2] >= 0.0).mean(), abs=1e-4)
    beyond = (rays[2] < 0.0) & (level * height > -rays[2] * made.far_m)
    assert made.clipped_share == pytest.approx(beyond.mean(), abs=1e-4)
    foot = shapely.Point(camera.position[:2])
    assert foot.hausdorff_distance(made.geometry) == pytest.approx(made.far_m, rel=1e-9)


@pytest.mark.parametrize("name", COAST)
def test_g6_the_points_of_the_truth_lie_in_the_footprint_up_to_the_far_distance(geo, name):
    camera = coast(geo, name)
    made = footprint(CameraView(camera, FlatGround(-0.248), "EPSG:32119"), far_m=2000.0)
    table = np.genfromtxt(geo / "truth" / f"cirn_{name}_points.csv", delimiter=",", names=True)
    known = table[table["above_horizon"] == 0]
    area = made.geometry.buffer(0.5)
    inside = shapely.contains_xy(area, known["x"], known["y"])
    assert np.array_equal(inside, known["ground_range_m"] <= 2000.0)
