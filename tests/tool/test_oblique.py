"""The shipped flight over a town, whose cameras and ground are known: everything lands in place."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.warp import Resampling, reproject

from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.geo.footprint import footprint
from attachtrans.geo.frame import convergence_deg
from attachtrans.geo.rotation import pose_angles
from attachtrans.geo.view import CameraView
from attachtrans.stores.dem import Dem
from attachtrans.tool.footprints import plan_footprints
from attachtrans.tool.orthos import plan_orthos
from attachtrans.tool.place.options import Placing
from attachtrans.tool.posefile import fit_photo
from attachtrans.tool.translate import translate_pixels
from attachtrans.types import Size
from tests.models.nets import bicubic_x2
from tests.stores.appending import rows

CRS = "EPSG:25832"
FRAMES = tuple(f"DJI_{number:04d}.JPG" for number in range(1, 5))
STEP_M = 0.25
PLAZA = (560_977.0, 560_999.0, 5_652_791.0, 5_652_813.0)
"""x from, x to, y from, y to of ground that nothing hides from the second and third camera."""
TAGS_SD_M = 0.35
"""On the ground, 75 m away: 0.2 degrees of the gimbal about each axis, 2 cm of the receiver."""


@pytest.fixture(scope="module")
def flight(fixtures_dir: Path) -> Path:
    return fixtures_dir / "oblique"


@pytest.fixture(scope="module")
def truth(flight: Path) -> dict[str, PerspectiveCamera]:
    found = json.loads((flight / "truth" / "cameras.json").read_bytes())
    return {
        name: PerspectiveCamera(
            Size(*camera["size"]),
            focal_px=tuple(camera["focal_px"]),
            centre_px=tuple(camera["centre_px"]),
            distortion=camera["distortion"],
            rotation=np.array(camera["rotation"]),
            position=np.array(camera["position"]),
        )
        for name, camera in found.items()
    }


@pytest.fixture(scope="module")
def by_tags(flight: Path) -> Placing:
    return Placing(dem=flight / "dsm.tif", crs=CRS)


@pytest.fixture(scope="module")
def adjusted(flight: Path) -> Placing:
    return Placing(
        dem=flight / "dsm.tif",
        crs=CRS,
        poses=flight / "poses.csv",
        camera=flight / "camera.json",
        resolution=STEP_M,
        occlusion=True,
    )


@pytest.fixture(scope="module")
def orthos(flight: Path, adjusted: Placing, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an ortho of each frame, and one of all: all.tif."""
    folder = tmp_path_factory.mktemp("orthos")
    run = plan_orthos(flight / "drone", folder, mosaic=folder / "all.tif", placing=adjusted)
    assert [one.status for one in run] == ["written"] * 4
    return folder


@pytest.fixture(scope="module")
def results(flight: Path, adjusted: Placing, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two translated frames (out.gpkg), and what is written beside them."""
    folder = tmp_path_factory.mktemp("results")
    placing = Placing(
        **{name: getattr(adjusted, name) for name in ("dem", "crs", "poses", "camera")},
        resolution=STEP_M,
        ortho=folder / "orthos",
        rpc=folder / "rpc",
        undistort=True,
    )
    report = translate_pixels(
        flight / "drone",
        bicubic_x2(folder / "bicubic.emd"),
        f"{folder / 'out.gpkg'}:photos",
        limit=2,
        device="cpu",
        placing=placing,
    )
    assert report.ok
    return folder


def shapes(source: Path, placing: Placing) -> dict[str, Any]:
    run = plan_footprints(source, placing=placing)
    return {one.key: one.footprint.geometry for one in run if one.footprint is not None}


def overlap(one: Any, other: Any) -> float:
    return float(one.intersection(other).area / one.union(other).area)


def part(path: Path, area: tuple[float, float, float, float]) -> np.ndarray:
    """(bands, rows, cols) of a raster whose cells lie as those of the true ortho; 0 beyond it."""
    west, east, south, north = area
    with rasterio.open(path) as source:
        assert source.res == (STEP_M, STEP_M)
        whole, bounds = source.read().astype(np.float32), source.bounds
    sides = west - bounds.left, bounds.top - north, east - west, north - south
    col, row, width, height = (side / STEP_M for side in sides)
    assert all(side.is_integer() for side in (col, row, width, height))
    spare = int(max(width, height, abs(col), abs(row)))
    padded = np.pad(whole, [(0, 0), (spare, spare), (spare, spare)])
    top, left = spare + int(row), spare + int(col)
    return padded[:, top : top + int(height), left : left + int(width)]


def shift_px(one: np.ndarray, other: np.ndarray) -> float:
    """By how much two pictures of the same size are shifted against each other."""
    first, second = (picture[:3].mean(axis=0) for picture in (one, other))
    start = np.eye(2, 3, dtype=np.float32)
    alike, found = cv2.findTransformECC(first, second, start, cv2.MOTION_TRANSLATION)
    assert alike > 0.99
    return float(np.hypot(*found[:, 2]))


def control(flight: Path) -> list[dict[str, str]]:
    lines = (flight / "gcps.csv").read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(lines[1:]))


def test_opencv_sees_the_targets_where_the_photo_shows_them(
    flight: Path, truth: Mapping[str, PerspectiveCamera]
) -> None:
    """The photo is what the camera of truth/ sees, and gcps.csv was measured in it."""
    camera, targets = truth[FRAMES[1]], control(flight)
    points = np.array([[float(one[axis]) for axis in "xyz"] for one in targets])
    (fx, fy), (cx, cy) = camera.focal_px, camera.centre_px
    exact, _ = cv2.projectPoints(
        points - camera.position,
        cv2.Rodrigues(camera.rotation.T)[0],
        np.zeros(3),
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]),
        np.array(json.loads((flight / "camera.json").read_bytes())["distortion_coefficients"]),
    )
    exact = exact[:, 0]
    measured = np.array([[float(one["col"]), float(one["row"])] for one in targets]) - 0.5
    assert np.abs(measured - exact).max() < 4 * 0.15
    photo = cv2.imread(str(flight / "drone" / FRAMES[1]), cv2.IMREAD_GRAYSCALE)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-3)
    corners = np.ascontiguousarray(exact[:, None], np.float32)
    found = cv2.cornerSubPix(photo, corners, (4, 4), (-1, -1), stop)[:, 0]
    assert np.abs(found - exact).max() < 0.3
    assert np.median(np.abs(found - exact)) < 0.1


@pytest.mark.slow
def test_footprints_by_tags_and_by_adjusted_poses(
    flight: Path, truth: Mapping[str, PerspectiveCamera], by_tags: Placing, adjusted: Placing
) -> None:
    tagged, solved = shapes(flight / "drone", by_tags), shapes(flight / "drone", adjusted)
    dem = Dem.open(flight / "dsm.tif")
    for name in FRAMES:
        camera = truth[name]
        ground = dem.ground(dem.crs, camera.position[:2], 300.0)
        exact = footprint(CameraView(camera, ground, dem.crs)).geometry
        assert overlap(solved[name], exact) > 0.998
        around = np.sqrt(exact.area) * 4
        assert 1 - overlap(tagged[name], exact) < 2 * TAGS_SD_M * around / exact.area
    dem.close()
    alone = Placing(dem=flight / "dsm.tif", crs=CRS, camera=flight / "camera.json")
    of_table = shapes(flight / "poses.csv", alone)
    assert all(overlap(of_table[name], solved[name]) > 0.999999 for name in FRAMES)


def test_each_ortho_shows_the_true_colours(flight: Path, orthos: Path) -> None:
    for name in FRAMES:
        path = orthos / f"{Path(name).stem}.tif"
        with rasterio.open(path) as source:
            left, bottom, right, top = source.bounds
        area = left, right, bottom, top
        ours, exact = part(path, area), part(flight / "truth" / "ortho.tif", area)
        seen = cv2.erode(ours[3], np.ones((5, 5))) == 255
        assert seen.mean() > 0.4
        apart = np.abs(ours[:3] - exact)[:, seen]
        assert np.median(apart) < 6.0
        assert apart.mean() < 12.0


@pytest.mark.parametrize("name", ["DJI_0002", "DJI_0003", "all"])
def test_edges_lie_where_they_are(name: str, flight: Path, orthos: Path) -> None:
    exact = part(flight / "truth" / "ortho.tif", PLAZA)
    ours = part(orthos / f"{name}.tif", PLAZA)
    assert (ours[3] == 255).all()
    assert shift_px(ours, exact) < 0.2


def test_a_mosaic_shows_what_its_frames_show(orthos: Path) -> None:
    with rasterio.open(orthos / "all.tif") as source:
        left, bottom, right, top = source.bounds
    area = left, right, bottom, top
    whole = part(orthos / "all.tif", area)
    each = np.stack([part(orthos / f"{Path(name).stem}.tif", area) for name in FRAMES])
    shown = whole[3] == 255
    # What hides what is decided tile by tile; single cells may differ.
    assert (shown != (each[:, 3] == 255).any(axis=0)).mean() < 1e-4
    apart = np.where(each[:, 3:] == 255, np.abs(each[:, :3] - whole[:3]), 255.0)
    assert np.percentile(apart.max(axis=1).min(axis=0)[shown], 99) < 3.0


def test_a_fit_recovers_the_camera(
    flight: Path, truth: Mapping[str, PerspectiveCamera], tmp_path: Path
) -> None:
    exact = truth[FRAMES[1]]
    found = fit_photo(flight / "drone" / FRAMES[1], flight / "gcps.csv", tmp_path / "fit.json")
    pose, fit = found.fitted.pose, found.fitted.fit
    assert 0.05 < fit.rms_px < 0.3
    assert pose.xyz is not None
    assert pose.accuracy.xy_m is not None
    assert pose.accuracy.z_m is not None
    off = np.array(pose.xyz) - exact.position
    assert np.hypot(*off[:2]) < 4 * pose.accuracy.xy_m < 0.5
    assert abs(off[2]) < 4 * pose.accuracy.z_m < 0.5
    placing = Placing(dem=flight / "dsm.tif", crs=CRS, poses=tmp_path / "fit.json")
    fitted = shapes(flight / "drone" / FRAMES[1], placing)[FRAMES[1]]
    dem = Dem.open(flight / "dsm.tif")
    ground = dem.ground(dem.crs, exact.position[:2], 300.0)
    assert overlap(fitted, footprint(CameraView(exact, ground, dem.crs)).geometry) > 0.995
    dem.close()


@pytest.mark.slow
def test_results_twice_as_large_lie_where_the_photos_lie(
    flight: Path, adjusted: Placing, results: Path
) -> None:
    originals = shapes(flight / "drone", adjusted)
    found = rows(results / "out.gpkg", "SELECT NAME, geom FROM photos")
    assert [name for name, _ in found] == list(FRAMES[:2])
    for name, blob in found:
        # Corners that a roof hides jump; the outline is traced anew in pixels half as large.
        assert overlap(shapely.from_wkb(blob[40:]), originals[name]) > 0.9995
    exact = part(flight / "truth" / "ortho.tif", PLAZA)
    assert shift_px(part(results / "orthos" / "DJI_0002.tif", PLAZA), exact) < 0.2


@pytest.mark.slow
def test_gdal_places_the_copies_by_their_rpc(flight: Path, results: Path) -> None:
    exact = part(flight / "truth" / "ortho.tif", PLAZA)
    placed = np.zeros_like(exact)
    transform = rasterio.Affine(STEP_M, 0.0, PLAZA[0], 0.0, -STEP_M, PLAZA[3])
    with rasterio.open(results / "rpc" / "DJI_0002.tif") as source:
        assert min(source.width / 1280, source.height / 960) >= 1.0
        reproject(
            source.read([1, 2, 3]).astype(np.float32),
            placed,
            rpcs=source.rpcs,
            src_crs="EPSG:4326",
            dst_crs=CRS,
            dst_transform=transform,
            resampling=Resampling.average,
            RPC_DEM=str(flight / "dsm.tif"),
            RPC_PIXEL_ERROR_THRESHOLD=1e-6,
        )
    assert shift_px(placed, exact) < 0.25


def test_a_street_photo_with_sky(flight: Path, truth: Mapping[str, PerspectiveCamera]) -> None:
    """A compass, a level camera, a position: its sky is left out, its ground is there."""
    pytest.importorskip("pygeomag")
    placing = Placing(dem=flight / "dsm.tif", crs=CRS, height_m=1.6, far_m=50.0)
    (one,) = plan_footprints(flight / "street", placing=placing)
    assert one.footprint is not None
    exact = truth["IMG_0001.jpg"]
    dem = Dem.open(flight / "dsm.tif")
    ground = dem.ground(dem.crs, exact.position[:2], 300.0)
    wanted = footprint(CameraView(exact, ground, dem.crs), far_m=50.0)
    heading = pose_angles("hpr", exact.rotation)[0] + convergence_deg(dem.crs, exact.position[:2])
    dem.close()
    assert one.attributes["HEADING"] == pytest.approx(heading, abs=1.0)
    assert one.footprint.sky_share == pytest.approx(wanted.sky_share, abs=0.02)
    assert overlap(one.footprint.geometry, wanted.geometry) > 0.9
    assert one.footprint.geometry.contains(shapely.Point(560_975.0, 5_652_796.0))
