from __future__ import annotations

import cv2
import numpy as np
import pytest

from attachtrans.errors import ArgumentError, GeorefError
from attachtrans.geo.camera import FisheyeCamera, PerspectiveCamera, TurnedCamera
from attachtrans.geo.distortion import BrownDistortion, LensCorrection
from attachtrans.geo.ground import FlatGround
from attachtrans.geo.undistort import undistorted, undistorted_image
from attachtrans.geo.view import CameraView
from attachtrans.types import Size
from tests.geo.lenses import BROWN5, OPENCV, edges

SIZE = Size(240, 160)


def camera(distortion=BROWN5, **changes):
    settings = {
        "focal_px": (180.0, 181.0),
        "centre_px": (121.0, 78.0),
        "rotation": np.diag([1.0, -1.0, -1.0]),
        "position": (500_000.0, 5_000_000.0, 100.0),
    }
    return PerspectiveCamera(SIZE, distortion=distortion, **(settings | changes))


def view(one):
    return CameraView(one, FlatGround(0.0), "EPSG:32633")


@pytest.mark.parametrize("terms", OPENCV)
def test_the_straight_picture_holds_all_of_the_old_one(terms):
    one = camera(OPENCV[terms])
    straight = undistorted(one)
    assert straight.distortion == ()
    points = one.position[:, None] + 50.0 * one.rays(edges(SIZE))
    placed = straight.project(points)
    last = np.array(straight.size)[:, None] - 0.5
    assert (placed >= -0.5 - 1e-5).all()
    assert (placed <= last + 1e-5).all()
    # A pixel less, and something would be lost.
    assert (placed.min(axis=1) < 0.5).all()
    assert (placed.max(axis=1) > last[:, 0] - 1.0).all()


def test_without_distortion_nothing_changes():
    one = camera(())
    straight = undistorted(one)
    assert straight.size == SIZE
    assert straight.centre_px == one.centre_px
    image = np.random.default_rng(0).integers(0, 255, (3, SIZE[1], SIZE[0]), np.uint8)
    array, again = undistorted_image(image, view(one))
    assert np.array_equal(array, image)
    assert again.size == SIZE


def test_the_picture_is_opencvs():
    one = camera()
    smooth = cv2.GaussianBlur(
        np.random.default_rng(0).uniform(0, 255, (SIZE[1], SIZE[0])).astype(np.float32), None, 4
    )
    array, straight = undistorted_image(smooth[None], view(one))
    matrices = [
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        for (fx, fy), (cx, cy) in (
            (each.focal_px, each.centre_px) for each in (one, straight.camera)
        )
    ]
    maps = cv2.initUndistortRectifyMap(
        matrices[0], np.array(BROWN5), None, matrices[1], tuple(straight.size), cv2.CV_32FC1
    )
    expected = cv2.remap(smooth, *maps, cv2.INTER_CUBIC)
    inside = (maps[0] > 2) & (maps[0] < SIZE[0] - 3) & (maps[1] > 2) & (maps[1] < SIZE[1] - 3)
    assert inside.mean() > 0.5
    assert np.abs(array[0] - expected)[inside].max() < 0.5
    outside = (maps[0] < -0.6) | (maps[0] > SIZE[0] - 0.4)
    assert (array[0][outside] == 0).all()


@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_stored_turned_it_stays_turned(orientation):
    one = camera()
    turned = TurnedCamera(upright=one, orientation=orientation)
    straight = undistorted(turned)
    assert straight.orientation == orientation
    assert straight.upright.size == undistorted(one).size
    points = one.position[:, None] + 50.0 * turned.rays(edges(turned.size))
    placed = straight.project(points)
    assert (placed >= -0.5 - 1e-5).all()
    assert (placed <= np.array(straight.size)[:, None] - 0.5 + 1e-5).all()


def test_very_wide_corners_are_cut_off():
    # Bent to a sixth far out, without a fold.
    wide = camera((0.15, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0), focal_px=(120.0, 120.0))
    straight = undistorted(wide)
    assert max(straight.size[0] / SIZE[0], straight.size[1] / SIZE[1]) <= 2.0


def test_what_has_no_straight_picture_is_refused():
    with pytest.raises(GeorefError, match="folds"):
        undistorted(camera((-0.6, 0.0, 0.0, 0.0), focal_px=(100.0, 100.0)))
    fisheye = FisheyeCamera(
        SIZE,
        focal_px=(80.0, 80.0),
        centre_px=(119.5, 79.5),
        rotation=np.eye(3),
        position=(0.0, 0.0, 0.0),
    )
    with pytest.raises(GeorefError, match="FisheyeCamera"):
        undistorted(fisheye)
    with pytest.raises(ArgumentError, match="size"):
        undistorted_image(np.zeros((1, 8, 8)), view(camera()))


def test_a_lens_given_the_other_way_round_is_taken_as_well():
    lens = LensCorrection(polynomial=BrownDistortion.opencv((0.05, 0.0, 0.0, 0.0)))
    assert undistorted(camera(lens)).distortion == ()
