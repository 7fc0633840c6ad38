"""Geometries of mobile geodatabases made of well-known binary (the form: see `esrishape`).

What Esri's software had written comes out of `to_wkb` and `encode` as it was, byte for byte, but
for the bytes that say nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from attachtrans.stores.geodatabase.esrishape import Lattice
from attachtrans.stores.gpb import Envelope

_TAG, _VERSION = 0x64, b"\1\0\0\0"
_SELF_MEETING, _SIMPLE, _SEVERAL = 2, 4, 0x40
_SEPARATOR = (-1, 0)
_BOUNDLESS = 10  # the most points of a geometry without bounds
_LENGTH_BYTES = 4
_LARGEST = 1 << 53
# The types (of well-known binary) that go into a column.
_CODES = {"POINT": {1}, "MULTILINESTRING": {2, 5}, "MULTIPOLYGON": {3, 6}}
_Points = list[tuple[int, int]]


class Encoded(NamedTuple):
    """A geometry as a mobile geodatabase stores it, and its bounds in the layer's CRS."""

    blob: bytes
    bounds: Envelope


def encode(wkb: bytes, lattice: Lattice, srid: int, type_name: str) -> Encoded | None:
    """A geometry for a column of such a type (POINT, MULTILINESTRING or MULTIPOLYGON).

    Coordinates go to the nearest point of the lattice; rings are turned as Esri's are. None for an
    empty geometry. Raises ValueError for what the column cannot hold.
    """
    geometry = _read(wkb, type_name)
    if geometry.is_empty:
        return None
    if not lattice.known:
        raise ValueError(
            "the class has Z or M, or a spatial reference that the file does not define"
        )
    form, to_parts = _FORMS[type_name]
    kind, parts = to_parts(geometry, lattice)
    every = [point for part in parts for point in part]
    xs, ys = zip(*every, strict=True)
    low, high = (min(xs), min(ys)), (max(xs), max(ys))
    if min(low) < 0 or max(high) >= _LARGEST:
        raise ValueError("it lies outside of the coordinates that the class can hold")
    count = len(every) + len(parts) - 1
    blob = struct.pack("<B3sI", _TAG, srid.to_bytes(3, "little"), count)
    blob += bytes((form, kind | _SEVERAL * (len(parts) > 1)))
    if count > _BOUNDLESS:
        blob += _varints((*low, *high))
    if len(parts) > 1:
        blob += _varints((len(parts) - 1, *(len(part) + 1 for part in parts[:-1])))
    data = _varints(_steps(parts))
    length = _varints((len(data),))
    if len(length) > _LENGTH_BYTES:
        raise ValueError("it has more points than a geometry of the class can have")
    blob += length.ljust(_LENGTH_BYTES, b"\0") + _VERSION + data
    (min_x, min_y), (max_x, max_y) = lattice.place(low), lattice.place(high)
    return Encoded(blob, Envelope(min_x, max_x, min_y, max_y))


def _read(wkb: bytes, type_name: str) -> BaseGeometry:
    code = int.from_bytes(wkb[1:5], "little" if wkb[0] else "big")
    if type_name not in _FORMS or code not in _CODES[type_name]:
        raise ValueError(
            f"the class holds geometries of type {type_name} without Z and M, this one is of "
            f"well-known binary type {code}"
        )
    try:
        geometry = shapely.from_wkb(wkb)
    except shapely.errors.GEOSException as error:
        raise ValueError(f"it is no well-known binary: {error}") from error
    if not geometry.is_empty and not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise ValueError("it has coordinates that are no numbers")
    return geometry


def _point(geometry: BaseGeometry, lattice: Lattice) -> tuple[int, list[_Points]]:
    ((x, y),) = geometry.coords
    return 1, [[lattice.index(x, y)]]


def _lines(geometry: BaseGeometry, lattice: Lattice) -> tuple[int, list[_Points]]:
    parts = [_run(line, lattice) for line in shapely.get_parts(geometry) if not line.is_empty]
    if min(map(len, parts)) < 2:
        raise ValueError("it has a line without length")
    is_simple = shapely.MultiLineString([_near(part, parts) for part in parts]).is_simple
    return _SIMPLE if is_simple else _SELF_MEETING, parts


def _areas(geometry: BaseGeometry, lattice: Lattice) -> tuple[int, list[_Points]]:
    polygons = [
        [
            _turned(_run(ring, lattice), counterclockwise=index == 0)
            for index, ring in enumerate((polygon.exterior, *polygon.interiors))
        ]
        for polygon in shapely.get_parts(geometry)
        if not polygon.is_empty
    ]
    rings = [ring for polygon in polygons for ring in polygon]
    if min(map(len, rings)) < 4:
        raise ValueError("it has a ring without area")
    valid = shapely.MultiPolygon(
        [
            shapely.Polygon(_near(outer, rings), [_near(hole, rings) for hole in holes])
            for outer, *holes in polygons
        ]
    )
    if not valid.is_valid:
        raise ValueError(f"it is not valid ({shapely.is_valid_reason(valid)}); repair it")
    return 8, [[point for ring in polygon for point in ring] for polygon in polygons]


_Parts = Callable[[BaseGeometry, Lattice], tuple[int, list[_Points]]]
_FORMS: dict[str, tuple[int, _Parts]] = {
    "POINT": (0x04, _point),
    "MULTILINESTRING": (0x14, _lines),
    "MULTIPOLYGON": (0x18, _areas),
}


def _run(line: BaseGeometry, lattice: Lattice) -> _Points:
    """The points of a line on the lattice, none twice in succession."""
    points: _Points = []
    for x, y in line.coords:
        point = lattice.index(x, y)
        if not points or point != points[-1]:
            points.append(point)
    return points


def _turned(ring: _Points, *, counterclockwise: bool) -> _Points:
    is_so = shapely.LinearRing(_near(ring, [ring])).is_ccw if len(ring) > 3 else True
    return ring if is_so == counterclockwise else ring[::-1]


def _near(points: _Points, around: Sequence[_Points]) -> _Points:
    """Points counted from the first of all, as smaller numbers, which floats hold exactly."""
    x0, y0 = around[0][0]
    return [(x - x0, y - y0) for x, y in points]


def _steps(parts: Sequence[_Points]) -> Iterable[int]:
    x = y = 0
    for index, part in enumerate(parts):
        for point in ([_SEPARATOR] if index else []) + part:
            yield from (point[0] - x, point[1] - y)
            x, y = point


def _varints(values: Iterable[int]) -> bytes:
    out = bytearray()
    for value in values:
        rest = abs(value)
        out.append(rest & 0x3F | 0x40 * (value < 0))
        rest >>= 6
        while rest:
            out[-1] |= 0x80
            out.append(rest & 0x7F)
            rest >>= 7
    return bytes(out)
