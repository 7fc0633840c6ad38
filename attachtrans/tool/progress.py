"""What a run tells while it works."""

from __future__ import annotations

from threading import Lock
from typing import Protocol


class Progress(Protocol):
    """What a run tells while it works; called from several threads."""

    def backed_up(self, done: int, total: int) -> None:
        """Pages of the backup that are written, and pages in all."""
        ...

    def planned(self, pixels: int) -> None:
        """So many more input pixels are to go through the net; photos are counted instead.

        Fewer than none: they will not, after all.
        """
        ...

    def computed(self, pixels: int) -> None:
        """So many more input pixels went through the net."""
        ...

    def told(self, text: str) -> None:
        """What the user should know now, on a line."""
        ...


class Metered:
    """Progress that knows how much of what was planned is left, to take that back."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._left = 0
        self._lock = Lock()

    def backed_up(self, done: int, total: int) -> None:
        """See `Progress`."""
        self._progress.backed_up(done, total)

    def planned(self, pixels: int) -> None:
        """See `Progress`."""
        with self._lock:
            self._left += pixels
        self._progress.planned(pixels)

    def computed(self, pixels: int) -> None:
        """See `Progress`."""
        with self._lock:
            self._left -= pixels
        self._progress.computed(pixels)

    def told(self, text: str) -> None:
        """See `Progress`."""
        self._progress.told(text)

    def settle(self) -> None:
        """What is left of the plan will not be computed."""
        with self._lock:
            left, self._left = self._left, 0
        if left:
            self._progress.planned(-left)


class Quiet:
    """Progress for nobody."""

    def backed_up(self, done: int, total: int) -> None:
        """See `Progress`."""

    def planned(self, pixels: int) -> None:
        """See `Progress`."""

    def computed(self, pixels: int) -> None:
        """See `Progress`."""

    def told(self, text: str) -> None:
        """See `Progress`."""
