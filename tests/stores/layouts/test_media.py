from __future__ import annotations

from pathlib import Path

import pytest

from attachtrans.errors import LayoutError
from attachtrans.stores.catalog import detect, inspect
from attachtrans.stores.photos import open_photos
from tests.stores.gpkg import JPEG, Gpkg

MEDIA = "id INTEGER PRIMARY KEY, data BLOB NOT NULL, content_type TEXT NOT NULL"
PAIRS = "base_id INTEGER, related_id INTEGER"


def links(path: Path, **wish: object) -> dict[str, list[tuple[str, int]]]:
    photos = open_photos(path, detect(path, **wish))
    found = {item.key: [tuple(f) for f in item.features] for item in photos}
    photos.close()
    return found


@pytest.fixture
def file(tmp_path: Path) -> Gpkg:
    """Photos 1-3 and 9 in `media`; 9 hangs on nothing; trees and poles share 2."""
    made = Gpkg(tmp_path / "x.gpkg")
    made.layer("trees", "name TEXT", [(n, None, str(n)) for n in (1, 2, 3)])
    made.layer("poles", "code INTEGER", [(1, None, 70), (2, None, 80)])
    made.table("media", MEDIA, [(n, JPEG, "image/jpeg") for n in (1, 2, 3, 9)], "attributes")
    made.table("trees_media", PAIRS, [(1, 1), (1, 2), (2, 2), (2, 2), (5, 3)])
    made.sql("CREATE TABLE log (what, pole, photo)")
    made.sql("INSERT INTO log VALUES ('x', 80, 2)")
    made.sql("CREATE VIEW poles_media AS SELECT pole AS base_id, photo AS related_id FROM log")
    return made


TREES = ("trees", "fid", "media", "id", "media", "trees_media")
POLES = ("poles", "code", "media", "id", "media", "poles_media")


def test_shared_photos_tables_and_views(file: Gpkg) -> None:
    file.relations(TREES, POLES)
    path = file.done()
    (table,) = detect(path)
    assert (table.layout, table.id, table.layers) == ("media", "media.data", ("trees", "poles"))
    assert links(path) == {
        "media.data/1": [("trees", 1)],
        "media.data/2": [("trees", 1), ("trees", 2), ("poles", 2)],
        "media.data/3": [],
        "media.data/9": [],
    }


def test_one_layer_of_a_shared_table(file: Gpkg) -> None:
    file.relations(TREES, POLES)
    assert links(file.done(), layer="poles") == {"media.data/2": [("poles", 2)]}


@pytest.mark.parametrize("name", ["media", "MEDIA", "photos", "attributes"])
def test_media_are_known_by_relation_or_columns(file: Gpkg, name: str) -> None:
    file.relations((*TREES[:4], name, TREES[5]))
    assert detect(file.done())[0].layout == "media"


def test_old_data_type_media(file: Gpkg) -> None:
    file.table("pics", "id INTEGER PRIMARY KEY, image BLOB", [(4, JPEG)], "media")
    file.table("m", PAIRS, [(3, 4)])
    file.relations(("trees", "fid", "pics", "id", "x", "m"))
    assert links(file.done(), layout="media") == {"pics.image/4": [("trees", 3)]}


@pytest.mark.parametrize(
    ("name", "base", "mapping"),
    [
        ("nga_icon", "trees", "m"),
        ("icons", "trees", "nga_icon_trees"),
        ("features_preview", "trees", "m"),
        ("media2", "nga_contents_id", "m"),
    ],
)
def test_symbols_and_previews_are_left_out_unless_named(
    file: Gpkg, name: str, base: str, mapping: str
) -> None:
    file.table(name, MEDIA, [(1, JPEG, "image/jpeg")], "attributes")
    file.table("nga_contents_id", "id INTEGER PRIMARY KEY, t TEXT", [(1, "trees")])
    file.table(mapping, PAIRS, [(1, 1)])
    key = "fid" if base == "trees" else "id"
    file.relations(TREES, (base, key, name, "id", "media", mapping))
    path = file.done()
    assert [table.table for table in detect(path)] == ["media"]
    (excluded,) = inspect(path).excluded
    assert excluded.table == name
    for wish in ({"layer": name}, {"photo_column": f"{name}.data"}):
        (table,) = detect(path, **wish)
        assert (table.layout, table.table) == ("media", name)
        assert links(path, **wish) == {f"{name}.data/1": [(base, 1)]}


def test_rows_of_left_out_relations_in_a_shared_table_are_left_out(file: Gpkg) -> None:
    file.table("nga_contents_id", "id INTEGER PRIMARY KEY, t TEXT", [(1, "trees")])
    file.table("m", PAIRS, [(1, 3), (1, 2)])
    file.relations(TREES, ("nga_contents_id", "id", "media", "id", "media", "m"))
    assert list(links(file.done())) == ["media.data/1", "media.data/2", "media.data/9"]


@pytest.mark.parametrize(
    ("relation", "says"),
    [
        (("gone", *TREES[1:]), "no table of features"),
        ((*TREES[:5], "gone"), "mapping table gone is missing"),
        ((*TREES[:2], "gone", *TREES[3:]), "no table gone"),
        ((TREES[0], "nope", *TREES[2:]), "do not both exist"),
        ((*TREES[:3], "nope", *TREES[4:]), "do not both exist"),
    ],
)
def test_broken_relations_are_told(file: Gpkg, relation: tuple[str, ...], says: str) -> None:
    file.relations(relation)
    with pytest.raises(LayoutError, match=says):
        detect(file.done(), layout="media")


def test_other_relations_are_no_media(file: Gpkg) -> None:
    file.table("m", PAIRS)
    file.relations(("trees", "fid", "poles", "fid", "features", "m"))
    assert all(table.layout == "blob" for table in detect(file.done()))


def test_sizes_and_names_follow_when_they_are_right(file: Gpkg) -> None:
    columns = f"{MEDIA}, file_size INTEGER, title TEXT"
    file.table("good", columns, [(1, JPEG, "image/jpeg", len(JPEG), "t")], "attributes")
    file.table("bad", columns, [(1, JPEG, "image/jpeg", 7, "t")], "attributes")
    for name in ("good", "bad"):
        file.table(f"m_{name}", PAIRS, [(1, 1)])
    file.relations(*(("trees", "fid", n, "id", "media", f"m_{n}") for n in ("good", "bad")))
    good, bad = detect(file.done(), layout="media")
    assert (good.size, good.name, good.extra) == ("file_size", "title", ())
    assert (bad.size, bad.extra) == (None, ("file_size",))


def test_real_files(shared: Path) -> None:
    folder = shared / "data" / "geopackage"
    assert links(folder / "nga_rte.gpkg") == {
        "cats_media.data/17": [("cats_feature", 1), ("cats_feature", 4)],
        "cats_media.data/18": [("cats_feature", n) for n in (1, 2, 3)],
        "cats_media.data/19": [("cats_feature", 4)],
    }
    found = links(folder / "nga_example_js.gpkg")
    assert found["media.data/2"] == [("geometry2", n) for n in (1, 2, 3)]
    assert len(found) == 2
    assert len(links(folder / "made" / "rte_media_gdal310.gpkg")) == 2
    with pytest.raises(LayoutError):
        detect(folder / "relation_mapping_table.gpkg")
