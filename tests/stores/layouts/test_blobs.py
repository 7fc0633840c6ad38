from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from attachtrans.errors import LayoutError
from attachtrans.stores.catalog import detect, inspect
from attachtrans.stores.photos import open_photos
from tests.stores.gpkg import JPEG, PDF, PNG, Gpkg, picture


def contents(path: Path, **wish: object) -> dict[str, bytes]:
    photos = open_photos(path, detect(path, **wish))
    found = {item.key: photos.read(item) for item in photos}
    photos.close()
    return found


def test_blob_columns(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer(
        "trees",
        "one BLOB, two BLOB(7), junk BLOB, none BLOB",
        [(1, None, JPEG, None, b"\0\1", None), (4, None, PDF, PNG, b"zz", None)],
    )
    path = file.done()
    assert [table.id for table in detect(path)] == ["trees.one", "trees.two"]
    assert contents(path) == {"trees.one/1": JPEG, "trees.one/4": PDF, "trees.two/4": PNG}


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("base64", base64.b64encode(JPEG).decode()),
        ("base64", "data:image/jpeg;base64," + base64.encodebytes(JPEG).decode()),
        ("repr", repr(JPEG)),
    ],
)
@pytest.mark.parametrize("declared", ["TEXT", "VARCHAR(99)", "BLOB", ""])
def test_text_columns(tmp_path: Path, encoding: str, text: str, declared: str) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", f"note TEXT, pic {declared}", [(1, None, "n" * 300, text)])
    path = file.done()
    (table,) = detect(path)
    assert (table.id, table.encoding) == ("trees.pic", encoding)
    assert contents(path) == {"trees.pic/1": JPEG}


def test_a_column_of_blobs_and_text(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "pic BLOB", [(1, None, PNG), (2, None, repr(JPEG)), (3, None, None)])
    assert contents(file.done()) == {"trees.pic/1": PNG, "trees.pic/2": JPEG}


@pytest.mark.slow
def test_what_pyogrio_and_fiona_write(tmp_path: Path) -> None:
    path = tmp_path / "x.gpkg"
    script = (
        "import sys, fiona, geopandas\n"
        "from shapely.geometry import Point\n"
        "data = bytes.fromhex(sys.argv[2])\n"
        "frame = geopandas.GeoDataFrame({'pic': [data]}, geometry=[Point(1, 2)], crs=4326)\n"
        "frame.to_file(sys.argv[1], layer='pandas', driver='GPKG')\n"
        "schema = {'geometry': 'Point', 'properties': {'pic': 'bytes'}}\n"
        "with fiona.open(sys.argv[1], 'w', driver='GPKG', schema=schema, crs='EPSG:4326',"
        " layer='fiona') as out:\n"
        "    out.write({'geometry': {'type': 'Point', 'coordinates': (1, 2)},"
        " 'properties': {'pic': data}})\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script, path, JPEG.hex()], check=True)
    assert contents(path) == {"pandas.pic/1": JPEG, "fiona.pic/1": JPEG}


def test_thumbnails_are_left_out_beside_images_only(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("both", "image BLOB NOT NULL, thumbnail BLOB", [(1, None, JPEG, PNG)])
    file.layer("only", "thumb BLOB", [(1, None, PNG)])
    path = file.done()
    assert [table.id for table in detect(path)] == ["both.image", "only.thumb"]
    assert [refusal.column for refusal in inspect(path).excluded] == ["thumbnail"]
    assert [t.id for t in detect(path, layer="both")] == ["both.image"]
    assert [t.id for t in detect(path, photo_column="thumbnail")] == ["both.thumbnail"]


def test_tiles_styles_and_geometries_are_never_photos(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    tiles = "id INTEGER PRIMARY KEY, zoom_level INTEGER, tile_data BLOB"
    file.table("map", tiles, [(1, 0, PNG)], "tiles")
    file.table("dem", tiles, [(1, 0, PNG)], "2d-gridded-coverage")
    file.table("loose", tiles, [(1, 0, PNG)])
    file.sql("CREATE TABLE gpkg_tile_matrix_set (table_name TEXT)")
    file.sql("INSERT INTO gpkg_tile_matrix_set VALUES ('loose')")
    file.table("layer_styles", "id INTEGER PRIMARY KEY, ui BLOB", [(1, PNG)])
    file.table("gpkg_metadata", "id INTEGER PRIMARY KEY, metadata BLOB", [(1, PNG)])
    file.layer("trees", "name TEXT", [(1, JPEG, "odd")])
    path = file.done()
    with pytest.raises(LayoutError, match="no photos found"):
        detect(path)


def test_nga_tables_are_left_out_unless_named(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.table("nga_icon", "id INTEGER PRIMARY KEY, data BLOB", [(1, PNG)], "attributes")
    path = file.done()
    with pytest.raises(LayoutError, match=r"nga_icon\.data: map symbols"):
        detect(path)
    assert contents(path, layer="nga_icon") == {"nga_icon.data/1": PNG}


def test_views_are_read_only_and_left_out_beside_tables(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "pic BLOB", [(1, None, JPEG), (2, None, PNG)])
    file.sql("CREATE VIEW seen AS SELECT fid, geom, pic FROM trees")
    file.sql("CREATE VIEW twice AS SELECT 7 AS fid, pic FROM trees")
    path = file.done()
    assert [table.id for table in detect(path)] == ["trees.pic"]
    assert [refusal.table for refusal in inspect(path).excluded] == ["seen", "twice"]
    (table,) = detect(path, layer="seen")
    assert table.read_only == "seen is a view"
    assert contents(path, layer="seen") == {"seen.pic/1": JPEG, "seen.pic/2": PNG}
    with pytest.raises(LayoutError, match="does not tell its rows apart"):
        detect(path, layer="twice")


def test_tables_without_a_primary_key(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.table("bare", "name TEXT, pic BLOB", [("a", JPEG), ("b", PNG)])
    file.sql("DELETE FROM bare WHERE rowid = 1")
    path = file.done()
    (table,) = detect(path)
    assert (table.key, table.extra) == ("rowid", ("name",))
    assert contents(path) == {"bare.pic/2": PNG}


def test_columns_that_follow(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer(
        "trees",
        "pic BLOB, mime_type TEXT, filename TEXT, file_size INTEGER, note TEXT",
        [(1, None, JPEG, "image/jpeg", "a.jpg", len(JPEG), "x")],
    )
    (table,) = detect(file.done())
    assert (table.content_type, table.name, table.size) == ("mime_type", "filename", "file_size")
    assert table.extra == ("note",)


def test_a_column_whose_first_photos_come_late_may_be_named(tmp_path: Path) -> None:
    rows = [(n, None, PDF) for n in range(1, 80)] + [(90, None, JPEG)]
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "doc BLOB", rows)
    path = file.done()
    with pytest.raises(LayoutError):
        detect(path)
    assert len(contents(path, photo_column="doc")) == 80


def test_big_blobs_are_read_whole(tmp_path: Path) -> None:
    big = picture() + bytes(3_000_000)
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "pic BLOB", [(1, None, big)])
    assert contents(file.done()) == {"trees.pic/1": big}
