from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from attachtrans.errors import CrsError, SourceError
from attachtrans.geo.camera import FisheyeCamera, PanoramaCamera
from attachtrans.geo.pose import North
from attachtrans.geo.rotation import pose_matrix
from attachtrans.stores.poses import PoseOptions, read_poses
from attachtrans.stores.poses.base import srs
from attachtrans.stores.poses.opensfm import sfm_camera
from tests.stores.poses.frames import ODM, points, seen, stood, truth

CAMERA = {"projection_type": "perspective", "width": 800, "height": 600, "focal": 0.8, "k1": 0.0}


@pytest.fixture
def odm(shared):
    return shared / "data" / "geo" / "orthority" / "tests" / "data" / "odm"


def enu_axes(longitude, latitude):
    """Columns are east, north, up in geocentric axes, by their definition."""
    lam, phi = np.deg2rad([longitude, latitude])
    east = [-np.sin(lam), np.cos(lam), 0.0]
    up = [np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)]
    return np.stack([east, np.cross(up, east), up], axis=1)


def reconstruction(tmp_path, place, rotation, reference, camera=CAMERA):
    """A file with one shot of a camera at (longitude, latitude, height) with a local rotation."""
    geocentric = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    axes = enu_axes(*reference[:2])
    moved = np.array(geocentric.transform(*place)) - geocentric.transform(*reference)
    centre, turned = axes.T @ moved, axes.T @ enu_axes(*place[:2]) @ rotation
    shot = {
        "rotation": cv2.Rodrigues(turned.T)[0].ravel().tolist(),
        "translation": (-turned.T @ centre).tolist(),
        "camera": "c",
        "capture_time": 1554980828.0,
    }
    longitude, latitude, altitude = reference
    lla = {"longitude": longitude, "latitude": latitude, "altitude": altitude}
    path = tmp_path / "reconstruction.json"
    path.write_text(
        json.dumps([{"cameras": {"c": camera}, "shots": {"1.jpg": shot}, "reference_lla": lla}])
    )
    return path


@pytest.mark.parametrize("name", ODM)
def test_g1_odm_poses_are_the_truth(shared, odm, name):
    geo = shared / "data" / "geo"
    pose = read_poses(odm).find(f"images/{name}.tif")
    found = truth(geo, f"odm_{name}")
    assert pose.crs == srs(32651)
    assert pose.north is North.GRID
    camera = stood(pose, found["im_size"])
    assert np.abs(camera.position - found["C"]).max() < 1e-9
    assert np.abs(camera.rotation - found["R_cam_cv_to_world"]).max() < 1e-14
    pixels, world = points(geo, f"odm_{name}")
    assert np.abs(camera.project(world) - pixels).max() < 1e-6
    assert np.abs(camera.project(world) - seen(found, world)).max() < 1e-6
    assert np.abs(camera.project(camera.position[:, None] + camera.rays(pixels)) - pixels).max() < (
        1e-6
    )


def test_the_folder_of_a_project_and_the_file_itself_are_the_same(odm):
    from_file = read_poses(odm / "opensfm" / "reconstruction.json")
    assert [pose.name for pose in from_file.poses] == [pose.name for pose in read_poses(odm).poses]
    assert len(from_file.poses) == 4


def test_odm_is_known_without_its_folders_by_the_rounded_reference(odm, tmp_path):
    copy = tmp_path / "elsewhere.json"
    shutil.copyfile(odm / "opensfm" / "reconstruction.json", copy)
    alone, beside = read_poses(copy), read_poses(odm)
    assert alone.crs == beside.crs
    assert [pose.xyz for pose in alone.poses] == [pose.xyz for pose in beside.poses]


def test_one_file_name_two_frames(odm, tmp_path):
    """The same numbers, read as OpenSfM's, are turned by the grid's convergence."""
    value = json.loads((odm / "opensfm" / "reconstruction.json").read_text())
    value[0]["reference_lla"]["latitude"] += 3.7e-6
    path = tmp_path / "reconstruction.json"
    path.write_text(json.dumps(value))
    pose, known = read_poses(path).find(ODM[0]), read_poses(odm).find(ODM[0])
    assert pose.source.startswith("OpenSfM")
    assert pose.north is North.TRUE
    ours, theirs = (stood(each, (1368, 912), srs(32651)).rotation for each in (pose, known))
    turned = np.rad2deg(np.arccos((np.trace(ours.T @ theirs) - 1.0) / 2.0))
    assert turned == pytest.approx(0.856, abs=2e-3)


def test_odm_with_another_reference_demands_a_crs(odm, tmp_path):
    value = json.loads((odm / "opensfm" / "reconstruction.json").read_text())
    value[0]["reference_lla"]["latitude"] += 3.7e-6
    path = tmp_path / "opensfm" / "reconstruction.json"
    path.parent.mkdir()
    (tmp_path / "odm_dem").mkdir()
    path.write_text(json.dumps(value))
    with pytest.raises(CrsError, match="--poses-crs"):
        read_poses(path)
    assert read_poses(path, crs=srs(32651)).crs == srs(32651)


@pytest.mark.parametrize("words", ["WGS84 UTM 51N", "+proj=utm +zone=51 +datum=WGS84 +units=m"])
def test_odms_coords_give_the_offset(odm, tmp_path, words):
    path = tmp_path / "opensfm" / "reconstruction.json"
    path.parent.mkdir()
    shutil.copyfile(odm / "opensfm" / "reconstruction.json", path)
    coords = tmp_path / "odm_georeferencing" / "coords.txt"
    coords.parent.mkdir()
    coords.write_text(f"{words}\n292000 2731000\n1 2 3\n")
    moved, known = read_poses(tmp_path).find(ODM[0]), read_poses(odm).find(ODM[0])
    assert np.subtract(known.xyz, moved.xyz) == pytest.approx([632.0, 169.0, 0.0], abs=1e-6)


@settings(max_examples=25)
@given(
    st.floats(-179.9, 179.9),
    st.floats(-85.0, 85.0),
    st.tuples(st.floats(0.0, 360.0), st.floats(5.0, 175.0), st.floats(-30.0, 30.0)),
    st.tuples(st.floats(-0.02, 0.02), st.floats(-0.02, 0.02), st.floats(-50.0, 300.0)),
)
def test_opensfm_poses_come_back_where_they_stood(
    tmp_path_factory, longitude, latitude, angles, away
):
    # There central meridians are at whole metres of UTM, by which ODM's references are known.
    assume(abs(latitude) > 1e-6)
    place = (longitude + away[0], latitude + away[1], 100.0 + away[2])
    rotation = pose_matrix("hpr", angles)
    path = reconstruction(
        tmp_path_factory.mktemp("sfm"), place, rotation, (longitude, latitude, 20.0)
    )
    pose = read_poses(path).find("1.jpg")
    x, y, z = pose.xyz
    # 1e-9 degrees are 0.1 mm.
    assert (x - place[0] + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=1e-8)
    assert (y, z) == pytest.approx(place[1:], abs=1e-6)
    assert np.abs(pose.rotation - rotation).max() < 1e-9
    assert pose.time == "2019-04-11T11:07:08+00:00"


def test_a_camera_far_from_the_reference_sees_what_its_own_axes_see(tmp_path):
    """Oracle: OpenSfM's projection in the reference's frame, of points about the camera."""
    reference, place = (12.0, 55.0, 0.0), (12.05, 55.03, 80.0)
    rotation = pose_matrix("hpr", (70.0, 60.0, 5.0))
    pose = read_poses(reconstruction(tmp_path, place, rotation, reference)).find("1.jpg")
    shot = json.loads((tmp_path / "reconstruction.json").read_text())[0]["shots"]["1.jpg"]
    geocentric = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    about = np.random.default_rng(3).uniform(-30.0, 30.0, (3, 20)) + np.array(
        [[60.0], [25.0], [-30.0]]
    )
    world = np.array(geocentric.transform(*place))[:, None] + enu_axes(*place[:2]) @ about
    local = enu_axes(*reference[:2]).T @ (
        world - np.array(geocentric.transform(*reference))[:, None]
    )
    turn = cv2.Rodrigues(np.array(shot["rotation"]))[0]
    x, y, z = turn @ local + np.array(shot["translation"])[:, None]
    expected = np.stack([0.8 * 800 * x / z + 399.5, 0.8 * 800 * y / z + 299.5])
    camera = stood(pose, (800, 600))
    assert (
        np.abs(camera.project(about + camera.position[:, None]) - expected)[:, z > 0].max() < 1e-4
    )


def test_without_gps_there_is_no_place(tmp_path):
    path = reconstruction(tmp_path, (1.0, 2.0, 3.0), np.eye(3), (1.0, 2.0, 0.0))
    value = json.loads(path.read_text())
    del value[0]["reference_lla"]
    path.write_text(json.dumps(value))
    found = read_poses(path)
    assert not found.poses
    assert "reference_lla" in found.notes[0]


def test_the_longer_side_is_the_unit(tmp_path):
    """orthority takes the width for portraits: 607.8 for 911.8 px."""
    camera = sfm_camera({**CAMERA, "width": 912, "height": 1368, "focal": 0.6665})
    assert camera.focal_px == pytest.approx((911.772, 911.772))
    assert camera.centre_px == (455.5, 683.5)


def test_kinds_of_cameras():
    x, y = 0.3, -0.2
    ray = np.array([[x], [y], [1.0]])
    brown = {**CAMERA, "projection_type": "brown", "focal_x": 0.8, "focal_y": 0.9, "c_x": 0.01}
    terms = {"k1": -0.1, "k2": 0.02, "p1": 1e-3, "p2": -2e-3, "k3": 0.003}
    expected = cv2.projectPoints(
        ray.T.copy(),
        np.zeros(3),
        np.zeros(3),
        np.array([[640.0, 0, 407.5], [0, 720.0, 299.5], [0, 0, 1]]),
        np.array(list(terms.values())),
    )[0].ravel()
    assert sfm_camera({**brown, **terms}).project(ray).ravel() == pytest.approx(expected, abs=1e-9)
    fish = sfm_camera({**CAMERA, "projection_type": "fisheye", "k1": 0.01, "k2": -0.002})
    assert isinstance(fish, FisheyeCamera)
    theta = np.arctan2(np.hypot(x, y), 1.0)
    radius = 640.0 * theta * (1 + 0.01 * theta**2 - 0.002 * theta**4) / np.hypot(x, y)
    assert fish.project(ray).ravel() == pytest.approx([399.5 + radius * x, 299.5 + radius * y])
    assert isinstance(sfm_camera({**CAMERA, "projection_type": "spherical"}), PanoramaCamera)


@pytest.mark.parametrize(
    "camera",
    [
        {**CAMERA, "projection_type": "dual"},
        {**CAMERA, "projection_type": "fisheye62", "p1": 0.1},
        {"projection_type": "perspective"},
        {**CAMERA, "focal": -1.0},
        "none",
    ],
)
def test_a_camera_that_is_not_known_leaves_the_lens_out_and_says_so(tmp_path, camera):
    path = reconstruction(tmp_path, (1.0, 2.0, 3.0), np.eye(3), (1.0, 2.0, 0.0), camera)
    found = read_poses(path)
    assert found.poses[0].lens is None
    assert "camera 'c'" in found.notes[0]
    lens = sfm_camera(CAMERA)
    filled = read_poses(path, options=PoseOptions(cameras={"": lens}))
    assert filled.poses[0].lens is lens


@pytest.mark.parametrize(
    "shot",
    [{}, [], {"rotation": [1, 2], "translation": [0, 0, 0]}, {"rotation": ["nan"] * 3}],
)
def test_a_bad_shot_is_a_note(tmp_path, shot):
    path = tmp_path / "r.json"
    part = {"cameras": {}, "shots": {"a": shot}, "reference_lla": {"longitude": 1, "latitude": 2}}
    path.write_text(json.dumps([part]))
    assert read_poses(path).notes[0].startswith("a: ")


def test_a_reference_that_is_no_place_is_an_error(tmp_path):
    path = reconstruction(tmp_path, (1.0, 2.0, 3.0), np.eye(3), (1.0, 2.0, 0.0))
    value = json.loads(path.read_text())
    value[0]["reference_lla"]["latitude"] = 200.0
    path.write_text(json.dumps(value))
    with pytest.raises((SourceError, CrsError)):
        read_poses(path)
