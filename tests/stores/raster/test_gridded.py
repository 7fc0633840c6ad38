"""Rasters on other grids: closed forms, GDAL's warper and the whole raster as judges."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from rasterio.warp import Resampling, reproject

from attachtrans.errors import ArgumentError, CrsError
from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.gridding import Gridding, target_grid
from attachtrans.geo.ground import FlatGround
from attachtrans.geo.view import Gcps, Grid
from attachtrans.image import enlarged
from attachtrans.stores.raster import open_raster
from attachtrans.stores.raster.gridded import gridded, placed
from attachtrans.types import Size, Window
from tests.stores.raster.making import CELL, TRANSFORM, UTM, ArrayRaster, make_file

DTYPES = ("uint8", "int8", "uint16", "int16", "int32", "float32", "float64")
SIZE = Size(150, 110)


def noise(dtype="uint8", bands=2, size=SIZE):
    rng = np.random.default_rng(7)
    shape = (bands, size.height, size.width)
    if dtype.startswith("float"):
        return rng.normal(0.0, 1e3, shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def holes(size=SIZE):
    rng = np.random.default_rng(8)
    mask = np.where(rng.random((size.height, size.width)) > 0.2, 255, 0).astype(np.uint8)
    mask[30:60, 40:80] = 0
    return mask


def lambert(raster):
    return target_grid(placed(raster), Gridding(crs=CRS(3035)))


_SOURCE = ArrayRaster(noise("int16"), holes(), nodata=-7)
CUBIC = gridded(_SOURCE, lambert(_SOURCE), resampling="cubic")
WHOLE = CUBIC.read(), CUBIC.read_mask()


def places(grid, target):
    """(2, height, width) pixels of one grid at the pixel centres of another, by pyproj."""
    cols, rows = np.meshgrid(
        np.arange(target.size.width) + 0.5, np.arange(target.size.height) + 0.5
    )
    on_map = target.pixel_to_map(np.stack([cols.ravel(), rows.ravel()]))
    moved = Transformer.from_crs(target.crs, grid.crs, always_xy=True).transform(*on_map)
    return grid.map_to_pixel(np.array(moved)).reshape(2, *cols.shape)


def valid_at(mask, at):
    """Whether the pixel that a place lies in has data; and how far from a border it lies."""
    cols, rows = np.floor(at).astype(int)
    inside = (cols >= 0) & (cols < mask.shape[1]) & (rows >= 0) & (rows < mask.shape[0])
    found = np.zeros(cols.shape, dtype=bool)
    found[inside] = mask[rows[inside], cols[inside]] > 0
    return found, np.abs(at - np.rint(at)).min(axis=0)


def bilinear(values, mask, at):
    """Weighted means of the four pixels about a place, those without data left out."""
    x, y = at - 0.5
    col, row = np.floor(x).astype(int), np.floor(y).astype(int)
    top, weight = np.zeros(x.shape), np.zeros(x.shape)
    height, width = values.shape
    for down, across in product((0, 1), (0, 1)):
        c, r = col + across, row + down
        known = (c >= 0) & (c < width) & (r >= 0) & (r < height)
        c, r = c.clip(0, width - 1), r.clip(0, height - 1)
        share = np.abs(1 - across - (x - col)) * np.abs(1 - down - (y - row))
        share = share * known * (mask[r, c] > 0)
        top += share * np.where(mask[r, c] > 0, values[r, c], 0)
        weight += share
    return top / np.where(weight > 0, weight, 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_pixels_with_data_are_blended(dtype):
    values, mask = noise(dtype), holes()
    raster = ArrayRaster(values, mask)
    grid = lambert(raster)
    found = gridded(raster, grid)
    at = places(placed(raster), grid)
    valid, border = valid_at(mask, at)
    got = found.read_mask() > 0
    # Places are rounded to 1/512 pixel.
    assert not (got != valid)[border > 1 / 500].any()
    assert valid.any()
    assert not valid.all()
    span = float(values.max()) - float(values.min())
    both = got & valid
    for band, read in zip(values.astype(np.float64), found.read(), strict=True):
        off = np.abs(read - bilinear(band, mask, at))[both]
        assert off.max() <= 0.5 + span / 250
    assert (found.read()[:, ~got] == 0).all()


def test_nearest_is_gdals(tmp_path: Path):
    values, mask = noise("uint16"), holes()
    path = make_file(tmp_path / "a.tif", values, mask=mask)
    with gridded(
        open_raster(path), grid := lambert(ArrayRaster(values)), resampling="nearest"
    ) as raster:
        got, seen = raster.read(), raster.read_mask()
        assert raster.crs == CRS(3035)
    expected = np.zeros_like(got)
    shown = np.zeros_like(seen)
    affine = rasterio.Affine(*(getattr(grid.affine, name) for name in "abcdef"))
    with rasterio.open(path) as file:
        source = rasterio.Affine(*(getattr(TRANSFORM, name) for name in "abcdef"))
        for array, out in ((file.read(), expected), (file.dataset_mask(), shown)):
            reproject(
                array, out, src_transform=source, src_crs=file.crs, dst_transform=affine,
                dst_crs="EPSG:3035", resampling=Resampling.nearest,
            )  # fmt: skip
    # GDAL's way of pixels is off by up to an eighth of one.
    _, border = valid_at(mask, places(placed(ArrayRaster(values)), grid))
    sure = border > 0.13
    assert sure.mean() > 0.4
    np.testing.assert_array_equal((seen > 0)[sure], (shown > 0)[sure])
    np.testing.assert_array_equal(got[:, sure & (seen > 0)], expected[:, sure & (seen > 0)])


@settings(max_examples=25)
@given(st.integers(0, 140), st.integers(0, 100), st.integers(1, 60), st.integers(1, 60))
def test_windows_are_parts_of_the_whole(col, row, width, height):
    found = CUBIC
    window = Window(
        col=col,
        row=row,
        width=min(width, found.size.width - col),
        height=min(height, found.size.height - row),
    )
    np.testing.assert_array_equal(found.read(window), WHOLE[0][:, *window.slices])
    np.testing.assert_array_equal(found.read_mask(window), WHOLE[1][window.slices])
    np.testing.assert_array_equal(found.read(window, bands=[2]), WHOLE[0][1:, *window.slices])


def test_without_data_is_nodata():
    values, mask = WHOLE
    assert (values[:, mask == 0] == -7).all()


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
def test_a_part_is_its_own_pixels(resampling):
    raster = ArrayRaster(noise("int32"), holes(), nodata=5)
    grid = Grid((CELL, 0, 400_000 + 10 * CELL, 0, -CELL, 5_200_000 - 20 * CELL), Size(70, 50), UTM)
    found = gridded(raster, grid, resampling=resampling)
    np.testing.assert_array_equal(found.read(), raster.values[:, 20:70, 10:80])
    np.testing.assert_array_equal(found.read_mask(), raster.mask[20:70, 10:80])
    window = Window(col=3, row=4, width=5, height=6)
    np.testing.assert_array_equal(found.read(window, bands=[2]), raster.values[1:, 24:30, 13:18])
    assert gridded(raster, placed(raster)) is raster


@pytest.mark.parametrize("shift", [(-30, -20), (100, 80), (-400, 0), (0, 400)])
def test_beyond_the_raster_there_is_no_data(shift):
    raster = ArrayRaster(noise(), holes(), nodata=3)
    col, row = shift
    start = 400_000 + col * CELL, 5_200_000 - row * CELL
    found = gridded(raster, Grid((CELL, 0, start[0], 0, -CELL, start[1]), Size(200, 150), UTM))
    padded = np.pad(raster.values, ((0, 0), (500, 600), (500, 600)), constant_values=3)
    mask = np.pad(raster.mask, ((500, 600), (500, 600)))
    box = np.s_[500 + row : 650 + row, 500 + col : 700 + col]
    np.testing.assert_array_equal(found.read(), padded[:, *box])
    np.testing.assert_array_equal(found.read_mask(), mask[box])


@pytest.mark.parametrize("factor", [2.0, 4.0, 1.5])
def test_enlarged_for_a_net_as_photos_are(factor):
    raster = ArrayRaster(noise())
    found = gridded(raster, target_grid(placed(raster), enlarge=factor))
    expected = enlarged(raster.values, factor)
    assert np.abs(found.read().astype(int) - expected).max() <= 1
    assert (found.read_mask() == 255).all()
    corners = np.array([[0.0, found.size.width], [0.0, found.size.height]])
    np.testing.assert_allclose(
        Grid(found.transform, found.size, UTM).pixel_to_map(corners),
        placed(raster).pixel_to_map(np.array([[0.0, SIZE.width], [0.0, SIZE.height]])),
        rtol=0, atol=1e-9,
    )  # fmt: skip


def test_nan_and_alpha_are_no_data():
    values = noise("float32")
    values[:, 10:20, 10:20] = np.nan
    raster = ArrayRaster(values)
    found = gridded(raster, target_grid(placed(raster), enlarge=2.0))
    read, mask = found.read(), found.read_mask()
    assert (mask[20:40, 20:40] == 0).all()
    assert (mask == 0).sum() == 400
    assert np.isfinite(read[:, mask > 0]).all()
    alpha = holes()
    rgba = np.concatenate([noise(bands=3), alpha[None]])
    rgba[:3, alpha == 0] = 255
    rgba[:3, alpha > 0] //= 2
    raster = ArrayRaster(rgba, alpha, colours=("red", "green", "blue", "alpha"))
    found = gridded(raster, target_grid(placed(raster), enlarge=3.0))
    mask = found.read_mask()
    np.testing.assert_array_equal(mask, alpha.repeat(3, axis=0).repeat(3, axis=1))
    assert found.read()[:3, mask > 0].max() <= 127


def test_coarser_cells_are_means_from_overviews(tmp_path: Path):
    size = Size(1024, 768)
    values = noise(bands=1, size=size)
    path = make_file(tmp_path / "a.tif", values, overviews=[2, 4, 8])
    with open_raster(path) as image:
        grid = target_grid(placed(image), Gridding(cell_size=(5 * CELL, 5 * CELL)))
        found = gridded(image, grid)
        exact = gridded(ArrayRaster(values), grid)
        assert found._reduced.size == Size(256, 192)
        off = found.read().astype(float) - exact.read()
        assert np.abs(off).mean() < 12
        assert gridded(image, grid, resampling="nearest")._reduced is None
        found.close()


def test_memory_is_that_of_a_part():
    size = Size(3000, 2000)
    raster = ArrayRaster(noise(bands=1, size=size))
    found = gridded(raster, target_grid(placed(raster), Gridding(crs=CRS(3857))))
    found.read(Window(col=1000, row=900, width=128, height=128))
    assert raster.largest_read < 220 * 220


def test_many_threads_read_the_same():
    found = CUBIC
    windows = [
        Window(col=c, row=r, width=30, height=30) for c in range(0, 120, 15) for r in (0, 40)
    ]
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda w: (found.read(w), found.read_mask(w)), windows * 3))
    for window, (values, mask) in zip(windows * 3, read, strict=True):
        np.testing.assert_array_equal(values, WHOLE[0][:, *window.slices])
        np.testing.assert_array_equal(mask, WHOLE[1][window.slices])


def test_control_points_place_a_raster():
    raster = ArrayRaster(noise(), holes(), transform=None)
    pixels = np.array([[0.0, 150.0, 0.0, 150.0, 75.0], [0.0, 0.0, 110.0, 110.0, 55.0]])
    georef = Gcps(
        np.concatenate([pixels, TRANSFORM.to_map(pixels)]), SIZE, UTM, method="polynomial1"
    )
    grid = target_grid(Grid(TRANSFORM, SIZE, UTM), Gridding(crs=CRS(3035)))
    found = gridded(raster, grid, georef)
    flat = gridded(ArrayRaster(raster.values, raster.mask), grid)
    same = found.read_mask() == flat.read_mask()
    assert same.mean() > 0.999
    assert np.abs(found.read().astype(int) - flat.read())[:, same].max() <= 2
    with pytest.raises(CrsError, match="does not say where it lies"):
        gridded(raster, grid)


def test_a_scene_lies_where_gdal_puts_it(shared: Path):
    path = next((shared / "data").rglob("qb2*.tif"), None)
    if path is None:
        pytest.skip("needs the QuickBird scene")
    with open_raster(path) as image:
        utm = CRS(32734)
        georef = image.georef(FlatGround(200.0), crs=utm)
        base = target_grid(georef)
        middle = base.pixel_to_map(np.array([[base.size.width / 2], [base.size.height / 2]]))[:, 0]
        cell = base.affine.a
        grid = Grid((cell, 0, middle[0], 0, -cell, middle[1]), Size(64, 48), utm)
        found = gridded(image, grid, georef, resampling="bilinear")
        got, mask = found.read(), found.read_mask()
        expected = np.zeros((image.bands, 48, 64), dtype=image.dtype)
        affine = rasterio.Affine(cell, 0, middle[0], 0, -cell, middle[1])
        with rasterio.open(path) as file:
            reproject(
                file.read(), expected, rpcs=file.rpcs, src_crs="EPSG:4326", dst_transform=affine,
                dst_crs=utm.to_wkt(), resampling=Resampling.bilinear, RPC_HEIGHT=200,
            )  # fmt: skip
    assert (mask == 255).all()
    spread = float(np.ptp(expected))
    assert np.abs(got.astype(float) - expected).mean() < 0.02 * spread


def test_fingerprints_tell_grids_apart():
    raster = ArrayRaster(noise())
    grids = [target_grid(placed(raster), enlarge=factor) for factor in (2.0, 3.0)]
    marks = {
        gridded(raster, grid, resampling=how).fingerprint()
        for grid in grids
        for how in ("nearest", "cubic")
    }
    assert len(marks) == 4
    assert gridded(raster, grids[0]).fingerprint() == gridded(raster, grids[0]).fingerprint()


def test_errors_say_what_is_wanted():
    raster = ArrayRaster(noise())
    with pytest.raises(ArgumentError, match="nearest, bilinear, cubic"):
        gridded(raster, placed(raster), resampling="lanczos")
    with pytest.raises(ArgumentError, match="pixels, its georeference"):
        gridded(raster, placed(raster), Grid(TRANSFORM, Size(3, 3), UTM))
    found = gridded(raster, lambert(raster))
    with pytest.raises(ArgumentError, match="reaches out"):
        found.read(Window(col=0, row=0, width=1000, height=1))
    found.close()
    assert raster.is_closed
    with pytest.raises(CrsError, match="no transform or no CRS"):
        placed(ArrayRaster(noise(), crs=None))
    assert isinstance(placed(raster).affine, PixelToMap)
