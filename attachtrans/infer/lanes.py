"""Running several batches side by side on the CPU, one thread each.

A net's own threads meet after every layer and wait for the slowest; beside threads that decode and
encode photos that costs more than it gains (measured: 988-parameter net, 2 cores, codecs busy:
three times the CPU seconds). Tiles do not depend on each other, so they share the cores instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier, Event
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")
Given = TypeVar("Given")

# Each lane holds the layers of a tile in memory; with more cores a lane has several threads.
_MOST_LANES = 4


class Lanes:
    """Threads that run batches: on the CPU as many as torch has threads, at most 4, else none.

    Without lanes `submit` runs at once in the caller's thread, with all of torch's threads.
    """

    def __init__(self, device: torch.device) -> None:
        threads = torch.get_num_threads()
        self.count = min(threads, _MOST_LANES) if device.type == "cpu" else 1
        self._pool: ThreadPoolExecutor | None = None
        if self.count > 1:
            # All at the barrier: each task then has a thread of its own, which keeps its setting.
            barrier = Barrier(self.count)
            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="attachtrans-lane")
            share = threads // self.count
            for done in [self._pool.submit(_settle, barrier, share) for _ in range(self.count)]:
                done.result()
            torch.set_num_threads(threads)  # for threads to come: the lanes changed it for all

    @property
    def ahead(self) -> int:
        """How many submitted batches may be unfinished: one waits while the lanes are busy."""
        return self.count + 1 if self._pool else 0

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run in a lane."""
        if self._pool is None:
            return self.run(function, *args, **kwargs)
        return self._pool.submit(function, *args, **kwargs)

    def each(
        self, function: Callable[[Given], T], items: Iterable[Given], stop: Event
    ) -> Iterator[tuple[Given, T]]:
        """Each item with what the function gives for it, in order, until stopped."""
        flying: deque[tuple[Given, Future[T]]] = deque()
        try:
            for item in items:
                if stop.is_set():
                    return
                flying.append((item, self.submit(function, item)))
                if len(flying) > self.ahead:
                    done, future = flying.popleft()
                    yield done, future.result()
            while flying:
                done, future = flying.popleft()
                yield done, future.result()
        finally:
            # What is left after a failure holds memory until it is over.
            for _, future in flying:
                if not future.cancel():
                    future.exception()

    @staticmethod
    def run(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run here and now, with all threads; what it raises is in the future too."""
        future: Future[T] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 (handed on)
            future.set_exception(error)
        return future


def _settle(barrier: Barrier, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.get_num_threads()  # a thread's first question would take over what others set later
    barrier.wait()
