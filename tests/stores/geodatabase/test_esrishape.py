"""Geometries of mobile geodatabases: what goes in comes out; real ones lie where R-trees say."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.stores.geodatabase.esrishape import Lattice, to_wkb

LATTICE = Lattice(false_x=-400.0, false_y=-400.0, units=1_000_000.0)
_TAIL = b"\0\0\0\1\0\0\0"


def varint(value: int) -> bytes:
    first, rest = abs(value) & 0x3F | 0x40 * (value < 0), abs(value) >> 6
    out = [first]
    while rest:
        out[-1] |= 0x80
        out.append(rest & 0x7F)
        rest >>= 7
    return bytes(out)


def blob(kinds: tuple[int, int], parts: list[list[tuple[int, int]]]) -> bytes:
    """A geometry of these parts, with bounds as Esri's software writes them for larger ones."""
    points = [*parts[0]]
    for part in parts[1:]:
        points += [(-1, 0), *part]
    steps, (x, y) = [], (0, 0)
    for px, py in points:
        steps += [px - x, py - y]
        x, y = px, py
    data = b"".join(map(varint, steps))
    head = struct.pack("<B3sIBB", 0x64, b"\xe6\x10\0", len(points), *kinds)
    if kinds[1] & 0x40 or len(points) > 8:
        xs, ys = zip(*(p for part in parts for p in part), strict=True)
        head += b"".join(map(varint, (min(xs), min(ys), max(xs), max(ys))))
    if kinds[1] & 0x40:
        sizes = [len(part) + 1 for part in parts[:-1]]
        head += varint(len(sizes)) + b"".join(map(varint, sizes))
    return head + varint(len(data)) + _TAIL + data


coordinates = st.tuples(st.integers(1, 10**9), st.integers(1, 10**9))


@given(coordinates)
def test_points(point: tuple[int, int]) -> None:
    read = shapely.from_wkb(to_wkb(blob((0x04, 1), [[point]]), LATTICE))
    assert (read.x, read.y) == pytest.approx(LATTICE.place(point), abs=1e-9)


@given(st.lists(st.lists(coordinates, min_size=2, max_size=12), min_size=1, max_size=4))
def test_lines(parts: list[list[tuple[int, int]]]) -> None:
    kinds = (0x14, 0x04 | 0x40 * (len(parts) > 1))
    read = shapely.from_wkb(to_wkb(blob(kinds, parts), LATTICE))
    assert [list(line.coords) for line in read.geoms] == [
        [LATTICE.place(point) for point in part] for part in parts
    ]


def square(x: int, y: int, size: int, *, hole: bool = False) -> list[tuple[int, int]]:
    ring = [(x, y), (x + size, y), (x + size, y + size), (x, y + size), (x, y)]
    return ring[::-1] if hole else ring


def test_areas_with_holes_and_several_parts() -> None:
    outer, other = square(1000, 1000, 900), square(5000, 1000, 90)
    hole = square(1100, 1100, 50, hole=True)
    expected = shapely.MultiPolygon(
        [
            shapely.Polygon([LATTICE.place(p) for p in outer], [[LATTICE.place(p) for p in hole]]),
            shapely.Polygon([LATTICE.place(p) for p in other]),
        ]
    )
    for parts in ([outer, hole, other], [[*outer, *hole], other]):
        read = shapely.from_wkb(to_wkb(blob((0x18, 0x48), parts), LATTICE))
        assert read.is_valid
        assert shapely.equals(read, expected)


def test_nothing_is_no_geometry() -> None:
    assert to_wkb(None, LATTICE) is None
    empty = bytes.fromhex("64e610000000000018000000000001000000")
    assert to_wkb(empty, LATTICE) is None


@given(st.binary(max_size=60))
def test_anything_else_is_refused_in_one_way(noise: bytes) -> None:
    for data in (noise, b"\x64\xe6\x10\0" + noise, b"\x64\xe6\x10\0\2\0\0\0\x14\4" + noise):
        try:
            to_wkb(data, LATTICE)
        except ValueError:
            continue


def test_more_dimensions_are_refused() -> None:
    deep = Lattice(false_x=0, false_y=0, units=1, known=False)
    with pytest.raises(ValueError, match="with Z, M, curves"):
        to_wkb(blob((0x04, 1), [[(5, 5)]]), deep)


def test_real_geometries_lie_where_the_r_trees_say(shared: Path) -> None:
    path = shared / "data" / "geopackage" / "esri_usa.geodatabase"
    seen = 0
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        false_x, false_y, units = connection.execute(
            "SELECT falsex, falsey, xyunits FROM st_aux_spatial_reference_systems "
            "WHERE srid = 300001"
        ).fetchone()
        lattice = Lattice(false_x=false_x, false_y=false_y, units=units)
        for table in ("USMajorCities", "USMajorHighways", "USStates"):
            rows = connection.execute(
                f"SELECT Shape, minx, miny, maxx, maxy FROM {table} "
                f"JOIN st_spindex__{table}_Shape ON pkid = OBJECTID"
            )
            for shape, *bounds in rows:
                read = shapely.from_wkb(to_wkb(shape, lattice))
                assert read.is_valid
                # The index holds 32-bit numbers, rounded outwards.
                assert read.bounds == pytest.approx(bounds, abs=2.0)
                seen += 1
    assert seen == 118 + 228 + 49
