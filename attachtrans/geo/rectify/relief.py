"""Heights of the pixels of blocks, and whether other ground hides them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attachtrans.geo.ground import DemGround
from attachtrans.geo.occlusion import Horizon
from attachtrans.geo.rectify.lattice import spread

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.intp]
Flags = NDArray[np.bool_]

_BORDER_CELLS = 1e-4
"""How far outside the model's last centres a place may come to lie by rounding."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relief:
    """An elevation model as the ground of an output grid.

    dem      the model
    datum    what the heights of `heights` count from, so that single precision does for them
    horizon  how far its cells are below what the camera sees over, where that matters
    """

    dem: DemGround
    datum: np.float32
    horizon: Horizon | None = None

    @classmethod
    def of(cls, dem: DemGround, horizon: Horizon | None = None) -> Self:
        return cls(dem=dem, datum=np.float32(dem.surface.lowest), horizon=horizon)

    def heights(self, cells: Floats) -> tuple[Singles, Flags]:
        """Of the pixels of blocks on which cells are smooth.

        Args:
            cells: (2, N, 25) of the blocks' nodes, finite.

        Returns:
            (N, SIDE, SIDE) heights above the datum, nan without data, and which are hidden.
        """
        base = np.floor(cells.mean(axis=-1)).astype(np.intp)
        i, j = spread(cells - base[:, :, None])
        across, down = self.dem.surface.extent
        index, u = _split(i, base[0, :, None, None], across)
        row, v = _split(j, base[1, :, None, None], down)
        stride = across + 1
        index += row * stride
        height = _bilinear(self.dem.surface.heights, index, u, v, stride, self.datum)
        low, high = cells.min(axis=(1, 2)), cells.max(axis=(1, 2))
        if (low < 1.0).any() or (high > np.array([across, down]) - 1.0).any():
            height[_outside(i, base[0], across) | _outside(j, base[1], down)] = np.nan
        if self.horizon is None:
            return height, np.zeros(height.shape, dtype=np.bool_)
        return height, self._hidden(index - row * stride, row, u, v)

    def _hidden(self, col: Ints, row: Ints, u: Singles, v: Singles) -> Flags:
        """Places on patches (col, row) of the model."""
        if self.horizon is None:
            return np.zeros(col.shape, dtype=np.bool_)
        left, top, right, bottom = self.horizon.box
        stride = right - left
        index = np.clip(row - top, 0, bottom - top - 2) * stride
        index += np.clip(col - left, 0, stride - 2)
        below: Flags = _bilinear(self.horizon.excess, index, u, v, stride, np.float32(0.0)) > 0.0
        return below

    def heights_at(self, cells: Floats) -> tuple[Floats, Flags]:
        """(2, N) cells -> (N,) heights in the model's own datum, and (N,) which are hidden."""
        i, j = cells
        heights = self.dem.surface.at(i, j)
        across, down = self.dem.surface.extent
        with np.errstate(invalid="ignore"):
            col, u = _split(np.nan_to_num(i), 0, across)
            row, v = _split(np.nan_to_num(j), 0, down)
        return heights, self._hidden(col, row, u.astype(np.float32), v.astype(np.float32))


def _split(places: NDArray[np.floating], base: Ints | int, patches: int) -> tuple[Ints, Singles]:
    """Patches (whole numbers, within the model) and the places on them, from 0 to 1."""
    whole = np.floor(places)
    first = np.asarray(-base, dtype=whole.dtype)
    np.minimum(np.maximum(whole, first, out=whole), first + (patches - 1), out=whole)
    inner = places - whole
    patch = whole.astype(np.intp)
    patch += base
    return patch, inner


def _outside(places: Singles, base: Ints, last: int) -> Flags:
    low = -base[:, None, None] - _BORDER_CELLS
    outside: Flags = (places < low) | (places > low + last + 2.0 * _BORDER_CELLS)
    return outside


def _bilinear(
    samples: NDArray[np.floating],
    first: Ints,
    u: Singles,
    v: Singles,
    stride: int,
    datum: np.float32,
) -> Singles:
    """Of (rows, cols) samples, on the patches whose first sample has the flat index `first`."""
    flat = samples.ravel()
    upper = (flat.take(first, mode="clip") - datum).astype(np.float32)
    upper += ((flat.take(first + 1, mode="clip") - datum) - upper) * u
    lower = (flat.take(first + stride, mode="clip") - datum).astype(np.float32)
    lower += ((flat.take(first + (stride + 1), mode="clip") - datum) - lower) * u
    lower -= upper
    lower *= v
    upper += lower
    return upper
