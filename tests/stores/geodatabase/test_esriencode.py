"""Geometries made for mobile geodatabases: real ones come out as Esri's software wrote them."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.stores.geodatabase.esriencode import encode
from attachtrans.stores.geodatabase.esrishape import Lattice, to_wkb
from attachtrans.stores.geodatabase.mobile import read_shapes
from tests.stores.geodatabase.test_esrishape import blob as esri_blob
from tests.stores.geodatabase.test_esrishape import square

LATTICE = Lattice(false_x=-400.0, false_y=-400.0, units=1_000_000.0)
COUNTS = Lattice(false_x=0.0, false_y=0.0, units=1.0)
SRID = 4326
REAL = {"USMajorCities": "POINT", "USMajorHighways": "MULTILINESTRING", "USStates": "MULTIPOLYGON"}


def without_padding(blob: bytes) -> bytes:
    """A geometry with zeros in the place of what the four bytes of a length leave over."""
    count, at, several = int.from_bytes(blob[4:8], "little"), 10, bool(blob[9] & 0x40)

    def varint() -> int:
        nonlocal at
        value, shift = blob[at] & 0x3F, 6
        while blob[at] & 0x80:
            at += 1
            value |= (blob[at] & 0x7F) << shift
            shift += 7
        at += 1
        return value

    for _ in range(4 * (count > 10)):
        varint()
    for _ in range(varint() if several else 0):
        varint()
    start = at
    length = varint()
    assert start + 8 + length == len(blob)
    return blob[:at] + bytes(start + 4 - at) + blob[start + 4 :]


@pytest.mark.slow
@pytest.mark.parametrize("table", REAL)
def test_real_geometries_come_out_byte_for_byte(table: str, shared: Path) -> None:
    """Read in counts of the lattice, which floats hold exactly; and where they lie in the CRS."""
    path = shared / "data" / "geopackage" / "esri_usa.geodatabase"
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        shapes = read_shapes(connection, table)
        assert shapes is not None
        rows = connection.execute(
            f"SELECT Shape, minx, maxx, miny, maxy FROM {table} "
            f"JOIN st_spindex__{table}_Shape ON pkid = OBJECTID"
        ).fetchall()
    index = sqlite3.connect(":memory:")
    index.execute("CREATE VIRTUAL TABLE r USING RTREE (pkid,minx,maxx,miny,maxy)")
    for number, (blob, *bounds) in enumerate(rows):
        wkb = to_wkb(blob, COUNTS)
        assert wkb is not None
        made = encode(wkb, COUNTS, shapes.srid, REAL[table])
        assert made is not None
        assert without_padding(made.blob) == without_padding(blob)
        wkb = to_wkb(blob, shapes.lattice)
        assert wkb is not None
        made = encode(wkb, shapes.lattice, shapes.srid, REAL[table])
        assert made is not None
        assert to_wkb(made.blob, shapes.lattice) == wkb
        index.execute("INSERT INTO r VALUES (?, ?, ?, ?, ?)", (number, *made.bounds))
        query = "SELECT minx, maxx, miny, maxy FROM r WHERE pkid = ?"
        assert index.execute(query, (number,)).fetchone() == tuple(bounds)
    index.close()
    assert len(rows) in (118, 228, 49)


degrees = st.tuples(st.floats(-180, 180), st.floats(-90, 90))
counts = st.tuples(st.integers(0, 10**15), st.integers(0, 10**15))


@given(degrees)
def test_points_go_to_the_nearest_place_of_the_lattice(point: tuple[float, float]) -> None:
    made = encode(shapely.Point(point).wkb, LATTICE, SRID, "POINT")
    assert made is not None
    read = shapely.from_wkb(to_wkb(made.blob, LATTICE))
    assert (read.x, read.y) == pytest.approx(point, abs=0.51e-6)
    assert made.bounds == (read.x, read.x, read.y, read.y)
    assert len(made.blob) >= 18


@given(counts, st.floats(-1e7, 1e7), st.sampled_from([1.0, 1e4, 147894671.5174119]))
def test_a_place_of_the_lattice_is_found_again(
    point: tuple[int, int], false: float, units: float
) -> None:
    lattice = Lattice(false_x=false, false_y=-false, units=units)
    place = lattice.place(point)
    assert lattice.place(lattice.index(*place)) == place


lines = st.lists(counts, min_size=2, max_size=9, unique=True)


@given(st.lists(lines, min_size=1, max_size=3))
def test_lines_come_out_as_they_went_in(parts: list[list[tuple[int, int]]]) -> None:
    made = encode(shapely.MultiLineString(parts).wkb, COUNTS, SRID, "MULTILINESTRING")
    assert made is not None
    read = shapely.from_wkb(to_wkb(made.blob, COUNTS))
    assert [list(line.coords) for line in read.geoms] == parts
    assert read.is_simple == (made.blob[9] & 4 == 4)


def test_rings_are_turned_and_parts_told_apart() -> None:
    outer, hole, other = square(0, 0, 9), square(2, 2, 3), square(20, 0, 5, hole=True)
    areas = shapely.MultiPolygon([shapely.Polygon(outer, [hole]), shapely.Polygon(other)])
    made = encode(areas.wkb, COUNTS, SRID, "MULTIPOLYGON")
    assert made is not None
    expected = esri_blob((0x18, 0x48), [[*outer, *hole[::-1]], other[::-1]])
    assert without_padding(made.blob) == without_padding(expected)
    single = encode(shapely.Polygon(outer).wkb, COUNTS, SRID, "MULTIPOLYGON")
    assert single is not None
    assert single.blob[9] == 8


def test_empty_geometries_are_none() -> None:
    assert encode(shapely.MultiPolygon().wkb, LATTICE, SRID, "MULTIPOLYGON") is None
    assert encode(shapely.from_wkt("POINT EMPTY").wkb, LATTICE, SRID, "POINT") is None


@pytest.mark.parametrize(
    ("wkb", "type_name", "message"),
    [
        (shapely.Point(1, 2).wkb, "MULTIPOLYGON", "type MULTIPOLYGON"),
        (struct.pack("<BI3d", 1, 1001, 1, 2, 3), "POINT", "type 1001"),
        (shapely.Point(1, 2).wkb, "MULTIPOINT", "type MULTIPOINT"),
        (shapely.Point(-500, 2).wkb, "POINT", "outside of the coordinates"),
        (struct.pack("<BI2d", 1, 1, float("inf"), 2), "POINT", "no numbers"),
        (struct.pack("<BI", 1, 2), "MULTILINESTRING", "no well-known binary"),
        (shapely.LineString([(1, 1), (1, 1 + 1e-9)]).wkb, "MULTILINESTRING", "without length"),
        (shapely.Polygon([(0, 0), (1e-9, 0), (0, 1e-9)]).wkb, "MULTIPOLYGON", "without area"),
        (shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]).wkb, "MULTIPOLYGON", "repair it"),
    ],
)
def test_what_a_class_cannot_hold_is_refused(wkb: bytes, type_name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(wkb, LATTICE, SRID, type_name)


def test_more_dimensions_are_refused() -> None:
    deep = Lattice(false_x=0, false_y=0, units=1, known=False)
    with pytest.raises(ValueError, match="Z or M"):
        encode(shapely.Point(1, 2).wkb, deep, SRID, "POINT")
