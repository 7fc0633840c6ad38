"""Footprints of scenes with control points or an RPC."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import shapely

from attachtrans.errors import HorizonError
from attachtrans.geo.footprint import footprint
from attachtrans.geo.ground import DemGround, FlatGround
from attachtrans.geo.rpcmodel import RpcModel
from attachtrans.geo.view import Gcps, Rpc
from attachtrans.types import Size
from tests.geo.footprint.scenes import SIZE, flat, iou, pinhole, ring_of


def points_of(georef, count=9):
    width, height = SIZE
    cols, rows = np.meshgrid(np.linspace(0, width, count), np.linspace(0, height, count))
    pixels = np.stack([cols.ravel(), rows.ravel()])
    return np.concatenate([pixels, georef.pixel_to_map(pixels)])


def test_control_points_of_a_plane_are_the_cameras_own_outline():
    view = flat(pinhole())
    made = footprint(Gcps(points_of(view), SIZE, view.crs, method="homography"))
    assert iou(made.geometry, footprint(view).geometry) > 1.0 - 1e-6
    assert made.kind == "outline"


def test_bent_edges_are_followed():
    view = flat(pinhole((30.0, 30.0, 5.0)))
    scene = Gcps(points_of(view), SIZE, view.crs, method="polynomial2")
    made = footprint(scene)
    assert iou(made.geometry, ring_of(scene)) > 0.9999
    assert len(made.geometry.exterior.coords) > 10


def test_control_points_on_both_sides_of_the_antimeridian():
    cols, rows = (axis.ravel() for axis in np.meshgrid([0.0, 200.0, 400.0], [0.0, 150.0, 300.0]))
    longitude = (179.9 + cols * 5e-4 + 180.0) % 360.0 - 180.0
    scene = Gcps(np.stack([cols, rows, longitude, 10.0 - rows * 5e-4]), SIZE, "EPSG:4326")
    made = footprint(scene)
    assert made.geometry.geom_type == "MultiPolygon"
    assert made.geometry.area == pytest.approx(0.2 * 0.15, rel=1e-6)


@pytest.fixture
def scene(shared):
    path = shared / "data/geo/orthority/tests/data/rpc/qb2_basic1b.tif"
    with rasterio.open(path) as file:
        return RpcModel.from_attributes(file.rpcs), Size(file.width, file.height)


def test_a_scene_with_an_rpc(scene):
    model, size = scene
    georef = Rpc(model, size, FlatGround(700.0))
    made = footprint(georef)
    assert iou(made.geometry, ring_of(georef)) > 0.9999
    assert (made.off_dem_share, made.truncated) == (0.0, False)
    assert 0.3 < made.gsd_m < 50.0


def test_a_scene_that_leaves_the_model(scene):
    model, size = scene
    whole = footprint(Rpc(model, size, FlatGround(700.0))).geometry
    west, south, east, north = whole.bounds
    step = (east - west) / 100
    half = DemGround(
        np.full((300, 50), 700.0), (step, 0.0, west, 0.0, -step, 0.5 * (south + north) + 150 * step)
    )
    made = footprint(Rpc(model, size, half))
    covered = shapely.box(west + 0.5 * step, -90, west + 49.5 * step, 90).intersection(whole)
    assert made.truncated
    assert made.off_dem_share == pytest.approx(1.0 - covered.area / whole.area, abs=0.02)
    assert iou(made.geometry, covered) > 0.98
    east_of_it = DemGround(half.array, (step, 0.0, east + 1.0, 0.0, -step, north))
    with pytest.raises(HorizonError, match="none of its pixels"):
        footprint(Rpc(model, size, east_of_it))
