"""What keeps a pipeline in bounds and measures it: hands, memory in flight, seconds per stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """How many hands and how much memory: threads per stage, bytes and photos in flight.

    However small photos are, no more are in flight than fill the devices' batches: hundreds would
    else wait decoded for a net that is slower than the decoder.
    """

    decoders: int = 1
    encoders: int = 1
    budget_bytes: int = _GIB
    most_photos: int = 32


class StageTimes:
    """Wall and CPU seconds spent in each stage, over all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time spent inside to stage `name`."""
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            with self._lock:
                self.wall[name] = self.wall.get(name, 0.0) + time.perf_counter() - wall
                self.cpu[name] = self.cpu.get(name, 0.0) + time.thread_time() - cpu


class Budget:
    """A semaphore that counts photos and bytes. One is always let in when none is in flight."""

    def __init__(self, limit: int, most_photos: int) -> None:
        self._limit = limit
        self._most_photos = most_photos
        self._used = 0
        self._photos = 0
        self._condition = threading.Condition()
        self._open = False

    def acquire(self, nbytes: int) -> None:
        """Wait until a photo of this size may come in."""
        with self._condition:
            self._condition.wait_for(lambda: self._open or self._fits(nbytes))
            self._used += nbytes
            self._photos += 1

    def _fits(self, nbytes: int) -> bool:
        if self._photos == 0:
            return True
        return self._photos < self._most_photos and self._used + nbytes <= self._limit

    def release(self, nbytes: int) -> None:
        """A photo of this size is gone."""
        with self._condition:
            self._used -= nbytes
            self._photos -= 1
            self._condition.notify_all()

    def open(self) -> None:
        """Let everybody through: the run is ending."""
        with self._condition:
            self._open = True
            self._condition.notify_all()
