from __future__ import annotations

import numpy as np
import pytest
import rasterio
from pyproj import CRS

from attachtrans.errors import ArgumentError
from attachtrans.geo.frame import transform
from attachtrans.geo.ground import EARTH_RADIUS_M, DemGround, FlatGround, GroundStatus
from attachtrans.geo.occlusion import CUT_M, Box, Horizon, hidden
from attachtrans.geo.view import CameraView, Grid
from tests.geo import scene
from tests.geo.test_real import FRAMES, frame


def centres(dem):
    """(2, N) world places of all cells."""
    rows, cols = dem.surface.heights.shape
    pixels = np.stack(np.meshgrid(np.arange(cols), np.arange(rows))).reshape(2, -1) + 0.5
    return dem.grid.to_map(pixels)


def cut_m(view):
    """(rows, cols) how deep the ground cuts each cell's sight line, by a patient march."""
    dem = view.surface
    places = centres(dem)
    points = np.stack([*places, dem.height(places)])
    points = view.surface.apparent(view.eye.position, points)
    start = view.eye.position[:, None]
    worst = np.full(points.shape[1], -np.inf)
    longest = np.linalg.norm(points[:2] - start[:2], axis=0).max()
    steps = int(longest / abs(dem.grid.a) * 4.0)
    for share in np.arange(0.5, steps) / steps:
        on = start + (points - start) * share
        surface = np.stack([*on[:2], dem.height(on[:2])])
        over = view.surface.apparent(view.eye.position, surface)[2] - on[2]
        if view.skip_m:
            over[np.linalg.norm(on - start, axis=0) < view.skip_m] = -np.inf
        worst = np.fmax(worst, over)
    return worst.reshape(dem.surface.heights.shape)


EYES = {
    "over it": {},
    "beside it": {"away": (-300.0, 40.0, 260.0)},
    "over a corner": {"away": (-139.0, 119.0, 250.0)},
    "low": {"away": (11.0, 3.0, 214.0), "pitch": 85.0},
}


@pytest.mark.parametrize("name", EYES)
@pytest.mark.parametrize("turned", [False, True])
def test_agrees_with_a_march_along_every_sight_line(name, turned):
    heights = scene.relief((60, 70), walls=15.0)
    ground = scene.dem(heights)
    if turned:
        a, e = 2.0, 1.6
        sine, cosine = np.sin(0.5), np.cos(0.5)
        left, top = scene.CENTRE - np.array([80.0, -10.0])
        ground = DemGround(heights, (a * cosine, e * sine, left, a * sine, -e * cosine, top))
    view = scene.view(ground, scene.camera(**EYES[name]))
    cut = cut_m(view)
    sure = np.abs(cut - CUT_M) > 0.25
    agree = hidden(view) == (cut > CUT_M)
    assert agree[sure].mean() > 0.99
    assert (cut > CUT_M).mean() > 0.005


def test_g7_hides_what_the_sight_lines_of_real_frames_say(shared):
    geo = shared / "data" / "geo"
    for name in ("odm_100_0005_0018", "ngi_3324c_2015_1004_05_0182_RGB"):
        with rasterio.open(geo / "orthority" / "tests" / "data" / FRAMES[name]) as model:
            ground = DemGround(model.read(1), model.transform, model.nodata)
            crs = CRS.from_wkt(model.crs.to_wkt())
        view = CameraView(frame(geo, name), ground, crs.sub_crs_list[0] if crs.is_compound else crs)
        with rasterio.open(geo / "truth" / f"{name}_los_clearance.tif") as truth:
            clearance = truth.read(1)
        sure = np.abs(clearance) > 0.5
        agree = hidden(view) == (clearance < -0.5)
        assert agree[sure].mean() > 0.99


def test_a_wall_hides_what_is_behind_it_as_far_as_the_sight_line_goes():
    heights = np.zeros((41, 101))
    heights[:, 40] = 10.0
    ground = scene.dem(heights, cell_m=1.0)
    eye = scene.camera(away=(-50.0, 0.0, 20.0))
    found = hidden(scene.view(ground, eye))
    # From 20 m above the first column over 9.5 m at 40 m: down at 40 * 20 / 10.5 = 76.2 m.
    assert not found[20, :40].any()
    assert found[20, 42:76].all()
    assert not found[20, 78:].any()


def test_what_stands_nearer_than_skip_m_hides_nothing():
    heights = np.zeros((41, 101))
    heights[:, 3] = 30.0
    ground = scene.dem(heights, cell_m=1.0)
    eye = scene.camera(away=(-50.0, 0.0, 20.0))
    assert hidden(scene.view(ground, eye))[20, 10:].all()
    assert not hidden(scene.view(ground, eye, skip_m=20.0))[20, 10:].any()


def test_a_round_earth_hides_its_far_side():
    heights = np.zeros((3, 400))
    ground = DemGround(
        heights, (100.0, 0.0, 5e5, 0.0, -100.0, 5.4e6), earth_radius_m=EARTH_RADIUS_M
    )
    eye = scene.camera(away=(0.0, 0.0, 0.0)).posed(np.eye(3), (5e5 + 50.0, 5.4e6 - 150.0, 10.0))
    found = hidden(scene.view(ground, eye), cut_m=0.01)[1]
    horizon = np.sqrt(2.0 * EARTH_RADIUS_M * 10.0) / 100.0
    assert not found[: int(horizon) - 2].any()
    assert found[int(horizon * 1.1) :].all()


def test_places_of_any_grid_are_those_of_the_rays_that_get_there():
    """Hits of the camera's own rays are visible; the oracle is the walk of rays."""
    view = scene.view(scene.dem(scene.relief(walls=15.0)))
    grid = Grid(
        (1.0, 0.3, scene.CENTRE[0] - 70.0, 0.2, -1.1, scene.CENTRE[1] + 60.0), (130, 110), scene.UTM
    )
    found = hidden(view, grid).ravel()
    cols, rows = np.meshgrid(np.arange(130) + 0.5, np.arange(110) + 0.5)
    xy = grid.pixel_to_map(np.stack([cols.ravel(), rows.ravel()]))
    points = np.stack([*xy, view.surface.height(xy)])
    eye = view.eye.position
    lowered = DemGround(view.surface.surface.heights - CUT_M, view.surface.grid)
    hits, status = lowered.intersect(eye, points - eye[:, None])
    nearer = np.linalg.norm(hits - eye[:, None], axis=0) < np.linalg.norm(
        points - eye[:, None], axis=0
    )
    expected = (status == GroundStatus.HIT) & nearer
    assert 0.02 < expected.mean() < 0.5
    assert (found == expected).mean() > 0.985


def test_a_grid_in_degrees_has_the_same_shadows():
    view = scene.view(scene.dem(scene.relief(walls=15.0)))
    corner = transform(scene.UTM, 4326, scene.CENTRE[:, None] + [[-60.0], [60.0]])[:, 0]
    grid = Grid((1.4e-5, 0.0, corner[0], 0.0, -0.9e-5, corner[1]), (110, 120), CRS.from_epsg(4326))
    found = hidden(view, grid)
    cols, rows = np.meshgrid(np.arange(110) + 0.5, np.arange(120) + 0.5)
    lonlat = grid.pixel_to_map(np.stack([cols.ravel(), rows.ravel()]))
    cells = view.surface.grid.to_pixels(transform(4326, scene.UTM, lonlat)).astype(int)
    assert (found.ravel() == hidden(view)[cells[1], cells[0]]).mean() > 0.95
    assert found.any()


def test_a_box_of_cells_is_that_part_of_the_whole():
    view = scene.view(scene.dem(scene.relief(walls=15.0)))
    whole = Horizon.of(view)
    for box in (Box(0, 0, 30, 20), Box(60, 50, 100, 90), Box(100, 0, 140, 120), Box(3, 60, 5, 62)):
        part = Horizon.of(view, box=box).excess > 0.0
        expected = whole.excess[box.top : box.bottom, box.left : box.right] > 0.0
        assert (part == expected).mean() > 0.99


def test_no_data_hides_nothing_and_is_not_hidden():
    heights = np.zeros((41, 101))
    heights[:, 40] = 10.0
    heights[:, 39:42] = np.nan
    found = hidden(
        scene.view(scene.dem(heights, cell_m=1.0), scene.camera(away=(-50.0, 0.0, 20.0)))
    )
    assert not found.any()


def test_flat_ground_hides_nothing_and_has_no_cells():
    view = scene.view(FlatGround(200.0))
    grid = Grid((1.0, 0.0, *scene.CENTRE[:1], 0.0, -1.0, scene.CENTRE[1]), (7, 5), scene.UTM)
    assert hidden(view, grid).shape == (5, 7)
    assert not hidden(view, grid).any()
    with pytest.raises(ArgumentError, match="elevation model"):
        hidden(view)
