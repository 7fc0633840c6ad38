"""Grids by environments: GDAL's suggestion, whole cells and corners as judges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

from attachtrans.errors import ArgumentError, CrsError
from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.gridding import Gridding, Lattice, moved_bounds, same_crs, target_grid
from attachtrans.geo.view import Gcps, Grid
from attachtrans.types import Size

UTM = CRS(32633)
NATIVE = Grid((0.5, 0.0, 400_000.0, 0.0, -0.5, 5_200_000.0), Size(900, 700), UTM)
TURNED = Grid(
    (0.5 * np.cos(0.5), 0.5 * np.sin(0.5), 4e5, 0.5 * np.sin(0.5), -0.5 * np.cos(0.5), 5.2e6),
    Size(900, 700),
    UTM,
)


def numbers(grid):
    return np.array([getattr(grid.affine, name) for name in "abcdef"])


def bounds(grid):
    (left, right), (bottom, top) = grid.pixel_to_map(
        np.array([[0.0, grid.size.width], [grid.size.height, 0.0]])
    )
    return left, bottom, right, top


@pytest.mark.parametrize("native", [NATIVE, TURNED], ids=["north-up", "turned"])
def test_nothing_asked_is_the_rasters_own_grid(native):
    assert target_grid(native) is native
    larger = target_grid(native, Gridding(), enlarge=4.0)
    assert larger.size == Size(3600, 2800)
    corners = np.array([[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    np.testing.assert_allclose(
        larger.pixel_to_map(corners * np.array([[3600], [2800]])),
        native.pixel_to_map(corners * np.array([[900], [700]])),
        rtol=0,
        atol=1e-9,
    )


@pytest.mark.parametrize("code", [3035, 4326, 3857, 32632, 32633])
@pytest.mark.parametrize("native", [NATIVE, TURNED], ids=["north-up", "turned"])
def test_another_system_is_gdals_suggestion(native, code):
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=900,
            height=700,
            count=1,
            dtype="uint8",
            crs="EPSG:32633",
            transform=Affine(*numbers(native)),
            sparse_ok=True,
        ):
            pass
        with memory.open() as file, WarpedVRT(file, crs=f"EPSG:{code}") as vrt:
            expected, size = np.array(tuple(vrt.transform)[:6]), (vrt.width, vrt.height)
    grid = target_grid(native, Gridding(crs=CRS(code)))
    assert grid.size == size
    np.testing.assert_allclose(numbers(grid), expected, rtol=1e-10, atol=1e-6)


def test_a_cell_size_counts_from_the_top_left_corner():
    grid = target_grid(NATIVE, Gridding(cell_size=(0.3, 0.7)), enlarge=4.0)
    np.testing.assert_allclose(numbers(grid), (0.3, 0, 400_000, 0, -0.7, 5_200_000))
    assert grid.size == Size(1500, 500)


def test_a_cell_size_that_divides_makes_no_further_cell():
    assert target_grid(NATIVE, Gridding(cell_size=(0.1, 0.1))).size == Size(4500, 3500)


@given(
    st.floats(-50, 440),
    st.floats(-50, 340),
    st.floats(0.01, 300),
    st.floats(0.01, 300),
    st.sampled_from([1.0, 2.0, 4.0]),
)
def test_an_extent_grows_to_the_rasters_own_cells(left, down, width, height, enlarge):
    low = np.array([400_000 + left, 5_200_000 - 350 + down])
    high = low + np.array([width, height])
    if (high <= [400_000, 5_199_650]).any():
        return
    grid = target_grid(NATIVE, Gridding(extent=(*low, *high)), enlarge=enlarge)
    found = np.array(bounds(grid))
    assert (found[:2] <= low + 1e-6).all()
    assert (found[2:] >= high - 1e-6).all()
    assert (np.abs(found - [*low, *high]) < 0.5 + 1e-6).all()
    at = NATIVE.map_to_pixel(found.reshape(2, 2).T)
    np.testing.assert_allclose(at, np.rint(at), atol=1e-6)
    np.testing.assert_allclose(grid.affine.a, 0.5 / enlarge)


def test_an_extent_in_another_system():
    lonlat = Transformer.from_crs(UTM, 4326, always_xy=True)
    box = lonlat.transform_bounds(400_010, 5_199_800, 400_050, 5_199_900, densify_pts=50)
    grid = target_grid(NATIVE, Gridding(extent=box, extent_crs=CRS(4326)))
    found = np.array(bounds(grid))
    back = Transformer.from_crs(4326, UTM, always_xy=True).transform_bounds(*box, densify_pts=50)
    assert (found[:2] <= np.array(back[:2]) + 1e-6).all()
    assert (found[2:] >= np.array(back[2:]) - 1e-6).all()
    assert (np.abs(found - back) < 0.51).all()


def test_an_extent_and_a_system_begin_where_they_are_asked_to():
    wish = Gridding(
        crs=CRS(3035), extent=(4_601_800, 2_654_800, 4_602_000, 2_655_000), cell_size=(10, 10)
    )
    grid = target_grid(NATIVE, wish)
    assert bounds(grid) == wish.extent
    assert grid.size == Size(20, 20)


@given(
    st.sampled_from([0.25, 0.5, 1.0, 3.0, 7.5]),
    st.floats(-20, 20),
    st.floats(-20, 20),
    st.sampled_from([None, 0.2, 2.0, 5.0]),
)
def test_a_snap_raster_holds_the_lower_left_corner(step, across, down, cell):
    snap = Lattice(
        transform=PixelToMap(a=step, b=0, c=300_000 + across, d=0, e=-step, f=5_300_000 + down)
    )
    asked = Gridding(snap=snap, cell_size=None if cell is None else (cell, cell))
    grid = target_grid(NATIVE, asked)
    left, bottom, right, top = bounds(grid)
    for offset in (left - snap.transform.c, bottom - snap.transform.f):
        assert abs(offset / step - round(offset / step)) < 1e-5
    assert 400_000 - step - 1e-5 < left <= 400_000 + 1e-5
    assert 5_199_650 - step - 1e-5 < bottom <= 5_199_650 + 1e-5
    assert right >= 400_450 - 1e-5
    assert top >= 5_200_000 - 1e-5
    assert right - 400_450 < (cell or 0.5) + 1e-5
    np.testing.assert_allclose(grid.affine.a, cell or 0.5)


def test_turned_rasters_become_north_up_where_something_is_asked():
    grid = target_grid(TURNED, Gridding(cell_size=(1.0, 1.0)))
    assert grid.affine.b == grid.affine.d == 0.0
    corners = TURNED.pixel_to_map(np.array([[0.0, 900, 0, 900], [0.0, 0, 700, 700]]))
    left, bottom, right, top = bounds(grid)
    assert left <= corners[0].min() + 1e-6
    assert right >= corners[0].max() - 1e-6
    assert bottom <= corners[1].min() + 1.0
    assert top >= corners[1].max() - 1e-6


def test_across_the_antimeridian():
    native = Grid((10.0, 0, 700_000, 0, -10.0, 7_900_000), Size(1500, 900), CRS(32601))
    west = Grid((10.0, 0, 270_000, 0, -10.0, 7_900_000), Size(1500, 900), CRS(32601))
    for grid in (target_grid(one, Gridding(crs=CRS(4326))) for one in (native, west)):
        left, _, right, _ = bounds(grid)
        assert right - left < 1.0
    left, _, right, _ = bounds(target_grid(west, Gridding(crs=CRS(4326))))
    extent = (left - 360.0, 71.0, right - 360.0, 71.1)
    asked = target_grid(west, Gridding(crs=CRS(4326), extent=extent))
    np.testing.assert_allclose(bounds(asked)[0], left)


def test_control_points_get_a_grid():
    pixels = np.array([[0.0, 900, 0, 900, 450], [0.0, 0, 700, 700, 350]])
    points = np.concatenate([pixels, NATIVE.pixel_to_map(pixels)])
    georef = Gcps(points, Size(900, 700), UTM)
    grid = target_grid(georef)
    np.testing.assert_allclose(bounds(grid), bounds(NATIVE), atol=0.5)
    fine = target_grid(georef, Gridding(cell_size=(0.25, 0.25)))
    assert fine.affine.a == 0.25
    assert target_grid(georef, enlarge=2.0).size == Size(grid.size.width * 2, grid.size.height * 2)


def test_boxes_move():
    assert moved_bounds((0, 1, 2, 3), UTM, UTM) == (0, 1, 2, 3)
    box = moved_bounds((400_000, 5_199_650, 400_450, 5_200_000), UTM, CRS(4326))
    expected = Transformer.from_crs(UTM, 4326, always_xy=True).transform_bounds(
        400_000, 5_199_650, 400_450, 5_200_000, densify_pts=127
    )
    np.testing.assert_allclose(box, expected, atol=1e-9)


def test_systems_are_the_same_whatever_their_axes():
    assert same_crs(CRS(4326), CRS("OGC:CRS84"))
    assert same_crs(CRS("EPSG:32633+3855"), UTM)
    assert not same_crs(UTM, CRS(32632))


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"cell_size": (0.0, 1.0)}, "cell size"),
        ({"cell_size": (float("nan"), 1.0)}, "cell size"),
        ({"extent": (1, 2, 0, 3)}, "xmin, ymin"),
        ({"extent": (0, 0, 1, 1)}, "does not touch the raster"),
        ({"cell_size": (1e-6, 1e-6)}, "larger cell size"),
        (
            {"snap": Lattice(transform=NATIVE.affine, crs=CRS(32632))},
            "one coordinate system only",
        ),
    ],
)
def test_what_makes_no_grid_is_refused(wish, words):
    with pytest.raises(ArgumentError, match=words):
        target_grid(NATIVE, Gridding(**wish))


def test_other_refusals():
    with pytest.raises(ArgumentError, match="turned"):
        Lattice(transform=TURNED.affine)
    with pytest.raises(ArgumentError, match="more than anybody wants"):
        target_grid(Grid(NATIVE.affine, Size(1 << 20, 1 << 20), UTM), enlarge=16.0)
    polar = Grid((1.0, 0, 0, 0, -1.0, 100), Size(10, 10), CRS(3413))
    with pytest.raises((ArgumentError, CrsError)):
        target_grid(polar, Gridding(extent=(0, 0, 1, 1), crs=UTM))
