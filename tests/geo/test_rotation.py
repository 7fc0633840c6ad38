"""Each convention against the formula or the printed matrix of its source."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError
from attachtrans.geo.rotation import (
    CONVENTIONS,
    camera_axes,
    nearest_rotation,
    pose_angles,
    pose_matrix,
)

EULER = sorted(set(CONVENTIONS) - {"opensfm", "quaternion"})
angle = st.floats(-720.0, 720.0)


def turn(axis, degrees):
    """By Rodrigues' formula: another way than the module's."""
    vector = np.zeros(3)
    vector[axis] = np.deg2rad(degrees)
    return cv2.Rodrigues(vector)[0]


def looks(rotation):
    return rotation[:, 2]


def test_omega_phi_kappa_is_the_transpose_of_the_matrix_in_stac(shared):
    """STAC prints world -> image for photo axes; the digits of its angles allow 1e-5."""
    folder = shared / "data" / "geo"
    for path in (
        folder / "stac_perspective/examples/item.json",
        folder / "skraafoto_stac/src/stac_fastapi/sqlalchemy/tests/data/test_item.json",
    ):
        found = json.loads(path.read_text(encoding="utf-8"))["properties"]
        printed = np.reshape(found["pers:rotation_matrix"], (3, 3))
        angles = [found[f"pers:{name}"] for name in ("omega", "phi", "kappa")]
        assert np.abs(pose_matrix("opk", angles) - camera_axes(printed.T)).max() < 1e-12
        assert (
            np.abs(pose_matrix("opk", angles) - nearest_rotation(camera_axes(printed.T))).max()
            < 1e-12
        )


def test_omega_phi_kappa_turns_about_x_then_y_then_z():
    photo = turn(0, 28.8) @ turn(1, 0.94) @ turn(2, 1.78)
    assert np.allclose(pose_matrix("opk", (28.8, 0.94, 1.78)), photo @ np.diag([1, -1, -1]))


def test_esri_heading_pitch_roll():
    photo = turn(2, -346.9) @ turn(0, 82.3) @ turn(2, -0.58)
    assert np.allclose(pose_matrix("hpr", (346.9, 82.3, 0.58)), photo @ np.diag([1, -1, -1]))


@pytest.mark.parametrize(
    ("angles", "direction", "right"),
    [
        ((0, 90, 0), (0, 1, 0), (1, 0, 0)),
        ((90, 90, 0), (1, 0, 0), (0, -1, 0)),
        ((180, 90, 0), (0, -1, 0), (-1, 0, 0)),
        ((0, 0, 0), (0, 0, -1), (1, 0, 0)),
        ((90, 0, 0), (0, 0, -1), (0, -1, 0)),
        ((0, 180, 0), (0, 0, 1), (1, 0, 0)),
        # Clockwise seen from behind the camera: its right side goes down.
        ((0, 90, 90), (0, 1, 0), (0, 0, -1)),
    ],
)
def test_esri_angles_in_words(angles, direction, right):
    rotation = pose_matrix("hpr", angles)
    assert np.allclose(looks(rotation), direction, atol=1e-15)
    assert np.allclose(rotation[:, 0], right, atol=1e-15)


@pytest.mark.parametrize("convention", ["cirn", "cameratransform"])
@given(angle, angle, angle)
def test_coastal_angles_are_esris_with_the_roll_turned_round(convention, azimuth, tilt, swing):
    assert np.allclose(
        pose_matrix(convention, (azimuth, tilt, swing)),
        pose_matrix("hpr", (azimuth, tilt, -swing)),
        atol=1e-12,
    )


def test_cirn_as_its_manual_writes_it():
    """World -> camera (x right, y down, z forward) from azimuth, tilt, swing in radians."""
    a, t, s = np.deg2rad([55.6, 67.9, 0.7])
    printed = np.array(
        [
            [
                -np.cos(a) * np.cos(s) - np.sin(a) * np.cos(t) * np.sin(s),
                np.cos(s) * np.sin(a) - np.sin(s) * np.cos(t) * np.cos(a),
                -np.sin(s) * np.sin(t),
            ],
            [
                -np.sin(s) * np.cos(a) + np.cos(s) * np.cos(t) * np.sin(a),
                np.sin(s) * np.sin(a) + np.cos(s) * np.cos(t) * np.cos(a),
                np.cos(s) * np.sin(t),
            ],
            [np.sin(t) * np.sin(a), np.sin(t) * np.cos(a), -np.cos(t)],
        ]
    )
    ours = pose_matrix("cirn", (55.6, 67.9, 0.7)).T
    # Its focal lengths are negative: x and y run the other way.
    assert np.allclose(ours, np.diag([-1.0, -1.0, 1.0]) @ printed, atol=1e-12)


@given(angle, st.floats(-180.0, 180.0), angle)
@example(33.0, -90.0, 180.0)
@example(33.0, -30.0, 10.0)
def test_dji_is_north_east_down_yaw_pitch_roll_about_its_own_axes(yaw, pitch, roll):
    body = turn(2, yaw) @ turn(1, pitch) @ turn(0, roll)
    to_east_north_up = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
    camera_in_body = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    expected = to_east_north_up @ body @ camera_in_body
    assert np.abs(pose_matrix("dji", (yaw, pitch, roll)) - expected).max() < 1e-9


def test_a_gimbal_at_roll_180_looks_down_with_its_heading_turned_about():
    rotation = pose_matrix("dji", (33.0, -90.0, 180.0))
    assert np.allclose(looks(rotation), (0, 0, -1), atol=1e-15)
    assert np.allclose(rotation, pose_matrix("dji", (213.0, -90.0, 0.0)), atol=1e-15)
    assert pose_angles("hpr", rotation) == pytest.approx((213.0, 0.0, 0.0), abs=1e-9)


@given(angle, st.floats(-89.0, 89.0))
def test_pix4d_means_the_same_as_dji_while_the_roll_is_nought(yaw, pitch):
    drone = pose_matrix("dji", (yaw, pitch - 90.0, 0.0))
    assert np.allclose(pose_matrix("ypr", (yaw, pitch, 0.0)), drone, atol=1e-12)


def test_pix4d_means_something_else_with_a_roll():
    relative = pose_matrix("ypr", (20.0, 60.0, 10.0)).T @ pose_matrix("dji", (20.0, -30.0, 10.0))
    assert np.rad2deg(np.arccos((np.trace(relative) - 1.0) / 2.0)) > 5.0


def test_pix4d_rolls_to_the_right():
    """Nadir, heading north: with its right wing down the camera looks to the west."""
    assert looks(pose_matrix("ypr", (0.0, 0.0, 10.0)))[0] == pytest.approx(-np.sin(np.deg2rad(10)))
    assert looks(pose_matrix("ypr", (0.0, 10.0, 0.0)))[1] == pytest.approx(np.sin(np.deg2rad(10)))


def test_pix4ds_two_ways_of_writing_a_real_frame_agree(shared):
    """ODM wrote these frames' angles with 0.1 degree both ways, the heading from true north."""
    rotation = pose_matrix("opk", (28.831, 0.94, 1.782))
    yaw, pitch, roll = pose_angles("ypr", rotation)
    assert (yaw + -0.856) % 360.0 == pytest.approx(360.0 - 2.1, abs=0.9)
    assert pitch == pytest.approx(30.0, abs=1.3)
    assert roll == pytest.approx(0.0, abs=1.0)


@given(angle, st.floats(-90.0, 90.0), angle)
def test_panoramas_count_pitch_from_the_horizon(heading, pitch, roll):
    assert np.allclose(
        pose_matrix("gpano", (heading, pitch, roll)),
        pose_matrix("hpr", (heading, 90.0 + pitch, roll)),
        atol=1e-12,
    )


@given(st.tuples(angle, angle, angle).map(np.deg2rad))
def test_opensfm_is_an_axis_and_an_angle_from_world_to_camera(vector):
    assert np.allclose(pose_matrix("opensfm", vector), cv2.Rodrigues(vector)[0].T, atol=1e-9)


def test_real_opensfm_vectors_are_the_frames_of_the_truth(shared):
    folder = shared / "data" / "geo"
    text = (folder / "orthority/tests/data/odm/opensfm/reconstruction.json").read_text()
    for name, shot in json.loads(text)[0]["shots"].items():
        truth = folder / "truth" / f"odm_{name}_camera.json"
        if truth.is_file():
            expected = json.loads(truth.read_text())["R_cam_cv_to_world"]
            assert np.allclose(pose_matrix("opensfm", shot["rotation"]), expected, atol=1e-12)


def test_a_quaternion_turns_camera_axes():
    half = np.deg2rad(30.0) / 2.0
    assert np.allclose(
        pose_matrix("quaternion", (2 * np.cos(half), 0, 0, 2 * np.sin(half))), turn(2, 30.0)
    )


@pytest.mark.parametrize("convention", EULER)
@given(angle, st.one_of(angle, st.sampled_from([-180.0, -90.0, 0.0, 90.0, 180.0])), angle)
@example(10.0, 90.0, 20.0)
@example(10.0, 0.0, 20.0)
@example(10.0, 1e-10, 20.0)
@example(10.0, 1e-7, 20.0)
@example(10.0, 89.9999999, 20.0)
@example(10.0, -90.0, 20.0)
def test_angles_lead_back_to_their_matrix(convention, first, middle, last):
    rotation = pose_matrix(convention, (first, middle, last))
    again = pose_angles(convention, rotation)
    assert np.abs(pose_matrix(convention, again) - rotation).max() < 2e-9
    assert 0.0 <= again[0] < 360.0 or convention == "opk"


@given(
    st.tuples(*[st.floats(-1.0, 1.0)] * 4).filter(lambda q: np.linalg.norm(q) > 1e-3),
    st.sampled_from(["opensfm", "quaternion"]),
)
@example((1.0, 0.0, 0.0, 0.0), "opensfm")
@example((0.0, 1.0, 0.0, 0.0), "opensfm")
@example((1e-12, 1.0, 1e-9, 0.0), "opensfm")
@example((1.0, 1e-12, 0.0, 0.0), "opensfm")
def test_vectors_and_quaternions_lead_back_too(quaternion, convention):
    rotation = pose_matrix("quaternion", quaternion)
    again = pose_matrix(convention, pose_angles(convention, rotation))
    assert np.abs(again - rotation).max() < 1e-12


@pytest.mark.parametrize("convention", EULER)
@given(st.floats(1.0, 359.0), st.floats(1.0, 89.0), st.floats(-179.0, 179.0))
def test_angles_in_their_range_come_back_themselves(convention, first, middle, last):
    middle -= 90.0 if convention in {"dji", "gpano"} else 0.0
    angles = (first - 180.0 if convention == "opk" else first, middle, last)
    assert pose_angles(convention, pose_matrix(convention, angles)) == pytest.approx(
        angles, abs=1e-6
    )


def test_straight_down_the_heading_says_it_all():
    assert pose_angles("hpr", pose_matrix("hpr", (40, 0, 20))) == pytest.approx((60, 0, 0))
    assert pose_angles("hpr", pose_matrix("hpr", (40, 180, 20))) == pytest.approx((20, 180, 0))
    assert pose_angles("opk", pose_matrix("opk", (10, 90, 20))) == pytest.approx((0, 90, 30))
    assert pose_angles("ypr", pose_matrix("ypr", (40, 90, 20))) == pytest.approx((20, 90, 0))


@pytest.mark.parametrize(
    ("convention", "angles", "match"),
    [
        ("yaw", (1, 2, 3), "known: opk, hpr"),
        ("opk", (1, 2), "3 finite numbers .omega, phi, kappa."),
        ("hpr", (1, 2, np.nan), "heading, pitch, roll"),
        ("quaternion", (0, 0, 0, 0), "length 0"),
        ("quaternion", (1, 0, 0), "4 finite numbers"),
    ],
)
def test_wrong_numbers_are_named(convention, angles, match):
    with pytest.raises(ArgumentError, match=match):
        pose_matrix(convention, angles)


@pytest.mark.parametrize(
    "matrix", [np.eye(2), np.diag([1, 1, -1]), 1.01 * np.eye(3), np.full((3, 3), np.nan)]
)
def test_what_is_no_rotation_is_refused(matrix):
    with pytest.raises(ArgumentError, match="rotation"):
        pose_angles("hpr", matrix)


def test_a_rotation_of_few_digits_is_mended():
    rotation = pose_matrix("opk", (12.0, -34.0, 56.0))
    mended = nearest_rotation(np.round(rotation, 5))
    assert np.abs(mended - rotation).max() < 1e-5
    assert np.abs(mended @ mended.T - np.eye(3)).max() < 1e-14


def test_an_unknown_convention_has_no_angles():
    with pytest.raises(ArgumentError, match="unknown pose convention 'rpy'"):
        pose_angles("rpy", np.eye(3))
