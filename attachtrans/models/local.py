"""Layers as local operations: which part of its inputs a layer needs for a part of its output.

Each knows that for any region, the image's borders included, and computes the region from no more
than that. So a layer can be run over an image piece by piece and gives what it gives in one go.
Normalisations over the whole image are local too, once the moments of their input are known.

Values are (1, C, H, W); a `Region` is a rectangle of the H x W pixels of the whole value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor
from torch.nn import functional

from attachtrans.errors import InferenceError
from attachtrans.models.translator import Moments, Region, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A part of a value: what `region` of it holds, (1, C, rows, cols); `shape` is all of it."""

    values: Tensor
    region: Region
    shape: Shape

    def cut(self, region: Region) -> Tensor:
        """A region inside this one; a view."""
        top, left = self.region.rows.start, self.region.cols.start
        rows = slice(region.rows.start - top, region.rows.stop - top)
        return self.values[..., rows, region.cols.start - left : region.cols.stop - left]

    def filled(self, region: Region, fill: float) -> Tensor:
        """A region that may reach beyond the value, where it is filled up."""
        inside = Region(
            range(max(region.rows.start, 0), min(region.rows.stop, self.shape.height)),
            range(max(region.cols.start, 0), min(region.cols.stop, self.shape.width)),
        )
        if inside == region:
            return self.cut(region)
        if not inside.rows or not inside.cols:
            size = (1, self.shape.channels, len(region.rows), len(region.cols))
            return self.values.new_full(size, fill)
        around = (
            inside.cols.start - region.cols.start,
            region.cols.stop - inside.cols.stop,
            inside.rows.start - region.rows.start,
            region.rows.stop - inside.rows.stop,
        )
        return functional.pad(self.cut(inside), around, value=fill)


class Operation(Protocol):
    """One layer. Operations are equal when they do the same with whatever weights."""

    @property
    def multiplies(self) -> float:
        """Multiply-adds per output pixel; above 0 it is better not computed twice."""
        ...

    @property
    def takes_moments(self) -> bool:
        """Whether it needs the moments of its (only) input."""
        ...

    def shape(self, *inputs: Shape) -> Shape:
        """Of its output."""
        ...

    def needs(self, region: Region, *inputs: Shape) -> tuple[Region | None, ...]:
        """The region of each input that this region of the output is made of; None: nothing."""
        ...

    def compute(
        self, region: Region, inputs: Sequence[Patch | None], moments: Moments | None
    ) -> Tensor:
        """This region of the output, from patches that hold what it needs."""
        ...


class Light:
    """What most operations are: without weights worth counting, and in no need of moments."""

    __slots__ = ()

    @property
    def multiplies(self) -> float:
        """None to speak of."""
        return 0.0

    @property
    def takes_moments(self) -> bool:
        """No."""
        return False


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of input `number` among the arguments of a function."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointwise(Light):
    """A function of the values at one place; inputs of one pixel count for every place.

    label       tells apart what functions do
    channels    of the output
    arguments   of the function, with a `Slot` for each input
    """

    label: str
    channels: int
    function: Callable[..., Tensor] = field(compare=False, repr=False)
    arguments: tuple[Any, ...] = field(compare=False, repr=False)
    keywords: dict[str, Any] = field(compare=False, repr=False, default_factory=dict)

    def shape(self, *inputs: Shape) -> Shape:
        height, width = max(i.height for i in inputs), max(i.width for i in inputs)
        for shape in inputs:
            if shape[1:] not in ((height, width), (1, 1)):
                raise InferenceError(
                    f"{self.label} joins {height} x {width} and {shape.height} x {shape.width}"
                )
        return Shape(self.channels, height, width)

    def needs(self, region: Region, *inputs: Shape) -> tuple[Region | None, ...]:
        whole = self.shape(*inputs)
        return tuple(region if i[1:] == whole[1:] else i.region for i in inputs)

    def compute(
        self, region: Region, inputs: Sequence[Patch | None], moments: Moments | None
    ) -> Tensor:
        del moments
        patches = [patch for patch in inputs if patch is not None]
        whole = self.shape(*(patch.shape for patch in patches))
        values = [
            patch.cut(region if patch.shape[1:] == whole[1:] else patch.shape.region)
            for patch in patches
        ]
        return self.function(*fill_slots(self.arguments, values), **self.keywords)


def fill_slots(arguments: Sequence[Any], values: Sequence[Tensor]) -> list[Any]:
    """The arguments with values in place of slots, also in lists of them."""
    return [
        values[argument.number]
        if isinstance(argument, Slot)
        else fill_slots(argument, values)
        if isinstance(argument, list)
        else argument
        for argument in arguments
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """Values less their mean over their deviation, of each channel or of groups of channels.

    groups  None: each channel (instance norm)
    """

    groups: int | None
    epsilon: float
    weight: Tensor | None = field(compare=False, repr=False)
    bias: Tensor | None = field(compare=False, repr=False)

    @property
    def multiplies(self) -> float:
        return 0.0

    @property
    def takes_moments(self) -> bool:
        return True

    def shape(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def needs(self, region: Region, *inputs: Shape) -> tuple[Region | None, ...]:
        del inputs
        return (region,)

    def compute(
        self, region: Region, inputs: Sequence[Patch | None], moments: Moments | None
    ) -> Tensor:
        if moments is None:
            raise InferenceError("a normalisation was run before its statistics")
        mean, variance = moments.mean, moments.variance
        if self.groups is not None:
            means = mean.view(self.groups, -1)
            middle = means.mean(1, keepdim=True)
            spread = (variance.view_as(means) + (means - middle).square()).mean(1, keepdim=True)
            mean = middle.expand_as(means).reshape(-1)
            variance = spread.expand_as(means).reshape(-1)
        return functional.batch_norm(
            only(inputs).cut(region), mean, variance, self.weight, self.bias, eps=self.epsilon
        )


@dataclass(frozen=True, slots=True)
class GlobalMean:
    """The mean of each channel over the whole image: one pixel."""

    @property
    def multiplies(self) -> float:
        return 0.0

    @property
    def takes_moments(self) -> bool:
        return True

    def shape(self, *inputs: Shape) -> Shape:
        return Shape(inputs[0].channels, 1, 1)

    def needs(self, region: Region, *inputs: Shape) -> tuple[Region | None, ...]:
        del region, inputs
        return (None,)

    def compute(
        self, region: Region, inputs: Sequence[Patch | None], moments: Moments | None
    ) -> Tensor:
        del region, inputs
        if moments is None:
            raise InferenceError("a mean over the image was run before its statistics")
        return moments.mean.view(1, -1, 1, 1)


def only(inputs: Sequence[Patch | None]) -> Patch:
    """The patch of an operation with one input."""
    (patch,) = inputs
    if patch is None:
        raise InferenceError("a layer was run without its input")
    return patch
