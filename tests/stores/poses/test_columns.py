from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS
from shapely.geometry import Point

from attachtrans.errors import ArgumentError
from attachtrans.geo.camera import PanoramaCamera
from attachtrans.geo.pose import North, height_m
from attachtrans.geo.rotation import pose_matrix
from attachtrans.stores.poses import PoseOptions, read_poses
from attachtrans.stores.poses.columns import check_mapping, columns_pose

UTM = CRS.from_epsg(32633)


@pytest.mark.parametrize(
    ("heading", "pitch", "roll"),
    [
        ("heading", "pitch", "roll"),
        ("Camera_Heading", "CameraPitch", "cameraRoll"),
        ("CamHeading", "CamPitch", "CamRoll"),
        ("azimuth", "tilt", "ROLL"),
        ("Direction [deg]", "Tilt (deg)", "roll"),
    ],
)
def test_usual_spellings_and_pitch_from_straight_down(heading, pitch, roll):
    pose = columns_pose({heading: 33.0, pitch: "70", roll: -4}, {})
    assert np.array_equal(pose.rotation, pose_matrix("hpr", (33.0, 70.0, -4.0)))
    assert "pitch 0 looks down, 90 is level" in pose.assumed
    assert pose.upright
    assert pose.north is North.TRUE


@pytest.mark.parametrize("value", [-80.0, 0.0, 80.0])
@pytest.mark.parametrize("convention", ["dji", "gpano", "cirn", "ypr"])
def test_the_user_says_from_where_pitch_counts_its_value_never_does(value, convention):
    row, mapping = {"d": 33.0, "t": value, "r": 4.0}, {"heading": "d", "pitch": "t", "roll": "r"}
    pose = columns_pose(row, {**mapping, "convention": convention})
    assert np.array_equal(pose.rotation, pose_matrix(convention, (33.0, value, 4.0)))
    assert pose.assumed == ()
    plain = columns_pose(row, mapping)
    assert np.array_equal(plain.rotation, pose_matrix("hpr", (33.0, value, 4.0)))


def test_a_compass_alone_is_a_level_camera():
    pose = columns_pose({"azimuth": 90.0}, {})
    assert pose.rotation[:, 2] == pytest.approx([1.0, 0.0, 0.0])
    assert pose.assumed == ("level camera",)


@pytest.mark.parametrize("value", [None, "", -999, "-999.0", "north", float("nan")])
def test_no_heading_is_no_attitude(value):
    assert columns_pose({"heading": value, "pitch": 90}, {}).rotation is None


def test_angles_of_image_matching_are_of_the_grid_and_of_stored_pixels():
    row = {"omega": 1.0, "phi": 2.0, "kappa": 3.0, "heading": 50.0}
    pose = columns_pose(row, {}, point=(5e5, 5e6, 9.0), crs=UTM)
    assert np.array_equal(pose.rotation, pose_matrix("opk", (1.0, 2.0, 3.0)))
    assert (pose.north, pose.upright) == (North.GRID, False)


def test_the_features_point_is_the_position_where_no_columns_are():
    pose = columns_pose({"name": "a"}, {}, point=(5e5, 5e6, 9.0), crs=UTM)
    assert (pose.xyz, pose.crs) == ((5e5, 5e6, 9.0), UTM)
    pose = columns_pose({"altitude": 33}, {}, point=(5e5, 5e6, None), crs=UTM)
    assert pose.xyz == (5e5, 5e6, 33.0)
    pose = columns_pose({"x": 1, "y": 2, "z": 3}, {}, point=(5e5, 5e6, 9.0), crs=UTM)
    assert pose.xyz == (1.0, 2.0, 3.0)
    assert columns_pose({"x": 1, "y": 2}, {}).xyz is None


def test_heights_above_the_ground_and_in_feet():
    crs = CRS.from_epsg(2264)
    pose = columns_pose({"height": 1.8, "z": 100}, {}, point=(1.5e6, 6e5, None), crs=crs)
    assert pose.above_ground_m == 1.8
    assert height_m(pose) == pytest.approx(100 * 1200 / 3937, rel=1e-12)


def test_everything_else():
    row = {"hfov": 60, "vfov": 40, "near": 1, "far": 30, "accuracy": 4.5, "z_accuracy": 9}
    row |= {"Heading Accuracy": 10, "timestamp": "2024", "height": -1, "photo": "a.jpg"}
    pose = columns_pose(row, {})
    assert pose.lens.resized((800, 600)).focal_px == pytest.approx(
        (400 / np.tan(np.deg2rad(30)), 300 / np.tan(np.deg2rad(20)))
    )
    assert (pose.near_m, pose.far_m, pose.above_ground_m) == (1.0, 30.0, None)
    accuracy = pose.accuracy
    assert (accuracy.xy_m, accuracy.z_m, accuracy.heading_deg) == (4.5, 9.0, 10.0)
    assert (pose.name, pose.time) == ("a.jpg", "2024")
    assert isinstance(columns_pose({"fov": 360}, {}).lens, PanoramaCamera)


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"heading": "gone"}, "no column 'gone', but azimuth, tilt"),
        ({"nose": "tilt"}, "a pose has heading"),
        ({"convention": "sideways"}, "one of opk"),
        ({"convention": "quaternion"}, "one of opk"),
    ],
)
def test_a_mapping_that_does_not_fit_names_what_does(mapping, words):
    check_mapping({"heading": "AZIMUTH", "convention": "dji"}, ("azimuth", "tilt"))
    with pytest.raises(ArgumentError, match=words):
        check_mapping(mapping, ("azimuth", "tilt"))


@pytest.mark.parametrize("driver", ["GPKG", "GeoJSON", "ESRI Shapefile", "FlatGeobuf"])
def test_layers_of_every_kind(tmp_path, driver):
    suffix = {"GPKG": "gpkg", "GeoJSON": "geojson", "ESRI Shapefile": "shp", "FlatGeobuf": "fgb"}
    path = tmp_path / f"trees.{suffix[driver]}"
    layer = gpd.GeoDataFrame(
        {"photo": ["DCIM/1.jpg", "DCIM/2.jpg"], "azimuth": [90.0, 180.0], "roll": [0.0, 1.0]},
        geometry=[Point(15.0, 45.0, 7.0), Point(15.1, 45.1, 8.0)],
        crs="EPSG:4326",
    )
    layer.to_file(path, driver=driver)
    table = read_poses(path)
    assert len(table.poses) == 2
    pose = table.find("1.jpg")
    assert pose.xyz == (15.0, 45.0, 7.0)
    assert pose.crs.to_authority() in {("EPSG", "4326"), ("OGC", "CRS84")}
    mapped = read_poses(path, options=PoseOptions(mapping={"heading": "roll"})).find("2.jpg")
    assert mapped.rotation[:, 2] == pytest.approx([np.sin(np.pi / 180), np.cos(np.pi / 180), 0.0])


def test_a_text_table_with_a_compass_and_with_columns_of_other_names(tmp_path):
    path = tmp_path / "trees.csv"
    path.write_text("photo,lat,lon,azimuth,look\n1.jpg,45,15,90,180\n")
    assert read_poses(path).poses[0].rotation[:, 2] == pytest.approx([1.0, 0.0, 0.0])
    mapped = read_poses(path, options=PoseOptions(mapping={"heading": "look"})).poses[0]
    assert mapped.rotation[:, 2] == pytest.approx([0.0, -1.0, 0.0])
    assert mapped.xyz == (15.0, 45.0, None)


def test_photos_in_the_table_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "trees.gpkg"
    layer = gpd.GeoDataFrame(
        {"photo": ["1.jpg"], "azimuth": [90.0], "blob": [b"GP" + bytes(9)]},
        geometry=[Point(15.0, 45.0)],
        crs="EPSG:4326",
    )
    layer.to_file(path, driver="GPKG")
    assert read_poses(path).find("1.jpg").xyz == (15.0, 45.0, None)


def test_zero_is_a_value_and_a_list_is_none():
    row = {"heading": 0, "pitch": 0, "roll": 0, "z": 0, "name": ["a"], "hfov": {"a": 1}}
    pose = columns_pose(row, {}, point=(5e5, 5e6, 9.0), crs=UTM)
    assert np.array_equal(pose.rotation, pose_matrix("hpr", (0.0, 0.0, 0.0)))
    assert pose.xyz == (5e5, 5e6, 0.0)
    assert (pose.name, pose.lens) == ("", None)


@given(st.dictionaries(st.sampled_from(["heading", "pitch", "hfov", "x", "y", "roll"]), st.text()))
def test_any_text_is_a_pose_or_an_error(row):
    try:
        columns_pose(row, {}, crs=UTM)
    except ArgumentError:
        return
