"""The first point of a bilinear surface on each ray, exactly.

All rays walk in step from block to block, over those that they pass above, and through the patches
of the others. On a patch a ray's height above the surface is a quadratic function of the distance,
so its first zero is known in closed form and no grazing hit can fall between samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.ground.base import Bundle, GroundStatus, Statuses
from attachtrans.geo.ground.surface import BLOCK_BITS, Surface

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Flags = NDArray[np.bool_]

_NUDGE = 1e-9
"""Of a cell: how far over a border a ray is looked up, so that it is in the patch it enters."""
_ROUNDING = 1e-15
"""Of a distance: more than its last digit, so that from far away, too, a step is a step."""
_CLEAR_M = 1e-3
"""How far above the highest and below the lowest height a ray surely misses the surface."""
_FIRST_LEVEL = 2
"""Of the blocks that are looked at first: most rays meet the ground soon; others ascend."""
_WALKING = 255


def walk(
    surface: Surface, grid: PixelToMap, bundle: Bundle, limits_m: tuple[float, float]
) -> tuple[Floats, Statuses]:
    """Follows rays that are all defined.

    Args:
        surface: what to meet, in grid coordinates.
        grid: from its outer-corner pixels to the world.
        bundle: N rays.
        limits_m: (distance at which rays begin, ground range at which they end).

    Returns:
        (N,) distance, nan where not met, and (N,) values of `GroundStatus`.
    """
    lane = _lane(surface, grid, bundle, limits_m)
    distance = np.full(bundle.count, np.nan)
    status = np.where(lane.begin < lane.end, _WALKING, lane.ending).astype(np.uint8)
    status[lane.buried] = GroundStatus.INSIDE_GROUND
    ray = np.flatnonzero(status == _WALKING)
    steps = _Steps(
        ray=ray,
        distance=lane.begin[ray],
        level=np.full(ray.size, min(_FIRST_LEVEL, surface.levels)),
        known=lane.known[ray],
    )
    while steps.ray.size:
        here = _look(surface, lane, steps)
        low = np.flatnonzero(~here.passed & (steps.level == 1))
        found = _search(surface, lane, steps.kept(low), here.kept(low))
        here.passed[low], here.known[low] = True, found.known
        over = here.passed & (here.onward >= lane.end[steps.ray])
        status[steps.ray[over]] = lane.ending[steps.ray[over]]
        hit = np.isfinite(found.distance)
        distance[steps.ray[low[hit]]] = found.distance[hit]
        status[steps.ray[low[hit]]] = GroundStatus.HIT
        status[steps.ray[low[found.lost]]] = GroundStatus.OFF_DEM
        here.ascends[low] = False  # near the ground one looks at the next block of the same level
        steps = _onwards(surface, steps, here).kept(status[steps.ray] == _WALKING)
    return distance, status


class _Lane(NamedTuple):
    """Each ray's way through the grid; all (N,) but `start`."""

    bundle: Bundle
    start: Floats
    """(2,) grid coordinates of the origin"""
    steps: Floats
    """(2, N) grid coordinates per metre"""
    nudge: Floats
    """metres to be surely across a border"""
    begin: Floats
    end: Floats
    """from, to: metres"""
    known: Flags
    """begins above ground that is known"""
    buried: Flags
    """begins under it"""
    ending: Statuses
    """status of a ray that meets nothing on the way"""

    def least(self, ray: Ints, distance: Floats) -> Floats:
        """How far rays go from (..., n) distances at least, to have gone anywhere."""
        least: Floats = np.maximum(self.nudge[ray], _ROUNDING * distance)
        return least


def _lane(
    surface: Surface, grid: PixelToMap, bundle: Bundle, limits_m: tuple[float, float]
) -> _Lane:
    start = grid.to_pixels(bundle.origin[:2, None])[:, 0] - 0.5
    steps: Floats = np.linalg.inv(grid.linear) @ bundle.unit[:2]
    skip = np.full(bundle.count, limits_m[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.where(bundle.level > 0.0, limits_m[1] / bundle.level, np.inf)
        nudge = np.where(bundle.level > 0.0, _NUDGE / np.abs(steps).max(axis=0), 0.0)
    enters, leaves = _crossing(surface.extent, start, steps)
    z = bundle.height(skip)
    falls = bundle.descent(surface.highest + _CLEAR_M)
    lands = bundle.descent(surface.lowest - _CLEAR_M)
    begin = np.maximum(
        np.maximum(skip, enters), np.where(z > surface.highest + _CLEAR_M, falls, 0.0)
    )
    ending = np.where(
        far <= np.minimum(leaves, lands), GroundStatus.BEYOND_FAR, GroundStatus.OFF_DEM
    )
    ending = np.where(np.isinf(lands) & (z >= surface.lowest), GroundStatus.SKY, ending)
    under = surface.at(*(start[:, None] + steps * skip))
    return _Lane(
        bundle=bundle,
        start=start,
        steps=steps,
        nudge=nudge,
        begin=begin,
        end=np.minimum(np.minimum(leaves, lands), far),
        known=np.isfinite(under) & (begin <= skip),
        buried=z <= under,
        ending=ending.astype(np.uint8),
    )


def _crossing(extent: tuple[int, int], start: Floats, steps: Floats) -> tuple[Floats, Floats]:
    """(N,) distances at which rays enter and leave the grid; 0, 0 if they miss it."""
    last = np.array(extent, dtype=np.float64)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        one, two = -start[:, None] / steps, (last - start[:, None]) / steps
    within = (start[:, None] >= 0.0) & (start[:, None] <= last)
    still = steps == 0.0
    near = np.where(still, np.where(within, -np.inf, np.inf), np.minimum(one, two)).max(axis=0)
    far = np.where(still, np.inf, np.maximum(one, two)).min(axis=0)
    meets = (near < far) & (far > 0.0)
    return np.where(meets, np.maximum(near, 0.0), 0.0), np.where(meets, far, 0.0)


class _Steps(NamedTuple):
    """Where the rays that still walk have got to; all (n,)."""

    ray: Ints
    distance: Floats
    level: Ints
    """k, from 1 on: looks at a block of 4^k x 4^k patches"""
    known: Flags
    """the ground was known, and below, up to here"""

    def kept(self, which: Flags | Ints) -> _Steps:
        return _Steps(self.ray[which], self.distance[which], self.level[which], self.known[which])


class _Here(NamedTuple):
    """The block each ray is in."""

    block: Ints
    """(2, n) its number across and down, among those of its level"""
    onward: Floats
    """(n,) distance at which it leaves the block"""
    ascends: Flags
    """(n,) it then leaves the block of the next level, too"""
    passed: Flags
    """(n,) nothing in the block can be met"""
    known: Flags
    """(n,) there is data in the block"""

    def kept(self, which: Ints) -> _Here:
        return _Here(
            self.block[:, which],
            self.onward[which],
            self.ascends[which],
            self.passed[which],
            self.known[which],
        )


def _look(surface: Surface, lane: _Lane, steps: _Steps) -> _Here:
    ray, shift = steps.ray, steps.level * BLOCK_BITS
    step = lane.steps[:, ray]
    ahead = steps.distance + lane.least(ray, steps.distance)
    last = np.array(surface.extent)[:, None] - 1
    patch = np.floor(lane.start[:, None] + step * ahead).astype(np.intp)
    block = np.minimum(np.maximum(patch, 0, out=patch), last, out=patch) >> shift
    border = block + (step > 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        leaves = ((border << shift) - lane.start[:, None]) / step
    leaves[step == 0.0] = np.inf
    down = leaves[1] < leaves[0]
    nearest = np.where(down, leaves[1], leaves[0])
    onward = np.minimum(np.maximum(nearest, ahead), lane.end[ray])
    top = surface.tops(steps.level, *block)
    passed = ~(_least_height(lane.bundle, ray, steps.distance, onward) <= top)
    ascends = (np.where(down, border[1], border[0]) & ((1 << BLOCK_BITS) - 1)) == 0
    return _Here(block, onward, ascends, passed, ~np.isnan(top))


def _least_height(bundle: Bundle, ray: Ints, begin: Floats, end: Floats) -> Floats:
    """(n,) a bound under the rays' heights between two distances."""
    z, slope, curve = bundle.origin[2], bundle.unit[2, ray], bundle.curve[ray]
    first = z + begin * (slope + begin * curve)
    last = z + end * (slope + end * curve)
    # A parabola hangs at most this far below its chord.
    lowest: Floats = np.minimum(first, last) - 0.25 * curve * (end - begin) ** 2
    return lowest


class _Found(NamedTuple):
    """What rays meet in blocks of 4 x 4 patches; all (n,)."""

    distance: Floats
    """of the surface, inf if it is not there"""
    lost: Flags
    """went under it where it is not known"""
    known: Flags
    """the ground is known, and below, at the end of the block"""


def _search(surface: Surface, lane: _Lane, steps: _Steps, here: _Here) -> _Found:
    """All patches that rays cross on the way through their blocks, which are of level 1."""
    ray = steps.ray
    begin, end, patch = _crossed(surface, lane, steps, here)
    real = end - begin > lane.least(ray, begin)
    bundle, (di, dj) = lane.bundle, lane.steps[:, ray]
    c, x, y, w = surface.patches(*patch)
    u = lane.start[0] + di * begin - patch[0]
    v = lane.start[1] + dj * begin - patch[1]
    slope, curve = bundle.unit[2, ray], bundle.curve[ray]
    # Height above the surface: gap + rate s + bend s^2, s metres from the patch's border.
    gap = bundle.origin[2] + begin * (slope + begin * curve) - (c + x * u + (y + w * u) * v)
    rate = slope + 2.0 * begin * curve - (x * di + y * dj + w * (u * dj + v * di))
    bend = curve - w * (di * dj)
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(rate * rate - 4.0 * bend * gap)
        zero = np.where(rate <= 0.0, 2.0 * gap / (root - rate), -0.5 * (rate + root) / bend)
    meets = real & (gap > 0.0) & (zero >= 0.0) & (begin + zero <= end)
    event = meets | (real & (gap <= 0.0))
    # Known or not, and below: before the block, and after each patch.
    known = np.concatenate([steps.known[None], ~np.isnan(gap)])
    number = np.maximum.accumulate(np.where(real, np.arange(1, len(known))[:, None], 0))
    index = np.arange(ray.size)
    found = _Found(np.full(ray.size, np.inf), np.zeros_like(steps.known), known[number[-1], index])
    ends = np.flatnonzero(event.any(axis=0))
    first = np.argmax(event[:, ends], axis=0)
    before = np.where(first > 0, number[first - 1, ends], 0)
    crosses = meets[first, ends]
    found.lost[ends] = ~crosses & ~known[before, ends]
    at = begin[first, ends] + np.where(crosses, zero[first, ends], 0.0)
    found.distance[ends] = np.where(found.lost[ends], np.inf, at)
    return found


def _crossed(
    surface: Surface, lane: _Lane, steps: _Steps, here: _Here
) -> tuple[Floats, Floats, Ints]:
    """From where to where rays are on each patch, in turn; some ways have no length.

    Returns:
        (K, n) and (K, n) distances, (2, K, n) patches.
    """
    step, first = lane.steps[:, steps.ray], here.block << BLOCK_BITS
    lines = first[:, None] + np.arange(1, 1 << BLOCK_BITS)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        at = (lines - lane.start[:, None, None]) / step[:, None]
    at = at.reshape(2 * lines.shape[1], steps.ray.size)
    # Lines that a ray runs along, or crosses elsewhere, come to lie at the end.
    between = (at > steps.distance) & (at < here.onward)
    at = np.sort(np.where(between, at, here.onward), axis=0)
    begin = np.concatenate([steps.distance[None], at])
    end = np.concatenate([at, here.onward[None]])
    middle = lane.start[:, None, None] + step[:, None] * (0.5 * (begin + end))
    behind = np.minimum(first + (1 << BLOCK_BITS), np.array(surface.extent)[:, None]) - 1
    patch = np.floor(middle).astype(np.intp)
    return begin, end, np.minimum(np.maximum(patch, first[:, None]), behind[:, None])


def _onwards(surface: Surface, steps: _Steps, here: _Here) -> _Steps:
    """To the next block, or into this one."""
    up = np.minimum(steps.level + here.ascends, surface.levels)
    return _Steps(
        ray=steps.ray,
        distance=np.where(here.passed, here.onward, steps.distance),
        level=np.where(here.passed, up, steps.level - 1),
        known=np.where(here.passed, here.known, steps.known),
    )
