"""Arrays on their way between codecs (height, width, bands) and the engine (bands, height, width).

Turning is done with views; bytes are moved once, when a codec needs them contiguous.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from attachtrans.image.base import Pixels
from attachtrans.types import Size

TRANSPOSED = frozenset({5, 6, 7, 8})

_FAST_TYPES = frozenset({"uint8", "uint16", "float32"})


def upright(array: Pixels, orientation: int) -> Pixels:
    """Turn the last two axes from stored order to upright, for EXIF orientation 1..8 (a view)."""
    if orientation in TRANSPOSED:
        array = array.swapaxes(-1, -2)
    if orientation in {2, 3, 6, 7}:
        array = array[..., ::-1]
    if orientation in {3, 4, 7, 8}:
        array = array[..., ::-1, :]
    return array


def stored(array: Pixels, orientation: int) -> Pixels:
    """The inverse of `upright` (a view)."""
    return upright(array, {6: 8, 8: 6}.get(orientation, orientation))


def turned(size: Size, orientation: int) -> Size:
    """A size in the other order: stored -> upright and back."""
    return Size(size.height, size.width) if orientation in TRANSPOSED else size


def interleaved(pixels: Pixels) -> Pixels:
    """(bands, height, width) -> contiguous (height, width, bands)."""
    view = pixels.transpose(1, 2, 0)
    if view.flags.c_contiguous:
        return view
    if pixels.shape[0] not in {3, 4} or pixels.dtype.name not in _FAST_TYPES:
        return np.ascontiguousarray(view)
    # OpenCV does this many times faster than NumPy, but wants planes that are in order: undo the
    # turning, which is in the strides, and do it again with the pixels side by side.
    turned_over = abs(pixels.strides[1]) < abs(pixels.strides[2])
    plain = pixels.swapaxes(1, 2) if turned_over else pixels
    down, across = (-1 if stride < 0 else 1 for stride in plain.strides[1:])
    plain = plain[:, ::down, ::across]
    result: Pixels = plain.transpose(1, 2, 0)
    if not result.flags.c_contiguous:
        in_order = plain[0].flags.c_contiguous
        result = np.asarray(cv2.merge(list(plain))) if in_order else np.ascontiguousarray(result)
    if (down, across) != (1, 1):
        axes = {(-1, 1): 0, (1, -1): 1, (-1, -1): -1}[down, across]
        result = np.asarray(cv2.flip(result, axes))
    return np.asarray(cv2.transpose(result)) if turned_over else result


def planes(array: Pixels) -> Pixels:
    """(height, width) or (height, width, bands) -> (bands, height, width), a view."""
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def with_alpha(pixels: Pixels, alpha: Pixels | None) -> Pixels:
    """The bands and, behind them, alpha."""
    return pixels if alpha is None else np.concatenate([pixels, alpha[None]])


def enlarged(pixels: Pixels, factor: float) -> Pixels:
    """Pixels (bands, height, width) enlarged bilinearly, sides rounded; as they are for 1.

    This is how super-resolution nets that map a size to itself are fed. 8-bit stays 8-bit.
    """
    if factor == 1:
        return pixels
    sides = (round(pixels.shape[2] * factor), round(pixels.shape[1] * factor))
    grown = np.asarray(cv2.resize(interleaved(pixels), sides, interpolation=cv2.INTER_LINEAR))
    return grown.reshape(*grown.shape[:2], -1).transpose(2, 0, 1)


def resized_alpha(alpha: Pixels, size: Size, dtype: np.dtype[Any]) -> Pixels:
    """Alpha for a result of another size or type: the mean when shrinking, linear when growing.

    The full range of an integer type stays the full range; in floats it becomes 0..1.
    """
    if alpha.shape != (size.height, size.width):
        shrinks = size.height < alpha.shape[0] and size.width < alpha.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        work = np.ascontiguousarray(alpha)
        if work.dtype not in {np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)}:
            work = work.astype(np.float64)
        grown = np.asarray(cv2.resize(work, tuple(size), interpolation=how))
        alpha = grown if grown.dtype == alpha.dtype else _as_type(grown, alpha.dtype)
    if alpha.dtype == dtype:
        return alpha
    share = alpha.astype(np.float64) / _full(alpha.dtype)
    return _as_type(share * _full(dtype), dtype)


def _full(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def _as_type(values: Pixels, dtype: np.dtype[Any]) -> Pixels:
    return (np.rint(values) if np.issubdtype(dtype, np.integer) else values).astype(dtype)
