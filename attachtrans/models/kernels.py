"""Local operations that look around: convolutions, padding, pooling, enlargement.

See `attachtrans.models.local`. A region of the output is computed from the region of the input
that makes it, filled up where that reaches beyond the image: borders are what they are in one go.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from attachtrans.errors import InferenceError
from attachtrans.models.local import Light, Patch, only
from attachtrans.models.translator import Moments, Region, Shape

Pair = tuple[int, int]
"""(along rows, along columns)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sliding:
    """A kernel that slides along both axes."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)

    def lengths(self, inputs: Pair) -> Pair:
        """(height, width) of the output."""
        rows, cols = (
            (length + 2 * p - d * (k - 1) - 1) // s + 1
            for length, k, s, p, d in zip(
                inputs, self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )
        return rows, cols

    def seen(self, region: Region) -> Region:
        """The input that makes this output, which may reach beyond the image."""
        rows, cols = (
            range(places.start * s - p, (places.stop - 1) * s - p + d * (k - 1) + 1)
            for places, k, s, p, d in zip(
                region, self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )
        return Region(rows, cols)


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution(Light):
    """`functional.conv2d`, padded by zeros."""

    sliding: Sliding
    groups: int
    weight: Tensor = field(compare=False, repr=False)
    bias: Tensor | None = field(compare=False, repr=False)

    @property
    def multiplies(self) -> float:
        return float(self.weight.numel())

    def shape(self, *inputs: Shape) -> Shape:
        return Shape(self.weight.shape[0], *self.sliding.lengths(inputs[0][1:]))

    def needs(self, region: Region, *inputs: Shape) -> tuple[Region | None, ...]:
        return (inside(self.sliding.seen(region), inputs[0]),)

    def compute(
        self, region: Region, inputs: Sequence[Patch | None], moments: Moments | None
    ) -> Tensor:
        del moments
        return functional.conv2d(
            only(inputs).filled(self.sliding.seen(region), 0.0),
            self.weight,
            self.bias,
            stride=self.sliding.stride,
            dilation=self.sliding.dilation,
            groups=self.groups,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransposedConvolution(Light):
    """`functional.conv_transpose2d`; `sliding` as there."""

    sliding: Sliding
    output_padding: Pair
    groups: int
    weight: Tensor = field(compare=False, repr=False)
    bias: Tensor | None = field(compare=False, repr=False)

    @property
    def multiplies(self) -> float:
        return self.weight.numel() / math.prod(self.sliding.stride)

    def shape(self, *inputs: Shape) -> Shape:
        rows, cols = (
            (length - 1) * s - 2 * p + d * (k - 1) + extra + 1
            for length, (k, s, p, d), extra in zip(
                inputs[0][1:], self._axes(), self.output_padding, strict=True
            )
        )
        return Shape(self.weight.shape[1] * self.groups, rows, cols)

    def needs(self, region: Region, *inputs: Shape) -> tuple[Region | None, ...]:
        return (inside(self._sources(region), inputs[0]),)

    def compute(
        self, region: Region, inputs: Sequence[Patch | None], moments: Moments | None
    ) -> Tensor:
        del moments
        sources = self._sources(region)
        spread = functional.conv_transpose2d(
            only(inputs).filled(sources, 0.0),
            self.weight,
            self.bias,
            stride=self.sliding.stride,
            groups=self.groups,
            dilation=self.sliding.dilation,
        )
        rows, cols = (
            slice(places.start - (source.start * s - p), places.stop - (source.start * s - p))
            for places, source, (_, s, p, _) in zip(region, sources, self._axes(), strict=True)
        )
        return spread[..., rows, cols]

    def _axes(self) -> list[tuple[int, int, int, int]]:
        """(kernel, stride, padding, dilation) of each axis."""
        step = self.sliding
        return list(zip(step.kernel, step.stride, step.padding, step.dilation, strict=True))

    def _sources(self, region: Region) -> Region:
        """The inputs that are spread over this output; input i begins at i * stride - padding."""
        found = []
        for places, (k, s, p, d) in zip(region, self._axes(), strict=True):
            reach = d * (k - 1)
            # A kernel shorter than the stride leaves gaps, which the inputs beside them span.
            start = min(-((reach - p - places.start) // s), (places.start + p) // s)
            stop = (places.stop - 1 + p) // s + 1 + (reach < s - 1)
            found.append(range(start, stop))
        return Region(found[0], found[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Padding(Light):
    """`functional.pad` of rows and columns: mode "constant", "reflect" or "replicate"."""

    rows: Pair
    cols: Pair
    mode: str
    fill: float = 0.0

    def shape(self, *inputs: Shape) -> Shape:
        channels, height, width = inputs[0]
        return Shape(channels, height + sum(self.rows), width + sum(self.cols))

    def needs(self, region: Region, *inputs: Shape) -> tuple[Region | None, ...]:
        whole = inputs[0]
        shifted = self._shifted(region)
        if self.mode == "constant":
            return (inside(shifted, whole),)
        rows, cols = (self._places(axis, shifted, whole) for axis in (0, 1))
        return (Region(range(min(rows), max(rows) + 1), range(min(cols), max(cols) + 1)),)

    def compute(
        self, region: Region, inputs: Sequence[Patch | None], moments: Moments | None
    ) -> Tensor:
        del moments
        patch = only(inputs)
        shifted = self._shifted(region)
        if self.mode == "constant" or inside(shifted, patch.shape) == shifted:
            return patch.filled(shifted, self.fill)
        values = patch.values
        for axis in (0, 1):
            first = patch.region[axis].start
            places = [place - first for place in self._places(axis, shifted, patch.shape)]
            values = values.index_select(axis + 2, torch.tensor(places, device=values.device))
        return values

    def _shifted(self, region: Region) -> Region:
        """The region in pixels of the input."""
        rows, cols = (
            range(places.start - before, places.stop - before)
            for places, (before, _) in zip(region, (self.rows, self.cols), strict=True)
        )
        return Region(rows, cols)

    def _places(self, axis: int, region: Region, whole: Shape) -> list[int]:
        """The input pixel of each place along an axis (0 rows, 1 columns)."""
        last = whole[axis + 1] - 1
        if self.mode == "replicate":
            return [min(max(place, 0), last) for place in region[axis]]
        if max(self.rows if axis == 0 else self.cols) > last:
            raise InferenceError(f"{last + 1} pixels are too few to be reflected by the net")
        return [last - abs(last - abs(place)) for place in region[axis]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling(Light):
    """The largest value or the mean (`largest` False) under a kernel.

    count_padding   whether what is padded counts as zeros of a mean
    """

    sliding: Sliding
    largest: bool
    count_padding: bool = True

    def shape(self, *inputs: Shape) -> Shape:
        return Shape(inputs[0].channels, *self.sliding.lengths(inputs[0][1:]))

    def needs(self, region: Region, *inputs: Shape) -> tuple[Region | None, ...]:
        return (inside(self.sliding.seen(region), inputs[0]),)

    def compute(
        self, region: Region, inputs: Sequence[Patch | None], moments: Moments | None
    ) -> Tensor:
        del moments
        patch, step = only(inputs), self.sliding
        seen = step.seen(region)
        values = patch.filled(seen, -math.inf if self.largest else 0.0)
        if self.largest:
            return functional.max_pool2d(values, step.kernel, step.stride)
        if self.count_padding or inside(seen, patch.shape) == seen:
            return functional.avg_pool2d(values, step.kernel, step.stride)
        sums = functional.avg_pool2d(values, step.kernel, step.stride, divisor_override=1)
        rows, cols = (
            torch.tensor(
                [
                    min(first + kernel, length) - max(first, 0)
                    for first in range(places.start, places.stop - kernel + 1, stride)
                ],
                device=values.device,
            )
            for places, length, kernel, stride in zip(
                seen, patch.shape[1:], step.kernel, step.stride, strict=True
            )
        )
        return sums / (rows[:, None] * cols)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enlargement(Light):
    """Whole-number enlargement: of nearest pixels, or by shuffling channels into pixels."""

    factor: Pair
    shuffle: bool

    def shape(self, *inputs: Shape) -> Shape:
        channels, height, width = inputs[0]
        rows, cols = self.factor
        return Shape(
            channels // (rows * cols) if self.shuffle else channels, height * rows, width * cols
        )

    def needs(self, region: Region, *inputs: Shape) -> tuple[Region | None, ...]:
        del inputs
        return (self._sources(region),)

    def compute(
        self, region: Region, inputs: Sequence[Patch | None], moments: Moments | None
    ) -> Tensor:
        del moments
        sources = self._sources(region)
        values = only(inputs).cut(sources)
        if self.shuffle:
            values = functional.pixel_shuffle(values, self.factor[0])
        else:
            for axis, factor in enumerate(self.factor, start=2):
                values = values.repeat_interleave(factor, dim=axis)
        rows, cols = (
            slice(places.start - source.start * f, places.stop - source.start * f)
            for places, source, f in zip(region, sources, self.factor, strict=True)
        )
        return values[..., rows, cols]

    def _sources(self, region: Region) -> Region:
        rows, cols = (
            range(places.start // f, (places.stop - 1) // f + 1)
            for places, f in zip(region, self.factor, strict=True)
        )
        return Region(rows, cols)


def inside(region: Region, whole: Shape) -> Region:
    """The part of a region that the value has; at least its pixel that is nearest."""
    rows, cols = (
        range(min(max(places.start, 0), length - 1), max(min(places.stop, length), 1))
        for places, length in zip(region, whole[1:], strict=True)
    )
    return Region(
        range(rows.start, max(rows.stop, rows.start + 1)),
        range(cols.start, max(cols.stop, cols.start + 1)),
    )
