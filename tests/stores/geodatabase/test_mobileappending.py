"""Results added to classes of mobile geodatabases, as SQLite and GDAL see them."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import shapely

from attachtrans.errors import ArgumentError, BusyError, SchemaError, SinkError
from attachtrans.stores.catalog import detect
from attachtrans.stores.geodatabase import append as append_module
from attachtrans.stores.geodatabase.source import as_source
from attachtrans.stores.held import held
from attachtrans.stores.photos import open_photos
from attachtrans.tool.translate import parse_output
from tests.stores.appending import MARK
from tests.stores.geodatabase import mobileworld as world
from tests.stores.geodatabase.test_appending import append
from tests.stores.geodatabase.test_overwriting import leftovers
from tests.stores.geodatabase.world import rows

COLUMNS = ("name text(80)", "seen realdate")
OURS = ("done", "done__ATTACH", "GDB_RowidGenerators")


@pytest.fixture
def out(mobile: Path) -> Path:
    """A mobile geodatabase with an empty class for the results of `mobile`'s assets."""
    output = shutil.copy(mobile, mobile.with_name("out.geodatabase"))
    world.add_class(output, "done", COLUMNS)
    return output


def test_features_and_photos_are_added_and_nothing_else_changes(mobile: Path, out: Path) -> None:
    before = world.others(out, *OURS)
    assert append(mobile, out, "done", layer="assets") == {"done": 4, "kept": 1}
    assert world.others(out, *OURS) == before
    assert world.damage(out) == {"ok"}
    assert not leftovers(out.parent)

    assets, done = world.table(mobile, "assets"), world.table(out, "done")
    assert list(done) == [7, 8, 9, 10]
    for original, feature in zip(assets.values(), done.values(), strict=True):
        assert feature["name"] == original["name"]
        assert feature["seen"] == pytest.approx(original["seen"], abs=1e-8)
        assert feature["Shape"] == original["Shape"]
        assert feature["SRC_GLOBALID"] == original["GlobalID"] != feature["GlobalID"]
        assert feature["SRC_FID"] == original["OBJECTID"]
    entries = [world.index(mobile, "assets"), world.index(out, "done")]
    assert list(entries[1]) == [7, 8, 9]
    assert list(entries[0].values()) == list(entries[1].values())

    attached = world.table(out, "done__ATTACH")
    guids = {feature["SRC_FID"]: feature["GlobalID"] for feature in done.values()}
    assert [row["REL_GLOBALID"] for row in attached.values()] == [guids[n] for n in (1, 1, 2, 2, 3)]
    originals = world.table(mobile, "assets__ATTACH")
    for row, key in zip(attached.values(), (1, 2, 3, 4, 6), strict=True):
        mark = b"" if originals[key]["ATT_NAME"] == "report.pdf" else MARK
        assert row["DATA"] == originals[key]["DATA"] + mark
        assert row["DATA_SIZE"] == len(row["DATA"])
        assert row["ATT_NAME"] == originals[key]["ATT_NAME"]
    # The object id to give next, and the first of those given last.
    generators = [(r["base_id"], r["last_id"]) for r in _generators(out)]
    assert generators == [(11, 7), (12, 7)]


def _generators(path: Path) -> list[dict[str, int]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM GDB_RowidGenerators")]


def test_the_same_again_adds_nothing_and_another_model_does(mobile: Path, out: Path) -> None:
    append(mobile, out, "done", layer="assets")
    first = {name: world.table(out, name) for name in OURS[:2]}
    assert append(mobile, out, "done", layer="assets") == {"already": 5}
    assert {name: world.table(out, name) for name in OURS[:2]} == first
    assert held(out, "fp1", None).digests
    assert not held(out, "fp2", None).digests
    append(mobile, out, "done", layer="assets", model="fp2")
    for name, features in first.items():
        now = world.table(out, name)
        assert features.items() <= now.items()
        assert len(now) == 2 * len(features)
    assert world.damage(out) == {"ok"}


def test_results_are_photos_to_read_and_to_translate(mobile: Path, out: Path) -> None:
    append(mobile, out, "done", layer="assets")
    readable = as_source(out)
    tables = detect(readable, layer="done")
    with closing(open_photos(readable, tables)) as photos:
        names = [(item.name, len(item.features)) for item in photos]
    assert names == [
        *[(name, 1) for name in ("Photo1.jpg", "Photo2.jpg", "Photo1.jpg", "report.pdf")],
        ("scan.png", 1),
    ]


def test_a_class_of_the_source_itself(mobile: Path) -> None:
    world.add_class(mobile, "done", COLUMNS, generator=None)
    before = world.others(mobile, *OURS)
    assert append(mobile, mobile, "done", layer="assets") == {"done": 4, "kept": 1}
    assert append(mobile, mobile, "done") == {"already": 5}
    assert list(world.table(mobile, "done")) == [1, 2, 3, 4]
    assert world.others(mobile, *OURS) == before


def test_lines_of_another_kind_of_geodatabase(gdb: Path, out: Path) -> None:
    world.add_class(out, "parts", ["name text(80)"], kind=5)
    append(gdb, out, "parts", layer="sections")
    originals = [shapely.geometry.shape(s["geometry"]) for s in rows(gdb)["sections"].values()]
    found = [shapely.from_wkb(wkb) for wkb in world.places(out, "parts").values() if wkb]
    assert len(found) == len(originals) == 2
    for line, original, bounds in zip(
        found, originals, world.index(out, "parts").values(), strict=True
    ):
        assert shapely.equals_exact(line, original, 1e-4)
        min_x, max_x, min_y, max_y = bounds
        assert shapely.box(min_x, min_y, max_x, max_y).contains(original)
    assert world.damage(out) == {"ok"}


def test_a_photo_that_changed_is_done_again_in_its_place(mobile: Path, out: Path) -> None:
    append(mobile, out, "done", layer="assets")
    first = world.table(out, "done__ATTACH")
    with closing(sqlite3.connect(mobile)) as connection, connection:
        connection.execute(
            "UPDATE assets__ATTACH SET DATA = CAST(DATA || 'x' AS BLOB) WHERE ATTACHMENTID = 1"
        )
    features = world.table(out, "done")
    assert append(mobile, out, "done", layer="assets") == {"already": 4, "done": 1}
    second = world.table(out, "done__ATTACH")
    assert [key for key in second if second[key] != first[key]] == [min(first)]
    assert second[min(first)]["DATA"] == world.table(mobile, "assets__ATTACH")[1]["DATA"] + MARK
    assert world.table(out, "done") == features


def test_an_interrupted_run_is_put_in_by_the_next(mobile: Path, out: Path) -> None:
    before = out.read_bytes()
    append(mobile, out, "done", layer="assets", stop_after=2)
    assert out.read_bytes() == before
    assert leftovers(out.parent)
    assert append(mobile, out, "done", layer="assets") == {"already": 2, "done": 2, "kept": 1}
    assert len(world.table(out, "done__ATTACH")) == 5
    assert not leftovers(out.parent)


@pytest.mark.parametrize("kind", ["gdb", "mobile"])
def test_a_run_that_was_killed_after_all_was_in_adds_nothing_twice(
    kind: str, mobile: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = out if kind == "mobile" else out.with_name("out.gdb")
    with monkeypatch.context() as patched:
        patched.setattr(append_module, "drop_staging", lambda _: None)
        append(mobile, output, "done", layer="assets")
    assert leftovers(out.parent)
    assert append(mobile, output, "done", layer="assets") == {"already": 5}
    found = rows(output)["done__ATTACH"] if kind == "gdb" else world.table(output, "done__ATTACH")
    assert len(found) == 5
    assert not leftovers(out.parent)


def _execute(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(sql)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("CREATE VIEW done_evw AS SELECT * FROM done", "offline replica"),
        ("ALTER TABLE done ADD gdb_to_date realdate", "offline replica"),
        (
            """INSERT INTO GDB_Items (UUID, Type, Name) VALUES
            ('{3E5DE48A-7267-549B-A7E0-EC9AEE4DC106}',
             '{D86502F9-9758-45C6-9D23-6DD1A0107B47}', 'done')""",
            "registered for synchronising",
        ),
        ("ALTER TABLE done DROP COLUMN SRC_LAYER", "has no column SRC_LAYER"),
        ("DROP TABLE done__ATTACH", "has no column REL_GLOBALID"),
        ("UPDATE st_geometry_columns SET srid = 4326", "done is in NONE:0"),
        ("DROP TABLE st_spindex__done_Shape", "spatial index of done is of a kind"),
        (
            "CREATE TRIGGER own AFTER INSERT ON done BEGIN SELECT ST_AsText(NEW.Shape); END",
            "no such function: ST_AsText",
        ),
        (
            """CREATE TRIGGER short BEFORE INSERT ON done WHEN length(NEW.name) > 3
            BEGIN SELECT RAISE(ABORT, 'name is too long'); END""",
            "name is too long",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    sql: str, message: str, mobile: Path, out: Path
) -> None:
    _execute(out, sql)
    before = out.read_bytes()
    with pytest.raises(SchemaError, match=message):
        append(mobile, out, "done", layer="assets")
    assert out.read_bytes() == before


def test_new_classes_new_files_and_other_geometries_are_refused(
    mobile: Path, gdb: Path, out: Path
) -> None:
    before = out.read_bytes()
    with pytest.raises(SchemaError, match=r"has no class more.*out\.gdb:more"):
        append(mobile, out, "more", layer="assets")
    with pytest.raises(SchemaError, match="not made by attachtrans"):
        append(mobile, out, "assets", layer="assets")
    with pytest.raises(SchemaError, match="Z"):
        append(gdb, out, "done", layer="assets")
    with pytest.raises(SchemaError, match="POINT"):
        append(gdb, out, "done", layer="sections")
    assert out.read_bytes() == before
    assert str(parse_output(f"{out}:done", "attach")) == f"{out}:done"
    with pytest.raises(ArgumentError, match="holds photos as attachments"):
        parse_output(str(out), "media")
    with pytest.raises(ArgumentError, match=r"only Esri's software makes .* out\.gdb"):
        parse_output(str(out.with_name("new.geodatabase")), "attach")


def test_a_geodatabase_in_use_is_not_waited_for_in_vain(
    mobile: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attachtrans.stores.geodatabase.mobilepublish._PATIENCE_S", 0.1)
    with closing(sqlite3.connect(out, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError, match="locked by another program"):
            append(mobile, out, "done", layer="assets")
    assert not leftovers(out.parent)
    append(mobile, out, "done", layer="assets")
    assert len(world.table(out, "done__ATTACH")) == 5


def test_a_damaged_index_and_a_lost_row_stop_the_run(mobile: Path, out: Path) -> None:
    append(mobile, out, "done", layer="assets")
    _execute(out, "DELETE FROM st_spindex__done_Shape_rowid WHERE rowid = 8")
    before = out.read_bytes()
    with pytest.raises(SinkError, match="spatial index of done is damaged"):
        append(mobile, out, "done", layer="assets", model="fp2")
    assert out.read_bytes() == before


def test_gdal_reads_what_was_added(mobile: Path, out: Path) -> None:
    if shutil.which("ogrinfo") is None:
        pytest.skip("ogrinfo is not installed")
    append(mobile, out, "done", layer="assets")
    command = ["ogrinfo", "-ro", "-al", "-so", str(out), "done", "done__ATTACH"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert [line for line in said.splitlines() if line.startswith("Feature Count")] == [
        "Feature Count: 4",
        "Feature Count: 5",
    ]


@pytest.mark.slow
def test_a_class_in_a_real_geodatabase(shared: Path, tmp_path: Path) -> None:
    """States with photos go into a class beside the real ones, in a copy of the real file."""
    source = shared / "data/geopackage/made/usa_attach_synth.geodatabase"
    out = tmp_path / "out.geodatabase"
    out.write_bytes((shared / "data/geopackage/esri_usa.geodatabase").read_bytes())
    with closing(sqlite3.connect(source)) as connection:
        described = connection.execute(
            "SELECT name, lower(type) FROM pragma_table_info('USStates') WHERE pk = 0"
        ).fetchall()
    columns = [f"{name} {kind}" for name, kind in described if name not in ("Shape", "GlobalID")]
    world.add_class(out, "states", columns, kind=6)
    _execute(
        out,
        "INSERT INTO GDB_Layers SELECT NULL, description, 'states', spatial_column, eflags, "
        "layer_mask, 9.999e35, 9.999e35, -9.999e35, -9.999e35, minz, minm, maxz, maxm, cdate, "
        "minimum_id, srid, base_layer_id FROM GDB_Layers WHERE table_name = 'USStates'",
    )
    ours = ("states", "states__ATTACH", "GDB_RowidGenerators", "GDB_Layers", "GDB_TablesModified")
    before = world.others(out, *ours)
    append(source, out, "states", layer="USStates")
    assert world.others(out, *ours) == before
    assert world.damage(out) == {"ok"}
    real, added = world.places(out, "USStates"), world.places(out, "states")
    assert list(added.values()) == list(real.values())
    assert sorted(world.index(out, "states").values()) == sorted(
        world.index(out, "USStates").values()
    )
    with closing(sqlite3.connect(out)) as connection:
        bounds = "SELECT minx, miny, maxx, maxy FROM GDB_Layers WHERE table_name = ?"
        assert (
            connection.execute(bounds, ("states",)).fetchone()
            == connection.execute(bounds, ("USStates",)).fetchone()
        )
