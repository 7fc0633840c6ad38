"""A net over a whole image in stages: tile by tile, with statistics of the whole image.

Nets that normalise by what they see (instance norm) depend on the tile. Here every part of the net
(`models.translator.Part`) is run over the image before the next one begins: what it gives is kept,
and its mean and variance over the image are merged from the tiles' (Chan et al. 1979), so that the
result is that of one pass over the whole image, to rounding, in the memory of a few layers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from attachtrans.errors import ArgumentError, InferenceError
from attachtrans.infer.activations import Activation, Lodging, Room, lodge
from attachtrans.infer.canvas import Canvas, read_tile
from attachtrans.infer.lanes import Lanes
from attachtrans.infer.ranges import Decoding
from attachtrans.infer.tiling import Axis, Plan, Span, Tiling
from attachtrans.models.translator import Moments, Part, Region, TranslatorSpec
from attachtrans.types import Size, Window

# What computing one tile may take: more brings no speed (CPU: caches) or not much (CUDA).
_TILE_BYTES = {"cuda": 1 << 30}
_TILE_BYTES_ELSEWHERE = 64 << 20
_LEAST_TILE_BYTES = 4 << 20
_LOWEST = 32
"""Rows of a tile, before it gets less wide than the image: disks read rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """How one image is run in stages.

    parts       of the net, for this image
    whole       the plan with a single tile, which is what the parts work on
    plan        how the result is put together from the tiles of the last part
    tile_bytes  what computing a tile may take, about
    """

    parts: Sequence[Part]
    whole: Plan
    plan: Plan
    room: Room
    lodging: Lodging
    tile_bytes: int

    @classmethod
    def of(cls, size: Size, spec: TranslatorSpec, device: torch.device, room: Room) -> Staging:
        """Plan an image of this size.

        Raises InferenceError when the net has no stages, or there is too little room.
        """
        if spec.stages is None:
            raise InferenceError(_no_way(spec))
        longest = max(size) + spec.multiple_of + spec.min_size + 2 * spec.margin_px
        whole = Tiling(tile_size=longest).plan(size, spec)
        parts = spec.stages.parts(whole.tile)
        tile_bytes = _TILE_BYTES.get(device.type, _TILE_BYTES_ELSEWHERE)
        return cls(
            parts=parts,
            whole=whole,
            plan=_sheet(whole, parts[-1], tile_bytes),
            room=room,
            lodging=lodge(parts, room),
            tile_bytes=tile_bytes,
        )

    def smaller(self) -> Staging | None:
        """With nothing on the device and smaller tiles, after memory ran out; None: that is all."""
        tile_bytes = self.tile_bytes // 4
        if tile_bytes < _LEAST_TILE_BYTES:
            return None
        room = self.room.without_device()
        return replace(
            self,
            plan=_sheet(self.whole, self.parts[-1], tile_bytes),
            room=room,
            lodging=lodge(self.parts, room),
            tile_bytes=tile_bytes,
        )


def require_exact(spec: TranslatorSpec, tile_size: int | None, precision: str) -> None:
    """Refuse at once what can never give exact seams.

    Raises:
        ArgumentError: it is asked for half precision, or no tile but the whole photo would do.
    """
    if precision not in ("auto", "fp32"):
        raise ArgumentError(f"--seams exact computes in fp32: leave --precision {precision} out")
    if spec.stages is None and spec.receptive_field_px is None and tile_size is None:
        raise ArgumentError(_no_way(spec))


def _no_way(spec: TranslatorSpec) -> str:
    """Why exact seams are not possible with a net, and what is."""
    if spec.receptive_field_px is not None:
        return (
            f"--seams exact needs tiles with a padding of {spec.receptive_field_px} px with this "
            "net: leave -a padding and -a tile_size out or make them larger, or use --seams blend"
        )
    return (
        f"--seams exact is not possible with this net: {spec.no_stages}. Photos that fit into one "
        "tile are exact (-a tile_size=N, as large as the photo, if memory allows); "
        "or use --seams blend"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """One image on its way through the parts of a net.

    image   (bands, height, width), on the device
    lanes   where tiles are computed
    stop    once set, nothing more is computed
    """

    staging: Staging
    image: Tensor
    decoding: Decoding
    in_bands: int
    lanes: Lanes
    stop: threading.Event

    @torch.inference_mode()
    def run(self, canvas: Canvas, on_share: Callable[[float], None]) -> bool:
        """Compute all parts and paste the last one's tiles; False when stopped before.

        canvas      of the staging's plan
        on_share    called after every tile with the share of the work that is done
        """
        staging = self.staging
        total = sum(part.work for part in staging.parts)
        done = 0.0
        values: dict[int, Activation] = {}
        moments: dict[int, Moments] = {}
        with _full_precision(self.image.device):
            for number, part in enumerate(staging.parts, start=1):
                last = number == len(staging.parts)
                regions = _regions(staging.plan) if last else grid(part, staging.tile_bytes)
                work = _Work(part=part, number=number, values=values, moments=moments)
                if number in staging.lodging.homes:
                    home = staging.lodging.homes[number]
                    folder, device = staging.room.folder, self.image.device
                    values[number] = Activation(part.shape, home, folder, device)
                counts: list[_Count] = []
                compute = partial(self._compute, work)
                results = self.lanes.each(compute, regions, self.stop)
                for at, (region, result) in enumerate(results):
                    if last:
                        canvas.paste(result, *divmod(at, len(staging.plan.columns.spans)))
                    elif part.counted:
                        counts.append(_Count(region.pixels, result))
                    on_share(min((done + part.work * (at + 1) / len(regions)) / total, 1.0))
                if self.stop.is_set():
                    return False
                if part.counted:
                    moments[number] = _merged(counts)
                done += part.work
                for other, end in staging.lodging.last_use.items():
                    if end == number:
                        values.pop(other, None)
        return True

    @torch.inference_mode()
    def _compute(self, work: _Work, region: Region) -> Tensor:
        """Compute a tile, and keep it where it is to be kept.

        Gives the mean and variance of each channel (2, C) of a counted part, else the tile
        (C, rows, cols). Modes belong to threads, so they are set here.
        """

        def read(number: int, part: Region) -> Tensor:
            return work.values[number].read(part) if number else self._pixels(part)

        tile = work.part.compute(region, read, work.moments)
        if (kept := work.values.get(work.number)) is not None:
            kept.write(region, tile)
        if not work.part.counted:
            return tile[0]
        variance, mean = torch.var_mean(tile[0], dim=(1, 2), correction=0)
        return torch.stack([mean, variance])

    def _pixels(self, region: Region) -> Tensor:
        """A part of what the net sees of the image, fills included."""
        whole = self.staging.whole
        col, row = whole.columns.spans[0].start, whole.rows.spans[0].start
        shape = (1, self.in_bands, len(region.rows), len(region.cols))
        pixels = torch.empty(shape, device=self.image.device, memory_format=torch.channels_last)
        window = Window(
            col=col + region.cols.start,
            row=row + region.rows.start,
            width=len(region.cols),
            height=len(region.rows),
        )
        read_tile(self.image, window, self.decoding, pixels[0])
        return pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A part at work: its number, what it may read and where it writes, the moments so far."""

    part: Part
    number: int
    values: dict[int, Activation]
    moments: dict[int, Moments]


@dataclass(frozen=True, slots=True)
class _Count:
    """Mean and variance of each channel, (2, C), of so many pixels."""

    pixels: int
    moments: Tensor


def _merged(counts: Sequence[_Count]) -> Moments:
    """The moments of all tiles together, in double precision."""
    device = counts[0].moments.device
    means, variances = torch.stack([c.moments for c in counts]).cpu().double().unbind(1)
    pixels = torch.tensor([c.pixels for c in counts], dtype=torch.float64)[:, None]
    share = pixels / pixels.sum()
    mean = (share * means).sum(0)
    variance = (share * (variances + (means - mean).square())).sum(0)
    return Moments(mean=mean.float().to(device), variance=variance.float().to(device))


def grid(part: Part, tile_bytes: int) -> list[Region]:
    """Tiles of a part's value, row by row, each computed in about so much memory."""
    rows, cols = _cuts(part, part.shape.region, tile_bytes)
    return [
        Region(range(top, bottom), range(left, right))
        for top, bottom in pairwise(rows)
        for left, right in pairwise(cols)
    ]


def _cuts(part: Part, whole: Region, tile_bytes: int) -> tuple[list[int], list[int]]:
    """Where tiles begin and end, (rows, columns): evenly spread, full rows where they fit."""
    down = across = 1
    while True:
        height, width = -(-len(whole.rows) // down), -(-len(whole.cols) // across)
        top, left = (len(whole.rows) - height) // 2, (len(whole.cols) - width) // 2
        middle = Region(range(top, top + height), range(left, left + width))
        if part.scratch_bytes(middle) <= tile_bytes or height == width == 1:
            return _spread(len(whole.rows), down), _spread(len(whole.cols), across)
        if height > _LOWEST or width == 1:
            down = min(2 * down, len(whole.rows))
        else:
            across = min(2 * across, len(whole.cols))


def _spread(length: int, count: int) -> list[int]:
    return sorted({i * length // count for i in range(count + 1)})


def _sheet(plan: Plan, last: Part, tile_bytes: int) -> Plan:
    """How the last part's tiles make up the result: each its own place, what is filled left out."""
    width, height = plan.out_size
    rows, cols = _cuts(last, Region(range(height), range(width)), tile_bytes)
    return Plan(columns=_axis(plan.columns, cols), rows=_axis(plan.rows, rows), exact=True)


def _axis(whole: Axis, cuts: Sequence[int]) -> Axis:
    longest = max(stop - start for start, stop in pairwise(cuts))
    return replace(
        whole,
        length=-(-whole.length * longest // max(whole.out_size, 1)),
        out_length=longest,
        overlap=0,
        spans=tuple(
            Span(
                start=start * whole.size // whole.out_size,
                out_start=start,
                out_stop=stop,
                keep_start=start,
                keep_stop=stop,
            )
            for start, stop in pairwise(cuts)
        ),
    )


def _regions(plan: Plan) -> list[Region]:
    """The tiles of a sheet, in the plan's order."""
    return [
        Region(
            range(plan.rows.spans[row].keep_start, plan.rows.spans[row].keep_stop),
            range(plan.columns.spans[column].keep_start, plan.columns.spans[column].keep_stop),
        )
        for row, column in plan
    ]


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Convolutions in real float32: TF32, their default on CUDA, keeps three digits."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
