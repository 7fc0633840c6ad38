"""Photos of geodatabases replaced: only they change, others' edits win, originals come back."""

from __future__ import annotations

import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import fiona
import pytest

from attachtrans.errors import ChangedError, SinkError, SourceError
from attachtrans.journal import Journal
from attachtrans.stores.geodatabase import edition as edition_module
from attachtrans.stores.geodatabase import gdal as gdal_module
from attachtrans.stores.geodatabase import writer as writer_module
from attachtrans.stores.geodatabase.edition import beside, edition, recover
from attachtrans.stores.geodatabase.gdal import library, opened
from attachtrans.stores.geodatabase.staged import staged_path
from attachtrans.stores.overwrite import Safety, restore_originals
from tests.stores.geodatabase.test_reading import replica
from tests.stores.geodatabase.world import (
    copied,
    draft_of,
    everything_else,
    photos_in,
    relationships,
    rows,
    sink_on,
    source,
)

KINDS = ["gdb", "mobile"]
RESULT = b"\xff\xd8\xff\xe0" + b"result " * 3000


@pytest.fixture(params=KINDS)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def originals(folder: Path) -> list[Path]:
    return [one for one in folder.iterdir() if ".bak" in one.name]


def leftovers(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir() if one.name.startswith(".")]


def test_only_the_photos_change(path: Path) -> None:
    before, rest = photos_in(path), everything_else(path)
    expected = {}
    with sink_on(path) as (sink, photos, _):
        for number, item in enumerate(photos):
            # Larger and smaller than what they replace.
            data = RESULT * (1 + 9 * (number % 2)) + bytes([number])
            sink.commit(draft_of(photos, item, data))
            expected[item.key.replace(".DATA/", "/")] = data
        notes = sink.finish()
    assert photos_in(path) == expected
    assert expected.keys() == before.keys()
    assert everything_else(path) == rest
    (kept,) = originals(path.parent)
    assert any(str(kept) in note for note in notes)
    assert photos_in(kept) == before
    assert everything_else(kept) == rest
    assert not leftovers(path.parent)


def test_indexes_of_real_geodatabases_are_kept(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "real.gdb"
    path.mkdir()
    for file in (shared / "data" / "geopackage" / "gdal_relationships.gdb").iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    with opened(path) as gdb:
        for number in range(1, 6):
            gdb.insert("points", {}, struct.pack("<BI3d", 1, 1001, number, number, 0))
            content = {"DATA": RESULT, "DATA_SIZE": len(RESULT)}
            names = {"CONTENT_TYPE": "image/jpeg", "ATT_NAME": "a.jpg", "REL_OBJECTID": number}
            gdb.insert("points__ATTACH", content | names)
    files, relations = {file.name for file in path.iterdir()}, relationships(path)
    with sink_on(path) as (sink, photos, _):
        for item in photos:
            sink.commit(draft_of(photos, item, item.key.encode() * 500))
        sink.finish()
    assert files <= {file.name for file in path.iterdir()}
    assert "a00000027.GDB_63_REL_OBJECTID.atx" in files
    assert len(relations) > 5
    assert relationships(path) == relations
    with fiona.open(path, layer="points__ATTACH") as table:
        found = [row.properties["DATA"][:24] for row in table.filter(where="REL_OBJECTID = 3")]
    assert found == [b"points__ATTACH.DATA/3poi"]


def test_sizes_follow_and_a_new_format_renames(gdb: Path) -> None:
    with sink_on(gdb) as (sink, photos, _):
        first, second, *_ = photos
        sink.commit(draft_of(photos, first, RESULT))
        sink.commit(draft_of(photos, second, RESULT, reformatted=True))
        sink.finish()
    found = rows(gdb)["assets__ATTACH"]
    names = ("ATT_NAME", "CONTENT_TYPE", "DATA_SIZE")
    assert [found["1"][n] for n in names] == ["Photo1.jpg", "image/jpeg", len(RESULT)]
    assert [found["2"][n] for n in names] == ["Photo2.png", "image/png", len(RESULT)]


@pytest.mark.slow
def test_done_is_done_and_another_result_may_follow(path: Path) -> None:
    with sink_on(path) as (sink, photos, _):
        item = next(iter(photos))
        draft = draft_of(photos, item, RESULT)
        sink.commit(draft)
        sink.finish()
    with sink_on(path) as (sink, photos, _):
        assert sink.holds(item, draft.digest_out)
        assert not sink.holds(item, draft.digest_in)
        sink.commit(draft_of(photos, item, RESULT + b"again"))
        sink.finish()
        assert photos.read(item) == RESULT + b"again"


@pytest.mark.slow
def test_originals_come_back(path: Path) -> None:
    before = photos_in(path)
    with sink_on(path) as (sink, photos, _):
        for item in photos:
            sink.commit(draft_of(photos, item, RESULT + item.key.encode()))
        sink.finish()
    photos = source(path)
    with closing(Journal(path.with_name(f"{path.name}.attachtrans"))) as journal:
        assert restore_originals(photos, journal, Safety(folder=path.parent)) == len(before)
    assert photos_in(path) == before


@pytest.mark.slow
def test_a_photo_that_came_later_has_its_original_kept_too(gdb: Path) -> None:
    with sink_on(gdb) as (sink, photos, _):
        item = next(iter(photos))
        sink.commit(draft_of(photos, item, RESULT))
        sink.finish()
    with opened(gdb) as file:
        file.update("assets__ATTACH", 1, {"DATA": b"a new photo", "DATA_SIZE": 11})
    with sink_on(gdb) as (sink, photos, _):
        sink.commit(draft_of(photos, item, RESULT + b"of the new one"))
        sink.finish()
    photos = source(gdb)
    with closing(Journal(gdb.with_name(f"{gdb.name}.attachtrans"))) as journal:
        restore_originals(photos, journal, Safety(folder=gdb.parent))
    assert photos_in(gdb)["assets__ATTACH/1"] == b"a new photo"
    assert rows(gdb)["assets__ATTACH"]["1"]["DATA_SIZE"] == 11


@pytest.mark.slow
def test_what_an_interrupted_run_left_is_put_in_first(gdb: Path) -> None:
    before = photos_in(gdb)
    with sink_on(gdb) as (sink, photos, _):
        item = next(iter(photos))
        draft = draft_of(photos, item, RESULT)
        sink.commit(draft)
    assert photos_in(gdb) == before
    assert staged_path(gdb).exists()
    with sink_on(gdb) as (sink, photos, _):
        assert photos.read(item) == RESULT
        assert sink.holds(item, draft.digest_out)
        sink.finish()
    assert photos_in(gdb) == before | {"assets__ATTACH/1": RESULT}
    assert not leftovers(gdb.parent)


def test_an_edit_meanwhile_wins(gdb: Path) -> None:
    with sink_on(gdb) as (sink, photos, _):
        first, second, *_ = photos
        drafts = [draft_of(photos, item, RESULT) for item in (first, second)]
        sink.commit(drafts[0])
        with opened(gdb) as file:
            for row in (1, 2):
                file.update("assets__ATTACH", row, {"DATA": b"mine"})
        with pytest.raises(ChangedError, match="changed by another program"):
            sink.commit(drafts[1])
        notes = sink.finish()
    assert any("assets__ATTACH row 1 was changed by another program" in note for note in notes)
    found = photos_in(gdb)
    assert found["assets__ATTACH/1"] == found["assets__ATTACH/2"] == b"mine"


@pytest.mark.slow
def test_a_copy_that_is_not_right_never_takes_its_place(
    gdb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rest = photos_in(gdb), everything_else(gdb)

    true = gdal_module.GdbFile.update
    for row, values in ((2, {"KEYWORDS": "wrong"}), (1, {"DATA": b"x"})):

        def update(self, layer, fid, given, shape=None, row=row, values=values):
            true(self, layer, fid, given, shape)
            true(self, layer, row, values)

        monkeypatch.setattr(gdal_module.GdbFile, "update", update)
        with sink_on(gdb) as (sink, photos, _):
            sink.commit(draft_of(photos, next(iter(photos)), RESULT))
            with pytest.raises(SinkError, match="was not written as it should be"):
                sink.finish()
        monkeypatch.undo()
        staged_path(gdb).unlink()
    assert photos_in(gdb) == before
    assert everything_else(gdb) == rest
    assert not leftovers(gdb.parent)


@pytest.mark.slow
def test_an_open_geodatabase_is_refused_before_and_after(gdb: Path) -> None:
    lock = gdb / "_gdb.HOST.1234.5678.sr.lock"
    lock.touch()
    refused = pytest.raises(SinkError, match=r"open in another program, which left _gdb\.HOST")
    with refused, sink_on(gdb):
        pass
    lock.unlink()
    before = photos_in(gdb)
    with sink_on(gdb) as (sink, photos, _):
        sink.commit(draft_of(photos, next(iter(photos)), RESULT))
        lock.touch()
        with pytest.raises(SinkError, match="open in another program"):
            sink.finish()
    assert photos_in(gdb) == before
    lock.unlink()
    with sink_on(gdb) as (sink, *_):
        sink.finish()
    assert photos_in(gdb)["assets__ATTACH/1"] == RESULT


def test_tables_with_wide_object_ids_are_refused(gdb: Path) -> None:
    table = max(gdb.glob("a*.gdbtable"))
    content = bytearray(table.read_bytes())
    content[:4] = struct.pack("<i", 4)
    table.write_bytes(content)
    with (
        pytest.raises(
            SinkError, match=f"{table.name} has object ids of 64 bits.*--output out.gpkg"
        ),
        edition(gdb),
    ):
        pass


def test_replicas_are_refused_with_the_reason(mobile: Path) -> None:
    replica(mobile)
    refused = pytest.raises(SinkError, match=r"offline replica.*never synchronised.*--output")
    with refused, sink_on(mobile):
        pass


def test_secure_leaves_no_original(path: Path) -> None:
    mark = photos_in(path)["assets__ATTACH/1"][2000:2100]
    with sink_on(path, secure=True) as (sink, photos, _):
        for item in photos:
            sink.commit(draft_of(photos, item, b"small" + item.key.encode()))
        notes = sink.finish()
    assert any("backup was deleted" in note for note in notes)
    assert not originals(path.parent)
    files = [one for one in path.parent.rglob("*") if one.is_file()]
    assert not [one for one in files if mark in one.read_bytes()]


def test_without_a_fitting_gdal_the_refusal_names_the_other_way(
    gdb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = source(gdb)
    library.cache_clear()
    monkeypatch.setattr(gdal_module, "find_spec", lambda _: None)
    with pytest.raises(SinkError, match=r"no GDAL that could be called.*--output out\.gpkg"):
        writer_module.GdbWriter(gdb)
    with pytest.raises(SourceError, match="no GDAL that could be called"):
        source(gdb)
    photos.close()
    monkeypatch.undo()
    library.cache_clear()
    monkeypatch.setattr(gdal_module, "_OLDEST", 3_990_000)
    with pytest.raises(SinkError, match=r"need GDAL 3\.7 or newer, below 4; the installed pyogrio"):
        library()
    monkeypatch.undo()
    library.cache_clear()


def test_the_wheel_has_the_gdal_that_this_is_tested_with() -> None:
    version = library().GDALVersionInfo(b"VERSION_NUM")
    assert 3_070_000 <= int(version) < 4_000_000
    assert fiona.__gdal_version__ != library().GDALVersionInfo(b"RELEASE_NAME").decode()


def test_two_folders_change_places_where_the_system_can(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not edition_module._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this system cannot exchange two folders")
    assert (tmp_path / "a" / "b").exists()
    assert (tmp_path / "b" / "a").exists()


def test_elsewhere_a_crash_in_between_is_undone(gdb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edition_module, "_exchange", lambda *_: False)
    before = photos_in(gdb)
    with edition(gdb) as copy, opened(copy) as file:
        file.update("assets__ATTACH", 1, {"DATA": RESULT})
    assert photos_in(gdb) == before | {"assets__ATTACH/1": RESULT}
    copied(gdb, beside(gdb, "attachtrans-old").name)
    shutil.rmtree(gdb)
    recover(gdb)
    assert photos_in(gdb) == before | {"assets__ATTACH/1": RESULT}
    assert not leftovers(gdb.parent)


def test_what_a_crash_left_of_the_replaced_one_goes(gdb: Path) -> None:
    copied(gdb, beside(gdb, "attachtrans-new").name)
    with sink_on(gdb):
        assert not beside(gdb, "attachtrans-new").exists()


def test_a_full_disk_is_found_before_anything_changes(
    gdb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = photos_in(gdb)
    usage = shutil.disk_usage(gdb.parent)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SinkError, match="MB free"), sink_on(gdb):
        pass
    assert photos_in(gdb) == before


def test_a_damaged_result_is_not_put_in(gdb: Path) -> None:
    before = photos_in(gdb)
    with sink_on(gdb) as (sink, photos, _):
        sink.commit(draft_of(photos, next(iter(photos)), RESULT))
    with closing(sqlite3.connect(staged_path(gdb))) as connection, connection:
        connection.execute("UPDATE staged SET data = x'00'")
    with pytest.raises(SinkError, match="is damaged"), sink_on(gdb):
        pass
    assert photos_in(gdb) == before
