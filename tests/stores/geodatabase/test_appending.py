"""Results appended to feature classes of file geodatabases, as fiona's GDAL and SQLite see them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from attachtrans.errors import ArgumentError, SchemaError, SinkError
from attachtrans.stores.catalog import detect
from attachtrans.stores.classes import without_results
from attachtrans.stores.features import FeatureClassSink
from attachtrans.stores.geodatabase import publish as publish_module
from attachtrans.stores.geodatabase.append import GeodatabaseSink, open_staging
from attachtrans.stores.geodatabase.gdal import opened
from attachtrans.stores.geodatabase.source import as_source
from attachtrans.stores.held import held
from attachtrans.stores.outputclass import OutputClass
from attachtrans.stores.photos import open_photos
from attachtrans.tool.translate import parse_output
from tests.stores.appending import MARK, drive, provenance
from tests.stores.geodatabase.test_overwriting import leftovers
from tests.stores.geodatabase.world import photos_in, relationships, rows

_OWN = ("GlobalID", "SRC_FILE", "SRC_LAYER", "SRC_GLOBALID", "SRC_FID", "MODEL_FP")


def append(
    origin: Path,
    output: Path,
    name: str,
    *,
    model: str = "fp1",
    stop_after: int | None = None,
    **wish: Any,
) -> dict[str, int]:
    """One run; says how many items were done, kept, there already."""
    readable = as_source(origin)
    tables = without_results(readable, detect(readable, **wish), output, name)
    photos = open_photos(readable, tables)
    staging = open_staging(output)
    target = OutputClass(path=staging, layer=name)
    inner = FeatureClassSink(origin, photos, target, provenance(model))
    sink = GeodatabaseSink(inner, staging, output)
    if stop_after == 0:
        sink.close()
        photos.close()
        return {}
    return dict(drive(sink, photos, stop_after=stop_after))


@pytest.fixture
def out(gdb: Path) -> Path:
    """A geodatabase with one class that was appended."""
    output = gdb.with_name("out.gdb")
    append(gdb, output, "done", layer="assets")
    return output


def test_a_new_class_has_features_photos_and_their_relationship(gdb: Path, out: Path) -> None:
    before, after = rows(gdb), rows(out)
    assert list(after) == ["done", "done__ATTACH"]
    for original, feature in zip(before["assets"].values(), after["done"].values(), strict=True):
        carried = {name: value for name, value in feature.items() if name not in _OWN}
        assert carried == {n: v for n, v in original.items() if n != "GlobalID"}
        assert feature["SRC_GLOBALID"] == original["GlobalID"]
        assert feature["GlobalID"] != original["GlobalID"]
    assert [f["SRC_FID"] for f in after["done"].values()] == [1, 2, 3, 4]
    guids = {f["SRC_FID"]: f["GlobalID"] for f in after["done"].values()}
    attached = list(after["done__ATTACH"].values())
    assert [a["REL_GLOBALID"] for a in attached] == [guids[n] for n in (1, 1, 2, 2, 3)]
    originals = [before["assets__ATTACH"][key] for key in ("1", "2", "3", "4", "6")]
    for attachment, original in zip(attached, originals, strict=True):
        mark = b"" if original["ATT_NAME"] == "report.pdf" else MARK
        assert attachment["DATA"] == original["DATA"] + mark
        assert attachment["DATA_SIZE"] == len(attachment["DATA"])
        for name in ("ATT_NAME", "CONTENT_TYPE", "KEYWORDS", "ATT_ALT_TEXT", "EXIFINFO"):
            assert attachment[name] == original[name]
    assert relationships(out) == [
        {
            "name": "done__ATTACHREL",
            "tables": ["done", "done__ATTACH"],
            "fields": ["GlobalID", "REL_GLOBALID"],
            "kind": "media",
            "composite": True,
            "one to many": True,
        }
    ]
    assert not leftovers(out.parent)


def test_the_same_again_adds_nothing_and_another_model_does(gdb: Path, out: Path) -> None:
    first = rows(out)
    assert append(gdb, out, "done", layer="assets") == {"already": 5}
    assert rows(out) == first
    assert held(out, "fp1", None).digests
    assert not held(out, "fp2", None).digests
    append(gdb, out, "done", layer="assets", model="fp2")
    second = rows(out)
    for table, features in first.items():
        assert features.items() <= second[table].items()
        assert len(second[table]) == 2 * len(features)


@pytest.mark.slow
def test_a_class_beside_others_leaves_them_alone(gdb: Path) -> None:
    before, relations = rows(gdb), relationships(gdb)
    append(gdb, gdb, "sections_done", layer="sections")
    after = rows(gdb)
    assert {table: after[table] for table in before} == before
    assert len(after["sections_done"]) == 2
    assert len(after["sections_done__ATTACH"]) == 1
    assert [one for one in relationships(gdb) if one["name"] != "sections_done__ATTACHREL"] == (
        relations
    )
    # Its own results are no photos to translate.
    readable = as_source(gdb)
    tables = without_results(readable, detect(readable), gdb, "more")
    assert [table.table for table in tables] == ["assets__ATTACH", "section_photos"]


def test_a_photo_that_changed_is_done_again_in_its_place(gdb: Path, out: Path) -> None:
    with opened(gdb) as file:
        photo = photos_in(gdb)["assets__ATTACH/2"]
        file.update("assets__ATTACH", 1, {"DATA": photo + b"x", "DATA_SIZE": len(photo) + 1})
    first = rows(out)
    assert append(gdb, out, "done", layer="assets") == {"already": 4, "done": 1}
    second = rows(out)
    assert second["done"] == first["done"]
    changed = {
        key for key, row in second["done__ATTACH"].items() if row != first["done__ATTACH"][key]
    }
    assert changed == {"1"}
    assert second["done__ATTACH"]["1"]["DATA"] == photo + b"x" + MARK


@pytest.mark.slow
def test_an_interrupted_run_is_put_in_by_the_next(gdb: Path) -> None:
    output = gdb.with_name("out.gdb")
    append(gdb, output, "done", layer="assets", stop_after=2)
    assert not output.exists()
    assert leftovers(output.parent)
    assert append(gdb, output, "done", layer="assets") == {"already": 2, "done": 2, "kept": 1}
    assert len(rows(output)["done__ATTACH"]) == 5
    assert not leftovers(output.parent)


@pytest.mark.slow
def test_a_run_that_came_to_no_photo_left_a_whole_class(gdb: Path) -> None:
    output = gdb.with_name("out.gdb")
    append(gdb, output, "done", layer="assets", stop_after=0)
    append(gdb, output, "more", layer="sections")
    found = rows(output)
    assert len(found["done"]) == 4
    assert not found["done__ATTACH"]
    assert [one["name"] for one in relationships(output)] == ["done__ATTACHREL", "more__ATTACHREL"]
    assert append(gdb, output, "done", layer="assets") == {"done": 4, "kept": 1}
    assert len(rows(output)["done__ATTACH"]) == 5


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_run_that_was_killed_at_once_left_nothing(is_begun: bool, gdb: Path) -> None:
    output = gdb.with_name("out.gdb")
    staging = output.with_name(".out.gdb.attachtrans-staged.gpkg")
    staging.touch()
    if is_begun:
        with closing(sqlite3.connect(staging)) as connection:
            connection.execute("PRAGMA user_version = 1")
    append(gdb, output, "done", layer="sections")
    assert len(rows(output)["done"]) == 2


def test_geopackages_go_into_geodatabases(fixtures_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.gdb"
    append(fixtures_dir / "related_media.gpkg", output, "trees", layer="trees")
    found = rows(output)
    assert [feature["species"] for feature in found["trees"].values()] == ["Tilia cordata"] * 3
    assert found["trees"]["1"]["geometry"]["coordinates"][2] > 0
    # Photo 18 hangs on two trees.
    names = sorted(row["SRC_ATT"] for row in found["trees__ATTACH"].values())
    assert names == ["media.data/17", *["media.data/18"] * 2, "media.data/25"]
    assert append(fixtures_dir / "related_media.gpkg", output, "trees", layer="trees") == {
        "already": 3
    }
    assert rows(output) == found


@pytest.mark.slow
def test_what_does_not_fit_is_refused_and_changes_nothing(
    gdb: Path, out: Path, fixtures_dir: Path, tmp_path: Path
) -> None:
    before = rows(out)
    with pytest.raises(SchemaError, match="holds geometries of type POINT, the source has others"):
        append(gdb, out, "done", layer="sections")
    with pytest.raises(SchemaError, match="not made by attachtrans"):
        append(out, gdb, "assets", layer="done")
    with pytest.raises(SchemaError, match="letters, digits and underscores"):
        append(gdb, out, "no name", layer="assets")
    assert rows(out) == before
    name = 'Schächte "Süd"; 2 % neu'
    with pytest.raises(SchemaError, match=r"--output out\.gpkg"):
        append(fixtures_dir / "esri_objectid.gpkg", tmp_path / "b.gdb", "b", layer=name)
    (out / "some.sr.lock").touch()
    with pytest.raises(SinkError, match="open in another program"):
        append(gdb, out, "more", layer="assets")


@pytest.mark.slow
def test_a_row_that_did_not_come_back_stops_the_run(
    gdb: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(out)
    monkeypatch.setattr(publish_module, "_equal", lambda *_: False)
    with pytest.raises(SinkError, match="was not written as it should be"):
        append(gdb, out, "more", layer="assets")
    assert rows(out) == before


def test_outputs_are_named_as_those_of_geopackages_are() -> None:
    assert parse_output("a/b.gdb:trees", "attach") == OutputClass(
        path=Path("a/b.gdb"), layer="trees"
    )
    assert str(parse_output("b.GDB", "attach")) == "b.GDB"
    with pytest.raises(ArgumentError, match="holds photos as attachments"):
        parse_output("b.gdb", "media")
    with pytest.raises(ArgumentError, match=r"Write to out\.gpkg or out\.gdb"):
        parse_output("b.geodatabase:trees", "attach")
