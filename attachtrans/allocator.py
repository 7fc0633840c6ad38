"""What glibc's malloc is told; other C libraries have no such settings, and nothing happens.

Threads hand arrays of megabytes to each other. By itself malloc gives each thread an arena of its
own, and what one of them has freed is of no use to the others: memory then grows with the length of
a run, until every arena has had its largest array.

Settings: glibc's manual, "Malloc Tunable Parameters" (mallopt).
"""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_ARENAS = 2


def share_arenas() -> None:
    """Let threads that are begun from now on take and leave memory in the same places."""
    _set(_M_ARENA_MAX, _ARENAS)


def keep_freed() -> None:
    """Keep what arrays of megabytes leave: new pages take longer than sums over them."""
    _set(_M_MMAP_THRESHOLD, 1 << 25)
    _set(_M_TRIM_THRESHOLD, 1 << 27)


def return_large() -> None:
    """Give back what arrays of 8 MB and more leave; cheap where pages are large."""
    _set(_M_MMAP_THRESHOLD, 1 << 23)


def _set(parameter: int, value: int) -> None:
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(parameter, value)
