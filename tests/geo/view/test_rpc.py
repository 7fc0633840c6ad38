from __future__ import annotations

import cv2
import numpy as np
import pytest
import rasterio
from rasterio.rpc import RPC
from rasterio.transform import RPCTransformer

from attachtrans.errors import ArgumentError, GeorefError
from attachtrans.geo.frame import transform
from attachtrans.geo.ground import DemGround, FlatGround
from attachtrans.geo.rpcmodel import RpcModel
from attachtrans.geo.view import Rpc
from attachtrans.types import Size

EXACT = {"RPC_PIXEL_ERROR_THRESHOLD": "1e-6", "RPC_MAX_ITERATIONS": "50"}
UTM = "EPSG:32735"


@pytest.fixture
def scene(shared):
    """QuickBird over South Africa: its RPC as rasterio reads it, its size."""
    path = shared / "data/geo/orthority/tests/data/rpc/qb2_basic1b.tif"
    with rasterio.open(path) as file:
        return file.rpcs, Size(file.width, file.height), file.tags(ns="RPC")


def grid(size, count=17):
    cols, rows = np.meshgrid(np.linspace(0, size[0], count), np.linspace(0, size[1], count))
    return np.stack([cols.ravel(), rows.ravel()])


def relief(rpc, size, crs, hole=False):
    """Hills of 200 to 900 m on 300 x 300 cells that cover the scene in a CRS."""
    flat = Rpc(RpcModel.from_attributes(rpc), size, FlatGround(700.0), crs)
    corners = flat.pixel_to_map(grid(size, 2))
    margin = 0.15 * (corners.max(axis=1) - corners.min(axis=1))
    (west, south), (east, north) = corners.min(axis=1) - margin, corners.max(axis=1) + margin
    rough = np.random.default_rng(1).uniform(200, 900, (30, 30))
    heights = cv2.resize(rough, (300, 300), interpolation=cv2.INTER_CUBIC)
    if hole:
        heights[140:170, 140:190] = np.nan
    step = (east - west) / 300, (south - north) / 300
    return DemGround(heights, (step[0], 0, west, 0, step[1], north))


def test_g1_pixels_are_gdals(scene):
    rpc, size, _ = scene
    model = RpcModel.from_attributes(rpc)
    heights = np.random.default_rng(0).uniform(250, 1150, grid(size).shape[1])
    view = Rpc(model, size, FlatGround(0.0))
    with RPCTransformer(rpc, **EXACT) as gdal:
        lon, lat = gdal.xy(*grid(size)[::-1], heights, offset="ul")
        assert np.abs(view.see([lon, lat, heights]) - grid(size)).max() < 1.01e-6
        rows, cols = gdal.rowcol(lon, lat, heights, op=float)
        assert np.abs(view.see([lon, lat, heights]) - [cols, rows]).max() < 1e-8


@pytest.mark.parametrize("height", [250.0, 703.0, 1150.0])
def test_g2_pixels_go_out_and_come_back_on_level_ground(scene, height):
    rpc, size, _ = scene
    view = Rpc(RpcModel.from_attributes(rpc), size, FlatGround(height), UTM)
    found = view.pixel_to_map(grid(size))
    assert np.abs(view.map_to_pixel(found) - grid(size)).max() < 1e-6
    with RPCTransformer(rpc, rpc_height=height, **EXACT) as gdal:
        lon, lat = gdal.xy(*grid(size)[::-1], offset="ul")
    assert np.abs(transform("EPSG:4326", UTM, [lon, lat]) - found).max() < 1e-5


@pytest.mark.parametrize("crs", ["EPSG:4326", UTM])
def test_g2_pixels_go_out_and_come_back_on_an_elevation_model(scene, crs):
    rpc, size, _ = scene
    ground = relief(rpc, size, crs)
    view = Rpc(RpcModel.from_attributes(rpc), size, ground, crs)
    found = view.pixel_to_map(grid(size, 60))
    assert np.isfinite(found).all()
    assert np.abs(view.map_to_pixel(found) - grid(size, 60)).max() < 1e-6
    points = view.look(grid(size, 60))
    place = transform("EPSG:4326", crs, points[:2])
    assert np.abs(ground.height(place) - points[2]).max() < 1e-6


def test_the_nearest_ground_is_seen(scene):
    """Along each line of sight, above what is seen there is only air."""
    rpc, size, _ = scene
    ground = relief(rpc, size, UTM)
    model = RpcModel.from_attributes(rpc)
    view = Rpc(model, size, ground, UTM)
    pixels = grid(size, 23)
    seen = view.look(pixels)[2]
    for share in np.linspace(0.003, 1, 150):
        height = seen + share * (ground.surface.highest + 1.0 - seen)
        place = transform("EPSG:4326", UTM, model.locate(pixels - 0.5, height))
        assert (height > ground.height(place)).all()


def test_the_ground_may_have_places_of_its_own(scene):
    rpc, size, _ = scene
    ground = relief(rpc, size, UTM)
    model = RpcModel.from_attributes(rpc)
    degrees = Rpc(model, size, ground, ground_crs=UTM)
    metres = Rpc(model, size, ground, UTM)
    moved = transform("EPSG:4326", UTM, degrees.pixel_to_map(grid(size)))
    assert np.abs(moved - metres.pixel_to_map(grid(size))).max() < 1e-6
    back = degrees.map_to_pixel(degrees.pixel_to_map(grid(size)))
    assert np.abs(back - grid(size)).max() < 1e-6


def test_no_height_is_made_up(scene):
    rpc, size, _ = scene
    view = Rpc(RpcModel.from_attributes(rpc), size, relief(rpc, size, UTM, hole=True), UTM)
    found = view.pixel_to_map(grid(size, 60))
    lost = np.isnan(found[0])
    assert 0.005 < lost.mean() < 0.05
    back = view.map_to_pixel(found)
    assert np.abs(back - grid(size, 60))[:, ~lost].max() < 1e-6
    assert np.isnan(view.map_to_pixel([[0.0], [0.0]])).all()
    low = DemGround(np.full((3, 3), -9000.0), (1e5, 0, 0, 0, -1e5, 7e6))
    buried = Rpc(view.model, size, low, UTM)
    assert np.isnan(buried.pixel_to_map(grid(size))).all()


@pytest.mark.parametrize("factor", [2, 4, 0.5])
def test_g10_a_larger_scene_lies_on_the_same_ground(scene, factor):
    rpc, size, _ = scene
    larger = Size(int(size[0] * factor), int(size[1] * factor))
    view = Rpc(RpcModel.from_attributes(rpc), size, FlatGround(700.0)).resized(larger)
    assert view.model.line_off == pytest.approx((rpc.line_off + 0.5) * factor - 0.5)
    with RPCTransformer(rpc, rpc_height=700.0, **EXACT) as gdal:
        before = gdal.xy(*grid(size)[::-1], offset="ul")
    with RPCTransformer(RPC.from_gdal(view.model.to_tags()), rpc_height=700.0, **EXACT) as gdal:
        rows, cols = gdal.rowcol(*before, op=float)
    assert np.abs(np.array([cols, rows]) / factor - grid(size)).max() < 1e-5
    assert np.abs(view.map_to_pixel(before) / factor - grid(size)).max() < 1e-5


def test_tags_go_out_and_come_back(scene):
    rpc, _, tags = scene
    model = RpcModel.from_attributes(rpc)
    for other in (RpcModel.from_tags(tags), RpcModel.from_tags(model.to_tags())):
        assert np.array_equal(other.table, model.table)
        assert other.to_tags() == model.to_tags()
    assert model.err_bias == 12.15
    assert RPC.from_gdal(model.to_tags()).to_gdal() == rpc.to_gdal()


def test_units_behind_the_numbers_of_text_files_are_passed_over(scene):
    tags = RpcModel.from_attributes(scene[0]).to_tags()
    tags["HEIGHT_OFF"] = "+0703.000 meters"
    assert RpcModel.from_tags(tags).height_off == 703.0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LINE_OFF", None),
        ("LAT_SCALE", "0"),
        ("SAMP_OFF", "many"),
        ("LONG_OFF", "nan"),
        ("LINE_NUM_COEFF", "1 2 3"),
        ("SAMP_DEN_COEFF", " ".join(["0"] * 20)),
    ],
)
def test_damage_is_named(scene, name, text):
    tags = RpcModel.from_attributes(scene[0]).to_tags()
    del tags[name]
    if text is not None:
        tags[name] = text
    with pytest.raises(GeorefError, match="denominator" if "DEN" in name else name):
        RpcModel.from_tags(tags)


def test_what_is_no_rpc_is_refused():
    with pytest.raises(GeorefError, match="LINE_OFF"):
        RpcModel.from_attributes(object())


def test_control_points_take_the_bias_away(scene):
    rpc, size, _ = scene
    view = Rpc(RpcModel.from_attributes(rpc), size, FlatGround(700.0), UTM)
    rng = np.random.default_rng(0)
    pixels = grid(size, 3)
    heights = rng.uniform(400, 900, 9)
    lonlat = view.model.locate(pixels - 0.5, heights)
    points = np.stack([*transform("EPSG:4326", UTM, lonlat), heights])
    noise = rng.normal(0, 0.1, pixels.shape)
    seen = pixels + np.array([[3.0], [-2.1]]) + noise
    moved, left = view.corrected(seen, points)
    assert moved.model.samp_off - view.model.samp_off == pytest.approx(3.0 + noise[0].mean())
    assert moved.model.line_off - view.model.line_off == pytest.approx(-2.1 + noise[1].mean())
    assert left == pytest.approx(noise - noise.mean(axis=1, keepdims=True), abs=1e-6)
    with pytest.raises(GeorefError, match="0 of 1"):
        view.corrected([[0.0], [0.0]], [[0.0], [0.0], [0.0]])


def test_longitudes_run_on_across_the_antimeridian(scene):
    tags = RpcModel.from_attributes(scene[0]).to_tags()
    here = RpcModel.from_tags(tags)
    away = RpcModel.from_tags({**tags, "LONG_OFF": repr(here.long_off + 155.624)})
    size = scene[1]
    ends = [Rpc(model, size, FlatGround(700.0)) for model in (here, away)]
    lonlat = ends[1].pixel_to_map(grid(size))
    assert lonlat[0].min() < -179.9
    assert lonlat[0].max() > 179.9
    shifted = (lonlat[0] - 155.624 + 180.0) % 360.0 - 180.0
    assert shifted == pytest.approx(ends[0].pixel_to_map(grid(size))[0])
    assert np.abs(ends[1].map_to_pixel(lonlat) - grid(size)).max() < 1e-6


def test_a_ground_of_another_kind_is_refused(scene):
    with pytest.raises(ArgumentError, match="FlatGround or a DemGround"):
        Rpc(RpcModel.from_attributes(scene[0]), scene[1], object())
