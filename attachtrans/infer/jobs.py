"""Images on their way through the tile engine, and their tiles."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from attachtrans.infer.canvas import Canvas
from attachtrans.infer.excerpts import Stretch
from attachtrans.infer.ranges import Decoding
from attachtrans.infer.staged import Staging
from attachtrans.infer.tiling import Plan
from attachtrans.types import Size, Window

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True, eq=False)
class Job(Generic[K]):
    """An image on its way; `staging` when it is computed in stages, `stretch` where it is a part.

    counts      pixels that count as its own
    valid       (height, width), 0 where the result is of no account; None: all of it is
    left        tiles that are not in the canvas yet
    reported    pixels of its own that were reported as done
    """

    key: K
    image: Tensor
    decoding: Decoding
    dtype: np.dtype[Any]
    plan: Plan
    canvas: Canvas
    counts: int
    staging: Staging | None = None
    stretch: Stretch | None = None
    valid: NDArray[np.generic] | None = None
    left: int = 0
    reported: int = 0

    @property
    def origin(self) -> tuple[int, int]:
        """Where its first pixel lies, (col, row), in the image that it is a part of."""
        return (0, 0) if self.stretch is None else self.stretch.origin

    def tiles(self) -> list[Tile[K]]:
        """The tiles to run, in their order: those that see something that counts; others are 0."""
        tiles = [Tile(job=self, row=row, column=column) for row, column in self.plan]
        if self.valid is None:
            return tiles
        self.canvas.clear()
        return [tile for tile in tiles if self._counts(tile.window, self.valid)]

    @staticmethod
    def _counts(window: Window, valid: NDArray[np.generic]) -> bool:
        rows, cols = (slice(max(part.start, 0), part.stop) for part in window.slices)
        return bool(valid[rows, cols].any())


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile(Generic[K]):
    """One tile of an image, by its place in the plan."""

    job: Job[K]
    row: int
    column: int

    @property
    def window(self) -> Window:
        """What the net sees of the image."""
        plan = self.job.plan
        width, height = plan.tile
        col, row = plan.columns.spans[self.column].start, plan.rows.spans[self.row].start
        return Window(col=col, row=row, width=width, height=height)

    @property
    def position(self) -> tuple[int, int]:
        """(col, row) of its first pixel in the full image, which the job may be a part of."""
        col, row = self.job.origin
        return self.window.col + col, self.window.row + row


class Queues(Generic[K]):
    """Tiles that wait, those of one size together, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[Size, deque[Tile[K]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __contains__(self, shape: Size) -> bool:
        """Whether tiles of this size wait."""
        return shape in self._waiting

    def full(self, batch: Callable[[Size], int]) -> list[Size]:
        """The tile size of each batch that is full; `batch` tells how many tiles that takes."""
        return [
            shape
            for shape, queue in self._waiting.items()
            for _ in range(len(queue) // batch(shape))
        ]

    def add(self, tiles: Iterable[Tile[K]]) -> None:
        """They come last."""
        for tile in tiles:
            self._waiting.setdefault(tile.job.plan.tile, deque()).append(tile)

    def put_back(self, tiles: Sequence[Tile[K]]) -> None:
        """They come first, in their order."""
        for tile in reversed(tiles):
            self._waiting.setdefault(tile.job.plan.tile, deque()).appendleft(tile)

    def take(self, shape: Size, most: int | None = None) -> list[Tile[K]]:
        """The first tiles of this size, at most so many; None: all."""
        queue = self._waiting.get(shape, deque())
        count = len(queue) if most is None else min(most, len(queue))
        tiles = [queue.popleft() for _ in range(count)]
        if not queue:
            self._waiting.pop(shape, None)
        return tiles

    def drop(self, job: Job[K]) -> None:
        """Forget the tiles of a job."""
        self.put_back([tile for tile in self.take(job.plan.tile) if tile.job is not job])

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()
