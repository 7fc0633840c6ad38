from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from attachtrans.errors import ArgumentError
from attachtrans.geo.camera import FisheyeCamera, PerspectiveCamera, TurnedCamera
from attachtrans.geo.rotation import pose_matrix
from attachtrans.types import Size
from tests.geo.lenses import BROWN5, away, edges

UPRIGHT = PerspectiveCamera(
    Size(40, 30),
    focal_px=(35.0, 36.0),
    centre_px=(19.0, 15.5),
    distortion=BROWN5,
    rotation=pose_matrix("hpr", (20, 85, 0)),
    position=(0, 0, 0),
)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_stored_pixels_are_where_pillow_says(orientation):
    """Each stored pixel is given its own grey level, and looked for in the upright picture."""
    turned = TurnedCamera(upright=UPRIGHT, orientation=orientation)
    width, height = turned.size
    stored = Image.fromarray(np.arange(width * height, dtype=np.int32).reshape(height, width))
    stored.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(stored))
    assert upright.shape == (30, 40)
    rows, cols = np.divmod(upright.ravel(), width)
    looked_at = np.stack([grid.ravel() for grid in np.meshgrid(np.arange(40), np.arange(30))])
    ours = turned.rays(np.stack([cols, rows]).astype(float))
    assert np.abs(ours - UPRIGHT.rays(looked_at.astype(float))).max() < 1e-14


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["perspective", "fisheye"])
def test_pixels_go_out_and_come_back_and_may_be_resized(orientation, kind):
    upright = UPRIGHT
    if kind == "fisheye":
        upright = FisheyeCamera(
            UPRIGHT.size,
            focal_px=(14.0, 14.0),
            centre_px=UPRIGHT.centre_px,
            rotation=UPRIGHT.rotation,
            position=UPRIGHT.position,
        )
    turned = TurnedCamera(upright=upright, orientation=orientation)
    pixels = edges(turned.size, 7)
    points = away(turned, turned.rays(pixels))
    assert np.abs(turned.project(points) - pixels).max() < 1e-9
    larger = turned.resized(Size(turned.size.width * 3, turned.size.height * 2))
    assert larger.size == (turned.size.width * 3, turned.size.height * 2)
    expected = (pixels + 0.5) * [[3.0], [2.0]] - 0.5
    assert np.abs(larger.project(points) - expected).max() < 1e-9


def test_other_orientations_are_refused():
    with pytest.raises(ArgumentError, match="1 to 8, not 0"):
        TurnedCamera(upright=UPRIGHT, orientation=0)


def test_heading_pitch_and_roll_are_what_a_viewer_sees():
    turned = TurnedCamera(upright=UPRIGHT, orientation=6)
    assert np.array_equal(turned.rotation, UPRIGHT.rotation)
    assert np.array_equal(turned.position, UPRIGHT.position)
