import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageCms

from attachtrans.errors import ImageError
from attachtrans.image.cmyk import to_inks, to_rgb
from tests.image.make import scene


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=20))
def test_rgb_survives_the_plain_formula(colours):
    rgb = np.array(colours, dtype=np.uint8)[None]
    inks = to_inks(rgb, None)
    assert inks.shape == (*rgb.shape[:2], 4)
    # A step of one ink is at most one step of light.
    assert np.abs(to_rgb(inks, None).astype(int) - rgb.astype(int)).max() <= 1


def test_the_plain_formula_at_its_corners():
    inks = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 0, 0], [0, 255, 255, 0]]], np.uint8)
    expected = [[[255, 255, 255], [0, 0, 0], [0, 255, 255], [255, 0, 0]]]
    assert to_rgb(inks, None).tolist() == expected
    assert to_inks(np.array(expected, np.uint8), None).tolist() == inks.tolist()


def test_a_profile_that_is_not_for_inks_is_refused():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with pytest.raises(ImageError, match="from RGB to CMYK"):
        to_inks(scene(8, 8), profile)
    with pytest.raises(ImageError, match="from CMYK to RGB"):
        to_rgb(np.zeros((2, 2, 4), np.uint8), b"nonsense")
