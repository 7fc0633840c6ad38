"""Images on their way through the tile engine, and their tiles."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from torch import Tensor

from attachtrans.infer.canvas import Canvas
from attachtrans.infer.ranges import Decoding
from attachtrans.infer.staged import Staging
from attachtrans.infer.tiling import Plan
from attachtrans.types import Window

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True, eq=False)
class Job(Generic[K]):
    """An image on its way; `staging` when it is computed in stages.

    left        tiles that are not in the canvas yet
    reported    pixels of its own that were reported as done
    """

    key: K
    image: Tensor
    decoding: Decoding
    dtype: np.dtype[Any]
    plan: Plan
    canvas: Canvas
    staging: Staging | None
    left: int = field(init=False)
    reported: int = 0

    def __post_init__(self) -> None:
        self.left = len(self.plan)


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
