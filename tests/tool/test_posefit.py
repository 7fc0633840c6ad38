"""Poses put right by control points, from whatever a photo knew and in whatever CRS."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pyproj import CRS, Transformer

from attachtrans.errors import CrsError, GeorefError
from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.geo.pose import Accuracy, North, Pose, height_m, standing, work_crs
from attachtrans.geo.resection import ControlPoints, Prior
from attachtrans.geo.rotation import pose_matrix
from attachtrans.tool.posefit import fit_pose
from attachtrans.types import Size

UTM = CRS.from_epsg(32633)
# Where the scale of UTM is 1, so that frames of other CRSs agree with it.
PLACE = np.array([319_600.0, 5_820_400.0, 212.0])
STORED = Size(4000, 3000)
LENS = PerspectiveCamera(
    STORED,
    focal_px=(3600, 3600),
    centre_px=(1999.5, 1499.5),
    distortion=(-0.05, 0.01, 0.001, 0),
    rotation=np.eye(3),
    position=np.zeros(3),
)
TRUTH = Pose(
    name="a.jpg",
    xyz=tuple(PLACE),
    crs=UTM,
    rotation=pose_matrix("hpr", (37, 52, 4)),
    north=North.GRID,
    lens=LENS,
    source="a test",
    assumed=("level camera",),
)


def control(crs=UTM, count=7, truth=TRUTH, size=STORED):
    """Points that the true pose shows, in a CRS."""
    camera = standing(truth, size, UTM, PLACE[2])
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.uniform(0, size.width, count), rng.uniform(0, size.height, count)])
    points = camera.position[:, None] + camera.rays(pixels - 0.5) * rng.uniform(60, 180, count)
    there = Transformer.from_crs(UTM, crs, always_xy=True).transform(*points[:2])
    unit = crs.axis_info[0].unit_conversion_factor if crs.is_projected else 1.0
    return ControlPoints(crs=crs, xyz=np.stack([*there, points[2] / unit]), pixels=pixels)


def rough(**changes):
    """What a phone may know."""
    lonlat = Transformer.from_crs(UTM, 4326, always_xy=True).transform(*(PLACE[:2] + 4))
    known = {
        "name": "a.jpg",
        "xyz": (*lonlat, 205.0),
        "crs": CRS.from_epsg(4326),
        "rotation": pose_matrix("hpr", (45, 60, 0)),
        "lens": LENS,
        "source": "EXIF GPS and direction",
        "assumed": ("level camera",),
    }
    return Pose(**(known | changes))


def assert_stands(pose, truth=TRUTH, size=STORED, metres=1e-4):
    """The camera of a pose shows what the true one does, in any frame."""
    crs = work_crs(truth)
    found = standing(pose, size, crs, height_m(pose))
    expected = standing(truth, size, crs, PLACE[2])
    turn = cv2.Rodrigues(found.rotation.T @ expected.rotation)[0]
    assert np.linalg.norm(turn) < metres / 50
    assert np.abs(found.position - expected.position).max() < metres


FEET = "+proj=lcc +lat_1=52.2 +lat_2=52.9 +lat_0=52 +lon_0=12 +datum=WGS84 +units=us-ft"


@pytest.mark.parametrize(
    ("crs", "metres"),
    [(32633, 1e-4), (4326, 1e-2), (3857, 1e-2), (32632, 0.1), (FEET, 2e-2)],
    ids=["utm", "degrees", "web", "next zone", "feet"],
)
def test_control_points_of_any_crs_put_a_pose_right(crs, metres):
    crs = CRS.from_user_input(crs)
    fitted = fit_pose(rough(), STORED, control(crs))
    assert fitted.fit.rms_px < 10 * metres
    assert_stands(fitted.pose, metres=metres)
    assert fitted.pose.crs == crs
    assert fitted.pose.assumed == ("before the fit: level camera",)
    assert "rotation and position fitted to 7 control points (0." in fitted.pose.source
    assert not fitted.notes


@pytest.mark.parametrize(
    "lacking",
    [
        {"rotation": None},
        {"xyz": None, "crs": None},
        {"xyz": None, "crs": None, "rotation": None},
        {"xyz": (12.35, 52.5, None)},
    ],
    ids=["no attitude", "no position", "no pose", "no height"],
)
def test_what_a_photo_does_not_know_is_found(lacking):
    assert_stands(fit_pose(rough(**lacking), STORED, control()).pose)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_points_are_those_of_the_stored_picture(orientation):
    size = STORED if orientation < 5 else Size(3000, 4000)
    truth = Pose(
        name="a.jpg",
        xyz=TRUTH.xyz,
        crs=UTM,
        rotation=TRUTH.rotation,
        north=North.GRID,
        lens=LENS,
        orientation=orientation,
    )
    points = control(truth=truth, size=size)
    fitted = fit_pose(rough(orientation=orientation), size, points)
    assert fitted.pose.orientation == orientation
    assert_stands(fitted.pose, truth, size)


def test_a_held_position_keeps_its_height_and_needs_one():
    points = control()
    known = rough(xyz=TRUTH.xyz, crs=UTM, accuracy=Accuracy(xy_m=0.02, z_m=0.03))
    fitted = fit_pose(known, STORED, points, free=("rotation",))
    assert fitted.pose.xyz == pytest.approx(TRUTH.xyz, abs=1e-6)
    assert fitted.pose.accuracy.xy_m == 0.02
    assert fitted.pose.accuracy.heading_deg < 1e-4
    with pytest.raises(GeorefError, match="no height"):
        fit_pose(rough(xyz=(12.35, 52.5, None)), STORED, points, free=("rotation",))
    with pytest.raises(GeorefError, match="no position"):
        fit_pose(rough(xyz=None, crs=None), STORED, points, free=("rotation",))
    with pytest.raises(GeorefError, match="no attitude"):
        fit_pose(rough(rotation=None), STORED, points, free=("position",))
    ellipsoidal = rough(crs=CRS.from_epsg(4979))
    with pytest.raises(CrsError, match="what its heights mean"):
        fit_pose(ellipsoidal, STORED, points, free=("rotation",))
    with pytest.raises(CrsError, match="what its heights mean"):
        fit_pose(ellipsoidal, STORED, points, prior=Prior(z_m=1.0))
    # Where it is only a start, its datum is of no account.
    assert_stands(fit_pose(ellipsoidal, STORED, points).pose)


def test_a_rough_focal_length_is_put_right():
    lens = PerspectiveCamera(
        STORED,
        focal_px=(3100, 3100),
        centre_px=LENS.centre_px,
        distortion=LENS.distortion,
        rotation=np.eye(3),
        position=np.zeros(3),
    )
    fitted = fit_pose(rough(lens=lens), STORED, control(), free=("rotation", "position", "focal"))
    assert fitted.pose.lens.focal_px == pytest.approx((3600, 3600), abs=1e-4)
    with pytest.raises(GeorefError, match="no focal length"):
        fit_pose(rough(lens=None), STORED, control())


def test_residuals_and_blunders_are_told_by_name():
    points = control(count=8)
    pixels = points.pixels + np.random.default_rng(1).normal(scale=0.3, size=points.pixels.shape)
    pixels[:, 2] += (30, 10)
    named = ControlPoints(
        names=[f"P{number}" for number in range(8)], crs=UTM, xyz=points.xyz, pixels=pixels
    )
    fitted = fit_pose(rough(), STORED, named)
    assert [point.name for point in fitted.points if point.suspect] == ["P2"]
    assert fitted.points[2].left_out_px == pytest.approx(np.hypot(30, 10), rel=0.1)
    assert fitted.points[2].col == pixels[0, 2]
    (note,) = fitted.notes
    assert "control point P2" in note
    assert "leave it out" in note
    shown = pixels[:, 2] - (fitted.points[2].right_px, fitted.points[2].down_px)
    camera = standing(fitted.pose, STORED, UTM, height_m(fitted.pose))
    seen = camera.project(points.xyz[:, 2:3])[:, 0] + 0.5
    assert shown == pytest.approx(seen, abs=1e-4)


def test_few_points_are_said_to_be_few():
    three = fit_pose(rough(), STORED, control(count=3))
    assert "nothing to check the fit with" in three.notes[0]
    four = fit_pose(rough(), STORED, control(count=4))
    assert "too few points to tell a blunder" in four.notes[0]


def test_points_in_another_system_than_they_are_said_to_be():
    points = control()
    wrong = ControlPoints(names=points.names, crs="EPSG:4326", xyz=points.xyz, pixels=points.pixels)
    with pytest.raises(CrsError, match=r"control point 1 at .* no place in WGS 84.*--gcps-crs"):
        fit_pose(rough(), STORED, wrong)


def test_heights_are_needed():
    points = control()
    flat = ControlPoints(
        names=points.names,
        crs=UTM,
        xyz=np.stack([*points.xyz[:2], np.full(len(points), np.nan)]),
        pixels=points.pixels,
    )
    with pytest.raises(GeorefError, match="control point 1 has no height"):
        fit_pose(rough(), STORED, flat)
    assert_stands(fit_pose(rough(), STORED, flat.with_heights(lambda _: points.xyz[2])).pose)
