"""Diffusion over a whole image: every step for all tiles before the next one.

Tiles that go from noise to picture each on its own agree on the noise where they overlap, but not
on what they see in it, so they drift apart from step to step. Here the whole image has one latent:
in each step every tile takes its part of it, and what the tiles make of it is blended before the
next step (as in MultiDiffusion, arXiv 2302.08113). The last step then has little left to differ in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from attachtrans.infer.blend import Fade, ramps
from attachtrans.infer.canvas import Canvas, read_tile
from attachtrans.infer.lanes import Lanes
from attachtrans.infer.ranges import Decoding
from attachtrans.infer.streams import bring
from attachtrans.infer.tiling import Axis, Plan
from attachtrans.models.translator import StepwiseTranslator
from attachtrans.types import Window

Places = list[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some tiles of a plan.

    places      (row, column) of each
    condition   see `StepwiseTranslator`
    positions   (N, 2), (col, row) of their first pixels
    """

    places: Places
    condition: Tensor
    positions: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepwise:
    """One image on its way from noise to picture.

    image       (bands, height, width), on the translator's device
    batch_size  tiles per call of the net; it changes no result beyond rounding
    lanes       where the calls run
    autocast    the precision of the calls
    stop        once set, nothing more is computed
    """

    translator: StepwiseTranslator
    image: Tensor
    decoding: Decoding
    plan: Plan
    batch_size: int
    lanes: Lanes
    autocast: Callable[[], torch.autocast]
    stop: threading.Event

    @torch.inference_mode()
    def run(self, canvas: Canvas, on_step: Callable[[int], None]) -> bool:
        """Make all steps, then paste every tile's result; False when stopped before.

        canvas      of the same plan
        on_step     called after each step with the number of steps that are done
        """
        translator = self.translator
        sheet = _Sheet(self.plan, translator.latent_step, self.image.device)
        latent = self._joined(sheet, lambda b: translator.begin(b.condition, b.positions))
        on_step(0)
        for number in range(translator.step_count):
            step = partial(self._advance, number, sheet, latent)
            latent = self._joined(sheet, step)
            if self.stop.is_set():
                return False
            on_step(number + 1)
        work = partial(self._finish, sheet, latent)
        for places, results in self._results(work):
            for (row, column), result in zip(places, results, strict=True):
                canvas.paste(result, row, column)
        return not self.stop.is_set()

    def _advance(self, number: int, sheet: _Sheet, latent: Tensor, batch: Batch) -> Tensor:
        tiles = sheet.cut(latent, batch.places)
        return self.translator.advance(number, tiles, batch.condition, batch.positions)

    def _finish(self, sheet: _Sheet, latent: Tensor, batch: Batch) -> Tensor:
        return self.translator.finish(sheet.cut(latent, batch.places), batch.condition)

    def _joined(self, sheet: _Sheet, work: Callable[[Batch], Tensor]) -> Tensor:
        """One latent of what the work gives for every tile; of some when stopped."""
        joined: Tensor | None = None
        for places, tiles in self._results(work):
            joined = sheet.empty(tiles) if joined is None else joined
            sheet.blend(joined, tiles, places)
        return torch.empty(0) if joined is None else joined

    def _results(self, work: Callable[[Batch], Tensor]) -> Iterator[tuple[Places, Tensor]]:
        """What the work gives for every batch of tiles, in order, until stopped."""
        every = list(self.plan)
        size = self.batch_size
        batches = [every[first : first + size] for first in range(0, len(every), size)]
        return self.lanes.each(partial(self._call, work), batches, self.stop)

    @torch.inference_mode()
    def _call(self, work: Callable[[Batch], Tensor], places: Places) -> Tensor:
        """The work for some tiles; modes belong to threads, so they are set here."""
        device, (width, height) = self.image.device, self.plan.tile
        corners = [
            (self.plan.columns.spans[column].start, self.plan.rows.spans[row].start)
            for row, column in places
        ]
        shape = (len(places), self.translator.spec.in_bands, height, width)
        pixels = torch.empty(shape, device=device)
        for tile, (col, row) in zip(pixels, corners, strict=True):
            window = Window(col=col, row=row, width=width, height=height)
            read_tile(self.image, window, self.decoding, tile)
        with self.autocast():
            return work(
                Batch(
                    places=places,
                    condition=self.translator.condition(pixels),
                    positions=bring(torch.tensor(corners), device),
                )
            )


class _Sheet:
    """Where the tiles lie in the latent of the whole image, with what they reach beyond it."""

    def __init__(self, plan: Plan, step: int, device: torch.device) -> None:
        rows, columns = _in_latent(plan.rows, step), _in_latent(plan.columns, step)
        self._rows, self._columns = rows.spans, columns.spans
        self._down = [Fade.of(ramp, device) for ramp in ramps(rows)]
        self._across = [Fade.of(ramp, device) for ramp in ramps(columns)]
        self._size = rows.out_size, columns.out_size

    def empty(self, tiles: Tensor) -> Tensor:
        """(channels, height, width) for the latent that tiles (N, channels, ...) are part of."""
        return tiles.new_zeros(tiles.shape[1], *self._size)

    def cut(self, latent: Tensor, places: Places) -> Tensor:
        """The parts of the latent that belong to the tiles."""
        return torch.stack([latent[:, *self._slices(place)] for place in places])

    def blend(self, latent: Tensor, tiles: Tensor, places: Places) -> None:
        """Put tiles in: the running weighted mean, so that tiles that agree stay what they are."""
        for place, tile in zip(places, tiles, strict=True):
            row, column = place
            share = self._down[row].share(self._across[column])
            latent[:, *self._slices(place)].lerp_(tile, share)

    def _slices(self, place: tuple[int, int]) -> tuple[slice, slice]:
        row, column = self._rows[place[0]], self._columns[place[1]]
        return slice(row.out_start, row.out_stop), slice(column.out_start, column.out_stop)


def _in_latent(axis: Axis, step: int) -> Axis:
    """The axis with whole tiles as output, in values of the latent, `step` pixels each."""
    spans = tuple(
        replace(span, out_start=span.start // step, out_stop=(span.start + axis.length) // step)
        for span in axis.spans
    )
    return replace(axis, spans=spans, out_size=spans[-1].out_stop)
