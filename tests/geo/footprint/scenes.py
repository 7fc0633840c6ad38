"""Cameras over grounds, for the footprint tests."""

from __future__ import annotations

import numpy as np
import shapely

from attachtrans.geo.camera import FisheyeCamera, PanoramaCamera, PerspectiveCamera
from attachtrans.geo.ground import DemGround, FlatGround
from attachtrans.geo.rotation import pose_matrix
from attachtrans.geo.view import CameraView

UTM = "EPSG:32633"
PLACE = (500_000.0, 5_400_000.0)
SIZE = (400, 300)


def pinhole(hpr=(30.0, 40.0, 5.0), height=100.0, focal=350.0, distortion=(), size=SIZE, xy=PLACE):
    return PerspectiveCamera(
        size,
        focal_px=(focal, focal),
        centre_px=(0.5 * size[0] - 0.5, 0.5 * size[1] - 0.5),
        distortion=distortion,
        rotation=pose_matrix("hpr", hpr),
        position=np.array([*xy, height]),
    )


def fisheye(hpr=(0.0, 0.0, 0.0), height=10.0, focal=100.0, size=(400, 400)):
    return FisheyeCamera(
        size,
        focal_px=(focal, focal),
        centre_px=(0.5 * size[0] - 0.5, 0.5 * size[1] - 0.5),
        rotation=pose_matrix("hpr", hpr),
        position=np.array([*PLACE, height]),
    )


def panorama(heading=0.0, height=2.0, size=(720, 360), **crop):
    return PanoramaCamera(
        size,
        rotation=pose_matrix("gpano", (heading, 0.0, 0.0)),
        position=np.array([*PLACE, height]),
        **crop,
    )


def flat(camera, z=0.0, crs=UTM, **options):
    return CameraView(camera, FlatGround(z), crs, **options)


def hills(height=20.0, wave_m=150.0, reach_m=600.0, cell_m=5.0, **options):
    """A surface of waves about PLACE, with a margin on all sides."""
    count = int(2 * reach_m / cell_m)
    steps = (np.arange(count) + 0.5) * cell_m - reach_m
    x, y = np.meshgrid(steps, -steps)
    heights = 0.5 * height * (np.sin(2 * np.pi * x / wave_m) + np.cos(2 * np.pi * y / wave_m))
    transform = (cell_m, 0.0, PLACE[0] - reach_m, 0.0, -cell_m, PLACE[1] + reach_m)
    return DemGround(heights, transform, **options)


def iou(one, other):
    return one.intersection(other).area / one.union(other).area


def ring_of(view, count=2000):
    """The polygon of very many pixels along the outer edges of an image that shows only ground."""
    width, height = view.size
    corners = shapely.LinearRing([(0, 0), (width, 0), (width, height), (0, height)])
    pixels = np.asarray(corners.segmentize(2.0 * (width + height) / count).coords).T
    return shapely.Polygon(view.pixel_to_map(pixels).T)
