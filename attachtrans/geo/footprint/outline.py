"""Rings of an image's ground as one valid polygon."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from attachtrans.geo.footprint.arcs import STEP_DEG, disc
from attachtrans.geo.footprint.probe import CameraProbe, Probe, Sight
from attachtrans.geo.footprint.rings import Ring

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Area = Polygon | MultiPolygon

_ROUNDS = 6
_OF_GSD = 0.25
_OF_SIZE = 0.001
"""An edge is cut while its middle lies further off than this part of a pixel or of the whole."""
_SNAP = 0.01
"""Of the far distance: what ends that near to it ends at it."""
_BITE = 0.05
"""Part of a ring that a model's end may cut off in a straight line."""
_SPARE = 1e-5
"""Of its extent: how far off a vertex may be that is left out."""
_SEAM = 1e-7
"""Of its extent: how far apart the two sides of a whole panorama's seam may come to lie."""


def outline(probe: Probe, rings: list[Ring]) -> Area:
    """The area within rings of `shown`; empty where they have none.

    Edges of the image are followed through the nodes of the lattice, and more closely where the
    lens or the perspective bends them: not where the ground does, whose roughness has no end.
    Where a camera's view leaves the elevation model, the outline goes straight from the last ray
    that meets it to the next, unless that would cut off much; what it lacks within is no hole.
    What lies hidden between two rays that follow each other is part of the area.
    """
    shells, holes = list[Area](), list[Area]()
    for ring in rings:
        hole = ring.area_px < 0.0
        if hole and np.isin(ring.outside, (Sight.OFF, Sight.BLIND)).all() and not ring.edge.any():
            continue
        whole = _followed(probe, _straightened(ring) if probe.rough and not hole else ring)
        (holes if hole else shells).append(_polygon(_rounded(probe, whole)))
    area, lack = _united(shells), _united(holes)
    if lack.area > area.area:  # a view upwards: the edges of the image are nearer than its middle
        area, lack = lack, area
    area = areas_of(area.difference(lack)) if lack.area else area
    if isinstance(probe, CameraProbe) and probe.near_m > 0.0:
        area = areas_of(area.difference(disc(probe.eye.position[:2], probe.near_m)))
    if probe.rough or not area.area:
        return area
    return areas_of(area.simplify(_SPARE * extent(area)))


def extent(area: Area) -> float:
    """The diagonal of its bounds."""
    west, south, east, north = area.bounds
    return float(np.hypot(east - west, north - south))


def areas_of(shape: shapely.Geometry) -> Area:
    """The polygons of whatever an overlay left."""
    if isinstance(shape, Polygon | MultiPolygon):
        return shape
    parts = shapely.get_parts(shapely.get_parts(shape))  # a collection may hold several of several
    return MultiPolygon([part for part in parts if isinstance(part, Polygon)])


def valid(area: Area) -> Area:
    """What the lines go around, however often and which way round they do."""
    if area.is_valid:
        return area
    return areas_of(shapely.make_valid(area, method="structure", keep_collapsed=False))


def _straightened(ring: Ring) -> Ring:
    """Without its nodes at the elevation model's end, where that takes little away."""
    keep = ring.edge | (ring.outside != Sight.OFF)
    if keep.all() or keep.sum() < 3:
        return ring
    straight = ring.chosen(keep)
    cut = abs(ring.area_px - straight.area_px)
    return straight if cut <= _BITE * abs(ring.area_px) else ring


def _followed(probe: Probe, ring: Ring) -> Ring:
    """With nodes along the image's edges where these are bent on the ground."""
    for _ in range(_ROUNDS):
        split = _bent(probe, ring)
        if not split.size:
            break
        after = (split + 1) % ring.edge.size
        pixels = 0.5 * (ring.pixels[:, split] + ring.pixels[:, after])
        xy, labels = probe.look(pixels)
        seen = np.isin(labels, (Sight.SEEN, Sight.NEAR))
        at = split[seen] + 1
        ring = Ring(
            np.insert(ring.pixels, at, pixels[:, seen], axis=1),
            np.insert(ring.xy, at, xy[:, seen], axis=1),
            np.insert(ring.edge, at, values=True),
            np.insert(ring.outside, at, Sight.BLIND),
        )
    return ring


def _bent(probe: Probe, ring: Ring) -> NDArray[np.intp]:
    """Indices of nodes after which an edge of the image is too far from straight."""
    count = ring.edge.size
    pixels = ring.pixels
    ahead = np.roll(pixels, -1, axis=1) - pixels
    along = ring.edge & np.roll(ring.edge, -1) & (np.abs(ahead).min(axis=0) == 0.0)
    # Two edges that follow each other without a corner between tell how bent they are.
    turns = along & np.roll(along, 1) & (np.sum(ahead * np.roll(ahead, 1, axis=1), axis=0) > 0.0)
    if not turns.any():
        return np.empty(0, dtype=np.intp)
    xy = np.full((2, count), np.nan)
    some = turns | np.roll(turns, 1) | np.roll(turns, -1)
    xy[:, some] = probe.smooth(pixels[:, some], ring.xy[:, some])
    (x, y), (u, v) = xy - np.roll(xy, 1, axis=1), np.roll(xy, -1, axis=1) - xy
    lengths, before = np.hypot(u, v), np.hypot(x, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        # An arc over one edge sags a quarter as much as over both.
        sag = 0.25 * np.abs(x * v - y * u) / np.hypot(x + u, y + v)
    gsd = np.fmin(lengths, before) / np.abs(ahead).max(axis=0).clip(1e-9)
    size = np.hypot(*np.ptp(ring.xy, axis=1))
    too_far = turns & (sag > np.fmin(_OF_GSD * gsd, _OF_SIZE * size))
    return np.flatnonzero(along & (too_far | np.roll(too_far, -1)))


def _rounded(probe: Probe, ring: Ring) -> Floats:
    """(2, M) places with the far distance as an arc."""
    if not (isinstance(probe, CameraProbe) and np.isfinite(probe.far_m)):
        return ring.xy
    foot = probe.eye.position[:2, None]
    off = ring.xy - foot
    ranges = np.hypot(*off)
    ends = ~ring.edge & (ring.outside == Sight.FAR) & (ranges > (1.0 - _SNAP) * probe.far_m)
    xy = np.where(ends, foot + off * (probe.far_m / np.where(ends, ranges, 1.0)), ring.xy)
    azimuth = np.arctan2(off[0], off[1])
    turn = np.remainder(np.roll(azimuth, -1) - azimuth + np.pi, 2.0 * np.pi) - np.pi
    wide = ends & np.roll(ends, -1) & (np.abs(turn) > np.deg2rad(STEP_DEG))
    for index in np.flatnonzero(wide)[::-1]:
        pieces = int(np.ceil(abs(turn[index]) / np.deg2rad(STEP_DEG)))
        angles = azimuth[index] + turn[index] * np.arange(1, pieces) / pieces
        arc = foot + probe.far_m * np.stack([np.sin(angles), np.cos(angles)])
        xy = np.insert(xy, [index + 1] * (pieces - 1), arc, axis=1)
    return xy


def _polygon(xy: Floats) -> Area:
    return valid(Polygon(xy.T)) if xy.shape[1] > 2 else Polygon()


def _united(areas: list[Area]) -> Area:
    return areas[0] if len(areas) == 1 else areas_of(shapely.union_all(areas))


def sealed(area: Area) -> Area:
    """A whole panorama's area without the slit where its left edge meets its right one."""
    return areas_of(shapely.set_precision(area, _SEAM * extent(area)))
