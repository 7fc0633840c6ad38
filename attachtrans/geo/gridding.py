"""The grid that a raster is read on: cell size, extent, snap raster and coordinate system.

The rules are those of Esri's environments. Without any of them a raster is read on its own grid,
turned ones too. Otherwise the grid is north-up:

    coordinate system  changes the cell size as GDAL's suggested output of a warp does: as many
                       cells along the diagonal as before
    cell size          of what the net sees, in units of the output's coordinate system
    extent             grows outwards to the cells of the snap raster, else to the raster's own;
                       where those are in another coordinate system its left and top stay
    snap raster        the lower left corner falls on a corner of its cells; from there cells of the
                       output's size are counted
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError, CrsError
from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.frame import horizontal, transform
from attachtrans.geo.orthogrid import MOST_PX, ortho_grid
from attachtrans.geo.view import Georef, Grid
from attachtrans.types import Size

Floats = NDArray[np.float64]
Bounds = tuple[float, float, float, float]
"""(left, bottom, right, top)"""
Resampling: TypeAlias = Literal["nearest", "bilinear", "cubic"]

_HAIR = 1e-6
"""Of a cell: what is whole but for rounding is whole."""
_EDGE = 129
"""Points per edge of a raster or an extent that is brought to another coordinate system."""
_TURN = 360.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lattice:
    """The cells of a snap raster.

    transform  of outer-corner pixels, north-up
    crs        of it; None: that of the output
    """

    transform: PixelToMap
    crs: CRS | None = None

    def __post_init__(self) -> None:
        if self.transform.b or self.transform.d:
            raise ArgumentError("a snap raster whose cells are turned fixes no north-up grid")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gridding:
    """What is asked of the grid that a raster is read on; None: as the raster has it.

    cell_size   (x, y) in units of the output's coordinate system
    extent      (left, bottom, right, top) in `extent_crs`
    extent_crs  None: the output's
    snap        cells that the output's begin at
    crs         of the output
    resampling  between the raster's pixels; bilinear and cubic take means where cells get larger

    Raises:
        ArgumentError: a cell size or an extent that is none.
    """

    cell_size: tuple[float, float] | None = None
    extent: Bounds | None = None
    extent_crs: CRS | None = None
    snap: Lattice | None = None
    crs: CRS | None = None
    resampling: Resampling = "bilinear"

    def __post_init__(self) -> None:
        cell, extent = self.cell_size, self.extent
        if cell is not None and not (np.isfinite(cell).all() and min(cell) > 0.0):
            raise ArgumentError(f"a cell size is a positive number of map units, not {cell}")
        if extent is not None and not (
            np.isfinite(extent).all() and extent[0] < extent[2] and extent[1] < extent[3]
        ):
            raise ArgumentError(f"an extent is (xmin, ymin, xmax, ymax), not {extent}")

    @property
    def changes(self) -> bool:
        """Whether another grid is asked for than a raster's own."""
        wishes = (self.cell_size, self.extent, self.snap, self.crs)
        return any(wish is not None for wish in wishes)


def target_grid(native: Georef, asked: Gridding | None = None, *, enlarge: float = 1.0) -> Grid:
    """The grid on which the net sees a raster; its result lies on `grid.resized(...)`.

    Args:
        native: where the raster lies; for other kinds than `Grid` a grid is found (`ortho_grid`).
        asked: what the user asks for.
        enlarge: how many cells a native one becomes along a side where no cell size is asked for:
            the factor of a super-resolution net that keeps the size (`downsample_factor`).

    Raises:
        ArgumentError: an extent beside the raster, or more cells than anybody wants.
        HorizonError: the raster shows no ground.
        CrsError: the raster has no place in the coordinate system.
    """
    wish = asked or Gridding()
    crs = horizontal(native.crs if wish.crs is None else wish.crs)
    if not wish.changes and isinstance(native, Grid):
        return _checked(_enlarged(native, enlarge))
    base = _north_up(native, crs)
    cell = np.array([base.affine.a, -base.affine.e]) / enlarge
    if wish.cell_size is not None:
        cell = np.array(wish.cell_size)
    elif wish.snap is None and wish.extent is None:
        return _checked(_enlarged(base, enlarge))
    shown = _bounds(base)
    low, high = np.array(shown[:2]), np.array(shown[2:])
    if wish.extent is not None:
        low, high = _asked_extent(wish, crs, (low, high))
    if wish.snap is not None:
        return _snapped_below(wish.snap, crs, cell, (low, high))
    if wish.extent is not None and same_crs(native.crs, crs):
        low, high = _outwards(base, low, high)
    return _counted(np.array([low[0], high[1]]), high - low, cell, crs)


def same_crs(one: CRS, other: CRS) -> bool:
    """Whether two systems are one, whatever order their axes are written in."""
    first, second = horizontal(one), horizontal(other)
    return first == second or bool(first.equals(second, ignore_axis_order=True))


def moved_bounds(bounds: Bounds, source: CRS, target: CRS) -> Bounds:
    """The smallest box in another coordinate system about one; longitudes may run past 180 degrees.

    Raises:
        CrsError: no place of it is known there.
    """
    if same_crs(source, target):
        return bounds
    left, bottom, right, top = bounds
    grid = Grid((right - left, 0.0, left, 0.0, bottom - top, top), Size(1, 1), source)
    return _outline_bounds(grid, target)


def _enlarged(grid: Grid, factor: float) -> Grid:
    if factor == 1.0:
        return grid
    width, height = (max(1, round(side * factor)) for side in grid.size)
    return grid.resized(Size(width, height))


def _north_up(native: Georef, crs: CRS) -> Grid:
    """A north-up grid over all of a raster: its own, GDAL's suggestion, or that of an ortho."""
    if not isinstance(native, Grid):
        return ortho_grid(native, crs=crs)
    t = native.affine
    own = same_crs(native.crs, crs)
    if own and t.b == t.d == 0.0 and t.a > 0.0 > t.e:
        return native
    left, bottom, right, top = _outline_bounds(native, crs)
    side = _diagonal(native, crs) / float(np.hypot(*native.size))
    width, height = (max(1, int(length / side + 0.5)) for length in (right - left, top - bottom))
    return Grid((side, 0.0, left, 0.0, -side, top), Size(width, height), crs)


def _diagonal(grid: Grid, crs: CRS) -> float:
    """From the first corner to the last one, in units of a coordinate system."""
    ends = grid.pixel_to_map(np.array([[0.0, grid.size.width], [0.0, grid.size.height]]))
    first, last = _moved(grid, crs, ends).T
    length = float(np.hypot(*(last - first)))
    if not (np.isfinite(length) and length > 0.0):  # corners beyond what the system shows
        left, bottom, right, top = _outline_bounds(grid, crs)
        length = float(np.hypot(right - left, top - bottom))
    return length


def _moved(grid: Grid, crs: CRS, places: Floats) -> Floats:
    """(2, N) places of a grid in a coordinate system; nothing jumps at the antimeridian."""
    found = transform(grid.crs, crs, places)
    known = found[0, np.isfinite(found[0])]
    if crs.is_geographic and known.size:
        found[0] = known[0] + (found[0] - known[0] + _TURN / 2.0) % _TURN - _TURN / 2.0
    return found


def _outline_bounds(grid: Grid, crs: CRS) -> Bounds:
    """The box in a coordinate system about a grid."""
    ends = np.linspace(0.0, 1.0, _EDGE)
    lattice = np.stack(np.meshgrid(ends, ends)).reshape(2, -1)
    found = _moved(grid, crs, grid.pixel_to_map(lattice * np.array(grid.size)[:, None]))
    found = found[:, np.isfinite(found[0])]
    if not found.size:
        raise CrsError(f"the raster has no place in {crs.name}: name another coordinate system")
    (left, bottom), (right, top) = found.min(axis=1), found.max(axis=1)
    return float(left), float(bottom), float(right), float(top)


def _bounds(grid: Grid) -> Bounds:
    """Of a north-up grid."""
    ends = grid.pixel_to_map(np.array([[0.0, grid.size.width], [grid.size.height, 0.0]]))
    (left, right), (bottom, top) = ends
    return float(left), float(bottom), float(right), float(top)


def _asked_extent(wish: Gridding, crs: CRS, shown: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """(low, high) of the extent in the output's system; it must touch what the raster shows."""
    extent = wish.extent or (0.0, 0.0, 0.0, 0.0)
    bounds = moved_bounds(extent, crs if wish.extent_crs is None else wish.extent_crs, crs)
    low, high = np.array(bounds[:2]), np.array(bounds[2:])
    if crs.is_geographic:  # on the raster's side of the antimeridian
        turns = np.round((shown[0][0] + shown[1][0] - low[0] - high[0]) / 2.0 / _TURN) * _TURN
        low[0], high[0] = low[0] + turns, high[0] + turns
    if (low >= shown[1]).any() or (high <= shown[0]).any():
        raise ArgumentError(
            f"the extent {tuple(map(float, extent))} does not touch the raster, which lies at "
            f"{(*map(float, shown[0]), *map(float, shown[1]))} in {crs.name}"
        )
    return low, high


def _outwards(grid: Grid, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """A box grown to whole cells of a north-up grid."""
    pixels = grid.map_to_pixel(np.array([[low[0], high[0]], [high[1], low[1]]]))
    first, last = np.floor(pixels[:, 0] + _HAIR), np.ceil(pixels[:, 1] - _HAIR)
    (left, right), (top, bottom) = grid.pixel_to_map(np.stack([first, last], axis=1))
    return np.array([left, bottom]), np.array([right, top])


def _snapped_below(snap: Lattice, crs: CRS, cell: Floats, box: tuple[Floats, Floats]) -> Grid:
    """A grid whose lower left corner is a corner of the lattice's cells."""
    if snap.crs is not None and not same_crs(snap.crs, crs):
        raise ArgumentError(
            f"the snap raster is in {snap.crs.name} and the output in {crs.name}: cells fit within "
            "one coordinate system only; name the snap raster's for the output, or another one"
        )
    t = snap.transform
    corner, step = np.array([t.c, t.f]), np.abs([t.a, t.e])
    low = corner + np.floor((box[0] - corner) / step + _HAIR) * step
    count = np.ceil((box[1] - low) / cell - _HAIR)
    top_left = np.array([low[0], low[1] + count[1] * cell[1]])
    return _counted(top_left, count * cell, cell, crs)


def _counted(top_left: Floats, extent: Floats, cell: Floats, crs: CRS) -> Grid:
    """The north-up grid from a corner on, of whole cells that cover an extent."""
    width, height = np.maximum(1.0, np.ceil(extent / cell - _HAIR))
    if width * height > MOST_PX:
        raise ArgumentError(
            f"cells of {cell[0]:g} x {cell[1]:g} make {width:.0f} x {height:.0f} pixels in "
            f"{crs.name}; name a larger cell size, or an extent"
        )
    left, top = map(float, top_left)
    numbers = (float(cell[0]), 0.0, left, 0.0, -float(cell[1]), top)
    return Grid(numbers, Size(int(width), int(height)), crs)


def _checked(grid: Grid) -> Grid:
    if grid.size.width * grid.size.height > MOST_PX:
        raise ArgumentError(
            f"{grid.size.width} x {grid.size.height} pixels are more than anybody wants; name a "
            "larger cell size, or an extent"
        )
    return grid
