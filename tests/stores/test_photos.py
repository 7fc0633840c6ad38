from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from attachtrans.errors import SourceError
from attachtrans.stores.base import PhotoSource
from attachtrans.stores.catalog import detect
from attachtrans.stores.geopackage import quote
from attachtrans.stores.photos import Photos, open_photos
from attachtrans.types import FeatureRef, Item
from tests.stores.gpkg import JPEG, PDF, Gpkg, attachment, picture
from tests.stores.test_geopackage import NAMES

COUNT = 150


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "GlobalID TEXT", [(n, None, f"g{n}") for n in range(COUNT)])
    rows = [attachment(n, f"g{n}", picture(n), f"{n}.jpg") for n in range(COUNT)]
    file.attach("trees", "REL_GLOBALID TEXT", rows)
    return file.done()


@pytest.fixture
def photos(path: Path):
    source = open_photos(path, detect(path))
    yield source
    source.close()


def test_items_in_order_with_all_they_say(photos: Photos) -> None:
    source: PhotoSource = photos
    items = list(source)
    assert len(source) == len(items) == COUNT
    assert items[7] == Item(
        key="trees__ATTACH.DATA/7",
        name="7.jpg",
        media_type="image/jpeg",
        nbytes=len(picture(7)),
        features=(FeatureRef("trees", 7),),
    )
    assert list(photos) == items
    assert all(photos.read(item) == picture(n) for n, item in enumerate(items))
    assert photos.read_head(items[3], 10) == picture(3)[:10]


def test_reading_from_many_threads(photos: Photos) -> None:
    items = list(photos) * 4
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(photos.read, items))
    assert found == [picture(n) for n in range(COUNT)] * 4


def test_writes_meanwhile_neither_hide_nor_repeat_nor_wait(path: Path, photos: Photos) -> None:
    writer = sqlite3.connect(path, isolation_level=None, timeout=0)
    writer.execute("PRAGMA synchronous=OFF")
    seen = []
    for item in photos:
        seen.append(item.key)
        assert photos.read(item)
        row = photos.place(item).row
        writer.execute("UPDATE trees__ATTACH SET DATA = ? WHERE ATTACHMENTID = ?", (JPEG * 3, row))
        writer.execute("UPDATE trees SET GlobalID = GlobalID || 'x' WHERE fid = ?", (row,))
        writer.execute(
            "INSERT INTO trees__ATTACH SELECT NULL, REL_GLOBALID, CONTENT_TYPE, ATT_NAME, "
            "DATA_SIZE, DATA FROM trees__ATTACH WHERE ATTACHMENTID = ?",
            (row,),
        )
    writer.close()
    assert seen == [f"trees__ATTACH.DATA/{n}" for n in range(COUNT)]
    assert {photos.read(item) for item in photos} == {JPEG * 3}


def test_what_goes_away_meanwhile_is_named(path: Path, photos: Photos) -> None:
    items = list(photos)
    writer = sqlite3.connect(path)
    writer.execute("DELETE FROM trees__ATTACH WHERE ATTACHMENTID = 1")
    writer.execute("UPDATE trees__ATTACH SET DATA = NULL WHERE ATTACHMENTID = 2")
    writer.execute("UPDATE trees__ATTACH SET DATA = 3.5 WHERE ATTACHMENTID = 3")
    writer.commit()
    writer.close()
    for number, says in ((1, "the row is gone"), (2, "NULL"), (3, "a number")):
        with pytest.raises(SourceError, match=f"trees__ATTACH.DATA/{number}: .*{says}"):
            photos.read(items[number])
    assert len(list(photos)) == COUNT
    with pytest.raises(SourceError, match="has no photo"):
        photos.read(replace(items[0], key="other/1"))


def test_rows_without_content_are_no_items_but_empty_ones_are(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "GlobalID TEXT", [(1, None, "a")])
    rows = [attachment(1, "a", None), attachment(2, "a", b""), attachment(3, "a", PDF, "")]
    file.attach("trees", "REL_GLOBALID TEXT", rows)
    path = file.done()
    photos = open_photos(path, detect(path))
    empty, pdf = photos
    assert (empty.nbytes, photos.read(empty)) == (0, b"")
    assert pdf.name == "trees__ATTACH_3"
    photos.close()


@pytest.mark.parametrize("name", NAMES)
def test_any_name(tmp_path: Path, name: str) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer(name, f"{quote(name + 'pic')} BLOB", [(1, None, JPEG)])
    file.layer(f"{name}2", "GlobalID TEXT", [(4, None, "g")])
    file.attach(f"{name}2", "REL_GLOBALID TEXT", [attachment(9, "g", PDF)])
    path = file.done()
    photos = open_photos(path, detect(path))
    first, second = photos
    assert (first.features, second.features) == (((f"{name}2", 4),), ((name, 1),))
    assert (photos.read(first), photos.read(second)) == (PDF, JPEG)
    assert photos.place(second).row == 1
    assert list(photos.features()) == [(f"{name}2", 4), (name, 1)]
    photos.close()


def test_names_that_are_not_utf8_can_be_printed(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "GlobalID TEXT", [(1, None, "a")])
    file.attach("trees", "REL_GLOBALID TEXT", [attachment(1, "a")])
    file.sql("UPDATE trees__ATTACH SET ATT_NAME = CAST(x'61ff2e6a7067' AS TEXT)")
    path = file.done()
    photos = open_photos(path, detect(path))
    (item,) = photos
    assert item.name.encode() == b"a?.jpg"
    photos.close()


def test_path_files_whose_names_are_not_utf8(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/a\xff.jpg"
    try:
        Path(os.fsdecode(raw)).write_bytes(JPEG)
    except OSError:
        pytest.skip("needs a file system that takes any bytes")
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "photo TEXT")
    file.sql("INSERT INTO trees VALUES (1, NULL, CAST(x'61ff2e6a7067' AS TEXT))")
    path = file.done()
    photos = open_photos(path, detect(path))
    (item,) = photos
    assert photos.read(item) == JPEG
    photos.close()


def test_closing_lets_the_file_leave_wal(path: Path, photos: Photos) -> None:
    writer = sqlite3.connect(path, isolation_level=None, timeout=0)
    writer.execute("PRAGMA journal_mode=WAL")
    assert all(map(photos.read, photos))
    writer.execute("UPDATE trees SET GlobalID = 'x'")
    photos.close()
    assert writer.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
    writer.close()
    assert [file.name for file in path.parent.iterdir()] == ["x.gpkg"]
    assert len(list(photos)) == COUNT


def test_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(JPEG)
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "photo TEXT", [(1, None, "1.jpg")])
    path = file.done()
    photos = open_photos(path, detect(path))
    (item,) = photos
    assert photos.read_head(item, 4) == JPEG[:4]
    (tmp_path / "1.jpg").unlink()
    with pytest.raises(SourceError, match=r"1\.jpg: cannot be read"):
        photos.read(item)
    photos.close()
