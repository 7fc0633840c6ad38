"""A raster through a net: reader -> one owner per device -> writer, block by block.

The writer is the caller: each step of the iterator writes one block, in their order, and yields how
many are in. So many blocks are in flight, however large the raster is.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError, NoMemoryError
from attachtrans.flow import StageTimes
from attachtrans.roles import Translated
from attachtrans.stores.raster.base import Raster
from attachtrans.stores.raster.resumable import ResumableWriter
from attachtrans.stores.raster.validity import (
    alpha_as,
    filled,
    scaled_alpha,
    scaled_mask,
    source_window,
    valid_pixels,
    valid_values,
    with_nodata,
)
from attachtrans.types import Size, Window

if TYPE_CHECKING:
    from attachtrans.infer.excerpts import Excerpt

THREAD_NAME = "attachtrans-windowed"
# Blocks in flight: one is read, one waits, so many are written, and each device has two.
_BLOCKS = 2
_BLOCKS_PER_DEVICE = 2


Objection = Callable[[NDArray[Any], NDArray[Any] | None], str | None]


class WindowEngine(Protocol):
    """A tile engine on one device that takes the windows of a raster; used by one thread only."""

    def submit(
        self,
        key: int,
        array: NDArray[np.generic],
        *,
        excerpt: Excerpt,
        valid: NDArray[np.generic] | None,
    ) -> Sequence[tuple[int, Translated | Exception]]:
        """Take in the window of an excerpt; returns those that are finished by now.

        valid (height, width) is 0 where the result is of no account, None: all of it is.
        """
        ...

    def flush(self) -> Sequence[tuple[int, Translated | Exception]]:
        """Finish everything that was taken in."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How windows of a raster become what the net sees.

    bands   by number from 1, in the net's order
    alpha   the raster has an alpha band, which the result gets too
    masked  its mask may say more than its nodata
    reach   see `validity.filled`
    objection  why these values cannot be translated, where they are data (None: everywhere);
            None: they can
    """

    raster: Raster
    bands: tuple[int, ...]
    alpha: bool
    masked: bool
    reach: int
    objection: Objection | None = None

    def read(
        self, window: Window
    ) -> tuple[NDArray[Any], NDArray[np.uint8] | None, NDArray[Any] | None]:
        """Values, mask (alpha where there is one), and what of the values is data (None: all).

        Raises:
            ArgumentError: the values cannot be translated.
            SourceError: the raster cannot be read there.
        """
        values = self.raster.read(window, bands=self.bands)
        mask = self.raster.read_mask(window) if self.masked else None
        valid = valid_values(values, nodata=self.raster.nodata, mask=mask)
        if self.objection is not None and (reason := self.objection(values, valid)):
            raise ArgumentError(f"{self.raster.name}: {reason}")
        return values, mask, valid


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A block on its way: what the net sees of its window, or nothing where nothing is data.

    mask    (height, width) of the window as the raster has it; None where nodata says it all
    valid   (height, width) of the window, None: all is data
    """

    index: int
    excerpt: Excerpt
    mask: NDArray[np.uint8] | None
    valid: NDArray[np.bool_] | None
    values: NDArray[Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """A block with its result, None where nothing is data."""

    block: _Block
    result: NDArray[Any] | None

    def __lt__(self, other: _Done) -> bool:
        return self.block.index < other.block.index


@dataclass(slots=True)
class _Queues:
    """What the threads of one run share."""

    room: threading.Semaphore
    stop: threading.Event
    read: SimpleQueue[_Block | None] = field(default_factory=SimpleQueue)
    done: SimpleQueue[_Done | BaseException | None] = field(default_factory=SimpleQueue)


class WindowedRun:
    """One raster; iterate over it to make it happen. It yields the number of blocks written.

    Closing the iterator early stops the threads; what was written stays in the writer.
    """

    def __init__(
        self,
        reading: Reading,
        engines: Sequence[WindowEngine],
        writer: ResumableWriter,
        excerpts: Iterable[Excerpt],
        *,
        writers: int,
        stop: threading.Event,
        on_pixels: Callable[[int], None],
    ) -> None:
        """`excerpts` begins after the blocks that the writer holds already.

        Every engine gets a thread, and so many threads write. `stop` is the engines' own: it is
        set while the run ends, and clear for the next raster.
        `on_pixels` is told of pixels that no engine was given.
        """
        self._reading = reading
        self._engines = engines
        self._writer = writer
        self._writers = writers
        self._on_pixels = on_pixels
        self._first = writer.done
        self._excerpts = enumerate(excerpts)
        room = _BLOCKS + _BLOCKS_PER_DEVICE * len(engines) + writers
        self._queues = _Queues(threading.Semaphore(room), stop)
        self.times = StageTimes()

    def __iter__(self) -> Iterator[int]:
        """Run; raises what ends it: SourceError, InferenceError, SinkError."""
        works: list[Callable[[], None]] = [self._read_all]
        works += [partial(self._translate_all, engine) for engine in self._engines]
        threads = [
            threading.Thread(target=self._guarded, args=(work,), name=THREAD_NAME, daemon=True)
            for work in works
        ]
        for thread in threads:
            thread.start()
        try:
            yield from self._write_in_order()
        except MemoryError as error:
            raise NoMemoryError(
                f"{self._reading.raster.name}: there is not enough memory for its parts ({error}): "
                "close other programs, or give a part of it with --extent"
            ) from error
        finally:
            self._queues.stop.set()
            self._queues.room.release()  # the reader may wait for room; it sees the stop then
            for thread in threads:
                thread.join()
            for engine in self._engines:  # what is left of a raster that failed goes
                engine.flush()
            self._queues.stop.clear()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Hand whatever ends a thread to the caller, which raises it."""
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the caller's thread
            self._queues.done.put(error)
        finally:
            self._queues.done.put(None)

    # --- reading ------------------------------------------------------------------------------

    def _read_all(self) -> None:
        try:
            for index, excerpt in self._excerpts:
                self._queues.room.acquire()
                if self._queues.stop.is_set():
                    return
                with self.times.stage("read"):
                    block = self._read(index, excerpt)
                self._queues.read.put(block)
        finally:
            for _ in self._engines:
                self._queues.read.put(None)

    def _read(self, index: int, excerpt: Excerpt) -> _Block:
        window, reading = excerpt.window, self._reading
        values, mask, found = reading.read(window)
        pixels = valid_pixels(found)
        block = partial(_Block, index=index, excerpt=excerpt, mask=mask, valid=pixels)
        if found is None:
            return block(values=values)
        if pixels is not None and not pixels.any():
            # Tiles of later blocks may go on from here, so that these know of it.
            return block(values=None if excerpt.stretch is None else np.zeros_like(values))
        wide = _grown(window, reading.reach, reading.raster.size)
        around, _, known = reading.read(wide)
        cut = Window(
            col=window.col - wide.col,
            row=window.row - wide.row,
            width=window.width,
            height=window.height,
        )
        whole = filled(around, known, reach=reading.reach)
        return block(values=np.ascontiguousarray(whole[(slice(None), *cut.slices)]))

    # --- translating --------------------------------------------------------------------------

    def _translate_all(self, engine: WindowEngine) -> None:
        blocks: dict[int, _Block] = {}
        while True:
            try:
                block = self._queues.read.get_nowait()
            except Empty:
                # Nothing more to fill a batch with: finish what there is before waiting.
                with self.times.stage("infer"):
                    self._hand_on(blocks, engine.flush())
                block = self._queues.read.get()
            if block is None:
                with self.times.stage("infer"):
                    self._hand_on(blocks, engine.flush())
                return
            if block.values is None:
                self._on_pixels(block.excerpt.source.width * block.excerpt.source.height)
                self._queues.done.put(_Done(block=block, result=None))
                continue
            blocks[block.index] = block
            with self.times.stage("infer"):
                results = engine.submit(
                    block.index, block.values, excerpt=block.excerpt, valid=block.valid
                )
                self._hand_on(blocks, results)

    def _hand_on(
        self, blocks: dict[int, _Block], results: Sequence[tuple[int, Translated | Exception]]
    ) -> None:
        for index, result in results:
            block = blocks.pop(index)
            if isinstance(result, Exception):
                raise result
            place = block.excerpt.place
            array = result.array[(slice(None), *place.slices)]
            self._queues.done.put(_Done(block=block, result=array))

    # --- writing ------------------------------------------------------------------------------

    def _write_in_order(self) -> Iterator[int]:
        waiting: list[_Done] = []
        flying: deque[Future[None]] = deque()
        begun, written = 0, self._first
        with ThreadPoolExecutor(self._writers, thread_name_prefix=THREAD_NAME) as pool:
            for done in self._results():
                heapq.heappush(waiting, done)
                while waiting and waiting[0].block.index == begun:
                    flying.append(pool.submit(self._write, heapq.heappop(waiting)))
                    begun += 1
                del done
                while flying and (flying[0].done() or len(flying) > self._writers):
                    flying.popleft().result()
                    written += 1
                    yield written
            for future in flying:
                future.result()
                written += 1
                yield written

    def _results(self) -> Iterator[_Done]:
        """Blocks as they are finished; raises what ended a thread."""
        threads = 1 + len(self._engines)
        while threads:
            done = self._queues.done.get()
            if isinstance(done, BaseException):
                raise done
            if done is None:
                threads -= 1
            else:
                yield done

    def _write(self, done: _Done) -> None:
        with self.times.stage("write"):
            self._write_block(done)
        self._queues.room.release()

    def _write_block(self, done: _Done) -> None:
        block, spec = done.block.excerpt.block, self._writer.spec
        bands = spec.bands - self._reading.alpha
        result = done.result
        if result is None:
            shape = (bands, block.height, block.width)
            result = np.zeros(shape, dtype=spec.dtype)
        present = self._scaled(done.block)
        if spec.nodata is not None:
            result = with_nodata(result, present, spec.nodata)
        elif present is not None:
            result = np.where(present, result, np.zeros((), result.dtype))
        if self._reading.alpha:
            result = np.concatenate([result, self._alpha(done.block)[None]])
        self._writer.write(result, block)
        if spec.masked:
            everything = np.ones((block.height, block.width), dtype=bool)
            self._writer.write_mask(everything if present is None else present, block)

    @property
    def _sizes(self) -> tuple[Size, Size]:
        """Of the raster and of its result."""
        return self._reading.raster.size, self._writer.spec.size

    def _scaled(self, block: _Block) -> NDArray[np.bool_] | None:
        """Where the result of a block is data; None: everywhere."""
        if block.valid is None:
            return None
        scaled = scaled_mask(block.valid, block.excerpt.window, block.excerpt.block, *self._sizes)
        return scaled.astype(bool, copy=False)

    def _alpha(self, block: _Block) -> NDArray[Any]:
        needed = source_window(block.excerpt.block, *self._sizes)
        window, mask = block.excerpt.window, block.mask
        if mask is not None and _holds(window, needed):
            source = window
        else:
            source, mask = needed, self._reading.raster.read_mask(needed)
        scaled = scaled_alpha(mask, source, block.excerpt.block, *self._sizes)
        return alpha_as(scaled, np.dtype(self._writer.spec.dtype))


def _grown(window: Window, reach: int, whole: Size) -> Window:
    """A window with so many more pixels on each side, within the raster."""
    col, row = max(window.col - reach, 0), max(window.row - reach, 0)
    right = min(window.col + window.width + reach, whole.width)
    bottom = min(window.row + window.height + reach, whole.height)
    return Window(col=col, row=row, width=right - col, height=bottom - row)


def _holds(outer: Window, inner: Window) -> bool:
    return (
        outer.col <= inner.col
        and outer.row <= inner.row
        and outer.col + outer.width >= inner.col + inner.width
        and outer.row + outer.height >= inner.row + inner.height
    )
