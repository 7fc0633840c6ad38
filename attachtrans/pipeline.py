"""Photos through a net: decode pool -> one owner per device -> encode pool -> one committer.

The committer is the caller: each step of the iterator commits one photo and yields its outcome.
What is in flight is bounded by bytes, not by count, so memory is flat in the number of photos and
bounded in their size. Photos are taken in and committed in the source's order.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import (
    AttachtransError,
    ChangedError,
    ImageError,
    InferenceError,
    SourceError,
)
from attachtrans.flow import Budget, Crew, StageTimes
from attachtrans.image import Photo, Probe, decode, encode, enlarged, probe, resized_alpha
from attachtrans.journal import digest_of
from attachtrans.report import Outcome, Status
from attachtrans.roles import MaskingEngine, PhotoEngine, PhotoRules, Sight, Translated
from attachtrans.stores.base import PhotoSink, PhotoSource
from attachtrans.types import Draft, Item, Size

_LOG = logging.getLogger(__name__)
THREAD_NAME = "attachtrans-pipeline"
# Photos in flight for each thread that decodes or encodes, however small they are: enough to keep
# it and a device's batches busy. Without a limit hundreds of small photos would wait, decoded, for
# a net that is slower than the decoder.
_PHOTOS_PER_HAND = 6


@dataclass(slots=True, kw_only=True)
class _Job:
    """One item on its way; each stage fills in what the next one needs."""

    index: int
    item: Item
    started: float
    cost: int = 0
    data: bytes = b""
    digest: str = ""
    photo: Photo | None = None
    sight: Sight | None = None
    pixels: NDArray[np.generic] = field(default_factory=lambda: np.empty(0))
    draft: Draft | None = None
    status: Status = Status.TRANSLATED
    reason: str = ""
    seam_ratio: float | None = None

    def settle(self, status: Status, reason: str = "") -> None:
        self.status, self.reason = status, reason

    def fail(self, error: Exception) -> None:
        """Keep what went wrong with this photo; what nobody foresaw goes to the log as well."""
        if isinstance(error, AttachtransError):
            self.settle(Status.FAILED, str(error))
        elif isinstance(error, MemoryError):
            self.settle(Status.FAILED, "there is not enough memory for it")
        else:
            self.settle(Status.FAILED, f"unexpected {type(error).__name__}: {error}")
            _LOG.error("%s", self.item.key, exc_info=error)

    @property
    def open(self) -> bool:
        """Whether the photo is still to be translated."""
        return self.status is Status.TRANSLATED

    def outcome(self) -> Outcome:
        draft = self.draft if self.status is Status.TRANSLATED else None
        return Outcome(
            item=self.item,
            status=self.status,
            reason=self.reason,
            seconds=time.perf_counter() - self.started,
            size_in=self.photo.size if self.photo else None,
            size_out=draft.size_out if draft else None,
            digest_in=self.digest or None,
            digest_out=draft.digest_out if draft else None,
            seam_ratio=self.seam_ratio if draft else None,
        )


@dataclass(slots=True)
class _Flow:
    """The queues and switches that the threads of one run share."""

    budget: Budget
    stop: threading.Event
    ready: SimpleQueue[_Job | None] = field(default_factory=SimpleQueue)
    raw: SimpleQueue[tuple[_Job, Translated] | None] = field(default_factory=SimpleQueue)
    finished: SimpleQueue[_Job | BaseException | None] = field(default_factory=SimpleQueue)


class Pipeline:
    """One run: iterate over it to make it happen, an `Outcome` per item.

    Closing the iterator early (or Ctrl-C) stops the threads; what was committed stays committed,
    the rest is untouched.
    """

    def __init__(
        self,
        source: PhotoSource,
        sink: PhotoSink,
        engines: Sequence[PhotoEngine],
        rules: PhotoRules,
        *,
        crew: Crew,
        stop: threading.Event,
    ) -> None:
        """Every engine gets a thread; `stop` is set to make engines return early."""
        self._source = source
        self._sink = sink
        self._engines = engines
        self._rules = rules
        self._crew = crew
        busy = _PHOTOS_PER_HAND * (crew.decoders + crew.encoders)
        most_photos = min(crew.most_photos, busy)
        self._flow = _Flow(Budget(crew.budget_bytes, most_photos), stop)
        self._items = enumerate(source)
        self._intake = threading.Lock()
        self._taken_in = 0
        self.times = StageTimes()

    def __iter__(self) -> Iterator[Outcome]:
        """Run; raises what stops every photo (SinkError, SourceError, a broken device)."""
        threads = self._start()
        try:
            yield from self._commit_in_order()
        finally:
            self._flow.stop.set()
            self._flow.budget.open()
            for _ in self._engines:
                self._flow.ready.put(None)
            for _ in range(self._crew.encoders):
                self._flow.raw.put(None)
            for thread in threads:
                thread.join()

    def _start(self) -> list[threading.Thread]:
        works: list[Callable[[], None]] = [self._decode_all] * self._crew.decoders
        works += [partial(self._translate_all, engine) for engine in self._engines]
        works += [self._encode_all] * self._crew.encoders
        threads = [
            threading.Thread(target=self._guarded, args=(work,), name=THREAD_NAME) for work in works
        ]
        for thread in threads:
            thread.daemon = True  # a hung driver must not keep a process that wants to end
            thread.start()
        return threads

    def _guarded(self, work: Callable[[], None]) -> None:
        """Hand whatever ends a thread to the committer, which raises it."""
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the caller's thread
            self._flow.finished.put(error)

    # --- stages -------------------------------------------------------------------------------

    def _decode_all(self) -> None:
        while (job := self._take_in()) is not None:
            with self.times.stage("decode"):
                self._decode(job)
            (self._flow.ready if job.open else self._flow.finished).put(job)
        self._flow.finished.put(None)

    def _take_in(self) -> _Job | None:
        """Read the next item.

        One at a time and in order, so that the committer never waits for a photo that waits for
        memory which later photos hold.
        """
        with self._intake:
            if self._flow.stop.is_set():
                return None
            index, item = next(self._items, (-1, None))
            if item is None:
                return None
            self._taken_in = index + 1
            job = _Job(index=index, item=item, started=time.perf_counter())
            try:
                with self.times.stage("read"):
                    job.data = self._source.read(item)
            except SourceError as error:
                job.settle(Status.FAILED, str(error))
            else:
                job.cost = self._cost(probe(job.data), len(job.data))
            self._flow.budget.acquire(job.cost)
            return job

    def _cost(self, found: Probe, nbytes: int) -> int:
        """Bytes that a photo will hold at its peak: encoded, decoded and translated."""
        if found.size is None or found.skip:
            return nbytes
        pixels = found.size.width * found.size.height * max(found.bands or 3, 3)
        depth = found.dtype.itemsize if found.dtype else 1
        return nbytes + int(pixels * depth * (1 + self._rules.growth))

    def _decode(self, job: _Job) -> None:
        if not job.open:
            return
        job.digest = digest_of(job.data)
        if self._sink.holds(job.item, job.digest):
            job.settle(Status.ALREADY)
            return
        try:
            job.photo = decode(job.data, self._rules.limits)
        except ImageError as error:
            job.settle(Status.SKIPPED, str(error))
            return
        except Exception as error:  # noqa: BLE001 - one bad photo must not end the run
            job.fail(error)
            return
        objection = self._sink.objection(job.item, job.digest, job.photo.marks)
        if objection:
            job.settle(Status.SKIPPED if objection.by_rule else Status.REFUSED, objection.reason)
        elif reason := self._rules.objection(job.photo):
            job.settle(Status.REFUSED, reason)
        else:
            self._look(job, job.photo)

    def _look(self, job: _Job, photo: Photo) -> None:
        """Find the photo's place on the map, and what the net is fed."""
        if self._rules.look is not None:
            try:
                job.sight = self._rules.look(job.item, job.data, photo)
            except Exception as error:  # noqa: BLE001 - one bad photo must not end the run
                job.fail(error)
                return
            if job.sight.objection:
                job.settle(Status.REFUSED, job.sight.objection)
                return
            job.photo = photo = job.sight.photo
        job.data = b""  # the decoded photo keeps what it needs to be written again
        job.pixels = enlarged(photo.pixels, self._rules.enlarge)

    def _translate_all(self, engine: PhotoEngine) -> None:
        jobs: dict[int, _Job] = {}
        while True:
            try:
                job = self._flow.ready.get_nowait()
            except Empty:
                # Nothing more to fill the batch with: finish what there is before waiting.
                with self.times.stage("infer"):
                    self._hand_on(jobs, engine.flush())
                job = self._flow.ready.get()
            if job is None or job.photo is None:
                return
            jobs[job.index] = job
            with self.times.stage("infer"):
                self._hand_on(jobs, _submit(engine, job, job.photo))

    def _hand_on(
        self, jobs: dict[int, _Job], results: Sequence[tuple[int, Translated | Exception]]
    ) -> None:
        for index, result in results:
            job = jobs.pop(index)
            if isinstance(result, InferenceError):
                job.settle(Status.FAILED, str(result))
                self._flow.finished.put(job)
            elif isinstance(result, Exception):
                raise result
            else:
                self._flow.raw.put((job, result))

    def _encode_all(self) -> None:
        while (work := self._flow.raw.get()) is not None:
            job, result = work
            with self.times.stage("encode"):
                try:
                    self._encode(job, result)
                except Exception as error:  # noqa: BLE001 - one bad photo must not end the run
                    job.fail(error)
            self._flow.finished.put(job)

    def _encode(self, job: _Job, result: Translated) -> None:
        if job.photo is None:
            return
        job.seam_ratio = result.seam_ratio
        encoded = job.sight.encode(result.array) if job.sight else None
        encoded = encoded or encode(
            job.photo,
            result.array,
            options=self._rules.options(job.photo, result.array),
            history=self._rules.history,
            anonymise=self._rules.anonymise,
        )
        placement = job.sight.place(result.array) if job.sight else None
        if placement is not None:
            job.reason = placement.problem
        job.draft = Draft(
            item=job.item,
            data=encoded.data,
            media_type=encoded.media_type,
            extension=encoded.extension,
            reformatted=encoded.media_type != job.photo.media.media_type,
            size_in=job.photo.size,
            size_out=encoded.size,
            digest_in=job.digest,
            digest_out=digest_of(encoded.data),
            placement=placement,
        )

    # --- the committer ------------------------------------------------------------------------

    def _commit_in_order(self) -> Iterator[Outcome]:
        waiting: list[tuple[int, _Job]] = []
        following = 0
        decoding = self._crew.decoders
        # Only when every decoder is done is it known how many items were taken in.
        while decoding or following < self._taken_in:
            job = self._flow.finished.get()
            if isinstance(job, BaseException):
                raise job
            if job is None:
                decoding -= 1
                continue
            heapq.heappush(waiting, (job.index, job))
            while waiting and waiting[0][0] == following:
                _, job = heapq.heappop(waiting)
                following += 1
                with self.times.stage("commit"):
                    self._commit(job)
                self._flow.budget.release(job.cost)
                outcome = job.outcome()
                del job  # the consumer may take its time; the pixels need not wait for it
                yield outcome

    def _commit(self, job: _Job) -> None:
        try:
            if job.status is Status.SKIPPED:
                self._sink.keep(job.item, job.data)
            elif job.draft and job.open:
                self._sink.commit(job.draft)
        except ChangedError as error:
            job.settle(Status.REFUSED, str(error))
        except ImageError as error:
            job.settle(Status.FAILED, str(error))


def _submit(
    engine: PhotoEngine, job: _Job, photo: Photo
) -> Sequence[tuple[int, Translated | Exception]]:
    """Give a photo to an engine; with its alpha, if the engine wants to know."""
    if photo.alpha is None or not isinstance(engine, MaskingEngine):
        return engine.submit(job.index, job.pixels)
    size = Size(job.pixels.shape[2], job.pixels.shape[1])
    mask = resized_alpha(photo.alpha, size, photo.alpha.dtype)
    return engine.submit_masked(job.index, job.pixels, mask)
