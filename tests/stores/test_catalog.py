from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from attachtrans.errors import ArgumentError, LayoutError, SourceError
from attachtrans.stores.catalog import detect, inspect
from attachtrans.stores.photos import open_photos
from tests.stores.gpkg import JPEG, Gpkg, attachment

FIXTURES = {
    "esri_globalid.gpkg": "attach",
    "esri_objectid.gpkg": "attach",
    "related_media.gpkg": "media",
    "qfield/survey.gpkg": "path",
    "mergin/data/survey.gpkg": "path",
    "odk/submissions.gpkg": "path",
    "blob_column.gpkg": "blob",
    "geotagged/photos.gpkg": "path",
}


@pytest.mark.parametrize("name", FIXTURES)
def test_shipped_fixtures(fixtures_dir: Path, name: str) -> None:
    tables = detect(fixtures_dir / name)
    assert {table.layout for table in tables} == {FIXTURES[name]}
    photos = open_photos(fixtures_dir / name, tables)
    items = list(photos)
    assert len({item.key for item in items}) == len(items) > 2
    assert sum(photos.place(item).row is None for item in items) in (0, len(items))
    photos.close()
    assert detect(fixtures_dir / name, layout=FIXTURES[name]) == tables


def test_inspecting_changes_nothing(fixtures_dir: Path, tmp_path: Path) -> None:
    for name in FIXTURES:
        home = tmp_path / name.split("/")[0]
        source = fixtures_dir / name.split("/")[0]
        if source.is_dir():
            shutil.copytree(source, home)
        else:
            shutil.copy(source, home)
        before = {
            path: (path.read_bytes(), path.stat().st_mtime_ns)
            for path in tmp_path.rglob("*")
            if path.is_file()
        }
        path = tmp_path / name
        photos = open_photos(path, detect(path))
        list(photos)
        photos.close()
        after = {
            path: (path.read_bytes(), path.stat().st_mtime_ns)
            for path in tmp_path.rglob("*")
            if path.is_file()
        }
        assert after == before


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Every layout in one file."""
    (tmp_path / "1.jpg").write_bytes(JPEG)
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "GlobalID TEXT, photo TEXT, pic BLOB", [(1, None, "g", "1.jpg", JPEG)])
    file.attach("trees", "REL_GLOBALID TEXT", [attachment(1, "g")])
    file.table(
        "media",
        "id INTEGER PRIMARY KEY, data BLOB, content_type TEXT",
        [(1, JPEG, "image/jpeg")],
        "attributes",
    )
    file.table("m", "base_id INTEGER, related_id INTEGER", [(1, 1)])
    file.relations(("trees", "fid", "media", "id", "media", "m"))
    return file.done()


def test_everything_is_found_in_order(mixed: Path) -> None:
    assert [(table.layout, table.id) for table in detect(mixed)] == [
        ("attach", "trees__ATTACH.DATA"),
        ("media", "media.data"),
        ("path", "trees.photo"),
        ("blob", "trees.pic"),
    ]
    photos = open_photos(mixed, detect(mixed))
    assert [item.key for item in photos] == [
        "trees__ATTACH.DATA/1",
        "media.data/1",
        "trees.pic/1",
        "1.jpg",
    ]
    assert [tuple(item.features) for item in photos] == [(("trees", 1),)] * 4
    photos.close()


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"layout": "media"}, ["media.data"]),
        ({"layout": "path"}, ["trees.photo"]),
        ({"layer": "TREES"}, ["trees__ATTACH.DATA", "media.data", "trees.photo", "trees.pic"]),
        ({"layer": "media"}, ["media.data"]),
        ({"layer": "trees", "layout": "blob"}, ["trees.pic"]),
        ({"photo_column": "PIC"}, ["trees.pic"]),
        ({"photo_column": "trees.photo"}, ["trees.photo"]),
        ({"photo_column": "data"}, ["trees__ATTACH.DATA", "media.data"]),
    ],
)
def test_overrides_narrow(mixed: Path, wish: dict[str, str], expected: list[str]) -> None:
    assert [table.id for table in detect(mixed, **wish)] == expected


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"layout": "photos"}, "--layout photos: choose one of attach, media, path, blob"),
        ({"layer": "oaks"}, "--layer oaks: there is no such table; x.gpkg has trees"),
        ({"photo_column": "picture"}, "--photo-column picture"),
        ({"base": Path("/nowhere/at/all")}, "--base /nowhere/at/all: there is no such folder"),
        ({"layout": "blob", "base": Path(__file__).parent}, "--base is for columns with paths"),
    ],
)
def test_names_that_do_not_exist(mixed: Path, wish: dict[str, object], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        detect(mixed, **wish)


def test_nothing_found_says_what_was_looked_for(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "GlobalID TEXT, url TEXT", [(1, None, "g", "https://a.org/1.jpg")])
    path = file.done()
    with pytest.raises(LayoutError) as raised:
        detect(path)
    for text in ("__ATTACH", "gpkgext_relations", "trees.url: web addresses", "--photo-column"):
        assert text in str(raised.value)
    with pytest.raises(LayoutError) as raised:
        detect(path, layout="media")
    assert "__ATTACH" not in str(raised.value)
    assert inspect(path).tables == ()


def test_other_files(shared: Path) -> None:
    folder = shared / "data" / "geopackage"
    for name, says in (
        ("esri_usa.geodatabase", "mobile geodatabase"),
        ("made/attach_globalid.gdb", "file geodatabase"),
        ("README.txt", "not an SQLite file"),
    ):
        with pytest.raises(SourceError, match=says):
            detect(folder / name)


@pytest.mark.parametrize("name", ["domains", "ets_view", "geodiff_edge", "pyogrio_line_zm"])
def test_real_files_without_photos(shared: Path, name: str) -> None:
    with pytest.raises(LayoutError, match="no photos found"):
        detect(shared / "data" / "geopackage" / f"{name}.gpkg")
