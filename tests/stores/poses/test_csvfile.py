from __future__ import annotations

import json

import numpy as np
import pytest

from attachtrans.errors import ArgumentError, CrsError
from attachtrans.geo.camera import PanoramaCamera
from attachtrans.geo.pose import North, height_m
from attachtrans.geo.rotation import pose_matrix
from attachtrans.stores.poses import PoseOptions, read_poses
from attachtrans.stores.poses.base import srs
from attachtrans.stores.poses.cameras import read_cameras
from attachtrans.stores.poses.lenses import fov_camera
from tests.stores.poses.frames import NGI, ODM, points, seen, stood, truth


@pytest.fixture
def tables(shared):
    return shared / "data" / "geo" / "orthority" / "tests" / "data" / "io"


def write(tmp_path, text, crs=""):
    path = tmp_path / "poses.csv"
    path.write_text(text)
    if crs:
        path.with_suffix(".prj").write_text(crs)
    return path


@pytest.mark.parametrize("name", NGI)
def test_g1_ngi_table_with_prj_and_interior_parameters(shared, tables, name):
    geo = shared / "data" / "geo"
    cameras = read_cameras(tables / "ngi_int_param.yaml")
    table = read_poses(tables / "ngi_xyz_opk.csv", options=PoseOptions(cameras=cameras))
    pose, found = table.find(f"ngi/{name}.tif"), truth(geo, f"ngi_{name}")
    camera = stood(pose, found["im_size"])
    assert np.abs(camera.position - found["C"]).max() == 0.0
    assert np.abs(camera.rotation - found["R_cam_cv_to_world"]).max() < 1e-15
    pixels, world = points(geo, f"ngi_{name}")
    assert np.abs(camera.project(world) - pixels).max() < 1e-6
    assert np.abs(camera.project(world) - seen(found, world)).max() < 1e-6
    assert pose.north is North.GRID


@pytest.mark.parametrize("name", NGI)
def test_a_table_without_header_and_the_geojson_of_the_same_frames(shared, tables, name):
    columns = ("name", "x", "y", "z", "omega", "phi", "kappa")
    bare = tables.parent / "ngi" / "camera_pos_ori.txt"
    with pytest.raises(ArgumentError, match="--poses-columns"):
        read_poses(bare)
    known = read_poses(tables / "ngi_xyz_opk.csv")
    named = read_poses(bare, crs=known.crs, options=PoseOptions(columns=columns))
    other = read_poses(tables / "ngi_ext_param.geojson")
    for table in (named, other):
        pose, printed = table.find(f"{name}.tif"), known.find(name)
        # The table's digits are millimetres and thousandths of a degree.
        assert np.subtract(pose.xyz, printed.xyz) == pytest.approx([0, 0, 0], abs=6e-4)
        assert np.abs(pose.rotation - printed.rotation).max() < 1.5e-5
    exact = np.abs(named.find(name).rotation - other.find(name).rotation).max()
    assert exact < 1e-8


@pytest.mark.parametrize("name", ODM)
def test_odm_tables_of_both_kinds_of_angles(shared, tables, name):
    geo = shared / "data" / "geo"
    lens = read_poses(tables.parent / "odm").poses[0].lens
    options = PoseOptions(cameras={"dji fc6310r 5472 3648 brown 0.6666": lens})
    found = truth(geo, f"odm_{name}")
    with pytest.raises(CrsError, match=r"--poses-crs.*odm_xyz_opk\.prj"):
        read_poses(tables / "odm_xyz_opk.csv")
    table = read_poses(tables / "odm_xyz_opk.csv", crs=srs(32651), options=options)
    camera = stood(table.find(f"{name}.tif"), found["im_size"])
    assert np.abs(camera.position - found["C"]).max() < 6e-4
    assert np.abs(camera.rotation - found["R_cam_cv_to_world"]).max() < 1.5e-5
    # The other table is the drone's own: 1.4 degrees and 2.6 metres were measured for such.
    rough = read_poses(tables / "odm_lla_rpy.csv", options=options).find(name)
    camera = stood(rough, found["im_size"], srs(32651))
    off = np.array(found["R_cam_cv_to_world"]).T @ camera.rotation
    assert np.rad2deg(np.arccos((np.trace(off) - 1.0) / 2.0)) < 1.5
    assert np.hypot(*(camera.position - found["C"])[:2]) < 3.0


@pytest.mark.parametrize("camera", ["c1", "c2", "c3"])
def test_coastal_cameras_by_azimuth_tilt_and_swing(shared, tmp_path, camera):
    """Against the toolbox's own calibration files, whose angles are radians."""
    loadmat = pytest.importorskip("scipy.io").loadmat
    folder = shared / "data" / "geo" / "cirn_duck"
    name = f"{camera.upper()}_FixedMultiCamDemo.mat"
    mat = loadmat(folder / "X_FixedMultCamDemoData" / "extrinsicsIntrinsics" / name)
    x, y, z, *angles = mat["extrinsics"][0]
    cells = ",".join(repr(float(value)) for value in (x, y, z, *np.rad2deg(angles)))
    path = write(tmp_path, f"image,x,y,z,azimuth,tilt,swing\n{camera}.jpg,{cells}\n", "EPSG:32119")
    pose = read_poses(path).find(f"{camera}.jpg")
    known = json.loads((folder / "cameras_c1_c3.json").read_text())[camera]
    hpr = [known[f"{angle}_deg"] for angle in ("heading", "pitch", "roll")]
    assert np.abs(pose.rotation - pose_matrix("hpr", hpr)).max() < 1e-12
    assert pose.xyz == pytest.approx(known["C"], abs=1e-9)
    assert pose.north is North.GRID


@pytest.mark.parametrize(
    ("header", "convention"),
    [
        ("yaw,pitch,roll", "ypr"),
        ("Yaw [deg],Pitch [deg],Roll [deg]", "ypr"),
        ("heading,pitch,roll", "hpr"),
        ("GimbalYawDegree,GimbalPitchDegree,GimbalRollDegree", "dji"),
        ("omega,phi,kappa", "opk"),
    ],
)
def test_names_of_columns_decide_what_angles_are_never_values(tmp_path, header, convention):
    for angles in ((10.0, -80.0, 5.0), (350.0, 88.0, -100.0)):
        row = ",".join(map(str, angles))
        path = write(tmp_path, f"file,lat,lon,{header}\na.jpg,50,10,{row}\n")
        pose = read_poses(path).poses[0]
        assert np.abs(pose.rotation - pose_matrix(convention, angles)).max() < 1e-15
        assert pose.upright is (convention != "opk")
        given = read_poses(path, options=PoseOptions(convention="gpano")).poses[0]
        assert np.abs(given.rotation - pose_matrix("gpano", angles)).max() < 1e-15


@pytest.mark.parametrize(
    "header",
    [
        ",".join(
            [
                *("imagename", "latitude [decimal degrees]", "longitude [decimal degrees]"),
                *("altitude [meter]", "accuracy horz [meter]", "accuracy vert [meter]"),
            ]
        ),
        "#Label,Latitude,Longitude,Altitude,Accuracy horz,Accuracy vert",
        "Filename;Lat;Lon;Z;XY accuracy;Z accuracy",
    ],
)
def test_positions_without_angles_keep_their_accuracy(tmp_path, header):
    mark = ";" if ";" in header else ","
    row = mark.join(["a.jpg", "50.5", "10.25", "131", "0.02", "0.05"])
    pose = read_poses(write(tmp_path, f"{header}\n{row}\n")).poses[0]
    assert pose.xyz == (10.25, 50.5, 131.0)
    assert pose.crs == srs("OGC:CRS84")
    assert (pose.accuracy.xy_m, pose.accuracy.z_m) == (0.02, 0.05)
    assert pose.rotation is None


def test_heights_of_a_system_in_us_feet_are_feet(tmp_path):
    text = "name,x,y,z,omega,phi,kappa\na,1500000,600000,1000,0,0,0\n"
    pose = read_poses(write(tmp_path, text, "EPSG:2264")).poses[0]
    assert height_m(pose) == pytest.approx(1000.0 * 1200.0 / 3937.0, rel=1e-12)
    pose = read_poses(write(tmp_path, text), crs=srs("2264;5703")).poses[0]
    assert height_m(pose) == 1000.0


def test_a_crs_of_the_user_goes_before_the_one_beside(tmp_path):
    path = write(tmp_path, "name,x,y,omega,phi,kappa\na,1,2,0,0,0\n", "EPSG:32633")
    assert read_poses(path).crs == srs(32633)
    assert read_poses(path, crs=srs(25832)).crs == srs(25832)


def test_rows_that_lack_something(tmp_path):
    text = "name,x,y,omega,phi,kappa\n,1,2,0,0,0\na,,2,0,0,0\nb,1,2,nan,0,0\nc\n"
    found = read_poses(write(tmp_path, text, "EPSG:32633"))
    assert found.notes == ("row 1 names no photo",)
    a, b, c = found.poses
    assert (a.xyz, a.crs) == (None, None)
    assert a.rotation is not None
    assert b.xyz == (1.0, 2.0, None)
    assert b.rotation is None
    assert (c.xyz, c.rotation) == (None, None)


def test_an_unknown_convention_is_refused(tmp_path):
    path = write(tmp_path, "name,lat,lon,yaw,pitch,roll\na,1,2,0,0,0\n")
    with pytest.raises(ArgumentError, match="unknown pose convention 'abc'"):
        read_poses(path, options=PoseOptions(convention="abc"))


def test_columns_besides_position_and_angles_are_not_lost(tmp_path):
    text = (
        "name,longitude,latitude,heading,pitch,roll,hfov,vfov,AGL,near,far\n"
        "a.jpg,9,51,10,60,0,60,40,1.6,2,35\n"
        "b.jpg,9,51,10,60,0,360,,,,-5\n"
        "c.jpg,9,51,10,60,0,190,,,,\n"
    )
    table = read_poses(write(tmp_path, text))
    first, second = table.poses
    half = [0.5 * first.lens.size[side] / first.lens.focal_px[side] for side in (0, 1)]
    assert np.rad2deg(np.arctan(half)) == pytest.approx([30.0, 20.0])
    assert (first.above_ground_m, first.near_m, first.far_m) == (1.6, 2.0, 35.0)
    assert isinstance(second.lens, PanoramaCamera)
    assert (second.above_ground_m, second.near_m, second.far_m) == (None, None, None)
    assert table.notes[0].startswith("row 3: a field of view of 190 degrees")


def test_a_camera_that_is_named_goes_before_fields_of_view(tmp_path):
    text = "name,longitude,latitude,heading,pitch,roll,hfov\na.jpg,9,51,10,60,0,60\n"
    named = fov_camera(80.0, None)
    table = read_poses(write(tmp_path, text), options=PoseOptions(cameras={"": named}))
    assert table.poses[0].lens is named
