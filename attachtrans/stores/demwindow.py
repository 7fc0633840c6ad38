"""Windows of an elevation model: which cells a place needs, and heights on another grid.

Everything is computed by pyproj, in float64, so that places agree with those of cameras: GDAL has
a PROJ of its own, and its warper's transformer is approximate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.frame import transform, unit_m
from attachtrans.geo.ground.surface import Surface
from attachtrans.types import Size, Window

Floats = NDArray[np.float64]
Heights = NDArray[np.floating]
ReadHeights = Callable[["Area", Size | None], Heights]

_TURN = 360.0
_NODES = 1 << 18
"""Places transformed at a time."""
_LATTICES = (64, 16, 4)
_CLOSE = 1e-3
"""Of a cell: how far off the interpolated nodes may be."""
_OUTLINE = 33
_FLAT_M = 1_000_000.0
_MOST_CELLS = 25_000_000
"""Read for one warp; beyond it averages are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Cells from `left` to before `right` and from `top` to before `bottom` of a grid.

    step  tells grids apart: areas of two are never equal
    """

    left: int
    top: int
    right: int
    bottom: int
    step: float = 1.0

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def cells(self) -> int:
        return self.width * self.height

    @property
    def window(self) -> Window:
        """The same as pixels of a raster."""
        return Window(col=self.left, row=self.top, width=self.width, height=self.height)

    def of_step(self, step: float) -> Area:
        """The same cells of a coarser copy."""
        return replace(self, step=step)

    def snapped(self, block: int, size: Size) -> Area:
        """Enlarged to whole blocks, as far as the grid reaches."""
        return Area(
            left=self.left // block * block,
            top=self.top // block * block,
            right=min(-(-self.right // block) * block, size.width),
            bottom=min(-(-self.bottom // block) * block, size.height),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DemGrid:
    """Where the cells of an elevation model lie.

    affine  outer-corner pixels -> crs
    crs     horizontal
    """

    affine: PixelToMap
    size: Size
    crs: CRS

    def unit_in(self, flat: CRS) -> float | None:
        """Metres per unit where the model's grid is the frame `flat`'s but for the unit."""
        if flat == self.crs:
            return 1.0
        if not self.crs.is_projected:
            return None
        centre = np.array([[self.size.width / 2.0], [self.size.height / 2.0]])
        corners = self.affine.to_map(centre + np.array([[0.0, 1e3, 0.0], [0.0, 0.0, 1e3]]))
        unit = unit_m(self.crs)
        cell = float(np.hypot(*self.affine.linear).min()) * unit
        moved = transform(self.crs, flat, corners)
        return unit if np.allclose(moved, corners * unit, rtol=0.0, atol=1e-4 * cell) else None

    def around(self, centre: Floats, radius: float) -> Area | None:
        """The cells whose surface covers a square about a place; None where there are none."""
        reach = radius * np.array([[-1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, 1.0]])
        return self.within(self.affine.to_pixels(centre[:, None] + reach) - 0.5)

    def within(self, nodes: Floats) -> Area | None:
        """The cells that (2, N) places between cell centres need; None where they make no surface.

        That takes 2 x 2.
        """
        low = np.floor(nodes.min(axis=1)).astype(int)
        high = np.ceil(nodes.max(axis=1)).astype(int) + 1
        area = Area(
            left=max(int(low[0]), 0),
            top=max(int(low[1]), 0),
            right=min(int(high[0]), self.size.width),
            bottom=min(int(high[1]), self.size.height),
        )
        return area if min(area.width, area.height) >= 2 else None

    def nodes(self, flat: CRS, places: Floats, about: float) -> Floats:
        """(2, N) places of the frame -> (col, row) counted from the first cell's centre.

        Longitudes are taken within half a turn of `about`, so that nothing jumps at the
        antimeridian; columns then reach beyond the grid's edges.
        """
        moved = transform(flat, self.crs, places)
        if self.crs.is_geographic:
            moved[0] = about + (moved[0] - about + _TURN / 2.0) % _TURN - _TURN / 2.0
        return self.affine.to_pixels(moved) - 0.5

    def about(self, flat: CRS, centre: Floats) -> float:
        """The longitude of a place of the frame, by the turn that the grid is in; else its x."""
        x = float(transform(flat, self.crs, centre[:, None])[0, 0])
        if not self.crs.is_geographic:
            return x
        middle = float(
            self.affine.to_map(np.array(self.size, dtype=np.float64)[:, None] / 2.0)[0, 0]
        )
        return middle + (x - middle + _TURN / 2.0) % _TURN - _TURN / 2.0

    def cell_in(self, flat: CRS, centre: Floats) -> float:
        """The length of a cell's shorter side at a place of the frame, metres.

        Where meridians meet, cells are slim: no side counts as less than a quarter of the other.
        """
        node = self.nodes(flat, centre[:, None], self.about(flat, centre)) + 0.5
        inwards = np.where(node[:, 0] > np.array(self.size) / 2.0, -1.0, 1.0)
        steps = np.array([[0.0, inwards[0], 0.0], [0.0, 0.0, inwards[1]]])
        start, across, down = transform(self.crs, flat, self.affine.to_map(node + steps)).T
        sides = np.hypot(*(across - start)), np.hypot(*(down - start))
        return float(max(min(sides), max(sides) / 4.0))

    def bounds_in(self, flat: CRS, centre: Floats) -> tuple[Floats, Floats] | None:
        """The lowest and highest x and y of the grid in the frame, None where it is too large.

        Its outline says so, if the frame is about as flat as the earth is there.
        """
        if self.is_round:
            return None
        across, down = (np.linspace(0.0, side, _OUTLINE) for side in self.size)
        zero = np.zeros(_OUTLINE)
        cols = np.concatenate([across, across, zero, zero + self.size.width])
        rows = np.concatenate([zero, zero + self.size.height, down, down])
        outline = transform(self.crs, flat, self.affine.to_map(np.stack([cols, rows])))
        if not np.isfinite(outline).all() or np.ptp(outline, axis=1).max() > _FLAT_M:
            return None
        if np.abs(outline - centre[:, None]).max() > _FLAT_M:
            return None
        return outline.min(axis=1), outline.max(axis=1)

    @property
    def is_round(self) -> bool:
        """Whether the grid goes around the earth, so that its last column is beside its first."""
        t = self.affine
        return bool(
            self.crs.is_geographic
            and t.b == t.d == 0.0
            and abs(abs(t.a) * self.size.width - _TURN) < 0.01 * abs(t.a)
        )


def warped(
    grid: DemGrid, flat: CRS, affine: PixelToMap, size: Size, read: ReadHeights, *, step: float
) -> Heights | None:
    """Heights at the cell centres of another grid; nan off the model, None where it is far away.

    Args:
        grid: of the model.
        flat: the frame of the other grid.
        affine: of the other grid, outer-corner pixels.
        size: of the other grid.
        read: gives the model's heights of an area, as they are or averaged to a size.
        step: how many of the model's cells go into one, along a side.
    """
    centre = affine.to_map(np.array(size, dtype=np.float64)[:, None] / 2.0)[:, 0]
    about = grid.about(flat, centre)

    def exact(cols: Floats, rows: Floats) -> Floats:
        pixels = np.stack([a.ravel() for a in np.meshgrid(cols, rows)])
        found = grid.nodes(flat, affine.to_map(pixels), about)
        return found.reshape(2, rows.size, cols.size)

    nodes = _all_nodes(exact, size)
    if not np.isfinite(nodes).all(axis=0).any():
        return None
    surface, shift = _surface(grid, nodes, read, max(1, int(step)))
    if surface is None:
        return None
    heights = np.empty((size.height, size.width), dtype=surface.heights.dtype)
    high = max(1, _NODES // size.width)
    for top in range(0, size.height, high):
        strip = nodes[:, top : top + high].reshape(2, -1)
        i, j = (strip + 0.5 - shift[:, :1]) / shift[:, 1:] - 0.5
        heights[top : top + high] = surface.at(i, j).reshape(-1, size.width)
    return heights


def _all_nodes(exact: Callable[[Floats, Floats], Floats], size: Size) -> Floats:
    """(2, height, width) nodes at the cell centres of a grid.

    They are computed on a lattice and interpolated between, on the coarsest that misses by less
    than `_CLOSE` half way between its points: transformations are smooth, and slow.
    """
    for step in _LATTICES:
        cols, rows = (_centres(side + step, step) for side in size)
        corners = exact(cols, rows)
        middles = exact(cols[:-1] + step / 2.0, rows[:-1] + step / 2.0)
        left, right = corners[..., :-1], corners[..., 1:]
        mean = (left[:, :-1] + left[:, 1:] + right[:, :-1] + right[:, 1:]) / 4.0
        if np.abs(middles - mean).max() < _CLOSE:
            return _between(_between(corners, step, size.height, 1), step, size.width, 2)
    cols, rows = (_centres(side, 1) for side in size)
    high = max(1, _NODES // size.width)
    strips = [exact(cols, rows[top : top + high]) for top in range(0, size.height, high)]
    return np.concatenate(strips, axis=1)


def _centres(end: int, step: int) -> Floats:
    """The centre of every so many cells."""
    return np.arange(0, end, step, dtype=np.float64) + 0.5


def _between(lattice: Floats, step: int, count: int, axis: int) -> Floats:
    """`count` values along an axis, interpolated between those at every `step`-th."""
    place = np.arange(count)
    share = (place % step / step).reshape([-1 if axis == i else 1 for i in range(3)])
    first = lattice.take(place // step, axis=axis)
    found: Floats = first + share * (lattice.take(place // step + 1, axis=axis) - first)
    return found


def _surface(
    grid: DemGrid, nodes: Floats, read: ReadHeights, step: int
) -> tuple[Surface | None, Floats]:
    """The surface about (2, ...) nodes, and per axis its (first pixel, pixels per cell)."""
    ends = np.array([[np.nanmin(axis), np.nanmax(axis)] for axis in nodes])
    low = np.floor(ends[:, 0]).astype(int)
    high = np.ceil(ends[:, 1]).astype(int) + 1
    width, height = grid.size
    wraps = grid.is_round and (low[0] < 0 or high[0] > width)
    area = grid.within(ends)
    if wraps:
        top, bottom = max(int(low[1]), 0), min(int(high[1]), height)
        area = Area(left=0, top=top, right=width, bottom=bottom) if bottom - top >= 2 else None
    if area is None:
        return None, np.empty((2, 2))
    # About a pole a small place needs all longitudes.
    across = min(int(high[0] - low[0]), width)
    step = max(step, int(np.ceil(np.sqrt(across * area.height / _MOST_CELLS))))
    if wraps and step == 1:
        left, right = int(low[0]), min(int(high[0]), int(low[0]) + width + 1)
        parts = [
            read(replace(area, left=start % width, right=start % width + count), None)
            for start, count in _turns(left, right, width)
        ]
        return Surface.of(np.hstack(parts)), np.array([[left, 1.0], [area.top, 1.0]])
    area = area.snapped(step, grid.size)
    size = Size(-(-area.width // step), -(-area.height // step))
    heights = read(area, None if step == 1 else size)
    shift = np.array([[area.left, area.width / size.width], [area.top, area.height / size.height]])
    if wraps:
        first = int(np.floor(low[0] / shift[0, 1])) - 1
        last = min(int(np.ceil(high[0] / shift[0, 1])) + 1, first + size.width + 1)
        heights = heights.take(np.arange(first, last) % size.width, axis=1)
        shift[0, 0] = first * shift[0, 1]
    return Surface.of(heights), shift


def _turns(left: int, right: int, width: int) -> Iterator[tuple[int, int]]:
    """(first column, how many) of each stretch without a turn between columns."""
    while left < right:
        count = min(width - left % width, right - left)
        yield left, count
        left += count
