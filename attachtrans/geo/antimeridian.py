"""Polygons of a metric frame as longitudes and latitudes, cut at the antimeridian.

Source: RFC 7946, section 3.1.9; polygons about a pole are closed along the pole.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate
from shapely.geometry import LinearRing, MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from attachtrans.errors import CrsError
from attachtrans.geo.frame import horizontal, read_crs, transform

Floats = NDArray[np.float64]


def to_lonlat(
    shape: Polygon | MultiPolygon, crs: object, target: object = "EPSG:4326"
) -> Polygon | MultiPolygon:
    """A polygon of a projected CRS in a geographic one, longitudes within -180 to 180.

    Vertices are taken over as they are: densify long edges first. What crosses the antimeridian
    becomes one part on either side; a polygon about a pole reaches up to it.

    Raises:
        CrsError: the target is not geographic, or vertices do not lie where it is defined.
    """
    flat = horizontal(read_crs(target))
    if not flat.is_geographic:
        raise CrsError(f"{flat.name} is not geographic")
    pieces: list[BaseGeometry] = []
    for part in shapely.get_parts(shape):
        whole = _unrolled(part, crs, flat)
        for turns in (-2, -1, 0, 1, 2):
            piece = translate(whole, xoff=360.0 * turns).intersection(
                shapely.box(-180.0, -90.0, 180.0, 90.0)
            )
            pieces += [one for one in shapely.get_parts(piece) if isinstance(one, Polygon)]
    # Parts that were cut where the ring began, and not at the antimeridian, grow together again.
    joined = shapely.union_all(pieces)
    if not isinstance(joined, Polygon | MultiPolygon):
        raise CrsError("the polygon has no area in longitudes and latitudes")
    return joined


def _unrolled(part: Polygon, crs: object, target: object) -> BaseGeometry:
    """Longitudes that run on beyond 180 degrees instead of jumping."""
    outer, winds = _ring(part.exterior, crs, target)
    if winds:
        pole = 90.0 if outer[1].mean() > 0.0 else -90.0
        ends = outer[0, [-1, 0]]
        outer = np.concatenate([outer, np.stack([ends, [pole, pole]])], axis=1)
    holes = []
    for interior in part.interiors:
        ring, winds = _ring(interior, crs, target)
        if winds:
            raise CrsError("a polygon with a hole about a pole has no picture in longitudes")
        turns = np.round((outer[0].mean() - ring[0].mean()) / 360.0)
        holes.append(np.stack([ring[0] + 360.0 * turns, ring[1]]).T)
    whole: BaseGeometry = Polygon(outer.T, holes)
    if not whole.is_valid:
        # An edge that passes a pole closer than its chord does: the turn about it overlaps.
        whole = shapely.make_valid(whole, method="structure", keep_collapsed=False)
    return whole


def _ring(ring: LinearRing, crs: object, target: object) -> tuple[Floats, bool]:
    """(2, N) unrolled longitudes and latitudes of a ring, and whether it goes about a pole."""
    lonlat = transform(crs, target, np.asarray(ring.coords)[:, :2].T)
    if not np.isfinite(lonlat).all():
        raise CrsError("a polygon reaches beyond the places that its coordinate system can show")
    longitude = np.rad2deg(np.unwrap(np.deg2rad(lonlat[0])))
    winds = abs(longitude[-1] - longitude[0]) > 180.0
    return np.stack([longitude, lonlat[1]]), bool(winds)
