"""Runs one after the other: the rasters of a folder and its photos."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import replace

from attachtrans.report import Outcome, Report
from attachtrans.tool.progress import Progress
from attachtrans.tool.rasters.run import RasterTranslation
from attachtrans.tool.translation import Translation


def together(rasters: RasterTranslation | None, photos: Translation) -> Translation | Together:
    """The run over photos, after that over rasters where there are some."""
    return photos if rasters is None else Together((rasters, photos))


class Together:
    """Two runs as one: iterate over it once, an `Outcome` per item. See `Translation`."""

    def __init__(self, runs: tuple[RasterTranslation, Translation]) -> None:
        self._rasters, self._photos = runs

    @property
    def progress(self) -> Progress:
        """What both tell."""
        return self._photos.progress

    @progress.setter
    def progress(self, progress: Progress) -> None:
        self._rasters.progress = self._photos.progress = progress

    @property
    def notes(self) -> list[str]:
        """What the user should know."""
        return [*self._rasters.notes, *self._photos.notes]

    @property
    def times(self) -> Mapping[str, Mapping[str, float]]:
        """Seconds of the stages of the photos."""
        return self._photos.times

    @property
    def unit(self) -> str:
        """What both look at, many of them."""
        return "files"

    @property
    def output(self) -> str:
        """What will be written, in words."""
        return self._rasters.output

    def __len__(self) -> int:
        return len(self._rasters) + len(self._photos)

    def __iter__(self) -> Generator[Outcome, None, None]:
        """Run both; raises what stops every item."""
        for run in (self._rasters, self._photos):
            with closing(iter(run)) as outcomes:
                yield from outcomes

    def report(self, outcomes: Iterable[Outcome]) -> Report:
        """The report of these outcomes of this run."""
        return replace(self._photos.report(outcomes), notes=tuple(self.notes))
