"""Not more requests a second than a server is willing to answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock


class Pace:
    """Turns, evenly spaced; thread-safe.

    rate  turns a second, None: without spacing
    """

    def __init__(
        self,
        rate: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gap = 0.0 if rate is None else 1.0 / rate
        self._clock, self._sleep = clock, sleep
        self._next = clock()
        self._lock = Lock()

    def wait(self) -> None:
        """Return when it is this caller's turn."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._gap
        if turn > now:
            self._sleep(turn - now)

    def hold(self, seconds: float) -> None:
        """Give no turn for so long, to anybody."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)
