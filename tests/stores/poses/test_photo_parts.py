import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.geo.camera import FisheyeCamera, PerspectiveCamera, TurnedCamera
from attachtrans.stores.poses.photo_parts import ExifTags, Tag, central_lens, looked_at
from attachtrans.types import Size

SIZE = Size(640, 480)
INSIDE = {
    "focal_px": (500.0, 510.0),
    "centre_px": (300.0, 250.0),
    "rotation": np.eye(3),
    "position": np.zeros(3),
}
LENSES = {
    "brown": PerspectiveCamera(SIZE, distortion=(-0.2, 0.05, 0.003, -0.002, 0.01), **INSIDE),
    "rational": PerspectiveCamera(
        SIZE, distortion=(-0.2, 0.05, 0.003, -0.002, 0.01, 0.02, 0.01, 0.001), **INSIDE
    ),
    "sheared": PerspectiveCamera(SIZE, shear_px=(3.0, -2.0), **INSIDE),
    "fisheye": FisheyeCamera(SIZE, distortion=(0.05, -0.01), shear_px=(2.0, 1.0), **INSIDE),
}


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_an_upright_lens_sees_what_the_stored_one_sees(lens, orientation):
    """Turning the lens about its axis instead: stored axes are upright axes after the turn."""
    upright = looked_at(lens, orientation)
    stored = TurnedCamera(upright=upright, orientation=orientation)
    assert stored.size == lens.size
    # Quarter turns, clockwise as one looks, that make the stored picture upright.
    angle = np.deg2rad({1: 0.0, 6: 90.0, 3: 180.0, 8: 270.0}[orientation])
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    points = np.random.default_rng(0).uniform([-0.5, -0.4, 1.0], [0.5, 0.4, 1.2], (50, 3)).T
    np.testing.assert_allclose(stored.project(turn @ points), lens.project(points), atol=1e-9)


@pytest.mark.parametrize("orientation", [2, 4, 5, 7])
def test_mirrored_pictures_have_no_lens(orientation):
    assert looked_at(LENSES["brown"], orientation) is None


@given(focal=st.floats(allow_nan=True, allow_infinity=True))
def test_what_is_no_focal_length_gives_no_lens(focal):
    lens = central_lens(SIZE, (focal, focal))
    assert (lens is not None) == (64.0 <= focal <= 64_000.0)


def test_no_block_has_no_tags():
    tags = ExifTags(None)
    tag = Tag(0, 0x010F)
    assert (tags.text(tag), tags.numbers(tag), tags.number(tag), tags.raw(tag)) == (
        "",
        (),
        None,
        b"",
    )
