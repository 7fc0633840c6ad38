"""The regions of an image as rings of pixels with their places: marching squares on the lattice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attachtrans.geo.footprint.lattice import (
    Crossings,
    Lattice,
    bits,
    crossings,
    sampled,
    topology,
    within,
)
from attachtrans.geo.footprint.probe import Labels, Probe, Sight
from attachtrans.types import Size

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Flags = NDArray[np.bool_]

_GROUND = bits(Sight.SEEN, Sight.NEAR)


class Ring(NamedTuple):
    """A closed line around a region or a hole in it, the region to its right; all one a node."""

    pixels: Floats
    """(2, M) from the outer corner; the first is not repeated"""
    xy: Floats
    """(2, M) places"""
    edge: Flags
    """(M,) on the image's edge, and a node of the lattice there"""
    outside: Labels
    """(M,) what the region ends at; of no meaning on the image's edge"""

    @property
    def area_px(self) -> float:
        """Negative for a hole."""
        (x, y), (u, v) = self.pixels, np.roll(self.pixels, -1, axis=1)
        # Off the first node, so that no digits are lost.
        x0, y0 = self.pixels[:, 0]
        return 0.5 * float(np.sum((x - x0) * (v - y0) - (u - x0) * (y - y0)))

    def chosen(self, which: Flags) -> Ring:
        """Some of its nodes."""
        return Ring(self.pixels[:, which], self.xy[:, which], self.edge[which], self.outside[which])


class Shown(NamedTuple):
    """What an image shows.

    rings   of the ground, that which is too near included
    shares  of the image's area, by `Sight`
    """

    rings: list[Ring]
    shares: dict[Sight, float]


def shown(probe: Probe, size: Size) -> Shown:
    """The ground's rings and the shares of an image.

    Borders between kinds are found to 1/100 of a cell of the lattice, so shares are good to
    about 1e-4 where these are smooth lines. What is smaller than a cell and touches none of its
    corners goes unseen.
    """
    lattice = sampled(probe, size)
    counts = np.bincount(lattice.labels, minlength=len(Sight))
    if np.count_nonzero(counts) == 1:
        return _of_one_kind(lattice)
    others = _others(counts)
    near = [Sight.NEAR] if counts[Sight.NEAR] else []
    measured = [*others[1:], *near]
    found = crossings(probe, lattice, [_GROUND, *(bits(kind) for kind in measured)])
    rings = _rings(lattice, found, _GROUND)
    # What is too thin for the lattice, as is often the far ground under the sky, shows here.
    counts[np.unique(found.outside)] += 1
    if _others(counts)[1:] != others[1:]:
        others = _others(counts)
        measured = [*others[1:], *near]
        found = crossings(probe, lattice, [bits(kind) for kind in measured])
    area = float(size[0]) * size[1]
    shares = dict.fromkeys(Sight, 0.0)
    for kind in measured:
        shares[kind] = _share(_rings(lattice, found, bits(kind)), area)
    of_ground = _share(rings, area)
    shares[Sight.SEEN] = max(0.0, of_ground - shares[Sight.NEAR])
    if others:
        shares[others[0]] = max(0.0, 1.0 - of_ground - sum(shares[kind] for kind in others[1:]))
    return Shown(rings, shares)


def _of_one_kind(lattice: Lattice) -> Shown:
    """Of an image that shows the same all over."""
    walk, label = topology().walk, lattice.labels[:1]
    ring = Ring(
        lattice.pixels[:, walk],
        lattice.xy[:, walk],
        np.ones(walk.size, dtype=np.bool_),
        np.full(walk.size, Sight.BLIND, dtype=np.uint8),
    )
    return Shown(
        [ring] if within(label, _GROUND).all() else [],
        dict.fromkeys(Sight, 0.0) | {Sight(int(label[0])): 1.0},
    )


def _others(counts: Ints) -> list[Sight]:
    """The kinds that are no ground, by their counts; the first is what the rest leaves."""
    kinds = [kind for kind in Sight if counts[kind] and not within(np.array([kind]), _GROUND)]
    return sorted(kinds, key=lambda kind: (kind is not Sight.FAR, -counts[kind]))


def _share(rings: list[Ring], area_px: float) -> float:
    return min(max(sum(ring.area_px for ring in rings) / area_px, 0.0), 1.0)


def _rings(lattice: Lattice, found: Crossings, region: int) -> list[Ring]:
    """The rings of one region."""
    ways = topology()
    member = within(lattice.labels, region)
    mine = found.region == region
    edge_count = ways.begins.size
    nodes = edge_count + ways.walk.size  # crossings by their edge, then border nodes as walked
    pixels, xy = np.empty((2, nodes)), np.empty((2, nodes))
    outside = np.full(nodes, Sight.BLIND, dtype=np.uint8)
    at = found.edge[mine]
    pixels[:, at], xy[:, at], outside[at] = (
        found.pixels[:, mine],
        found.xy[:, mine],
        (found.outside[mine]),
    )
    pixels[:, edge_count:] = lattice.pixels[:, ways.walk]
    xy[:, edge_count:] = lattice.xy[:, ways.walk]
    begins, ends = (
        np.concatenate(pair)
        for pair in zip(_through_cells(member), _along_border(member), strict=True)
    )
    return [
        Ring(pixels[:, ring], xy[:, ring], ring >= edge_count, outside[ring])
        for ring in _closed(begins, ends)
    ]


def _through_cells(member: Flags) -> tuple[Ints, Ints]:
    """Edges where the region's border enters and leaves cells, the region to its right.

    Of a cell whose corners are inside and outside by turns, those inside are kept apart.
    """
    ways = topology()
    corners = member[ways.corners]
    mixed = np.flatnonzero(corners.any(axis=0) & ~corners.all(axis=0))
    corners, sides = corners[:, mixed], ways.sides[:, mixed]
    after = np.roll(corners, -1, axis=0)
    leaves, enters = corners & ~after, ~corners & after
    begins, ends = [], []
    for side in range(4):
        pending = leaves[side].copy()
        for back in (1, 2, 3):
            here = pending & enters[side - back]
            begins.append(sides[side, here])
            ends.append(sides[side - back, here])
            pending &= ~here
    return np.concatenate(begins), np.concatenate(ends)


def _along_border(member: Flags) -> tuple[Ints, Ints]:
    """From border node to border node, or to the edge where the region ends between them."""
    ways = topology()
    here = member[ways.walk]
    there = np.roll(here, -1)
    node = ways.begins.size + np.arange(ways.walk.size)
    onward = np.roll(node, -1)
    either = here | there
    begins = np.where(here, node, ways.walk_edges)[either]
    ends = np.where(there, onward, ways.walk_edges)[either]
    return begins, ends


def _closed(begins: Ints, ends: Ints) -> list[Ints]:
    """Links that each lead from one node to the next, as rings of nodes."""
    onward = dict(zip(begins.tolist(), ends.tolist(), strict=True))
    rings = []
    while onward:
        first, node = onward.popitem()
        ring = [first]
        while node != first:
            ring.append(node)
            node = onward.pop(node)
        rings.append(np.array(ring, dtype=np.intp))
    return rings
