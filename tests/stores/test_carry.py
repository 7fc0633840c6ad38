from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attachtrans.errors import SchemaError, SourceError
from attachtrans.stores.geopackage import connect, quote
from attachtrans.stores.gpb import envelope

from .appending import append, findings, rows, value
from .gpkg import JPEG, Gpkg, attachment, point

_EMPTY_POINT = (
    b"GP\0\x11" + struct.pack("<i", 4326) + struct.pack("<BIdd", 1, 1, *[float("nan")] * 2)
)


def line(code: int, dimensions: int, *, order: str = "<") -> bytes:
    """A line of two points in WKB of this type code, with the envelope that GDAL writes."""
    header = b"GP\0" + bytes([0x02 | (order == "<")])
    header += struct.pack(f"{order}i4d", 4326, 0, 10, -5, 5)
    numbers = [0.0, -5.0, *[7.0] * (dimensions - 2), 10.0, 5.0, *[8.0] * (dimensions - 2)]
    return header + struct.pack(f"{order}BII{len(numbers)}d", order == "<", code, 2, *numbers)


def arc() -> bytes:
    header = b"GP\0\x01" + struct.pack("<i", 4326)
    return header + struct.pack("<BII6d", 1, 8, 3, 0, 0, 1, 1, 2, 0)


def spatial(path: Path, type_name: str, z: int, m: int, blobs: list[bytes | None]) -> Path:
    """Features with these geometries, each with one photo."""
    gpkg = Gpkg(path)
    gpkg.table(
        "trees",
        f'fid INTEGER PRIMARY KEY, "the geom" {type_name}, GlobalID TEXT',
        [(n, blob, f"{{{n}}}") for n, blob in enumerate(blobs, 1)],
        "features",
    )
    gpkg.sql(
        "INSERT INTO gpkg_geometry_columns VALUES ('trees', 'the geom', ?, 4326, ?, ?)",
        (type_name, z, m),
    )
    photos = [attachment(n, f"{{{n}}}") for n in range(1, len(blobs) + 1)]
    gpkg.attach("trees", "REL_GLOBALID TEXT", photos)
    return gpkg.done()


@pytest.mark.parametrize(
    ("type_name", "z", "m", "blobs"),
    [
        ("POINT", 0, 0, [point(3, 4), None, _EMPTY_POINT, point(-1, 9)]),
        ("LINESTRING", 1, 0, [line(1002, 3), line(1002, 3, order=">"), None]),
        ("LINESTRING", 0, 1, [line(2002, 3)]),
        ("LINESTRING", 1, 1, [line(3002, 4)]),
        ("GEOMETRY", 2, 2, [point(3, 4), line(2, 2), line(3002, 4)]),
        ("CIRCULARSTRING", 0, 0, [arc()]),
        ("POINT", 0, 0, [None, None]),
        ("GEOMETRY", 0, 0, [b"no geometry at all", point(1, 1)]),
    ],
)
def test_geometries_are_byte_for_byte_the_same_and_indexed(
    type_name: str, z: int, m: int, blobs: list[bytes | None], tmp_path: Path
) -> None:
    source = spatial(tmp_path / "in.gpkg", type_name, z, m, blobs)
    output = tmp_path / "out.gpkg"
    append(source, output)
    assert [g for (g,) in rows(output, 'SELECT "the geom" FROM trees ORDER BY fid')] == blobs
    registered = rows(output, "SELECT geometry_type_name, srs_id, z, m FROM gpkg_geometry_columns")
    assert registered == [(type_name, 4326, z, m)]
    bounds = [
        (fid, envelope(blob))
        for fid, blob in enumerate(blobs, 1)
        if blob and blob.startswith(b"GP") and envelope(blob)
    ]
    indexed = rows(output, 'SELECT * FROM "rtree_trees_the geom" ORDER BY id')
    assert indexed == [(fid, *found) for fid, found in bounds if found]
    extent = rows(output, "SELECT min_x, max_x, min_y, max_y FROM gpkg_contents LIMIT 1")[0]
    whole = [e for _, e in bounds if e]
    expected: tuple[float | None, ...] = (None,) * 4
    if whole:
        least, most = map(min, zip(*whole, strict=True)), map(max, zip(*whole, strict=True))
        low, high = list(least), list(most)
        expected = (low[0], high[1], low[2], high[3])
    assert extent == expected
    if b"no geometry at all" not in blobs:
        assert findings(output) == []


def test_later_features_extend_the_bounds(tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    for name, xy in (("a", (1, 1)), ("b", (5, -2)), ("c", (2, 0))):
        append(spatial(tmp_path / f"{name}.gpkg", "POINT", 0, 0, [point(*xy)]), output)
    extent = rows(output, "SELECT min_x, max_x, min_y, max_y FROM gpkg_contents LIMIT 1")
    assert extent == [(1, 5, -2, 1)]
    assert rows(output, "SELECT SRC_FILE FROM trees") == [("a.gpkg",), ("b.gpkg",), ("c.gpkg",)]


def test_every_kind_of_column_is_carried(tmp_path: Path) -> None:
    gpkg = Gpkg(tmp_path / "in.gpkg")
    gpkg.layer(
        "trees",
        "GlobalID TEXT, a VARCHAR(20) NOT NULL DEFAULT 'x''y', b, c NUMERIC(10,2), "
        "d TEXT ( 255 ), e DATETIME DEFAULT (strftime('%Y', 'now') -- year\n), f BOOLEAN, "
        'g BIGINT DEFAULT -5, h TIMESTAMP, "select" TEXT, "we""ird; --" INTEGER, '
        "j BLOB, i INTEGER GENERATED ALWAYS AS (g * 2)",
    )
    values = ("{A}", "", b"\0\1", 12.5, "long", "2024", 1, 2**60, None, "group", 3, b"bytes")
    names = 'fid, geom, GlobalID, a, b, c, d, e, f, g, h, "select", "we""ird; --", j'
    gpkg.sql(
        f"INSERT INTO trees ({names}) VALUES ({', '.join('?' * 14)})", (1, point(1, 1), *values)
    )
    gpkg.sql("INSERT INTO trees (fid, GlobalID, a) VALUES (2, '{B}', CAST(x'ff41' AS TEXT))")
    gpkg.attach("trees", "REL_GLOBALID TEXT", [attachment(1, "{A}")])
    source, output = gpkg.done(), tmp_path / "out.gpkg"
    append(source, output)
    carried = 'a, b, c, d, e, f, g, h, "select", "we""ird; --", j, i'
    hexes = ", ".join(f"typeof({n}), hex({n})" for n in carried.split(", "))
    assert rows(output, f"SELECT {hexes} FROM trees") == rows(source, f"SELECT {hexes} FROM trees")
    info = rows(output, 'SELECT name, type, "notnull", dflt_value FROM pragma_table_info("trees")')
    assert info[:14] == [
        ("fid", "INTEGER", 1, None),
        ("geom", "POINT", 0, None),
        ("a", "TEXT(20)", 1, "'x''y'"),
        ("b", "TEXT", 0, None),
        ("c", "DOUBLE", 0, None),
        ("d", "TEXT(255)", 0, None),
        ("e", "DATETIME", 0, "strftime('%Y', 'now') -- year"),
        ("f", "BOOLEAN", 0, None),
        ("g", "INTEGER", 0, "-5"),
        ("h", "DATETIME", 0, None),
        ("select", "TEXT", 0, None),
        ('we"ird; --', "INTEGER", 0, None),
        ("j", "BLOB", 0, None),
        ("i", "INTEGER", 0, None),
    ]
    assert append(source, output) == {"already": 1}


def test_features_with_the_same_globalid_or_none_are_told_apart_by_their_key(
    tmp_path: Path,
) -> None:
    gpkg = Gpkg(tmp_path / "in.gpkg")
    ids = ["{A}", "{A}", None, None, "{B}"]
    gpkg.layer("trees", "GlobalID TEXT", [(n, point(n, n), g) for n, g in enumerate(ids, 1)])
    gpkg.attach("trees", "REL_GLOBALID TEXT", [attachment(1, "{B}")])
    source, output = gpkg.done(), tmp_path / "out.gpkg"
    for _ in range(2):
        append(source, output)
        found = rows(output, "SELECT SRC_FID, SRC_GLOBALID FROM trees ORDER BY SRC_FID")
        assert found == list(enumerate(ids, 1))


def test_a_renumbered_source_is_known_by_its_globalids(tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    for start in (1, 40):
        (tmp_path / "in.gpkg").unlink(missing_ok=True)
        gpkg = Gpkg(tmp_path / "in.gpkg")
        rows_ = [(start + n, point(n, n), f"{{{n}}}") for n in range(3)]
        gpkg.layer("trees", "GlobalID TEXT", rows_)
        gpkg.attach("trees", "REL_GLOBALID TEXT", [attachment(1, "{1}")])
        append(gpkg.done(), output)
    assert value(output, "SELECT count(*) FROM trees") == 3


def test_a_layer_without_integer_key_gets_one(tmp_path: Path) -> None:
    gpkg = Gpkg(tmp_path / "in.gpkg")
    gpkg.table("trees", "fid TEXT, GlobalID TEXT", [("x", "{A}"), ("y", "{B}")], "attributes")
    gpkg.attach("trees", "REL_GLOBALID TEXT", [attachment(1, "{B}")])
    output = tmp_path / "out.gpkg"
    append(gpkg.done(), output)
    assert rows(output, "SELECT fid_2, fid, SRC_FID FROM trees") == [(1, "x", 1), (2, "y", 2)]
    kinds = dict(rows(output, "SELECT table_name, data_type FROM gpkg_contents"))
    assert kinds == {"trees": "attributes", "trees__ATTACH": "attributes"}
    assert findings(output) == []


def other_crs(path: Path, srs_id: int, organization: str, code: int, definition: str) -> Path:
    """One point in a CRS of this row."""
    gpkg = Gpkg(path)
    gpkg.sql(
        "INSERT OR REPLACE INTO gpkg_spatial_ref_sys VALUES ('CRS', ?, ?, ?, ?, NULL)",
        (srs_id, organization, code, definition),
    )
    blob = b"GP\0\1" + struct.pack("<i", srs_id) + point(1, 2)[8:]
    gpkg.layer("trees", "GlobalID TEXT", [(1, blob, "{A}")])
    gpkg.sql("UPDATE gpkg_geometry_columns SET srs_id = ?", (srs_id,))
    gpkg.attach("trees", "REL_GLOBALID TEXT", [attachment(1, "{A}")])
    return gpkg.done()


def test_a_crs_keeps_its_definition_where_its_number_is_taken(tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    first = other_crs(tmp_path / "a.gpkg", 100000, "NONE", 100000, 'LOCAL_CS["one"]')
    second = other_crs(tmp_path / "b.gpkg", 100000, "NONE", 100000, 'LOCAL_CS["two"]')
    third = other_crs(tmp_path / "c.gpkg", 7, "NONE", 7, 'LOCAL_CS["one"]')
    append(first, output, to="one")
    append(second, output, to="two")
    append(third, output, to="one")
    found = dict(rows(output, "SELECT srs_id, definition FROM gpkg_spatial_ref_sys"))
    assert {n: found[n] for n in (100000, 100001)} == {
        100000: 'LOCAL_CS["one"]',
        100001: 'LOCAL_CS["two"]',
    }
    assert dict(rows(output, "SELECT table_name, srs_id FROM gpkg_geometry_columns")) == {
        "one": 100000,
        "two": 100001,
    }
    headers = [blob[4:8] for (blob,) in rows(output, "SELECT geom FROM two")]
    headers += [blob[4:8] for (blob,) in rows(output, "SELECT geom FROM one")]
    assert [struct.unpack("<i", h)[0] for h in headers] == [100001, 100000, 100000]
    assert findings(output) == []


def test_another_crs_is_refused_not_transformed(tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    append(other_crs(tmp_path / "a.gpkg", 25832, "EPSG", 25832, "PROJCS[...]"), output)
    with pytest.raises(SchemaError, match=r"trees is in EPSG:25832 \(CRS\).*EPSG:4326"):
        append(spatial(tmp_path / "b.gpkg", "POINT", 0, 0, [point(1, 1)]), output)
    append(other_crs(tmp_path / "c.gpkg", 999, "epsg", 25832, "PROJCS[other]"), output)
    assert value(output, "SELECT count(*) FROM trees") == 2


def test_a_crs_given_as_wkt2_only_brings_its_extension(tmp_path: Path) -> None:
    source = other_crs(tmp_path / "a.gpkg", 100002, "NONE", 100002, "undefined")
    connection = sqlite3.connect(source)
    connection.executescript(
        "ALTER TABLE gpkg_spatial_ref_sys ADD definition_12_063 TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE gpkg_spatial_ref_sys ADD epoch DOUBLE;"
        "UPDATE gpkg_spatial_ref_sys SET definition_12_063 = 'GEOGCRS[...]', epoch = 2010 "
        "WHERE srs_id = 100002"
    )
    connection.close()
    output = tmp_path / "out.gpkg"
    append(source, output)
    append(source, output)
    query = (
        "SELECT srs_id, definition, definition_12_063, epoch FROM gpkg_spatial_ref_sys "
        "WHERE srs_id > 5000"
    )
    assert rows(output, query) == [(100002, "undefined", "GEOGCRS[...]", 2010)]
    assert findings(output) == []


def test_a_crs_that_the_source_does_not_define_is_named(tmp_path: Path) -> None:
    source = other_crs(tmp_path / "a.gpkg", 100002, "NONE", 100002, "x")
    connection = sqlite3.connect(source)
    connection.execute("DELETE FROM gpkg_spatial_ref_sys WHERE srs_id = 100002")
    connection.commit()
    connection.close()
    with pytest.raises(SourceError, match="srs_id 100002, which the file does not define"):
        append(source, tmp_path / "out.gpkg")


def test_titles_and_domains_of_columns_are_carried(shared: Path, tmp_path: Path) -> None:
    source = tmp_path / "domains.gpkg"
    source.write_bytes((shared / "data" / "geopackage" / "domains.gpkg").read_bytes())
    connection = connect(source, write=True)
    connection.execute("ALTER TABLE test ADD photo BLOB")
    connection.execute("INSERT INTO test (photo) VALUES (?)", (JPEG,))
    connection.close()
    output = tmp_path / "out.gpkg"
    append(source, output, layer="test")
    append(source, output, layer="test", to="again")
    for table in ("test", "again"):
        query = (
            "SELECT column_name, title, description, mime_type, constraint_name FROM "
            f"gpkg_data_columns WHERE table_name = '{table}' ORDER BY 1"
        )
        assert rows(output, query) == rows(source, query.replace("again", "test"))
    query = (
        "SELECT * FROM gpkg_data_column_constraints WHERE constraint_name IN "
        "(SELECT constraint_name FROM gpkg_data_columns) ORDER BY 1, 3"
    )
    assert len(rows(output, query)) > 3
    assert rows(output, query) == rows(source, query)
    assert findings(output) == []


def test_a_file_of_version_1_4_gets_its_triggers(tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    append(spatial(tmp_path / "a.gpkg", "POINT", 0, 0, [point(1, 1)]), output)
    connection = sqlite3.connect(output)
    connection.execute("PRAGMA user_version = 10400")
    connection.close()
    append(spatial(tmp_path / "b.gpkg", "POINT", 0, 0, [point(1, 1)]), output, to="new")
    found = [f for f in findings(output) if "rtree_new" in f]
    assert found == []
    assert value(output, "PRAGMA user_version") == 10400
    query = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'rtree_new%update_'"
    assert value(output, query) == 5


@pytest.mark.parametrize("version", [10200, 10400])
def test_the_index_follows_edits_by_others(version: int, tmp_path: Path) -> None:
    output = tmp_path / "out.gpkg"
    source = spatial(tmp_path / "a.gpkg", "POINT", 0, 0, [point(1, 1), point(2, 2), None])
    append(source, output, to="first")
    connection = sqlite3.connect(output, isolation_level=None)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    append(source, output)

    connection = connect(output, write=True)
    geometry = '"the geom"'
    connection.execute(f"UPDATE trees SET {geometry} = ? WHERE fid = 1", (point(7, 8),))
    connection.execute(f"UPDATE trees SET {geometry} = NULL WHERE fid = 2")
    connection.execute(f"UPDATE trees SET {geometry} = ? WHERE fid = 3", (point(5, 5),))
    connection.execute("UPDATE trees SET fid = 30 WHERE fid = 3")
    found = connection.execute('SELECT id, minx, miny FROM "rtree_trees_the geom"').fetchall()
    assert sorted(found) == [(1, 7, 8), (30, 5, 5)]
    connection.execute("DELETE FROM trees WHERE fid = 1")
    connection.execute('UPDATE trees SET fid = 31, "the geom" = NULL WHERE fid = 30')
    assert connection.execute('SELECT id FROM "rtree_trees_the geom"').fetchall() == []
    connection.close()


names = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("Cs",)),
    min_size=1,
    max_size=40,
).filter(lambda n: n.strip() and not n.lower().startswith(("sqlite_", "gpkg_", "rtree_")))


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    layer=names.filter(lambda n: n.lower() != "layer_styles"),
    column=names.filter(lambda n: n.lower() not in {"fid", "geom", "globalid"}),
    layout=st.sampled_from(["attach", "media", "blob", "folder"]),
)
def test_any_name_does(tmp_path: Path, layer: str, column: str, layout: str) -> None:
    for old in tmp_path.glob("*.gpkg"):
        old.unlink()
    gpkg = Gpkg(tmp_path / "in.gpkg")
    gpkg.layer("trees", f"GlobalID TEXT, {quote(column)} TEXT", [(1, point(1, 2), "{A}", "v")])
    gpkg.attach("trees", "REL_GLOBALID TEXT", [attachment(1, "{A}")])
    source, output = gpkg.done(), tmp_path / "out.gpkg"
    assert append(source, output, layout, to=layer) == {"done": 1}
    assert append(source, output, layout, to=layer) == {"already": 1}
    assert "v" in rows(output, f"SELECT * FROM {quote(layer)}")[0]
    assert value(output, "PRAGMA integrity_check") == "ok"
    assert rows(output, "PRAGMA foreign_key_check") == []
