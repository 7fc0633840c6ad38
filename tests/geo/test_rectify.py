from __future__ import annotations

import cv2
import numpy as np
import pytest
import rasterio
import rasterio.warp
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS

from attachtrans.errors import ArgumentError, ImageError
from attachtrans.geo.camera import FisheyeCamera, PanoramaCamera, PerspectiveCamera
from attachtrans.geo.frame import transform
from attachtrans.geo.ground import EARTH_RADIUS_M, DemGround, FlatGround, horizon_m
from attachtrans.geo.occlusion import hidden
from attachtrans.geo.rectify import Rectifier, rectify
from attachtrans.geo.rotation import pose_matrix
from attachtrans.geo.rpcmodel import RpcModel
from attachtrans.geo.view import CameraView, Gcps, Grid, Rpc
from attachtrans.types import Size, Window
from tests.geo import scene
from tests.geo.test_real import COAST, FRAMES, coast, frame

UTM = CRS(32633)

FINE = {"interpolation": "cubic", "antialias": True}
"""As orthos for the eye are made."""

WGS84 = CRS.from_epsg(4326)


def centres(grid):
    """(2, N) map coordinates of all pixels."""
    width, height = grid.size
    cols, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return grid.pixel_to_map(np.stack([cols.ravel(), rows.ravel()]))


def coordinates(size, dtype=np.float32):
    """(2, height, width): each pixel's own col and row, from the outer corner."""
    width, height = size
    return np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)).astype(dtype)


def inside(pixels, size, margin):
    with np.errstate(invalid="ignore"):
        return ((pixels > margin) & (pixels < np.array(size, dtype=float)[:, None] - margin)).all(
            axis=0
        )


def over(centre=scene.CENTRE, resolution=0.5, size=(400, 360), turn=0.0, crs=scene.UTM):
    """A grid about a place."""
    cosine, sine = resolution * np.cos(turn), resolution * np.sin(turn)
    width, height = size
    left = centre[0] - 0.5 * (cosine * width + sine * height)
    top = centre[1] - 0.5 * (sine * width - cosine * height)
    return Grid((cosine, sine, left, sine, -cosine, top), size, crs)


def in_crs(code, resolution, size=(180, 200)):
    place = transform(scene.UTM, code, scene.CENTRE[:, None])[:, 0]
    return over(place, resolution, size, crs=CRS.from_user_input(code))


GRIDS = {
    "north up": over(),
    "turned": over(turn=0.6),
    "coarse": over(resolution=4.0, size=(60, 50)),
    "fine": over(resolution=0.04, size=(150, 130)),
    "Web Mercator": in_crs(3857, 1.2),
    "degrees": in_crs(4326, 1.1e-5),
    "another zone": in_crs(32632, 1.0),
    "one pixel": over(size=(1, 1)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_pixels_are_where_the_exact_way_puts_them(name):
    """The coordinate image comes out as the coordinates: mapping and interpolation in one."""
    view, grid = scene.view(), GRIDS[name]
    expected = view.map_to_pixel(transform(grid.crs, scene.UTM, centres(grid)))
    values, mask = rectify(coordinates(view.size), view, grid, **FINE)
    # Means over several pixels bend coordinates where the image ends.
    width = 16.0 if name == "coarse" else 1.0
    within = inside(expected, view.size, 8.0 * width)
    assert within.any()
    error = np.hypot(*(values.reshape(2, -1) - expected))[within]
    assert mask.ravel()[within].all()
    assert np.median(error) < 0.005 * width
    assert error.max() < 0.02 * width
    outside = ~inside(expected, view.size, -0.02)
    assert not mask.ravel()[outside].any()
    assert not values.reshape(2, -1)[:, outside].any()


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_no_kernel_moves_anything(interpolation, dtype):
    view, grid = scene.view(), GRIDS["turned"]
    expected = view.map_to_pixel(centres(grid))
    values, _ = rectify(
        coordinates(view.size, dtype=np.float64).astype(dtype) * dtype(64),
        view,
        grid,
        interpolation=interpolation,
        antialias=False,
    )
    within = inside(expected, view.size, 3.0)
    error = (values.astype(float) / 64.0).reshape(2, -1) - expected
    shift = 0.5 if dtype == np.uint16 else 0.0  # Half pixels are cut off in whole numbers.
    error = error[:, within] + (np.array([[shift], [shift]]) if shift else 0.0)
    bound = 0.51 if interpolation == "nearest" else 0.05
    assert np.abs(error).max() < bound
    assert np.abs(error.mean(axis=1)).max() < 0.01


def test_g5_coordinate_image_of_real_frames(shared):
    geo = shared / "data" / "geo"
    for name in FRAMES:
        view = real_view(geo, name)
        grid = real_grid(view, 350)
        expected = view.map_to_pixel(centres(grid))
        for options in ({}, {"interpolation": "linear", "antialias": False}):
            values, mask = rectify(coordinates(view.size), view, grid, **options)
            within = inside(expected, view.size, 16.0)
            error = np.hypot(*(values.reshape(2, -1) - expected))[within]
            assert mask.ravel()[within].all()
            assert np.median(error) < 0.02
            assert error.max() < 0.1


def real_view(geo, name):
    with rasterio.open(geo / "orthority" / "tests" / "data" / FRAMES[name]) as model:
        ground = DemGround(model.read(1), model.transform, model.nodata)
        crs = CRS.from_wkt(model.crs.to_wkt())
    return CameraView(frame(geo, name), ground, crs.sub_crs_list[0] if crs.is_compound else crs)


def real_grid(view, side):
    """About what the frame shows, that many pixels wide."""
    width, height = view.size
    cols, rows = np.meshgrid(np.linspace(0.0, width, 30), np.linspace(0.0, height, 30))
    shown = view.pixel_to_map(np.stack([cols.ravel(), rows.ravel()]))
    low, high = np.nanmin(shown, axis=1), np.nanmax(shown, axis=1)
    step = (high[0] - low[0]) / side
    return Grid(
        (step, 0.0, low[0], 0.0, -step, high[1]),
        (side, int((high[1] - low[1]) / step)),
        view.crs,
    )


def point_sampled(image, pixels):
    """(bands, N) bilinear between the four pixels about each place, edge pixels repeated."""
    last = np.array(image.shape[:0:-1])[:, None] - 1
    place = np.clip(pixels - 0.5, 0.0, last)
    first = np.minimum(place.astype(int), last - 1)
    (u, v), (i, j) = place - first, first
    top = image[:, j, i] * (1.0 - u) + image[:, j, i + 1] * u
    below = image[:, j + 1, i] * (1.0 - u) + image[:, j + 1, i + 1] * u
    return top * (1.0 - v) + below * v


@pytest.mark.parametrize("name", COAST)
def test_g6_cameras_with_a_horizon(shared, name):
    geo = shared / "data" / "geo"
    eye = coast(geo, name)
    folder = geo / "cirn_duck" / "X_FixedMultCamDemoData" / "collectionData" / name
    image = np.moveaxis(cv2.imread(str(next(folder.glob("*.jpg")))), -1, 0)
    view = CameraView(eye, FlatGround(-0.248), CRS.from_epsg(32119), far_m=3000.0)
    left, top = eye.position[:2] + np.array([-1500.0, 3000.0])
    grid = Grid((5.0, 0.0, left, 0.0, -5.0, top), (900, 700), view.crs)
    values, mask = rectify(image, view, grid, interpolation="linear", antialias=False)
    places = centres(grid)
    pixels = view.map_to_pixel(places)
    near = np.hypot(*(places - eye.position[:2, None])) <= 3000.0
    seen = inside(pixels, view.size, 0.0) & near
    assert seen.mean() > 0.02
    assert (mask.ravel() > 0).sum() == pytest.approx(seen.sum(), abs=3)
    both = seen & (mask.ravel() > 0)
    expected = point_sampled(image.astype(float), pixels[:, both])
    off = np.abs(values.reshape(3, -1)[:, both] - expected).max(axis=0)
    assert (off <= 2.0).mean() >= 0.999


@pytest.mark.parametrize("pitch", [pytest.param(10.0, marks=pytest.mark.slow), 25.0])
def test_checkerboard_corners_of_a_rendered_photo(pitch):
    """The bar of 0.05 pixels of the ortho, on a photo that was rendered by following rays."""
    view = scene.view(eye=scene.camera((320, 240), pitch=pitch))
    side, resolution = 16.0, 0.5
    picture = scene.photo(view, lambda xy: 40.0 + 160.0 * scene.checkers(xy, side), 2)
    low = np.floor((scene.CENTRE - 90.0) / side) * side
    grid = Grid((resolution, 0.0, low[0], 0.0, -resolution, low[1] + 256.0), (512, 512), scene.UTM)
    values, mask = rectify(np.nan_to_num(picture)[None], view, grid)
    corners = np.stack(np.meshgrid(np.arange(1, 16), np.arange(1, 16))).reshape(2, -1)
    expected = corners * (side / resolution) - 0.5  # from the centre, as OpenCV has it
    reach = 6
    whole = np.array(
        [
            mask[int(row) - reach : int(row) + reach + 2, int(col) - reach : int(col) + reach + 2]
            .astype(bool)
            .all()
            for col, row in expected.T
        ]
    )
    assert whole.sum() > 25
    start = expected.T[whole].astype(np.float32)[:, None]
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-5)
    found = cv2.cornerSubPix(values[0], start.copy(), (reach, reach), (-1, -1), criteria)
    error = np.linalg.norm((found - start)[:, 0], axis=1)
    assert np.median(error) < 0.005
    assert error.max() < 0.05


def test_the_ortho_of_a_rendered_photo_is_the_pattern():
    view = scene.view(eye=scene.camera((240, 180)))

    def waves(xy):
        x, y = np.asarray(xy) - scene.CENTRE[:, None]
        return 120.0 + 60.0 * np.sin(0.16 * x) * np.cos(0.19 * y + 0.3)

    picture = scene.photo(view, waves, 2)
    grid = over(size=(300, 280), turn=-0.3)
    values, mask = rectify(np.nan_to_num(picture)[None], view, grid, **FINE)
    valid = cv2.erode(mask, np.ones((9, 9), np.uint8)).ravel() > 0
    assert valid.mean() > 0.5
    off = values.reshape(-1) - waves(centres(grid))
    assert np.abs(off[valid]).max() < 0.5


def street(**options):
    """A level camera 2 m above the street."""
    eye = PerspectiveCamera(
        (300, 200),
        focal_px=(200.0, 200.0),
        centre_px=(149.5, 99.5),
        rotation=pose_matrix("hpr", (90.0, 90.0, 0.0)),
        position=(*scene.CENTRE, 202.0),
    )
    return CameraView(eye, FlatGround(200.0), scene.UTM, **options)


def test_the_horizon_and_the_far_limit_are_masked():
    view = street(far_m=40.0)
    grid = over(resolution=0.25, size=(500, 500))
    picture = np.full((1, 200, 300), 77, dtype=np.uint8)
    picture[:, :101] = 200  # sky, and the row of the horizon
    values, mask = rectify(picture, view, grid)
    places = centres(grid) - scene.CENTRE[:, None]
    along, aside = places
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = (along > 4.0) & (np.abs(aside / along) < 0.75) & (np.hypot(*places) <= 40.0)
    assert (mask.ravel() > 0).sum() == pytest.approx(seen.sum(), rel=0.01)
    assert not mask.ravel()[~seen & ((along < 3.9) | (np.hypot(*places) > 40.01))].any()
    near = cv2.erode(mask, np.ones((7, 7), np.uint8)).ravel() > 0
    assert (values.ravel()[near & (np.hypot(*places) < 30.0)] == 77).all()


def test_beyond_the_horizon_of_a_round_earth_nothing_is_seen():
    eye = street().camera.posed(pose_matrix("hpr", (90.0, 90.0, 0.0)), (*scene.CENTRE, 202.0))
    view = CameraView(eye, FlatGround(200.0, earth_radius_m=EARTH_RADIUS_M), scene.UTM)
    grid = over(resolution=50.0, size=(400, 40))
    _, mask = rectify(np.ones((1, 200, 300), np.uint8), view, grid)
    reach = np.hypot(*(centres(grid) - scene.CENTRE[:, None]))
    assert mask.any()
    assert reach[mask.ravel() > 0].max() <= horizon_m(2.0)


def test_under_the_ground_nothing_is_seen():
    view = CameraView(scene.camera(away=(0.0, 0.0, 150.0)), FlatGround(200.0), scene.UTM)
    _, mask = rectify(np.ones((1, 480, 640), np.uint8), view, over())
    assert not mask.any()


def test_places_nearer_than_skip_m_are_masked():
    view = scene.view(skip_m=125.0)
    _, mask = rectify(np.ones((480, 640), np.uint8), view, over())
    places = centres(over())
    points = np.stack([*places, view.surface.height(places)])
    away = np.linalg.norm(points - view.eye.position[:, None], axis=0)
    pixels = view.map_to_pixel(places)
    assert np.array_equal(mask.ravel() > 0, inside(pixels, view.size, 0.0) & (away >= 125.0))


def test_no_ground_no_pixel():
    heights = scene.relief()
    heights[40:60, 50:80] = np.nan
    view = scene.view(scene.dem(heights))
    _, mask = rectify(np.ones((480, 640), np.uint8), view, over())
    without = np.isnan(view.surface.height(centres(over())))
    assert without.any()
    assert not mask.ravel()[without].any()
    assert mask.ravel()[~without & inside(view.map_to_pixel(centres(over())), view.size, 1.0)].all()


def test_hidden_ground_is_masked_on_request():
    view = scene.view(scene.dem(scene.relief(walls=15.0)), scene.camera(pitch=45.0))
    for grid in (over(), GRIDS["degrees"]):
        picture = np.ones((480, 640), np.uint8)
        _, whole = rectify(picture, view, grid)
        _, mask = rectify(picture, view, grid, occlusion=True)
        expected = (whole > 0) & ~hidden(view, grid)
        assert 0.02 < 1.0 - expected.sum() / (whole > 0).sum() < 0.6
        assert (expected == (mask > 0)).mean() > 0.998


@pytest.mark.parametrize(
    "dtype",
    [
        np.uint8,
        np.uint16,
        np.int16,
        np.int8,
        np.uint32,
        np.int32,
        np.float16,
        np.float32,
        np.float64,
        np.bool_,
    ],
)
@pytest.mark.parametrize("bands", [1, 3, 4, 7])
def test_types_and_bands_are_kept(dtype, bands):
    view, grid = scene.view(eye=scene.camera((64, 48))), over(resolution=2.0, size=(70, 80))
    random = np.random.default_rng(1).uniform(0, 100, (bands, 48, 64))
    image = random > 50.0 if dtype == np.bool_ else random.astype(dtype)
    values, mask = rectify(image, view, grid, antialias=False)
    assert values.dtype == dtype
    assert values.shape == (bands, 80, 70)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 255}
    reference, _ = rectify(image.astype(np.float64), view, grid, antialias=False)
    if dtype == np.bool_:
        assert (values == (reference >= 0.5)).mean() > 0.98
        return
    # Half a step of rounding, and OpenCV's tables for some types.
    bound = 3.0
    limits = (0.0, np.inf) if np.dtype(dtype).kind == "u" else (-np.inf, np.inf)
    assert np.abs(values - np.clip(reference, *limits)).max() <= bound


def test_values_are_clipped_and_never_wrap():
    view, grid = scene.view(eye=scene.camera((64, 48))), over(resolution=1.0, size=(90, 90))
    board = ((np.indices((48, 64)).sum(axis=0) // 3) % 2).astype(bool)
    for dtype in (np.uint8, np.int8, np.uint16, np.uint32):
        limits = np.iinfo(dtype)
        image = np.where(board, limits.max, limits.min).astype(dtype)[None]
        values, mask = rectify(image, view, grid, **FINE)
        reference, _ = rectify(board[None].astype(np.float64), view, grid, **FINE)
        bright = (reference > 1.0) & (mask > 0)
        assert bright.any()
        assert (values[bright] > 0.99 * limits.max).all()


def test_pixels_without_value_never_leak():
    view, grid = scene.view(eye=scene.camera((64, 48))), over(resolution=0.7, size=(200, 190))
    image = np.full((3, 48, 64), 100, dtype=np.uint8)
    image[:, 20:30, 30:45] = 7
    for options in ({}, {"interpolation": "linear"}, {"interpolation": "nearest"}):
        values, mask = rectify(image, view, grid, nodata=7, **options)
        assert set(np.unique(values[:, mask > 0])) == {100}
        assert set(np.unique(values[:, mask == 0])) == {7}
        pixels = view.map_to_pixel(centres(grid))
        within = inside(pixels, view.size, 0.0)
        col, row = np.where(within, pixels, 0.0).astype(int)
        without = within & (row >= 20) & (row < 30) & (col >= 30) & (col < 45)
        assert (mask.ravel() == 0)[without].mean() > 0.99
        assert (mask.ravel() > 0)[within & ~without].mean() > 0.99


def test_nan_is_no_value_and_means_leave_it_out():
    view, grid = scene.view(eye=scene.camera((256, 192))), over(resolution=6.0, size=(40, 40))
    image = np.full((2, 192, 256), 5.0, dtype=np.float32)
    image[0, ::2, ::2] = np.nan
    values, mask = rectify(image, view, grid)
    assert mask.any()
    assert np.allclose(values[:, mask > 0], 5.0, rtol=0.0, atol=1e-5)
    assert not values[:, mask == 0].any()


@pytest.mark.parametrize("resolution", [0.5, 2.0, 8.0])
def test_an_output_pixel_is_the_mean_of_what_it_covers(resolution):
    """White noise comes out with the deviation of a mean over that many pixels, or little more."""
    view = CameraView(scene.camera((640, 480), pitch=0.0, lens=()), FlatGround(200.0), scene.UTM)
    noise = np.random.default_rng(2).normal(0.0, 1.0, (1, 480, 640)).astype(np.float32)
    grid = over(
        scene.CENTRE + np.array([-35.0, -55.0]), resolution, size=(int(100 / resolution),) * 2
    )
    covered = (resolution * 0.85 * 640 / 120.0) ** 2
    smooth, _ = rectify(noise, view, grid, **FINE)
    sharp, _ = rectify(noise, view, grid, interpolation="cubic")
    assert sharp.std() > 0.6
    assert smooth.std() < 1.9 / np.sqrt(covered)


def test_what_is_wide_one_way_only_is_smoothed_that_way_only():
    """Low over the ground and far away a pixel of the map is wide across and low in the image."""
    view = street(far_m=60.0)
    stripes = np.zeros((2, 200, 300), dtype=np.float32)
    stripes[0, ::2], stripes[1, :, ::2] = 1.0, 1.0
    grid = over(scene.CENTRE + np.array([40.0, 0.0]), 1.0, size=(20, 20))
    values, mask = rectify(stripes, view, grid, **FINE)
    assert (mask > 0).all()
    assert values[0].std() > 0.3
    assert values[1].std() < 0.05


@settings(max_examples=12)
@given(
    col=st.integers(0, 398),
    row=st.integers(0, 358),
    width=st.integers(1, 200),
    height=st.integers(1, 200),
    name=st.sampled_from(["walls", "street"]),
)
def test_windows_are_parts_of_the_whole(col, row, width, height, name):
    rectifier, image, whole = WHOLE[name]
    window = Window(col=col, row=row, width=min(width, 400 - col), height=min(height, 360 - row))
    values, mask = rectifier.window(window, lambda part: image[:, *part.slices])
    assert np.array_equal(mask, whole[1][window.slices])
    assert np.array_equal(values, whole[0][:, *window.slices])


def whole(view, **options):
    width, height = view.size
    image = np.random.default_rng(3).integers(0, 255, (3, height, width), dtype=np.uint8)
    rectifier = Rectifier(georef=view, grid=over(), **options)
    return rectifier, image, rectify(image, view, over(), **FINE, **options)


WHOLE = {
    "walls": whole(scene.view(scene.dem(scene.relief(walls=15.0))), occlusion=True),
    "street": whole(street(far_m=90.0)),
}


def test_only_what_is_needed_is_read():
    view = scene.view(eye=scene.camera((2000, 1500)))
    rectifier = Rectifier(georef=view, grid=over(resolution=0.1, size=(1000, 900)))
    asked = []

    def read(window):
        asked.append(window)
        return np.zeros((1, window.height, window.width), dtype=np.uint8)

    rectifier.window(Window(col=300, row=400, width=64, height=64), read)
    assert 0 < sum(window.width * window.height for window in asked) < 300 * 300
    asked.clear()
    rectifier.window(Window(col=0, row=0, width=1, height=1), read)
    assert sum(window.width * window.height for window in asked) <= 300 * 300


def test_a_vast_image_on_a_small_grid_is_read_in_parts():
    """16000 x 12000 pixels are looked at for one block, 17 million at a time at most."""
    view = CameraView(scene.camera((16_000, 12_000), pitch=10.0), FlatGround(200.0), scene.UTM)
    largest = 0

    def read(window):
        nonlocal largest
        largest = max(largest, window.width * window.height)
        return np.full((1, window.height, window.width), 9, dtype=np.uint8)

    grid = over(scene.CENTRE + np.array([-20.0, -30.0]), 4.0, size=(12, 12))
    values, mask = Rectifier(georef=view, grid=grid).window(
        Window(col=0, row=0, width=12, height=12), read
    )
    assert (mask > 0).sum() > 50
    assert set(np.unique(values[:, mask > 0])) == {9}
    assert 1_000_000 < largest <= 1 << 24


def test_sides_beyond_32767_pixels_are_no_limit():
    """Trap 11: OpenCV counts places in 16 bits."""
    size = Size(40_000, 3)
    whole = Grid((1.0, 0.0, 5e5, 0.0, -1.0, 5e6), size, scene.UTM)
    image = np.arange(3 * 40_000, dtype=np.uint32).reshape(1, 3, -1) % 60_000
    image = image.astype(np.uint16)
    end = Grid((1.0, 0.0, 5e5 + 36_000.0, 0.0, -1.0, 5e6), Size(4000, 3), scene.UTM)
    values, mask = rectify(image, whole, end, interpolation="nearest")
    assert (mask > 0).all()
    assert np.array_equal(values, image[:, :, 36_000:])


def test_wide_lenses_and_panoramas():
    rotation, position = pose_matrix("hpr", (20.0, 60.0, 5.0)), (*scene.CENTRE, 230.0)
    for eye in (
        FisheyeCamera(
            (400, 400),
            focal_px=(120.0, 120.0),
            centre_px=(199.5, 199.5),
            rotation=rotation,
            position=position,
        ),
        PanoramaCamera(
            (720, 360), rotation=pose_matrix("hpr", (20.0, 90.0, 5.0)), position=position
        ),
    ):
        view = CameraView(eye, scene.dem(scene.relief()), scene.UTM, far_m=80.0)
        grid = over()
        expected = view.map_to_pixel(centres(grid))
        values, mask = rectify(coordinates(view.size), view, grid, antialias=False)
        near = np.hypot(*(centres(grid) - scene.CENTRE[:, None])) <= 80.0
        seen = inside(expected, view.size, 4.0) & near
        assert seen.mean() > 0.3
        assert mask.ravel()[seen].all()
        assert not mask.ravel()[~near].any()
        assert np.abs(values.reshape(2, -1) - expected)[:, seen].max() < 0.05


def test_tiny_photos_are_found_between_the_nodes():
    """All of the image falls within a few pixels of a block."""
    view = scene.view(eye=scene.camera((200, 150), pitch=5.0))
    grid = over(resolution=60.0, size=(64, 64))
    _, mask = rectify(np.ones((1, 150, 200), np.uint8), view, grid)
    assert (mask > 0).sum() == inside(view.map_to_pixel(centres(grid)), view.size, 0.0).sum() > 0


def test_a_grid_onto_its_own_grid_is_itself():
    grid = over(size=(150, 90))
    image = np.random.default_rng(4).integers(0, 60_000, (2, 90, 150), dtype=np.uint16)
    values, mask = rectify(image, grid, grid)
    assert np.array_equal(values, image)
    assert (mask == 255).all()


def test_grids_agree_with_gdal():
    source, target = over(size=(150, 140)), in_crs(3857, 0.7, (100, 110))
    rows, cols = np.mgrid[0:140, 0:150]
    image = (100.0 + 50.0 * np.sin(0.1 * cols) * np.cos(0.13 * rows)).astype(np.float32)
    values, mask = rectify(image, source, target, interpolation="linear", antialias=False)
    expected = np.full((110, 100), -1.0, dtype=np.float32)
    rasterio.warp.reproject(
        image,
        expected,
        src_transform=rasterio.Affine(*source.transform),
        src_crs="EPSG:32633",
        dst_transform=rasterio.Affine(*target.transform),
        dst_crs="EPSG:3857",
        init_dest_nodata=False,
        resampling=rasterio.enums.Resampling.bilinear,
        tolerance=0.0,
    )
    within = cv2.erode(mask, np.ones((5, 5), np.uint8)) > 0
    assert within.mean() > 0.3
    assert np.abs(values[0] - expected)[within].max() < 0.15


def test_control_points_place_an_image():
    corners = np.array([[0.0, 100.0, 100.0, 0.0, 50.0], [0.0, 0.0, 80.0, 80.0, 40.0]])
    grid = over(size=(100, 80))
    gcps = Gcps(np.concatenate([corners, grid.pixel_to_map(corners)]), (100, 80), scene.UTM)
    image = np.random.default_rng(5).integers(0, 255, (1, 80, 100), dtype=np.uint8)
    values, mask = rectify(image, gcps, grid)
    within = mask > 0
    assert within.mean() > 0.95
    assert np.abs(values[0].astype(int) - image[0])[within].max() <= 1


def test_a_scene_with_an_rpc_is_placed_on_its_elevation_model(shared):
    path = shared / "data" / "geo" / "orthority" / "tests" / "data" / "rpc" / "qb2_basic1b.tif"
    with rasterio.open(path) as dataset:
        model, size = RpcModel.from_attributes(dataset.rpcs), Size(*dataset.shape[::-1])
    utm = CRS.from_epsg(32735)
    middle = transform(WGS84, utm, [[model.long_off], [model.lat_off]])[:, 0]
    heights = scene.relief((300, 300), height=model.height_off, amplitude=30.0, walls=40.0)
    ground = scene.dem(heights, cell_m=60.0, centre=middle)
    view = Rpc(model, size, ground, utm)
    for crs, code, resolution in ((utm, 32735, 25.0), (WGS84, 4326, 2.5e-4)):
        centre = transform(WGS84, code, [[model.long_off], [model.lat_off]])[:, 0]
        grid = over(centre, resolution, size=(150, 160), crs=crs)
        expected = view.map_to_pixel(transform(crs, utm, centres(grid)))
        values, mask = rectify(coordinates(size), view, grid, antialias=False)
        within = inside(expected, size, 4.0)
        assert within.any()
        assert mask.ravel()[within].all()
        assert np.abs(values.reshape(2, -1) - expected)[:, within].max() < 0.05


def test_readers_and_arrays_are_the_same():
    view, grid = scene.view(eye=scene.camera((64, 48))), over(resolution=2.0, size=(70, 80))
    image = np.random.default_rng(6).integers(0, 255, (3, 48, 64), dtype=np.uint8)

    class Reader:
        def read(self, window):
            return image[:, *window.slices]

    for ours, theirs in zip(rectify(image, view, grid), rectify(Reader(), view, grid), strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(rectify(image[0], view, grid)[0], rectify(image[:1], view, grid)[0])


def test_a_photo_twice_as_large_shows_the_same_places():
    view, grid = scene.view(), over()
    large = view.resized(Size(1280, 960))
    small, _ = rectify(coordinates(view.size), view, grid, antialias=False)
    values, mask = rectify(coordinates(large.size), large, grid, antialias=False)
    within = cv2.erode(mask, np.ones((9, 9), np.uint8)) > 0
    assert np.abs(values - 2.0 * small)[:, within].max() < 0.05


def test_errors_say_what_is_wanted():
    view, grid = scene.view(), over()
    with pytest.raises(ArgumentError, match=r"640 x 480.*resized"):
        rectify(np.zeros((3, 100, 100)), view, grid)
    with pytest.raises(ArgumentError, match="interpolation is one of"):
        rectify(np.zeros((480, 640)), view, grid, interpolation="best")
    with pytest.raises(ArgumentError, match="real numbers"):
        rectify(np.zeros((480, 640), dtype=complex), view, grid)
    with pytest.raises(ArgumentError, match="occlusion"):
        rectify(np.zeros((360, 400)), grid, grid, occlusion=True)
    rectifier = Rectifier(georef=view, grid=grid)
    with pytest.raises(ArgumentError, match="does not lie within"):
        rectifier.window(Window(col=390, row=0, width=20, height=10), lambda _: np.zeros((1, 1, 1)))
    with pytest.raises(ImageError, match="was asked for"):
        rectifier.window(
            Window(col=200, row=180, width=20, height=10), lambda _: np.zeros((1, 1, 1))
        )


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "float32", "float64"])
def test_linear_is_linear_for_all_types(dtype, bands):
    """OpenCV by itself places pixels of some types, and of two bands, to 1/32 pixel."""
    ramp = np.tile(np.arange(40) * 512, (bands, 30, 1)).astype(dtype)
    source = Grid((1.0, 0.0, 500_000.0, 0.0, -1.0, 5_000_000.0), Size(40, 30), UTM)
    grid = Grid((0.37, 0.0, 500_002.1, 0.0, -0.37, 4_999_997.0), Size(90, 60), UTM)
    array, mask = rectify(ramp, source, grid)
    cols = source.map_to_pixel(grid.pixel_to_map(np.stack([np.arange(90) + 0.5, np.full(90, 9.0)])))
    assert mask.all()
    assert np.abs(array - 512 * (cols[0] - 0.5)).max() <= 1.0


def test_masked_pixels_take_no_part():
    picture = np.full((3, 40, 50), 7, dtype=np.uint8)
    mask = np.zeros((40, 50), dtype=bool)
    mask[10:20, 10:30] = True
    picture[:, mask] = 250
    source = Grid((1.0, 0.0, 500_000.0, 0.0, -1.0, 5_000_000.0), Size(50, 40), UTM)
    whole = Window(col=0, row=0, width=100, height=80)
    for interpolation in ("nearest", "linear", "cubic"):
        rectifier = Rectifier(
            georef=source, grid=source.resized(Size(100, 80)), interpolation=interpolation
        )
        array, seen = rectifier.window(
            whole,
            lambda part: np.ma.MaskedArray(
                picture[:, *part.slices], np.stack([mask[part.slices]] * 3)
            ),
        )
        np.testing.assert_array_equal(seen == 0, mask.repeat(2, axis=0).repeat(2, axis=1))
        assert (array[:, seen > 0] == 7).all()
