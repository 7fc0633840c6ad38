"""The first point of a bilinear surface on each ray, exactly.

All rays walk in step from patch to patch, and over whole blocks where they pass above them. On a
patch a ray's height above the surface is a quadratic function of the distance, so its first zero
is known in closed form and no grazing hit can fall between samples.
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
        level=np.full(ray.size, surface.levels),
        known=lane.known[ray],
    )
    while steps.ray.size:
        here = _look(surface, lane, steps)
        hit, lost = _meet(surface, lane, steps, here)
        distance[steps.ray] = np.where(np.isfinite(hit), hit, np.nan)
        status[steps.ray[np.isfinite(hit)]] = GroundStatus.HIT
        status[steps.ray[lost]] = GroundStatus.OFF_DEM
        over = ~np.isfinite(hit) & ~lost & here.passed & (here.onward >= lane.end[steps.ray])
        status[steps.ray[over]] = lane.ending[steps.ray[over]]
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
    """0: looks at a patch; k: at a block of 4^k x 4^k patches"""
    known: Flags
    """the ground was known, and below, up to here"""

    def kept(self, which: Flags) -> _Steps:
        return _Steps(self.ray[which], self.distance[which], self.level[which], self.known[which])


class _Here(NamedTuple):
    """The block each ray is in; all (n,)."""

    i: Ints
    j: Ints
    """its patch"""
    onward: Floats
    """distance at which it leaves the block"""
    ascends: Flags
    """it then leaves the block of the next level, too"""
    passed: Flags
    """nothing in the block can be met, or it is a patch (and met or not)"""
    known: Flags
    """there is data in the block"""


def _look(surface: Surface, lane: _Lane, steps: _Steps) -> _Here:
    ray, shift = steps.ray, steps.level * BLOCK_BITS
    step = lane.steps[:, ray]
    ahead = steps.distance + np.maximum(lane.nudge[ray], _ROUNDING * steps.distance)
    last = np.array(surface.extent)[:, None] - 1
    patch = np.floor(lane.start[:, None] + step * ahead).astype(np.intp)
    patch = np.clip(patch, 0, last)
    block = patch >> shift
    border = block + (step > 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        leaves = ((border << shift) - lane.start[:, None]) / step
    leaves[step == 0.0] = np.inf
    axis = np.argmin(leaves, axis=0)
    index = np.arange(ray.size)
    onward = np.minimum(np.maximum(leaves[axis, index], ahead), lane.end[ray])
    passed, known = steps.level == 0, np.ones(ray.size, dtype=np.bool_)
    coarse = np.flatnonzero(~passed)
    top = surface.tops(steps.level[coarse], block[0, coarse], block[1, coarse])
    known[coarse] = ~np.isnan(top)
    least = _least_height(lane.bundle, ray[coarse], steps.distance[coarse], onward[coarse])
    passed[coarse] = ~(least <= top)
    ascends = (border[axis, index] & ((1 << BLOCK_BITS) - 1)) == 0
    return _Here(patch[0], patch[1], onward, ascends, passed, known)


def _least_height(bundle: Bundle, ray: Ints, begin: Floats, end: Floats) -> Floats:
    """(n,) a bound under the rays' heights between two distances."""
    z, slope, curve = bundle.origin[2], bundle.unit[2, ray], bundle.curve[ray]
    first = z + begin * (slope + begin * curve)
    last = z + end * (slope + end * curve)
    # A parabola hangs at most this far below its chord.
    lowest: Floats = np.minimum(first, last) - 0.25 * curve * (end - begin) ** 2
    return lowest


def _meet(surface: Surface, lane: _Lane, steps: _Steps, here: _Here) -> tuple[Floats, Flags]:
    """(n,) distance of the surface on the patches looked at, inf if not there; (n,) went under."""
    hit, lost = np.full(steps.ray.size, np.inf), np.zeros(steps.ray.size, dtype=np.bool_)
    fine = np.flatnonzero(steps.level == 0)
    if not fine.size:
        return hit, lost
    ray, begin = steps.ray[fine], steps.distance[fine]
    bundle, (di, dj) = lane.bundle, lane.steps[:, ray]
    c, x, y, w = surface.patches(here.i[fine], here.j[fine])
    u = lane.start[0] + di * begin - here.i[fine]
    v = lane.start[1] + dj * begin - here.j[fine]
    slope, curve = bundle.unit[2, ray], bundle.curve[ray]
    # Height above the surface: gap + rate s + bend s^2, s metres from here.
    gap = bundle.origin[2] + begin * (slope + begin * curve) - (c + x * u + (y + w * u) * v)
    rate = slope + 2.0 * begin * curve - (x * di + y * dj + w * (u * dj + v * di))
    bend = curve - w * di * dj
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(rate * rate - 4.0 * bend * gap)
        zero = np.where(rate <= 0.0, 2.0 * gap / (root - rate), -0.5 * (rate + root) / bend)
    meets = (gap > 0.0) & (zero >= 0.0) & (begin + zero <= here.onward[fine])
    under = gap <= 0.0
    hit[fine] = np.where(meets, begin + zero, np.inf)
    hit[fine[under & steps.known[fine]]] = begin[under & steps.known[fine]]
    lost[fine] = under & ~steps.known[fine]
    here.known[fine] = ~np.isnan(gap)
    return hit, lost


def _onwards(surface: Surface, steps: _Steps, here: _Here) -> _Steps:
    """To the next block, or into this one."""
    up = np.minimum(steps.level + here.ascends, surface.levels)
    return _Steps(
        ray=steps.ray,
        distance=np.where(here.passed, here.onward, steps.distance),
        level=np.where(here.passed, up, steps.level - 1),
        known=np.where(here.passed, here.known, steps.known),
    )
