from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine

from attachtrans.errors import ArgumentError
from attachtrans.geo.ground import EARTH_RADIUS_M, DemGround, FlatGround, GroundStatus

HIT, SKY, FAR, OFF, INSIDE, NONE = GroundStatus


def hills(shape=(60, 80), seed=1, relief=12.0):
    """Smooth heights about 100 m."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[0 : shape[0], 0 : shape[1]]
    heights = np.full(shape, 100.0)
    for _ in range(6):
        fx, fy, phase = rng.uniform((0.02, 0.02, 0.0), (0.25, 0.25, 6.3))
        heights += relief / 6.0 * np.sin(fx * cols + fy * rows + phase)
    return heights


def down(count=400, seed=2, steepest=90.0, flattest=2.0):
    rng = np.random.default_rng(seed)
    below = np.deg2rad(rng.uniform(flattest, steepest, count))
    heading = rng.uniform(0.0, 2.0 * np.pi, count)
    return np.stack(
        [np.cos(below) * np.sin(heading), np.cos(below) * np.cos(heading), -np.sin(below)]
    )


def sampled(ground, origin, rays, reach, step):
    """(N,) distance at which a march with small steps and bisection first is under the surface.

    nan where it never is; -1 where it came to there from no data. The slow, plain way.
    """
    distances = np.arange(0.0, reach, step)
    found = np.full(rays.shape[1], np.nan)
    for index, ray in enumerate(rays.T):
        points = np.asarray(origin)[:, None] + ray[:, None] * distances
        above = points[2] - ground.height(points[:2])
        under = np.flatnonzero(above < 0.0)
        if not under.size:
            continue
        first = under[0]
        if first == 0 or np.isnan(above[first - 1]):
            found[index] = -1.0
            continue
        low, high = distances[first - 1], distances[first]
        for _ in range(60):
            middle = 0.5 * (low + high)
            point = np.asarray(origin) + ray * middle
            over = point[2] > ground.height(point[:2, None])[0]
            low, high = (middle, high) if over else (low, middle)
        found[index] = low
    return found


def test_a_ray_that_is_all_but_upright_falls_straight_down():
    """Slopes so small that lengths over them are no numbers."""
    ground = DemGround(array=hills(), transform=TRANSFORMS["north_up"])
    origin, tiny = np.array([500_060.0, 3_999_950.0, 200.0]), 3.9e-310
    rays = np.array([[0.0, 0.0, -1.0], [tiny, -tiny, -1.0], [1e-160, 0.0, -1.0]]).T
    points, status = ground.intersect(origin, rays, far_m=400.0)
    assert (status == HIT).all()
    assert np.ptp(points, axis=1) == pytest.approx(0.0, abs=1e-9)


TRANSFORMS = {
    "north_up": Affine(2.0, 0.0, 5e5, 0.0, -2.0, 4e6),
    "south_up": Affine(2.0, 0.0, 5e5, 0.0, 2.0, 4e6),
    "rotated": Affine.translation(5e5, 4e6) @ Affine.rotation(33.0) @ Affine.scale(2.0, -1.5),
    "sheared": Affine(2.0, 0.6, 5e5, -0.3, -1.7, 4e6),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("height", [104.0, pytest.param(130.0, marks=pytest.mark.slow), 400.0])
def test_rays_meet_the_surface_where_a_patient_march_does(name, height):
    ground = DemGround(hills(), TRANSFORMS[name])
    origin = np.append(TRANSFORMS[name] @ (41.3, 28.7), height)
    rays = down(150)
    points, status = ground.intersect(origin, rays)
    expected = sampled(ground, origin, rays, reach=900.0, step=0.1)
    hit = status == HIT
    assert hit.sum() > 20
    distance = np.linalg.norm(points - origin[:, None], axis=0)
    both = hit & np.isfinite(expected)
    # A march may step over a crest that a ray only just touches; the closed form does not.
    assert (both == hit).mean() > 0.98
    assert not (expected[~hit] > 0.0).any()
    assert np.quantile(np.abs(distance - expected)[both], 0.98) < 1e-6
    assert np.abs(ground.height(points[:2, hit]) - points[2, hit]).max() < 1e-8
    assert np.isnan(points[:, ~hit]).all()


@given(st.integers(0, 10_000), st.floats(90.0, 300.0), st.integers(2, 40), st.integers(2, 40))
@settings(max_examples=60)
def test_hits_are_first_and_on_the_surface(seed, height, rows, cols):
    """Rough ground: nothing on a ray before its hit is under the surface."""
    heights = np.random.default_rng(seed).uniform(80.0, 120.0, (rows, cols))
    ground = DemGround(heights, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    origin = np.array([cols / 2.0, -rows / 2.0, height])
    rays = down(40, seed, flattest=-10.0)
    points, status = ground.intersect(origin, rays)
    if height <= ground.height(origin[:2, None])[0]:
        assert (status == INSIDE).all()
        return
    hit = status == HIT
    assert np.abs(ground.height(points[:2, hit]) - points[2, hit]).max(initial=0.0) < 1e-9
    length = np.where(hit, np.linalg.norm(points - origin[:, None], axis=0), 200.0)
    share = np.linspace(0.0, 1.0, 400)[:-1]
    way = origin[:, None, None] + rays[:, :, None] * (length[:, None] * share)
    above = way[2] - ground.height(way[:2].reshape(2, -1)).reshape(way[2].shape)
    assert np.nanmin(above, initial=1.0) > -1e-9


def test_a_level_model_is_a_plane():
    ground = DemGround(np.full((300, 300), 50, dtype=np.int16), (1, 0, -150, 0, -1, 150))
    rays = down(500, flattest=35.0)
    points, status = ground.intersect((0.3, 0.2, 140.0), rays)
    expected, _ = FlatGround(50.0).intersect((0.3, 0.2, 140.0), rays)
    assert (status == HIT).all()
    assert np.abs(points - expected).max() < 1e-9


def test_a_round_earth_lowers_what_is_far():
    """A level model and a level ground, both round, 200 km across."""
    radius = EARTH_RADIUS_M / 50.0
    ground = DemGround(
        np.zeros((500, 500)), (400.0, 0, -1e5, 0, -400.0, 1e5), earth_radius_m=radius
    )
    flat = FlatGround(0.0, earth_radius_m=radius)
    rays = down(400, steepest=60.0, flattest=0.2)
    origin = (13.0, 17.0, 900.0)
    points, status = ground.intersect(origin, rays)
    expected, kinds = flat.intersect(origin, rays)
    assert np.array_equal(status, kinds)
    assert {HIT, SKY} == set(status.tolist())
    assert np.nanmax(np.abs(points - expected)) < 1e-6
    assert np.array_equal(
        ground.apparent(origin, points), flat.apparent(origin, points), equal_nan=True
    )


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_samples_lie_at_cell_centres(transform):
    heights = hills((7, 9))
    ground = DemGround(heights, transform)
    rows, cols = np.mgrid[0:7, 0:9]
    places = np.stack([cols.ravel() + 0.5, rows.ravel() + 0.5])
    assert (
        np.abs(ground.height(ground.grid.to_map(places)[:, :-9]) - heights.ravel()[:-9]).max()
        < 1e-6
    )
    outside = ground.grid.to_map(np.array([[0.4, 5.0, 8.6], [3.0, 6.6, 3.0]]))
    assert np.isnan(ground.height(outside)).all()


BOX = (1.0, 0.0, 0.0, 0.0, -1.0, 20.0)


def test_leaving_the_model_is_no_hit():
    ground = DemGround(np.zeros((20, 20)), BOX)
    rays = np.array([[1, 1, 1, 0], [0, 0, 0, 0], [-0.5, -5, 0.1, -1]], dtype=float)
    _, status = ground.intersect((10, 10, 20), rays)
    assert status.tolist() == [OFF, HIT, SKY, HIT]


def test_a_camera_beside_the_model_sees_it_all_the_same():
    ground = DemGround(np.zeros((20, 20)), BOX)
    rays = np.array([[1, 1, -1, 1], [0, 0, 0, 0.5], [-1, -5, -1, -1]], dtype=float)
    points, status = ground.intersect((-5, 10, 12), rays)
    assert status.tolist() == [HIT, OFF, OFF, HIT]
    assert np.allclose(points[:, 0], [7, 10, 0])


def test_what_lies_beyond_the_far_limit_is_not_looked_for():
    ground = DemGround(np.zeros((20, 20)), BOX)
    rays = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [-3, -1.6, -0.8, 0.2]], dtype=float)
    _, status = ground.intersect((5, 10, 8), rays, far_m=4.0)
    assert status.tolist() == [HIT, FAR, FAR, SKY]


def test_a_camera_in_the_ground_says_so_and_may_look_out_of_it():
    """A street camera under the crown of a tree of the surface model."""
    heights = np.zeros((20, 20))
    heights[8:12, 8:12] = 6.0
    ground = DemGround(heights, BOX)
    rays = np.array([[1, 0, 0], [0, 0, 0], [-0.3, 1, -1]], dtype=float)
    points, status = ground.intersect((10, 10, 2), rays)
    assert status.tolist() == [INSIDE] * 3
    assert np.isnan(points).all()
    points, status = ground.intersect((10, 10, 2), rays, skip_m=4.5)
    assert status.tolist() == [HIT, SKY, INSIDE]
    assert points[2, 0] == pytest.approx(0.0, abs=1e-12)


def test_below_everything_is_inside_too():
    ground = DemGround(np.full((20, 20), 9.0), BOX)
    _, status = ground.intersect((10, 10, 2), np.array([[0, 0], [0, 0], [1.0, -1.0]]))
    assert status.tolist() == [INSIDE] * 2


@pytest.mark.parametrize("nodata", [-9999.0, np.nan, None])
def test_holes_are_passed_above_but_never_filled(nodata):
    heights = np.zeros((20, 20), dtype=np.float32)
    heights[:, 10:14] = np.nan if nodata is None else nodata
    ground = DemGround(heights, BOX, nodata)
    rays = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [-2, -1.06, -0.85, -0.55]], dtype=float)
    points, status = ground.intersect((1, 10, 9), rays)
    # Before it, just before it, into it, over it.
    assert status.tolist() == [HIT, HIT, OFF, HIT]
    assert points[0, [0, 1, 3]] == pytest.approx(1 + 9 / np.array([2, 1.06, 0.55]))
    _, status = ground.intersect((12, 10, 9), np.array([[0.0], [0.0], [-1.0]]))
    assert status.tolist() == [OFF]
    assert np.isnan(ground.height(np.array([[12.0], [10.0]]))).all()


def test_no_ray_is_no_point():
    ground = DemGround(np.zeros((20, 20)), BOX)
    points, status = ground.intersect((10, 10, 5), np.array([[0, np.nan], [0, 0], [-1, -1.0]]))
    assert status.tolist() == [HIT, NONE]
    assert np.isnan(points[:, 1]).all()
    points, status = ground.intersect((10, 10, 5), np.zeros((3, 0)))
    assert points.shape == (3, 0)


def test_many_rays_are_taken_in_turns():
    ground = DemGround(hills(), TRANSFORMS["north_up"])
    origin = np.append(TRANSFORMS["north_up"] @ (41.3, 28.7), 130.0)
    rays = down(70_000)
    points, status = ground.intersect(origin, rays)
    tail, kinds = ground.intersect(origin, rays[:, -1000:])
    assert np.array_equal(points[:, -1000:], tail, equal_nan=True)
    assert np.array_equal(status[-1000:], kinds)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_heights_of_any_type_are_read(dtype):
    heights = np.arange(12).reshape(1, 3, 4).astype(dtype)
    ground = DemGround(heights, (1, 0, 0, 0, 1, 0), 11)
    assert ground.height(np.array([[0.5], [1.5]])).tolist() == [4.0]
    assert np.isnan(ground.height(np.array([[3.2], [2.2]]))).all()


@pytest.mark.parametrize(
    ("array", "nodata", "match"),
    [
        (np.zeros((1, 9)), None, "at least 2 x 2"),
        (np.zeros((3, 9, 9)), None, "one band"),
        (np.zeros((9, 9), dtype=complex), None, "complex"),
        (np.zeros((9, 9)), 0.0, "no data"),
        (np.full((9, 9), np.nan), None, "no data"),
    ],
)
def test_what_is_no_elevation_model_is_refused(array, nodata, match):
    with pytest.raises(ArgumentError, match=match):
        DemGround(array, BOX, nodata)


def test_a_satellite_walks_small_cells_too():
    """The last digits of its distances are larger than a step across a border of cells."""
    heights = hills((400, 400))
    ground = DemGround(heights, (0.05, 0, -10.0, 0, -0.05, 10.0))
    origin = np.array([3e6, 1e6, 7e6])
    aims = np.stack([*np.random.default_rng(3).uniform(-4.0, 4.0, (2, 300)), np.full(300, 100.0)])
    points, status = ground.intersect(origin, aims - origin[:, None])
    assert (status == HIT).all()
    assert np.abs(ground.height(points[:2]) - points[2]).max() < 1e-6


@pytest.mark.parametrize(
    "limits", [{"skip_m": -1.0}, {"skip_m": np.inf}, {"far_m": 0.0}, {"far_m": np.nan}]
)
@pytest.mark.parametrize("ground", [FlatGround(0.0), DemGround(np.zeros((20, 20)), BOX)])
def test_limits_are_checked(ground, limits):
    with pytest.raises(ArgumentError, match="from skip_m >= 0 to far_m > 0"):
        ground.intersect((0, 0, 9), down(3), **limits)
