"""Real frames against independently computed truth (goals G1 to G3)."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import rasterio

from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.geo.ground import DemGround, FlatGround, GroundStatus
from attachtrans.geo.rotation import pose_angles, pose_matrix
from tests.geo.lenses import edges

FRAMES = {
    "ngi_3324c_2015_1004_05_0182_RGB": "ngi/dem.tif",
    "ngi_3324c_2015_1004_05_0184_RGB": "ngi/dem.tif",
    "odm_100_0005_0018": "odm/odm_dem/dsm.tif",
    "odm_100_0005_0142": "odm/odm_dem/dsm.tif",
}
COAST = ("c1", "c2", "c3")


@pytest.fixture
def geo(shared):
    return shared / "data" / "geo"


def frame(geo, name):
    found = json.loads((geo / "truth" / f"{name}_camera.json").read_text())
    matrix = np.array(found["K"])
    return PerspectiveCamera(
        tuple(found["im_size"]),
        focal_px=(matrix[0, 0], matrix[1, 1]),
        centre_px=(matrix[0, 2], matrix[1, 2]),
        distortion=found["dist_k1k2p1p2k3"],
        rotation=np.array(found["R_cam_cv_to_world"]),
        position=np.array(found["C"]),
    )


def coast(geo, name):
    found = json.loads((geo / "cirn_duck" / "cameras_c1_c3.json").read_text())[name]
    angles = [found[f"{angle}_deg"] for angle in ("heading", "pitch", "roll")]
    return PerspectiveCamera(
        (found["width"], found["height"]),
        focal_px=(found["fx"], found["fy"]),
        centre_px=(found["cx"], found["cy"]),
        distortion=found["dist_k1k2p1p2k3"],
        rotation=pose_matrix("hpr", angles),
        position=np.array(found["C"]),
    )


def truth(geo, name):
    table = np.genfromtxt(geo / "truth" / f"{name}_points.csv", delimiter=",", names=True)
    return table, np.stack([table["col"], table["row"]])


@pytest.mark.parametrize("name", [*FRAMES, *COAST])
def test_g1_and_g2_projects_as_opencv_and_comes_back(geo, name):
    camera = frame(geo, name) if name in FRAMES else coast(geo, name)
    pixels = edges(camera.size)
    rays = camera.rays(pixels)
    points = camera.position[:, None] + 150.0 * rays
    assert np.abs(camera.project(points) - pixels).max() < 1e-6
    (fx, fy), (cx, cy) = camera.focal_px, camera.centre_px
    expected = cv2.projectPoints(
        (points - camera.position[:, None]).T.copy(),
        cv2.Rodrigues(camera.rotation.T)[0],
        np.zeros(3),
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
        np.array(camera.distortion),
    )[0][:, 0].T
    assert np.abs(camera.project(points) - expected).max() < 1e-6


@pytest.mark.parametrize("name", FRAMES)
def test_g3_rays_meet_plane_and_model_where_the_truth_is(geo, name):
    camera = frame(geo, name)
    table, pixels = truth(geo, name)
    rays = camera.rays(pixels)
    points, _ = FlatGround(table["plane_z"][0]).intersect(camera.position, rays)
    assert np.abs(points[:2] - np.stack([table["x_plane"], table["y_plane"]])).max() < 1e-6
    with rasterio.open(geo / "orthority" / "tests" / "data" / FRAMES[name]) as model:
        ground = DemGround(model.read(1), model.transform, model.nodata)
    points, status = ground.intersect(camera.position, rays)
    expected = np.stack([table["x_dem"], table["y_dem"], table["z_dem"]])
    known = np.isfinite(expected[0])
    assert np.array_equal(status, np.where(known, GroundStatus.HIT, GroundStatus.OFF_DEM))
    assert np.abs(points - expected)[:, known].max() < 1e-6
    assert np.abs(camera.project(points) - pixels)[:, known].max() < 1e-6


@pytest.mark.parametrize("name", COAST)
def test_cameras_with_a_horizon_meet_the_water_below_it(geo, name):
    camera = coast(geo, name)
    table, pixels = truth(geo, f"cirn_{name}")
    points, status = FlatGround(-0.248).intersect(camera.position, camera.rays(pixels))
    above = table["above_horizon"] == 1
    assert np.array_equal(status == GroundStatus.SKY, above)
    reach = table["ground_range_m"][~above]
    off = points[:2, ~above] - np.stack([table["x"], table["y"]])[:, ~above]
    # A pixel's rounding moves a point that is 200 km away by more than one that is near.
    assert (np.hypot(*off) / reach).max() < 1e-7


def test_printed_angles_are_the_frames_rotation(geo):
    """Degrees of three decimals of the same frames, as omega, phi, kappa."""
    for name, angles in (
        ("ngi_3324c_2015_1004_05_0182_RGB", (-0.349216, 0.298484, -179.086702)),
        ("ngi_3324c_2015_1004_05_0184_RGB", (0.269761, -0.281937, -179.027883)),
        ("odm_100_0005_0142", (28.831, 0.94, 1.782)),
        ("odm_100_0005_0018", (-2.728, -30.083, -93.729)),
    ):
        assert pose_angles("opk", frame(geo, name).rotation) == pytest.approx(angles, abs=6e-4)
