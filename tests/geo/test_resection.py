"""Poses from control points, against OpenCV, statistics and cameras whose pose is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError, GeorefError
from attachtrans.geo.camera import (
    FisheyeCamera,
    PanoramaCamera,
    PerspectiveCamera,
    TurnedCamera,
)
from attachtrans.geo.ground.base import lowered
from attachtrans.geo.resection import Part, Prior, find_pose, refine_pose
from attachtrans.geo.rotation import pose_matrix
from attachtrans.types import Size
from tests.geo.lenses import BROWN5, OPENCV

PLACE = np.array([431_200.0, 5_820_400.0, 212.0])
LENS = {"focal_px": (3600.0, 3610.0), "centre_px": (2010.0, 1490.0)}


def oblique(distortion=BROWN5, rotation=None, position=PLACE):
    turn = pose_matrix("hpr", (37, 52, 4)) if rotation is None else rotation
    return PerspectiveCamera(
        Size(4000, 3000), **LENS, distortion=distortion, rotation=turn, position=position
    )


def cameras():
    pose = {"rotation": pose_matrix("hpr", (37, 52, 4)), "position": PLACE}
    yield from (pytest.param(oblique(terms), id=f"opencv{n}") for n, terms in OPENCV.items())
    wide = {"focal_px": (900.0, 903.0), "centre_px": (1490.0, 1505.0)}
    fisheye = FisheyeCamera(Size(3000, 3000), **wide, distortion=(0.012, -0.002), **pose)
    yield pytest.param(fisheye, id="fisheye")
    yield pytest.param(PanoramaCamera(Size(5000, 2500), **pose), id="panorama")
    cropped = PanoramaCamera(
        Size(2000, 900), full_size_px=(5000, 2500), offset_px=(4000, 700), **pose
    )
    yield pytest.param(cropped, id="cropped")
    for orientation in (2, 6, 7):
        turned = TurnedCamera(upright=oblique(), orientation=orientation)
        yield pytest.param(turned, id=f"turned{orientation}")
    pano = TurnedCamera(upright=PanoramaCamera(Size(5000, 2500), **pose), orientation=8)
    yield pytest.param(pano, id="panorama8")


def control(camera, count, seed=0, near=40.0, far=160.0):
    """Points all over the picture, and where they are seen."""
    rng = np.random.default_rng(seed)
    width, height = camera.size
    pixels = np.stack(
        [rng.uniform(0, width - 1, 20 * count), rng.uniform(0, height - 1, 20 * count)]
    )
    rays = camera.rays(pixels)
    seen = np.flatnonzero(np.isfinite(rays[0]))[:count]
    points = camera.position[:, None] + rays[:, seen] * rng.uniform(near, far, count)
    return points, pixels[:, seen]


def nudged(camera, seed=1, degrees=3.0, metres=5.0):
    rng = np.random.default_rng(seed)
    turn = cv2.Rodrigues(np.deg2rad(rng.normal(size=3) * degrees))[0]
    return camera.posed(camera.rotation @ turn, camera.position + rng.normal(size=3) * metres)


def off(camera, truth):
    """(degrees, metres) between two poses."""
    turn = cv2.Rodrigues(camera.rotation.T @ truth.rotation)[0]
    return np.rad2deg(np.linalg.norm(turn)), np.linalg.norm(camera.position - truth.position)


@pytest.mark.parametrize("camera", list(cameras()))
@pytest.mark.parametrize("count", [3, 4, 12])
def test_exact_points_give_the_exact_pose(camera, count):
    points, pixels = control(camera, count)
    fit = refine_pose(nudged(camera), points, pixels)
    degrees, metres = off(fit.camera, camera)
    assert degrees < 1e-8
    assert metres < 1e-7  # of coordinates whose last digit is 1e-9
    assert fit.rms_px < 1e-6
    assert fit.redundancy == 2 * count - 6
    assert type(fit.camera) is type(camera)
    assert fit.camera.size == camera.size


@pytest.mark.parametrize("camera", list(cameras()))
@pytest.mark.parametrize("count", [4, 6, 15])
def test_no_pose_is_needed_to_begin_with(camera, count):
    points, pixels = control(camera, count, seed=2)
    found = find_pose(camera.posed(np.eye(3), np.zeros(3)), points, pixels)
    degrees, metres = off(found, camera)
    assert degrees < 1e-8
    assert metres < 1e-7


@given(
    seed=st.integers(0, 2**31),
    quaternion=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1),
)
@settings(max_examples=25)
def test_any_pose_is_found(seed, quaternion):
    camera = oblique(rotation=pose_matrix("quaternion", quaternion))
    points, pixels = control(camera, 7, seed=seed)
    degrees, metres = off(find_pose(oblique(), points, pixels), camera)
    assert degrees < 1e-6
    assert metres < 1e-6


def test_points_on_a_plane_are_enough():
    camera = oblique()
    _, pixels = control(camera, 6)
    rays = camera.rays(pixels)
    points = camera.position[:, None] + rays * (-90.0 / rays[2])
    assert off(find_pose(oblique(), points, pixels), camera)[1] < 1e-6


def test_opencv_finds_the_same_least_squares():
    camera = oblique()
    points, pixels = control(camera, 9)
    pixels = pixels + np.random.default_rng(3).normal(size=pixels.shape)
    fit = refine_pose(nudged(camera), points, pixels)
    (fx, fy), (cx, cy) = LENS["focal_px"], LENS["centre_px"]
    _, turn, shift = cv2.solvePnP(
        (points - PLACE[:, None]).T.copy(),
        pixels.T.copy(),
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
        np.array(BROWN5),
        flags=cv2.SOLVEPNP_SQPNP,
    )
    turn, shift = cv2.solvePnPRefineLM(
        (points - PLACE[:, None]).T.copy(),
        pixels.T.copy(),
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
        np.array(BROWN5),
        turn,
        shift,
        criteria=(cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 200, 1e-14),
    )
    rotation = cv2.Rodrigues(turn)[0].T
    assert np.abs(fit.camera.rotation - rotation).max() < 1e-8
    assert np.abs(fit.camera.position - PLACE - (-rotation @ shift)[:, 0]).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    "free",
    [
        ("rotation",),
        ("position",),
        ("rotation", "position"),
        ("rotation", "focal"),
        ("rotation", "position", "focal"),
    ],
)
def test_the_covariance_is_that_of_the_errors(free):
    """Over many samples the squared error in standard deviations averages the unknowns' number."""
    camera, rng = oblique(), np.random.default_rng(4)
    points, pixels = control(camera, 8)
    distances, squares, samples = [], [], 25
    for _ in range(samples):
        noisy = pixels + rng.normal(scale=0.7, size=pixels.shape)
        fit = refine_pose(camera, points, noisy, free=free, sigma_px=0.7)
        error = {
            Part.ROTATION: cv2.Rodrigues(camera.rotation.T @ fit.camera.rotation)[0].ravel(),
            Part.POSITION: fit.camera.position - camera.position,
            Part.FOCAL: np.log([fit.camera.focal_px[0] / camera.focal_px[0]]),
        }
        step = np.concatenate([error[part] for part in fit.free])
        distances.append(step @ np.linalg.solve(fit.covariance, step))
        squares.append((fit.residuals_px**2).sum() / 0.49 / fit.redundancy)
    unknowns = len(step)
    # Chi-square sums have the variance 2 n: four standard deviations.
    assert abs(np.mean(distances) - unknowns) < 4 * np.sqrt(2 * unknowns / samples)
    assert abs(np.mean(squares) - 1) < 4 * np.sqrt(2 / (samples * fit.redundancy))


def test_the_deviation_of_pixels_is_estimated_without_one():
    camera = oblique()
    points, pixels = control(camera, 200)
    noisy = pixels + np.random.default_rng(5).normal(scale=2.5, size=pixels.shape)
    fit = refine_pose(camera, points, noisy)
    assert fit.sigma_px == pytest.approx(2.5, rel=0.15)
    stated = refine_pose(camera, points, noisy, sigma_px=2.5)
    assert np.allclose(
        fit.covariance / fit.sigma_px**2, stated.covariance / stated.sigma_px**2, rtol=1e-6
    )
    assert fit.accuracy.xy_m == pytest.approx(stated.accuracy.xy_m, rel=0.2)
    assert not fit.suspects


@pytest.mark.parametrize("sigma_px", [None, 0.5])
def test_a_blunder_is_named_and_what_the_others_say_of_it(sigma_px):
    camera, rng = oblique(), np.random.default_rng(6)
    points, pixels = control(camera, 8)
    pixels = pixels + rng.normal(scale=0.5, size=pixels.shape)
    pixels[:, 3] += (40.0, -25.0)
    fit = refine_pose(nudged(camera), points, pixels, sigma_px=sigma_px)
    assert fit.suspects[0] == 3
    rest = [0, 1, 2, 4, 5, 6, 7]
    without = refine_pose(camera, points[:, rest], pixels[:, rest], sigma_px=sigma_px)
    miss = pixels[:, 3] - without.camera.project(points[:, 3:4])[:, 0]
    assert np.abs(fit.left_out_px[:, 3] - miss).max() < 0.5  # to first order
    assert not without.suspects


@pytest.mark.slow
def test_good_points_are_seldom_suspected():
    camera, rng = oblique(), np.random.default_rng(7)
    points, pixels = control(camera, 6)
    suspected = sum(
        bool(refine_pose(camera, points, pixels + rng.normal(size=pixels.shape)).suspects)
        for _ in range(50)
    )
    assert suspected <= 4  # one of a hundred is expected


def test_a_known_position_needs_two_points_and_keeps_its_place():
    camera = oblique()
    points, pixels = control(camera, 2)
    start = nudged(camera, degrees=60, metres=0)
    fit = refine_pose(start, points, pixels, free="rotation")
    assert off(fit.camera, camera)[0] < 1e-8
    assert np.array_equal(fit.camera.position, PLACE)
    assert fit.accuracy.xy_m is None


@pytest.mark.parametrize("camera", [oblique(), TurnedCamera(upright=oblique(), orientation=6)])
def test_the_focal_length_is_found_from_far_off(camera):
    points, pixels = control(camera, 6)
    lens = camera.upright if isinstance(camera, TurnedCamera) else camera
    rough = PerspectiveCamera(
        lens.size,
        focal_px=(2300.0, 2300.0 * 3610 / 3600),
        centre_px=lens.centre_px,
        distortion=lens.distortion,
        rotation=lens.rotation,
        position=lens.position,
    )
    if isinstance(camera, TurnedCamera):
        rough = TurnedCamera(upright=rough, orientation=6)
    fit = refine_pose(nudged(rough), points, pixels, free=("rotation", "position", "focal"))
    found = fit.camera.upright if isinstance(camera, TurnedCamera) else fit.camera
    assert found.focal_px == pytest.approx((3600, 3610), abs=1e-6)
    assert off(fit.camera, camera)[1] < 1e-6


def test_a_prior_holds_what_the_points_leave_open():
    camera = oblique()
    points, pixels = control(camera, 3)
    points[:, 2], pixels[:, 2] = points[:, 1], pixels[:, 1]  # two points in all
    with pytest.raises(GeorefError, match="one line"):
        refine_pose(camera, points, pixels)
    fit = refine_pose(
        nudged(camera, metres=0.0), points, pixels, prior=Prior(xy_m=0.02, z_m=0.03), sigma_px=1.0
    )
    assert off(fit.camera, camera)[0] < 1e-6
    assert fit.accuracy.xy_m == pytest.approx(0.02, rel=0.1)
    assert fit.accuracy.z_m == pytest.approx(0.03, rel=0.1)


def test_a_loose_prior_changes_nothing_and_a_tight_one_all():
    camera = oblique()
    points, pixels = control(camera, 8)
    start = nudged(camera)
    loose = Prior(rotation_deg=1e5, xy_m=1e7, z_m=1e7)
    assert off(refine_pose(start, points, pixels, prior=loose).camera, camera)[1] < 1e-3
    tight = Prior(xy_m=1e-6, z_m=1e-6)
    held = refine_pose(start, points, pixels, prior=tight).camera
    assert np.abs(held.position - start.position).max() < 1e-3


def test_the_earth_curves_away_under_far_points():
    camera = oblique(rotation=pose_matrix("hpr", (37, 88, 0)))
    points, _ = control(camera, 6, near=2000, far=9000)
    radius = 7.3e6
    fallen = lowered(camera.position, points, radius)
    fit = refine_pose(nudged(camera), points, camera.project(fallen), earth_radius_m=radius)
    assert off(fit.camera, camera)[1] < 1e-5
    flat = refine_pose(nudged(camera), points, camera.project(fallen))
    assert flat.rms_px > 0.1


def test_points_that_leave_a_pose_open_are_refused():
    camera = oblique()
    points, pixels = control(camera, 6)
    with pytest.raises(GeorefError, match=r"4 numbers are known \(by 2 control points\)"):
        refine_pose(camera, points[:, :2], pixels[:, :2])
    with pytest.raises(GeorefError, match="find a fourth"):
        find_pose(camera, points[:, :3], pixels[:, :3])
    line = points[:, :1] + np.linspace(0, 1, 6) * (points[:, 1:2] - points[:, :1])
    with pytest.raises(GeorefError, match="lie on one line"):
        refine_pose(camera, line, camera.project(line))
    same = np.repeat(points[:, :1], 6, axis=1)
    with pytest.raises(GeorefError, match="leave rotation open"):
        refine_pose(camera, same, camera.project(same), free=("rotation",))
    down = oblique((), rotation=pose_matrix("hpr", (10, 0, 0)))
    rays = down.rays(pixels)
    level = down.position[:, None] + rays * (-80.0 / rays[2])
    with pytest.raises(GeorefError, match="leave rotation and position and focal open"):
        refine_pose(down, level, pixels, free=tuple(Part))


def test_points_that_no_pose_shows_are_refused():
    camera = oblique()
    points, pixels = control(camera, 2)
    behind = 2 * camera.position[:, None] - points
    with pytest.raises(GeorefError, match="in view"):
        refine_pose(camera, behind, pixels, free=("focal",))


def test_arguments_are_checked():
    camera = oblique()
    points, pixels = control(camera, 4)
    with pytest.raises(ArgumentError, match="free is some of"):
        refine_pose(camera, points, pixels, free=("attitude",))
    with pytest.raises(ArgumentError, match="nothing"):
        refine_pose(camera, points, pixels, free=())
    with pytest.raises(ArgumentError, match="sigma_px"):
        refine_pose(camera, points, pixels, sigma_px=0)
    with pytest.raises(ArgumentError, match="finite pixel"):
        refine_pose(camera, points * np.nan, pixels)
    with pytest.raises(ArgumentError, match="prior's xy_m"):
        Prior(xy_m=0)
    pano = PanoramaCamera(Size(400, 200), rotation=np.eye(3), position=np.zeros(3))
    with pytest.raises(ArgumentError, match="panorama"):
        refine_pose(pano, points, pixels, free=("focal",))


@pytest.mark.parametrize("name", ["c1", "c2", "c3"])
def test_cameras_at_the_coast_are_found_again(shared, name):
    """Surveyed fixed cameras that look along the water: points of their truth on the plane."""
    from tests.geo.test_real import coast, truth

    geo = shared / "data" / "geo"
    camera = coast(geo, name)
    table, pixels = truth(geo, f"cirn_{name}")
    near = (table["above_horizon"] == 0) & (table["ground_range_m"] < 2000)
    points = np.stack([table["x"], table["y"], np.full(len(table), -0.248)])[:, near]
    fit = refine_pose(nudged(camera, metres=3), points, pixels[:, near])
    assert fit.rms_px < 1e-4  # the table's digits
    assert off(fit.camera, camera)[1] < 1e-3
    found = find_pose(camera.posed(np.eye(3), np.zeros(3)), points, pixels[:, near])
    assert off(found, camera)[1] < 1e-3


@pytest.mark.parametrize(
    "name", ["odm_100_0005_0018", "odm_100_0005_0142", "ngi_3324c_2015_1004_05_0182_RGB"]
)
def test_real_frames_are_found_again_over_their_terrain(shared, name):
    from tests.geo.test_real import frame, truth

    geo = shared / "data" / "geo"
    camera = frame(geo, name)
    table, pixels = truth(geo, name)
    known = np.isfinite(table["x_dem"])
    points = np.stack([table["x_dem"], table["y_dem"], table["z_dem"]])[:, known]
    start = nudged(camera, degrees=5, metres=20)
    fit = refine_pose(start, points, pixels[:, known], free=tuple(Part))
    degrees, metres = off(fit.camera, camera)
    assert degrees < 1e-5
    assert metres < 1e-3
    assert fit.camera.focal_px == pytest.approx(camera.focal_px, rel=1e-6)
