from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError
from attachtrans.geo.camera import PANNELLUM_FACES, PerspectiveCamera
from attachtrans.geo.distortion import BrownDistortion, LensCorrection
from attachtrans.geo.rotation import pose_matrix
from attachtrans.types import Size
from tests.geo.lenses import BROWN5, OPENCV, TILTED14, away, edges

SIZE = Size(1368, 912)
UTM = (292746.19, 2731093.47, 186.56)


def camera(distortion=(), *, angles=(35.0, 60.0, 2.0), position=UTM, **changes):
    settings = {
        "focal_px": (911.72, 913.5),
        "centre_px": (681.385, 462.0),
        "distortion": distortion,
        "rotation": pose_matrix("hpr", angles),
        "position": position,
        **changes,
    }
    return PerspectiveCamera(SIZE, **settings)


@pytest.mark.parametrize("terms", OPENCV)
def test_projects_as_opencv_does(terms):
    """G1. About a local origin: OpenCV takes translations, which lose digits far from it."""
    one = camera(OPENCV[terms], position=(10.0, -20.0, 30.0))
    points = away(one, one.rays(edges(SIZE)))
    matrix = np.array([[911.72, 0, 681.385], [0, 913.5, 462.0], [0, 0, 1]])
    turn = one.rotation.T
    expected = cv2.projectPoints(
        points.T.copy(),
        cv2.Rodrigues(turn)[0],
        -turn @ one.position,
        matrix,
        np.array(OPENCV[terms]) if terms else None,
    )[0][:, 0].T
    assert np.abs(one.project(points) - expected).max() < 1e-9


@pytest.mark.parametrize("terms", OPENCV)
def test_pixels_go_out_and_come_back(terms):
    """G2, in the coordinates of a UTM zone, corners included."""
    one = camera(OPENCV[terms])
    pixels = edges(SIZE)
    rays = one.rays(pixels)
    assert np.abs(np.linalg.norm(rays, axis=0) - 1.0).max() < 1e-14
    assert np.abs(one.project(away(one, rays)) - pixels).max() < 1e-6


@given(
    st.tuples(st.floats(-360, 360), st.floats(0, 180), st.floats(-180, 180)),
    st.floats(300.0, 20_000.0),
    st.tuples(st.floats(-0.3, 0.3), st.floats(-0.1, 0.1), *[st.floats(-0.005, 0.005)] * 2),
    st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
)
@settings(max_examples=60)
def test_any_pinhole_goes_out_and_comes_back(angles, focal, distortion, shear):
    one = camera(distortion, angles=angles, focal_px=(focal, focal * 1.01), shear_px=shear)
    pixels = edges(SIZE, 9)
    rays = one.rays(pixels)
    seen = np.isfinite(rays[0])
    back = one.project(away(one, rays))
    # Beside a fold a ray says little about its pixel.
    assert np.quantile(np.abs(back - pixels)[:, seen], 0.95) < 1e-6
    assert np.isnan(back[:, ~seen]).all()


def test_a_pixel_is_its_centre():
    """A camera that looks north, level: half the image's width is half a field of view."""
    one = PerspectiveCamera(
        (101, 51),
        focal_px=(50.0, 50.0),
        centre_px=(50.0, 25.0),
        rotation=pose_matrix("hpr", (0, 90, 0)),
        position=(0, 0, 0),
    )
    pixels = one.project(np.array([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, -0.5]]))
    assert np.allclose(pixels, [[50.0, 100.0, 50.0], [25.0, 25.0, 50.0]])


def test_behind_and_beside_the_camera_is_nowhere():
    one = camera((), angles=(0, 90, 0), position=(0, 0, 0))
    points = np.array([[0, 0, 3, 0], [5, -5, 0, 0], [0, 0, 0, 0]], dtype=float)
    assert np.isfinite(one.project(points)[0]).tolist() == [True, False, False, False]


def test_points_far_outside_the_view_do_not_fold_into_the_picture():
    one = camera(BROWN5, angles=(0, 90, 0), position=(0, 0, 0))
    angles = np.deg2rad(np.linspace(-89.9, 89.9, 721))
    points = np.stack([np.sin(angles), np.cos(angles), np.zeros_like(angles)])
    cols = one.project(points)[0]
    seen = np.isfinite(cols)
    assert (np.diff(cols[seen]) > 0.0).all()
    assert np.abs(np.rad2deg(angles[seen])).max() < 60.0


def test_the_optical_axis_is_the_third_column_of_the_rotation():
    one = camera(BROWN5)
    axis = one.rays(np.array([[681.385], [462.0]]))[:, 0]
    assert np.allclose(axis, one.rotation[:, 2], atol=1e-15)
    assert axis[0] == pytest.approx(np.sin(np.deg2rad(35)) * np.sin(np.deg2rad(60)))


@pytest.mark.parametrize("size", [Size(2736, 1824), Size(5472, 3648), Size(1000, 300), Size(3, 2)])
def test_resized_cameras_see_the_same_places(size):
    """G10: outer edges stay where they are, at any ratio and per axis."""
    one = camera(TILTED14, shear_px=(3.0, -2.0))
    other = one.resized(size)
    assert other.size == size
    pixels = edges(SIZE, 9)
    factor = np.array(size)[:, None] / np.array(SIZE)[:, None]
    points = away(one, one.rays(pixels))
    assert np.abs(other.project(points) - ((pixels + 0.5) * factor - 0.5)).max() < 1e-6
    assert np.allclose(other.resized(SIZE).centre_px, one.centre_px, atol=1e-12)


def test_twice_the_size_is_twice_the_focal_length():
    other = camera().resized(Size(2736, 1824))
    assert other.focal_px == pytest.approx((1823.44, 1827.0))
    assert other.centre_px == pytest.approx((2 * 681.885 - 0.5, 2 * 462.5 - 0.5))


def test_metashape_counts_pixels_from_corners_and_centres_from_the_middle():
    b1, b2, f, cx, cy = 1.7, -0.9, 3600.0, 12.0, -7.0
    one = PerspectiveCamera.metashape(
        Size(4000, 3000),
        focal_px=f,
        centre_offset_px=(cx, cy),
        radial=(-0.1, 0.05, -0.01, 0.001),
        tangential=(0.0004, -0.0002),
        affinity_px=(b1, b2),
        rotation=pose_matrix("opk", (1, 2, 3)),
        position=UTM,
    )
    place = np.array([[0.2], [-0.15]])
    x, y = BrownDistortion.metashape((-0.1, 0.05, -0.01, 0.001), (0.0004, -0.0002)).distort(place)
    point = one.position[:, None] + one.rotation @ np.vstack([place, [[1.0]]]) * 30.0
    corner = np.stack([2000.0 + cx + x * f + x * b1 + y * b2, 1500.0 + cy + y * f])
    assert np.abs(one.project(point) - (corner - 0.5)).max() < 1e-6


def test_any_lens_may_be_given():
    correction = LensCorrection(polynomial=BrownDistortion.opencv(BROWN5))
    one = camera(correction)
    assert one.lens is correction
    pixels = edges(SIZE, 9)
    assert np.abs(one.project(away(one, one.rays(pixels))) - pixels).max() < 1e-6


@pytest.mark.parametrize("name", PANNELLUM_FACES)
def test_cube_faces_look_where_their_names_say(name):
    heading = 40.0
    face = PerspectiveCamera.cube_face(
        name, 512, rotation=pose_matrix("gpano", (heading, 0, 0)), position=(1, 2, 3)
    )
    middle = face.rays(np.array([[255.5], [255.5]]))[:, 0]
    turned = {"front": 0.0, "right": 90.0, "back": 180.0, "left": 270.0}
    if name in turned:
        angle = np.deg2rad(heading + turned[name])
        assert np.allclose(middle, [np.sin(angle), np.cos(angle), 0.0], atol=1e-12)
        assert np.allclose(face.rotation[:, 1], [0, 0, -1], atol=1e-12)
    else:
        assert np.allclose(middle, [0, 0, 1 if name == "up" else -1], atol=1e-12)
        # Their sides are those of the face in front: up's lower and down's upper edge touch it.
        edge = 511.5 if name == "up" else -0.5
        front = face.rays(np.array([[255.5], [edge]]))[:2, 0]
        angle = np.deg2rad(heading)
        assert np.allclose(front, np.sqrt(0.5) * np.array([np.sin(angle), np.cos(angle)]))


def test_a_cube_has_six_faces():
    with pytest.raises(ArgumentError, match="no face 'top'"):
        PerspectiveCamera.cube_face("top", 9, rotation=np.eye(3), position=(0, 0, 0))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"focal_px": (0.0, 900.0)}, "focal lengths are positive"),
        ({"focal_px": (-900.0, -900.0)}, "focal lengths are positive"),
        ({"focal_px": (900.0,)}, "two finite numbers"),
        ({"centre_px": (np.nan, 0.0)}, "centre_px is two finite"),
        ({"shear_px": (2000.0, 2000.0)}, "not mirrored"),
        ({"distortion": (0.1, 0.2, 0.3)}, "distortion has 3 terms"),
        ({"rotation": 2.0 * np.eye(3)}, "not a rotation"),
        ({"rotation": np.diag([1.0, 1.0, -1.0])}, "mirrored"),
        ({"position": (1.0, 2.0)}, "position is a finite"),
        ({"position": (1.0, 2.0, np.inf)}, "position is a finite"),
    ],
)
def test_what_is_no_camera_is_refused(changes, match):
    with pytest.raises(ArgumentError, match=match):
        camera(**changes)


def test_sizes_and_shapes_are_checked():
    with pytest.raises(ArgumentError, match="image size"):
        camera().resized((0, 5))
    with pytest.raises(ArgumentError, match=r"array \(3, N\)"):
        camera().project(np.zeros((2, 5)))
    with pytest.raises(ArgumentError, match=r"array \(2, N\)"):
        camera().rays(np.zeros(2))


def test_a_camera_does_not_change():
    one = camera()
    with pytest.raises(ValueError, match="read-only"):
        one.position[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        one.rotation[0] = 1.0


def test_no_points_are_no_pixels():
    one = camera(TILTED14)
    assert one.project(np.zeros((3, 0))).shape == (2, 0)
    assert one.rays(np.zeros((2, 0))).shape == (3, 0)
