"""Which pixel of an image shows each pixel of an output grid.

Each pixel has its own height from the relief. The rest of the way is smooth, so on each block it
is computed in float64 at nodes in the plane and at four heights, and interpolated by polynomials.
Between the nodes it is compared with the exact way: blocks that are off by more than
`TOLERANCE_PX`, or on which the way is not defined throughout (horizon, edge of the lens), go the
exact way for every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError
from attachtrans.geo.ground import DemGround
from attachtrans.geo.occlusion import Box, Horizon
from attachtrans.geo.rectify import lattice
from attachtrans.geo.rectify.lattice import SIDE
from attachtrans.geo.rectify.relief import Relief
from attachtrans.geo.rectify.ways import Way, way_to
from attachtrans.geo.view import CameraView, Georef, Grid

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.intp]
Flags = NDArray[np.bool_]

TOLERANCE_PX = 0.02
_TOLERANCE_CELLS = 1e-3
_LEAST_RELIEF_M = 1e-3
"""Half the range of heights for which a block is computed."""
_BESIDE_PX = 4.0
"""How far from the image blocks are surely beside it, as long as they are bent less than that."""
_SPARSE = 8
"""Every so many pixels the width of one is taken."""
_EDGE = 33
"""Points per edge of a grid, to find the elevation model's cells under it."""
_SPREAD_CELLS = 4
"""Added to them on each side, for edges that bend."""


class Placed(NamedTuple):
    """Where the pixels of N blocks come from.

    base    (2, N) pixels of the image about which `off` counts: single precision then does
    off     (2, N, SIDE, SIDE) pixels from there, of outer corners; 0 where not seen
    seen    (N, SIDE, SIDE) within the image, and not hidden
    widths  (2, N) of an output pixel in the image: (across, down), in its pixels
    """

    base: Ints
    off: Singles
    seen: Flags
    widths: Floats


class Paths(NamedTuple):
    """What is known of N blocks before their pixels are looked at; unset where nothing is seen.

    corners  (2, N) first pixels
    smooth   (N,) the polynomials hold
    exact    (N,) something may be seen, but pixel by pixel only
    cells    (2, N, 25) of the relief, at the nodes
    middle   (N,) metres, between the lowest and the highest ground
    half     (N,) metres from there to either
    base     (2, N) pixels of the image about which `powers` count
    powers   (2, N, count, 25) at the nodes: factors of 1, t, t^2 ... in the way of a pixel whose
             ground is t halves above the middle
    widths   (2, N) see `Placed`
    """

    corners: Ints
    smooth: Flags
    exact: Flags
    cells: Floats
    middle: Floats
    half: Floats
    base: Ints
    powers: Floats
    widths: Floats

    def some(self, which: Ints) -> Paths:
        """Of some of the blocks."""
        across = {"corners", "cells", "base", "powers", "widths"}
        return Paths(
            **{
                name: values[:, which] if name in across else values[which]
                for name, values in self._asdict().items()
            }
        )


class _Ground(NamedTuple):
    """The ground of n blocks."""

    cells: Floats
    """(2, n, 25) of the relief; 0 where not even"""
    middle: Floats
    """(n,) metres, between the lowest and the highest height; nan without data"""
    half: Floats
    """(n,) metres from there to either"""
    even: Flags
    """(n,) cells are smooth, so that all this is known"""

    def levels(self, relative: Floats) -> Floats:
        """(n, K) metres of K relative heights."""
        levels: Floats = self.middle[:, None] + self.half[:, None] * relative
        return levels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mapping:
    """From the pixels of a grid to those of an image.

    georef     of the image
    grid       of the output
    occlusion  leaves out what other ground hides; level ground hides nothing
    """

    georef: Georef
    grid: Grid
    occlusion: bool = False
    way: Way = field(init=False, repr=False)
    relief: Relief | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        way = way_to(self.georef, self.grid.crs)
        horizon = self._horizon(way)
        relief = None if way.dem is None else Relief.of(way.dem, horizon)
        object.__setattr__(self, "way", way)
        object.__setattr__(self, "relief", relief)

    def _horizon(self, way: Way) -> Horizon | None:
        if not self.occlusion:
            return None
        if not isinstance(self.georef, CameraView):
            raise ArgumentError(
                "occlusion: sight lines need a camera, and the image is placed by "
                f"{type(self.georef).__name__}; leave it out"
            )
        if way.dem is None:
            return None
        return Horizon.of(self.georef, box=_box(way, self.grid, way.dem))

    def paths(self, corners: Ints) -> Paths:
        """Looks at blocks by their nodes; many at a time are the fastest.

        Args:
            corners: (2, N) first pixels.
        """
        places = self.located(corners, lattice.NODES_PX)
        tests = self.located(corners, lattice.TESTS_PX)
        ground = self._ground(places, tests)
        count = 1 if self.relief is None else 4
        blocks = corners.shape[1]
        powers, widths = np.zeros((2, blocks, count, places.shape[2])), np.ones((2, blocks))
        base, smooth = np.zeros(corners.shape, dtype=np.intp), np.zeros(blocks, dtype=np.bool_)
        rest = np.flatnonzero(~self._nowhere(places, ground))
        nodes = self._pixels(places[:, rest], ground.levels(lattice.LEVELS[count])[rest])
        exact = self._pixels(tests[:, rest], ground.levels(lattice.TEST_LEVELS[count])[rest])
        error = np.abs(lattice.at_test_levels(lattice.at_tests(nodes)) - exact).max(axis=(0, 2, 3))
        aside = ground.even[rest] & self._beside(nodes, error)
        fits = ground.even[rest] & (error <= TOLERANCE_PX) & ~aside
        smooth[rest] = fits
        some = lattice.TO_POWERS[count] @ nodes[:, fits]
        base[:, smooth] = np.rint(some[:, :, 0].mean(axis=-1)).astype(np.intp)
        widths[:, smooth] = _widths(*lattice.slopes(some[:, :, 0]))
        some[:, :, 0] -= base[:, smooth, None]
        powers[:, smooth] = some
        rough = np.zeros(blocks, dtype=np.bool_)
        rough[rest] = ~fits & ~aside
        middle, half = ground.middle, ground.half
        return Paths(corners, smooth, rough, ground.cells, middle, half, base, powers, widths)

    def _nowhere(self, places: Floats, ground: _Ground) -> Flags:
        """(n,) blocks that surely show nothing: without data, or out of the camera's cone."""
        low, high = (
            np.where(ground.even, level, limit)
            for level, limit in zip(
                ground.levels(np.array([-1.0, 1.0])).T, self.limits, strict=True
            )
        )
        with np.errstate(invalid="ignore"):
            unseen: Flags = self.way.unseen(places, low, high)
        return unseen | (ground.even & ~np.isfinite(ground.middle))

    def placed(self, paths: Paths) -> Placed:
        """Where the pixels of N blocks come from; a dozen at a time stay in the processor."""
        count, smooth = paths.corners.shape[1], np.flatnonzero(paths.smooth)
        if smooth.size == count > 0:
            return Placed(paths.base, *self._smoothly(paths), paths.widths)
        placed = Placed(
            base=paths.base.copy(),
            off=np.zeros((2, count, SIDE, SIDE), dtype=np.float32),
            seen=np.zeros((count, SIDE, SIDE), dtype=np.bool_),
            widths=paths.widths.copy(),
        )
        if smooth.size:
            placed.off[:, smooth], placed.seen[smooth] = self._smoothly(paths.some(smooth))
        for number in np.flatnonzero(paths.exact):
            self._exactly(paths.corners, int(number), placed)
        return placed

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest ground."""
        if self.relief is None:
            return self.way.flat, self.way.flat
        surface = self.relief.dem.surface
        return surface.lowest, surface.highest

    def located(self, corners: Ints, within_px: Floats) -> Floats:
        """(2, n, K) places of K points on each of n blocks."""
        pixels = corners[:, :, None] + within_px[:, None, :]
        return self.way.locate(self.grid.pixel_to_map(pixels.reshape(2, -1))).reshape(pixels.shape)

    def _pixels(self, places: Floats, z: Floats) -> Floats:
        """(2, n, levels, K) pixels of places (2, n, K) at heights (n, levels)."""
        levels = z.shape[1]
        spread = np.repeat(places[:, :, None], levels, axis=2)
        heights = np.broadcast_to(z[:, :, None], spread.shape[1:])
        pixels = self.way.pixels(spread.reshape(2, -1), heights.ravel())
        return pixels.reshape(spread.shape)

    def _smoothly(self, paths: Paths) -> tuple[Singles, Flags]:
        """(2, n, SIDE, SIDE) off the bases, and (n, SIDE, SIDE) seen, of smooth blocks."""
        if self.relief is None:
            off = lattice.spread(paths.powers[:, :, 0])
            seen = self._inside(off, paths.base)
        else:
            heights, hidden = self.relief.heights(paths.cells)
            heights -= (paths.middle - self.relief.datum).astype(np.float32)[:, None, None]
            heights /= paths.half.astype(np.float32)[:, None, None]
            off = _polynomial(paths.powers, heights)
            seen = self._inside(off, paths.base) & ~hidden
        np.copyto(off, np.float32(0.0), where=~seen)
        return off, seen

    def _beside(self, nodes: Floats, error: Floats) -> Flags:
        """(n,) blocks with nodes (2, n, levels, 25) that lie beside the image."""
        margin = _BESIDE_PX + 8.0 * error
        low, high = nodes.min(axis=(2, 3)) - margin, nodes.max(axis=(2, 3)) + margin
        beside: Flags = ((high < 0.0) | (low > np.array(self.georef.size)[:, None])).any(axis=0)
        return beside & (error < _BESIDE_PX)

    def _ground(self, nodes: Floats, tests: Floats) -> _Ground:
        """Of n blocks with nodes at (2, n, 25) and tests at (2, n, 16)."""
        count = nodes.shape[1]
        if self.relief is None:
            level = np.full(count, self.way.flat)
            return _Ground(np.zeros_like(nodes), level, np.zeros(count), np.isfinite(level))
        cells = self._cells(nodes)
        error = np.abs(lattice.at_tests(cells) - self._cells(tests)).max(axis=(0, 2))
        even = error <= _TOLERANCE_CELLS
        cells[:, ~even] = 0.0
        low, high = self.relief.ranges(cells)
        half = np.maximum(0.5 * (high - low), _LEAST_RELIEF_M)
        return _Ground(cells, 0.5 * (low + high), half, even)

    def _cells(self, places: Floats) -> Floats:
        return self.way.cells(places.reshape(2, -1)).reshape(places.shape)

    def _exactly(self, corners: Ints, number: int, placed: Placed) -> None:
        """Fills in a block pixel by pixel."""
        place = self.located(corners[:, number : number + 1], lattice.CENTRES_PX)[:, 0]
        z = np.full(place.shape[1], self.way.flat)
        hidden = np.zeros(place.shape[1], dtype=np.bool_)
        if self.relief is not None:
            z, hidden = self.relief.heights_at(self.way.cells(place))
        pixels = self.way.pixels(place, z).reshape(2, 1, SIDE, SIDE)
        seen = self._inside(pixels, np.zeros((2, 1))) & ~hidden.reshape(1, SIDE, SIDE)
        if not seen.any():
            return
        base = np.rint(pixels[:, seen].mean(axis=1, keepdims=True)).astype(np.intp)
        off = np.where(seen, pixels - base[:, :, None, None], 0.0)
        some = pixels[..., ::_SPARSE, :][..., ::_SPARSE]
        nearby = pixels[..., ::_SPARSE, 1:][..., ::_SPARSE], pixels[..., 1::_SPARSE, ::_SPARSE]
        placed.widths[:, number] = _widths(*((near - some).reshape(2, 1, -1) for near in nearby))[
            :, 0
        ]
        placed.base[:, number] = base[:, 0]
        placed.off[:, number], placed.seen[number] = off[:, 0], seen[0]

    def _inside(self, off: NDArray[np.floating], base: NDArray[np.number]) -> Flags:
        """(n, SIDE, SIDE) of pixels (2, n, SIDE, SIDE) off their bases (2, n)."""
        inside = np.ones(off.shape[1:], dtype=np.bool_)
        for axis, last in enumerate(self.georef.size):
            low = np.negative(base[axis, :, None, None], dtype=off.dtype, casting="unsafe")
            inside &= (off[axis] >= low) & (off[axis] <= low + last)
        return inside


def _polynomial(powers: Floats, t: Singles) -> Singles:
    """(2, n, SIDE, SIDE) of factors (2, n, count, 25) of 1, t, t^2 ..., and t (n, SIDE, SIDE)."""
    last, *others = np.moveaxis(powers, 2, 0)[::-1]
    total = lattice.spread(last)
    for factors in others:
        total *= t
        total += lattice.spread(factors)
    return total


def _widths(across: Floats, down: Floats) -> Floats:
    """(2, n) how wide an output pixel is in the image, along its columns and along its rows.

    Measured through the middle of the parallelogram that the pixel is there: what lies askew is
    narrow both ways, and no more of it is smoothed away than it covers. 1 where not known.

    Args:
        across: (2, n, K) change of (col, row) from one output pixel to the next, at K places.
        down: the same from one row to the next.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        area = np.abs(across[0] * down[1] - across[1] * down[0])
        widths = area / np.hypot(across[::-1], down[::-1])
    known = np.isfinite(widths)
    # Half of the values are no more than the middle one; unknown ones are sorted to the end.
    order = np.sort(np.where(known, widths, np.inf), axis=-1)
    middle = np.maximum(known.sum(axis=-1) - 1, 0) // 2
    median = np.take_along_axis(order, middle[..., None], axis=-1)[..., 0]
    return np.where(np.isfinite(median), median, 1.0)


def _box(way: Way, grid: Grid, dem: DemGround) -> Box:
    """The cells of an elevation model that lie under what can be seen of a grid."""
    across, down = dem.surface.extent
    steps = np.linspace(0.0, 1.0, _EDGE)
    mesh = np.stack(np.meshgrid(steps * grid.size.width, steps * grid.size.height))
    place = way.locate(grid.pixel_to_map(mesh.reshape(2, -1)))
    cells = way.cells(place)
    if not np.isfinite(cells).all():
        return Box(0, 0, across + 1, down + 1)
    meshes = place.reshape(mesh.shape), cells.reshape(mesh.shape)
    place, cells = (
        np.stack([one[:, :-1, :-1], one[:, 1:, :-1], one[:, :-1, 1:], one[:, 1:, 1:]], axis=-1)
        for one in meshes
    )
    regions = place.reshape(2, -1, 4)
    low, high = (
        np.full(regions.shape[1], limit) for limit in (dem.surface.lowest, dem.surface.highest)
    )
    seen = ~way.unseen(regions, low, high)
    some = cells.reshape(2, -1, 4)[:, seen].reshape(2, -1)
    if not some.size:
        return Box(0, 0, 2, 2)
    first = np.floor(some.min(axis=1)).astype(np.intp) - _SPREAD_CELLS
    behind = np.ceil(some.max(axis=1)).astype(np.intp) + _SPREAD_CELLS
    left, top = (int(value) for value in np.clip(first, 0, [across - 1, down - 1]))
    right, bottom = (
        int(value) for value in np.clip(behind, [left + 2, top + 2], [across + 1, down + 1])
    )
    return Box(left, top, right, bottom)
