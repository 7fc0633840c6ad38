"""Elevation models from files: exact cells, warps, units, datums and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import CRS, Transformer
from pyproj.crs import CompoundCRS
from rasterio.transform import Affine

from attachtrans.errors import ArgumentError, CrsError, GeorefError, SourceError
from attachtrans.geo.frame import LocalFrame
from attachtrans.stores import dem as dem_module
from attachtrans.stores.dem import Dem

UTM = CRS(32633)
X0, Y0 = 500_000.0, 5_400_000.0


def hills(x: Any, y: Any) -> Any:
    """A smooth surface over map metres."""
    return 100.0 + 20.0 * np.sin(x / 80.0) + 15.0 * np.cos(y / 60.0)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(
        heights: Any,
        transform: Affine,
        crs: Any = UTM,
        *,
        units: str | None = None,
        scale: float | None = None,
        **profile: Any,
    ) -> Path:
        path = tmp_path / f"dem{len(list(tmp_path.iterdir()))}.tif"
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=heights.shape[0],
            width=heights.shape[1],
            count=1,
            dtype=heights.dtype,
            transform=transform,
            crs=None if crs is None else rasterio.CRS.from_wkt(CRS(crs).to_wkt()),
            **profile,
        ) as dataset:
            dataset.write(heights, 1)
            if units:
                dataset.units = (units,)
            if scale:
                dataset.scales, dataset.offsets = (scale,), (7.0,)
        return path

    return write


def metric(write: Callable[..., Path], side: int = 200, cell: float = 2.0, **more: Any) -> Path:
    cols, rows = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    heights = hills(X0 + cell * cols, Y0 - cell * rows).astype("float32")
    return write(heights, Affine(cell, 0, X0, 0, -cell, Y0), **more)


def test_cells_of_its_own_grid_are_not_resampled(write: Callable[..., Path]) -> None:
    path = metric(write)
    with rasterio.open(path) as dataset:
        stored = dataset.read(1)
    dem = Dem.open(path)
    ground = dem.ground(UTM, (X0 + 200.0, Y0 - 200.0), 50.0)
    assert ground.surface.heights.dtype == np.float32
    cols, rows = np.meshgrid(np.arange(80, 120), np.arange(80, 120))
    places = np.stack([X0 + 2.0 * (cols.ravel() + 0.5), Y0 - 2.0 * (rows.ravel() + 0.5)])
    np.testing.assert_array_equal(ground.height(places), stored[80:120, 80:120].ravel())
    dem.close()


def test_a_turned_model_is_taken_as_it_is(write: Callable[..., Path]) -> None:
    transform = Affine.translation(X0, Y0) @ Affine.rotation(30.0) @ Affine.scale(2.0, -2.0)
    rng = np.random.default_rng(5)
    heights = rng.uniform(0, 50, (90, 120)).astype("float32")
    dem = Dem.open(write(heights, transform))
    centre = transform @ (60.0, 45.0)
    ground = dem.ground(UTM, centre, 20.0)
    cols, rows = np.meshgrid(np.arange(55, 65), np.arange(40, 50))
    x, y = transform @ (cols.ravel() + 0.5, rows.ravel() + 0.5)
    np.testing.assert_allclose(
        ground.height(np.stack([x, y])), heights[40:50, 55:65].ravel(), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(
    ("units", "factor"), [("ft", 0.3048), ("US survey foot", 1200 / 3937), ("metre", 1.0)]
)
def test_heights_come_in_metres(write: Callable[..., Path], units: str, factor: float) -> None:
    dem = Dem.open(metric(write, units=units))
    ground = dem.ground(UTM, (X0 + 200.0, Y0 - 200.0), 50.0)
    place = np.array([[X0 + 201.0], [Y0 - 201.0]])
    assert ground.height(place)[0] == pytest.approx(factor * hills(*place[:, 0]), abs=1e-4)


def test_scaled_integers_and_nodata(write: Callable[..., Path]) -> None:
    heights = np.full((20, 30), 1000, dtype="int16")
    heights[5:8, 5:8] = -32768
    path = write(heights, Affine(1, 0, X0, 0, -1, Y0), nodata=-32768, scale=0.1)
    ground = Dem.open(path).ground(UTM, (X0 + 15.0, Y0 - 10.0), 50.0)
    places = np.array([[X0 + 20.0, X0 + 6.5, X0 + 4.9], [Y0 - 15.0, Y0 - 6.5, Y0 - 6.5]])
    np.testing.assert_allclose(ground.height(places), [107.0, np.nan, np.nan])


def test_an_unknown_unit_is_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(GeorefError, match="furlong"):
        Dem.open(metric(write, units="furlong"))


def test_a_grid_in_feet_is_the_frame_in_metres(write: Callable[..., Path]) -> None:
    state = CRS(2264)  # NAD83 / North Carolina (ftUS)
    rng = np.random.default_rng(1)
    heights = rng.uniform(0, 9, (40, 40)).astype("float32")
    dem = Dem.open(write(heights, Affine(5, 0, 2_000_000, 0, -5, 700_000), state))
    frame = LocalFrame.at(state, (2_000_100.0, 699_900.0)).crs
    foot = 1200 / 3937
    ground = dem.ground(frame, (2_000_100 * foot, 699_900 * foot), 10.0)
    place = np.array([[(2_000_000 + 5 * 20.5) * foot], [(700_000 - 5 * 20.5) * foot]])
    assert ground.height(place)[0] == pytest.approx(heights[20, 20], abs=1e-4)


def geographic(
    write: Callable[..., Path],
    frame: CRS,
    west: float,
    north: float,
    side: int = 240,
    cell: float = 1.0 / 3600.0,
) -> Path:
    """A model in degrees whose heights are `hills` of the frame's metres."""
    lon, lat = np.meshgrid(
        west + cell * (np.arange(side) + 0.5), north - cell * (np.arange(side) + 0.5)
    )
    to = Transformer.from_crs(4326, frame, always_xy=True)
    x, y = to.transform(lon, lat)
    smooth = 300.0 + 40.0 * np.sin(x / 900.0) + 30.0 * np.cos(y / 800.0)
    return write(smooth.astype("float64"), Affine(cell, 0, west, 0, -cell, north), 4326)


@pytest.mark.parametrize("latitude", [0.0, 47.0, -71.0])
def test_a_model_in_degrees_is_warped(write: Callable[..., Path], latitude: float) -> None:
    frame = LocalFrame.at(4326, (14.0, latitude)).crs
    path = geographic(write, frame, 14.0 - 120 / 3600, latitude + 120 / 3600)
    dem = Dem.open(path)
    ground = dem.ground(frame, (0.0, 0.0), 700.0)
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-700, 700, (2, 500))
    expected = 300.0 + 40.0 * np.sin(x / 900.0) + 30.0 * np.cos(y / 800.0)
    # Twice the error of interpolating between cells of 31 m: d^2 f'' / 8.
    np.testing.assert_allclose(ground.height(np.stack([x, y])), expected, rtol=0, atol=0.03)


@pytest.mark.parametrize("west", [-180.0, 0.0])
@pytest.mark.parametrize("longitude", [180.0, -179.99, 0.0, 0.01])
def test_a_model_of_the_whole_earth_has_no_edge(
    write: Callable[..., Path], west: float, longitude: float
) -> None:
    cell = 0.1
    lon = west + cell * (np.arange(3600) + 0.5)
    lat = 20.0 - cell * (np.arange(50) + 0.5)
    heights = 100.0 * np.cos(np.deg2rad(lon))[None] + 2.0 * lat[:, None]
    dem = Dem.open(write(heights, Affine(cell, 0, west, 0, -cell, 20.0), 4326))
    frame = LocalFrame.at(4326, (longitude, 17.5)).crs
    ground = dem.ground(frame, (0.0, 0.0), 50_000.0)
    x, y = np.random.default_rng(2).uniform(-50_000, 50_000, (2, 200))
    to = Transformer.from_crs(frame, 4326, always_xy=True)
    where, height = to.transform(x, y)
    expected = 100.0 * np.cos(np.deg2rad(where)) + 2.0 * height
    np.testing.assert_allclose(ground.height(np.stack([x, y])), expected, rtol=0, atol=0.01)


def test_a_tile_beside_the_antimeridian_ends_there(write: Callable[..., Path]) -> None:
    cell = 0.01
    heights = np.full((100, 100), 5.0)
    dem = Dem.open(write(heights, Affine(cell, 0, 179.0, 0, -cell, 18.0), 4326))
    frame = LocalFrame.at(4326, (-179.99, 17.5)).crs
    ground = dem.ground(frame, (0.0, 0.0), 5_000.0)
    assert ground.height(np.array([[-3_000.0, 1_000.0], [0.0, 0.0]])).tolist() == pytest.approx(
        [5.0, np.nan], nan_ok=True
    )


def test_the_pole_is_a_place_like_others(write: Callable[..., Path]) -> None:
    cell = 0.05
    lat = 90.0 - cell * (np.arange(100) + 0.5)
    heights = np.repeat((90.0 - lat)[:, None] * 100.0, 7200, axis=1)
    dem = Dem.open(write(heights, Affine(cell, 0, -180.0, 0, -cell, 90.0), 4326))
    frame = LocalFrame.at(4326, (0.0, 89.9)).crs
    ground = dem.ground(frame, (0.0, 0.0), 30_000.0)
    x, y = np.random.default_rng(2).uniform(-30_000, 30_000, (2, 300))
    to = Transformer.from_crs(frame, 4326, always_xy=True)
    lat_there = to.transform(x, y)[1]
    found = ground.height(np.stack([x, y]))
    away = lat_there < 89.9
    np.testing.assert_allclose(found[away], 100.0 * (90.0 - lat_there[away]), rtol=0, atol=0.3)


def test_a_polar_grid_is_warped(write: Callable[..., Path]) -> None:
    polar = CRS(3413)
    x, y = np.meshgrid(500.0 * (np.arange(80) + 0.5), -500.0 * (np.arange(80) + 0.5))
    dem = Dem.open(write((x - y) / 100.0, Affine(500, 0, 0, 0, -500, 0), polar))
    middle = Transformer.from_crs(polar, 4326, always_xy=True).transform(20_000, -20_000)
    frame = LocalFrame.at(4326, middle).crs
    ground = dem.ground(frame, (0.0, 0.0), 5_000.0)
    places = np.random.default_rng(1).uniform(-5_000, 5_000, (2, 100))
    there = Transformer.from_crs(frame, polar, always_xy=True).transform(*places)
    np.testing.assert_allclose(
        ground.height(places), (there[0] - there[1]) / 100.0, rtol=0, atol=0.05
    )


def test_what_no_model_covers_is_refused(write: Callable[..., Path]) -> None:
    dem = Dem.open(metric(write))
    with pytest.raises(GeorefError, match="no heights within 50 m"):
        dem.ground(UTM, (X0 + 5_000.0, Y0), 50.0)
    with pytest.raises(GeorefError, match="no heights within"):
        dem.ground(CRS(32733), (X0, 1_000_000.0), 50.0)
    with pytest.raises(CrsError, match="not in metres"):
        dem.ground(CRS(2264), (X0, Y0), 50.0)
    empty = write(np.full((9, 9), np.nan, "float32"), Affine(1, 0, X0, 0, -1, Y0))
    with pytest.raises(GeorefError, match="no heights within"):
        Dem.open(empty).ground(UTM, (X0 + 4.0, Y0 - 4.0), 5.0)


def test_what_is_no_elevation_model_is_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    path = metric(write)
    with pytest.raises(ArgumentError, match="no band 2"):
        Dem.open(path, band=2)
    with pytest.raises(SourceError, match="cannot be opened"):
        Dem.open(tmp_path / "missing.tif")
    with rasterio.open(
        tmp_path / "ortho.tif", "w", width=4, height=4, count=3, dtype="uint8", crs="EPSG:32633",
        transform=Affine(1, 0, X0, 0, -1, Y0), driver="GTiff",
    ) as ortho:  # fmt: skip
        ortho.write(np.zeros((3, 4, 4), "uint8"))
    with pytest.raises(ArgumentError, match=r"is a picture \(red, green, blue\) and no elevation"):
        Dem.open(tmp_path / "ortho.tif")
    with pytest.raises(CrsError, match="does not say where it lies"):
        Dem.open(write(np.zeros((9, 9), "float32"), Affine(1, 0, X0, 0, -1, Y0), None))
    with pytest.raises(CrsError, match="no vertical CRS"):
        Dem.open(path, vertical="EPSG:32633")
    with pytest.raises(CrsError, match="cannot be read"):
        Dem.open(path, vertical="sea level")


def test_datums_are_taken_as_one_where_nobody_says(write: Callable[..., Path]) -> None:
    path = metric(write)
    place = (X0 + 200.0, Y0 - 200.0)
    silent = Dem.open(path)
    silent.ground(UTM, place, 50.0)
    assert "neither says" in silent.notes[0]
    known = Dem.open(path, vertical="EPSG:5773")
    known.ground(UTM, place, 50.0)
    assert "EGM96" in known.notes[0]
    assert "EGM96 height" in known.describe()


def test_another_datum_needs_its_grid(write: Callable[..., Path]) -> None:
    dem = Dem.open(metric(write), vertical="EPSG:5773")
    place = (X0 + 200.0, Y0 - 200.0)
    with pytest.raises(CrsError, match="egm96_15"):
        dem.ground(UTM.to_3d(), place, 50.0)
    same = Dem.open(metric(write), vertical="ellipsoid")
    ground = same.ground(UTM.to_3d(), place, 50.0)
    assert ground.height(np.array(place)[:, None])[0] == pytest.approx(hills(*place), abs=0.05)
    assert not same.notes


def test_one_datum_in_two_units_needs_no_grid(write: Callable[..., Path]) -> None:
    feet = np.full((20, 20), 3937.0, "float32")
    flat = CRS(26917)  # NAD83 / UTM zone 17N
    path = write(feet, Affine(1, 0, X0, 0, -1, 4_000_000), flat)
    dem = Dem.open(path, vertical="EPSG:6360")  # NAVD88 height (ftUS)
    frame = CRS.from_wkt(CompoundCRS("NAD83 / UTM 17N + NAVD88", [flat, CRS(5703)]).to_wkt())
    ground = dem.ground(frame, (X0 + 10.0, 4_000_000 - 10.0), 5.0)
    height = ground.height(np.array([[X0 + 10.0], [4_000_000 - 10.0]]))
    assert height[0] == pytest.approx(1200.0, abs=1e-6)
    assert not dem.notes


def test_a_large_view_is_read_coarser(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_MOST_CELLS", "_MOST_WARPED", "_SMALL"):
        monkeypatch.setattr(dem_module, name, 2_500)
    dem = Dem.open(metric(write))
    ground = dem.ground(UTM, (X0 + 200.0, Y0 - 200.0), 190.0)
    assert ground.surface.heights.size <= 2_600
    assert "4 times coarser" in dem.notes[-1]
    x, y = np.random.default_rng(1).uniform(-150, 150, (2, 200))
    x, y = x + X0 + 200.0, y + Y0 - 200.0
    np.testing.assert_allclose(ground.height(np.stack([x, y])), hills(x, y), rtol=0, atol=0.35)
    frame = LocalFrame.at(4326, Transformer.from_crs(UTM, 4326, always_xy=True).transform(
        X0 + 200.0, Y0 - 200.0)).crs  # fmt: skip
    warped = dem.ground(frame, (0.0, 0.0), 190.0)
    assert warped.surface.heights.size <= 3_500
    there = Transformer.from_crs(frame, UTM, always_xy=True).transform(50.0, 20.0)
    assert warped.height(np.array([[50.0], [20.0]]))[0] == pytest.approx(hills(*there), abs=0.5)


def test_infinity_is_all_that_there_is(write: Callable[..., Path]) -> None:
    dem = Dem.open(metric(write))
    near = Transformer.from_crs(UTM, 4326, always_xy=True).transform(X0 + 3_000.0, Y0)
    frame = LocalFrame.at(4326, near).crs
    for crs, centre in ((UTM, (X0 + 3_000.0, Y0)), (frame, (0.0, 0.0))):
        ground = dem.ground(crs, centre, np.inf)
        assert 38_000 < ground.surface.heights.size < 70_000
        assert np.isfinite(ground.surface.heights).mean() > 0.6
    assert not [note for note in dem.notes if "coarser" in note]


def test_a_strip_of_photos_reads_the_model_once(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dem = Dem.open(metric(write))
    reads: list[int] = []
    read_band = dem._image.read_band

    def counted(*args: Any, **kwargs: Any) -> Any:
        reads.append(1)
        return read_band(*args, **kwargs)

    monkeypatch.setattr(dem._image, "read_band", counted)
    grounds: list[object] = []

    def photo(number: int) -> None:
        grounds.append(dem.ground(UTM, (X0 + 100.0 + 10 * number, Y0 - 200.0), 60.0))

    threads = [threading.Thread(target=photo, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 1
    assert len(set(map(id, grounds))) == 1
    assert dem.ground(UTM, (X0 + 100.0, Y0 - 200.0), 60.0, earth_radius_m=6.4e6) is not grounds[0]


def test_the_surveyed_frames_meet_the_stored_cells(shared: Path) -> None:
    """G3's ground: the DSM of the ODM frames, window by window, is the file's own cells."""
    path = shared / "data/geo/orthority/tests/data/odm/odm_dem/dsm.tif"
    with rasterio.open(path) as dataset:
        stored, transform = dataset.read(1, masked=True), dataset.transform
        crs = CRS(dataset.crs.to_wkt())
    dem = Dem.open(path)
    middle = transform @ (stored.shape[1] / 2, stored.shape[0] / 2)
    ground = dem.ground(crs, middle, 30.0)
    rows, cols = np.nonzero(~np.ma.getmaskarray(stored))
    x, y = transform @ (cols + 0.5, rows + 0.5)
    near = np.hypot(x - middle[0], y - middle[1]) < 30.0
    found = ground.height(np.stack([x, y])[:, near])
    np.testing.assert_allclose(found, stored.data[rows[near], cols[near]], rtol=0, atol=1e-7)
