"""Photos replaced in place: only they change, others' edits win, originals come back or go."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from attachtrans.errors import BusyError, ChangedError, ImageError, SinkError
from attachtrans.journal import JobDescription, Journal, digest_of
from attachtrans.stores import replace as replace_module
from attachtrans.stores.catalog import detect
from attachtrans.stores.overwrite import OverwriteSink, Safety, restore_originals, secured
from attachtrans.stores.photos import Photos, open_photos
from attachtrans.types import Draft, Item, Size
from tests.safety.world import contents, everything_else, geopackage_in

JOB = JobDescription(source="s", fingerprint="f", model="m", arguments="{}", version="0")
LAYOUTS = ["esri_globalid.gpkg", "related_media.gpkg", "blob_column.gpkg", "qfield", "mergin"]
Copy = Callable[[str], Path]
JPEG = b"\xff\xd8\xff\xe0" + b"result " * 300


@contextmanager
def sink_on(
    gpkg: Path, *, backup: bool = True, secure: bool = False, again: bool = False
) -> Iterator[tuple[OverwriteSink, Photos, Journal]]:
    """An open sink and what it works on."""
    photos = open_photos(gpkg, detect(gpkg))
    journal = Journal(gpkg.with_name(f"{gpkg.name}.attachtrans"))
    journal.begin(JOB, again=again)
    safety = Safety(folder=gpkg.parent, backup=backup, secure=secure, again=again)
    try:
        sink = OverwriteSink(photos, journal, safety)
        try:
            yield sink, photos, journal
        finally:
            sink.close()
    finally:
        photos.close()
        journal.close()


def draft_of(photos: Photos, item: Item, data: bytes, *, reformatted: bool = False) -> Draft:
    """A result with any content."""
    return Draft(
        item=item,
        data=data,
        media_type="image/png",
        extension=".png",
        reformatted=reformatted,
        size_in=Size(1, 1),
        size_out=Size(2, 2),
        digest_in=digest_of(photos.read(item)),
        digest_out=digest_of(data),
    )


def readable(photos: Photos) -> list[Item]:
    """The items that have content."""
    found = []
    for item in photos:
        try:
            photos.read(item)
        except OSError:
            continue
        found.append(item)
    return found


@pytest.mark.parametrize("name", LAYOUTS)
def test_only_the_photos_change(name: str, fixture_copy: Copy) -> None:
    place = fixture_copy(name)
    gpkg = geopackage_in(place)
    before, rest = contents(place), everything_else(gpkg)
    with sink_on(gpkg) as (sink, photos, _):
        written = {}
        for index, item in enumerate(readable(photos)):
            data = f"result {index} of {item.key}".encode() * 50
            sink.commit(draft_of(photos, item, data))
            written[item.key] = data
        sink.finish()
    assert everything_else(gpkg) == rest
    after = contents(place)
    changed = {key: data for key, data in after.items() if data != before[key]}
    assert sorted(changed.values()) == sorted(written.values())
    with closing(sqlite3.connect(gpkg)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert not list(gpkg.parent.glob("*-wal"))


def test_size_and_last_change_follow(fixture_copy: Copy) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    with sink_on(gpkg) as (sink, photos, _):
        item = next(iter(photos))
        table = photos.place(item).table
        sink.commit(draft_of(photos, item, b"12345"))
        sink.finish()
    with closing(sqlite3.connect(gpkg)) as connection:
        query = f'SELECT DATA, DATA_SIZE FROM "{table.table}" WHERE {table.key} = ?'
        row = int(item.key.rpartition("/")[2])
        assert connection.execute(query, (row,)).fetchone() == (b"12345", 5)
        (moment,) = connection.execute(
            "SELECT last_change FROM gpkg_contents WHERE table_name = ?", (table.table,)
        ).fetchone()
    assert moment.startswith(time.strftime("%Y-%m", time.gmtime()))


def test_a_new_format_renames_the_attachment(fixture_copy: Copy) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    with sink_on(gpkg) as (sink, photos, _):
        item = next(iter(photos))
        sink.commit(draft_of(photos, item, b"12345", reformatted=True))
        photos.close()
        renamed = next(iter(photos))
    assert renamed.name == str(Path(item.name).with_suffix(".png"))
    assert renamed.media_type == "image/png"


def test_a_new_format_is_refused_for_files(fixture_copy: Copy) -> None:
    place = fixture_copy("mergin")
    before = contents(place)
    with sink_on(geopackage_in(place)) as (sink, photos, _):
        item = next(iter(photos))
        with pytest.raises(ImageError, match="--output"):
            sink.commit(draft_of(photos, item, b"12345", reformatted=True))
    assert contents(place) == before


@pytest.mark.parametrize("name", ["esri_globalid.gpkg", "mergin"])
def test_an_edit_meanwhile_wins(name: str, fixture_copy: Copy) -> None:
    place = fixture_copy(name)
    gpkg = geopackage_in(place)
    with sink_on(gpkg) as (sink, photos, _):
        item = next(iter(photos))
        draft = draft_of(photos, item, b"ours")
        where = photos.place(item)
        if where.files:
            where.files[0].write_bytes(b"theirs")
        else:
            with closing(sqlite3.connect(gpkg)) as connection, connection:
                connection.execute(
                    f'UPDATE "{where.table.table}" SET DATA = ? WHERE {where.table.key} = ?',
                    (b"theirs", where.row),
                )
        with pytest.raises(ChangedError, match="other program's version stays"):
            sink.commit(draft)
        sink.finish()
        photos.close()
        assert photos.read(item) == b"theirs"


def test_a_locked_file_is_said_to_be_locked(
    fixture_copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replace_module, "_PATIENCE_S", 0.2)
    gpkg = fixture_copy("esri_globalid.gpkg")
    before = contents(gpkg)
    with closing(sqlite3.connect(gpkg, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError, match="edit session"), sink_on(gpkg):
            pass
        other.execute("ROLLBACK")
    assert contents(gpkg) == before


class Neighbours:
    """As QGIS beside us: one connection after another reads everything, others commit edits."""

    def __init__(self, gpkg: Path) -> None:
        self.gpkg = gpkg
        self.stop = threading.Event()
        self.problems: list[Exception] = []
        self.edits = 0
        works = (self.read, self.edit)
        self.threads = [threading.Thread(target=self.loop, args=(work,)) for work in works]

    def loop(self, work: Callable[[sqlite3.Connection], None]) -> None:
        try:
            while not self.stop.is_set():
                with closing(sqlite3.connect(self.gpkg, timeout=20)) as connection, connection:
                    work(connection)
                time.sleep(0.005)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.problems.append(error)

    @staticmethod
    def read(connection: sqlite3.Connection) -> None:
        for (table,) in connection.execute("SELECT table_name FROM gpkg_contents").fetchall():
            connection.execute(f'SELECT * FROM "{table}"').fetchall()

    def edit(self, connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE gpkg_contents SET description = ?", (str(self.edits + 1),))
        connection.commit()
        self.edits += 1


def test_readers_and_writers_beside_us_are_survived(fixture_copy: Copy) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    neighbours = Neighbours(gpkg)
    with sink_on(gpkg) as (sink, photos, _):
        items = readable(photos)
        drafts = [draft_of(photos, item, item.key.encode() * 500) for item in items]
        for thread in neighbours.threads:
            thread.start()
        for draft in drafts:
            sink.commit(draft)
            time.sleep(0.02)
        neighbours.stop.set()
        for thread in neighbours.threads:
            thread.join()
        sink.finish()
        assert [photos.read(item) for item in items] == [draft.data for draft in drafts]
    assert not neighbours.problems
    assert neighbours.edits > 1
    with closing(sqlite3.connect(gpkg)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (said,) = connection.execute("SELECT description FROM gpkg_contents LIMIT 1").fetchone()
    assert said == str(neighbours.edits), "the other program's last edit is there"


@pytest.mark.parametrize("name", ["esri_globalid.gpkg", "blob_column.gpkg", "mergin"])
def test_secure_leaves_no_byte_of_the_originals(name: str, fixture_copy: Copy) -> None:
    place = fixture_copy(name)
    gpkg = geopackage_in(place)
    with sink_on(gpkg, secure=True) as (sink, photos, _):
        originals = {}
        for item in readable(photos):
            originals[item.key] = photos.read(item)
            sink.commit(draft_of(photos, item, b"blurred " * 20))
        notes = sink.finish()
    assert any("backup was deleted" in note for note in notes)
    everything = b"".join(path.read_bytes() for path in gpkg.parent.rglob("*") if path.is_file())
    for key, data in originals.items():
        middle = data[len(data) // 2 :][:64]
        if len(set(middle)) > 20:
            assert middle not in everything, key
    assert not list(gpkg.parent.glob("*.bak*"))


def test_secure_wipes_what_an_earlier_run_left_in_free_pages(fixture_copy: Copy) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    marker = b"face of somebody " * 4000
    with closing(sqlite3.connect(gpkg)) as connection, connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE old (data BLOB)")
        connection.execute("INSERT INTO old VALUES (?)", (marker,))
        connection.commit()
        connection.execute("DROP TABLE old")
    assert b"face of somebody " in gpkg.read_bytes()
    with sink_on(gpkg, secure=True) as (sink, _, _):
        sink.finish()
    assert b"face of somebody " not in gpkg.read_bytes()
    with closing(sqlite3.connect(gpkg)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("name", LAYOUTS)
def test_restart_brings_every_original_back(name: str, fixture_copy: Copy) -> None:
    place = fixture_copy(name)
    gpkg = geopackage_in(place)
    before, rest = contents(place), everything_else(gpkg)
    with sink_on(gpkg) as (sink, photos, _):
        for item in readable(photos):
            sink.commit(draft_of(photos, item, JPEG + b"first " + item.key.encode()))
        sink.finish()
    with sink_on(gpkg, again=True) as (sink, photos, _):
        for item in readable(photos):
            sink.commit(draft_of(photos, item, JPEG + b"second " + item.key.encode()))
        sink.finish()
    assert contents(place) != before
    photos = open_photos(gpkg, detect(gpkg))
    journal = Journal(gpkg.with_name(f"{gpkg.name}.attachtrans"))
    count = restore_originals(photos, journal, Safety(folder=gpkg.parent))
    photos.close()
    journal.close()
    assert count > 0
    assert contents(place) == before
    assert everything_else(gpkg) == rest


def test_restart_without_a_backup_changes_nothing(fixture_copy: Copy) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    with sink_on(gpkg, backup=False) as (sink, photos, journal):
        item = next(iter(photos))
        sink.commit(draft_of(photos, item, b"result"))
        with pytest.raises(SinkError, match="needs the backup"):
            restore_originals(photos, journal, Safety(folder=gpkg.parent))


def test_a_photo_added_after_the_backup_is_backed_up_too(fixture_copy: Copy) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    with sink_on(gpkg) as (sink, photos, _):
        item = next(iter(photos))
        table, row = photos.place(item).table, photos.place(item).row
        sink.commit(draft_of(photos, item, b"result"))
        sink.finish()
    with closing(sqlite3.connect(gpkg)) as connection, connection:
        connection.execute(
            f'UPDATE "{table.table}" SET DATA = ? WHERE {table.key} = ?', (b"a new photo", row)
        )
    with sink_on(gpkg) as (sink, photos, _):
        sink.commit(draft_of(photos, item, b"second result"))
        sink.finish()
    with sink_on(gpkg) as (_, photos, journal):
        pass
    photos = open_photos(gpkg, detect(gpkg))
    journal = Journal(gpkg.with_name(f"{gpkg.name}.attachtrans"))
    restore_originals(photos, journal, Safety(folder=gpkg.parent))
    assert photos.read(item) == b"a new photo"
    photos.close()
    journal.close()


def test_a_backup_without_its_journal_stops_the_run(fixture_copy: Copy) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    with sink_on(gpkg) as (sink, photos, _):
        sink.commit(draft_of(photos, next(iter(photos)), b"result"))
        sink.finish()
    gpkg.with_name(f"{gpkg.name}.attachtrans").unlink()
    with pytest.raises(SinkError, match=r"journal .* is missing"), sink_on(gpkg):
        pass


def test_no_backup_is_made_when_nothing_is_replaced(fixture_copy: Copy) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    with sink_on(gpkg) as (sink, _, _):
        assert not any("originals are kept" in note for note in sink.finish())
    assert not list(gpkg.parent.glob("*.bak*"))


def test_a_marked_photo_that_the_journal_does_not_know_is_refused(fixture_copy: Copy) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    with sink_on(gpkg) as (sink, photos, _):
        item = next(iter(photos))
        reason = sink.objection(item, "unknown digest", ("attachtrans 0.1.0 model=x",))
        assert reason is not None
        assert "--again" in reason.reason
        assert sink.objection(item, "unknown digest", ()) is None
    with sink_on(gpkg, again=True) as (sink, photos, _):
        assert sink.objection(item, "unknown digest", ("attachtrans 0.1.0 model=x",)) is None


def test_a_result_that_sqlite_cannot_hold_fails_alone(fixture_copy: Copy) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    with sink_on(gpkg) as (sink, photos, _):
        item, other = list(photos)[:2]
        before = photos.read(item)
        with closing(sqlite3.connect(gpkg)) as connection, connection:
            table = photos.place(item).table.table
            connection.execute(
                f'CREATE TRIGGER guard BEFORE UPDATE ON "{table}" WHEN length(NEW.DATA) > 1000 '
                "BEGIN SELECT RAISE(ABORT, 'too large for this office'); END"
            )
        with pytest.raises(ImageError, match="too large for this office"):
            sink.commit(draft_of(photos, item, b"x" * 2000))
        sink.commit(draft_of(photos, other, b"small"))
        photos.close()
        assert photos.read(item) == before
        assert photos.read(other) == b"small"


def test_secure_does_not_take_a_plain_result_for_done(fixture_copy: Copy) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    with sink_on(gpkg) as (sink, photos, _):
        item = next(iter(photos))
        draft = draft_of(photos, item, b"result")
        sink.commit(draft)
        sink.finish()
    photos = open_photos(gpkg, detect(gpkg))
    journal = Journal(gpkg.with_name(f"{gpkg.name}.attachtrans"))
    journal.begin(
        JobDescription(
            source="s", fingerprint=secured("f"), model="m", arguments="{}", version="0"
        ),
        again=False,
    )
    safety = Safety(folder=gpkg.parent, secure=True)
    sink = OverwriteSink(photos, journal, safety, fingerprint="f")
    assert not sink.holds(item, draft.digest_out)
    objection = sink.objection(item, draft.digest_out, ())
    assert objection is not None
    assert "--restart --secure" in objection.reason
    sink.close()
    photos.close()
    journal.close()


def test_a_full_disk_is_found_before_anything_changes(
    fixture_copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpkg = fixture_copy("esri_globalid.gpkg")
    before = gpkg.read_bytes()
    usage = shutil.disk_usage(gpkg.parent)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SinkError, match="MB free"), sink_on(gpkg):
        pass
    assert gpkg.read_bytes() == before
