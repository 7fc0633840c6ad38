"""Geometries of mobile geodatabases (Esri's ST_Geometry for SQLite) as well-known binary.

The format is not published. What is here was found in files that ArcGIS Runtime had made, where
the R-tree of each layer confirms every geometry:

    1 byte   0x64
    3 bytes  srid, little-endian
    4 bytes  number of points n, little-endian; separators of parts count
    1 byte   0x04 points, 0x14 lines, 0x18 areas
    1 byte   1 point, 2 line that meets itself, 4 other line, 8 area; + 0x40: it has several parts
    varints  of more than ten points: their bounds (four)
    varints  with several parts: how many follow, then the number of points of each but the last
    4 bytes  a varint, the number of bytes of the coordinates; what it leaves over says nothing
    4 bytes  01 00 00 00
    varints  coordinates: x, y as steps from the point before, in units of the layer's lattice

Between parts stands a separator, the point (-1, 0). A varint holds 6 bits and its sign (0x40) in
its first byte, 7 bits in each other; 0x80 says that another follows, lowest bits first. Geometries
with Z, M or curves have not been seen, so they are not read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

_TAG, _HEADER = 0x64, 10
_POINT, _LINES, _AREA, _SEVERAL = 1, (2, 4), 8, 0x40
_CLASSES = {0x04: (_POINT,), 0x14: _LINES, 0x18: (_AREA,)}
_LONGEST_TAIL, _LONGEST_SHIFT = 7, 62
_Points = list[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """How a layer's coordinates are counted: `units` to a unit of its CRS, from (false_x, false_y).

    known: the file says how, and there is neither Z nor M.
    """

    false_x: float
    false_y: float
    units: float
    known: bool = True

    def place(self, point: tuple[int, int]) -> tuple[float, float]:
        """A point in the layer's CRS, x before y."""
        return point[0] / self.units + self.false_x, point[1] / self.units + self.false_y

    def index(self, x: float, y: float) -> tuple[int, int]:
        """The point of the lattice at a place, or the one next to it; `place` turned round."""
        return self._count(x, self.false_x), self._count(y, self.false_y)

    def _count(self, value: float, false: float) -> int:
        guess = round((value - false) * self.units)
        # Where the lattice is finer than floats are, several counts have this value or none.
        near = (guess, guess - 1, guess + 1)
        return next((n for n in near if n / self.units + false == value), guess)


def to_wkb(blob: bytes | None, lattice: Lattice) -> bytes | None:
    """A geometry as well-known binary (ISO): a point, a multi line or a multi polygon.

    None for none and for an empty one. Raises ValueError for what cannot be read.
    """
    if blob is None:
        return None
    if len(blob) <= _HEADER or blob[0] != _TAG:
        raise ValueError("no geometry of a mobile geodatabase")
    count, kind = int.from_bytes(blob[4:8], "little"), blob[9] & ~_SEVERAL
    if count == 0:
        return None
    if kind not in _CLASSES.get(blob[8], ()) or not lattice.known:
        raise ValueError(
            "a geometry with Z, M, curves or a spatial reference that is not known here"
        )
    try:
        parts = list(_parts(blob, count))
    except IndexError as error:
        raise ValueError("the geometry is cut off") from error
    if kind == _POINT:
        return struct.pack("<BI2d", 1, 1, *lattice.place(parts[0][0]))
    if kind == _AREA:
        polygons = _polygons([ring for part in parts for ring in _rings(part)])
        bodies = [_polygon(rings, lattice) for rings in polygons]
        return struct.pack("<BII", 1, 6, len(bodies)) + b"".join(bodies)
    bodies = [struct.pack("<BI", 1, 2) + _run(part, lattice) for part in parts]
    return struct.pack("<BII", 1, 5, len(bodies)) + b"".join(bodies)


def _varint(blob: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where the next one begins. Raises IndexError at the end."""
    first = blob[at]
    value, shift = first & 0x3F, 6
    while blob[at] & 0x80:
        at += 1
        if shift > _LONGEST_SHIFT:
            raise ValueError("a coordinate of the geometry is larger than any can be")
        value |= (blob[at] & 0x7F) << shift
        shift += 7
    return (-value if first & 0x40 else value), at + 1


def _parts(blob: bytes, count: int) -> Iterator[_Points]:
    """The points of each part, in the units of the lattice."""
    sizes, start = _layout(blob, count)
    x = y = 0
    at = start
    for index, size in enumerate(sizes):
        points = []
        for _ in range(size):
            dx, at = _varint(blob, at)
            dy, at = _varint(blob, at)
            x, y = x + dx, y + dy
            points.append((x, y))
        if index < len(sizes) - 1 and points.pop() != (-1, 0):
            raise ValueError("the parts of the geometry are not separated as they should be")
        yield points
    if at != len(blob):
        raise ValueError("the geometry holds more than its points")


def _layout(blob: bytes, count: int) -> tuple[list[int], int]:
    """The number of points of each part, separators included, and where coordinates begin."""
    for bounds in (0, 4):
        at = _HEADER
        for _ in range(bounds):
            _, at = _varint(blob, at)
        sizes = []
        if blob[9] & _SEVERAL:
            more, at = _varint(blob, at)
            if not 0 < more < count:
                continue
            for _ in range(more):
                size, at = _varint(blob, at)
                sizes.append(size)
        sizes.append(count - sum(sizes))
        length, at = _varint(blob, at)
        start = len(blob) - length
        if length > 0 and 0 <= start - at <= _LONGEST_TAIL and min(sizes) > 0:
            return sizes, start
    raise ValueError("the geometry's header is of a form that is not known here")


def _rings(part: _Points) -> Iterator[_Points]:
    """The rings of a part of an area: each ends where it began."""
    ring: _Points = []
    for point in part:
        ring.append(point)
        if len(ring) > 1 and point == ring[0]:
            yield ring
            ring = []
    if ring:
        raise ValueError("a ring of the geometry does not close")


def _polygons(rings: Sequence[_Points]) -> list[list[_Points]]:
    """Outer rings, which run counterclockwise here, each with the holes inside it."""
    outer = [[ring] for ring in rings if _twice_area(ring) >= 0]
    for ring in rings:
        if _twice_area(ring) < 0:
            around = [o for o in outer if _inside(ring[0], o[0])] or outer
            if not around:
                raise ValueError("the geometry has a hole without an area around it")
            min(around, key=lambda polygon: abs(_twice_area(polygon[0]))).append(ring)
    return outer


def _twice_area(ring: _Points) -> int:
    """Twice the signed area, positive for a ring that runs counterclockwise."""
    pairs = pairwise(ring)
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)


def _inside(point: tuple[int, int], ring: _Points) -> bool:
    """Whether a point is inside a ring (even-odd rule; integers, so without rounding)."""
    x, y = point
    inside = False
    for (x0, y0), (x1, y1) in pairwise(ring):
        if (y0 > y) != (y1 > y):
            side = (x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)
            inside ^= (side > 0) == (y1 > y0)
    return inside


def _polygon(rings: Sequence[_Points], lattice: Lattice) -> bytes:
    return struct.pack("<BII", 1, 3, len(rings)) + b"".join(_run(r, lattice) for r in rings)


def _run(points: _Points, lattice: Lattice) -> bytes:
    flat = [ordinate for point in points for ordinate in lattice.place(point)]
    return struct.pack(f"<I{len(flat)}d", len(points), *flat)
