"""Photos side by side: in a few threads, in bounded memory, results in the photos' order.

Decoders, GDAL, OpenCV and numpy's sums over arrays let other threads run meanwhile.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TypeVar

from attachtrans.flow import Budget

T = TypeVar("T")
R = TypeVar("R")

_MOST_HANDS = 4
"""Beyond these, threads wait for Python rather than for each other's sums."""
_AHEAD = 2
"""Photos per thread that are begun before the results of earlier ones are taken."""
_ROOM_BYTES = 1 << 30


def hands_for(photos: int) -> int:
    """How many threads go through so many photos on this machine."""
    return max(1, min(_MOST_HANDS, os.cpu_count() or 1, photos))


class Abreast:
    """The threads of one run.

    stop  is set when the run ends, early or not: long work looks at it
    """

    def __init__(self, hands: int) -> None:
        self.stop = Event()
        self._hands = hands
        self._budget = Budget(_ROOM_BYTES, hands)

    def each(self, items: Iterable[T], work: Callable[[T], R]) -> Generator[R, None, None]:
        """`work` of each item, in the items' order; what one raises is raised in its turn.

        When that happens, or when the iteration is given up, nothing more is begun, and what is
        under way is waited for.
        """
        if self._hands == 1:
            yield from map(work, items)
            return
        begun: deque[Future[R]] = deque()
        with ThreadPoolExecutor(self._hands, thread_name_prefix="attachtrans") as pool:
            try:
                for item in items:
                    begun.append(pool.submit(work, item))
                    if len(begun) == _AHEAD * self._hands:
                        yield begun.popleft().result()
                while begun:
                    yield begun.popleft().result()
            finally:
                self.stop.set()
                self._budget.open()
                pool.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def room(self, nbytes: int) -> Iterator[None]:
        """Memory that a photo takes inside, waited for; one photo always gets it."""
        self._budget.acquire(nbytes)
        try:
            yield
        finally:
            self._budget.release(nbytes)
