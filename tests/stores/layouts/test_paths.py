from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from attachtrans.errors import ArgumentError, LayoutError, SourceError
from attachtrans.stores.catalog import detect, inspect
from attachtrans.stores.photos import Photos, open_photos
from tests.stores.gpkg import JPEG, PDF, PNG, Gpkg, picture


def save(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))


def photos_of(path: Path, **wish: object) -> Photos:
    return open_photos(path, detect(path, **wish))


def links(path: Path, **wish: object) -> dict[str, list[int]]:
    photos = photos_of(path, **wish)
    found = {item.key: [feature.fid for feature in item.features] for item in photos}
    photos.close()
    return found


def layer(path: Path, *values: object, column: str = "photo TEXT") -> Path:
    file = Gpkg(path)
    file.layer("trees", column, [(n, None, value) for n, value in enumerate(values, 1)])
    return file.done()


def test_one_item_per_real_file(tmp_path: Path) -> None:
    save(tmp_path, "DCIM/1.jpg", "DCIM/2.jpg")
    os.link(tmp_path / "DCIM/2.jpg", tmp_path / "DCIM/hard.jpg")
    (tmp_path / "soft.jpg").symlink_to("DCIM/1.jpg")
    path = layer(
        tmp_path / "x.gpkg",
        "DCIM/1.jpg",
        "dcim/1.JPG",
        "soft.jpg",
        "DCIM\\1.jpg",
        "DCIM/2.jpg",
        "DCIM/hard.jpg",
        "DCIM/1.jpg;DCIM/2.jpg",
        "",
        None,
    )
    photos = photos_of(path)
    items = {item.key: item for item in photos}
    assert {key: [f.fid for f in item.features] for key, item in items.items()} == {
        "DCIM/1.jpg": [1, 2, 3, 4, 7],
        "DCIM/2.jpg": [5, 6, 7],
    }
    assert photos.place(items["DCIM/1.jpg"]).files == (tmp_path / "DCIM/1.jpg",)
    assert set(photos.place(items["DCIM/2.jpg"]).files) == {
        tmp_path / "DCIM/2.jpg",
        tmp_path / "DCIM/hard.jpg",
    }
    assert len(list(photos.features())) == 9
    photos.close()


def test_a_file_of_two_columns_and_two_layers_is_one_item(tmp_path: Path) -> None:
    save(tmp_path, "1.jpg", "2.jpg")
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "front TEXT, back TEXT", [(1, None, "1.jpg", "2.jpg")])
    file.layer("poles", "photo TEXT", [(7, None, "1.jpg")])
    path = file.done()
    tables = detect(path)
    assert [table.id for table in tables] == ["trees.front", "trees.back", "poles.photo"]
    photos = open_photos(path, tables)
    assert [(item.key, list(map(tuple, item.features))) for item in photos] == [
        ("1.jpg", [("trees", 1), ("poles", 7)]),
        ("2.jpg", [("trees", 1)]),
    ]
    photos.close()


def test_missing_and_refused_files_are_items_that_fail(tmp_path: Path) -> None:
    home = tmp_path / "home"
    save(home, "1.jpg")
    save(tmp_path, "outside.jpg")
    (home / "leak.jpg").symlink_to(tmp_path / "outside.jpg")
    values = (
        "1.jpg",
        "gone.jpg",
        "../outside.jpg",
        str(tmp_path / "outside.jpg"),
        "leak.jpg",
        "https://example.org/a.jpg",
        "../outside.jpg",
    )
    path = layer(home / "x.gpkg", *values)
    photos = photos_of(path)
    items = list(photos)
    assert len(items) == len({item.key for item in items}) == 6
    assert photos.read(items[0]) == (home / "1.jpg").read_bytes()
    for item, says in zip(
        items[1:], ("is not in", "outside", "outside", "outside", "web address"), strict=True
    ):
        assert item.nbytes is None
        assert photos.place(item).files == ()
        with pytest.raises(SourceError, match=says):
            photos.read(item)
    assert [f.fid for f in items[2].features] == [3, 7]
    photos.close()


def test_base_opens_another_folder(tmp_path: Path) -> None:
    save(tmp_path, "far/1.jpg")
    path = layer(tmp_path / "a" / "b" / "x.gpkg", "1.jpg", str(tmp_path / "far" / "1.jpg"))
    with pytest.raises(LayoutError, match=r"(?s)look like paths.*--base") as raised:
        detect(path)
    assert "trees.photo" in str(raised.value)
    (table,) = detect(path, base=tmp_path / "far")
    assert table.base == tmp_path / "far"
    assert links(path, base=tmp_path / "far") == {"1.jpg": [1, 2]}
    with pytest.raises(ArgumentError, match="--base"):
        detect(path, base=tmp_path / "none")


def test_the_folder_above_is_searched_last(tmp_path: Path) -> None:
    save(tmp_path, "p/1.jpg", "p/2.jpg", "data/p/2.jpg")
    path = layer(tmp_path / "data" / "x.gpkg", "p/1.jpg", "p/2.jpg")
    assert links(path) == {"p/1.jpg": [1], "data/p/2.jpg": [2]}


def test_it_is_content_that_decides(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(PNG)
    (tmp_path / "b.jpg").write_bytes(PDF)
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "one TEXT, two TEXT, three TEXT", [(1, None, "a.dat", "b.jpg", "oak")])
    path = file.done()
    assert [table.data for table in detect(path)] == ["one"]
    (hint,) = inspect(path).hints
    assert (hint.column, hint.layout) == ("two", "path")


def test_a_column_may_be_named(tmp_path: Path) -> None:
    save(tmp_path, "plain")
    path = layer(tmp_path / "x.gpkg", "plain")
    with pytest.raises(LayoutError):
        detect(path)
    assert links(path, photo_column="photo") == {"plain": [1]}
    assert links(path, photo_column="TREES.photo", layout="path") == {"plain": [1]}
    with pytest.raises(ArgumentError, match="--photo-column nothing"):
        detect(path, photo_column="nothing")


def test_odd_columns(tmp_path: Path) -> None:
    save(tmp_path, "1.jpg")
    for number, column in enumerate(
        ('"123_photo" TEXT ( 255 )', '"we""ird; drop" VARCHAR(80)', '"Bild — süd" TEXT(9)', "p")
    ):
        path = layer(tmp_path / f"{number}.gpkg", "1.jpg", column=column)
        assert links(path) == {"1.jpg": [1]}


def test_thumbnails_beside_photos_are_left_out(tmp_path: Path) -> None:
    save(tmp_path, "1.jpg", "t/1.jpg")
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "thumbnail TEXT, photo TEXT", [(1, None, "t/1.jpg", "1.jpg")])
    path = file.done()
    assert links(path) == {"1.jpg": [1]}
    assert inspect(path).excluded[0].column == "thumbnail"
    assert links(path, photo_column="thumbnail") == {"t/1.jpg": [1]}


def test_odk_and_kobo(tmp_path: Path) -> None:
    for folder in ("media", "attachments"):
        home = tmp_path / folder
        save(home, f"{folder}/1.jpg")
        file = Gpkg(home / "x.gpkg")
        file.layer(
            "visits",
            "shot TEXT, shot_URL TEXT",
            [
                (1, None, "1.jpg", "https://x/1.jpg"),
                (2, None, "2.jpg", "https://x/2.jpg"),
                (3, None, "Deleted", None),
            ],
        )
        path = file.done()
        (table,) = detect(path)
        assert "ODK" in table.reason
        assert links(path) == {f"{folder}/1.jpg": [1], "2.jpg": [2]}


def test_fulcrum(tmp_path: Path) -> None:
    ids = [f"0a1b2c3d-0000-4000-8000-00000000000{n}" for n in (1, 2, 3)]
    save(tmp_path, *(f"photos/{one}.jpg" for one in ids))
    file = Gpkg(tmp_path / "x.gpkg")
    file.table(
        "Field Visits",
        "_id INTEGER PRIMARY KEY, _record_id TEXT, fab1 TEXT, fab1_captions TEXT, fab1_urls TEXT",
        [(1, "r1", f"{ids[0]},{ids[1]}", "x,y", "https://x"), (2, "r2", f'["{ids[2]}"]', "", "")],
        "attributes",
    )
    found = links(file.done())
    assert found == {f"photos/{one}.jpg": [1 if one != ids[2] else 2] for one in ids}


GEOTAGGED = "photo TEXT, filename TEXT, directory TEXT, rotation INTEGER"


def geotagged(path: Path, *photos: str) -> Path:
    file = Gpkg(path)
    rows = [
        (n, None, photo, Path(photo).stem, str(Path(photo).parent), None)
        for n, photo in enumerate(photos, 1)
    ]
    file.layer("geo", GEOTAGGED, rows)
    return file.done()


def test_geotagged_photos_that_have_moved(tmp_path: Path) -> None:
    save(tmp_path, "photos/2024/a.jpg", "photos/b.jpg", "x/c.jpg", "y/c.jpg")
    path = geotagged(
        tmp_path / "x.gpkg", "/mnt/lab/photos/2024/a.jpg", "/mnt/b.jpg", "/mnt/c.jpg", "/mnt/d.jpg"
    )
    (table,) = detect(path)
    assert "geotagged" in table.reason
    found = links(path)
    assert list(found) == ["photos/2024/a.jpg", "photos/b.jpg", "/mnt/c.jpg", "/mnt/d.jpg"]
    found = links(path, remap=[("/mnt", "y")])
    assert list(found)[2:] == ["y/c.jpg", "/mnt/d.jpg"]


def test_remap_to_another_folder(tmp_path: Path) -> None:
    save(tmp_path, "archive/a.jpg", "data/b.jpg")
    path = geotagged(tmp_path / "data" / "x.gpkg", "D:\\in\\a.jpg", "D:\\in\\b.jpg")
    found = links(path, remap=[("D:\\in", str(tmp_path / "archive"))])
    assert found == {"archive/a.jpg": [1], "data/b.jpg": [2]}


def test_qgis_table_of_unreadable_photos_is_left_out(tmp_path: Path) -> None:
    save(tmp_path, "a.jpg")
    file = Gpkg(tmp_path / "x.gpkg")
    columns = "fid INTEGER PRIMARY KEY, photo TEXT, filename TEXT, directory TEXT, readable INTEGER"
    file.table("bad", columns, [(1, "/mnt/a.jpg", "a", "/mnt", 1)], "attributes")
    with pytest.raises(LayoutError, match="could not read"):
        detect(file.done())


def test_photos_as_text_are_not_read_in_search_of_paths(tmp_path: Path) -> None:
    save(tmp_path, "1.jpg")
    path = layer(tmp_path / "x.gpkg", *["A" * 30_000] * 30, "1.jpg")
    with pytest.raises(LayoutError):
        detect(path)


def test_a_geotagged_layer_without_any_file_is_told(tmp_path: Path) -> None:
    (table,) = detect(geotagged(tmp_path / "x.gpkg", "/mnt/a.jpg"))
    assert "none of its files" in table.warnings[0]
    assert "--remap" in table.warnings[0]


def test_real_files(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "geopackage"
    bees = links(folder / "qfieldcloud_bees" / "bees.gpkg", layer="apiary")
    assert {key: len(fids) for key, fids in bees.items()} == {
        "DCIM/4.jpg": 9,
        "DCIM/2.jpg": 9,
        "DCIM/3.jpg": 12,
        "DCIM/1.jpg": 5,
    }
    survey = folder / "mergin_mediasync" / "survey.gpkg"
    assert [table.id for table in detect(survey)] == ["notes.photo", "photos.123_photo"]
    assert links(survey) == {"img1.png": [1, 1], "images/img2.jpg": [2]}
    made = tmp_path / "moved.gpkg"
    shutil.copy(folder / "made" / "geotagged_qgis340.gpkg", made)
    (tmp_path / "t" / "photos").mkdir(parents=True)
    (tmp_path / "t" / "photos" / "a.jpg").write_bytes(JPEG)
    assert links(made) == {"t/photos/a.jpg": [1]}
