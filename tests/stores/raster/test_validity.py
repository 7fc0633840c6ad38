"""Nodata before and after a net: GDAL's masks, brute force and whole images as judges."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from attachtrans.errors import ArgumentError
from attachtrans.image.arrays import resized_alpha
from attachtrans.stores.raster import RasterSpec, RasterWriter, open_raster
from attachtrans.stores.raster.validity import (
    alpha_as,
    filled,
    missing_in,
    reach_for,
    scaled_alpha,
    scaled_mask,
    source_window,
    valid_pixels,
    valid_values,
    with_nodata,
)
from attachtrans.types import Size, Window

NAN, INF = math.nan, math.inf
Pixels = NDArray[Any]


def row(*bands: list[float], dtype: str = "uint8") -> Pixels:
    """(bands, 1, width)."""
    return np.array(bands, dtype)[:, None, :]


@pytest.mark.parametrize(
    ("array", "nodata", "mask", "expected"),
    [
        # nothing says that anything is missing
        (row([0, 7]), None, None, None),
        (row([1, 7]), 0, None, None),
        (row([1, 7]), None, [255, 255], None),
        # nodata: of all bands, of each, NaN, and such as the type cannot hold
        (row([0, 7]), 0, None, [[0, 1]]),
        (row([0, 7, 0], [0, 0, 7]), 0, None, [[0, 1, 0], [0, 0, 1]]),
        (row([0, 7], [0, 5]), 0, None, [[0, 1]]),
        (row([0, 7], [9, 0]), [0, 9], None, [[0, 1]]),
        (row([0, 7], [0, 0]), [0, None], None, [[0, 1], [1, 1]]),
        (row([0, 255]), 256, None, None),
        (row([0, 255]), -9999, None, None),
        (row([0, 1]), 0.5, None, None),
        (row([0, 1]), NAN, None, None),
        (row([-9999, 1], dtype="int16"), -9999, None, [[0, 1]]),
        (row([NAN, 1], dtype="float32"), NAN, None, [[0, 1]]),
        (row([-9999, 1], dtype="float32"), -9999, None, [[0, 1]]),
        # floats that no net can digest
        (row([NAN, INF, -INF, 1], dtype="float64"), None, None, [[0, 0, 0, 1]]),
        (row([NAN, -9999, 1], dtype="float32"), -9999, None, [[0, 0, 1]]),
        # masks and alpha, alone and with nodata
        (row([3, 7]), None, [0, 255], [[0, 1]]),
        (row([3, 7]), None, [1, 0], [[1, 0]]),
        (row([0, 7, 7]), 0, [255, 0, 255], [[0, 0, 1]]),
        (row([0, 7, 7], [1, 1, 1]), 0, [255, 0, 255], [[0, 0, 1], [1, 0, 1]]),
    ],
)
def test_what_is_data(array: Pixels, nodata: Any, mask: Any, expected: Any) -> None:
    found = valid_values(array, nodata=nodata, mask=None if mask is None else np.array([mask]))
    if expected is None:
        assert found is None
        assert valid_pixels(found) is None
    else:
        assert found is not None
        np.testing.assert_array_equal(found, np.array(expected, bool)[:, None, :])
        np.testing.assert_array_equal(valid_pixels(found), np.any(expected, axis=0)[None])


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", 0.0),
        ("int16", -32768.0),
        ("float32", -9999.0),
        ("float32", -3.4028234663852886e38),
        ("float32", 1.0),
        ("float64", -9999.0),
        ("float32", 0.0),
        ("float64", NAN),
    ],
)
def test_gdal_sees_the_same_and_data_stays_data(tmp_path: Path, dtype: str, nodata: float) -> None:
    """Values about nodata, through a file: read as GDAL reads them, written as we write them."""
    path = tmp_path / "a.tif"
    value = np.dtype(dtype).type(nodata)
    if math.isnan(nodata):
        about = np.array([nodata, 0, 1, -9999], dtype)
    elif np.dtype(dtype).kind == "f":
        about = np.concatenate([value * (1 + np.linspace(-1e-6, 0, 20)), [value, 5]]).astype(dtype)
    else:
        about = np.array([value, value + 1, value + 2, 5], dtype)
    array = about[None, None]
    spec = RasterSpec(
        size=Size(about.size, 1), bands=1, dtype=dtype, nodata=nodata, transform=(2, 0, 1, 0, -2, 5)
    )
    with RasterWriter(path, spec) as writer:
        writer.write(array)
    valid = valid_values(array, nodata=nodata)
    assert valid is not None
    with open_raster(path) as image:
        seen = image.read_mask() > 0
    if abs(nodata) < 1e38:  # there GDAL's own sum overflows
        np.testing.assert_array_equal(seen[:, 1:], valid[0][:, 1:])
    wanted = np.ones((1, about.size), bool)
    wanted[0, -1] = False
    with RasterWriter(path, spec) as writer:
        writer.write(with_nodata(array.copy(), wanted, nodata))
    with open_raster(path) as image:
        seen, values = image.read_mask() > 0, image.read()
    np.testing.assert_array_equal(values[0, 0, -1], value)
    if not math.isnan(nodata) and abs(nodata) < 1e38:
        np.testing.assert_array_equal(seen, wanted)
        np.testing.assert_allclose(
            values[0, 0, :-1].astype(float), about[:-1].astype(float), rtol=2e-6, atol=1
        )


def nearest_by_force(plane: Pixels, valid: Pixels, reach: int) -> Pixels:
    """Chamfer distances by Dijkstra-like relaxation over all pairs; the set of allowed values."""
    sources = np.argwhere(valid)
    allowed = np.empty(plane.shape, object)
    for y, x in np.ndindex(plane.shape):
        if valid[y, x]:
            allowed[y, x] = {plane[y, x]}
            continue
        steps = np.abs(sources - (y, x))
        short, long = np.sort(steps, axis=1).T
        # 5 x 5 chamfer: knight's moves first, the rest diagonal or straight.
        knights = np.minimum(short, long - short)
        rest_short, rest_long = short - knights, long - 2 * knights
        distance = 2.1969 * knights + 1.4 * rest_short + (rest_long - rest_short)
        near = distance <= min(distance.min(initial=INF) + 1e-3, reach + 1e-3)
        allowed[y, x] = {plane[tuple(at)] for at in sources[near]} or {0}
    return allowed


arrays_with_holes = stn.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14).flatmap(
    lambda shape: st.tuples(
        stn.arrays(np.uint8, (2, *shape), elements=st.integers(1, 255)),
        stn.arrays(np.bool_, (2, *shape)),
    )
)


@settings(max_examples=50)
@given(arrays_with_holes, st.integers(0, 9))
def test_the_nearest_data_fills(given_: tuple[Pixels, Pixels], reach: int) -> None:
    array, valid = given_
    before = array.copy()
    result = filled(array, valid, reach=reach)
    np.testing.assert_array_equal(array, before)
    for plane, holes, made in zip(array, valid, result, strict=True):
        allowed = nearest_by_force(plane, holes, reach)
        for at in np.ndindex(made.shape):
            assert made[at] in allowed[at]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0.002, 0.05, 0.5, 0.97]),
    reach=st.integers(0, 12),
    same=st.booleans(),
    data=st.data(),
)
def test_a_window_is_filled_as_the_whole_is(
    seed: int, share: float, reach: int, data: st.DataObject, *, same: bool
) -> None:
    rng = np.random.default_rng(seed)
    shape = (60, 70)
    array = rng.integers(1, 1000, (3, *shape)).astype("uint16")
    valid = rng.random((1 if same else 3, *shape)) < share
    whole = filled(array, valid, reach=reach, empty=7)
    top, left = data.draw(st.integers(0, 59)), data.draw(st.integers(0, 69))
    bottom, right = data.draw(st.integers(top + 1, 60)), data.draw(st.integers(left + 1, 70))
    rows = slice(max(0, top - reach), bottom + reach)
    cols = slice(max(0, left - reach), right + reach)
    part = filled(array[:, rows, cols], valid[:, rows, cols], reach=reach, empty=7)
    inner = part[:, top - rows.start : bottom - rows.start, left - cols.start : right - cols.start]
    np.testing.assert_array_equal(inner, whole[:, top:bottom, left:right])


@given(halo=st.integers(1, 12), seed=st.integers(0, 1000))
def test_a_net_at_data_sees_nothing_empty(halo: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    valid = rng.random((1, 50, 50)) < 0.003
    result = filled(np.full((1, 50, 50), 9, np.uint8), valid, reach=reach_for(halo), empty=0)
    for y, x in np.argwhere(valid[0]):
        seen = result[0, max(0, y - halo) : y + halo + 1, max(0, x - halo) : x + halo + 1]
        assert (seen == 9).all()


def test_filling_across_its_own_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    array = rng.normal(size=(1, 300, 300)).astype("float32")
    valid = rng.random((1, 300, 300)) < 0.01
    whole = filled(array, valid, reach=40)
    monkeypatch.setattr("attachtrans.stores.raster.validity._TILE", 64)
    np.testing.assert_array_equal(filled(array, valid, reach=40), whole)


def test_nothing_to_fill_is_no_copy() -> None:
    array = np.ones((3, 5, 5))
    assert filled(array, None, reach=3) is array
    assert filled(array, np.ones((1, 5, 5), bool), reach=3) is array
    np.testing.assert_array_equal(filled(array, np.zeros((1, 5, 5), bool), reach=3, empty=4), 4)
    with pytest.raises(ArgumentError, match="from 0 to 8000"):
        filled(array, None, reach=9000)


@pytest.mark.parametrize(
    ("source", "nodata", "masked", "dtype", "expected"),
    [
        ("uint8", None, False, "uint8", (None, False)),
        ("uint8", None, True, "float32", (None, True)),
        ("uint8", 255, False, "uint8", (255, False)),
        ("uint8", 0, False, "float32", (0, False)),
        ("uint8", 0, True, "uint16", (0, True)),
        ("uint8", -9999, False, "uint8", (None, False)),
        ("int16", -9999, False, "uint8", (0, False)),
        ("int16", -9999, False, "float32", (-9999, False)),
        ("float32", -9999, False, "uint8", (0, False)),
        ("float32", NAN, False, "uint16", (0, False)),
        ("float32", NAN, False, "int16", (-32768, False)),
        ("float32", NAN, False, "float64", (NAN, False)),
        ("float32", None, False, "float32", (NAN, False)),
        ("float32", None, False, "uint8", (None, True)),
        ("float32", None, True, "uint8", (None, True)),
        ("float64", -1.7976931348623157e308, False, "float32", (NAN, False)),
        ("float32", 0.5, False, "uint8", (0, False)),
    ],
)
def test_how_results_say_what_is_missing(
    source: str, nodata: float | None, dtype: str, expected: Any, *, masked: bool
) -> None:
    found = missing_in(np.dtype(dtype), nodata=nodata, masked=masked, source=np.dtype(source))
    np.testing.assert_equal(tuple(found), expected)


def test_data_that_equals_nodata_is_moved_by_a_step() -> None:
    valid = np.array([[True, True, False]])
    cases: list[tuple[str, float, list[float], list[float]]] = [
        ("uint8", 0, [0, 5, 9], [1, 5, 0]),
        ("uint8", 255, [255, 5, 9], [254, 5, 255]),
        ("int16", -32768, [-32768, 5, 9], [-32767, 5, -32768]),
        ("float32", 0, [0, 5, 9], [float(np.nextafter(np.float32(0), np.float32(1))), 5, 0]),
        ("float32", NAN, [0, 5, 9], [0, 5, NAN]),
    ]
    for dtype, nodata, before, after in cases:
        made = with_nodata(row(before, dtype=dtype), valid, nodata)
        np.testing.assert_array_equal(made, row(after, dtype=dtype))
    frozen = row([0, 5, 9])
    frozen.flags.writeable = False
    np.testing.assert_array_equal(with_nodata(frozen, valid, 0), row([1, 5, 0]))
    assert with_nodata(frozen, None, 77) is frozen
    with pytest.raises(ArgumentError, match="cannot hold"):
        with_nodata(frozen, None, -1)


SCALED = [(Size(40, 30), scale) for scale in (2, 4, 1.5, 0.5, 1, 1 / 3)] + [(Size(37, 1), 2)]


def nearest_by_gdal(mask: Pixels, scaled: Size) -> Pixels:
    facts: dict[str, Any] = {"width": mask.shape[1], "height": mask.shape[0], "count": 1}
    place = rasterio.Affine(2, 0, 1, 0, -2, 5)
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", dtype="uint8", transform=place, **facts) as dataset:
            dataset.write(mask, 1)
        with memory.open() as dataset:
            found: Pixels = dataset.read(1, out_shape=scaled[::-1])
    return found


@pytest.mark.parametrize(("whole", "scale"), SCALED)
def test_masks_are_those_of_gdal_and_of_the_whole(whole: Size, scale: float) -> None:
    rng = np.random.default_rng(3)
    scaled = Size(*(max(1, round(side * scale)) for side in whole))
    mask = (rng.random(whole[::-1]) < 0.5).astype(np.uint8) * 255
    alpha = rng.integers(0, 256, whole[::-1]).astype(np.uint8)
    everything = Window(col=0, row=0, width=whole.width, height=whole.height)
    result = Window(col=0, row=0, width=scaled.width, height=scaled.height)
    grown = scaled_mask(mask, everything, result, whole, scaled)
    np.testing.assert_array_equal(grown, nearest_by_gdal(mask, scaled))
    soft = scaled_alpha(alpha, everything, result, whole, scaled)
    wanted = resized_alpha(alpha, scaled, np.dtype(np.uint8))
    assert np.abs(soft.astype(int) - wanted).max() <= 1
    for col, row_, width, height in [(0, 0, 7, 1), (3, 0, 9, 1), (5, 4, 8, 6), (1, 9, 11, 1)]:
        target = Window(
            col=min(col, scaled.width - 1),
            row=min(row_, scaled.height - 1),
            width=min(width, scaled.width - min(col, scaled.width - 1)),
            height=min(height, scaled.height - min(row_, scaled.height - 1)),
        )
        source = source_window(target, whole, scaled)
        part = scaled_mask(mask[source.slices], source, target, whole, scaled)
        np.testing.assert_array_equal(part, grown[target.slices])
        part = scaled_alpha(alpha[source.slices], source, target, whole, scaled)
        np.testing.assert_array_equal(part, soft[target.slices])


def test_alpha_keeps_its_range_in_other_types() -> None:
    alpha = np.array([[0, 128, 255]], np.uint8)
    np.testing.assert_array_equal(alpha_as(alpha, np.dtype("uint16")), [[0, 32896, 65535]])
    np.testing.assert_allclose(alpha_as(alpha, np.dtype("float32")), [[0, 128 / 255, 1]])


def test_masks_of_every_kind_of_file(tmp_path: Path) -> None:
    """Mask inside, mask beside, alpha, nodata: what the reader gives is what counts."""
    array = np.full((3, 8, 8), 9, np.uint8)
    hole = np.ones((8, 8), bool)
    hole[2:4, 3:5] = False
    kinds: dict[str, dict[str, Any]] = {
        "internal": {"masked": True},
        "alpha": {"bands": 4},
        "nodata": {"nodata": 9.0},
    }
    common: dict[str, Any] = {
        "size": Size(8, 8),
        "bands": 3,
        "dtype": "uint8",
        "transform": (2, 0, 1, 0, -2, 5),
    }
    for kind, facts in kinds.items():
        path = tmp_path / f"{kind}.tif"
        spec = RasterSpec(**(common | facts))
        pixels = array.copy()
        if kind == "nodata":
            pixels[:, hole] = 8
        if kind == "alpha":
            pixels = np.concatenate([pixels, np.where(hole, 255, 0).astype(np.uint8)[None]])
        with RasterWriter(path, spec) as writer:
            writer.write(pixels)
            if spec.masked:
                writer.write_mask(hole)
    beside = tmp_path / "beside.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        facts_ = {"width": 8, "height": 8, "count": 3, "dtype": "uint8"}
        place = rasterio.Affine(2, 0, 1, 0, -2, 5)
        with rasterio.open(beside, "w", driver="GTiff", transform=place, **facts_) as dataset:
            dataset.write(array)
            dataset.write_mask(hole)
    assert (tmp_path / "beside.tif.msk").exists()
    for path in tmp_path.glob("*.tif"):
        with open_raster(path) as image:
            valid = valid_values(
                image.read(bands=[1, 2, 3]), nodata=image.nodata, mask=image.read_mask()
            )
        assert valid is not None
        np.testing.assert_array_equal(valid, hole[None])
