"""Footprints against closed forms and against very many single pixels."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from shapely import affinity

from attachtrans.errors import ArgumentError, HorizonError
from attachtrans.geo.camera import TurnedCamera
from attachtrans.geo.footprint import MODES, Footprint, footprint
from attachtrans.geo.ground import DemGround, FlatGround, default_far_m, horizon_m
from attachtrans.geo.view import CameraView, Grid
from tests.geo.footprint.scenes import (
    PLACE,
    SIZE,
    UTM,
    fisheye,
    flat,
    hills,
    iou,
    panorama,
    pinhole,
    ring_of,
)
from tests.geo.lenses import BROWN5

FOOT = shapely.Point(PLACE)


def disc(radius):
    return FOOT.buffer(radius, quad_segs=256)


def bearing(x, y):
    return np.rad2deg(np.arctan2(x - PLACE[0], y - PLACE[1])) % 360.0


def test_straight_down_it_is_the_rectangle_of_the_outer_pixel_edges():
    made = footprint(flat(pinhole((0.0, 0.0, 0.0))))
    wide, high = 0.5 * 400 * 100 / 350, 0.5 * 300 * 100 / 350
    expected = shapely.box(PLACE[0] - wide, PLACE[1] - high, PLACE[0] + wide, PLACE[1] + high)
    assert made.geometry.symmetric_difference(expected).area < 1e-6
    assert len(made.geometry.exterior.coords) == 5
    assert made.kind == "ground"
    assert made.gsd_m == pytest.approx(100 / 350, rel=1e-9)
    assert (made.sky_share, made.clipped_share, made.off_dem_share) == (0.0, 0.0, 0.0)
    assert not made.truncated


def test_a_bent_lens_is_followed_along_the_edges():
    view = flat(pinhole((20.0, 30.0, 0.0), distortion=BROWN5))
    made = footprint(view).geometry
    assert iou(made, ring_of(view)) > 0.9999
    corners = shapely.Polygon(view.pixel_to_map([[0, 400, 400, 0], [0, 0, 300, 300]]).T)
    assert iou(corners, ring_of(view)) < 0.98


def test_with_a_horizon_it_is_what_lies_within_the_far_distance():
    """Level view: the sides of the picture are straight lines on the ground, its foot is too."""
    made = footprint(flat(pinhole((0.0, 90.0, 0.0), height=2.0)), far_m=60.0)
    near, half = 2.0 * 350 / 150, 200 / 350
    wedge = shapely.Polygon(
        [(-near * half, near), (near * half, near), (1e3 * half, 1e3), (-1e3 * half, 1e3)]
    )
    expected = affinity.translate(wedge, *PLACE).intersection(disc(60.0))
    assert iou(made.geometry, expected) > 0.9998
    ranges = np.hypot(*(np.asarray(made.geometry.exterior.coords) - PLACE).T)
    assert ranges.max() == pytest.approx(60.0, abs=1e-6)
    assert np.count_nonzero(np.abs(ranges - 60.0) < 1e-6) > 20
    assert made.sky_share == pytest.approx(0.5, abs=1e-4)
    # Of a column x focal lengths off the middle, the far rows end at 2/60 sqrt(1 + x^2).
    x = np.linspace(-half, half, 4001)
    assert made.clipped_share == pytest.approx(
        np.trapezoid(350 * 2 / 60 * np.hypot(1, x), x) / (2 * half) / 300, abs=1e-4
    )
    assert made.gsd_m is None
    assert made.truncated


def test_near_takes_away_what_is_nearer():
    view = flat(pinhole((0.0, 90.0, 0.0), height=2.0))
    made, all_of_it = footprint(view, near_m=20.0, far_m=60.0), footprint(view, far_m=60.0)
    assert iou(made.geometry, all_of_it.geometry.difference(disc(20.0))) > 0.999
    assert made.clipped_share > all_of_it.clipped_share
    down = footprint(flat(pinhole((0.0, 0.0, 0.0))), near_m=10.0)
    assert len(down.geometry.interiors) == 1
    # The circle of 10 m is one of 35 pixels.
    assert down.clipped_share == pytest.approx(np.pi * 35**2 / (400 * 300), abs=5e-4)


@pytest.mark.parametrize(
    ("height", "far"), [(1.6, 50.0), (4.9, 50.0), (5.0, 50.0), (43.0, 430.0), (100.0, 1000.0)]
)
def test_far_by_default(height, far):
    assert default_far_m(height) == far
    made = footprint(flat(pinhole((0.0, 90.0, 0.0), height=height)))
    assert made.far_m == far
    assert made.geometry.hausdorff_distance(FOOT) == pytest.approx(far)


def test_far_is_never_beyond_the_horizon_of_level_ground():
    assert default_far_m(1e6) == horizon_m(1e6)
    made = footprint(flat(pinhole((0.0, 90.0, 0.0), height=43.0)), far_m=1e6)
    assert made.far_m == horizon_m(43.0)


def test_the_views_own_far_distance_holds():
    view = flat(pinhole((0.0, 90.0, 0.0), height=2.0), far_m=33.0)
    assert footprint(view).far_m == 33.0
    assert footprint(view, far_m=20.0).far_m == 20.0
    assert footprint(view, far_m=70.0).far_m == 33.0


def test_only_sky_has_no_footprint():
    with pytest.raises(HorizonError, match="only the sky"):
        footprint(flat(pinhole((0.0, 130.0, 0.0))))
    with pytest.raises(HorizonError, match="beyond 12 m, the far distance"):
        footprint(flat(pinhole((0.0, 40.0, 0.0))), far_m=12.0)
    with pytest.raises(HorizonError, match="under the ground's surface"):
        footprint(flat(pinhole((0.0, 0.0, 0.0)), z=200.0))


def test_where_the_model_ends_the_view_is_truncated():
    ground = hills(reach_m=40.0)
    made = footprint(CameraView(pinhole((0.0, 0.0, 0.0)), ground, UTM))
    assert shapely.box(-40, -40, 40, 40).contains(
        affinity.translate(made.geometry, -PLACE[0], -PLACE[1])
    )
    assert 0.1 < made.off_dem_share < 0.5
    assert made.truncated
    east = CameraView(pinhole((0.0, 0.0, 0.0), xy=(PLACE[0] + 1e3, PLACE[1])), ground, UTM)
    with pytest.raises(HorizonError, match="elevation model covers neither"):
        footprint(east)


def test_the_share_off_the_model_is_that_of_the_pixels():
    view = CameraView(pinhole((10.0, 20.0, 0.0)), hills(reach_m=55.0), UTM)
    made = footprint(view)
    cols, rows = np.meshgrid(np.arange(400) + 0.5, np.arange(300) + 0.5)
    points, _ = view.look(np.stack([cols.ravel(), rows.ravel()]))
    assert made.off_dem_share == pytest.approx(np.isnan(points[0]).mean(), abs=1e-3)


def test_holes_in_the_model_within_the_view_are_told_but_not_cut_out():
    ground = hills(reach_m=200.0)
    holed = ground.array.copy()
    holed[38:42, 38:42] = np.nan
    made = footprint(CameraView(pinhole((0.0, 0.0, 0.0)), DemGround(holed, ground.transform), UTM))
    assert not made.geometry.interiors
    assert made.off_dem_share > 0.0


def test_plane_is_level_ground_at_the_height_under_the_camera():
    view = CameraView(pinhole(), hills(), UTM)
    made = footprint(view, mode="plane")
    z = view.surface.height(np.array(PLACE)[:, None])[0]
    assert made.geometry.equals(footprint(flat(view.camera, z=z)).geometry)
    assert made.kind == "plane"
    assert made.ground_source == f"level ground at {z:.2f} m"
    assert footprint(view).ground_source == "elevation model"


def test_a_whole_panorama_is_a_disc():
    made = footprint(flat(panorama()))
    assert made.kind == "disc"
    assert iou(made.geometry, disc(50.0)) > 0.999
    assert made.sky_share == pytest.approx(0.5, abs=1e-4)
    assert made.clipped_share == pytest.approx(np.arctan2(2.0, 50.0) / np.pi, abs=1e-4)
    ring = footprint(flat(panorama()), near_m=5.0, far_m=20.0)
    assert ring.geometry.area == pytest.approx(np.pi * (20**2 - 5**2), rel=1e-3)


def test_a_whole_panorama_over_ground_has_no_seam():
    made = footprint(flat(panorama(heading=77.0)), mode="ground")
    assert made.geometry.geom_type == "Polygon"
    assert not made.geometry.interiors
    assert iou(made.geometry, disc(50.0)) > 0.999


@pytest.mark.parametrize("heading", [0.0, 100.0, 350.0])
def test_a_cropped_panorama_is_the_sector_of_its_columns(heading):
    """90 degrees, that begin 45 degrees to the right of the middle."""
    camera = panorama(heading, size=(180, 100), full_size_px=(720, 360), offset_px=(450, 130))
    made = footprint(flat(camera), near_m=4.0)
    assert made.kind == "sector"
    assert made.geometry.area == pytest.approx(np.pi * (50**2 - 4**2) / 4, rel=1e-3)
    towards = np.deg2rad(bearing(*np.asarray(made.geometry.exterior.coords).T) - heading)
    assert np.rad2deg(np.unwrap(towards % (2 * np.pi))).min() == pytest.approx(45.0, abs=1e-6)
    assert np.rad2deg(np.unwrap(towards % (2 * np.pi))).max() == pytest.approx(135.0, abs=1e-6)


@pytest.mark.parametrize("roll", [0.0, 90.0, 180.0, 270.0])
def test_a_sector_is_the_horizontal_field_of_view(roll):
    made = footprint(flat(pinhole((60.0, 85.0, roll), height=2.0)), mode="sector", near_m=1.0)
    side = 400 if roll in {0.0, 180.0} else 300
    half = np.rad2deg(np.arctan2(0.5 * side, 350))
    towards = bearing(*np.asarray(made.geometry.exterior.coords).T)
    assert towards.min() == pytest.approx(60.0 - half, abs=0.01)
    assert towards.max() == pytest.approx(60.0 + half, abs=0.01)


def test_a_stored_orientation_changes_nothing_on_the_ground():
    upright = pinhole((60.0, 85.0, 0.0), height=2.0)
    turned = TurnedCamera(upright=upright, orientation=6)
    for mode in ("ground", "sector"):
        one, other = (footprint(flat(camera), mode=mode) for camera in (upright, turned))
        assert iou(one.geometry, other.geometry) > 1.0 - 1e-6
        assert one.sky_share == pytest.approx(other.sky_share, abs=1e-6)


def test_a_fisheye_sees_a_circle():
    """Equidistant, 2 radians to the edge of the image: beyond level, so far makes the circle."""
    made = footprint(flat(fisheye()), far_m=80.0)
    assert iou(made.geometry, disc(80.0)) > 0.999
    assert made.clipped_share + made.sky_share == pytest.approx(
        1.0 - np.pi * np.arctan2(80.0, 10.0) ** 2 / 16.0, abs=5e-4
    )


def test_a_fisheye_that_looks_up_sees_a_ring():
    made = footprint(flat(fisheye((0.0, 180.0, 0.0), size=(500, 500))), far_m=80.0)
    assert len(made.geometry.interiors) == 1
    assert made.geometry.exterior.hausdorff_distance(disc(80.0).exterior) < 0.1
    # The edges' middles are 2.5 radians off the zenith.
    inner = shapely.Polygon(made.geometry.interiors[0])
    assert inner.exterior.distance(FOOT) < 10.0 * np.tan(np.pi - 2.5)


def test_rasters_are_outlined_too():
    grid = Grid((0.4, 0.3, PLACE[0], 0.3, -0.4, PLACE[1]), SIZE, UTM)
    made = footprint(grid)
    corners = grid.pixel_to_map([[0, 400, 400, 0], [0, 0, 300, 300]])
    assert made.geometry.symmetric_difference(shapely.Polygon(corners.T)).area < 1e-6
    assert (made.kind, made.gsd_m) == ("outline", pytest.approx(0.5))
    degrees = footprint(Grid((1e-5, 0, 15.0, 0, -1e-5, 60.0), SIZE, "EPSG:4326"))
    assert degrees.gsd_m == pytest.approx(1.11 * np.sqrt(0.5), rel=0.01)


def test_what_makes_no_sense_is_refused():
    view = flat(pinhole())
    with pytest.raises(ArgumentError, match="known: auto, ground, plane, sector, disc"):
        footprint(view, mode="frustum")
    for mode in MODES:
        with pytest.raises(ArgumentError, match="0 <= near_m < far_m"):
            footprint(view, mode=mode, near_m=10.0, far_m=5.0)
    grid = Grid((1, 0, 0, 0, -1, 0), SIZE, UTM)
    with pytest.raises(ArgumentError, match="for cameras, not for a Grid"):
        footprint(grid, mode="disc")
    with pytest.raises(ArgumentError, match="for cameras"):
        footprint(grid, far_m=5.0)


@pytest.mark.parametrize("size", [(800, 600), (100, 75), (1, 1), (4096, 3)])
def test_the_number_of_pixels_changes_nothing(size):
    view = flat(pinhole((30.0, 75.0, 5.0), height=10.0))
    one, other = footprint(view), footprint(view.resized(size))
    assert iou(one.geometry, other.geometry) > 1.0 - 1e-6
    assert other.sky_share == pytest.approx(one.sky_share, abs=1e-9)


@pytest.mark.slow
def test_a_ridge_hides_what_is_behind_it_and_the_outline_stays_valid():
    for heading in range(0, 360, 40):
        view = CameraView(pinhole((heading, 80.0, 10.0), height=25.0), hills(height=30.0), UTM)
        made = footprint(view, far_m=400.0)
        assert made.geometry.is_valid
        assert disc(400.01).contains(made.geometry)


def test_a_height_in_feet_and_a_far_distance_in_metres():
    feet = "EPSG:2264"  # North Carolina, US survey feet
    metres = "EPSG:32119"
    foot = 1200 / 3937
    one = footprint(flat(pinhole((0, 90, 0), 43.0, xy=(900_000.0, 270_000.0)), crs=metres))
    other = footprint(
        CameraView(
            pinhole((0, 90, 0), 43.0 / foot, xy=(900_000.0 / foot, 270_000.0 / foot)),
            FlatGround(0.0),
            feet,
        )
    )
    assert isinstance(other, Footprint)
    assert other.far_m == pytest.approx(430.0)
    assert iou(other.to_crs(metres).geometry, one.geometry) > 1.0 - 1e-5
