"""What an image shows, on a lattice of its pixels, and where one thing ends and another begins.

The lattice has 64 cells each way and reaches over the outer pixel edges. Its border is looked at
node by node; inside, one node of 16 is, and the others only about those where the answer changes:
a photo that shows nothing but ground costs some 500 rays.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from attachtrans.geo.footprint.probe import Labels, Probe, Sight
from attachtrans.types import Size

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Flags = NDArray[np.bool_]

CELLS = 64
"""Each way. The truth of many a footprint is a polygon of 256 rays, 64 a side."""
NODES = CELLS + 1
_COARSE = 4
"""Cells of the first look are this many cells wide."""
_PIECES, _ROUNDS = 10, 2
"""A border is found by cutting an edge into so many pieces, so many times: to 1/100 of a cell.
Many rays a few times are faster than a few rays many times."""


class Lattice(NamedTuple):
    """Nodes row by row; all of them NODES * NODES."""

    pixels: Floats
    """(2, M) from the outer corner"""
    labels: Labels
    """(M,) values of `Sight`; of nodes amid nodes of one kind, taken from these"""
    xy: Floats
    """(2, M) places, nan where not looked at or none there"""


class Topology(NamedTuple):
    """Indices of the lattice, the same for every image; edges are numbered across, then down."""

    begins: Ints
    """(E,) node at an edge's left or upper end"""
    ends: Ints
    """(E,) node at its other end"""
    corners: Ints
    """(4, C) nodes of each cell, clockwise from the upper left"""
    sides: Ints
    """(4, C) edges of each cell: sides[k] leads from corners[k] to corners[k + 1]"""
    walk: Ints
    """(4 CELLS,) border nodes, clockwise from the upper left"""
    walk_edges: Ints
    """(4 CELLS,) edge from each to the next"""


@lru_cache(maxsize=1)
def topology() -> Topology:
    """The lattice's."""
    node = np.arange(NODES * NODES).reshape(NODES, NODES)
    across = np.arange(NODES * CELLS).reshape(NODES, CELLS)
    down = across.size + np.arange(CELLS * NODES).reshape(CELLS, NODES)
    corners = (node[:-1, :-1], node[:-1, 1:], node[1:, 1:], node[1:, :-1])
    sides = (across[:-1], down[:, 1:], across[1:], down[:, :-1])
    walk = (node[0, :-1], node[:-1, -1], node[-1, :0:-1], node[:0:-1, 0])
    walk_edges = (across[0], down[:, -1], across[-1, ::-1], down[::-1, 0])
    return Topology(
        begins=np.concatenate([node[:, :-1].ravel(), node[:-1].ravel()]),
        ends=np.concatenate([node[:, 1:].ravel(), node[1:].ravel()]),
        corners=np.stack([one.ravel() for one in corners]),
        sides=np.stack([one.ravel() for one in sides]),
        walk=np.concatenate(walk),
        walk_edges=np.concatenate(walk_edges),
    )


def sampled(probe: Probe, size: Size) -> Lattice:
    """The lattice of an image."""
    cols, rows = np.meshgrid(
        np.linspace(0.0, size.width, NODES), np.linspace(0.0, size.height, NODES)
    )
    pixels = np.stack([cols.ravel(), rows.ravel()])
    labels = np.zeros(NODES * NODES, dtype=np.uint8)
    xy = np.full((2, NODES * NODES), np.nan)

    def look(nodes: Ints) -> None:
        xy[:, nodes], labels[nodes] = probe.look(pixels[:, nodes])

    first = _first_nodes()
    look(first)
    if np.ptp(labels[first]) == 0:
        labels[:] = labels[first[0]]
        return Lattice(pixels, labels, xy)
    mixed, uniform = _coarse_cells(labels, first)
    known = np.zeros(NODES * NODES, dtype=np.bool_)
    known[first] = True
    inner = uniform.repeat(_COARSE, axis=0).repeat(_COARSE, axis=1)
    filled = np.pad(inner, ((0, 1), (0, 1)), mode="edge").ravel()
    labels[~known] = filled[~known]
    look(np.flatnonzero(_nodes_of(mixed).ravel() & ~known))
    return Lattice(pixels, labels, xy)


@lru_cache(maxsize=1)
def _first_nodes() -> Ints:
    chosen = np.zeros((NODES, NODES), dtype=np.bool_)
    chosen[::_COARSE, ::_COARSE] = True
    chosen[[0, -1]] = chosen[:, [0, -1]] = True
    return np.flatnonzero(chosen)


def _coarse_cells(labels: Labels, known: Ints) -> tuple[Flags, Labels]:
    """Of the coarse cells: in or beside which labels differ; the lowest label of each."""
    low = np.full(NODES * NODES, 255, dtype=np.uint8)
    high = np.zeros(NODES * NODES, dtype=np.uint8)
    low[known] = high[known] = labels[known]
    shape, step = (_COARSE + 1, _COARSE + 1), _COARSE
    lows = sliding_window_view(low.reshape(NODES, NODES), shape)[::step, ::step].min(axis=(2, 3))
    highs = sliding_window_view(high.reshape(NODES, NODES), shape)[::step, ::step].max(axis=(2, 3))
    mixed: Flags = np.pad(lows != highs, 1)
    return _any_in(mixed, 3), lows


def _nodes_of(coarse: Flags) -> Flags:
    """(NODES, NODES) nodes in or on the border of coarse cells."""
    fine = np.pad(coarse.repeat(_COARSE, axis=0).repeat(_COARSE, axis=1), 1)
    return _any_in(fine, 2)


def _any_in(flags: Flags, width: int) -> Flags:
    """Whether any is set in each square of so many each way."""
    found: Flags = np.any(sliding_window_view(flags, (width, width)), axis=(2, 3))
    return found


class Crossings(NamedTuple):
    """Where regions end on the lattice's edges; all of them one a column."""

    region: Ints
    """(T,) bits of the region's kinds of `Sight`, as `bits` makes them"""
    edge: Ints
    """(T,) of the lattice"""
    pixels: Floats
    """(2, T) where the region ends"""
    xy: Floats
    """(2, T) place of the outermost pixel found that is still of the region"""
    outside: Labels
    """(T,) what lies just outside"""


def bits(*sights: Sight) -> int:
    """A set of kinds of `Sight` as an integer: bit k for kind k."""
    return sum(1 << sight for sight in sights)


def within(labels: Labels, region: int | Ints) -> Flags:
    """Whether labels belong to a region, given by its bits."""
    member: Flags = ((np.asarray(region) >> labels.astype(np.intp)) & 1).astype(np.bool_)
    return member


def crossings(probe: Probe, lattice: Lattice, regions: list[int]) -> Crossings:
    """All places on edges at which one of the regions, at least one, begins or ends."""
    ways = topology()
    found: list[Ints] = []
    for region in regions:
        member = within(lattice.labels, region)
        edge = np.flatnonzero(member[ways.begins] != member[ways.ends])
        first = member[ways.begins[edge]]
        inside = np.where(first, ways.begins[edge], ways.ends[edge])
        outside = np.where(first, ways.ends[edge], ways.begins[edge])
        found.append(np.stack([np.full(edge.size, region), edge, inside, outside]))
    region, edge, inside, outside = np.concatenate(found, axis=1)
    state = Crossings(
        region,
        edge,
        lattice.pixels[:, inside],
        lattice.xy[:, inside],
        lattice.labels[outside],
    )
    beyond = lattice.pixels[:, outside]
    for _ in range(_ROUNDS if edge.size else 0):
        state, beyond = _closer(probe, state, beyond)
    return state._replace(pixels=0.5 * (state.pixels + beyond))


def _closer(probe: Probe, state: Crossings, beyond: Floats) -> tuple[Crossings, Floats]:
    """The crossings between places still inside and pixels `beyond`, 1/_PIECES as far apart."""
    count = state.edge.size
    steps = np.arange(_PIECES + 1) / _PIECES
    pixels = state.pixels[:, :, None] + (beyond - state.pixels)[:, :, None] * steps
    pixels[:, :, -1] = beyond
    xy = np.empty((2, count, _PIECES))
    labels = np.empty((count, _PIECES + 1), dtype=np.uint8)
    looked, seen = probe.look(pixels[:, :, 1:-1].reshape(2, -1))
    xy[:, :, 0], xy[:, :, 1:] = state.xy, looked.reshape(2, count, -1)
    labels[:, 1:-1], labels[:, -1] = seen.reshape(count, -1), state.outside
    inside = within(labels[:, 1:-1], state.region[:, None])
    # The first piece whose end is outside.
    piece = np.where(inside.all(axis=1), _PIECES - 1, np.argmin(inside, axis=1))
    row = np.arange(count)
    return (
        Crossings(
            state.region,
            state.edge,
            pixels[:, row, piece],
            xy[:, row, piece],
            labels[row, piece + 1],
        ),
        pixels[:, row, piece + 1],
    )
