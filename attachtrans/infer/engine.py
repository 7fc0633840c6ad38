"""The tile engine: images in, translated images out, through batches that may mix several images.

It knows a `Translator` and arrays. It is driven by pushing: `submit` an image and take what has
been finished by that; `flush` at the end. One thread owns an engine; several devices are several
engines.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attachtrans.errors import ArgumentError, InferenceError
from attachtrans.infer.activations import find_room
from attachtrans.infer.canvas import Canvas, upload
from attachtrans.infer.delivery import Delivery, Translated
from attachtrans.infer.devices import tiles_per_call
from attachtrans.infer.excerpts import Excerpt, Stretch
from attachtrans.infer.faults import failure, out_of_memory
from attachtrans.infer.forward import Forward
from attachtrans.infer.jobs import Job, Queues, Tile
from attachtrans.infer.lanes import Lanes
from attachtrans.infer.precision import Caller
from attachtrans.infer.ranges import decoding, encoding
from attachtrans.infer.staged import Staged, Staging, require_exact
from attachtrans.infer.stepwise import Stepwise
from attachtrans.infer.tiling import SEAMS, Plan, Tiling
from attachtrans.models.translator import StepwiseTranslator, Translator
from attachtrans.types import Size, Window

K = TypeVar("K", bound=Hashable)
# Tile edge to aim at, when nobody says: on a CPU convolutions gain nothing from more (measured).
_NOMINAL = {"cuda": 1024}
# Images wait for company to fill a batch; more than this would be memory without a use. A single
# image may be larger.
_WAITING_IMAGES = 32
_WAITING_BYTES = 256 << 20
# Results on their way from the device, while the next image is already being computed.
_ON_THE_WAY = 2

Result = tuple[K, Translated | InferenceError]


class Engine(Generic[K]):
    """Runs a net over images of any size, tile by tile.

    translator  the net, on `device`
    tile_size, padding  see `tiling.Tiling`
    batch_size  tiles per call, at least 1; None = what suits the device. It changes no result
    precision   see `precision.Caller`
    on_pixels   called after every batch with the number of input pixels that are done by it;
                over a run these add up to the images' own pixels, failed ones included
    stop        once set nothing more is computed: `submit` and `flush` give what was finished
                before and drop the rest, without an error
    seams       "blend": tiles whose results differ fade into each other. "exact": the result is
                that of one pass over the whole image, to rounding; where tiles cannot give that,
                the net runs in stages (see `staged`)
    on_staging  called before an image is run in stages with its plan

    Out of memory halves the batch, then the tile; a part of a blended image yields a
    `NoMemoryError`, and `plan` then gives smaller tiles. An `InferenceError` is of one image only.

    A `StepwiseTranslator` makes each step for the whole image before the next one, and `on_pixels`
    is then called after every step; "auto" is fp32, since small differences add up over the steps.
    """

    def __init__(  # noqa: PLR0913 (a facade: each is a flag of the command line)
        self,
        translator: Translator,
        *,
        tile_size: int | None = None,
        padding: int | None = None,
        batch_size: int | None = None,
        device: torch.device,
        precision: str = "auto",
        on_pixels: Callable[[int], None] | None = None,
        stop: threading.Event | None = None,
        seams: str = "blend",
        on_staging: Callable[[Size, Staging], None] | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ArgumentError(f"batch_size is {batch_size}; it must be at least 1")
        spec = translator.spec
        if seams not in SEAMS:
            raise ArgumentError(f"seams {seams!r} is unknown: use one of {', '.join(SEAMS)}")
        self._exact = seams == "exact"
        self._on_staging = on_staging or (lambda _size, _staging: None)
        if self._exact:
            require_exact(spec, tile_size, precision)
            precision = "fp32"
        self._spec = spec
        self._device = device
        self._steps = translator if isinstance(translator, StepwiseTranslator) else None
        if self._steps is not None and precision == "auto":
            precision = "fp32"
        self._caller = Caller(translator, device, precision)
        self._call = Forward(self._caller, spec, device)
        self._tiling = Tiling(
            tile_size=tile_size, padding=padding, nominal=_NOMINAL.get(device.type, 512)
        )
        self._tiling.plan(Size(1, 1), spec)  # wrong arguments show before the first image
        self._batch_size = spec.fixed_batch or batch_size
        self._most_pixels = math.inf  # per batch, once memory ran out
        self._report = on_pixels or (lambda _pixels: None)
        self._stop = stop or threading.Event()
        self._queues = Queues[K]()
        self._jobs: dict[Job[K], None] = {}
        self._ready: list[Result[K]] = []
        self._on_the_way: deque[tuple[K, Delivery]] = deque()
        self._lanes = Lanes(device)
        self._flying: deque[tuple[list[Tile[K]], Future[list[Tensor]]]] = deque()

    @property
    def precision(self) -> str:
        """In which the net is computed by now: fp32, bf16 or fp16."""
        return self._caller.precision

    @property
    def takes_excerpts(self) -> bool:
        """Whether large images may come in parts: not where all of one is needed at once."""
        return self._steps is None and not self._exact

    def plan(self, size: Size) -> Plan:
        """How an image is cut by now: with smaller tiles once memory ran out."""
        return self._tiling.plan(size, self._spec)

    @torch.inference_mode()
    def submit(
        self,
        key: K,
        array: NDArray[Any],
        *,
        excerpt: Excerpt | None = None,
        valid: NDArray[Any] | None = None,
    ) -> list[Result[K]]:
        """Take in one image (bands, height, width) and give what has been finished by now.

        The array must not change before its result is out; results come in any order. excerpt
        says which part of a larger image this is; those of a panel come one after the other. Tiles
        that see nothing of `valid` (height, width) are left out. Raises ArgumentError for no image.
        """
        if array.ndim != 3 or 0 in array.shape:
            raise ArgumentError(
                f"an image is an array (bands, height, width) with pixels, not {array.shape}"
            )
        if not self._stop.is_set():
            self._open(key, array, excerpt, valid)
        while (full := self._queues.full(self._batch)) and len(full) >= self._lanes.count:
            for shape in full[: self._lanes.count]:
                self._step(shape)
        while self._jobs and self._crowded():
            self._advance()
        return self._collect(wait=False)

    @torch.inference_mode()
    def flush(self) -> list[Result[K]]:
        """Compute what is left, in batches that may not be full, and give it."""
        while self._jobs:
            self._advance()
        return self._collect(wait=True)

    def _advance(self) -> None:
        """Bring the oldest image forward."""
        shape = next(iter(self._jobs)).plan.tile
        if shape in self._queues:
            self._step(shape)
        else:
            self._land()

    def _open(
        self,
        key: K,
        array: NDArray[Any],
        excerpt: Excerpt | None,
        valid: NDArray[Any] | None,
    ) -> None:
        to_net = decoding(array.dtype, self._spec)
        size = Size(array.shape[2], array.shape[1])
        own = excerpt.source if excerpt is not None else Window(col=0, row=0, **size._asdict())
        counts, stretch = own.width * own.height, excerpt.stretch if excerpt is not None else None
        try:
            plan, staging = (stretch.plan, None) if stretch is not None else self._plan(size)
            image = upload(array, self._device)
            canvas = self._canvas(plan, array.dtype, stretch)
        except Exception as error:
            if not out_of_memory(error) and not isinstance(error, InferenceError):
                raise
            self._ready.append((key, failure(error)))
            self._report(counts)
            return
        self._start(
            Job(
                key=key,
                image=image,
                decoding=to_net,
                dtype=array.dtype,
                plan=plan,
                canvas=canvas,
                counts=counts,
                staging=staging,
                stretch=stretch,
                valid=valid,
            )
        )

    def _plan(self, size: Size) -> tuple[Plan, Staging | None]:
        """How an image is cut, and its stages where cutting is not enough.

        Raises InferenceError when exact seams are wanted and cannot be had.
        """
        plan = self._tiling.plan(size, self._spec)
        if plan.exact or not self._exact:
            return plan, None
        staging = Staging.of(size, self._spec, self._device, find_room(self._device))
        self._on_staging(size, staging)
        return staging.plan, staging

    def _start(self, job: Job[K]) -> None:
        if job.staging is not None:
            self._jobs[job] = None
            self._make_stages(job, job.staging)
        elif self._steps is not None:
            self._jobs[job] = None
            self._make_steps(job, self._steps)
        else:
            self._queue(job)

    def _canvas(self, plan: Plan, dtype: np.dtype[Any], stretch: Stretch | None = None) -> Canvas:
        encoded = encoding(dtype, self._spec)
        return Canvas(plan, self._spec.out_bands, encoded, self._device, stretch)

    def _queue(self, job: Job[K]) -> None:
        self._jobs[job] = None
        tiles = job.tiles()
        job.left = len(tiles)
        self._queues.add(tiles)
        self._deliver_complete()

    def _deliver_complete(self) -> None:
        """Send the oldest images on their way while they wait for no tile; each in its turn."""
        while self._jobs and next(iter(self._jobs)).left == 0:
            self._deliver(next(iter(self._jobs)))

    def _make_stages(self, job: Job[K], staging: Staging) -> None:
        """Bring an image through all stages, here and now."""
        while True:
            staged = Staged(
                staging=staging,
                image=job.image,
                decoding=job.decoding,
                in_bands=self._spec.in_bands,
                lanes=self._lanes,
                stop=self._stop,
            )
            try:
                complete = staged.run(job.canvas, lambda share: self._progress(job, share))
                break
            except Exception as error:  # noqa: BLE001 (handed on as the image's result)
                less = staging.smaller() if out_of_memory(error) else None
                if less is None:
                    self._fail(job, error)
                    return
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            staging, job.plan = less, less.plan
            job.canvas = self._canvas(job.plan, job.dtype)
        self._end(job, complete=complete)

    def _make_steps(self, job: Job[K], translator: StepwiseTranslator) -> None:
        """Bring an image through all steps, here and now."""
        rounds = translator.step_count + 1
        batch = self._batch(job.plan.tile)
        while True:
            stepwise = Stepwise(
                translator=translator,
                image=job.image,
                decoding=job.decoding,
                plan=job.plan,
                batch_size=batch,
                lanes=self._lanes,
                autocast=self._caller.autocast,
                stop=self._stop,
            )
            try:
                complete = stepwise.run(job.canvas, lambda done: self._progress(job, done / rounds))
                break
            except Exception as error:  # noqa: BLE001 (handed on as the image's result)
                if not out_of_memory(error) or batch == 1:
                    self._fail(job, error)
                    return
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            self._most_pixels = batch // 2 * math.prod(job.plan.tile)
            batch = self._batch(job.plan.tile)
            job.canvas = self._canvas(job.plan, job.dtype)
        self._end(job, complete=complete)

    def _end(self, job: Job[K], *, complete: bool) -> None:
        if complete:
            self._deliver(job)
        else:
            del self._jobs[job]

    def _crowded(self) -> bool:
        nbytes = sum(job.image.nbytes + job.canvas.nbytes for job in self._jobs)
        return len(self._jobs) > _WAITING_IMAGES or (
            len(self._jobs) > 1 and nbytes > _WAITING_BYTES
        )

    def _batch(self, shape: Size) -> int:
        """How many tiles of this size go into a batch."""
        wanted = self._batch_size or tiles_per_call(self._device, shape)
        if self._spec.fixed_batch is not None or math.isinf(self._most_pixels):
            return wanted
        return max(1, min(wanted, int(self._most_pixels) // math.prod(shape)))

    def _step(self, shape: Size) -> None:
        """Start one batch of tiles of this size; or, when stopped, drop everything."""
        if self._stop.is_set():
            for _, future in self._flying:
                future.cancel()
            for waiting in (self._flying, self._queues, self._jobs):
                waiting.clear()
            return
        # A few last tiles are done sooner by all threads together than by a lane each.
        few = not self._flying and len(self._queues) < self._lanes.count
        tiles = self._queues.take(shape, self._batch(shape))
        if tiles:
            run = self._lanes.run if few else self._lanes.submit
            self._flying.append((tiles, run(self._call, tiles)))
        while len(self._flying) > self._lanes.ahead:
            self._land()

    def _land(self) -> None:
        """Wait for the oldest batch and take in its results, or deal with its fault."""
        tiles, future = self._flying.popleft()
        fault = future.exception()
        if fault is None:
            for tile, prepared in zip(tiles, future.result(), strict=True):
                self._add(tile, prepared)
        elif not isinstance(fault, Exception):
            raise fault
        elif out_of_memory(fault):
            self._flying.appendleft((tiles, future))
            while self._flying:  # they come again, in their order
                others, future = self._flying.pop()
                future.exception()
                self._queues.put_back([tile for tile in others if tile.job in self._jobs])
            self._shrink(tiles)
        else:
            jobs = list(dict.fromkeys(tile.job for tile in tiles))
            live = [job for job in jobs if job in self._jobs]
            if len(jobs) == 1 and live:
                self._fail(jobs[0], fault)
                return
            for job in reversed(live):  # whose fault it is shows when each runs alone
                alone = [tile for tile in tiles if tile.job is job]
                self._flying.appendleft((alone, self._lanes.run(self._call, alone)))

    def _add(self, tile: Tile[K], prepared: Tensor) -> None:
        job = tile.job
        if job not in self._jobs:
            return  # it failed on an earlier tile of this batch
        try:
            job.canvas.add(prepared, tile.row, tile.column)
        except Exception as error:
            if not out_of_memory(error):
                raise
            self._fail(job, error)
            return
        job.left -= 1
        if job.left == 0:
            self._deliver(job)
            self._deliver_complete()
        else:
            self._progress(job, 1 - job.left / len(job.plan))

    def _deliver(self, job: Job[K]) -> None:
        """Send a complete result on its way from the device."""
        try:
            finished = Delivery(job.canvas, job.plan, self._caller.precision)
        except Exception as error:
            if not out_of_memory(error):
                raise
            self._fail(job, error)
            return
        self._progress(job, 1)
        del self._jobs[job]
        self._on_the_way.append((job.key, finished))

    def _progress(self, job: Job[K], share: float) -> None:
        """Report what of an image is done; never less than before, when a part is done again."""
        done = int(job.counts * share)
        self._report(max(done - job.reported, 0))
        job.reported = max(job.reported, done)

    def _fail(self, job: Job[K], error: Exception) -> None:
        del self._jobs[job]
        self._queues.drop(job)
        self._report(job.counts - job.reported)
        self._ready.append((job.key, failure(error)))
        self._deliver_complete()

    def _shrink(self, tiles: list[Tile[K]]) -> None:
        """After memory ran out for these tiles: smaller batches of them, or smaller tiles."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        shape = tiles[0].job.plan.tile
        if len(tiles) > 1 and self._spec.fixed_batch is None:
            self._most_pixels = len(tiles) // 2 * math.prod(shape)
            return
        smaller = self._tiling.smaller(tiles[0].job.plan)
        try:
            smaller.plan(shape, self._spec)
        except ArgumentError as error:
            for job in {tile.job for tile in tiles} & self._jobs.keys():
                self._fail(job, MemoryError(str(error)))
            return
        self._tiling = smaller
        self._most_pixels = math.prod(shape) // 2
        for job in dict.fromkeys(tile.job for tile in self._queues.take(shape)):
            if job.stretch is not None:  # its tiles are those of the whole image
                self._fail(job, MemoryError("its tiles do not fit into memory"))
                continue
            try:
                job.plan, job.staging = self._plan(job.plan.size)
            except InferenceError as error:
                self._fail(job, error)
                continue
            job.canvas = self._canvas(job.plan, job.dtype)
            self._start(job)

    def _collect(self, *, wait: bool) -> list[Result[K]]:
        """Take the results that have arrived from the device."""
        while self._on_the_way and (
            wait or len(self._on_the_way) > _ON_THE_WAY or self._on_the_way[0][1].arrived()
        ):
            key, delivery = self._on_the_way.popleft()
            self._ready.append((key, delivery.unpack()))
        ready, self._ready = self._ready, []
        return ready
