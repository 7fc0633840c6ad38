"""Parts of an image as OpenCV wants them: read by pieces, shrunk, rid of pixels of no value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError, ImageError
from attachtrans.types import Size, Window

Pixels = NDArray[Any]
Singles = NDArray[np.float32]
Read = Callable[[Window], Pixels]
"""A window of an image -> its (bands, height, width); of an image with a mask always a masked
array, whose masked pixels have no value: they count like those of nodata."""

CHANNELS = 4
"""OpenCV's cubic kernel takes no more at a time."""
_PART_PX = 1 << 24
"""Of the image that are read at a time where it is shrunk."""
_NATIVE = {"b1": "u1", "u1": "u1", "u2": "u2", "i2": "f4", "f4": "f4", "f8": "f8", "i1": "f4"}
"""The types that values are computed in, by their type; float64 for all others. OpenCV places
signed integers to 1/32 pixel only."""


class Picture(NamedTuple):
    """A part of an image, shrunk.

    values   (height, width, bands) in a type of OpenCV's
    weights  (height, width, 1) share of each pixel that has a value, None: all of all
    dtype    of the image
    """

    values: Pixels
    weights: Singles | None
    dtype: np.dtype[Any]

    def restored(self, values: Pixels) -> Pixels:
        """Values in the image's type: rounded, and kept within its range."""
        if values.dtype == self.dtype:
            return values
        if self.dtype.kind == "f":
            return values.astype(self.dtype)
        if self.dtype.kind == "b":
            return values >= 0.5
        limits = np.iinfo(self.dtype)
        if values.dtype.kind == "f":
            values = np.rint(np.nan_to_num(values))
        return np.clip(values, limits.min, limits.max).astype(self.dtype)


def shrunk(
    read: Read, window: Window, size: Size, powers: tuple[int, int], nodata: float | None
) -> Picture:
    """A window of the image shrunk by two to the powers, (across, down).

    Each of its pixels is the mean of those of the image; the ones of no value take no part.

    Args:
        read: reads the image.
        window: in pixels of the shrunk image.
        size: of the image.
        powers: 0 for as it is.
        nodata: pixels with this value in all bands have none; so have those with a nan.
    """
    across, down = 1 << powers[0], 1 << powers[1]
    cols = max(1, min(window.width, _PART_PX // (across * down)))
    rows = max(1, _PART_PX // (cols * across * down))
    bands = []
    for top in range(window.row, window.row + window.height, rows):
        row = []
        for left in range(window.col, window.col + window.width, cols):
            right = min(left + cols, window.col + window.width)
            bottom = min(top + rows, window.row + window.height)
            part = Window(
                col=left * across,
                row=top * down,
                width=min(right * across, size.width) - left * across,
                height=min(bottom * down, size.height) - top * down,
            )
            row.append(_shrunk(_checked(read(part), part), across, down, nodata))
        bands.append(_joined(row, 1))
    return _joined(bands, 0)


def _joined(parts: list[Picture], axis: int) -> Picture:
    """Parts side by side (axis 1), or one below the other (axis 0)."""
    if len(parts) == 1:
        return parts[0]
    values = np.concatenate([part.values for part in parts], axis=axis)
    if all(part.weights is None for part in parts):
        return parts[0]._replace(values=values)
    weights = [
        np.ones((*part.values.shape[:2], 1), dtype=np.float32)
        if part.weights is None
        else part.weights
        for part in parts
    ]
    return parts[0]._replace(values=values, weights=np.concatenate(weights, axis=axis))


def _checked(pixels: Pixels, window: Window) -> Pixels:
    if pixels.ndim != 3 or pixels.shape[1:] != (window.height, window.width):
        raise ImageError(
            f"a window of {window.width} x {window.height} pixels was asked for and an array "
            f"{pixels.shape} came; (bands, height, width) is wanted"
        )
    if pixels.dtype.kind not in "buif":
        raise ArgumentError(f"an image of {pixels.dtype} cannot be rectified; real numbers can")
    return pixels


def _shrunk(pixels: Pixels, across: int, down: int, nodata: float | None) -> Picture:
    dtype = pixels.dtype
    values = np.moveaxis(np.ma.getdata(pixels), 0, -1)
    known = _known(values, nodata, np.ma.getmask(pixels))
    values = values.astype(_NATIVE.get(dtype.str[1:], "f8"), copy=False)
    if nodata is not None or isinstance(pixels, np.ma.MaskedArray):
        # Whether or not there are such pixels in this part: it comes out the same in every window.
        values = values.astype(_real(values), copy=False)
    if known is None:
        return Picture(_means(packed(values), across, down), None, dtype)
    weights = known.astype(np.float32)[..., None]
    values = np.where(known[..., None], values, values.dtype.type(0))
    if across == down == 1:
        return Picture(values, weights, dtype)
    sums = _means(values, across, down)
    shares = _means(weights, across, down)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Picture(np.where(shares > 0.0, sums / shares, sums), shares, dtype)


def _real(values: Pixels) -> type[np.floating]:
    """The float type that holds weighted sums of values."""
    return np.float64 if values.dtype.itemsize > 2 and values.dtype != np.float32 else np.float32


def _known(
    values: Pixels, nodata: float | None, masked: NDArray[np.bool_] | np.bool_
) -> NDArray[np.bool_] | None:
    """(height, width) where there is a value; None: everywhere.

    masked is the mask of a masked array, (bands, height, width) or False.
    """
    without = np.zeros(values.shape[:2], dtype=np.bool_)
    if masked is not np.ma.nomask:
        without |= np.asarray(masked).any(axis=0)
    if values.dtype.kind == "f":
        without |= np.isnan(values).any(axis=-1)
    if nodata is not None and not np.isnan(nodata):
        without |= (values == nodata).all(axis=-1)
    return ~without if without.any() else None


def packed(values: Pixels) -> Pixels:
    """As OpenCV takes it: the bands of a pixel and the pixels of a row side by side."""
    bands = values.shape[2]
    side_by_side = values.strides[2] == values.itemsize or bands == 1
    done = side_by_side and values.strides[1] == bands * values.itemsize
    return values if done else np.ascontiguousarray(values)


def _means(values: Pixels, across: int, down: int) -> Pixels:
    """(height, width, bands) -> means over `down` rows and `across` columns."""
    if across == down == 1:
        return values
    height, width, bands = values.shape
    cols, rows = -(-width // across), -(-height // down)
    beyond = ((0, rows * down - height), (0, cols * across - width), (0, 0))
    if any(after for _, after in beyond):
        values = np.pad(values, beyond, mode="edge")
    parts = [
        cv2.resize(
            np.ascontiguousarray(values[..., band : band + CHANNELS]),
            (cols, rows),
            interpolation=cv2.INTER_AREA,
        ).reshape(rows, cols, -1)
        for band in range(0, bands, CHANNELS)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
