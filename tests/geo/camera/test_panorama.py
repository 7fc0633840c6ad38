from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from attachtrans.errors import ArgumentError
from attachtrans.geo.camera import ESRI_FACES, PANNELLUM_FACES, PanoramaCamera, PerspectiveCamera
from attachtrans.geo.rotation import pose_matrix
from attachtrans.types import Size
from tests.geo.lenses import away, edges

SIZE = Size(1600, 800)


def camera(pose=(0.0, 0.0, 0.0), size=SIZE, **changes):
    settings = {"rotation": pose_matrix("gpano", pose), "position": (0.0, 0.0, 0.0), **changes}
    return PanoramaCamera(size, **settings)


@pytest.mark.parametrize(
    ("point", "pixel"),
    [
        ((0, 1, 0), (800, 400)),
        ((1, 0, 0), (1200, 400)),
        ((-1, 0, 0), (400, 400)),
        ((0, 1, 1), (800, 200)),
        ((0, 1, -1), (800, 600)),
        ((0, 0, 1), (800, 0)),
        ((0, 0, -1), (800, 800)),
    ],
)
def test_the_middle_looks_forward_and_right_is_right(point, pixel):
    """Pixels from outer corners here; the projection counts from centres."""
    placed = camera().project(np.array(point, dtype=float)[:, None])[:, 0]
    assert placed == pytest.approx(np.array(pixel) - 0.5, abs=1e-9)


def test_the_heading_is_the_bearing_of_the_middle():
    ray = camera((30.0, 0.0, 0.0)).rays(np.array([[799.5], [399.5]]))[:, 0]
    assert np.allclose(ray, [np.sin(np.deg2rad(30)), np.cos(np.deg2rad(30)), 0.0])


def test_the_pitch_lifts_the_middle():
    ray = camera((0.0, 20.0, 0.0)).rays(np.array([[799.5], [399.5]]))[:, 0]
    assert np.allclose(ray, [0.0, np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))])


@given(
    st.tuples(st.floats(-360, 360), st.floats(-90, 90), st.floats(-180, 180)),
    st.tuples(st.floats(0, 1000), st.floats(0, 500)),
)
def test_pixels_go_out_and_come_back(pose, offset):
    """G2, whole and cropped, across the seam as well."""
    whole = camera(pose, position=(5e5, 4e6, 100.0))
    part = camera(
        pose, Size(900, 300), full_size_px=SIZE, offset_px=offset, position=(5e5, 4e6, 100.0)
    )
    for one in (whole, part):
        pixels = edges(one.size, 9)
        missed = one.project(away(one, one.rays(pixels))) - pixels
        around = one.whole_px[0]
        missed[0] = (missed[0] + around / 2) % around - around / 2
        # At the poles all columns are one place; a hair beside them they nearly are.
        latitude = np.abs(0.5 - (pixels[1] + one.offset_px[1] + 0.5) / 800.0) * np.pi
        assert np.abs(missed * [np.cos(latitude), np.ones_like(latitude)]).max() < 1e-6


def test_columns_are_next_to_the_image_even_across_the_seam():
    part = camera(size=Size(400, 800), full_size_px=SIZE, offset_px=(1400.0, 0.0))
    middle = part.project(np.array([[0.01], [-1.0], [0.0]]))[:, 0]
    assert 190.0 < middle[0] < 210.0
    assert np.allclose(part.rays(np.array([[199.5], [399.5]]))[:, 0], [0, -1, 0], atol=1e-12)


def test_nothing_is_above_the_zenith_or_at_the_camera():
    one = camera()
    assert np.isnan(one.rays(np.array([[10.0, 10.0], [-0.6, 799.6]]))).all()
    assert np.isnan(one.project(np.zeros((3, 1)))[0]).all()


def test_resized_panoramas_see_the_same_places():
    part = camera((10, 5, 2), Size(900, 300), full_size_px=SIZE, offset_px=(350.0, 120.0))
    pixels = edges(part.size, 7)
    other = part.resized(Size(1800, 1200))
    expected = (pixels + 0.5) * [[2.0], [4.0]] - 0.5
    assert np.abs(other.project(part.rays(pixels)) - expected).max() < 1e-6
    assert other.whole_px == (3200.0, 3200.0)
    assert other.offset_px == (700.0, 480.0)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"full_size_px": (1000.0, 800.0)}, "larger than its whole"),
        ({"full_size_px": (1600.0, 1000.0), "offset_px": (0.0, 300.0)}, "outside the whole"),
        ({"offset_px": (np.nan, 0.0)}, "finite pairs"),
    ],
)
def test_what_is_no_panorama_is_refused(changes, match):
    with pytest.raises(ArgumentError, match=match):
        camera(**changes)


def test_esri_swaps_the_last_two_faces():
    assert PANNELLUM_FACES[:4] == ESRI_FACES[:4]
    assert PANNELLUM_FACES[4:] == ESRI_FACES[:3:-1]


def test_a_real_panorama_and_its_cube_show_the_same(shared):
    """Pannellum's pair: each face, sampled from the panorama through both cameras."""
    folder = shared / "data" / "geo" / "pano_pannellum" / "examples"
    with Image.open(folder / "examplepano.jpg") as stored:
        stored.draft("L", (1024, 512))
        pano = np.asarray(stored.convert("L").resize((1024, 512), Image.Resampling.BOX))
    sphere = camera((123.0, 4.0, 5.0), Size(pano.shape[1], pano.shape[0]))
    for index, name in enumerate(PANNELLUM_FACES):
        with Image.open(folder / f"examplepanocube{index}.jpg") as stored:
            stored.draft("L", (256, 256))
            face = np.asarray(stored.convert("L").resize((256, 256), Image.Resampling.BOX))
        one = PerspectiveCamera.cube_face(
            name, 256, rotation=sphere.rotation, position=sphere.position
        )
        rows, cols = np.mgrid[0:256, 0:256]
        rays = one.rays(np.stack([cols.ravel(), rows.ravel()]).astype(float))
        place = sphere.project(rays).astype(np.float32).reshape(2, 256, 256)
        seen = cv2.remap(pano, place[0], place[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        alike = [np.corrcoef(np.rot90(seen, k).ravel(), face.ravel())[0, 1] for k in range(4)]
        # The leaves on the ground differ by their JPEG compression.
        assert alike[0] > (0.95 if name == "down" else 0.985), f"{name}: {alike}"
        assert max(alike[1:]) < 0.1
