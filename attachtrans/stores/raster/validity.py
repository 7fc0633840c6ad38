"""What of a raster is data, and how the rest is kept away from a net and put back afterwards.

Before the net: `valid_values`, then `filled` with the nearest data, so that no nodata leaks into
anything valid. After it: `missing_in` decides how the result says what is missing, `scaled_mask`
and `scaled_alpha` carry masks to the result's pixels, `with_nodata` writes nodata.

Arrays are (bands, height, width). `valid` arrays are bool of (1, height, width) where all bands
agree, else of (bands, height, width); None says that everything is data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError
from attachtrans.image.arrays import resized_alpha
from attachtrans.types import Size, Window

Pixels = NDArray[Any]
Bools = NDArray[np.bool_]

_CLOSE = 2.0**-21
"""Floats that are this near nodata, in parts of it, are nodata to GDAL: some float32 steps."""
_TILE = 1024
"""Filling goes by squares of this side: most have nothing to fill."""
_FARTHEST = 8000
"""OpenCV's distances, fixed-point numbers, end at 8191."""


class Missing(NamedTuple):
    """How a raster says what is missing: by a value, by a mask, by both, or not at all."""

    nodata: float | None
    masked: bool


def valid_values(
    array: Pixels,
    *,
    nodata: float | Sequence[float | None] | None = None,
    mask: Pixels | None = None,
) -> Bools | None:
    """Where an array holds data, as GDAL sees it; None: everywhere.

    A pixel of which some bands are nodata counts as valid; those bands are to be filled.

    Args:
        array: (bands, height, width); infinite and NaN are never data.
        nodata: of all bands, or of each; None for none. One that the type cannot hold (-9999 of
            bytes) is that of no pixel.
        mask: (height, width) of the file, or its alpha: 0 where no band has data.

    Raises:
        ArgumentError: not as many nodata values as bands, or a mask of another size.
    """
    bands = len(array)
    each = list(nodata) if isinstance(nodata, Sequence) else [nodata] * bands
    if len(each) != bands or (mask is not None and mask.shape != array.shape[1:]):
        raise ArgumentError(
            f"{len(each)} nodata values and a mask of {None if mask is None else mask.shape} do "
            f"not fit {bands} bands of {array.shape[1:]}"
        )
    planes = [_data_in(band, value) for band, value in zip(array, each, strict=True)]
    base = None if mask is None or mask.all() else mask != 0
    found = [plane for plane in planes if plane is not None]
    if not found:
        return None if base is None else base[None]
    everywhere = np.ones(array.shape[1:], bool) if base is None else base
    valid = [everywhere if plane is None else plane & everywhere for plane in planes]
    if all(np.array_equal(valid[0], plane) for plane in valid[1:]):
        return valid[0][None]
    return np.stack(valid)


@overload
def valid_pixels(valid: Bools) -> Bools: ...
@overload
def valid_pixels(valid: None) -> None: ...
def valid_pixels(valid: Bools | None) -> Bools | None:
    """(height, width): pixels with data in any band; None: all of them."""
    if valid is None:
        return None
    return valid[0] if len(valid) == 1 else np.asarray(valid.any(axis=0))


def filled(array: Pixels, valid: Bools | None, *, reach: int, empty: float = 0) -> Pixels:
    """Values that are no data replaced by the nearest data of their band.

    The nearest within `reach` pixels; beyond that by `empty`. What a place is filled with depends
    on the pixels within `reach` of it and on nothing else. So who fills a window reads `reach`
    more pixels on each side (as far as the raster goes), fills, and crops: the result is, bit for
    bit, a part of the raster filled as a whole.

    Distances are those of OpenCV's 5 x 5 chamfer (1, 1.4 and 2.2 pixels per step); of several
    nearest its order of scanning decides.

    Args:
        array: (bands, height, width); not changed.
        valid: see `valid_values`. Nothing to fill: the array itself is returned.
        reach: pixels, up to 8000.
        empty: a value of the array's type.

    Raises:
        ArgumentError: `reach` is negative or larger than that.
    """
    if not 0 <= reach <= _FARTHEST:
        raise ArgumentError(f"nodata is filled from 0 to {_FARTHEST} pixels, not from {reach}")
    if valid is None or valid.all():
        return array
    result = array.copy()
    for number, plane in enumerate(valid):
        bands = slice(None) if len(valid) == 1 else slice(number, number + 1)
        for place in _boxes(plane):
            _fill(result[bands], array[bands], plane, place, reach, empty)
    return result


def reach_for(halo: int) -> int:
    """The reach with which no `empty` comes into the net's view of a pixel with data.

    `halo` is how many pixels to each side the net sees. All that it sees of a pixel is at most
    1.4 halos from that pixel, which is data itself. (Of a pixel with data in some bands only, the
    others may have none that near.)
    """
    return math.ceil(1.4 * halo)


def missing_in(
    dtype: np.dtype[Any], *, nodata: float | None, masked: bool, source: np.dtype[Any]
) -> Missing:
    """How a result says what is missing, from how its source does.

    The nodata value stays where the result's type can hold it; else it is 0 for types without a
    sign, the lowest value for those with one, NaN for floats. A source of floats has NaN as nodata
    even when it does not say so: the result gets NaN, too, or a mask where its type has none.

    Args:
        dtype: of the result.
        nodata: of the source.
        masked: the source has a mask; then so has the result.
        source: type of the source. A nodata value that this cannot hold says nothing.
    """
    if nodata is not None and _held(nodata, source) is None:
        nodata = None
    if nodata is None:
        if source.kind == "f" and not masked:
            return Missing(math.nan, False) if dtype.kind == "f" else Missing(None, True)
        return Missing(None, masked)
    if _held(nodata, dtype) is not None:
        return Missing(nodata, masked)
    if dtype.kind == "f":
        return Missing(math.nan, masked)
    return Missing(float(np.iinfo(dtype).min), masked)


def with_nodata(result: Pixels, valid: Bools | None, nodata: float) -> Pixels:
    """A result with nodata exactly where it belongs; may be written into `result`.

    Data that happens to equal nodata is moved by the smallest step that GDAL tells apart: 1 for
    whole numbers, a millionth of the value for floats (the next float, should nodata be 0).

    Args:
        result: (bands, height, width).
        valid: (height, width), pixels with data; None: all.
        nodata: a value of the result's type.

    Raises:
        ArgumentError: the type cannot hold that value.
    """
    value = _held(nodata, result.dtype)
    if value is None:
        raise ArgumentError(f"{result.dtype} cannot hold the nodata value {nodata:g}")
    if _reaches(result, value) and (same := _equals(result, value)).any():
        if not result.flags.writeable:
            result = result.copy()
        result[same] = _beside(value, result.dtype)
    if valid is None or valid.all():
        return result
    if not result.flags.writeable:
        result = result.copy()
    result[:, ~valid] = value
    return result


def source_window(target: Window, whole: Size, scaled: Size) -> Window:
    """The pixels of a source that `scaled_mask` and `scaled_alpha` need for a window of the result.

    `whole` is the source's size, `scaled` the result's.
    """
    left, width = _needed(target.col, target.width, whole.width, scaled.width)
    top, height = _needed(target.row, target.height, whole.height, scaled.height)
    return Window(col=left, row=top, width=width, height=height)


def scaled_mask(mask: Pixels, source: Window, target: Window, whole: Size, scaled: Size) -> Pixels:
    """(height, width) of a mask for a window of the result: the nearest pixel's.

    Args:
        mask: of the window `source`, which holds all of `source_window`.
        source: in the source, whose size is `whole`.
        target: in the result, whose size is `scaled`.
        whole: size of the source.
        scaled: size of the result.
    """
    rows = _nearest(target.row, target.height, whole.height, scaled.height) - source.row
    cols = _nearest(target.col, target.width, whole.width, scaled.width) - source.col
    return mask[np.ix_(rows, cols)]


def scaled_alpha(
    alpha: Pixels, source: Window, target: Window, whole: Size, scaled: Size
) -> Pixels:
    """(height, width) of alpha for a window of the result, as `image.resized_alpha` of the whole.

    Linear where the result is larger, the mean where it is smaller. For the arguments see
    `scaled_mask`; another type is made of it by `resized_alpha`.
    """
    if (alpha == alpha[0, 0]).all():
        return np.full((target.height, target.width), alpha[0, 0], alpha.dtype)
    work = alpha.astype(np.float32 if alpha.dtype.itemsize <= 2 else np.float64)
    work = _weighted(work, source.row, target.row, target.height, (whole.height, scaled.height))
    work = _weighted(work.T, source.col, target.col, target.width, (whole.width, scaled.width)).T
    return (np.rint(work) if alpha.dtype.kind in "ui" else work).astype(alpha.dtype)


def alpha_as(alpha: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """Alpha in another type: the full range of integers stays that, in floats it is 0..1."""
    return resized_alpha(alpha, Size(*alpha.shape[::-1]), dtype)


def _data_in(band: Pixels, nodata: float | None) -> Bools | None:
    """Where one band holds data; None: everywhere."""
    good: Bools | None = None
    if band.dtype.kind == "f":
        good = np.isfinite(band)
    value = None if nodata is None else _held(nodata, band.dtype)
    if value is not None and np.isfinite(value):
        differs = ~_equals(band, value)
        good = differs if good is None else good & differs
    return None if good is None or good.all() else good


def _held(nodata: float, dtype: np.dtype[Any]) -> Any:
    """A nodata value in a type, None where that cannot hold it."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            value = dtype.type(nodata)
        return None if np.isinf(value) and math.isfinite(nodata) else value
    info = np.iinfo(dtype)
    if not math.isfinite(nodata) or nodata != math.floor(nodata):
        return None
    # Compared as whole numbers: 2**64 - 1 has no float of its own.
    return dtype.type(int(nodata)) if info.min <= int(nodata) <= info.max else None


def _equals(array: Pixels, value: Any) -> Bools:
    """Where values are nodata to GDAL."""
    if array.dtype.kind != "f" or value == 0:
        return np.asarray(array == value)
    if not np.isfinite(value):
        return np.zeros(array.shape, bool)
    with np.errstate(over="ignore"):
        ends = sorted([value * array.dtype.type(1 - _CLOSE), value * array.dtype.type(1 + _CLOSE)])
    return np.asarray((array > ends[0]) & (array < ends[1]))


def _reaches(array: Pixels, value: Any) -> bool:
    """False where a whole number is surely none of the values, which is soon said of the least."""
    return array.dtype.kind == "f" or bool(array.min() <= value)


def _beside(value: Any, dtype: np.dtype[Any]) -> Any:
    """The nearest value that is not nodata."""
    if dtype.kind != "f":
        return value + dtype.type(1) if value < np.iinfo(dtype).max else value - dtype.type(1)
    if value == 0:
        return np.nextafter(value, dtype.type(1))
    return value * dtype.type(1 - 2 * _CLOSE)


def _boxes(valid: Bools) -> Iterator[tuple[slice, slice]]:
    """Rectangles, of no more than _TILE to a side, that hold all that is to be filled."""
    for top in range(0, valid.shape[0], _TILE):
        for left in range(0, valid.shape[1], _TILE):
            holes = ~valid[top : top + _TILE, left : left + _TILE]
            rows, cols = np.flatnonzero(holes.any(axis=1)), np.flatnonzero(holes.any(axis=0))
            if rows.size:
                yield (
                    slice(top + int(rows[0]), top + int(rows[-1]) + 1),
                    slice(left + int(cols[0]), left + int(cols[-1]) + 1),
                )


def _fill(
    result: Pixels,
    array: Pixels,
    valid: Bools,
    place: tuple[slice, slice],
    reach: int,
    empty: float,
) -> None:
    """Fill a rectangle of (bands, height, width) from the same array as it was."""
    rows, cols = place
    top, left = max(0, rows.start - reach), max(0, cols.start - reach)
    near = valid[top : rows.stop + reach, left : cols.stop + reach]
    y, x = np.nonzero(~valid[place])
    values = np.full((len(array), y.size), empty, array.dtype)
    sources = np.flatnonzero(near)
    if sources.size:
        distance, labels = cv2.distanceTransformWithLabels(
            (~near).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        seen = (y + (rows.start - top), x + (cols.start - left))
        close = np.asarray(distance)[seen] <= reach
        nearest = sources[np.asarray(labels)[seen][close] - 1]
        from_rows, from_cols = np.divmod(nearest, near.shape[1])
        values[:, close] = array[:, from_rows + top, from_cols + left]
    result[:, y + rows.start, x + cols.start] = values


def _needed(start: int, length: int, whole: int, scaled: int) -> tuple[int, int]:
    """First pixel and number of pixels along one axis, with one more to each side."""
    first = max(0, start * whole // scaled - 1)
    last = min(whole, -(-(start + length) * whole // scaled) + 1)
    return first, last - first


def _nearest(start: int, length: int, whole: int, scaled: int) -> NDArray[np.int64]:
    """Along one axis, the source pixel in which the centre of each of the result's lies."""
    pixels = np.arange(start, start + length, dtype=np.int64)
    return (2 * pixels + 1) * whole // (2 * scaled)


def _weighted(
    values: Pixels, first: int, start: int, length: int, sizes: tuple[int, int]
) -> Pixels:
    """Rows of the result from rows of a source that begin at `first`."""
    whole, scaled = sizes
    step = whole / scaled
    pixels = np.arange(start, start + length)[:, None]
    if step > 1:  # the share of each source pixel in the result's
        taps = (pixels * whole // scaled) + np.arange(math.ceil(step) + 1)
        low, high = np.maximum(taps, pixels * step), np.minimum(taps + 1, (pixels + 1) * step)
        weights = np.maximum(high - low, 0) / step
    else:
        centre = (pixels + 0.5) * step - 0.5
        taps = np.floor(centre).astype(np.int64) + np.arange(2)
        weights = np.concatenate([taps[:, 1:] - centre, centre - taps[:, :1]], axis=1)
    rows = np.clip(taps, 0, whole - 1) - first
    rows = np.clip(rows, 0, len(values) - 1)  # what lies beyond has no weight
    shares = weights.astype(values.dtype)
    result: Pixels = shares[:, :1] * values[rows[:, 0]]
    for tap in range(1, rows.shape[1]):
        result += shares[:, tap : tap + 1] * values[rows[:, tap]]
    return result
