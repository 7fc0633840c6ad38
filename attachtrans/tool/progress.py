"""What a run tells while it works."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a run tells while it works; called from several threads."""

    def backed_up(self, done: int, total: int) -> None:
        """Pages of the backup that are written, and pages in all."""
        ...

    def planned(self, pixels: int) -> None:
        """So many more input pixels are to go through the net; photos are counted instead."""
        ...

    def computed(self, pixels: int) -> None:
        """So many more input pixels went through the net."""
        ...

    def told(self, text: str) -> None:
        """What the user should know now, on a line."""
        ...


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
