from __future__ import annotations

import numpy as np
import pytest
from pyproj import CRS

from attachtrans.errors import ArgumentError, CrsError, HorizonError
from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.geo.frame import transform
from attachtrans.geo.ground import FlatGround
from attachtrans.geo.orthogrid import ground_resolution, ortho_grid
from attachtrans.geo.rectify import rectify
from attachtrans.geo.rotation import pose_matrix
from attachtrans.geo.view import CameraView, Grid
from tests.geo import scene


def nadir(height=100.0, centre=scene.CENTRE, heading=0.0, **options):
    eye = PerspectiveCamera(
        (400, 300),
        focal_px=(500.0, 500.0),
        centre_px=(199.5, 149.5),
        rotation=pose_matrix("hpr", (heading, 0.0, 0.0)),
        position=(*centre, 200.0 + height),
    )
    return CameraView(eye, FlatGround(200.0), scene.UTM, **options)


def level(far_m=50.0):
    eye = nadir().camera.posed(pose_matrix("hpr", (0.0, 90.0, 0.0)), (*scene.CENTRE, 202.0))
    return CameraView(eye, FlatGround(200.0), scene.UTM, far_m=far_m)


def bounds(grid):
    (left, right), (top, bottom) = grid.pixel_to_map([[0, grid.size.width], [0, grid.size.height]])
    return left, bottom, right, top


def test_a_nadir_photo_gets_its_own_pixels():
    grid = ortho_grid(nadir())
    assert grid.affine.a == -grid.affine.e == 0.2
    assert grid.crs == scene.UTM
    low, high = scene.CENTRE - np.array([40.0, 30.0]), scene.CENTRE + np.array([40.0, 30.0])
    assert np.allclose(bounds(grid), (*low, *high), rtol=0.0, atol=0.2 + 1e-6)
    assert grid.size.width in {400, 401}
    assert ground_resolution(nadir(), scene.UTM) == pytest.approx(0.2)


@pytest.mark.parametrize("heading", [0.0, 31.0])
def test_everything_that_is_shown_lies_within(heading):
    view = scene.view(eye=scene.camera(heading=heading))
    grid = ortho_grid(view)
    left, bottom, right, top = bounds(grid)
    cols, rows = np.meshgrid(np.linspace(0, 640, 200), np.linspace(0, 480, 150))
    x, y = view.pixel_to_map(np.stack([cols.ravel(), rows.ravel()]))
    step = grid.affine.a
    for low, shown, high in ((left, x, right), (bottom, y, top)):
        assert low - 0.1 * step <= np.nanmin(shown) <= low + 2.0 * step
        assert high - 2.0 * step <= np.nanmax(shown) <= high + 0.1 * step


def test_orthos_of_a_project_share_a_lattice():
    grids = [
        ortho_grid(nadir(centre=scene.CENTRE + shift), resolution=0.3) for shift in (0.0, 7.77)
    ]
    for grid in grids:
        for origin in (grid.affine.c, grid.affine.f):
            assert origin / 0.3 == pytest.approx(round(origin / 0.3), abs=1e-5)
    loose = ortho_grid(nadir(), resolution=0.3, snap=False)
    assert loose.affine.c == pytest.approx(scene.CENTRE[0] - 40.0, abs=1e-6)


def test_the_far_limit_ends_the_grid_and_not_the_horizon():
    grid = ortho_grid(level(far_m=50.0))
    left, bottom, right, top = bounds(grid)
    # As wide as the image is at the far limit, and as far as that is straight ahead.
    half = 50.0 * np.sin(np.arctan(0.4))
    assert top == pytest.approx(scene.CENTRE[1] + 50.0, abs=2.0 * grid.affine.a)
    assert right - left == pytest.approx(2.0 * half, abs=0.1 + 3.0 * grid.affine.a)
    assert scene.CENTRE[1] < bottom < scene.CENTRE[1] + 7.0


def test_the_resolution_of_an_oblique_view_is_the_median():
    """At the range d below a camera at h a pixel covers d^3 / (h f^2), all but exactly."""
    view = level(far_m=50.0)
    rows = np.linspace(0.0, 299.0, 97)[:, None]
    below = (rows + 0.5 - 150.0) / 500.0
    with np.errstate(divide="ignore"):
        along = np.where(below > 0.0, 2.0 / below, np.inf)
    across = (np.linspace(0.0, 399.0, 97) - 199.5) / 500.0
    reach = along * np.hypot(1.0, across)
    area = (np.broadcast_to(along, reach.shape) ** 3 / (2.0 * 500.0**2))[reach <= 50.0]
    assert ground_resolution(view, scene.UTM) == pytest.approx(np.sqrt(np.median(area)), rel=0.05)


def test_the_ortho_fills_the_grid_to_its_edges():
    for view in (nadir(heading=20.0), scene.view(), level()):
        grid = ortho_grid(view, resolution=0.5)
        width, height = view.size
        _, mask = rectify(np.ones((1, height, width), np.uint8), view, grid)
        for edge in (mask[:2], mask[-2:], mask[:, :2], mask[:, -2:]):
            assert edge.any()


@pytest.mark.parametrize("code", [4326, 3857, 32632])
def test_any_crs(code):
    view = scene.view()
    grid = ortho_grid(view, crs=code)
    assert grid.crs == CRS.from_epsg(code)
    cols, rows = np.meshgrid(np.linspace(0, 640, 60), np.linspace(0, 480, 50))
    shown = view.pixel_to_map(np.stack([cols.ravel(), rows.ravel()]))
    pixels = grid.map_to_pixel(transform(scene.UTM, code, shown[:, np.isfinite(shown[0])]))
    assert (pixels >= -0.1).all()
    assert (pixels <= np.array(grid.size)[:, None] + 0.1).all()
    # The pixels are about as many, whatever the units.
    ours = ortho_grid(view)
    ratio = np.prod(grid.size) / np.prod(ours.size)
    assert 0.5 < ratio < 2.0


def test_several_images_lie_within_one_grid():
    views = [nadir(), nadir(centre=scene.CENTRE + np.array([60.0, 20.0]), height=50.0)]
    grid = ortho_grid(views)
    parts = [ortho_grid(view, resolution=grid.affine.a) for view in views]
    assert grid.affine.a == 0.1
    corners = np.array([bounds(part) for part in parts])
    expected = [*corners[:, :2].min(axis=0), *corners[:, 2:].max(axis=0)]
    assert np.allclose(bounds(grid), expected, rtol=0.0, atol=1e-6)


def test_given_bounds_are_kept():
    grid = ortho_grid(nadir(), resolution=0.5, bounds=(100.2, 50.1, 110.0, 60.0))
    assert np.allclose(bounds(grid), (100.0, 50.0, 110.0, 60.0))
    grid = ortho_grid(nadir(), resolution=0.5, bounds=(100.2, 50.1, 110.2, 60.1), snap=False)
    assert np.allclose(bounds(grid), (100.2, 50.1, 110.2, 60.1))


def test_a_grid_of_a_grid_is_that_grid():
    grid = Grid((0.5, 0.0, 1000.0, 0.0, -0.5, 2000.0), (70, 50), scene.UTM)
    again = ortho_grid(grid)
    assert (again.affine, again.size) == (grid.affine, grid.size)


def test_across_the_antimeridian_longitudes_run_on():
    crs = CRS.from_epsg(32601)
    views = []
    for longitude in (-179.9999, 179.9999):
        place = transform(4326, crs, np.array([[longitude], [10.0]]))[:, 0]
        eye = nadir().camera.posed(nadir().camera.rotation, (*place, 300.0))
        views.append(CameraView(eye, FlatGround(200.0), crs))
    one, both = ortho_grid(views[0], crs=4326), ortho_grid(views, crs=4326)
    assert max(one.size) < 1000
    assert max(both.size) < 1000
    for view in views:
        _, mask = rectify(np.ones((1, 300, 400), np.uint8), view, both)
        assert (mask > 0).mean() > 0.5


def test_errors_say_what_is_wrong():
    up = nadir().camera.posed(pose_matrix("hpr", (0.0, 180.0, 0.0)), (*scene.CENTRE, 300.0))
    with pytest.raises(HorizonError, match="shows no ground"):
        ortho_grid(CameraView(up, FlatGround(200.0), scene.UTM))
    with pytest.raises(HorizonError, match="shows no ground"):
        ortho_grid(CameraView(up, FlatGround(200.0), scene.UTM), resolution=1.0)
    with pytest.raises(ArgumentError, match="none is given"):
        ortho_grid([])
    for resolution in (0.0, -1.0, np.nan):
        with pytest.raises(ArgumentError, match="positive"):
            ortho_grid(nadir(), resolution=resolution)
    with pytest.raises(ArgumentError, match="bounds"):
        ortho_grid(nadir(), bounds=(5.0, 0.0, 1.0, 1.0))
    with pytest.raises(ArgumentError, match="larger one"):
        ortho_grid(nadir(), resolution=1e-6)
    with pytest.raises(CrsError):
        ortho_grid(nadir(), crs="EPSG:1")
