from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError
from attachtrans.geo.distortion import BrownDistortion, LensCorrection
from tests.geo.lenses import BROWN5, OPENCV, TILTED14

RNG = np.random.default_rng(4)
PLACES = RNG.uniform(-0.75, 0.75, (2, 500))


def opencv(places, coefficients):
    rows = np.column_stack([*places, np.ones(places.shape[1])])
    terms = np.array(coefficients) if len(coefficients) else None
    return cv2.projectPoints(rows, np.zeros(3), np.zeros(3), np.eye(3), terms)[0][:, 0].T


@pytest.mark.parametrize("terms", OPENCV)
def test_distorts_as_opencv_does(terms):
    lens = BrownDistortion.opencv(OPENCV[terms])
    assert np.abs(lens.distort(PLACES) - opencv(PLACES, OPENCV[terms])).max() < 1e-13


@pytest.mark.parametrize("terms", OPENCV)
def test_undistorts_to_the_last_digit(terms):
    lens = BrownDistortion.opencv(OPENCV[terms])
    assert np.abs(lens.undistort(lens.distort(PLACES)) - PLACES).max() < 1e-13


@given(
    st.tuples(st.floats(-0.4, 0.4), st.floats(-0.2, 0.2), st.floats(-0.1, 0.1)),
    st.tuples(st.floats(-0.01, 0.01), st.floats(-0.01, 0.01)),
    st.tuples(*[st.floats(-0.004, 0.004)] * 4),
    st.tuples(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05)),
)
@settings(max_examples=60)
def test_any_lens_leads_back_within_its_fold(radial, tangential, prism, tilt):
    lens = BrownDistortion(radial=radial, tangential=tangential, prism=prism, tilt_rad=tilt)
    bent = lens.distort(PLACES)
    seen = np.isfinite(bent[0])
    assume(seen.any())
    again = lens.undistort(bent)
    assert np.abs(again - PLACES)[:, seen].max() < 1e-7
    # What has a picture at all comes back to where it was, never to another branch.
    assert np.isnan(again[:, ~seen]).all()


def test_no_terms_change_nothing():
    for lens in (BrownDistortion(), BrownDistortion.opencv((0.0,) * 14)):
        assert lens == BrownDistortion()
        assert np.array_equal(lens.distort(PLACES), PLACES)
        assert np.array_equal(lens.undistort(PLACES), PLACES)


def test_the_middle_stays():
    lens = BrownDistortion.opencv(BROWN5)
    assert np.array_equal(lens.undistort(np.zeros((2, 1))), np.zeros((2, 1)))


def test_barrel_distortion_folds_where_its_slope_vanishes():
    """r (1 + k r^2) grows up to r = sqrt(-1 / 3k) and would come back to 0 at sqrt(-1 / k)."""
    lens = BrownDistortion(radial=(-0.3,))
    fold = np.sqrt(1.0 / 0.9)
    places = np.array([[0.99999, 1.00001, 1.5, np.sqrt(1 / 0.3), 10.0]]) * fold * [[0.6], [0.8]]
    assert np.isfinite(lens.distort(places)[0]).tolist() == [True, False, False, False, False]
    widest = fold * (1.0 - 0.3 * fold**2)
    back = lens.undistort(np.array([[0.99999, 1.00001, 1.1]]) * widest * [[0.6], [0.8]])
    assert np.isfinite(back[0]).tolist() == [True, False, False]
    assert np.hypot(*back[:, 0]) == pytest.approx(fold * (1.0 - np.sqrt(2e-5 / 3.0)), rel=1e-4)


def test_a_real_lens_shows_nothing_from_beyond_its_fold():
    """The polynomial alone would show points 60 to 80 degrees off the axis."""
    lens = BrownDistortion.opencv(BROWN5)
    radii = np.tan(np.deg2rad(np.linspace(56.0, 89.9, 200)))
    places = radii * np.array([[0.6], [0.8]])
    assert (np.hypot(*opencv(places, BROWN5)) < 0.9).sum() > 10
    assert np.isnan(lens.distort(places)).all()


@pytest.mark.parametrize("direction", [0.0, 0.5, 1.7, 2.5, 4.0, 5.5])
def test_tangential_terms_fold_too(direction):
    """The border is the first zero of the Jacobian's determinant, or the radial terms' fold."""
    lens = BrownDistortion(radial=(-0.1,), tangential=(0.05, -0.03))
    radii = np.linspace(0.01, 6.0, 4000)
    unit = np.array([[np.cos(direction)], [np.sin(direction)]])
    step = 1e-6
    sides = [
        (opencv(radii * unit + offset, (-0.1, 0, 0.05, -0.03, 0)))
        for offset in np.array([[[step], [0]], [[-step], [0]], [[0], [step]], [[0], [-step]]])
    ]
    (xx, yx), (xy, yy) = sides[0] - sides[1], sides[2] - sides[3]
    first = min(radii[np.argmax(xx * yy - xy * yx <= 0.0)], np.sqrt(1.0 / 0.3))
    held = np.isfinite(lens.distort(radii * unit)[0])
    assert radii[held].max() == pytest.approx(first, abs=0.005)
    assert not held[radii > first + 0.005].any()


def test_a_pole_of_the_rational_terms_is_a_fold():
    lens = BrownDistortion(rational=(-0.5,))
    places = np.array([[1.0, np.sqrt(2.0) * 1.001, 3.0], [0.0, 0.0, 0.0]])
    assert np.isfinite(lens.distort(places)[0]).tolist() == [True, False, False]


def test_metashapes_tangential_terms_stand_the_other_way_round():
    """K4 is of r^8; P1 goes with r2 + 2 x2 (Metashape manual, appendix on camera models)."""
    k, p1, p2 = (-0.26, 0.1, -0.025, 0.004), 0.0007, -0.0003
    x, y = PLACES
    r2 = x * x + y * y
    factor = 1 + k[0] * r2 + k[1] * r2**2 + k[2] * r2**3 + k[3] * r2**4
    expected = [
        x * factor + p1 * (r2 + 2 * x * x) + 2 * p2 * x * y,
        y * factor + p2 * (r2 + 2 * y * y) + 2 * p1 * x * y,
    ]
    lens = BrownDistortion.metashape(k, (p1, p2))
    assert np.abs(lens.distort(PLACES) - expected).max() < 1e-14
    assert np.abs(lens.undistort(lens.distort(PLACES)) - PLACES).max() < 1e-13


def test_a_correction_leads_from_distorted_to_ideal():
    polynomial = BrownDistortion.opencv(BROWN5)
    lens = LensCorrection(polynomial=polynomial)
    assert np.array_equal(lens.undistort(PLACES), polynomial.distort(PLACES))
    assert np.abs(lens.distort(lens.undistort(PLACES)) - PLACES).max() < 1e-13


def test_what_is_nan_stays_nan():
    lens = BrownDistortion.opencv(TILTED14)
    places = np.array([[0.1, np.nan, np.inf], [0.2, 0.0, 0.0]])
    assert np.isfinite(lens.distort(places)[0]).tolist() == [True, False, False]
    assert np.isfinite(lens.undistort(places)[0]).tolist() == [True, False, False]


@pytest.mark.parametrize("count", [1, 2, 3, 6, 13, 15])
def test_other_counts_of_terms_are_refused(count):
    with pytest.raises(ArgumentError, match=f"distortion has {count} terms"):
        BrownDistortion.opencv((0.1,) * count)


def test_terms_that_are_not_finite_are_refused():
    with pytest.raises(ArgumentError, match=r"radial .* not finite"):
        BrownDistortion(radial=(np.nan,))
