"""Standard deviations of places against closed forms and against drawn cameras."""

from __future__ import annotations

import numpy as np
import pytest

from attachtrans.geo.footprint import position_sigma_m
from attachtrans.geo.pose import Accuracy
from attachtrans.geo.rotation import pose_angles, pose_matrix
from attachtrans.geo.view import CameraView
from tests.geo.footprint.scenes import UTM, flat, hills, pinhole


def oblique(pitch, height=100.0):
    return flat(pinhole((30.0, pitch, 0.0), height, size=(401, 301)))


def test_nothing_stated_is_nothing_known():
    assert position_sigma_m(oblique(40.0), Accuracy()) is None
    assert position_sigma_m(flat(pinhole((0.0, 130.0, 0.0))), Accuracy(xy_m=1.0)) is None


def test_each_part_alone_has_a_closed_form():
    """Down by 60 degrees from 100 m: 57.7 m away, seen from 115.5 m."""
    view = oblique(30.0)
    out = 100.0 * np.tan(np.deg2rad(30.0))
    one_degree = np.deg2rad(1.0)
    for accuracy, expected in (
        (Accuracy(xy_m=1.5), 1.5),
        (Accuracy(z_m=2.0), 2.0 * out / 100.0),
        (Accuracy(heading_deg=1.0), out * one_degree),
        (Accuracy(pitch_deg=1.0), 100.0 / np.cos(np.deg2rad(30.0)) ** 2 * one_degree),
        (Accuracy(roll_deg=1.0), 0.0),
    ):
        assert position_sigma_m(view, accuracy) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_together_they_are_the_spread_of_drawn_cameras():
    view = oblique(50.0)
    accuracy = Accuracy(xy_m=1.0, z_m=2.0, heading_deg=1.5, pitch_deg=0.5, roll_deg=0.5)
    rng = np.random.default_rng(4)
    places = []
    for draw in rng.normal(size=(800, 6)) * (1.0, 1.0, 2.0, 1.5, 0.5, 0.5):
        angles = np.array(pose_angles("hpr", view.camera.rotation)) + draw[3:]
        eye = view.camera.posed(pose_matrix("hpr", angles), view.camera.position + draw[:3])
        points, _ = view.ground.intersect(eye.position, eye.rays([[200.0], [150.0]]))
        places.append(points[:2, 0])
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(np.array(places).T)).max())
    assert position_sigma_m(view, accuracy) == pytest.approx(spread, rel=0.1)


def test_above_the_horizon_there_is_no_measure():
    view = flat(pinhole((0.0, 90.0, 0.0), height=2.0))
    assert position_sigma_m(view, Accuracy(pitch_deg=0.1)) > 0.0
    assert position_sigma_m(view, Accuracy(pitch_deg=30.0)) is None


def test_on_a_model_it_is_over_level_ground_at_the_middle():
    view = CameraView(pinhole((0.0, 0.0, 0.0), size=(401, 301)), hills(), UTM)
    z = view.look([[200.5], [150.5]])[0][2, 0]
    assert position_sigma_m(view, Accuracy(pitch_deg=1.0)) == pytest.approx(
        (100.0 - z) * np.deg2rad(1.0), rel=1e-3
    )
