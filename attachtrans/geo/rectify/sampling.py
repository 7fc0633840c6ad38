"""Values of an image between its pixels, smoothed where an output pixel covers several.

OpenCV does the sums. Its cubic kernel moves things by up to 0.05 pixels: on a ramp it does not give
back the ramp. Places are shifted beforehand by just as much, so that here it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from attachtrans.geo.rectify.mapping import Placed
from attachtrans.geo.rectify.picture import CHANNELS, Picture, Read, packed, shrunk
from attachtrans.types import Size, Window

Ints = NDArray[np.intp]
Singles = NDArray[np.float32]
Flags = NDArray[np.bool_]
Pixels = NDArray[Any]
Interpolation = Literal["nearest", "linear", "cubic"]

_FLAGS = {"nearest": cv2.INTER_NEAREST, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}
_REACH = 3
"""Pixels about a place that the widest kernel asks for, rounding included."""
_FRACTIONS = 512
"""Places are rounded to 1/512 pixel: then they are the same counted from any window."""
_MOST_PX = 1 << 24
"""Of a picture at a time; OpenCV counts sides to 32767, and single precision needs room."""
_WIDEST = 1 << 14


def _ramp_keeping() -> Singles:
    """(512,) what to put for each fraction of a pixel, so that OpenCV's cubic kernel keeps ramps.

    Its kernel (Keys' with a = -0.75) puts the ramp's value at the fraction 1/2 + c where it should
    be at 1/2 + 3/4 c + c^3; that is solved for c. Rounded to 1/1024.
    """
    away = np.arange(_FRACTIONS) / _FRACTIONS - 0.5
    solved = np.sinh(np.arcsinh(4.0 * away) / 3.0)
    return (np.rint((solved + 0.5) * 1024.0) / 1024.0).astype(np.float32)


_CUBIC_FRACTIONS = _ramp_keeping()


class Sampler(NamedTuple):
    """How an image is sampled.

    size           of it
    interpolation  between its pixels
    antialias      means over the image's pixels where an output pixel covers several
    nodata         of the image: pixels without value, which take no part
    """

    size: Size
    interpolation: Interpolation
    antialias: bool
    nodata: float | None

    def sample(self, placed: Placed, read: Read) -> tuple[Pixels, Flags]:
        """The values of N blocks.

        Returns:
            (N, SIDE, SIDE, bands) in the image's type, and (N, SIDE, SIDE) where there are some;
            elsewhere they mean nothing.
        """
        seen = placed.seen.copy()
        values: Pixels | None = None
        levels, some = self._levels(placed.widths), seen.any(axis=(1, 2))
        for level in map(np.array, sorted(set(zip(*levels[:, some].tolist(), strict=True)))):
            which = np.flatnonzero((levels == level[:, None]).all(axis=0) & some)
            found, known = self._looked_up(self._targets(placed, which, level), read, level)
            if which.size == len(seen):
                return found, known
            if values is None:
                values = np.zeros((*seen.shape, found.shape[-1]), dtype=found.dtype)
            values[which], seen[which] = found, known
        if values is None:
            values = self.nothing(seen.shape, read)
        return values, seen

    def nothing(self, shape: tuple[int, ...], read: Read) -> Pixels:
        """(*shape, bands) zeros in the image's type."""
        some = read(Window(col=0, row=0, width=1, height=1))
        return np.zeros((*shape, len(some)), dtype=some.dtype)

    def fill(self, values: Pixels, without: Flags) -> None:
        """Puts `nodata`, or 0, into the pixels of (bands, height, width) that have no value."""
        if without.any():
            fill = values.dtype.type(0 if self.nodata is None else self.nodata)
            np.copyto(values, fill, where=without)

    def _levels(self, widths: NDArray[np.float64]) -> Ints:
        """(2, N) widths of output pixels -> powers of two by which the image is shrunk for them."""
        if not self.antialias or self.interpolation == "nearest":
            return np.zeros(widths.shape, dtype=np.intp)
        most = np.floor(np.log2(self.size))[:, None]
        levels = np.floor(np.log2(np.maximum(widths, 1.0)))
        return np.minimum(levels, most).astype(np.intp)

    def _targets(self, placed: Placed, which: Ints, level: Ints) -> _Targets:
        """Of some blocks, in the image shrunk by two to the powers (across, down)."""
        whole = placed.base[:, which] >> level[:, None]
        off = placed.off[:, which]
        if level.any():
            rest = placed.base[:, which] - (whole << level[:, None])
            off += rest[:, :, None, None].astype(np.float32)
        if self.interpolation == "nearest":
            last = np.array(self.size)[:, None] - 1
            # The far edge itself belongs to the last pixel.
            np.minimum(np.floor(off, out=off), (last - whole)[:, :, None, None], out=off)
            return _Targets(whole, off.astype(np.float32), placed.seen[which])
        off *= (_FRACTIONS / (1 << level))[:, None, None, None].astype(np.float32)
        off -= np.float32(0.5 * _FRACTIONS)
        np.rint(off, out=off)
        if self.interpolation == "linear":
            off *= np.float32(1.0 / _FRACTIONS)
        else:
            # Within a block off its middle: 32 bits do, and take half the time.
            steps = off.astype(np.int32)
            off = _CUBIC_FRACTIONS.take(steps & (_FRACTIONS - 1), mode="clip")
            steps >>= _FRACTIONS.bit_length() - 1
            off += steps.astype(np.float32)
        return _Targets(whole, off, placed.seen[which])

    def _looked_up(self, targets: _Targets, read: Read, level: Ints) -> tuple[Pixels, Flags]:
        """(n, SIDE, SIDE, bands) values at targets, and (n, SIDE, SIDE) where there are some."""
        low, high = targets.bounds()
        extent = high - low + 2 * _REACH
        if extent.max() > _WIDEST or extent[0] * extent[1] > _MOST_PX:
            return self._in_halves(targets, read, level)
        last = -(-np.array(self.size) // (1 << level))
        first = np.maximum(low - _REACH, 0)
        behind = np.minimum(high + _REACH + 1, last)
        window = Window(
            col=int(first[0]),
            row=int(first[1]),
            width=int(behind[0] - first[0]),
            height=int(behind[1] - first[1]),
        )
        picture = shrunk(read, window, self.size, (int(level[0]), int(level[1])), self.nodata)
        maps = targets.off
        maps += (targets.whole - first[:, None])[:, :, None, None].astype(np.float32)
        count, side = targets.seen.shape[:2]
        values, known = self._remapped(picture, maps.reshape(2, count * side, side))
        return (
            picture.restored(values).reshape(count, side, side, -1),
            targets.seen & known.reshape(count, side, side),
        )

    def _in_halves(self, targets: _Targets, read: Read, level: Ints) -> tuple[Pixels, Flags]:
        """`_looked_up`, one half of the picture after the other."""
        low, high = targets.bounds()
        axis = int(np.argmax(high - low))
        middle = 0.5 * (low[axis] + high[axis]) - targets.whole[axis]
        first = targets.off[axis] <= middle[:, None, None]
        parts = []
        for half, limited in (
            (targets.seen & first, np.minimum),
            (targets.seen & ~first, np.maximum),
        ):
            which = np.flatnonzero(half.any(axis=(1, 2)))
            some = _Targets(targets.whole[:, which], targets.off[:, which], half[which])
            # What is not wanted comes to lie on the border.
            limited(some.off[axis], middle[which, None, None], out=some.off[axis])
            parts.append((which, half[which], *self._looked_up(some, read, level)))
        sample = parts[0][2]
        values = np.zeros((*targets.seen.shape, sample.shape[-1]), dtype=sample.dtype)
        seen = np.zeros_like(targets.seen)
        for which, half, found, known in parts:
            values[which] = np.where(half[..., None], found, values[which])
            seen[which] |= known
        return values, seen

    def _remapped(self, picture: Picture, maps: Singles) -> tuple[Pixels, Flags]:
        """(rows, cols, bands) at places (2, rows, cols) of a picture, and where they are known."""
        values = _remap(picture.values, maps, self.interpolation)
        if picture.weights is None:
            return values, np.ones(maps.shape[1:], dtype=np.bool_)
        # Rounded here: OpenCV takes the even one of two, so another one in another window.
        nearest = np.floor(maps + np.float32(0.5))
        known = _remap(picture.weights, nearest, "nearest")[..., 0] >= 0.5
        if self.interpolation == "nearest":
            return values, known
        # As many bands of the same type: OpenCV does not round places alike for all.
        weights = np.broadcast_to(picture.weights, picture.values.shape)
        share = _remap(weights.astype(picture.values.dtype), maps, "linear")
        weighted = _remap(picture.values * weights, maps, "linear")
        full = cv2.erode((picture.weights >= 1.0).astype(np.uint8), np.ones((5, 5), np.uint8))
        within = _remap(full[..., None], nearest, "nearest") > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(within, values, weighted / share), known


class _Targets(NamedTuple):
    """Places of n blocks in a shrunk image, from the centre of its first pixel.

    whole  (2, n) pixels
    off    (2, n, SIDE, SIDE) from there
    seen   (n, SIDE, SIDE) the ones that are wanted
    """

    whole: Ints
    off: Singles
    seen: Flags

    def bounds(self) -> tuple[Ints, Ints]:
        """(2,) the first and the last pixel that a place rounds to, wanted or not."""
        low = self.off.min(axis=(2, 3)) + self.whole
        high = self.off.max(axis=(2, 3)) + self.whole
        return (
            np.floor(low.min(axis=1)).astype(np.intp),
            np.ceil(high.max(axis=1)).astype(np.intp),
        )


def _remap(picture: Pixels, maps: Singles, interpolation: Interpolation) -> Pixels:
    """(rows, cols, bands) of a picture (height, width, bands) at places (2, rows, cols)."""
    if picture.dtype == np.float64 and interpolation == "linear":
        return _blended(picture, maps)
    if picture.dtype == np.float64 and interpolation == "cubic":
        # OpenCV 5.0 gets doubles wrong where the cubic kernel reaches over the border.
        picture = np.pad(picture, ((_REACH, _REACH), (_REACH, _REACH), (0, 0)), mode="edge")
        maps = maps + np.float32(_REACH)
    parts = [
        cv2.remap(
            packed(picture[..., bands]),
            maps[0],
            maps[1],
            _FLAGS[interpolation],
            borderMode=cv2.BORDER_REPLICATE,
        ).reshape(*maps.shape[1:], -1)
        for bands in _groups(picture.shape[-1])
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def _groups(bands: int) -> Iterator[slice]:
    """Bands that go together; not two, for which OpenCV places pixels to 1/32 only."""
    whole = bands - bands % CHANNELS
    yield from (slice(start, start + CHANNELS) for start in range(0, whole, CHANNELS))
    step = 1 if bands - whole == 2 else CHANNELS
    yield from (slice(start, min(start + step, bands)) for start in range(whole, bands, step))


def _blended(picture: Pixels, maps: Singles) -> Pixels:
    """Linear `_remap` of doubles, which OpenCV places to 1/32 pixel only."""
    cols, rows = np.floor(maps).astype(np.intp)
    right, down = (maps - np.stack([cols, rows])).astype(np.float64)[..., None]
    height, width = picture.shape[:2]
    (left, next_col), (top, next_row) = (
        (np.clip(first, 0, last), np.clip(first + 1, 0, last))
        for first, last in ((cols, width - 1), (rows, height - 1))
    )
    above = picture[top, left] * (1.0 - right) + picture[top, next_col] * right
    below = picture[next_row, left] * (1.0 - right) + picture[next_row, next_col] * right
    blended: Pixels = above * (1.0 - down) + below * down
    return blended
