"""RPCs in place of cameras; goal G9 is checked through GDAL's own warper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.rpc import RPC
from rasterio.transform import Affine, RPCTransformer
from rasterio.warp import Resampling, reproject

from attachtrans.errors import GeorefError, HorizonError
from attachtrans.geo.camera import PanoramaCamera, PerspectiveCamera, TurnedCamera
from attachtrans.geo.ground import EARTH_RADIUS_M, DemGround, FlatGround
from attachtrans.geo.rotation import pose_matrix
from attachtrans.geo.rpcfit import fit_rpc
from attachtrans.geo.undistort import undistorted, undistorted_image
from attachtrans.geo.view import CameraView
from attachtrans.types import Size
from tests.geo.lenses import RATIONAL8
from tests.geo.test_real import FRAMES, frame

UTM = "EPSG:32735"
SIZE = Size(1200, 800)
STRONG = RATIONAL8
FOLDED = (-0.3, 0.4, 0.0, 0.0, -0.3)
"""Lenses that an RPC follows to 4e-4 of the width, and not at all."""


def seen(pitch=30.0, distortion=(), *, size=SIZE, ground=None, crs=UTM, **changes):
    """A drone 100 m above ground, `pitch` degrees off nadir."""
    camera = PerspectiveCamera(
        size,
        focal_px=(0.75 * size[0],) * 2,
        centre_px=(0.5 * size[0] + 3.0, 0.5 * size[1] - 2.0),
        distortion=distortion,
        rotation=pose_matrix("hpr", (40.0, pitch, 2.0)),
        position=(250_000.0, 6_270_000.0, 600.0),
    )
    return CameraView(camera, ground or FlatGround(500.0), crs, **changes)


def grid(size, count=24):
    cols, rows = np.meshgrid(np.linspace(0, size[0], count), np.linspace(0, size[1], count))
    return np.stack([cols.ravel(), rows.ravel()])


def rough(top=520.0):
    heights = np.random.default_rng(0).uniform(480.0, top, (200, 200))
    return DemGround(heights, (15.0, 0.0, 248_500.0, 0.0, -15.0, 6_271_500.0))


@pytest.mark.parametrize("pitch", [0.0, 30.0, 60.0])
@pytest.mark.parametrize("ground", [FlatGround(500.0), rough()])
def test_a_pinhole_is_an_rpc(pitch, ground):
    view = seen(pitch, ground=ground)
    fit = fit_rpc(view)
    assert fit.rms_px < 0.002
    assert fit.max_px < 0.02
    xy = view.pixel_to_map(grid(SIZE))
    assert np.abs(fit.rpc.map_to_pixel(xy) - grid(SIZE)).max() < 0.02
    assert fit.rpc.model.height_off == pytest.approx(500.0, abs=6.0)
    low, high = fit.heights_m
    assert low < view.look(grid(SIZE))[0][2].min()
    assert high > view.look(grid(SIZE))[0][2].max()


def test_the_report_is_what_readers_get():
    view = seen(30.0, STRONG, ground=rough())
    fit = fit_rpc(view)
    heights = np.random.default_rng(1).uniform(*fit.heights_m, grid(SIZE).shape[1])
    expected, rays = [], view.eye.rays(grid(SIZE) - 0.5)
    for ray, height in zip(rays.T, heights, strict=True):
        expected.append(FlatGround(height).intersect(view.eye.position, ray[:, None])[0][:, 0])
    points = view.world.to_source(np.array(expected).T)
    lonlat = rasterio.warp.transform(UTM, "EPSG:4326", points[0], points[1])
    with RPCTransformer(RPC.from_gdal(fit.rpc.to_tags())) as gdal:
        rows, cols = gdal.rowcol(*lonlat, heights, op=float)
    off = np.hypot(*(np.stack([cols, rows]) - grid(SIZE)))
    assert 0.05 < fit.rms_px < 0.6
    assert np.sqrt((off**2).mean()) == pytest.approx(fit.rms_px, rel=0.25)
    assert off.max() < 1.3 * fit.max_px


def test_a_round_earth_goes_into_it():
    flat = seen(70.0, ground=FlatGround(500.0), size=Size(1200, 300))
    view = replace(flat, ground=FlatGround(500.0, earth_radius_m=EARTH_RADIUS_M))
    fit = fit_rpc(view)
    xy = view.pixel_to_map(grid(view.size))
    assert np.abs(fit.rpc.map_to_pixel(xy) - grid(view.size)).max() < 0.05


def test_other_coordinates_than_metres():
    here = seen(30.0)
    lonlat = rasterio.warp.transform(UTM, "EPSG:4326", [250_000.0], [6_270_000.0])
    camera = here.camera.posed(here.camera.rotation, [lonlat[0][0], lonlat[1][0], 600.0])
    view = CameraView(camera, FlatGround(500.0), "EPSG:4326")
    fit = fit_rpc(view)
    assert fit.rms_px < 0.002
    xy = view.pixel_to_map(grid(SIZE))
    assert np.abs(fit.rpc.pixel_to_map(grid(SIZE)) - xy).max() < 1e-7


def test_photos_that_are_stored_turned():
    view = seen(30.0)
    turned = replace(view, camera=TurnedCamera(upright=view.camera, orientation=6))
    fit = fit_rpc(turned)
    assert fit.rms_px < 0.002
    assert fit.rpc.size == turned.size
    straight = undistorted_image(np.zeros((1, 1200, 800), np.uint8), turned)[1]
    assert straight.size == turned.size


def test_sky_is_refused():
    with pytest.raises(HorizonError, match="of the frame"):
        fit_rpc(seen(80.0), force=True)
    with pytest.raises(HorizonError, match="--ortho"):
        fit_rpc(seen(60.0, far_m=100.0))


def test_without_ground_there_is_no_rpc():
    away = DemGround(np.zeros((3, 3)), (10.0, 0.0, 0.0, 0.0, -10.0, 0.0))
    with pytest.raises(GeorefError, match="--dem"):
        fit_rpc(seen(30.0, ground=away))


@pytest.mark.slow
def test_above_a_pixel_it_is_refused_unless_forced():
    view = seen(30.0, STRONG, size=Size(6000, 4000))
    with pytest.raises(GeorefError, match="--undistort"):
        fit_rpc(view)
    assert 1.0 < fit_rpc(view, force=True).rms_px < 3.0
    assert fit_rpc(replace(view, camera=undistorted(view.camera))).rms_px < 0.01


def test_an_rpc_that_folds_is_refused_in_any_case():
    with pytest.raises(GeorefError, match="folds over"):
        fit_rpc(seen(30.0, FOLDED), force=True)


def test_a_panorama_is_refused():
    camera = PanoramaCamera(
        Size(400, 200), rotation=np.diag([1.0, -1.0, -1.0]), position=(0.0, 0.0, 10.0)
    )
    with pytest.raises(GeorefError, match="horizon"):
        fit_rpc(CameraView(camera, FlatGround(0.0), UTM))


@pytest.fixture
def drone(shared):
    def load(name):
        geo = shared / "data" / "geo"
        dsm = geo / "orthority" / "tests" / "data" / FRAMES[name]
        with rasterio.open(dsm) as model:
            ground = DemGround(model.read(1), model.transform, model.nodata)
            return CameraView(frame(geo, name), ground, model.crs.to_wkt()), dsm

    return load


def positions(size):
    """Each pixel's own (col, row), from the outer corner."""
    cols, rows = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    return np.stack([cols, rows]).astype(np.float32)


def warped(image, fit, dsm, step=0.5):
    """The picture as GDAL places it on the surface model, and the map positions of its pixels."""
    with rasterio.open(dsm) as model:
        bounds, crs = model.bounds, model.crs
    transform = Affine(step, 0.0, bounds.left, 0.0, -step, bounds.top)
    shape = int((bounds.top - bounds.bottom) / step), int((bounds.right - bounds.left) / step)
    found = np.full((len(image), *shape), np.nan, np.float32)
    reproject(
        image,
        found,
        rpcs=RPC.from_gdal(fit.rpc.to_tags()),
        src_crs="EPSG:4326",
        dst_crs=crs,
        dst_transform=transform,
        dst_nodata=np.nan,
        resampling=Resampling.bilinear,
        RPC_DEM=str(dsm),
    )
    rows, cols = np.indices(shape)
    return found.reshape(len(image), -1), np.stack(
        transform @ (cols.ravel() + 0.5, rows.ravel() + 0.5)
    )


def misplaced(found, view, xy):
    """(N,) pixels between where GDAL took a place from and where the camera sees it."""
    expected = view.map_to_pixel(xy)
    inside = ((expected > 1) & (expected < np.array(view.size)[:, None] - 1)).all(axis=0)
    off = np.hypot(*(found - expected)[:, inside])
    assert np.isfinite(off).mean() > 0.99
    return off[np.isfinite(off)]


@pytest.mark.parametrize("name", ["odm_100_0005_0018", "odm_100_0005_0142"])
def test_g9_gdal_places_the_untouched_photo(drone, name):
    view, dsm = drone(name)
    fit = fit_rpc(view)
    found, xy = warped(positions(view.size), fit, dsm)
    off = misplaced(found, view, xy)
    assert off.size > 50_000
    assert np.median(off) < 0.3
    assert np.quantile(off, 0.95) < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["odm_100_0005_0018", "odm_100_0005_0142"])
def test_g9_gdal_places_the_undistorted_photo(drone, name):
    """The picture holds the old pixels' positions, so that both steps are in the error."""
    view, dsm = drone(name)
    image, straight = undistorted_image(positions(view.size), view)
    found, xy = warped(image, fit_rpc(straight), dsm)
    off = misplaced(found, view, xy)
    assert np.median(off) < 0.05
    assert np.quantile(off, 0.95) < 0.05


@pytest.mark.parametrize("name", ["odm_100_0005_0018", "odm_100_0005_0142"])
def test_g9_gdal_sees_the_undistorted_camera(drone, name):
    """Places alone: the warper's means over several pixels are not in the error."""
    view, dsm = drone(name)
    straight = replace(view, camera=undistorted(view.camera))
    pixels = grid(straight.size, 40)
    xy = straight.pixel_to_map(pixels)
    hit = np.isfinite(xy[0])
    lonlat = rasterio.warp.transform(view.crs.to_wkt(), "EPSG:4326", *xy[:, hit])
    with RPCTransformer(RPC.from_gdal(fit_rpc(straight).rpc.to_tags()), rpc_dem=str(dsm)) as gdal:
        rows, cols = gdal.rowcol(*lonlat, op=float)
    assert np.hypot(*(np.stack([cols, rows]) - pixels[:, hit])).max() < 0.01


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_file_with_the_tags_is_placed_by_gdalwarp(drone, tmp_path):
    """The stock reader of the tags, GTiff, and the constant height that QGIS takes."""
    view, _ = drone("odm_100_0005_0142")
    fit = fit_rpc(view)
    path = tmp_path / "photo.tif"
    profile = {"width": view.size[0], "height": view.size[1], "count": 2, "dtype": "float32"}
    with rasterio.open(path, "w", driver="GTiff", **profile) as file:
        file.write(positions(view.size))
        file.update_tags(ns="RPC", **fit.rpc.to_tags())
    with rasterio.open(path) as file:
        tags = file.tags(ns="RPC")
        assert float(tags["HEIGHT_OFF"]) == pytest.approx(fit.rpc.model.height_off)
        flat = replace(view, ground=FlatGround(fit.rpc.model.height_off))
        xy = flat.pixel_to_map(grid(view.size, 9))
        lonlat = rasterio.warp.transform(view.crs.to_wkt(), "EPSG:4326", *xy)
        with RPCTransformer(file.rpcs, rpc_height=fit.rpc.model.height_off) as gdal:
            rows, cols = gdal.rowcol(*lonlat, op=float)
    assert np.median(np.hypot(*(np.stack([cols, rows]) - grid(view.size, 9)))) < 0.5
