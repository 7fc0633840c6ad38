"""Mosaics as one raster: overlaps, holes, grids; the members' own pixels are the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import Affine

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.stores.mosaics import MosaicChoice, open_mosaic
from attachtrans.types import Size, Window
from tests.stores.mosaics.making import LEFT, SIDE, TOP, UTM, footprints, tile

DATES = ["2021-05-01", "2023-05-01", "2022-05-01"]


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Three rasters upon each other, 1 to 3, named b, a, c."""
    names = [tile(tmp_path / f"{n}.tif", v).name for n, v in (("b", 1), ("a", 2), ("c", 3))]
    return footprints(tmp_path / "index.gpkg", names, datetime=DATES)


@pytest.mark.parametrize(
    ("order", "top"),
    [(None, 2), ("date", 2), ("date-asc", 1), ("name", 3), ("name-desc", 2), ("list", 3)],
)
def test_the_member_on_top_is_the_one_that_the_order_says(stack, order, top) -> None:
    with open_mosaic(stack) as mosaic, mosaic.mosaicked(order) as image:
        assert (image.read() == top).all()
        assert image.size == Size(SIDE, SIDE)


def test_without_dates_what_is_listed_last_is_on_top(tmp_path) -> None:
    names = [tile(tmp_path / f"{n}.tif", v).name for n, v in (("b", 1), ("a", 2))]
    with open_mosaic(footprints(tmp_path / "i.gpkg", names)) as mosaic:
        assert mosaic.order_of(None) == "list"
        with mosaic.mosaicked() as image:
            assert (image.read() == 2).all()
            assert "what is listed last is on top (--overlap-order list)" in image.notes[0]
        with pytest.raises(ArgumentError, match=r"b\.tif has no date"):
            mosaic.mosaicked("date")


def test_a_mosaic_is_its_members_and_nodata_between(tmp_path) -> None:
    values = np.random.default_rng(0).integers(1, 256, (2, 3, SIDE, SIDE))
    tile(tmp_path / "a.tif", values[0], nodata=0)
    tile(tmp_path / "b.tif", values[1], (100, 20), nodata=0)
    index = footprints(tmp_path / "i.gpkg", ["a.tif", "b.tif"])
    expected = np.zeros((3, SIDE + 20, SIDE + 100))
    expected[:, :SIDE, :SIDE], expected[:, 20:, 100:] = values
    with open_mosaic(index) as mosaic, mosaic.mosaicked() as image:
        assert image.nodata == 0
        assert image.crs.to_epsg() == 32632
        assert (image.transform.c, image.transform.f) == (LEFT, TOP)
        np.testing.assert_array_equal(image.read(), expected)
        np.testing.assert_array_equal(image.read_mask() > 0, expected[0] > 0)
        for window in (
            Window(col=70, row=0, width=20, height=84),
            Window(col=60, row=15, width=50, height=60),
        ):
            rows, cols = window.slices
            np.testing.assert_array_equal(image.read(window), expected[:, rows, cols])


def test_other_nodata_values_become_a_mask_and_no_pixel_is_lost(tmp_path) -> None:
    """What means nodata in one member is a value in the other."""
    first = np.full((1, SIDE, SIDE), 255)
    first[:, :8, :8] = 0
    second = np.zeros((1, SIDE, SIDE))
    second[:, :8, :8] = 255
    tile(tmp_path / "a.tif", first, nodata=0)
    tile(tmp_path / "b.tif", second, (SIDE, 0), nodata=255)
    tile(tmp_path / "c.tif", 7, (2 * SIDE, SIDE))
    index = footprints(tmp_path / "i.gpkg", ["a.tif", "b.tif", "c.tif"])
    with open_mosaic(index) as mosaic, mosaic.mosaicked() as image:
        mask, values = image.read_mask() > 0, image.read()[0]
        assert image.nodata is None
    expected = np.zeros((2 * SIDE, 3 * SIDE), dtype=bool)
    expected[:SIDE, :SIDE] = first[0] != 0
    expected[:SIDE, SIDE : 2 * SIDE] = second[0] != 255
    expected[SIDE:, 2 * SIDE :] = True
    np.testing.assert_array_equal(mask, expected)
    assert set(values[:SIDE, :SIDE][mask[:SIDE, :SIDE]]) == {255}
    assert set(values[:SIDE, SIDE : 2 * SIDE][mask[:SIDE, SIDE : 2 * SIDE]]) == {0}


@pytest.mark.parametrize("nodata", [0, 255, None])
def test_what_a_member_has_no_data_for_shows_the_one_below(tmp_path, nodata) -> None:
    below = np.random.default_rng(1).integers(1, 255, (1, SIDE, SIDE))
    above = np.full((1, SIDE, SIDE), 99)
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    mask[10:20, 30:40] = 0
    if nodata is not None:
        above[0, mask == 0] = nodata
    tile(tmp_path / "a.tif", below, nodata=0)
    tile(tmp_path / "b.tif", above, nodata=nodata, mask=mask if nodata is None else None)
    index = footprints(tmp_path / "i.gpkg", ["a.tif", "b.tif"])
    with open_mosaic(index) as mosaic, mosaic.mosaicked("list") as image:
        np.testing.assert_array_equal(image.read(), np.where(mask == 0, below, 99))
        assert image.read_mask().all()


def test_bands_with_and_without_alpha_become_a_mosaic_with_alpha(tmp_path) -> None:
    clear = np.full((4, SIDE, SIDE), 200)
    clear[3] = 255
    clear[3, :30] = 0
    tile(tmp_path / "a.tif", np.full((3, SIDE, SIDE), 50), photometric="RGB")
    tile(tmp_path / "b.tif", clear, (32, 0), photometric="RGB", alpha="YES")
    index = footprints(tmp_path / "i.gpkg", ["a.tif", "b.tif"])
    with open_mosaic(index) as mosaic, mosaic.mosaicked() as image:
        assert image.colours == ("red", "green", "blue", "alpha")
        values = image.read()
        np.testing.assert_array_equal(image.read_mask(), values[3])
    assert values[:, 10, 40].tolist() == [50, 50, 50, 255]
    assert values[:, 50, 40].tolist() == [200, 200, 200, 255]
    assert values[3, 10, 80] == 0


def test_nan_is_nodata_of_floats(tmp_path) -> None:
    values = np.full((1, SIDE, SIDE), 0.25)
    values[0, 5, 5] = np.nan
    tile(tmp_path / "a.tif", values, dtype="float32", nodata=np.nan)
    tile(tmp_path / "b.tif", 0.5, (100, 0), dtype="float32", nodata=np.nan)
    index = footprints(tmp_path / "i.gpkg", ["a.tif", "b.tif"])
    with open_mosaic(index) as mosaic, mosaic.mosaicked() as image:
        assert image.dtype == np.float32
        assert np.isnan(image.nodata)
        read = image.read()[0]
        assert np.isnan(read[5, 5])
        assert np.isnan(read[:, 70:90]).all()
        assert image.read_mask()[5, 4:7].tolist() == [255, 0, 255]


def ramp(at: tuple[float, float], res: float, side: int = SIDE) -> np.ndarray:
    """x + 1000 y of every pixel's centre, in metres from the common corner."""
    steps = (np.arange(side) + 0.5) * res
    return (at[0] + steps)[None, None, :] + 1000 * (at[1] + steps)[None, :, None]


@pytest.mark.parametrize("other", [(2.0, (64.0, 0.0)), (4.0, (64.0, 0.0)), (1.0, (64.25, 0.25))])
def test_the_finest_cells_are_the_mosaics_and_others_are_interpolated(tmp_path, other) -> None:
    res, at = other
    side = SIDE // int(res)
    tile(tmp_path / "fine.tif", ramp((0, 0), 1.0), dtype="float32")
    tile(tmp_path / "coarse.tif", ramp(at, res, side), at, res=res, dtype="float32")
    index = footprints(tmp_path / "i.gpkg", ["fine.tif", "coarse.tif"])
    with open_mosaic(index) as mosaic, mosaic.mosaicked() as image:
        assert (image.transform.a, image.transform.e) == (1.0, -1.0)
        read = image.read()[0]
    expected = ramp((0, 0), 1.0, 140)[0]
    np.testing.assert_array_equal(read[:SIDE, :SIDE], expected[:SIDE, :SIDE])
    # Half a coarse cell from the edge on there are values on all sides.
    inner = slice(4, 60), slice(68, 124)
    np.testing.assert_allclose(read[inner], expected[inner], rtol=1e-6)


def test_classes_are_not_interpolated(tmp_path) -> None:
    values = np.random.default_rng(2).integers(0, 2, (1, 32, 32)) * 200
    tile(tmp_path / "a.tif", 0)
    tile(tmp_path / "b.tif", values, (0.4, 0.4), res=2.0)
    index = footprints(tmp_path / "i.gpkg", ["a.tif", "b.tif"])
    choice = MosaicChoice(resampling="nearest")
    with open_mosaic(index, choice) as mosaic, mosaic.mosaicked() as image:
        assert set(np.unique(image.read())) == {0, 200}
    with (
        open_mosaic(index, MosaicChoice(resampling="best")) as mosaic,
        pytest.raises(ArgumentError, match="--resampling best"),
    ):
        mosaic.mosaicked()


def test_a_member_in_another_system_is_reprojected(tmp_path) -> None:
    """Its values say where they were: longitude and latitude of each pixel's centre."""
    side, res = 48, 2e-5
    to_lonlat = Transformer.from_crs(UTM, 4326, always_xy=True)
    west, north = to_lonlat.transform(LEFT + 100, TOP)
    steps = (np.arange(side) + 0.5) * res
    lon, lat = np.meshgrid(steps / res, steps / res)
    tile(tmp_path / "a.tif", np.full((2, SIDE, SIDE), 1.0), dtype="float32")
    tile(tmp_path / "c.tif", np.full((2, SIDE, SIDE), 1.0), (0, SIDE), dtype="float32")
    transform = Affine(res, 0, west, 0, -res, north)
    values = np.stack((lon, lat))
    tile(tmp_path / "b.tif", values, crs="EPSG:4326", transform=transform, dtype="float32")
    with rasterio.open(tmp_path / "b.tif") as file:
        assert file.crs.to_epsg() == 4326
    with open_mosaic(tmp_path, MosaicChoice(as_mosaic=True)) as mosaic:
        image = mosaic.mosaicked()
    with image:
        assert image.crs.to_epsg() == 32632
        mask, read = image.read_mask() > 0, image.read()
        assert any(note.startswith("1 rasters in another") for note in image.notes)
        cols = np.arange(104, 130)
        x, y = image.transform.to_map(np.stack((cols + 0.5, np.full(len(cols), 20.5))))
    assert mask[20, cols].all()
    found = np.stack(to_lonlat.transform(x, y))
    np.testing.assert_allclose(read[0, 20, cols], (found[0] - west) / res, atol=0.15)
    np.testing.assert_allclose(read[1, 20, cols], (north - found[1]) / res, atol=0.15)


def test_members_that_are_turned_or_upside_down_lie_where_they_belong(tmp_path) -> None:
    up = Affine(1, 0, LEFT, 0, 1, TOP - SIDE)
    tile(tmp_path / "up.tif", ramp((0, 0), 1.0)[:, ::-1], transform=up, dtype="float32")
    turned = Affine.translation(LEFT + 150, TOP - 20) @ Affine.rotation(30) @ Affine.scale(1, -1)
    cols, rows = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    x, y = turned @ (cols, rows)
    values = (x - LEFT + 1000 * (TOP - y))[None]
    tile(tmp_path / "turned.tif", values, transform=turned, dtype="float32")
    with (
        open_mosaic(tmp_path, MosaicChoice(as_mosaic=True)) as mosaic,
        mosaic.mosaicked() as image,
    ):
        read, mask = image.read()[0], image.read_mask() > 0
        cols, rows = np.meshgrid(np.arange(image.size.width), np.arange(image.size.height))
        x, y = image.transform.to_map(np.stack((cols.ravel() + 0.5, rows.ravel() + 0.5)))
    expected = (x - LEFT + 1000 * (TOP - y)).reshape(read.shape)
    assert SIDE**2 * 1.9 < mask.sum() < SIDE**2 * 2.05
    inside = mask & np.roll(mask, 2, 0) & np.roll(mask, -2, 0) & np.roll(mask, 2, 1)
    inside &= np.roll(mask, -2, 1)
    np.testing.assert_allclose(read[inside], expected[inside], rtol=1e-4)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"dtype": "uint16"}, r"a\.tif and .*b\.tif cannot be one mosaic: .* uint8 and uint16"),
        ({"values": np.ones((2, SIDE, SIDE))}, r"a\.tif and .*b\.tif .* 1 and 2 bands"),
        ({"crs": None}, r"a\.tif and .*b\.tif .* does not say its coordinate system"),
    ],
)
def test_members_that_do_not_fit_are_named(tmp_path, more, message) -> None:
    tile(tmp_path / "a.tif", 1)
    values = more.pop("values", 1)
    tile(tmp_path / "b.tif", values, **more)
    index = footprints(tmp_path / "i.gpkg", ["a.tif", "b.tif"])
    with open_mosaic(index) as mosaic, pytest.raises(ArgumentError, match=message):
        mosaic.mosaicked()


def test_a_bad_member_is_named_before_the_run_or_alone(tmp_path) -> None:
    tile(tmp_path / "a.tif", 1)
    tile(tmp_path / "b.tif", 2)
    address = "https://example.com/c.tif"
    index = footprints(tmp_path / "i.gpkg", ["a.tif", "b.tif", address])
    with open_mosaic(index) as mosaic:
        assert [member.problem is None for member in mosaic.members] == [True, True, False]
        with mosaic.member(1) as image:
            assert (image.read() == 2).all()
        with pytest.raises(SourceError, match=r"c\.tif: lies on a network"):
            mosaic.member(2)
        with pytest.raises(SourceError, match=r"c\.tif: lies on a network"):
            mosaic.mosaicked()
    (tmp_path / "b.tif").unlink()
    index = footprints(tmp_path / "j.gpkg", ["a.tif"], column="location")
    with open_mosaic(tmp_path / "i.gpkg") as mosaic:
        with pytest.raises(SourceError, match=r"b\.tif: there is no such file \(and 1 more"):
            mosaic.mosaicked()
        assert mosaic.members[1].problem == "there is no such file"
    (tmp_path / "a.tif").write_bytes(b"II*\0 and nothing else")
    with open_mosaic(index) as mosaic, pytest.raises(SourceError, match=r"a\.tif: cannot be open"):
        mosaic.mosaicked()


def test_a_member_that_vanishes_during_the_run_is_an_error_not_a_hole(tmp_path) -> None:
    tile(tmp_path / "a.tif", 1)
    tile(tmp_path / "b.tif", 2, (100, 0))
    index = footprints(tmp_path / "i.gpkg", ["a.tif", "b.tif"])
    with open_mosaic(index) as mosaic, mosaic.mosaicked() as image:
        (tmp_path / "b.tif").unlink()
        left = Window(col=0, row=0, width=SIDE, height=SIDE)
        assert (image.read(left) == 1).all()
        for read in (image.read, image.read_mask):
            with pytest.raises(SourceError, match=r"b\.tif: is gone since"):
                read(Window(col=90, row=0, width=20, height=10))


def test_a_member_that_is_damaged_inside_is_named_when_it_is_read(tmp_path) -> None:
    values = np.random.default_rng(4).integers(1, 255, (1, 256, 256))
    path = tile(tmp_path / "b.tif", values, compress="deflate", tiled=True, blockxsize=64)
    path.write_bytes(path.read_bytes()[:-9000])
    index = footprints(tmp_path / "i.gpkg", ["b.tif"])
    damaged = pytest.raises(SourceError, match=r"i\.gpkg: cannot be read: .*b\.tif, band 1")
    with open_mosaic(index) as mosaic, mosaic.mosaicked() as image, damaged:
        image.read()


def test_the_fingerprint_is_of_the_members_and_stays_between_runs(stack) -> None:
    with open_mosaic(stack) as mosaic, mosaic.mosaicked() as image:
        first = image.fingerprint()
        assert image.name == str(stack)
        assert mosaic.fingerprint("name") != first
    with open_mosaic(stack) as mosaic, mosaic.mosaicked() as image:
        assert image.fingerprint() == first
    tile(stack.parent / "a.tif", np.ones((1, SIDE, SIDE + 1)))
    with open_mosaic(stack) as mosaic:
        assert mosaic.fingerprint() != first


def test_windows_of_a_mosaic_are_parts_of_the_whole(tmp_path) -> None:
    """Resampled members, too: so streamed is as untiled."""
    rng = np.random.default_rng(3)
    tile(tmp_path / "a.tif", rng.integers(1, 255, (1, SIDE, SIDE)))
    tile(tmp_path / "b.tif", rng.integers(1, 255, (1, 32, 32)), (40.3, 10.7), res=2.0)
    turned = Affine.translation(LEFT + 100, TOP) @ Affine.rotation(20) @ Affine.scale(1.5, -1.5)
    tile(tmp_path / "c.tif", rng.integers(1, 255, (1, 40, 40)), transform=turned)
    with (
        open_mosaic(tmp_path, MosaicChoice(as_mosaic=True)) as mosaic,
        mosaic.mosaicked() as image,
    ):
        whole, mask = image.read(), image.read_mask()
        width, height = image.size
        for row in range(0, height, 17):
            for col in range(0, width, 31):
                window = Window(
                    col=col, row=row, width=min(31, width - col), height=min(17, height - row)
                )
                rows, cols = window.slices
                np.testing.assert_array_equal(image.read(window), whole[:, rows, cols])
                np.testing.assert_array_equal(image.read_mask(window), mask[rows, cols])


@pytest.mark.parametrize("shift", [0, 3])
def test_windows_on_the_edges_of_members_are_composed_like_arrays(tmp_path, shift) -> None:
    """GDAL's tile index gives up reads where a member only touches the window: not these."""
    step, side, count = 8, 8 + shift, 8
    rng = np.random.default_rng(5)
    whole = np.zeros((count * step + shift,) * 2, np.uint8)
    for number, place in enumerate(rng.permutation(count * count)[:30].tolist(), start=1):
        row, col = divmod(place, count)
        at = (col * step, row * step)
        tile(tmp_path / f"{number:02}.tif", np.full((1, side, side), number), at, nodata=0)
        whole[row * step : row * step + side, col * step : col * step + side] = number
    rows, cols = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    expected = whole[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    with (
        open_mosaic(tmp_path, MosaicChoice(as_mosaic=True)) as mosaic,
        mosaic.mosaicked() as image,
    ):
        width, height = image.size
        np.testing.assert_array_equal(image.read()[0], expected)
        for row, col in np.ndindex(height // step, width // step):
            across, down = (rng.integers(1, 4, 2) * step).tolist()
            window = Window(
                col=col * step,
                row=row * step,
                width=min(across, width - col * step),
                height=min(down, height - row * step),
            )
            np.testing.assert_array_equal(image.read(window)[0], expected[window.slices])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("nodata", [None, 9])
def test_what_is_beside_a_warped_member_is_nodata_whatever_its_type(
    tmp_path, dtype, nodata
) -> None:
    values = np.full((1, SIDE, SIDE), 7)
    values[:, 20:40, 20:40] = 9
    lonlat = Affine(2e-5, 0, 9.5, 0, -2e-5, 45.0)
    tile(tmp_path / "b.tif", values, crs="EPSG:4326", transform=lonlat, dtype=dtype, nodata=nodata)
    x, y = Transformer.from_crs(4326, UTM, always_xy=True).transform(9.5, 45.0)
    at = (round(x) - LEFT + 150, TOP - round(y))
    for name in ("a", "c"):
        tile(tmp_path / f"{name}.tif", 7, at, dtype=dtype, nodata=nodata)
        at = (at[0] + 10, at[1] + 80)
    choice = MosaicChoice(as_mosaic=True, resampling="nearest")
    with open_mosaic(tmp_path, choice) as mosaic, mosaic.mosaicked() as image:
        left = Window(col=0, row=0, width=140, height=image.size.height)
        read, mask = image.read(left)[0], image.read_mask(left) > 0
    assert set(np.unique(read[mask])) == ({7, 9} if nodata is None else {7})
    pixels = SIDE * SIDE - (0 if nodata is None else 400)
    cell = 2e-5 * 111_130 * 2e-5 * 78_850  # square metres of one at 45 degrees north
    assert mask.sum() == pytest.approx(pixels * cell, rel=0.02)
