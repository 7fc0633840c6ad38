"""Footprints without what is hidden: a wall and its shadow."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from attachtrans.errors import HorizonError
from attachtrans.geo.footprint import footprint, visible_area
from attachtrans.geo.ground import DemGround
from attachtrans.geo.view import CameraView
from tests.geo.footprint.scenes import PLACE, UTM, flat, pinhole

CELL = 0.5


def walled(camera, wall_m=10.0, **options):
    """Level ground of 200 m by 200 m with a wall across it, 60 to 61 m north of the camera."""
    heights = np.zeros((400, 400))
    north = 180.0 - (np.arange(400) + 0.5) * CELL
    heights[(north > 60.0) & (north < 61.0)] = wall_m
    transform = (CELL, 0.0, PLACE[0] - 100.0, 0.0, -CELL, PLACE[1] + 180.0)
    return CameraView(camera, DemGround(heights, transform), UTM, **options)


def test_the_shadow_of_a_wall_is_left_out():
    """From 40 m a wall of 10 m hides from its top, 61 m away, to 61 * 40 / 30 = 81.3 m."""
    view = walled(pinhole((0.0, 60.0, 0.0), height=40.0))
    whole = footprint(view)
    made = visible_area(view, whole)
    assert made.kind == "visible"
    assert made.geometry.is_valid
    assert whole.geometry.buffer(1e-6).contains(made.geometry)
    line = shapely.LineString([(PLACE[0] + 0.1, PLACE[1] + 55), (PLACE[0] + 0.1, PLACE[1] + 100)])
    gaps = line.difference(made.geometry)
    (_, south), (_, north) = np.asarray(gaps.coords) - PLACE
    assert south == pytest.approx(61.0, abs=2 * CELL)
    assert north == pytest.approx(61.0 * 40.0 / 30.0, abs=4 * CELL)


def test_another_coordinate_system_stays():
    view = walled(pinhole((0.0, 60.0, 0.0), height=40.0))
    made = visible_area(view, footprint(view).to_crs("EPSG:4326"))
    assert made.crs.to_epsg() == 4326
    assert made.to_crs(UTM).geometry.equals(visible_area(view, footprint(view)).geometry)


def test_level_ground_hides_nothing():
    view = flat(pinhole())
    assert visible_area(view, footprint(view)).geometry.equals(footprint(view).geometry)


def test_all_hidden_is_said():
    """A sector behind the wall, which is told without looking."""
    view = walled(pinhole((0.0, 80.0, 0.0), height=5.0))
    behind = footprint(view, mode="sector", near_m=75.0, far_m=90.0)
    with pytest.raises(HorizonError, match="hides all of it"):
        visible_area(view, behind)
