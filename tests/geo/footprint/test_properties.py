"""What holds for every camera, lens and ground."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from attachtrans.errors import HorizonError
from attachtrans.geo.footprint import footprint
from attachtrans.geo.view import CameraView
from tests.geo.footprint.scenes import UTM, fisheye, flat, hills, panorama, pinhole
from tests.geo.lenses import BROWN5

HILLS = hills(cell_m=10.0)


def floats(low, high):
    return st.floats(low, high, allow_nan=False, allow_subnormal=False)


@st.composite
def cameras(draw):
    hpr = draw(st.tuples(floats(0, 360), floats(0, 120), floats(-180, 180)))
    height = draw(floats(21.0, 300.0))
    kind = draw(st.sampled_from(["pinhole", "brown", "fisheye", "panorama", "cropped"]))
    if kind == "fisheye":
        return fisheye(hpr, height, focal=draw(floats(60, 300)))
    if kind == "panorama":
        return panorama(hpr[0], height)
    if kind == "cropped":
        left, top = draw(st.integers(0, 700)), draw(st.integers(60, 250))
        return panorama(
            hpr[0], height, size=(200, 100), full_size_px=(720, 360), offset_px=(left, top)
        )
    lens = BROWN5 if kind == "brown" else ()
    return pinhole(hpr, height, focal=draw(floats(150, 2000)), distortion=lens)


@st.composite
def views(draw):
    camera = draw(cameras())
    return CameraView(camera, HILLS, UTM) if draw(st.booleans()) else flat(camera)


def made_of(view, **options):
    try:
        return footprint(view, **options)
    except HorizonError:
        assume(False)
        raise


@settings(max_examples=30)
@given(views(), st.sampled_from(["ground", "plane", "sector", "disc"]), floats(0.0, 30.0))
def test_it_is_valid_and_shares_are_shares(view, mode, near):
    made = made_of(view, mode=mode, near_m=near, far_m=400.0)
    assert made.geometry.is_valid
    assert made.geometry.area > 0.0
    shares = (made.sky_share, made.clipped_share, made.off_dem_share)
    assert min(shares) >= 0.0
    assert sum(shares) <= 1.0 + 1e-9
    foot = shapely.Point(view.camera.position[:2])
    assert foot.hausdorff_distance(made.geometry) <= 400.0 + 1e-3


@settings(max_examples=30)
@given(cameras(), st.integers(0, 2**32 - 1))
def test_it_contains_what_its_pixels_show(camera, seed):
    view = flat(camera, far_m=300.0)
    made = made_of(view, mode="ground")
    pixels = np.random.default_rng(seed).uniform(0.0, 1.0, (2, 50)) * np.array([view.size]).T
    points = view.pixel_to_map(pixels)
    points = points[:, np.isfinite(points).all(axis=0)]
    # Bent borders and arcs are chords: 1e-3 of the whole lies between.
    area = made.geometry.buffer(2e-3 * 300.0)
    assert shapely.contains_xy(area, *points).all()


@settings(max_examples=40)
@given(cameras(), floats(30.0, 200.0), floats(1.0, 5.0))
def test_it_grows_with_the_far_distance(camera, far, factor):
    less = made_of(flat(camera), mode="ground", far_m=far)
    more = footprint(flat(camera), mode="ground", far_m=far * factor)
    assert more.clipped_share <= less.clipped_share + 1e-3
    assert less.geometry.difference(more.geometry.buffer(2e-3 * far)).area < 1e-6


@settings(max_examples=40)
@given(cameras(), st.integers(0, 2**32 - 1))
def test_what_is_in_it_is_seen(camera, seed):
    """The other way round: places well inside have a pixel in the image."""
    view = flat(camera, far_m=300.0)
    made = made_of(view, mode="ground")
    inner = made.geometry.buffer(-0.01 * 300.0)
    assume(inner.area > 0.0)
    west, south, east, north = inner.bounds
    rng = np.random.default_rng(seed)
    xy = np.stack([rng.uniform(west, east, 200), rng.uniform(south, north, 200)])
    xy = xy[:, shapely.contains_xy(inner, *xy)]
    pixels = view.map_to_pixel(xy)
    size = np.array([view.size]).T
    assert ((pixels >= 0.0) & (pixels <= size)).all()
