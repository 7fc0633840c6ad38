"""Which rectangles of an image a net sees, and where their results go: planning, integers only.

Along each axis the image is first lengthened by what the net needs: `margin_px` on both sides, and
at the far end up to its minimum, its fixed size and its multiple. That length, filled by
reflection, is what "one pass over the whole image" means, and tiles lie inside it: the first
begins at its start and the last ends at its end, so that a net meets the image's border in a tile
exactly as it does in one pass. Tiles begin at multiples of the net's unit, so its strides keep
their phase.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import lcm
from typing import TYPE_CHECKING

from attachtrans.errors import ArgumentError, ModelError
from attachtrans.types import Size

if TYPE_CHECKING:
    from attachtrans.models.translator import TranslatorSpec

# How tiles are joined when their results differ: faded into each other, or not left to differ.
SEAMS = ("blend", "exact")
# Beyond this a halo of the receptive field would need tiles of several thousand pixels: such nets
# are blended like those that see everything.
HALO_LIMIT_PX = 256
# What blending overlaps by when nobody says (contract, section 3).
BLEND_PADDING_PX = 64
# A tile chosen here is at most this much longer than the nominal one.
STRETCH = Fraction(13, 10)
# Below this a net spends its time on borders; out of memory there is given up.
SMALLEST_TILE_PX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One tile along one axis.

    start      first input pixel; below 0, or reaching beyond the image, where pixels are filled in
    out_start, out_stop    output pixels that the tile's result covers, cut off at the image's end
    keep_start, keep_stop  the part of these that is nearest to the middle of this tile: the parts
               of all tiles follow each other without gap or overlap
    """

    start: int
    out_start: int
    out_stop: int
    keep_start: int
    keep_stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The tiles along one axis, all `length` input pixels long, in ascending order.

    size, out_size   the image's extent before and after, in pixels
    out_length       output pixels of one tile
    overlap          input pixels that two neighbours share at least (their margins included)
    """

    size: int
    out_size: int
    length: int
    out_length: int
    overlap: int
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one image is cut: every row span with every column span, row by row.

    exact: cropping the tiles gives what one pass over the image gives, to rounding; otherwise the
    results of neighbours differ and are to be blended.
    """

    columns: Axis
    rows: Axis
    exact: bool

    def __len__(self) -> int:
        return len(self.columns.spans) * len(self.rows.spans)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Give (row, column) indices of the tiles, in the order in which they are to be run."""
        for row in range(len(self.rows.spans)):
            for column in range(len(self.columns.spans)):
                yield row, column

    @property
    def size(self) -> Size:
        """The image's size."""
        return Size(self.columns.size, self.rows.size)

    @property
    def out_size(self) -> Size:
        """The result's size."""
        return Size(self.columns.out_size, self.rows.out_size)

    @property
    def tile(self) -> Size:
        """The size of every tile, in input pixels."""
        return Size(self.columns.length, self.rows.length)

    @property
    def pixels_computed(self) -> int:
        """Input pixels that the net is given, overlaps and fills included."""
        return len(self) * self.columns.length * self.rows.length


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How images are to be cut.

    tile_size  tile edge in input pixels, overlap included, rounded up to what the net can take and
               shortened for smaller images; None: about `nominal`, adapted to each image so that
               few pixels are computed
    padding    input pixels that a tile has beyond its own part, so that neighbours share twice as
               many; at most half a tile. None: the net's receptive field when it is bounded (and
               fits), else an eighth of a tile and at most 64
    nominal    tile edge to aim at when tile_size is None
    ceiling    largest tile edge allowed, in input pixels, after memory ran out; None = any
    """

    tile_size: int | None = None
    padding: int | None = None
    nominal: int = 512
    ceiling: int | None = None

    def __post_init__(self) -> None:
        if self.tile_size is not None and self.tile_size < 1:
            raise ArgumentError(f"tile_size is {self.tile_size}; it must be at least 1 pixel")
        if self.padding is not None and self.padding < 0:
            raise ArgumentError(f"padding is {self.padding}; it cannot be negative")

    def plan(self, size: Size, spec: TranslatorSpec) -> Plan:
        """Cut an image of this size for this net.

        Raises ArgumentError when tile_size or padding do not suit the net, and ModelError when the
        net's own facts contradict each other.
        """
        net = _Net.of(spec)
        edges = (
            (self._edge(net, 0), self._edge(net, 1))
            if spec.fixed_size
            else (self._edge(net, 0),) * 2
        )
        padding = self._padding(net, min(edges))
        columns = self._axis(size.width, net, edges[0], padding)
        rows = self._axis(size.height, net, edges[1], padding)
        halo = spec.receptive_field_px
        # What all images' tiles share, parts of this one included, and not these by chance.
        shared = (edge - net.stride(edge, padding) for edge in edges)
        exact = all(
            len(axis.spans) == 1 or (halo is not None and sure >= 2 * net.whole(halo))
            for axis, sure in zip((columns, rows), shared, strict=True)
        )
        return Plan(columns=columns, rows=rows, exact=exact)

    def smaller(self, plan: Plan) -> Tiling:
        """The same tiling with tiles half as long as those of a plan that found no memory."""
        return replace(self, ceiling=max(plan.tile) // 2)

    def _edge(self, net: _Net, axis: int) -> int:
        """The longest tile along an axis (0 columns, 1 rows): exact when given, else a limit."""
        if net.fixed_size is not None:
            edge = net.fixed_size[axis]
            if self.tile_size not in (None, edge):
                raise ArgumentError(
                    f"tile_size {self.tile_size}: this net takes tiles of "
                    f"{net.fixed_size[0]} x {net.fixed_size[1]} pixels only; leave it out"
                )
        elif self.tile_size is not None:
            edge = net.units(self.tile_size) * net.unit
            if edge < net.smallest:
                raise ArgumentError(
                    f"tile_size {self.tile_size} is too small for this net: "
                    f"it needs at least {net.smallest}"
                )
        else:
            edge = net.units(self._nominal(net)) * net.unit
        if self.ceiling is not None and edge > self.ceiling:
            edge = self.ceiling // net.unit * net.unit
            if net.fixed_size is not None or edge < max(net.smallest, SMALLEST_TILE_PX):
                raise ArgumentError(
                    f"tile_size cannot go down to {self.ceiling} pixels with this net"
                )
        return edge

    def _nominal(self, net: _Net) -> int:
        """The tile to aim at: longer for a wide halo, since overlaps are computed twice."""
        padding = self.padding
        if padding is None:
            padding = net.halo if net.halo is not None and net.halo <= HALO_LIMIT_PX else 0
        elif padding > self.nominal // 2:
            raise ArgumentError(
                f"padding {padding} is more than half a tile of {self.nominal} pixels: "
                f"give at most {self.nominal // 2}, or a larger tile_size"
            )
        padding = max(padding, net.margin)
        return max(self.nominal, min(16 * padding, 2 * self.nominal), 8 * padding, net.smallest)

    def _padding(self, net: _Net, edge: int) -> int:
        """Padding for tiles of this edge; at least the margin, which is lost anyway."""
        if self.padding is not None:
            if self.padding > edge // 2:
                raise ArgumentError(
                    f"padding {self.padding} is more than half a tile of {edge} pixels: "
                    f"give at most {edge // 2}, or a larger tile_size"
                )
            return max(self.padding, net.margin)
        halo = net.halo
        if halo is not None and halo <= HALO_LIMIT_PX:
            if edge - net.shared(halo) >= net.least_stride(edge):
                return max(halo, net.margin)
            if self.ceiling is not None:
                raise ArgumentError(
                    f"tiles of {edge} pixels cannot hold this net's halo of {halo} on both sides"
                )
        return max(min(edge // 8, BLEND_PADDING_PX), net.margin)

    def _axis(self, size: int, net: _Net, edge: int, padding: int) -> Axis:
        fixed = net.fixed_size is not None
        needed = max(size + 2 * net.margin, edge if fixed else net.smallest)
        total = net.units(needed)  # everything along the axis is counted in units from here on
        stride = net.stride(edge, padding) // net.unit
        longest = edge // net.unit
        overlap = longest - stride
        if overlap * net.unit < net.shared(net.margin):
            raise ArgumentError(
                f"tile_size {edge} is too small for a net that loses {net.margin} pixels a side"
            )
        if self.tile_size is None and not fixed:
            if self.ceiling is None:
                longest = max(int(edge * STRETCH) // net.unit, longest)
            count = 1 if total <= longest else -(-(total - overlap) // (longest - overlap))
            length = -(-(total + (count - 1) * overlap) // count)
        else:
            length = min(longest, total)
            count = 1 + -(-(total - length) // stride)
        starts = [i * (total - length) // max(count - 1, 1) for i in range(count)]
        return _spread(size, net, length * net.unit, [start * net.unit for start in starts])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Net:
    """A net's size rules: tiles are `unit` pixels times a whole number, in and out."""

    scale: Fraction
    unit: int
    margin: int
    smallest: int
    fixed_size: tuple[int, int] | None
    halo: int | None

    @classmethod
    def of(cls, spec: TranslatorSpec) -> _Net:
        scale = exact_scale(spec.scale)
        unit = lcm(spec.multiple_of, scale.denominator)
        smallest = max(spec.min_size, 2 * spec.margin_px + 1)
        if (scale * spec.margin_px).denominator != 1:
            raise ModelError(
                f"scale {spec.scale} times margin {spec.margin_px} must be a whole number"
            )
        if spec.fixed_size is not None and any(edge % unit for edge in spec.fixed_size):
            raise ModelError(f"the net's fixed size {spec.fixed_size} is not a multiple of {unit}")
        return cls(
            scale=scale,
            unit=unit,
            margin=spec.margin_px,
            smallest=-(-smallest // unit) * unit,
            fixed_size=spec.fixed_size,
            halo=spec.receptive_field_px,
        )

    def units(self, pixels: int) -> int:
        """The units that hold so many pixels."""
        return -(-pixels // self.unit)

    def whole(self, pixels: int) -> int:
        """Pixels rounded up to where input and output pixels begin together."""
        step = self.scale.denominator
        return -(-pixels // step) * step

    def shared(self, padding: int) -> int:
        """Pixels that neighbours share when each needs so much padding."""
        return self.units(2 * self.whole(padding)) * self.unit

    def stride(self, edge: int, padding: int) -> int:
        """By how much tiles move on at most."""
        return max(edge - self.shared(padding), self.least_stride(edge))

    def least_stride(self, edge: int) -> int:
        """Padding up to half a tile is allowed; tiles move on by this much nevertheless."""
        return max(edge // 8 // self.unit, 1) * self.unit


def exact_scale(scale: float) -> Fraction:
    """The scale as a ratio of small numbers: 1.5 -> 3/2, 0.333333 -> 1/3."""
    ratio = Fraction(scale).limit_denominator(64)
    if ratio <= 0:
        raise ModelError(f"a net's scale must be positive, not {scale}")
    return ratio


def grain(spec: TranslatorSpec) -> int:
    """Tiles begin at multiples of so many input pixels: a net's strides keep their phase."""
    return _Net.of(spec).unit


def output_size(size: Size, spec: TranslatorSpec) -> Size:
    """Size of the result for an image of this size: scaled, rounded half up, at least 1 x 1."""
    scale = exact_scale(spec.scale)
    return Size(_scaled(size.width, scale), _scaled(size.height, scale))


def _scaled(length: int, scale: Fraction) -> int:
    return max(1, int(length * scale + Fraction(1, 2)))


def _spread(size: int, net: _Net, length: int, starts: list[int]) -> Axis:
    """Spans from starts, which count from the first filled pixel (`margin` before the image)."""
    out_size = _scaled(size, net.scale)
    step = net.scale.denominator
    shared = [before + length - after for before, after in pairwise(starts)]
    # Neighbours meet in the middle of what they share, where input and output pixels both begin.
    meets = [
        int((start + overlap // (2 * step) * step - net.margin) * net.scale)
        for start, overlap in zip(starts[1:], shared, strict=True)
    ]
    keeps = [0, *(min(meet, out_size) for meet in meets), out_size]
    out_length = int((length - 2 * net.margin) * net.scale)
    spans = tuple(
        Span(
            start=start - net.margin,
            out_start=int(start * net.scale),
            out_stop=min(int(start * net.scale) + out_length, out_size),
            keep_start=keeps[i],
            keep_stop=keeps[i + 1],
        )
        for i, start in enumerate(starts)
    )
    return Axis(
        size=size,
        out_size=out_size,
        length=length,
        out_length=out_length,
        overlap=min(shared, default=0),
        spans=spans,
    )
