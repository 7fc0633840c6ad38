from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError
from attachtrans.geo.ground import EARTH_RADIUS_M, FlatGround, GroundStatus, horizon_m

HIT, SKY, FAR = GroundStatus.HIT, GroundStatus.SKY, GroundStatus.BEYOND_FAR


def down(*depressions_deg, heading_deg=30.0):
    """(3, N) rays by their angle below the level."""
    below, heading = np.deg2rad(depressions_deg), np.deg2rad(heading_deg)
    return np.stack(
        [np.cos(below) * np.sin(heading), np.cos(below) * np.cos(heading), -np.sin(below)]
    )


def test_rays_meet_the_plane_where_a_ruler_says():
    points, status = FlatGround(10.0).intersect((100.0, 200.0, 30.0), down(90.0, 45.0, 30.0) * 7.0)
    assert status.tolist() == [HIT] * 3
    ranges = np.hypot(points[0] - 100.0, points[1] - 200.0)
    assert ranges == pytest.approx([0.0, 20.0, 20.0 * np.sqrt(3.0)])
    assert points[2].tolist() == [10.0] * 3


def test_level_and_rising_rays_are_sky():
    points, status = FlatGround(0.0).intersect((0, 0, 5), down(0.0, -10.0, -90.0, 1e-9))
    assert status.tolist() == [SKY, SKY, SKY, HIT]
    assert np.isnan(points[:, :3]).all()


def test_beyond_the_far_limit_is_its_own_answer():
    points, status = FlatGround(0.0).intersect((0, 0, 10), down(45.1, 44.9, -5.0), far_m=10.0)
    assert status.tolist() == [HIT, FAR, SKY]
    assert np.isnan(points[:, 1]).all()


def test_a_camera_under_the_ground_says_so():
    for z in (5.0, 6.0):
        points, status = FlatGround(z).intersect((0, 0, 5), down(30.0, -30.0))
        assert status.tolist() == [GroundStatus.INSIDE_GROUND] * 2
        assert np.isnan(points).all()


def test_rays_that_begin_later_may_begin_under_the_ground():
    _, status = FlatGround(0.0).intersect((0, 0, 5), down(90.0, 45.0), skip_m=6.0)
    assert status.tolist() == [GroundStatus.INSIDE_GROUND, HIT]


def test_no_ray_is_no_point():
    rays = down(45.0, 45.0, 45.0)
    rays[1, 0] = np.nan
    rays[:, 2] = 0.0
    points, status = FlatGround(0.0).intersect((0, 0, 5), rays)
    assert status.tolist() == [GroundStatus.NO_RAY, HIT, GroundStatus.NO_RAY]
    assert np.isnan(points[:, 0]).all()


@given(st.floats(0.5, 5000.0), st.floats(0.001, 89.0), st.floats(0.0, 360.0))
def test_a_round_earth_is_met_where_its_parabola_is(height, depression, heading):
    ground = FlatGround(3.0, earth_radius_m=EARTH_RADIUS_M)
    origin = np.array([1000.0, 2000.0, 3.0 + height])
    ray = down(depression, heading_deg=heading)
    points, status = ground.intersect(origin, ray)
    dip = np.rad2deg(np.arctan(np.sqrt(2.0 * height / EARTH_RADIUS_M)))
    assert status[0] == (HIT if depression > dip else SKY)
    if status[0] == HIT:
        reach = np.hypot(*(points[:2, 0] - origin[:2]))
        drop = reach**2 / (2.0 * EARTH_RADIUS_M)
        assert height + drop == pytest.approx(reach * np.tan(np.deg2rad(depression)), rel=1e-9)
        assert reach <= horizon_m(height) * (1.0 + 1e-9)
        # The camera sees it lower, on its straight ray.
        seen = ground.apparent(origin, points) - origin[:, None]
        assert np.allclose(seen / np.linalg.norm(seen), ray, atol=1e-9)


def test_the_horizon_is_the_rule_of_thumb():
    """3.57 sqrt(h) km without refraction; trap 7: 0.07 m at 1 km, 6.8 m at 10 km with it."""
    assert horizon_m(43.0, 6_371_000.0) == pytest.approx(3570.0 * np.sqrt(43.0), rel=1e-3)
    assert horizon_m(-1.0) == 0.0
    flat = FlatGround(0.0, earth_radius_m=EARTH_RADIUS_M)
    seen = flat.apparent((0, 0, 9), np.array([[1e3, 1e4], [0, 0], [0, 0]]))
    assert -seen[2] == pytest.approx([0.068, 6.83], abs=0.01)


def test_a_plane_looks_as_it_is():
    points = np.array([[1e4], [2e4], [3.0]])
    assert np.array_equal(FlatGround(3.0).apparent((0, 0, 9), points), points)
    assert FlatGround(3.0).height(points[:2]).tolist() == [3.0]


def test_values_are_checked():
    with pytest.raises(ArgumentError, match="height is a finite"):
        FlatGround(np.nan)
    with pytest.raises(ArgumentError, match="earth_radius_m"):
        FlatGround(0.0, earth_radius_m=0.0)
    with pytest.raises(ArgumentError, match="rays begin at a finite"):
        FlatGround(0.0).intersect((0, 0, np.nan), down(45.0))
    with pytest.raises(ArgumentError, match=r"array \(3, N\)"):
        FlatGround(0.0).intersect((0, 0, 1), np.zeros(3))
