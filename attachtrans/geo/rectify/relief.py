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
_FEW_CELLS = 8
"""From here on a cell more or less makes no difference to the lowest and the highest of a block."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relief:
    """An elevation model as the ground of an output grid.

    dem      the model
    datum    what the heights of `heights` count from, so that single precision does for them
    above    (rows, cols) of the model's cells above it
    horizon  how far its cells are below what the camera sees over, where that matters
    """

    dem: DemGround
    datum: np.float32
    above: Singles
    horizon: Horizon | None = None

    @classmethod
    def of(cls, dem: DemGround, horizon: Horizon | None = None) -> Self:
        datum = np.float32(dem.surface.lowest)
        above = (dem.surface.heights - datum).astype(np.float32, copy=False)
        return cls(dem=dem, datum=datum, above=above, horizon=horizon)

    def ranges(self, cells: Floats) -> tuple[Floats, Floats]:
        """The lowest and the highest ground of blocks on which cells are smooth.

        Args:
            cells: (2, N, 25) of the blocks' nodes, finite.

        Returns:
            (N,) and (N,) heights in the model's own datum, nan without data. Of the cells' box in
            the model, so that they are at least as far apart as the block's own.
        """
        last = np.array(self.dem.surface.extent)[:, None]
        first, behind = np.clip(cells.min(axis=2), 0, last), np.clip(cells.max(axis=2), 0, last)
        low, high = np.full((2, cells.shape[1]), np.nan)
        whole = np.floor(first)
        few = (behind - whole <= _FEW_CELLS).all(axis=0) & (first < behind).all(axis=0)
        which = np.flatnonzero(few)
        if which.size:
            # A bilinear surface is highest and lowest on the model's lines, or on the border.
            steps = np.arange(np.ceil((behind - whole)[:, few]).max() + 1.0)
            lines = np.clip(whole[:, few, None] + steps, first[:, few, None], behind[:, few, None])
            i, j = np.broadcast_arrays(lines[0][:, None, :], lines[1][:, :, None])
            found = self.dem.surface.at(i.ravel(), j.ravel()).reshape(which.size, -1)
            low[which], high[which] = np.fmin.reduce(found, axis=1), np.fmax.reduce(found, axis=1)
        begin, end = whole.astype(np.intp), np.ceil(behind).astype(np.intp) + 1
        for number in np.flatnonzero(~few & (first < behind).all(axis=0)):
            (left, top), (right, bottom) = begin[:, number], end[:, number]
            part = self.dem.surface.heights[top:bottom, left:right]
            low[number], high[number] = np.fmin.reduce(part, None), np.fmax.reduce(part, None)
        return low, high

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
        low, high = cells.min(axis=(1, 2)), cells.max(axis=(1, 2))
        within = bool((low >= 1.0).all() and (high <= np.array([across, down]) - 1.0).all())
        col, u = _split(i, base[0, :, None, None], across, within=within)
        row, v = _split(j, base[1, :, None, None], down, within=within)
        stride = across + 1
        height = _bilinear(self.above, col + row * stride, u, v, stride)
        if not within:
            height[_outside(i, base[0], across) | _outside(j, base[1], down)] = np.nan
        return height, self._hidden(col, row, u, v)

    def _hidden(self, col: Ints, row: Ints, u: Singles, v: Singles) -> Flags:
        """Places on patches (col, row) of the model."""
        if self.horizon is None:
            return np.zeros(col.shape, dtype=np.bool_)
        left, top, right, bottom = self.horizon.box
        stride = right - left
        index = np.clip(row - top, 0, bottom - top - 2) * stride
        index += np.clip(col - left, 0, stride - 2)
        below: Flags = _bilinear(self.horizon.excess, index, u, v, stride) > 0.0
        return below

    def heights_at(self, cells: Floats) -> tuple[Floats, Flags]:
        """(2, N) cells -> (N,) heights in the model's own datum, and (N,) which are hidden."""
        i, j = cells
        heights = self.dem.surface.at(i, j)
        across, down = self.dem.surface.extent
        with np.errstate(invalid="ignore"):
            col, u = _split(np.nan_to_num(i), 0, across, within=False)
            row, v = _split(np.nan_to_num(j), 0, down, within=False)
        return heights, self._hidden(col, row, u.astype(np.float32), v.astype(np.float32))


def _split(
    places: NDArray[np.floating], base: Ints | int, patches: int, *, within: bool
) -> tuple[Ints, Singles]:
    """Patches (whole numbers, within the model) and the places on them, from 0 to 1."""
    whole = np.floor(places)
    if not within:
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


def _bilinear(samples: Singles, first: Ints, u: Singles, v: Singles, stride: int) -> Singles:
    """Of (rows, cols) samples, on the patches whose first sample has the flat index `first`."""
    flat = samples.ravel()

    def corner(behind: int) -> Singles:
        found: Singles = flat[behind:].take(first, mode="clip")
        return found

    upper, right = corner(0), corner(1)
    right -= upper
    right *= u
    upper += right
    lower, right = corner(stride), corner(stride + 1)
    right -= lower
    right *= u
    lower += right
    lower -= upper
    lower *= v
    upper += lower
    return upper
