"""Areas from one coordinate system to another, with edges that stay where they were."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from shapely.geometry import MultiPolygon, Polygon

from attachtrans.errors import CrsError
from attachtrans.geo.antimeridian import to_lonlat
from attachtrans.geo.footprint.outline import areas_of, extent, valid
from attachtrans.geo.frame import horizontal, read_crs, transform

Floats = NDArray[np.float64]
Area = Polygon | MultiPolygon

_TOLERANCE = 1e-4
"""Of an area's extent: how far the middle of an edge may move off it."""
_ROUNDS = 12


def reprojected(area: Area, source: CRS, target: object) -> Area:
    """An area in another coordinate system.

    Edges are straight in `source` and get more vertices where they are not so in the target.
    Longitudes are cut at the antimeridian (RFC 7946), as is what the target tears there (Web
    Mercator); about a pole they reach up to it.

    Raises:
        CrsError: not a CRS, or the area reaches beyond what the target can show.
    """
    flat, base = horizontal(read_crs(target)), horizontal(source)
    if flat == base and not flat.is_geographic:
        return area
    dense, torn = _densified(area, base, flat, _TOLERANCE * extent(area))
    if flat.is_geographic:
        return _longitudes(dense, base, flat)
    if not torn:
        return valid(_moved(dense, base, flat))
    geodetic = flat.geodetic_crs
    if geodetic is None:
        raise CrsError(f"{flat.name} is on no earth: it has no datum")
    lonlat = horizontal(geodetic)
    cut = _longitudes(dense, base, lonlat)
    dense, torn = _densified(cut, lonlat, flat, _TOLERANCE * extent(cut))
    # A projection that is torn along the antimeridian has no place for a pole.
    if torn or max(abs(cut.bounds[1]), abs(cut.bounds[3])) >= 90.0:
        raise CrsError(f"the footprint reaches beyond what {flat.name} can show")
    return valid(_moved(dense, lonlat, flat))


def _longitudes(area: Area, base: CRS, flat: CRS) -> Area:
    """Each hole apart, since one about a pole has no ring of its own in longitudes."""
    parts = shapely.get_parts(area)
    shape = to_lonlat(MultiPolygon([Polygon(part.exterior) for part in parts]), base, flat)
    holes = [Polygon(hole) for part in parts for hole in part.interiors]
    if not holes:
        return shape
    return areas_of(shape.difference(to_lonlat(MultiPolygon(holes), base, flat)))


def _densified(area: Area, base: CRS, flat: CRS, tolerance: float) -> tuple[Area, bool]:
    """With vertices between, and whether edges are left that the target tears."""
    torn = False

    def ring(coordinates: Floats) -> Floats:
        nonlocal torn
        dense, far = _dense_ring(coordinates[:, :2].T, base, flat, tolerance)
        torn |= far
        return dense.T

    polygons = [
        Polygon(
            ring(np.asarray(part.exterior.coords)),
            [ring(np.asarray(hole.coords)) for hole in part.interiors],
        )
        for part in shapely.get_parts(area)
    ]
    return (polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)), torn


def _dense_ring(xy: Floats, base: CRS, flat: CRS, tolerance: float) -> tuple[Floats, bool]:
    """(2, M) closed -> (2, M') closed, and whether an edge stays far off however short it is."""
    there = transform(base, flat, xy)
    for _ in range(_ROUNDS):
        middle = 0.5 * (xy[:, 1:] + xy[:, :-1])
        step = np.diff(there, axis=1)
        if flat.is_geographic:
            step[0] = np.remainder(step[0] + 180.0, 360.0) - 180.0
        chord = transform(flat, base, there[:, :-1] + 0.5 * step)
        off = np.hypot(*(chord - middle))
        lengths = np.hypot(*np.diff(xy, axis=1))
        far = ~(off <= tolerance) & (lengths > tolerance)
        at = np.flatnonzero(far) + 1
        if not at.size:
            return xy, bool((~(off <= 10.0 * tolerance)).any())
        between = transform(base, flat, middle[:, far])
        xy = np.insert(xy, at, middle[:, far], axis=1)
        there = np.insert(there, at, between, axis=1)
    return xy, True


def _moved(area: Area, base: CRS, flat: CRS) -> Area:
    def move(coordinates: Floats) -> Floats:
        moved = transform(base, flat, coordinates.T)
        if not np.isfinite(moved).all():
            raise CrsError(f"the footprint reaches beyond what {flat.name} can show")
        return moved.T

    moved: Area = shapely.transform(area, move)
    return moved
