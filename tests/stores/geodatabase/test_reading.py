"""Geodatabases read: which photos, of which features, with which values, as other readers say."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import zipfile
from contextlib import closing
from pathlib import Path

import fiona
import pytest
import shapely

from attachtrans.errors import LayoutError, SourceError
from attachtrans.stores.attributes import FeatureReader
from attachtrans.stores.catalog import detect, inspect
from attachtrans.stores.geodatabase.edition import beside
from attachtrans.stores.geodatabase.gdal import created, opened
from attachtrans.stores.geodatabase.kinds import Kind, kind_of
from attachtrans.stores.geodatabase.source import Geodatabase, as_source
from attachtrans.stores.geodatabase.specs import FieldSpec, FieldType, LayerSpec
from attachtrans.stores.inventory import inventory
from attachtrans.stores.photos import open_photos
from attachtrans.stores.selection import Selection
from attachtrans.stores.vectortable import paths_of
from attachtrans.types import FeatureRef
from tests.stores.geodatabase.world import photos_in, rows, source
from tests.stores.gpkg import JPEG


def test_photos_hang_on_the_features_that_their_relations_name(gdb: Path) -> None:
    photos = source(gdb)
    found = {item.key: item.features for item in photos}
    ids = {name: FeatureRef("assets", int(name[-1])) for name in ("asset1", "asset2", "asset3")}
    assert found == {
        "assets__ATTACH.DATA/1": (ids["asset1"],),
        "assets__ATTACH.DATA/2": (ids["asset1"],),
        "assets__ATTACH.DATA/3": (ids["asset2"],),
        "assets__ATTACH.DATA/4": (ids["asset2"],),
        "assets__ATTACH.DATA/6": (ids["asset3"],),
        "section_photos.DATA/1": (FeatureRef("sections", 2),),
    }
    photos.close()


@pytest.mark.parametrize("kind", ["gdb", "mobile"])
def test_content_is_what_other_readers_find(kind: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(kind)
    photos = source(path)
    expected = photos_in(path)
    read = {item.key.replace(".DATA/", "/"): photos.read(item) for item in photos}
    assert read == expected
    for item in photos:
        data = photos.read(item)
        assert item.nbytes == len(data)
        assert photos.read_head(item, 4) == data[:4]
    photos.close()


def test_both_kinds_hold_the_same_assets(gdb: Path, mobile: Path) -> None:
    found = []
    for path in (gdb, mobile):
        photos = source(path, layer="assets")
        with closing(FeatureReader(photos.database, photos.tables)) as reader:
            features = [reader.read(ref) for ref in photos.features()]
        found.append(
            [
                (f.attributes["GlobalID"], f.attributes["name"], f.attributes["seen"][:16])
                for f in features
                if f is not None
            ]
        )
        places = [f and f.geometry and shapely.from_wkb(f.geometry) for f in features]
        found.append([p and (round(p.x, 3), round(p.y, 3)) for p in places])
        photos.close()
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert found[1][3] is None


def test_a_zipped_geodatabase_is_read_and_not_written(gdb: Path, tmp_path: Path) -> None:
    for name in ("a.zip", "a.gdb.zip"):
        archive = tmp_path / name
        with zipfile.ZipFile(archive, "w") as file:
            for one in gdb.iterdir():
                file.write(one, f"deep/folder/data.gdb/{one.name}")
        assert kind_of(archive) is Kind.ZIPPED
        photos = source(archive)
        assert len(photos) == 6
        assert all("Unzip it first" in (table.read_only or "") for table in photos.tables)
        photos.close()
    empty = tmp_path / "photos.zip"
    with zipfile.ZipFile(empty, "w") as file:
        file.writestr("a.jpg", JPEG)
    assert kind_of(empty) is None


def test_conditions_choose_features(gdb: Path) -> None:
    opened_source = as_source(gdb)
    tables = detect(opened_source, layer="assets")
    with closing(open_photos(opened_source, tables, Selection(where="condition = 2"))) as photos:
        assert {item.features[0].fid for item in photos} == {2}
    east, north = 561_230 + 37.5 * 3, 5_652_410 + 21.25 * 3
    around = (east - 1, north - 1, east + 1, north + 1)
    with closing(open_photos(opened_source, tables, Selection(bbox=around))) as photos:
        assert {item.features[0].fid for item in photos} == {3}


def test_the_mirror_goes_with_its_source(gdb: Path) -> None:
    opened_source = as_source(gdb)
    assert isinstance(opened_source, Geodatabase)
    mirror = opened_source.database
    assert mirror.exists()
    del opened_source
    assert not mirror.parent.exists()


def test_the_inventory_counts_what_is_there(gdb: Path) -> None:
    opened_source = as_source(gdb)
    found = inventory(opened_source, inspect(opened_source))
    assert found.path == gdb
    assert {layer.table: layer.rows for layer in found.layers} == {
        "assets": 4,
        "assets__ATTACH": 6,
        "sections": 2,
        "section_photos": 1,
        "remarks": 1,
    }
    attached = found.places[0]
    assert (attached.attachments, attached.empty, attached.features_without) == (5, 1, 1)
    assert attached.nbytes == sum(
        len(data) for key, data in photos_in(gdb).items() if key.startswith("assets")
    )


def test_a_table_called_attach_needs_no_relationship_class(tmp_path: Path) -> None:
    path = tmp_path / "plain.gdb"
    number = FieldSpec(name="REL_OBJECTID", type=FieldType.INTEGER)
    with created(path) as file:
        file.make_layer(_spec("trees", 1))
        name = FieldSpec(name="ATT_NAME", type=FieldType.STRING)
        content = FieldSpec(name="DATA", type=FieldType.BINARY)
        file.make_layer(_spec("trees__ATTACH", 100, number, name, content))
        file.insert("trees", {}, struct.pack("<BI2d", 1, 1, 5, 50))
        file.insert("trees__ATTACH", {"REL_OBJECTID": 1, "DATA": JPEG})
        file.insert("trees__ATTACH", {"REL_OBJECTID": 7, "DATA": JPEG})
    photos = source(path)
    # Nothing renumbers features in a geodatabase, so an orphan is one leftover, no wrong join.
    assert [item.features for item in photos] == [(FeatureRef("trees", 1),), ()]
    photos.close()


@pytest.mark.parametrize(
    ("code", "wkt"),
    [
        (1001, "POINT Z (1 2 3)"),
        (2001, "POINT M (1 2 4)"),
        (3001, "POINT ZM (1 2 3 4)"),
        (1005, "MULTILINESTRING Z ((0 0 1, 5 5 2), (1 0 1, 1 9 1))"),
        (6, "MULTIPOLYGON (((0 0, 0 9, 9 9, 0 0), (1 2, 1 3, 2 3, 1 2)), ((9 0, 9 1, 10 1, 9 0)))"),
    ],
    ids=["z", "m", "zm", "lines", "hole"],
)  # fmt: skip
def test_geometries_keep_their_dimensions(code: int, wkt: str, tmp_path: Path) -> None:
    path = tmp_path / "shapes.gdb"
    shape = shapely.from_wkt(wkt)
    wkb = shapely.to_wkb(shape, flavor="iso", output_dimension=4)
    with created(path) as file:
        file.make_layer(_spec("things", code))
        file.insert("things", {}, wkb)
        file.make_layer(
            _spec(
                "things__ATTACH",
                100,
                FieldSpec(name="REL_OBJECTID", type=FieldType.INTEGER),
                FieldSpec(name="DATA", type=FieldType.BINARY),
            )
        )
        file.insert("things__ATTACH", {"REL_OBJECTID": 1, "DATA": JPEG})
    photos = source(path)
    with closing(FeatureReader(photos.database, photos.tables)) as reader:
        feature = reader.read(FeatureRef("things", 1))
    assert feature is not None
    read = shapely.from_wkb(feature.geometry)
    assert (read.has_z, read.has_m) == (shape.has_z, shape.has_m)
    assert shapely.equals(read, shape)
    photos.close()


def _spec(name: str, code: int, *fields: FieldSpec) -> LayerSpec:
    return LayerSpec(
        name=name, geometry_type=code, wkt=None, key="OBJECTID", geometry="SHAPE", fields=fields
    )


def test_compressed_tables_are_refused_with_the_reason(gdb: Path) -> None:
    (gdb / "a00000009.cdf").write_bytes(b"")
    with pytest.raises(SourceError, match=r"compressed \(a00000009\.cdf\)"):
        as_source(gdb)


def test_what_is_no_geodatabase_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such geodatabase"):
        as_source(tmp_path / "missing.gdb")
    (tmp_path / "empty.gdb").mkdir()
    with pytest.raises(SourceError, match="cannot be read"):
        as_source(tmp_path / "empty.gdb")
    plain = tmp_path / "plain.geodatabase"
    with closing(sqlite3.connect(plain)) as connection:
        connection.execute("CREATE TABLE t (a)")
    with pytest.raises(SourceError, match="no GDB_Items"):
        as_source(plain)
    plain.write_bytes(b"something else")
    with pytest.raises(SourceError, match="not an SQLite file"):
        as_source(plain)


def test_a_geodatabase_without_photos_says_what_was_looked_for(gdb: Path) -> None:
    with pytest.raises(LayoutError, match="no photos found"):
        detect(as_source(gdb), layer="remarks")


def test_a_geodatabase_that_a_crash_left_under_its_old_name_comes_back(gdb: Path) -> None:
    shutil.move(gdb, beside(gdb, "attachtrans-old"))
    photos = source(gdb)
    assert len(photos) == 6
    photos.close()


def replica(path: Path) -> Path:
    """A mobile geodatabase as an offline replica keeps it: versions of rows, and a view."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in (
            "ALTER TABLE assets__ATTACH ADD COLUMN gdb_from_date realdate",
            "ALTER TABLE assets__ATTACH ADD COLUMN gdb_to_date realdate",
            "UPDATE assets__ATTACH SET gdb_to_date = julianday('9999-12-31T23:59:59')",
            "UPDATE assets__ATTACH SET gdb_to_date = 2461165.5 WHERE ATTACHMENTID = 2",
            "CREATE VIEW assets__ATTACH_evw AS SELECT * FROM assets__ATTACH",
        ):
            connection.execute(statement)
    return path


def test_of_a_replica_only_the_current_photos_are_read(mobile: Path) -> None:
    photos = source(replica(mobile))
    assert [item.key for item in photos] == [
        f"assets__ATTACH.DATA/{number}" for number in (1, 3, 4, 6)
    ]
    (table,) = photos.tables
    assert "offline replica (the view assets__ATTACH_evw)" in (table.read_only or "")
    photos.close()


def test_real_geodatabases_are_read(shared: Path) -> None:
    folder = shared / "data" / "geopackage"
    made = folder / "made" / "attach_globalid.gdb"
    photos = source(made)
    assert [item.features[0].fid for item in photos] == [2, 3, 3]
    assert {item.key.replace(".DATA/", "/"): photos.read(item) for item in photos} == photos_in(
        made
    )
    photos.close()
    relations = inspect(as_source(folder / "gdal_relationships.gdb"))
    (table,) = relations.tables
    assert (table.table, table.layers) == ("points__ATTACH", ("points",))
    assert table.links[0].layer_column == "OBJECTID"
    mobile_photos = source(folder / "made" / "usa_attach_synth.geodatabase")
    assert [len(item.features) for item in mobile_photos] == [0, 1, 1]
    mobile_photos.close()


def test_fiona_sees_the_fixture_as_it_was_made(gdb: Path) -> None:
    found = rows(gdb)
    assert fiona.listlayers(gdb) == list(found)
    assert [row["ATT_NAME"] for row in found["assets__ATTACH"].values()] == [
        "Photo1.jpg",
        "Photo2.jpg",
        "Photo1.jpg",
        "report.pdf",
        "never synced.jpg",
        "scan.png",
    ]
    with opened(gdb):
        pass  # GDAL writes nothing for having been there
    assert rows(gdb) == found


def test_places_are_not_made_up_where_the_file_does_not_say_how_they_are_counted(
    mobile: Path,
) -> None:
    with closing(sqlite3.connect(mobile)) as connection, connection:
        connection.execute("UPDATE st_geometry_columns SET srid = 4326")
    readable = as_source(mobile)
    (table,) = detect(readable)
    assert "assets: 3 geometries" in table.warnings[-1]
    with closing(sqlite3.connect(paths_of(readable)[1])) as connection:
        assert connection.execute("SELECT count(Shape) FROM assets").fetchone() == (0,)
