"""Heights of the pixels of blocks, and whether other ground hides them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attachtrans.geo.ground import DemGround
from attachtrans.geo.occlusion import Horizon
from attachtrans.geo.rectify.lattice import SIDE, along_axes, spread, spread_along

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
        # Line by line pays where several of a block's rows lie between two of the model's lines.
        along = along_axes(cells) & (np.ptp(cells[1], axis=1) <= SIDE)
        if along.all():
            return self._along(cells)
        heights, hidden = self._across(cells)
        if along.any():
            heights[along], hidden[along] = self._along(cells[:, along])
        return heights, hidden

    def _along(self, cells: Floats) -> tuple[Singles, Flags]:
        """`heights` on blocks whose axes are those of the model: line by line, in half the time."""
        base, within = np.floor(cells.mean(axis=-1)).astype(np.intp), self._within(cells)
        across, down = self.dem.surface.extent
        i, j = spread_along(cells - base[:, :, None])
        col, u = _split(i, base[0, :, None], across, within=within)
        row, v = _split(j, base[1, :, None], down, within=within)
        first, stride = row.min(axis=1), across + 1
        lines = np.arange((row.max(axis=1) - first).max() + 2)
        lines = np.minimum(first[:, None] + lines, down) * stride
        flat, places = self.above.ravel(), lines[:, :, None] + col[:, None, :]
        left, step = flat[places], flat[places + 1]
        step -= left
        step *= u[:, None, :]
        left += step
        block, line = np.arange(len(row))[:, None], row - first[:, None]
        heights, step = left[block, line], left[block, line + 1]
        step -= heights
        step *= v[:, :, None]
        heights += step
        if not within:
            aside = _outside(i, base[0, :, None], across)[:, None, :]
            heights[aside | _outside(j, base[1, :, None], down)[:, :, None]] = np.nan
        if self.horizon is None:
            return heights, np.zeros(heights.shape, dtype=np.bool_)
        cols, rows = np.broadcast_arrays(col[:, None, :], row[:, :, None])
        us, vs = np.broadcast_arrays(u[:, None, :], v[:, :, None])
        return heights, self._hidden(cols, rows, us, vs)

    def _across(self, cells: Floats) -> tuple[Singles, Flags]:
        """`heights` on any blocks."""
        base, within = np.floor(cells.mean(axis=-1)).astype(np.intp), self._within(cells)
        across, down = self.dem.surface.extent
        i, j = spread(cells - base[:, :, None])
        col, u = _split(i, base[0, :, None, None], across, within=within)
        row, v = _split(j, base[1, :, None, None], down, within=within)
        stride = across + 1
        height = _bilinear(self.above, col + row * stride, u, v, stride)
        if not within:
            aside = _outside(i, base[0, :, None, None], across)
            height[aside | _outside(j, base[1, :, None, None], down)] = np.nan
        return height, self._hidden(col, row, u, v)

    def _within(self, cells: Floats) -> bool:
        """Whether all blocks lie within the model, a cell from its border."""
        low, high = cells.min(axis=(1, 2)), cells.max(axis=(1, 2))
        return bool((low >= 1.0).all() and (high <= np.array(self.dem.surface.extent) - 1.0).all())

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
    low = -base - _BORDER_CELLS
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
