"""Masks: rasterio over the whole raster, and shapely at pixel centres, as judges."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS
from rasterio.features import rasterize
from rasterio.transform import Affine

from attachtrans.errors import ArgumentError, CrsError, SourceError
from attachtrans.geo.frame import transform
from attachtrans.geo.gridding import Gridding, target_grid
from attachtrans.geo.view import Gcps, Grid
from attachtrans.stores.raster.gridded import placed
from attachtrans.stores.raster.masking import masked, open_mask
from attachtrans.types import Size, Window
from tests.stores.raster.making import TRANSFORM, UTM, ArrayRaster, make_file

SIZE = Size(160, 120)
GRID = Grid(TRANSFORM, SIZE, UTM)


def raster(mask=None, **kwargs):
    return ArrayRaster(np.ones((1, SIZE.height, SIZE.width), np.uint8), mask, **kwargs)


def stars(count=40, seed=1, crs=UTM):
    """Polygons over the raster, holes and crossing lines among them, in a system."""
    rng = np.random.default_rng(seed)
    shapes = []
    for _ in range(count):
        centre = np.array([400_000, 5_199_940]) + rng.random(2) * [80, 60]
        angles = np.sort(rng.random(9)) * 2 * np.pi
        reach = rng.uniform(1, 9, 9)[:, None]
        ring = centre + reach * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        shapes.append(shapely.Polygon(ring, [centre + (ring - centre) * 0.3]))
    corners = [(10.3, 10.1), (30.7, 30.2), (31.3, 10.4), (9.1, 29.6)]
    bow = np.array([400_000, 5_199_940]) + corners
    return geopandas.GeoSeries([*shapes, shapely.Polygon(bow)], crs=UTM).to_crs(crs)


def save(shapes, path, layer=None):
    geopandas.GeoDataFrame({"name": range(len(shapes))}, geometry=shapes).to_file(path, layer=layer)
    return path


@cache
def all_stars():
    return whole(stars())


def whole(shapes, size=SIZE):
    affine = Affine(*(getattr(TRANSFORM, name) for name in "abcdef"))
    return rasterize(shapes, out_shape=(size.height, size.width), transform=affine) > 0


@pytest.mark.parametrize("name", ["m.gpkg", "m.shp", "m.geojson", "m.fgb"])
def test_polygons_of_any_format_and_system(tmp_path: Path, name):
    crs = 4326 if name.endswith("json") else 32633
    path = save(stars(crs=crs), tmp_path / name)
    with masked(raster(), open_mask(path)) as found:
        got, expected = found.read_mask() > 0, all_stars()
        assert (got != expected).sum() <= (2 if crs == 4326 else 0)
        assert 0.05 < got.mean() < 0.95


@pytest.fixture(scope="module")
def star_file(tmp_path_factory):
    return save(stars(), tmp_path_factory.mktemp("masks") / "m.gpkg")


@settings(max_examples=30)
@given(st.integers(0, 159), st.integers(0, 119), st.integers(1, 90), st.integers(1, 90))
def test_windows_are_parts_of_the_whole(star_file, col, row, width, height):
    found = masked(raster(), open_mask(star_file))
    window = Window(
        col=col,
        row=row,
        width=min(width, SIZE.width - col),
        height=min(height, SIZE.height - row),
    )
    np.testing.assert_array_equal(found.read_mask(window) > 0, all_stars()[window.slices])


def test_both_masks_count_and_pixels_stay(star_file):
    own = np.random.default_rng(0).choice([0, 100, 255], (SIZE.height, SIZE.width)).astype(np.uint8)
    source = raster(own)
    found = masked(source, open_mask(star_file))
    np.testing.assert_array_equal(found.read_mask(), np.where(all_stars(), own, 0))
    np.testing.assert_array_equal(found.read(), source.values)
    assert found.fingerprint() not in {source.fingerprint(), ""}
    found.close()
    assert source.is_closed


@pytest.mark.parametrize("side", [64, pytest.param(317, marks=pytest.mark.slow)])
def test_of_many_polygons_those_in_the_window_are_rasterised(tmp_path: Path, side):
    """317 x 317 are 100,000 on a raster of 63,400 x 63,400 pixels."""
    across, down = np.meshgrid(np.arange(side), np.arange(side))
    left, bottom = 400_000 + across.ravel() * 10.0, 5_190_000 + down.ravel() * 10.0
    boxes = geopandas.GeoSeries(shapely.box(left, bottom, left + 6, bottom + 6), crs=UTM)
    path = save(boxes, tmp_path / "m.fgb")
    cell = 0.05
    size = Size(int(side * 10 / cell), int(side * 10 / cell))
    grid = Grid((cell, 0, 400_000, 0, -cell, 5_190_000 + side * 10), size, UTM)
    inside = open_mask(path).inside(grid)
    inside(Window(col=0, row=0, width=8, height=8))
    start = time.perf_counter()
    found = inside(Window(col=12_000, row=12_000, width=512, height=512))
    assert time.perf_counter() - start < 1.0
    cols, rows = np.meshgrid(np.arange(512) + 12_000.5, np.arange(512) + 12_000.5)
    np.testing.assert_array_equal(found, ((cols * cell) % 10 < 6) & ((rows * cell) % 10 > 4))


def test_a_polygon_that_holds_all_and_one_that_holds_nothing(tmp_path: Path):
    vast = shapely.box(0, 0, 800_000, 9_000_000)
    path = save(geopandas.GeoSeries([vast], crs=UTM), tmp_path / "all.gpkg")
    assert masked(raster(), open_mask(path)).read_mask().all()
    far = save(geopandas.GeoSeries([shapely.box(0, 0, 9, 9)], crs=UTM), tmp_path / "far.gpkg")
    assert not masked(raster(), open_mask(far)).read_mask().any()


def test_layers_are_named(tmp_path: Path):
    path = tmp_path / "a.gpkg"
    save(stars(), path, "parks")
    save(stars(seed=2), path, "lakes")
    save(geopandas.GeoSeries([shapely.Point(0, 0)], crs=UTM), path, "wells")
    assert (masked(raster(), open_mask(f"{path}:lakes")).read_mask() > 0).sum() == whole(
        stars(seed=2)
    ).sum()
    with pytest.raises(ArgumentError, match=r"several layers; name one, like a\.gpkg:parks"):
        open_mask(path)
    with pytest.raises(ArgumentError, match="are parks, lakes, not 'wells'"):
        open_mask(f"{path}:wells")
    save(geopandas.GeoSeries([shapely.Point(0, 0)], crs=UTM), tmp_path / "p.gpkg")
    with pytest.raises(ArgumentError, match="has no polygons"):
        open_mask(tmp_path / "p.gpkg")


def test_a_mask_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(SourceError, match="no such file"):
        open_mask(tmp_path / "none.gpkg")
    (tmp_path / "text.txt").write_text("no mask")
    with pytest.raises(SourceError, match="cannot be opened as a raster"):
        open_mask(tmp_path / "text.txt")
    path = save(stars(), tmp_path / "m.shp")
    path.with_suffix(".prj").unlink()
    with pytest.raises(CrsError, match="has no coordinate system"):
        masked(raster(), open_mask(path))
    with pytest.raises(CrsError, match="does not say where it lies"):
        masked(raster(transform=None), open_mask(path))
    tif = make_file(tmp_path / "m.tif", np.ones((1, 4, 4), np.uint8))
    with pytest.raises(ArgumentError, match="has no layers"):
        open_mask(f"{tif}:a")


@pytest.mark.parametrize("says", [True, False], ids=["nodata", "zeros"])
def test_a_raster_masks_by_the_nearest_pixel(tmp_path: Path, says):
    other = target_grid(GRID, Gridding(crs=CRS(3035), cell_size=(3.0, 3.0)))
    rng = np.random.default_rng(3)
    values = rng.choice([0, 7, 9], (1, other.size.height, other.size.width)).astype(np.uint8)
    path = make_file(
        tmp_path / "m.tif",
        values,
        transform=other.affine,
        crs=other.crs,
        nodata=9 if says else None,
    )
    found = masked(raster(), open_mask(path)).read_mask() > 0
    cols, rows = np.meshgrid(np.arange(SIZE.width) + 0.5, np.arange(SIZE.height) + 0.5)
    on_map = transform(UTM, other.crs, GRID.pixel_to_map(np.stack([cols.ravel(), rows.ravel()])))
    at = other.map_to_pixel(on_map)
    col, row = np.floor(at).astype(int)
    # Esri's rule: a cell that has data is inside, 0 or not.
    inside = values[0, row, col] != (9 if says else 0)
    sure = np.abs(at - np.rint(at)).min(axis=0) > 1e-3
    np.testing.assert_array_equal(found.ravel()[sure], inside[sure])
    assert sure.mean() > 0.98


def test_masks_in_pixel_space(tmp_path: Path, star_file):
    pixels = np.array([[0.0, 160, 0, 160, 80], [0.0, 0, 120, 120, 60]])
    points = np.concatenate([pixels, TRANSFORM.to_map(pixels)])
    georef = Gcps(points, SIZE, UTM)
    source = raster(transform=None)
    by_points = masked(source, open_mask(star_file), georef).read_mask()
    assert (by_points != masked(raster(), open_mask(star_file)).read_mask()).sum() <= 2
    image = (whole(stars()) * 255).astype(np.uint8)[None]
    path = make_file(tmp_path / "m.tif", image)
    window = Window(col=20, row=10, width=70, height=80)
    got = masked(source, open_mask(path), georef).read_mask(window) > 0
    assert (got != all_stars()[window.slices]).sum() <= 2
    assert placed(raster()).size == SIZE
