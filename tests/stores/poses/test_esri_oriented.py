from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import Point

from attachtrans.errors import CrsError
from attachtrans.geo.camera import PanoramaCamera
from attachtrans.geo.frame import LocalFrame
from attachtrans.geo.pose import North, height_m
from attachtrans.geo.rotation import camera_axes
from attachtrans.stores.poses import PoseOptions, read_poses
from attachtrans.stores.poses.base import srs
from tests.stores.poses.film import hpr, on_film, opk
from tests.stores.poses.frames import stood

NEW = {
    "ImagePath": "photos/1.jpg",
    "X": 10.0,
    "Y": 50.0,
    "Z": 120.0,
    "SRS": 4326,
    "CameraHeading": 33.0,
    "CameraPitch": 70.0,
    "CameraRoll": -4.0,
    "HorizontalFieldOfView": 60.0,
    "VerticalFieldOfView": 40.0,
    "CameraHeight": 1.8,
    "NearDistance": 2.0,
    "FarDistance": 50.0,
    "OrientedImageryType": "Horizontal",
    "OrientationAccuracy": "0.5;1.5;2;1;1;0;0;0",
    "AcquisitionDate": "2024-05-01T10:00:00",
}
OLD = dict(
    zip(
        (
            *("Image", "X", "Y", "Z", "SRS", "CamHeading", "CamPitch", "CamRoll", "HFOV", "VFOV"),
            *("AvgHtAG", "NearDist", "FarDist", "OIType", "Accuracy", "DateTime"),
        ),
        [*list(NEW.values())[:13], "I", *list(NEW.values())[14:]],
        strict=True,
    )
)
FOCAL, PIXEL, SIZE = 4500.0, 1.25, (4000, 3000)


def read(tmp_path, row, **options):
    path = tmp_path / "oi.csv"
    head, cells = (",".join(f'"{cell}"' for cell in part) for part in (row, row.values()))
    path.write_text(f"{head}\n{cells}\n")
    return read_poses(path, options=PoseOptions(**options))


@pytest.mark.parametrize("row", [NEW, OLD])
def test_simple_fields_under_new_and_old_names(tmp_path, row):
    pose = read(tmp_path, row).find("1.jpg")
    assert pose.xyz == (10.0, 50.0, 120.0)
    assert np.abs(camera_axes(pose.rotation) - hpr(33.0, 70.0, -4.0)).max() < 1e-15
    assert pose.north is North.TRUE
    assert pose.upright
    assert (pose.above_ground_m, pose.near_m, pose.far_m) == (1.8, 2.0, 50.0)
    accuracy = pose.accuracy
    assert (accuracy.xy_m, accuracy.z_m, accuracy.heading_deg) == (0.5, 1.5, 2.0)
    assert pose.time == "2024-05-01T10:00:00"
    camera = stood(pose, SIZE)
    assert np.rad2deg(2 * np.arctan(0.5 * 4000 / camera.focal_px[0])) == pytest.approx(60.0)
    assert np.rad2deg(2 * np.arctan(0.5 * 3000 / camera.focal_px[1])) == pytest.approx(40.0)


@pytest.mark.parametrize("heading", [-999, -999.0, "", "null"])
def test_no_heading_is_no_attitude(tmp_path, heading):
    pose = read(tmp_path, {**NEW, "CameraHeading": heading}).poses[0]
    assert pose.rotation is None
    assert pose.xyz is not None


@pytest.mark.parametrize(("heading", "roll"), [(393.0, -4.0), (-327.0, 356.0), (33.0, 716.0)])
def test_angles_wrap(tmp_path, heading, roll):
    row = {**NEW, "CameraHeading": heading, "CameraRoll": roll}
    rotation = read(tmp_path, row).poses[0].rotation
    assert np.abs(rotation - read(tmp_path, NEW).poses[0].rotation).max() < 1e-14


@pytest.mark.parametrize(("turned", "roll"), [(90.0, 86.0), (-90.0, -94.0), (180.0, 176.0)])
def test_image_rotation_adds_to_the_roll_and_leaves_the_fields_of_view(tmp_path, turned, roll):
    pose = read(tmp_path, {**NEW, "ImageRotation": turned}).poses[0]
    assert np.abs(camera_axes(pose.rotation) - hpr(33.0, 70.0, roll)).max() < 1e-15
    same = read(tmp_path, NEW).poses[0]
    assert stood(pose, SIZE).focal_px == stood(same, SIZE).focal_px


def test_a_roll_of_twenty_turns_the_pictures_right_side_down(tmp_path):
    """The camera clockwise, seen from behind it: by the matrix, which is the authority."""
    row = {**NEW, "CameraHeading": 0.0, "CameraPitch": 90.0, "CameraRoll": 20.0}
    right = read(tmp_path, row).poses[0].rotation[:, 0]
    assert right == pytest.approx([np.cos(np.deg2rad(20)), 0.0, -np.sin(np.deg2rad(20))])


@pytest.mark.parametrize("kind", ["360", "360 degree", "B"])
def test_images_all_around(tmp_path, kind):
    row = {**NEW, "OrientedImageryType": kind.replace(" ", ""), "HorizontalFieldOfView": ""}
    assert isinstance(read(tmp_path, row).poses[0].lens, PanoramaCamera)
    row = {**NEW, "HorizontalFieldOfView": 360, "VerticalFieldOfView": 180}
    assert isinstance(read(tmp_path, row).poses[0].lens, PanoramaCamera)


def test_one_field_of_view_gives_square_pixels(tmp_path):
    pose = read(tmp_path, {**NEW, "VerticalFieldOfView": ""}).poses[0]
    for size in (SIZE, (1920, 1080)):
        fx, fy = stood(pose, size).focal_px
        assert fx == fy == pytest.approx(0.5 * size[0] / np.tan(np.deg2rad(30.0)))


def test_z_is_in_the_unit_of_x_and_y_distances_are_metres(tmp_path):
    row = {**NEW, "X": 1500000, "Y": 600000, "Z": 1000, "SRS": 2264}
    pose = read(tmp_path, row).poses[0]
    assert height_m(pose) == pytest.approx(1000 * 1200 / 3937, rel=1e-12)
    assert (pose.above_ground_m, pose.far_m) == (1.8, 50.0)
    assert "heading from true north" in pose.assumed


def test_the_dataset_gives_the_system_where_the_row_does_not(tmp_path):
    row = {name: value for name, value in NEW.items() if name not in {"SRS", "X", "Y", "Z"}}
    layer = gpd.GeoDataFrame(
        {name: [value] for name, value in row.items()},
        geometry=[Point(500_000, 5_540_000, 33)],
        crs="EPSG:32632",
    )
    path = tmp_path / "oi.gpkg"
    layer.to_file(path, driver="GPKG")
    pose = read_poses(path).find("1.jpg")
    assert (pose.xyz, pose.crs) == ((500_000.0, 5_540_000.0, 33.0), srs(32632))


def orientation(kind, place, angles, interior=True):
    affine = [SIZE[0] / 2 - 0.5, 1 / PIXEL, 0, SIZE[1] / 2 - 0.5, 0, -1 / PIXEL]
    lens = [FOCAL, 21.0, -13.0, -3e-9, 2e-16, 0.0, 1e-7, -2e-7]
    parts = [kind, *place, *angles, *((*affine, *lens) if interior else ())]
    return "|".join(str(part) for part in parts)


@pytest.mark.parametrize(("kind", "matrix"), [(1, hpr), (2, opk)])
def test_camera_orientation_against_the_printed_matrices(tmp_path, kind, matrix):
    """Heading-pitch-roll and omega-phi-kappa, with the whole interior orientation."""
    centre, angles = (500_100.0, 5_540_000.0, 300.0), (12.0, 33.0, -5.0)
    text = orientation(kind, ("32632", "5773", *centre), angles)
    row = {**NEW, "CameraOrientation": text, "HorizontalFieldOfView": 58.1}
    pose = read(tmp_path, row).poses[0]
    assert pose.crs.name == "WGS 84 / UTM zone 32N + EGM96 height"
    assert pose.north is North.GRID
    rotation = matrix(*angles)
    camera = stood(pose, SIZE)
    corners = np.array([[0.0, 3999.0, 1200.0], [0.0, 2999.0, 2000.0]])
    for (col, row_), ray in zip(corners.T, camera.rays(corners).T, strict=True):
        point = np.array(centre) + 250.0 * ray
        x, y = on_film(
            rotation, centre, FOCAL, (21.0, -13.0), point, (0, -3e-9, 2e-16), (1e-7, -2e-7)
        )
        assert x / PIXEL + SIZE[0] / 2 - 0.5 == pytest.approx(col, abs=1e-5)
        assert -y / PIXEL + SIZE[1] / 2 - 0.5 == pytest.approx(row_, abs=1e-5)


@pytest.mark.parametrize("name", ["c1", "c2", "c3"])
def test_coastal_cameras_as_camera_orientation(shared, tmp_path, name):
    geo = shared / "data" / "geo"
    known = json.loads((geo / "cirn_duck" / "cameras_c1_c3.json").read_text())[name]
    k1, k2, p1, p2, k3 = known["dist_k1k2p1p2k3"]
    affine = [known["cx"], 1.0, 0.0, known["cy"], 0.0, -known["fy"] / known["fx"]]
    assert (p1, p2) == (0.0, 0.0)
    angles = [known[f"{angle}_deg"] for angle in ("heading", "pitch", "roll")]
    parts = [1, 32119, 5703, *known["C"], *angles, *affine, known["fx"], 0, 0, k1, k2, k3, 0, 0]
    text = "|".join(map(str, parts))
    view = [
        np.rad2deg(2 * np.arctan(0.5 * known[side] / known[focal]))
        for side, focal in (("width", "fx"), ("height", "fy"))
    ]
    row = {**NEW, "CameraOrientation": text}
    row |= {"HorizontalFieldOfView": view[0], "VerticalFieldOfView": view[1]}
    pose = read(tmp_path, row, radius_unit="focal").poses[0]
    table = np.genfromtxt(geo / "truth" / f"cirn_{name}_points.csv", delimiter=",", names=True)
    near = (table["above_horizon"] == 0) & (table["ground_range_m"] < 2000.0)
    world = np.stack([table["x"], table["y"], table["z"]])[:, near]
    camera = stood(pose, (known["width"], known["height"]))
    assert pose.lens.size == camera.size
    off = camera.project(world) - np.stack([table["col"], table["row"]])[:, near]
    assert np.abs(off).max() < 1e-6


def test_type_3_is_a_level_panorama(tmp_path):
    text = orientation(3, (4326, 0, 10.0, 50.0, 2.0), (45.0, 3.0, 1.0), interior=False)
    pose = read(tmp_path, {**NEW, "CameraOrientation": text}).poses[0]
    assert isinstance(pose.lens, PanoramaCamera)
    assert pose.assumed == ("level panorama",)
    assert pose.rotation[:, 2] == pytest.approx([np.sqrt(0.5), np.sqrt(0.5), 0.0])


@pytest.mark.parametrize(("inner", "matrix"), [(1, hpr), (2, opk)])
def test_type_4_is_of_a_tangent_plane(tmp_path, inner, matrix):
    plane = (50.0, 10.0, 6378137.0, 0.00669437999014, inner)
    text = orientation(4, (*plane, 1000.0, -500.0, 80.0), (12.0, 33.0, -5.0))
    pose = read(tmp_path, {**NEW, "CameraOrientation": text}).poses[0]
    frame = LocalFrame.at("EPSG:4326", (10.0, 50.0))
    x, y, _ = frame.from_source([[pose.xyz[0]], [pose.xyz[1]], [0.0]])[:, 0]
    assert (x, y) == pytest.approx((1000.0, -500.0), abs=0.02)
    # The plane lies higher above the earth at its edge: d2/2R.
    assert pose.xyz[2] == pytest.approx(80.0 + (1000**2 + 500**2) / 2 / 6.38e6, abs=1e-3)
    assert np.abs(camera_axes(pose.rotation) - matrix(12.0, 33.0, -5.0)).max() < 5e-4
    assert pose.lens is not None


def test_exact_columns_beside_the_simple_ones(tmp_path):
    angles = (12.0, 33.0, -5.0)
    row = {**NEW, "SRS": "32632;5773", "X": 500_100, "Y": 5_540_000, "FocalLength": FOCAL}
    row |= dict(
        zip(("A0", "A1", "A2", "B0", "B1", "B2"), (1999.5, 0.8, 0, 1499.5, 0, -0.8), strict=True)
    )
    by_angles = {**row, **dict(zip(("Omega", "Phi", "Kappa"), angles, strict=True))}
    by_matrix = {**row, "Matrix": " ".join(map(repr, opk(*angles).ravel().tolist()))}
    for each in (by_angles, by_matrix):
        pose = read(tmp_path, each).poses[0]
        assert np.abs(camera_axes(pose.rotation) - opk(*angles)).max() < 1e-14
        assert pose.lens.focal_px == pytest.approx((3600.0, 3600.0))
        assert pose.lens.size == SIZE


@pytest.mark.parametrize(
    "text", ["9|1|2", "1|4326", "1|x|y|z|1|2|3|4|5|6", "4|1|2|3", "1|999999||1|2|3|4|5|6", "|" * 99]
)
def test_a_text_that_is_none_leaves_the_simple_fields(tmp_path, text):
    found = read(tmp_path, {**NEW, "CameraOrientation": text})
    assert "simple fields" in found.notes[0]
    assert np.abs(camera_axes(found.poses[0].rotation) - hpr(33.0, 70.0, -4.0)).max() < 1e-15


def test_a_field_of_view_that_no_pinhole_has_is_told(tmp_path):
    found = read(tmp_path, {**NEW, "HorizontalFieldOfView": 200})
    assert "--camera" in found.notes[0]


def test_a_table_that_names_no_system_demands_one(tmp_path):
    row = {name: value for name, value in NEW.items() if name != "SRS"}
    with pytest.raises(CrsError, match="--poses-crs"):
        read(tmp_path, row)
    assert read(tmp_path, row, crs=srs(4326)).poses[0].xyz == (10.0, 50.0, 120.0)


def test_zero_is_a_heading(tmp_path):
    row = {**NEW, "CameraHeading": 0, "CameraPitch": 0, "CameraRoll": 0, "Z": 0}
    pose = read(tmp_path, row).poses[0]
    assert np.abs(camera_axes(pose.rotation) - hpr(0, 0, 0)).max() < 1e-15
    assert pose.xyz[2] == 0.0
