from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.transform import GCPTransformer
from scipy.interpolate import RBFInterpolator

from attachtrans.errors import ArgumentError, GeorefError
from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.geo.ground import FlatGround
from attachtrans.geo.rotation import pose_matrix
from attachtrans.geo.view import CameraView, Gcps
from attachtrans.types import Size

SIZE = Size(900, 600)
UTM = "EPSG:32633"
PLACE = np.array([[412_000.0], [5_310_000.0]])


def grid(count=5, size=SIZE):
    cols, rows = np.meshgrid(np.linspace(0, size[0], count), np.linspace(0, size[1], count))
    return np.stack([cols.ravel(), rows.ravel()])


def bent(pixels, amount=1e-5):
    """A map position that no affine transform gives."""
    col, row = pixels
    x = 0.5 * col + 0.02 * row + amount * col * row
    y = -0.5 * row + 0.01 * col - amount * (col**2 - 0.5 * row**2)
    return np.stack([x, y]) + PLACE


def made(pixels, xy, method="auto", size=SIZE, crs=UTM):
    return Gcps(np.concatenate([pixels, xy]), size, crs, method=method)


def gdal(pixels, xy, **options):
    points = [
        GroundControlPoint(row=row, col=col, x=x, y=y)
        for col, row, x, y in np.concatenate([pixels, xy]).T
    ]
    return GCPTransformer(points, **options)


@pytest.mark.parametrize("count", [2, 4])
def test_unasked_a_raster_lies_where_gdal_shows_it(count):
    """4 points: the first order; 16: the second, which does not go through all points."""
    pixels = grid(count)
    xy = bent(pixels) + np.random.default_rng(0).normal(0, 2, pixels.shape)
    places = grid(7)
    with gdal(pixels, xy) as transformer:
        expected = np.stack(transformer.xy(places[1], places[0], offset="ul"))
    assert np.abs(made(pixels, xy).pixel_to_map(places) - expected).max() < 1e-6


def test_splines_are_scipys():
    pixels = grid(5)
    xy = bent(pixels) + np.random.default_rng(0).normal(0, 3, pixels.shape)
    places = grid(8)
    expected = RBFInterpolator(pixels.T, xy.T, kernel="thin_plate_spline")(places.T).T
    view = made(pixels, xy, "tps")
    assert np.abs(view.pixel_to_map(places) - expected).max() < 1e-6
    assert view.residuals.rms_px < 1e-6
    assert view.residuals.rms_map < 1e-6


@pytest.mark.parametrize(
    "method", ["auto", "tps", "homography", "polynomial1", "polynomial2", "polynomial3"]
)
@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_pixels_go_out_and_come_back(method, seed):
    pixels = grid(4)
    xy = bent(pixels) + np.random.default_rng(seed).normal(0, 1, pixels.shape)
    view = made(pixels, xy, method)
    places = grid(21)
    assert np.abs(view.map_to_pixel(view.pixel_to_map(places)) - places).max() < 1e-6


@pytest.mark.parametrize("order", [1, 2, 3])
def test_polynomials_are_found_again(order):
    pixels = grid(5)
    col, row = pixels
    terms = [1e-3 ** (i + j - 1) * (i - j + 0.4) * col**i * row**j
             for i in range(order + 1) for j in range(order + 1 - i)]  # fmt: skip
    xy = np.stack([sum(terms), row - 0.01 * sum(terms)]) + PLACE
    view = made(pixels, xy, f"polynomial{order}")
    assert view.residuals.rms_map < 1e-7
    assert view.residuals.rms_px < 1e-6


def facade():
    """A photo of level ground, its horizon in the picture."""
    camera = PerspectiveCamera(
        SIZE,
        focal_px=(800.0, 800.0),
        centre_px=(449.5, 299.5),
        rotation=pose_matrix("hpr", (30.0, 80.0, 3.0)),
        position=(*PLACE[:, 0], 20.0),
    )
    return CameraView(camera, FlatGround(0.0), UTM)


def test_a_plane_in_perspective_is_a_homography():
    photo = facade()
    pixels = np.array([[50.0, 850.0, 800.0, 100.0, 400.0], [400.0, 350.0, 590.0, 580.0, 450.0]])
    view = made(pixels, photo.pixel_to_map(pixels), "homography")
    places = grid(25)
    expected = photo.pixel_to_map(places)
    found = view.pixel_to_map(places)
    sky = np.isnan(expected[0])
    assert sky.any()
    assert np.isnan(found[0, sky]).all()
    near = np.hypot(*(expected - PLACE)) < 500.0
    assert np.abs(found - expected)[:, near].max() < 1e-6
    behind = PLACE - 30.0 * np.array([[np.sin(0.52)], [np.cos(0.52)]])
    assert np.isnan(view.map_to_pixel(behind)).all()
    assert view.residuals.rms_px < 1e-6


def test_too_many_points_are_fitted_by_least_squares_as_opencv_does():
    photo = facade()
    rng = np.random.default_rng(3)
    pixels = np.stack([rng.uniform(0, 900, 30), rng.uniform(330, 600, 30)])
    xy = photo.pixel_to_map(pixels) + rng.normal(0, 0.2, (2, 30))
    view = made(pixels, xy, "homography")
    matrix, _ = cv2.findHomography(pixels.T, (xy - PLACE).T, 0)
    moved = cv2.perspectiveTransform(pixels.T[:, None], matrix)[:, 0].T + PLACE
    theirs = np.sqrt(((moved - xy) ** 2).sum(axis=0).mean())
    assert view.residuals.rms_map <= theirs + 1e-6
    assert np.abs(view.pixel_to_map(pixels) - moved).max() < 0.01
    assert view.residuals.map == pytest.approx(view.pixel_to_map(pixels) - xy, abs=1e-9)


@pytest.mark.parametrize("method", ["auto", "tps", "homography", "polynomial3"])
@pytest.mark.parametrize("factor", [2, 4, 0.5])
def test_g10_a_larger_picture_lies_on_the_same_ground(method, factor):
    pixels = grid(4)
    xy = bent(pixels) + np.random.default_rng(0).normal(0, 1, pixels.shape)
    view = made(pixels, xy, method)
    larger = view.resized((int(SIZE[0] * factor), int(SIZE[1] * factor)))
    back = larger.map_to_pixel(view.pixel_to_map(grid(9))) / factor
    assert np.abs(back - grid(9)).max() < 1e-6
    with gdal(larger.points[:2], larger.points[2:]) as transformer:
        again = transformer.xy(*(grid(9) * factor)[::-1], offset="ul")
    with gdal(pixels, xy) as transformer:
        before = transformer.xy(*grid(9)[::-1], offset="ul")
    assert np.abs(np.subtract(again, before)).max() < 1e-6


def test_the_antimeridian_is_no_border():
    pixels = grid(4)
    lonlat = np.stack([179.9 + pixels[0] / 4000.0, -17.0 - pixels[1] / 4000.0])
    lonlat[0] = (lonlat[0] + 180.0) % 360.0 - 180.0
    view = made(pixels, lonlat, crs="EPSG:4326")
    assert np.abs(view.pixel_to_map(pixels) - lonlat).max() < 1e-9
    assert np.abs(view.map_to_pixel(lonlat) - pixels).max() < 1e-6


@pytest.mark.parametrize(
    ("method", "count"),
    [("homography", 3), ("tps", 2), ("polynomial1", 2), ("polynomial2", 5), ("polynomial3", 9)],
)
def test_too_few_points_are_refused(method, count):
    pixels = grid(4)[:, [0, 3, 12, 15, 5, 6, 9, 10, 1, 2]][:, :count]
    with pytest.raises(GeorefError, match=f"{count + 1} or more"):
        made(pixels, bent(pixels), method)


@pytest.mark.parametrize("method", ["homography", "tps", "polynomial1", "auto"])
def test_points_in_a_line_are_refused(method):
    pixels = np.stack([np.linspace(0, 900, 5), np.linspace(0, 600, 5)])
    with pytest.raises(GeorefError, match="line"):
        made(pixels, bent(pixels), method)


def test_a_point_given_twice_is_refused_where_it_cannot_be_met():
    pixels = grid(3)[:, [0, 1, 2, 3, 4, 5, 6, 7, 8, 4]]
    xy = bent(pixels)
    xy[:, -1] += 5.0
    with pytest.raises(GeorefError, match="one place"):
        made(pixels, xy, "tps")
    assert made(pixels, xy).residuals.rms_map > 1.0


def test_what_is_no_picture_of_a_plane_is_refused():
    pixels = np.array([[0.0, 900.0, 900.0, 0.0], [0.0, 0.0, 600.0, 600.0]])
    with pytest.raises(GeorefError, match="horizon"):
        made(pixels, bent(pixels)[:, [0, 1, 3, 2]], "homography")


@pytest.mark.parametrize(
    ("points", "method", "word"),
    [
        (np.zeros((3, 5)), "auto", "shape"),
        (np.full((4, 5), np.nan), "auto", "finite"),
        (np.zeros((4, 5)), "cubic", "method"),
    ],
)
def test_nonsense_is_refused(points, method, word):
    with pytest.raises(ArgumentError, match=word):
        Gcps(points, SIZE, UTM, method=method)
