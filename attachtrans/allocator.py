"""What malloc and torch are told about memory, for the whole process.

Threads hand arrays of megabytes to each other. By itself glibc's malloc gives each thread an arena
of its own, and what one of them has freed is of no use to the others: memory then grows with the
length of a run, until every arena has had its largest array. And it gives large arrays back to the
system at once, only to fetch new pages for the next, which takes up to a third of the time of a
small net.

Other C libraries have no such settings, and nothing happens. Settings: glibc's manual, "Malloc
Tunable Parameters" (mallopt).
"""

from __future__ import annotations

import contextlib
import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_KEPT = 1 << 25
"""Bytes of an array: glibc takes no more for a limit."""
_MOST_KEPT = 1 << 27


def share_arenas() -> None:
    """Let threads that are begun from now on take and leave memory in one place."""
    _set(_M_ARENA_MAX, 1)


def keep_freed() -> None:
    """Keep what arrays of megabytes leave: new pages take longer than sums over them."""
    _set(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    _set(_M_TRIM_THRESHOLD, _MOST_KEPT)


def use_large_pages() -> None:
    """Large pages for torch's arrays on the CPU, unless the environment says otherwise.

    Up to a sixth less time for nets whose layers take more than what is kept. What is kept grows
    with them, a fifth in long runs: not for those whose memory must not depend on their length.
    torch looks when it takes memory for the first time.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def _set(parameter: int, value: int) -> None:
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(parameter, value)
