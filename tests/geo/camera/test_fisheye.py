from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError
from attachtrans.geo.camera import FisheyeCamera
from attachtrans.geo.camera.fisheye import AngleSeries
from attachtrans.geo.rotation import pose_matrix
from attachtrans.types import Size
from tests.geo.lenses import away, edges

SIZE = Size(1200, 900)
LENSES = {
    "none": (),
    "opensfm": (0.02, -0.003),
    "opencv": (0.021, -0.009, 0.002, -0.0001),
}


def camera(distortion=(), *, focal=330.0, angles=(120.0, 80.0, -5.0), **changes):
    settings = {
        "focal_px": (focal, 1.002 * focal),
        "centre_px": (597.3, 452.1),
        "distortion": distortion,
        "rotation": pose_matrix("hpr", angles),
        "position": (500_000.0, 5_000_000.0, 120.0),
        **changes,
    }
    return FisheyeCamera(SIZE, **settings)


@pytest.mark.parametrize("lens", LENSES)
def test_projects_as_opencv_does_in_front(lens):
    """G1; OpenCV divides by z and so ends at 90 degrees."""
    one = camera(LENSES[lens], position=(10.0, 20.0, 30.0), shear_px=(330.0 * 0.01, 0.0))
    rays = one.rays(edges(SIZE))
    points = away(one, rays[:, one.rotation[:, 2] @ rays > 0.05])
    turn = one.rotation.T
    terms = np.array([*LENSES[lens], 0.0, 0.0, 0.0, 0.0][:4])
    expected = cv2.fisheye.projectPoints(
        points.T[:, None].copy(),
        cv2.Rodrigues(turn)[0],
        -turn @ one.position,
        np.array([[330.0, 0, 597.3], [0, 1.002 * 330.0, 452.1], [0, 0, 1]]),
        terms,
        alpha=0.01,
    )[0][:, 0].T
    assert points.shape[1] > 500
    assert np.abs(one.project(points) - expected).max() < 1e-8


@pytest.mark.parametrize("lens", LENSES)
def test_pixels_go_out_and_come_back_beyond_90_degrees(lens):
    """G2: the corners are 120 degrees and more off the axis."""
    one = camera(LENSES[lens])
    pixels = edges(SIZE)
    rays = one.rays(pixels)
    assert (one.rotation[:, 2] @ rays).min() < -0.4
    assert np.abs(one.project(away(one, rays)) - pixels).max() < 1e-6


@given(
    st.lists(st.floats(-0.05, 0.05), max_size=4),
    st.floats(250.0, 2000.0),
    st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
)
@settings(max_examples=60)
def test_any_fisheye_goes_out_and_comes_back(distortion, focal, shear):
    one = camera(distortion, focal=focal, shear_px=shear)
    pixels = edges(SIZE, 9)
    rays = one.rays(pixels)
    seen = np.isfinite(rays[0])
    back = one.project(away(one, rays))
    assert np.quantile(np.abs(back - pixels)[:, seen], 0.95) < 1e-6
    assert np.isnan(back[:, ~seen]).all()


def test_equidistant_angles_are_radii():
    one = FisheyeCamera(
        (1001, 1001),
        focal_px=(100.0, 100.0),
        centre_px=(500.0, 500.0),
        rotation=pose_matrix("hpr", (0, 90, 0)),
        position=(0, 0, 0),
    )
    angles = np.deg2rad([0.0, 45.0, 90.0, 135.0, -170.0])
    points = np.stack([np.sin(angles), np.cos(angles), np.zeros(5)])
    assert np.allclose(one.project(points), [500.0 + 100.0 * angles, [500.0] * 5], atol=1e-12)


def test_straight_behind_is_a_circle_and_so_nowhere():
    one = camera(angles=(0, 90, 0), position=(0, 0, 0))
    assert np.isnan(one.project(np.array([[0.0], [-1.0], [0.0]]))).all()
    assert np.isnan(one.project(np.zeros((3, 1)))).all()


def test_a_polynomial_that_folds_shows_nothing_beyond():
    one = camera((-0.1,), angles=(0, 90, 0), position=(0, 0, 0))
    fold = np.sqrt(1.0 / 0.3)
    angles = np.array([0.999, 1.001, 1.5]) * fold
    points = np.stack([np.sin(angles), np.cos(angles), np.zeros(3)])
    assert np.isfinite(one.project(points)[0]).tolist() == [True, False, False]
    widest = 330.0 * fold * (1.0 - 0.1 * fold**2)
    pixels = np.array([[597.3 + 0.9999 * widest, 597.3 + 1.0001 * widest], [452.1, 452.1]])
    assert np.isfinite(one.rays(pixels)[0]).tolist() == [True, False]


def test_resized_cameras_see_the_same_places():
    one = camera(LENSES["opencv"], shear_px=(2.0, 1.0))
    pixels = edges(SIZE, 9)
    other = one.resized(Size(2400, 450))
    expected = (pixels + 0.5) * [[2.0], [0.5]] - 0.5
    assert np.abs(other.project(away(one, one.rays(pixels))) - expected).max() < 1e-6


def test_pix4d_writes_a_polynomial_of_a_quarter_turns_part():
    """p0..p3 and C, D, E, F as in the XMP of a Parrot Sequoia."""
    p, (c, d, e, f) = (0.0, 1.0, 0.014, -0.16), (1700.0, 2.0, -3.0, 1705.0)
    one = FisheyeCamera.pix4d(
        SIZE,
        polynomial=p,
        affine_px=(c, d, e, f),
        centre_px=(600.0, 450.0),
        rotation=np.eye(3),
        position=(0, 0, 0),
    )
    x, y, z = 0.3, -0.2, 0.9
    share = 2.0 / np.pi * np.arctan(np.hypot(x, y) / z)
    radius = p[1] * share + p[2] * share**2 + p[3] * share**3
    hx, hy = radius * np.array([x, y]) / np.hypot(x, y)
    expected = [c * hx + d * hy + 600.0, e * hx + f * hy + 450.0]
    pixel = one.project(np.array([[x], [y], [z]]))
    assert np.allclose(pixel[:, 0], expected, atol=1e-9)
    assert np.allclose(one.rays(pixel)[:, 0], np.array([x, y, z]) / np.linalg.norm([x, y, z]))


def test_pix4ds_polynomial_is_checked():
    with pytest.raises(ArgumentError, match="p0 = 0"):
        FisheyeCamera.pix4d(
            SIZE,
            polynomial=(0.1, 1.0),
            affine_px=(1, 0, 0, 1),
            centre_px=(0, 0),
            rotation=np.eye(3),
            position=(0, 0, 0),
        )


def test_terms_are_checked():
    with pytest.raises(ArgumentError, match="not finite"):
        camera((np.nan,))
    assert AngleSeries.even((0.5, 0.25)).terms == (0.0, 0.5, 0.0, 0.25)
