"""How far a net looks: measured, verified, and "unknown" whenever there is doubt.

A reach decides that tiles are cropped instead of blended, so a reach that is too small would put
seams into photos. Therefore it is looked for in several independent ways, and the largest counts:

1. One input pixel is made NaN. Arithmetic passes NaN on whatever the weights are, so the outputs
   that are not finite are all that can depend on that pixel, through normalisations and attention
   too. This is repeated for every phase of the net's strides, on narrow strips along either axis.
2. One input pixel is changed by much, for steps that swallow NaN (comparisons, integer types).
3. Both again for whole lines of pixels across a long strip: nets that look at few pixels far away
   (dilated kernels) hide them beyond the ends of a short one.
4. The result is verified: what two windows of one image give for the same place must agree, with
   other light around them, and at the image's borders. Nets whose grid or statistics follow the
   tile fail here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import EllipsisType
from typing import NamedTuple

import torch
from torch import Tensor

from attachtrans.models.translator import TranslatorSpec

_LENGTHS = (48, 96, 192)
_BREADTH = 16
_LONG, _LONG_BREADTH = 1024, 8
_FARTHEST = _LENGTHS[-1] // 2
"""Overlaps beyond this reach cost more than blending does."""
_LEAST_PHASES = 8
_CHANGED_PHASES = 2
_MAX_WORK = 3e10
"""Multiply-adds of one run, counted as weights times pixels: a second or so on one core."""
_EXACT = 1e-5
"""Of the span of values."""
_TINY = 1e-12


class Sampler(NamedTuple):
    """noise(bands, height, width, seed) -> (1, bands, height, width); run: one image -> output."""

    noise: Callable[[int, int, int, int], Tensor]
    run: Callable[[Tensor], Tensor]


def measure_reach(spec: TranslatorSpec, sampler: Sampler, *, weights: int) -> int | None:
    """How far an output pixel sees beyond its own place, in input pixels, margin included.

    None: the whole tile, or further than can be measured with bounded work, or not verified.
    """
    reach = spec.margin_px
    for axis in (0, 1):
        along = _along(spec, sampler, axis, weights)
        if along is None or along > _FARTHEST:
            return None
        reach = max(reach, along)
    return reach if _is_exact(spec, sampler, reach, weights) else None


def _along(spec: TranslatorSpec, sampler: Sampler, axis: int, weights: int) -> int | None:
    """The reach along an axis (0 rows, 1 columns); None: unbounded or not to be measured."""
    if spec.fixed_size is not None:
        width, height = spec.fixed_size
        strip = _Strip(spec=spec, sampler=sampler, axis=axis, height=height, width=width)
        near = strip.reach_of_pixels() if strip.pixels * weights <= _MAX_WORK else None
        return None if near is None else max(near, strip.reach_of_lines())
    for length in _LENGTHS:
        strip = _Strip.of(spec, sampler, axis, (length, _BREADTH))
        if strip.pixels * weights > _MAX_WORK:
            return None
        near = strip.reach_of_pixels()
        if near is not None:
            long = _Strip.of(spec, sampler, axis, (_LONG, _LONG_BREADTH))
            affordable = long.pixels * weights <= _MAX_WORK
            return max(near, long.reach_of_lines()) if affordable else None
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Strip:
    """A window of noise, in which changes are followed along `axis` (0 rows, 1 columns)."""

    spec: TranslatorSpec
    sampler: Sampler
    axis: int
    height: int
    width: int

    @classmethod
    def of(
        cls, spec: TranslatorSpec, sampler: Sampler, axis: int, extent: tuple[int, int]
    ) -> _Strip:
        """A strip of about this extent (along the axis, across it)."""
        long, broad = (_fitting(spec, size + 2 * spec.margin_px) for size in extent)
        height, width = (broad, long) if axis else (long, broad)
        return cls(spec=spec, sampler=sampler, axis=axis, height=height, width=width)

    @property
    def pixels(self) -> int:
        return self.height * self.width

    def reach_of_pixels(self) -> int | None:
        """How far single pixels about the middle are seen; None: to the strip's end."""
        length, breadth = (self.height, self.width)[:: -1 if self.axis else 1]
        image, other = (self._noise(seed) for seed in (0, 1))
        plain = self.sampler.run(image)
        reach = 0
        for phase in range(max(self.spec.multiple_of, _LEAST_PHASES)):
            place, across = length // 2 + phase, (breadth // 2 + phase) % breadth
            if place >= length:
                return None
            where = self._line(place, slice(across, across + 1))
            for value in (math.nan, other[where])[: 2 if phase < _CHANGED_PHASES else 1]:
                moved = self._moved(image, plain, where, value)
                if bool(moved[0]) or bool(moved[-1]):
                    return None
                reach = max(reach, self._distance(moved, place))
        return reach

    def reach_of_lines(self) -> int:
        """How far the first and the last line are seen, along the whole strip."""
        image = self._noise(0)
        plain = self.sampler.run(image)
        last = (self.width if self.axis else self.height) - 1
        return max(
            self._distance(
                self._moved(image, plain, self._line(place, slice(None)), math.nan), place
            )
            for place in (0, last)
        )

    def _noise(self, seed: int) -> Tensor:
        return self.sampler.noise(self.spec.in_bands, self.height, self.width, seed)

    def _line(self, place: int, across: slice) -> tuple[EllipsisType, slice, slice]:
        """Index of the pixels at `place` along the axis and `across` it."""
        here = slice(place, place + 1)
        return (..., across, here) if self.axis else (..., here, across)

    def _moved(
        self,
        image: Tensor,
        plain: Tensor,
        where: tuple[EllipsisType, slice, slice],
        value: Tensor | float,
    ) -> Tensor:
        """For each output along the axis, whether it differs from `plain` after a change."""
        changed = image.clone()
        changed[where] = value
        # What is not finite differs from itself, so a net that gives that anyway moves everywhere.
        differs = (self.sampler.run(changed) != plain).any(dim=1)[0]
        return differs.any(dim=1 - self.axis)

    def _distance(self, moved: Tensor, place: int) -> int:
        """Distance of the farthest moved output from `place`, in input pixels."""
        outputs = torch.nonzero(moved).ravel().tolist()
        owners = (math.floor(at / self.spec.scale) + self.spec.margin_px for at in outputs)
        return max((abs(owner - place) for owner in owners), default=0)


def _fitting(spec: TranslatorSpec, size: int) -> int:
    """The least allowed size from `size` on."""
    return -(-max(size, spec.min_size) // spec.multiple_of) * spec.multiple_of


def _is_exact(spec: TranslatorSpec, sampler: Sampler, reach: int, weights: int) -> bool:
    """Whether what two windows give for the same place agrees, `reach` inside their borders."""
    whole, parts = _parts(spec, reach)
    if weights * len(whole.rows) * len(whole.cols) > _MAX_WORK:
        return False
    extent = [
        max(*(len(whole.rows), *(part.rows.stop for part in parts))),
        max(*(len(whole.cols), *(part.cols.stop for part in parts))),
    ]
    middle = parts[0]
    for light, seed in ((None, 2), ((0.2, 0.8), 3), ((0.8, 0.2), 4)):
        image = sampler.noise(spec.in_bands, extent[0], extent[1], seed)
        if light is not None:
            # Bright around a dark middle, and the reverse: statistics of the windows differ.
            image = image * 0.2 + light[0] * image.max()
            inside = image[..., _slice(middle.rows), _slice(middle.cols)]
            inside += (light[1] - light[0]) * image.max()
        expected = sampler.run(_cut(image, whole))
        span = float(expected.max() - expected.min())
        for part in parts if light is None else (middle,):
            got = sampler.run(_cut(image, part))
            difference = _difference(spec, reach, (expected, whole), (got, part))
            if not difference <= _EXACT * max(span, _TINY):
                return False
    return True


class _Window(NamedTuple):
    """A part of an image: ranges of rows and of columns."""

    rows: range
    cols: range


def _parts(spec: TranslatorSpec, reach: int) -> tuple[_Window, tuple[_Window, ...]]:
    """A window, and others of the same image: first one in its middle, then at its borders.

    At borders that two windows share nothing is left out of the comparison, so that tiles which
    touch the image's border are verified too. Nets with a fixed size have no larger window.
    """
    step = spec.multiple_of
    if spec.fixed_size is not None:
        width, height = spec.fixed_size
        return _Window(range(height), range(width)), tuple(
            _Window(range(at, at + height), range(at, at + width)) for at in (step, 3 * step)
        )
    small = _fitting(spec, 2 * reach + 8)
    large = _fitting(spec, small + max(small // 2, 4 * step))
    middles = [range(at, at + small) for at in (3 * step, step, 0, large - small)]
    return _Window(range(large), range(large)), tuple(_Window(part, part) for part in middles)


def _difference(
    spec: TranslatorSpec,
    reach: int,
    a: tuple[Tensor, _Window],
    b: tuple[Tensor, _Window],
) -> float:
    """The largest difference where the outputs for two windows must agree."""
    (out_a, window_a), (out_b, window_b) = a, b
    rows = _common(window_a.rows, window_b.rows, spec, reach)
    cols = _common(window_a.cols, window_b.cols, spec, reach)
    inner_a = out_a[..., _outputs(rows, window_a.rows, spec), _outputs(cols, window_a.cols, spec)]
    inner_b = out_b[..., _outputs(rows, window_b.rows, spec), _outputs(cols, window_b.cols, spec)]
    if inner_a.shape != inner_b.shape or inner_a.numel() == 0:
        return math.inf
    return float((inner_a - inner_b).abs().max())


def _common(a: range, b: range, spec: TranslatorSpec, reach: int) -> range:
    """Input pixels whose outputs see only what both windows hold, or a border that they share."""
    start, stop = max(a.start, b.start), min(a.stop, b.stop)
    before = spec.margin_px if a.start == b.start else reach
    after = spec.margin_px if a.stop == b.stop else reach
    return range(start + before, stop - after)


def _outputs(pixels: range, window: range, spec: TranslatorSpec) -> slice:
    """The outputs of whole input pixels, in the output for a window."""
    lost = window.start + spec.margin_px
    return slice(
        math.ceil((pixels.start - lost) * spec.scale),
        math.ceil((pixels.stop - lost) * spec.scale),
    )


def _cut(image: Tensor, window: _Window) -> Tensor:
    return image[..., _slice(window.rows), _slice(window.cols)]


def _slice(pixels: range) -> slice:
    """The slice of the same extent."""
    return slice(pixels.start, pixels.stop)
