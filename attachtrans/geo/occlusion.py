"""What of the ground a camera does not see because other ground stands in the way.

A place is hidden when the surface cuts its sight line by more than `CUT_M`. Equivalently: when it
lies below the sight line over the surface that is lowered by as much. So straight rays sweep from
the camera over the elevation model, row by row, and each keeps the steepest slope that it has met:
one running maximum answers for every cell. Rays run in the four quarters of the model about the
camera (as R2 of Franklin and Ray, "Higher isn't necessarily better: visibility algorithms and
experiments", 1994), so that each meets every row, or every column, on a straight line between two
samples, and is looked at midway between them as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError
from attachtrans.geo.frame import horizontal, transform
from attachtrans.geo.ground import DemGround, FlatGround
from attachtrans.geo.view import CameraView, Grid

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

CUT_M = 0.5
"""How deep the surface has to cut a sight line: below it, the model's own roughness decides."""

_RAYS_PER_CELL = 2.0
"""At the far end of the model, where rays lie furthest apart."""
_NEVER = -1e30
"""A slope below every other, and finite so that it can be interpolated."""
_CHUNK = 1 << 18
"""Cells of an output grid at a time."""


class Box(NamedTuple):
    """Cells of an elevation model: columns from `left` up to `right`, rows likewise, ends out."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Horizon:
    """How far the cells of an elevation model lie below what the camera sees over.

    box     the cells
    excess  (rows, cols) float32 of the box, metres: positive where hidden; nan without data
    """

    box: Box
    excess: NDArray[np.float32]

    @classmethod
    def of(cls, view: CameraView, *, box: Box | None = None, cut_m: float = CUT_M) -> Self:
        """Sweeps the ground of a view.

        Args:
            view: with an elevation model as ground. `skip_m` holds for what stands in the way.
            box: the cells to find out about, None: all. What stands between them and the camera
                is looked at in any case.
            cut_m: how deep the surface has to cut a sight line.

        Raises:
            ArgumentError: a ground without an elevation model.
        """
        ground = view.surface
        if not isinstance(ground, DemGround):
            raise ArgumentError(
                f"only an elevation model hides places, and the ground is {ground!r}; give one "
                "(--dem), or leave occlusion out"
            )
        heights = ground.surface.heights
        rows, cols = heights.shape
        box = box or Box(0, 0, cols, rows)
        excess = np.full(
            (max(box.bottom - box.top, 0), max(box.right - box.left, 0)), -cut_m, dtype=np.float32
        )
        start = ground.grid.to_pixels(view.eye.position[:2, None])[:, 0] - 0.5
        eye = _Eye(
            z=float(view.eye.position[2]),
            skip_m=view.skip_m,
            bend=0.5 / ground.earth_radius_m if ground.earth_radius_m else 0.0,
            cut_m=cut_m,
        )
        for turned in (False, True):
            for flipped in (False, True):
                quarter = _Quarter(heights, excess, box, start, ground.grid.linear)
                quarter = quarter.transposed() if turned else quarter
                _sweep(quarter.mirrored() if flipped else quarter, eye)
        excess[np.isnan(heights[box.top : box.bottom, box.left : box.right])] = np.nan
        return cls(box=box, excess=excess)


def hidden(view: CameraView, grid: Grid | None = None, *, cut_m: float = CUT_M) -> Flags:
    """Which places of the ground other ground hides from the camera.

    Whether a place lies within the picture at all is another question: see `rectify`.

    Args:
        view: the camera and its ground; a flat one hides nothing.
        grid: of the places (pixel centres), in any CRS; None: the elevation model's cells.
        cut_m: how deep the surface has to cut a sight line.

    Returns:
        (height, width) of the grid, or of the elevation model. False without data.

    Raises:
        ArgumentError: no grid, and no elevation model either.
    """
    if grid is not None and isinstance(view.surface, FlatGround):
        return np.zeros((grid.size.height, grid.size.width), dtype=np.bool_)
    horizon = Horizon.of(view, cut_m=cut_m)
    if grid is None:
        below: Flags = horizon.excess > 0.0
        return below
    width, height = grid.size
    found = np.zeros(height * width, dtype=np.bool_)
    for begin in range(0, found.size, _CHUNK):
        index = np.arange(begin, min(begin + _CHUNK, found.size))
        place = grid.pixel_to_map(np.stack([index % width, index // width]) + 0.5)
        world = transform(horizontal(grid.crs), view.world.crs, place)
        found[index] = _interpolated(horizon, view.surface, world) > 0.0
    return found.reshape(height, width)


def _interpolated(horizon: Horizon, ground: object, world: Floats) -> Floats:
    """(N,) excess at (2, N) places of the frame; nan outside."""
    if not isinstance(ground, DemGround):
        raise ArgumentError(f"{ground!r} is no elevation model")
    rows, cols = horizon.excess.shape
    i, j = ground.grid.to_pixels(world) - 0.5
    with np.errstate(invalid="ignore"):
        inside = (i >= 0.0) & (i <= cols - 1.0) & (j >= 0.0) & (j <= rows - 1.0)
    i, j = np.where(inside, i, 0.0), np.where(inside, j, 0.0)
    left = np.minimum(i.astype(np.intp), cols - 2)
    top = np.minimum(j.astype(np.intp), rows - 2)
    u, v = i - left, j - top
    flat, first = horizon.excess.ravel(), top * cols + left
    upper = flat[first] * (1.0 - u) + flat[first + 1] * u
    lower = flat[first + cols] * (1.0 - u) + flat[first + cols + 1] * u
    return np.where(inside, upper * (1.0 - v) + lower * v, np.nan)


class _Eye(NamedTuple):
    """The camera, for the sweep."""

    z: float
    skip_m: float
    bend: float
    """metres that the ground falls away per square metre of range"""
    cut_m: float


class _Quarter(NamedTuple):
    """The model with the camera's quarter of it turned so that it lies at higher rows."""

    heights: NDArray[np.floating]
    excess: NDArray[np.float32]
    """of the box only"""
    box: Box
    start: Floats
    """(2,) the camera, in cells from the first one's centre"""
    linear: Floats
    """(2, 2) world metres per cell"""

    def transposed(self) -> _Quarter:
        left, top, right, bottom = self.box
        box = Box(top, left, bottom, right)
        return _Quarter(self.heights.T, self.excess.T, box, self.start[::-1], self.linear[:, ::-1])

    def mirrored(self) -> _Quarter:
        last = self.heights.shape[0] - 1
        left, top, right, bottom = self.box
        return _Quarter(
            self.heights[::-1],
            self.excess[::-1],
            Box(left, last + 1 - bottom, right, last + 1 - top),
            np.array([self.start[0], last - self.start[1]]),
            self.linear * np.array([1.0, -1.0]),
        )


class _Fan(NamedTuple):
    """Rays col = start + slope * (rows from the camera)."""

    slopes: Floats
    """(K,) evenly spaced"""
    metres: Floats
    """(K,) of ground range per row"""
    step: float


def _fan(quarter: _Quarter) -> _Fan | None:
    """The rays that reach the box within the quarter; None if there is nothing of it."""
    box, (col, row) = quarter.box, quarter.start
    far = box.bottom - 1 - row
    if far <= 0.0 or box.right <= box.left:
        return None
    near = max(box.top - row, 1e-9)
    ends = np.array([box.left - col, box.right - 1 - col])
    lowest = max(-1.0, min(ends[0] / near, ends[0] / far))
    highest = min(1.0, max(ends[1] / near, ends[1] / far))
    if lowest > highest:
        return None
    step = 1.0 / (_RAYS_PER_CELL * max(far, 1.0))
    slopes = lowest + step * np.arange(int(np.ceil((highest - lowest) / step)) + 2)
    along = quarter.linear[:, :1] * slopes + quarter.linear[:, 1:]
    return _Fan(slopes, np.hypot(*along), step)


def _sweep(quarter: _Quarter, eye: _Eye) -> None:
    """Fills in the excess of the quarter's cells within the box."""
    fan = _fan(quarter)
    if fan is None:
        return
    steepest = np.full(fan.slopes.size, _NEVER)
    first = max(int(np.floor(quarter.start[1])) + 1, 0)
    before = quarter.heights[max(first - 1, 0)].astype(np.float64)
    for row in range(first, quarter.box.bottom):
        samples = quarter.heights[row].astype(np.float64)
        # A row stands in the way of those behind it only: between two rays it would hide the cells
        # of its own that lie in a fold.
        if row >= quarter.box.top:
            _settle(samples, fan, quarter, row, steepest, eye)
        ahead = row - quarter.start[1] - np.array([[0.5], [0.0]])
        both = np.stack([0.5 * (before + samples), samples])
        _meet(
            both[ahead[:, 0] > 0.0], fan, quarter.start[0], ahead[ahead > 0.0, None], steepest, eye
        )
        before = samples


def _meet(
    samples: Floats, fan: _Fan, col: float, ahead: Floats, steepest: Floats, eye: _Eye
) -> None:
    """Raises the slopes of the rays by what they meet on a row, and midway to it.

    Args:
        samples: (1 or 2, cols) heights there; midway is where corners reach in between rows.
        fan: K rays.
        col: the camera's.
        ahead: (1 or 2, 1) rows from the camera.
        steepest: (K,) raised.
        eye: the camera.
    """
    last = samples.shape[1] - 1
    some = slice(*np.searchsorted(fan.slopes, np.array([-col, last - col]) / ahead[-1]))
    place = np.minimum(np.maximum(col + fan.slopes[some] * ahead, 0.0), last)
    left = np.minimum(place.astype(np.intp), last - 1)
    place -= left
    left += np.arange(0, samples.size, last + 1)[:, None]
    flat = samples.ravel()
    z = flat.take(left)
    z += (flat.take(left + 1) - z) * place
    z -= eye.z
    reach = fan.metres[some] * ahead
    slope = (z - eye.cut_m - eye.bend * reach**2) / reach
    if eye.skip_m:
        slope[reach**2 + z**2 < eye.skip_m**2] = _NEVER
    np.fmax(steepest[some], np.fmax.reduce(slope, axis=0), out=steepest[some])


def _settle(
    samples: Floats, fan: _Fan, quarter: _Quarter, row: int, steepest: Floats, eye: _Eye
) -> None:
    """Writes the excess of a row's cells that lie in the quarter and in the box."""
    col, ahead = quarter.start[0], row - quarter.start[1]
    begin = max(int(np.ceil(col - ahead)), quarter.box.left)
    end = min(int(np.floor(col + ahead)) + 1, quarter.box.right)
    if begin >= end:
        return
    slopes = (np.arange(begin, end) - col) / ahead
    ray = (slopes - fan.slopes[0]) / fan.step
    lower = np.minimum(np.maximum(ray.astype(np.intp), 0), fan.slopes.size - 2)
    slope = steepest[lower]
    slope += (steepest[lower + 1] - slope) * (ray - lower)
    along = quarter.linear[:, :1] * slopes + quarter.linear[:, 1:]
    reach = np.hypot(*along) * ahead
    excess = eye.z + slope * reach - (samples[begin:end] - eye.bend * reach**2)
    quarter.excess[row - quarter.box.top, begin - quarter.box.left : end - quarter.box.left] = (
        np.maximum(excess, -eye.cut_m)
    )
