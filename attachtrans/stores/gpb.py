"""GeoPackage geometry blobs: the header and the envelope.

Format: OGC 12-128r18 clause 2.1.3 (header) and ISO 13249-3 / OGC 06-103r4 (well-known binary).
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

_MAGIC = b"GP"
_DOUBLES_OF_ENVELOPE = {0: 0, 1: 4, 2: 6, 3: 6, 4: 8}
_VENDORS = 0x20  # the flag of an ExtendedGeoPackageBinary
_POINT, _LINESTRING, _POLYGON = 1, 2, 3
_CIRCULARSTRING, _TRIANGLE = 8, 17
_COLLECTIONS = frozenset({4, 5, 6, 7, 9, 10, 11, 12, 15, 16})
_EWKB_Z, _EWKB_M, _EWKB_SRID = 0x80000000, 0x40000000, 0x20000000


class Envelope(NamedTuple):
    """Bounds in the layer's CRS, in the order that GeoPackage stores them."""

    min_x: float
    max_x: float
    min_y: float
    max_y: float


def envelope(blob: bytes) -> Envelope | None:
    """Bounds of a GeoPackage geometry blob, None when it is empty.

    Taken from the header where it has them; points and many small geometries have none, so the
    well-known binary is walked: every type with Z and M, nested collections, and circular strings
    with the bulge of their arcs. Raises ValueError when the blob is not a GeoPackage geometry.
    """
    try:
        return _envelope(blob)
    except (struct.error, IndexError, KeyError) as error:
        message = f"not a GeoPackage geometry: {error}"
        raise ValueError(message) from error


def _envelope(blob: bytes) -> Envelope | None:
    if blob[:2] != _MAGIC:
        message = "not a GeoPackage geometry: it does not begin with 'GP'"
        raise ValueError(message)
    flags = blob[3]
    order = "<" if flags & 1 else ">"
    doubles = _DOUBLES_OF_ENVELOPE[flags >> 1 & 7]
    if flags & 0x10:
        return None
    if doubles:
        stored = Envelope._make(struct.unpack_from(f"{order}4d", blob, 8))
        return None if any(math.isnan(value) for value in stored) else stored
    return _bounds(_Walk(blob, 8).points())


def to_blob(wkb: bytes, srs_id: int) -> bytes:
    """A GeoPackage geometry blob of a well-known binary (ISO), with its envelope.

    Raises ValueError when it is not well-known binary.
    """
    try:
        bounds = _bounds(_Walk(wkb, 0).points())
    except (struct.error, IndexError, KeyError) as error:
        message = f"not a well-known binary: {error}"
        raise ValueError(message) from error
    if bounds is None:
        return struct.pack("<2sBBi", _MAGIC, 0, 0x11, srs_id) + wkb
    return struct.pack("<2sBBi4d", _MAGIC, 0, 0x03, srs_id, *bounds) + wkb


def well_known(blob: object) -> bytes | None:
    """The well-known binary in a GeoPackage geometry.

    None for NULL, for what is no geometry, and for a vendor's own encoding.
    """
    if not isinstance(blob, bytes) or blob[:2] != _MAGIC or len(blob) < 8 or blob[3] & _VENDORS:
        return None
    doubles = _DOUBLES_OF_ENVELOPE.get(blob[3] >> 1 & 7)
    return None if doubles is None else blob[8 + 8 * doubles :]


def _bounds(chunks: Iterable[tuple[array[float], array[float]]]) -> Envelope | None:
    min_x = min_y = math.inf
    max_x = max_y = -math.inf
    for xs, ys in chunks:
        for x, y in zip(xs, ys, strict=True):
            if x == x and y == y:  # noqa: PLR0124  NaN marks an empty point
                min_x, max_x = min(min_x, x), max(max_x, x)
                min_y, max_y = min(min_y, y), max(max_y, y)
    return None if min_x > max_x else Envelope(min_x, max_x, min_y, max_y)


class _Walk:
    """Reads one well-known binary, remembering how far it has come."""

    def __init__(self, blob: bytes, offset: int) -> None:
        self._blob = blob
        self._offset = offset

    def points(self) -> Iterator[tuple[array[float], array[float]]]:
        """Yield (xs, ys) of each run of points, and of what arcs add to them."""
        order = "<" if self._blob[self._offset] else ">"
        self._offset += 1
        kind, dimensions = self._type(order)
        if kind == _POINT:
            yield self._coordinates(order, 1, dimensions)
        elif kind == _LINESTRING:
            yield self._coordinates(order, self._count(order), dimensions)
        elif kind == _CIRCULARSTRING:
            xs, ys = self._coordinates(order, self._count(order), dimensions)
            yield xs, ys
            yield _bulges(xs, ys)
        elif kind in (_POLYGON, _TRIANGLE):
            for _ in range(self._count(order)):
                yield self._coordinates(order, self._count(order), dimensions)
        elif kind in _COLLECTIONS:
            for _ in range(self._count(order)):
                yield from self.points()
        else:
            message = f"not a GeoPackage geometry: unknown geometry type {kind}"
            raise ValueError(message)

    def _type(self, order: str) -> tuple[int, int]:
        """Geometry type without its dimension marks, and the number of ordinates of a point."""
        code = self._count(order)
        marks = bool(code & _EWKB_Z) + bool(code & _EWKB_M)
        if code & _EWKB_SRID:
            self._offset += 4
        code &= 0x0FFFFFFF
        marks += (0, 1, 1, 2)[code // 1000]
        return code % 1000, 2 + marks

    def _count(self, order: str) -> int:
        (value,) = struct.unpack_from(f"{order}I", self._blob, self._offset)
        self._offset += 4
        return int(value)

    def _coordinates(
        self, order: str, count: int, dimensions: int
    ) -> tuple[array[float], array[float]]:
        end = self._offset + 8 * dimensions * count
        if end > len(self._blob):
            message = "not a GeoPackage geometry: it is cut off"
            raise ValueError(message)
        values = array("d", self._blob[self._offset : end])
        if (order == "<") != (sys.byteorder == "little"):
            values.byteswap()
        self._offset = end
        return values[0::dimensions], values[1::dimensions]


def _bulges(xs: array[float], ys: array[float]) -> tuple[array[float], array[float]]:
    """Outermost points of the arcs through (start, middle, end), (end, middle, end), ..."""
    out_x, out_y = array("d"), array("d")
    for i in range(0, len(xs) - 2, 2):
        ax, ay, bx, by, cx, cy = xs[i], ys[i], xs[i + 1], ys[i + 1], xs[i + 2], ys[i + 2]
        if (ax, ay) == (cx, cy):  # a full circle: the middle point is opposite
            x0, y0 = (ax + bx) / 2, (ay + by) / 2
        else:
            twice_area = 2 * ((bx - ax) * (cy - ay) - (cx - ax) * (by - ay))
            if twice_area == 0:
                continue
            b2 = (bx - ax) ** 2 + (by - ay) ** 2
            c2 = (cx - ax) ** 2 + (cy - ay) ** 2
            x0 = ax + ((cy - ay) * b2 - (by - ay) * c2) / twice_area
            y0 = ay + ((bx - ax) * c2 - (cx - ax) * b2) / twice_area
        radius = math.hypot(ax - x0, ay - y0)
        start, middle, end = (math.atan2(y - y0, x - x0) for x, y in ((ax, ay), (bx, by), (cx, cy)))
        for quarter in range(4):
            if _on_arc(quarter * math.pi / 2, start, middle, end):
                out_x.append(x0 + radius * (1, 0, -1, 0)[quarter])
                out_y.append(y0 + radius * (0, 1, 0, -1)[quarter])
    return out_x, out_y


def _on_arc(angle: float, start: float, middle: float, end: float) -> bool:
    """Whether the arc from start over middle to end passes an angle (radians)."""
    turn = 2 * math.pi
    if start == end:
        return True
    to_middle, to_end = (middle - start) % turn, (end - start) % turn
    to_angle = (angle - start) % turn
    return to_angle <= to_end if to_middle <= to_end else to_angle >= to_end


def sql_functions() -> dict[str, Callable[[object], float | int | None]]:
    """The functions that triggers of R-tree indexes call, by name, for one argument each.

    They give NULL for NULL, for empty geometries (ST_IsEmpty gives 1) and for anything that is
    not a geometry, as GDAL's do: a trigger must not fail because of a neighbour's bad blob.
    """

    def bounds(value: object) -> Envelope | None:
        if not isinstance(value, bytes):
            return None
        try:
            return envelope(value)
        except ValueError:
            return None

    def edge(index: int) -> Callable[[object], float | None]:
        def function(value: object) -> float | None:
            found = bounds(value)
            return None if found is None else found[index]

        return function

    def is_empty(value: object) -> int | None:
        return int(bounds(value) is None) if isinstance(value, bytes) else None

    return {
        "ST_IsEmpty": is_empty,
        "ST_MinX": edge(0),
        "ST_MaxX": edge(1),
        "ST_MinY": edge(2),
        "ST_MaxY": edge(3),
    }
