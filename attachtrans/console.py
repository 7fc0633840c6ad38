"""What a person at a terminal sees: progress on stderr, summaries on stdout."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tqdm import tqdm

from attachtrans.report import Outcome, Status

_QUIET_FOR_S = 2.0
_LOG_EVERY_S = 10.0
_TEXT_EVERY_S = 0.2
_SHOWN_PROBLEMS = 20
# Of tqdm; its own way tells of seconds per megapixel where these are more than one.
_RASTER_BAR = (
    "{l_bar}{bar}| {n_fmt}/{total_fmt} MP [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"
)


class Bar:
    """A progress bar with photos/s, megapixels/s and the time that is left; of rasters megapixels.

    It appears only when a run takes longer than two seconds, and writes to stderr only.
    """

    def __init__(self, total: int, *, enabled: bool, task: str = "translate") -> None:
        self._every = 0.1 if sys.stderr.isatty() else _LOG_EVERY_S
        self._bar = tqdm(
            total=total,
            unit="photo",
            desc=task,
            file=sys.stderr,
            delay=_QUIET_FOR_S,
            disable=not enabled,
            dynamic_ncols=True,
            mininterval=self._every,
            smoothing=0.1,
        )
        self._lock = threading.Lock()
        self._pixels = self._planned = 0
        self._started = time.monotonic()
        self._shown = 0.0

    def backed_up(self, done: int, total: int) -> None:
        """See `tool.progress.Progress`."""
        self._say(f"backup {done / max(total, 1):.0%}")

    def mosaicked(self, done: int, total: int) -> None:
        """See `tool.place.mosaics.Watch`: photos are through, so nothing else moves the bar."""
        self._say(f"mosaic {done / max(total, 1):.0%}", refresh=True)

    def planned(self, pixels: int) -> None:
        """See `tool.progress.Progress`: a raster is to come, whose pixels move the bar."""
        with self._lock:
            if self._planned == 0:
                self._bar.unit, self._bar.total, self._bar.n = "MP", 0, 0
                self._bar.bar_format = _RASTER_BAR
            self._planned += pixels
            self._bar.total = round(self._planned / 1e6, 2)

    def computed(self, pixels: int) -> None:
        """See `tool.progress.Progress`."""
        with self._lock:
            self._pixels += pixels
            if self._planned:
                self._bar.update(round(self._pixels / 1e6, 2) - self._bar.n)
                return
        rate = self._pixels / 1e6 / max(time.monotonic() - self._started, 1e-9)
        self._say(f"{rate:.2f} MP/s")

    def told(self, text: str) -> None:
        """See `tool.progress.Progress`."""
        if not self._bar.disable:
            self.write(text)

    def _say(self, text: str, *, refresh: bool = False) -> None:
        with self._lock:
            pause = self._every if refresh else _TEXT_EVERY_S
            if time.monotonic() - self._shown > pause and not self._bar.disable:
                self._shown = time.monotonic()
                seen = time.monotonic() - self._started > _QUIET_FOR_S
                self._bar.set_postfix_str(text, refresh=refresh and seen)

    def advance(self) -> None:
        """One more attachment is dealt with."""
        with self._lock:
            if not self._planned:
                self._bar.update()

    def write(self, line: str) -> None:
        """A line above the bar."""
        with self._lock:
            if sys.stderr.isatty():
                tqdm.write(line, file=sys.stderr)
            else:
                sys.stderr.write(f"{line}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()


class Tally:
    """Counts and problems of a run, kept small however many items there are.

    unit  what they are, many of them: photos, rasters
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self.counts: Counter[Status] = Counter()
        self.reasons: Counter[str] = Counter()
        self._started = time.monotonic()
        self._megapixels = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.counts[outcome.status] += 1
        if outcome.status is Status.TRANSLATED and outcome.size_in:
            self._megapixels += outcome.size_in.width * outcome.size_in.height / 1e6
        if outcome.status is Status.SKIPPED:
            self.reasons[outcome.reason] += 1

    @property
    def ok(self) -> bool:
        """Whether nothing failed or was refused."""
        return not (self.counts[Status.FAILED] or self.counts[Status.REFUSED])

    def lines(self, output: str, notes: Iterable[str]) -> list[str]:
        """The closing summary."""
        seconds = time.monotonic() - self._started
        words = [f"{count} {status}" for status, count in self.counts.items() if count]
        lines = [f"{', '.join(words) or f'no {self._unit}'} -> {output}"]
        if done := self.counts[Status.TRANSLATED]:
            speed = f", {done / seconds:.2f} {self._unit}/s" if done > 1 else ""
            lines.append(f"  {seconds:.1f} s{speed}, {self._megapixels / seconds:.2f} MP/s")
        for reason, count in self.reasons.most_common(_SHOWN_PROBLEMS):
            lines.append(f"  skipped {count}: {reason}")
        lines.extend(f"  note: {note}" for note in notes)
        return lines
