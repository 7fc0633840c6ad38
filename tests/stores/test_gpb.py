from __future__ import annotations

import math
import struct
from contextlib import suppress

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.stores.gpb import Envelope, envelope, sql_functions, to_blob

coordinates = st.floats(-1e6, 1e6, allow_nan=False)
pairs = st.lists(st.tuples(coordinates, coordinates, coordinates), min_size=2, max_size=6)


def header(flags: int = 1, stored: bytes = b"") -> bytes:
    return b"GP\0" + bytes([flags]) + struct.pack("<i" if flags & 1 else ">i", 4326) + stored


def ring(points: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    x, y, z = points[0]
    return [*points, (x + 1, y, z), (x, y + 1, z), points[0]]


@st.composite
def geometries(draw: st.DrawFn) -> shapely.Geometry:
    points = draw(pairs)
    if draw(st.booleans()):
        points = [point[:2] for point in points]
    kinds = [
        shapely.Point(points[0]),
        shapely.LineString(points),
        shapely.MultiPoint(points),
        shapely.MultiLineString([points, points[::-1]]),
        shapely.Polygon([*points, points[0], points[0]]),
        shapely.GeometryCollection([shapely.Point(points[-1]), shapely.LineString(points)]),
    ]
    return draw(st.sampled_from(kinds))


@given(geometries(), st.sampled_from([0, 1]), st.sampled_from(["iso", "extended"]))
def test_the_envelope_is_that_of_shapely(
    geometry: shapely.Geometry, order: int, flavor: str
) -> None:
    wkb = shapely.to_wkb(geometry, byte_order=order, flavor=flavor)
    min_x, min_y, max_x, max_y = geometry.bounds
    assert envelope(header() + wkb) == (min_x, max_x, min_y, max_y)


@pytest.mark.parametrize(
    "text",
    ["POINT EMPTY", "LINESTRING EMPTY", "POLYGON EMPTY", "GEOMETRYCOLLECTION (POINT EMPTY)"],
)
def test_empty_geometries_have_none(text: str) -> None:
    assert envelope(header() + shapely.to_wkb(shapely.from_wkt(text))) is None


def test_m_and_zm_are_stepped_over() -> None:
    for code, more in ((2002, 1), (3002, 2), (0x40000002, 1), (0xC0000002, 2)):
        points = b"".join(
            struct.pack(f"<{2 + more}d", *p)
            for p in ((1, 2, 7, 8), (3, 4, 9, 9))
            for p in [p[: 2 + more]]
        )
        wkb = struct.pack("<BII", 1, code, 2) + points
        assert envelope(header() + wkb) == Envelope(1, 3, 2, 4)


@pytest.mark.parametrize(("kind", "doubles"), [(1, 4), (2, 6), (3, 6), (4, 8)])
@pytest.mark.parametrize("little", [0, 1])
def test_a_stored_envelope_is_taken(kind: int, doubles: int, little: int) -> None:
    order = "<" if little else ">"
    stored = struct.pack(f"{order}{doubles}d", 1, 2, 3, 4, *[0] * (doubles - 4))
    assert envelope(header(kind << 1 | little, stored) + b"rest") == (1, 2, 3, 4)


def test_a_stored_envelope_of_nan_and_the_empty_flag_mean_empty() -> None:
    stored = struct.pack("<4d", *[math.nan] * 4)
    assert envelope(header(0b11, stored)) is None
    assert envelope(header(0b10001) + b"anything") is None


def arc(points: list[tuple[float, float]]) -> bytes:
    body = b"".join(struct.pack("<2d", *point) for point in points)
    return struct.pack("<BII", 1, 8, len(points)) + body


@given(st.floats(-3.1, 3.1), st.floats(0.1, 3.0), st.floats(0.1, 3.0), st.floats(0.5, 50))
def test_arcs_bulge_as_far_as_their_circle(
    start: float, first: float, second: float, radius: float
) -> None:
    angles = (start, start + first, start + first + second)
    if second + first >= 2 * math.pi - 0.05:
        return
    points = [(5 + radius * math.cos(a), -3 + radius * math.sin(a)) for a in angles]
    for ordered in (points, points[::-1]):
        found = envelope(header() + arc(ordered))
        steps = [start + (first + second) * i / 4000 for i in range(4001)]
        xs = [5 + radius * math.cos(a) for a in steps]
        ys = [-3 + radius * math.sin(a) for a in steps]
        assert found == pytest.approx((min(xs), max(xs), min(ys), max(ys)), abs=radius * 1e-5)


def test_a_full_circle_and_a_straight_arc() -> None:
    assert envelope(header() + arc([(0, 0), (4, 0), (0, 0)])) == pytest.approx((0, 4, -2, 2))
    assert envelope(header() + arc([(0, 0), (1, 1), (2, 2)])) == (0, 2, 0, 2)


def test_curves_are_found_inside_compound_curves() -> None:
    compound = struct.pack("<BII", 1, 9, 1) + arc([(0, 0), (1, 1), (2, 0)])
    polygon = struct.pack("<BII", 1, 10, 1) + compound
    assert envelope(header() + polygon) == pytest.approx((0, 2, 0, 1))


@given(st.binary(max_size=80))
def test_other_bytes_are_refused_not_crashed_on(data: bytes) -> None:
    for blob in (data, b"GP" + data, header() + data):
        with suppress(ValueError):
            assert envelope(blob) is None or len(blob) > 20


def test_the_functions_of_triggers_never_fail() -> None:
    functions = sql_functions()
    blob = header() + shapely.to_wkb(shapely.Point(1.5, -2))
    assert [functions[n](blob) for n in ("ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY")] == [
        1.5,
        1.5,
        -2,
        -2,
    ]
    assert functions["ST_IsEmpty"](blob) == 0
    for value in (None, 7, "text"):
        assert functions["ST_IsEmpty"](value) is None
        assert functions["ST_MinX"](value) is None
    assert functions["ST_IsEmpty"](b"junk") == 1
    assert functions["ST_MaxY"](b"junk") is None


@given(geometries(), st.integers(-1, 1 << 30), st.booleans())
def test_blobs_hold_the_geometry_and_its_bounds(
    shape: shapely.Geometry, srs_id: int, big: bool
) -> None:
    wkb = shapely.to_wkb(shape, flavor="iso", byte_order=0 if big else 1)
    blob = to_blob(wkb, srs_id)
    assert blob[:4] == b"GP\0\x03"  # little endian, with an envelope of x and y
    assert struct.unpack_from("<i", blob, 4) == (srs_id,)
    min_x, min_y, max_x, max_y = shape.bounds
    assert struct.unpack_from("<4d", blob, 8) == (min_x, max_x, min_y, max_y)
    assert blob[40:] == wkb
    assert envelope(blob) == Envelope(min_x, max_x, min_y, max_y)


@pytest.mark.parametrize("text", ["POLYGON EMPTY", "MULTIPOLYGON EMPTY", "POINT EMPTY"])
def test_blobs_of_nothing_say_so(text: str) -> None:
    blob = to_blob(shapely.to_wkb(shapely.from_wkt(text)), 4326)
    assert blob[3] == 0x11  # OGC 12-128r15 clause 2.1.3: the empty flag, no envelope
    assert envelope(blob) is None
    assert sql_functions()["ST_IsEmpty"](blob) == 1


@given(st.binary(max_size=60))
def test_what_is_no_well_known_binary_is_refused(junk: bytes) -> None:
    with suppress(ValueError):
        assert to_blob(junk, 1).endswith(junk)
