"""Large images block by block: which pixels are read for a block of the result.

A net with a bounded receptive field gives the same for a window with enough around it as for the
whole image, so each block is an image of its own, cropped. Other nets are blended: there the tiles
are those of one plan for the whole image, blocks follow each other down a panel of columns, and
what tiles of a block reach into the next one is carried on. Either way the result is that of the
whole image in memory, to rounding, and memory depends on the block alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

from torch import Tensor

from attachtrans.infer.blend import Ramp, ramps
from attachtrans.infer.tiling import Axis, Plan, Span, exact_scale, grain
from attachtrans.models.translator import TranslatorSpec
from attachtrans.types import Size, Window

BLOCK_PX = 512
"""Blocks begin at multiples of this, in pixels of the result: the tiles of the file."""
# Of an exact block in pixels of the result: large enough that what is computed twice around it is
# little, small enough for several to be in flight. Half of it where tiles share next to nothing.
_EXACT_PX = 2048
_NEXT_TO_NOTHING = 64
# Of a blended panel, and at least so many tiles: what two panels share is computed for both.
_PANEL_PX = 8192
_PANEL_TILES = 8


@dataclass(slots=True)
class Carry:
    """Rows of a blended result that later tiles go on with; those of one panel share it.

    rows    (bands, height, width) float32 in net units, None before the first block
    """

    rows: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """The tiles of a plan that a block adds to those before it, down a panel.

    plan    of these tiles; places count from the window's first pixel
    down, across    their ramps, from the plan of the whole image
    rows    rows of the result that are finished with these tiles; those below are carried on
    origin  (col, row) of the window in the image
    """

    plan: Plan
    down: tuple[Ramp, ...]
    across: tuple[Ramp, ...]
    rows: int
    origin: tuple[int, int]
    carry: Carry


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A block of an image's result, and what is needed to compute it.

    block   in the image's result
    source  pixels of the image that the block shows
    window  of the image, to be read: it holds `source`
    place   the block in the result of the window
    stretch the tiles to run; None: the window is an image of its own
    """

    block: Window
    source: Window
    window: Window
    place: Window
    stretch: Stretch | None = None


def excerpts(
    plan: Plan, spec: TranslatorSpec, *, start: int = 0, in_strips: bool = False
) -> Iterator[Excerpt]:
    """Cut an image with this plan into blocks, in an order that depends on these alone.

    start      so many blocks are done already; the rest gives the same as if they were not
    in_strips  the image lies in strips of full width, of which all that a row of blocks needs is
               held while that is read: so blocks are flat where that costs next to nothing
    """
    scale = exact_scale(spec.scale)
    if plan.exact:
        context = max(spec.receptive_field_px or 0, spec.margin_px)
        for block in _blocks(plan, in_strips=in_strips)[start:]:
            yield _alone(plan.size, block, scale, grain(spec), context)
        return
    down, across = ramps(plan.rows), ramps(plan.columns)
    panel, carry = -1, Carry()
    for block in _blocks(plan, in_strips=in_strips)[start:]:
        begins = block.col != panel
        if begins:
            panel, carry = block.col, Carry()
        yield _continued(plan, (down, across), block, scale, carry, begins=begins)


def block_count(plan: Plan, *, in_strips: bool = False) -> int:
    """How many blocks `excerpts` gives."""
    return len(_blocks(plan, in_strips=in_strips))


def _blocks(plan: Plan, *, in_strips: bool) -> list[Window]:
    """The blocks of a result: row by row where they are exact, else panel by panel, downwards."""
    width, height = plan.out_size
    if len(plan) == 1:  # whatever the net sees of it
        return [Window(col=0, row=0, width=width, height=height)]
    if plan.exact:
        across, down = _exact_px(plan, in_strips=in_strips)
        cols, rows = _cuts(width, across), _cuts(height, down)
        places = [(col, row) for row in rows for col in cols]
    else:
        panel = max(_PANEL_PX, _PANEL_TILES * plan.columns.out_length)
        cols, rows = _cuts(width, panel), _row_cuts(plan.rows)
        places = [(col, row) for col in cols for row in rows]
    return [
        Window(col=col[0], row=row[0], width=col[1] - col[0], height=row[1] - row[0])
        for col, row in places
    ]


def _exact_px(plan: Plan, *, in_strips: bool) -> tuple[int, int]:
    """Width and height of exact blocks, in pixels of the result."""
    shared = max(axis.overlap * axis.out_length / axis.length for axis in (plan.columns, plan.rows))
    if shared * _NEXT_TO_NOTHING > _EXACT_PX:
        return _EXACT_PX, _EXACT_PX
    return (_EXACT_PX, _EXACT_PX // 4) if in_strips else (_EXACT_PX // 2, _EXACT_PX // 2)


def _cuts(length: int, edge: int) -> list[tuple[int, int]]:
    """Intervals of about `edge`, the last ones not much shorter."""
    count = max(1, round(length / edge))
    step = ceil(length / count / BLOCK_PX) * BLOCK_PX
    return [(start, min(start + step, length)) for start in range(0, length, step)]


def _row_cuts(rows: Axis) -> list[tuple[int, int]]:
    """Intervals in each of which a tile begins."""
    step = ceil(rows.out_length / BLOCK_PX) * BLOCK_PX
    starts = [span.out_start for span in rows.spans]
    cuts = [
        start for start in range(0, rows.out_size, step) if bisect_left(starts, start) < len(starts)
    ]
    return list(zip(cuts, [*cuts[1:], rows.out_size], strict=True))


def _alone(size: Size, block: Window, scale: Fraction, unit: int, context: int) -> Excerpt:
    """A block as a window of its own, with so many pixels around it."""
    source = _source(block, scale, size)

    def reach(start: int, length: int, whole: int) -> tuple[int, int]:
        first = max(start - context, 0) // unit * unit
        return first, min(start + length + context, whole)

    col, right = reach(source.col, source.width, size.width)
    row, bottom = reach(source.row, source.height, size.height)
    place = replace(block, col=block.col - int(col * scale), row=block.row - int(row * scale))
    window = Window(col=col, row=row, width=right - col, height=bottom - row)
    return Excerpt(block=block, source=source, window=window, place=place)


def _source(block: Window, scale: Fraction, size: Size) -> Window:
    """The pixels of an image that a block of its result shows, whole ones."""
    col, row = floor(block.col / scale), floor(block.row / scale)
    right = min(ceil((block.col + block.width) / scale), size.width)
    bottom = min(ceil((block.row + block.height) / scale), size.height)
    # Where the result is rounded up, its last pixel may lie beyond the image.
    col, row = min(col, size.width - 1), min(row, size.height - 1)
    return Window(col=col, row=row, width=max(right - col, 1), height=max(bottom - row, 1))


def _continued(
    plan: Plan,
    fades: tuple[tuple[Ramp, ...], tuple[Ramp, ...]],
    block: Window,
    scale: Fraction,
    carry: Carry,
    *,
    begins: bool,
) -> Excerpt:
    """A block with the tiles that it adds to those of the blocks above it, if it `begins` none."""
    bottom, right = block.row + block.height, block.col + block.width
    down = [
        i
        for i, span in enumerate(plan.rows.spans)
        if span.out_start < bottom
        and (span.out_stop > block.row if begins else span.out_start >= block.row)
    ]
    across = [
        i
        for i, span in enumerate(plan.columns.spans)
        if span.out_start < right and span.out_stop > block.col
    ]
    source = _source(block, scale, plan.size)
    top = min(plan.rows.spans[down[0]].out_start, block.row)
    rows, row = _part(plan.rows, down, (source.row, source.height), top)
    first = plan.columns.spans[across[0]].out_start
    columns, col = _part(plan.columns, across, (source.col, source.width), first)
    return Excerpt(
        block=block,
        source=source,
        window=Window(col=col, row=row, width=columns.size, height=rows.size),
        place=replace(block, col=block.col - first, row=block.row - top),
        stretch=Stretch(
            plan=Plan(columns=columns, rows=rows, exact=False),
            down=tuple(fades[0][i] for i in down),
            across=tuple(fades[1][i] for i in across),
            rows=bottom - top,
            origin=(col, row),
            carry=carry,
        ),
    )


def _part(axis: Axis, chosen: list[int], source: tuple[int, int], base: int) -> tuple[Axis, int]:
    """Some spans of an axis as an axis of its own, and where it begins in the image.

    source  (start, length) of pixels that are to be within it
    base    pixel of the result that becomes its first
    """
    spans = [axis.spans[i] for i in chosen]
    stop = spans[-1].start + axis.length
    # What lies beyond the image is reflected, for which as much of the image has to be there.
    start = min(spans[0].start, source[0], axis.size - 1 - max(stop - axis.size, 0))
    stop = max(stop, sum(source), 1 - spans[0].start)
    start, stop = max(start, 0), min(stop, axis.size)
    moved = tuple(
        Span(
            start=span.start - start,
            out_start=span.out_start - base,
            out_stop=span.out_stop - base,
            keep_start=span.keep_start - base,
            keep_stop=span.keep_stop - base,
        )
        for span in spans
    )
    return (
        replace(axis, size=stop - start, out_size=moved[-1].out_stop, spans=moved),
        start,
    )
