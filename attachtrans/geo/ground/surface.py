"""A bilinear surface over a grid of heights, with the highest of its blocks for skipping.

Places are grid coordinates (i, j): the sample of column i and row j lies at whole numbers. Patch
(i, j) spans the four samples from there to (i + 1, j + 1). The surface is a hyperbolic paraboloid
on each patch, continuous, and unknown on patches with a sample without data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

BLOCK_BITS = 2
"""Each level's blocks are 4 by 4 of the level below."""

_ROUNDING = 1e-7
"""Of a cell: how far outside a place on the border may come to lie in map coordinates."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surface:
    """Heights and the pyramid over them.

    heights  (rows, cols), float32 or float64, nan without data
    lowest, highest   of all heights; nan if there are none
    levels   number of levels of blocks; level 1 has blocks of 4 x 4 patches, level 2 of 16 x 16
    """

    heights: NDArray[np.floating]
    lowest: float
    highest: float
    levels: int
    _tops: Floats
    """Highest samples of all blocks, level after level, row after row; nan without data."""
    _starts: Ints
    _strides: Ints
    """By level; index 0 is unused."""

    @classmethod
    def of(cls, heights: NDArray[np.floating]) -> Self:
        """Of (rows, cols) heights, at least 2 x 2."""
        across = np.fmax(heights[:, :-1], heights[:, 1:])
        tops = np.fmax(across[:-1], across[1:])
        chain: list[NDArray[np.floating]] = []
        while not chain or max(tops.shape) > 1:
            for axis in (0, 1):
                starts = np.arange(0, tops.shape[axis], 1 << BLOCK_BITS)
                tops = np.fmax.reduceat(tops, starts, axis=axis)
            chain.append(tops)
        sizes = [level.size for level in chain]
        known = bool(np.isfinite(chain[-1]).any())
        return cls(
            heights=heights,
            lowest=float(np.fmin.reduce(heights, axis=None)) if known else np.nan,
            highest=float(chain[-1][0, 0]) if known else np.nan,
            levels=len(chain),
            _tops=np.concatenate([level.ravel() for level in chain]).astype(np.float64),
            _starts=np.cumsum([0, 0, *sizes[:-1]]),
            _strides=np.array([0, *[level.shape[1] for level in chain]]),
        )

    @property
    def extent(self) -> tuple[int, int]:
        """Number of patches (across, down)."""
        rows, cols = self.heights.shape
        return cols - 1, rows - 1

    def tops(self, level: Ints, block_i: Ints, block_j: Ints) -> Floats:
        """(N,) highest sample of blocks of levels >= 1; nan without data."""
        return self._tops[self._starts[level] + block_j * self._strides[level] + block_i]

    def patches(self, i: Ints, j: Ints) -> tuple[Floats, Floats, Floats, Floats]:
        """(N,) coefficients of z = c + x u + y v + w u v on patches, u and v from 0 to 1."""
        flat, stride = self.heights.ravel(), self.heights.shape[1]
        first = j * stride + i
        z00 = flat[first].astype(np.float64)
        z10, z01, z11 = flat[first + 1], flat[first + stride], flat[first + stride + 1]
        x, y = z10 - z00, z01 - z00
        return z00, x, y, z11 - z10 - y

    def at(self, i: Floats, j: Floats) -> Floats:
        """(N,) heights at grid coordinates; nan outside and without data."""
        across, down = self.extent
        with np.errstate(invalid="ignore"):
            inside = (np.abs(i - 0.5 * across) <= 0.5 * across + _ROUNDING) & (
                np.abs(j - 0.5 * down) <= 0.5 * down + _ROUNDING
            )
        safe_i = np.clip(np.where(inside, i, 0.0), 0.0, across)
        safe_j = np.clip(np.where(inside, j, 0.0), 0.0, down)
        patch_i = np.minimum(safe_i.astype(np.intp), across - 1)
        patch_j = np.minimum(safe_j.astype(np.intp), down - 1)
        c, x, y, w = self.patches(patch_i, patch_j)
        u, v = safe_i - patch_i, safe_j - patch_j
        return np.where(inside, c + x * u + (y + w * u) * v, np.nan)
