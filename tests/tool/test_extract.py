"""Extraction against what sqlite3 and the files say."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from attachtrans.errors import ArgumentError, LayoutError, OutputExistsError, SinkError
from attachtrans.tool.extract import (
    ExtractionReport,
    FileStatus,
    extract_photos,
    plan_extraction,
)

SOURCES = [
    "esri_globalid.gpkg",
    "esri_objectid.gpkg",
    "related_media.gpkg",
    "blob_column.gpkg",
    "qfield/survey.gpkg",
    "mergin/data/survey.gpkg",
    "odk/submissions.gpkg",
    "geotagged/photos.gpkg",
]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def features_of(report: ExtractionReport) -> list[dict]:
    return json.loads(report.index.read_text(encoding="utf-8"))["features"]


def change(source: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(source)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return source


@pytest.mark.parametrize("name", SOURCES)
def test_every_layout_comes_out_and_a_second_run_writes_nothing(fixtures_dir, tmp_path, name):
    report = extract_photos(fixtures_dir / name, tmp_path / "out")
    files = tree(tmp_path / "out")
    done = [file for file in report.files if file.status is FileStatus.WRITTEN]
    assert {file.file for file in done} | {"photos.geojson"} == set(files)
    for file in done:
        assert hashlib.sha256(files[file.file]).hexdigest() == file.digest
        assert len(files[file.file]) == file.nbytes
    expected = [(f.file, r.layer, r.fid) for f in done for r in f.item.features or ()]
    rows = [feature["properties"] for feature in features_of(report)]
    assert [(r["file"], r["layer"], r["fid"]) for r in rows if r["layer"]] == expected
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.jpg")}
    again = extract_photos(fixtures_dir / name, tmp_path / "out")
    assert not again.counts[FileStatus.WRITTEN]
    assert again.counts[FileStatus.PRESENT] == len(done)
    assert tree(tmp_path / "out") == files
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_bytes_are_those_of_the_table(fixtures_dir, tmp_path):
    source = fixtures_dir / "esri_globalid.gpkg"
    report = extract_photos(source, tmp_path)
    with closing(sqlite3.connect(source)) as connection:
        stored = dict(connection.execute("SELECT ATTACHMENTID, DATA FROM assets__ATTACH"))
    found = {
        int(f.item.key.rpartition("/")[2]): (tmp_path / f.file).read_bytes() for f in report.files
    }
    assert found == stored
    assert report.ok, [file.reason for file in report.files if file.reason]


def test_endings_follow_content_and_documents_keep_theirs(fixtures_dir, tmp_path):
    report = extract_photos(fixtures_dir / "esri_globalid.gpkg", tmp_path, index="none")
    by_name = {file.item.name: file for file in report.files}
    assert by_name["a png by content.jpg"].file == "a png by content.png"
    assert by_name["report.pdf"].media_type == "application/pdf"
    assert report.index is None
    assert not (tmp_path / "photos.geojson").exists()


def test_only_images(fixtures_dir, tmp_path):
    report = extract_photos(fixtures_dir / "esri_globalid.gpkg", tmp_path, only_images=True)
    assert report.counts[FileStatus.SKIPPED] == 2
    assert not list(tmp_path.glob("*.pdf")) + list(tmp_path.glob("*.mp4"))


def test_a_missing_file_is_one_failure(fixtures_dir, tmp_path):
    report = extract_photos(fixtures_dir / "odk" / "submissions.gpkg", tmp_path)
    assert report.counts == {FileStatus.WRITTEN: 2, FileStatus.FAILED: 1}
    assert not report.ok


def test_a_shared_photo_is_one_file_with_several_rows(fixtures_dir, tmp_path):
    report = extract_photos(fixtures_dir / "related_media.gpkg", tmp_path)
    rows = [feature["properties"] for feature in features_of(report)]
    shared = [row for row in rows if row["file"] == "trees/two trees.jpg"]
    assert len(shared) == 2
    assert [r["layer"] for r in rows if r["file"] == "no_feature/unlinked.jpg"] == [None]


def test_names_by_attributes(fixtures_dir, tmp_path):
    report = extract_photos(
        fixtures_dir / "esri_globalid.gpkg",
        tmp_path,
        name_by="{condition}/{name} {n}",
        where="OBJECTID >= 10",
    )
    files = [file.file for file in report.files]
    assert "2/Asset 0010 1.jpg" in files
    assert "2/Asset 0010 2.jpg" in files
    rows = {f["properties"]["file"]: f["properties"] for f in features_of(report)}
    assert rows["2/Asset 0010 1.jpg"]["name"] == "Asset 0010"


@pytest.mark.parametrize("template", ["{nothing}", "{name", "name}", "{}", "/", ""])
def test_a_wrong_template_says_what_there_is(fixtures_dir, tmp_path, template):
    with pytest.raises(ArgumentError, match="--name"):
        plan_extraction(fixtures_dir / "esri_globalid.gpkg", tmp_path, name_by=template)


EVIL = [
    "../../evil.jpg",
    "/etc/evil.jpg",
    "..\\..\\evil.jpg",
    "CON.jpg",
    "a\0b.jpg",
    "x" * 400 + ".jpg",
]


@pytest.mark.parametrize("name_by", [None, "{name}/{name}", "../../{name}"])
def test_nothing_is_written_outside(fixture_copy, tmp_path, name_by):
    source = fixture_copy("esri_globalid.gpkg")
    with closing(sqlite3.connect(source)) as connection:
        for key, name in enumerate(EVIL, start=3):
            connection.execute(
                "UPDATE assets__ATTACH SET ATT_NAME = ? WHERE ATTACHMENTID = ?", (name, key)
            )
        connection.execute("DROP TRIGGER IF EXISTS rtree_assets_SHAPE_update6")
        for number, name in enumerate(EVIL, start=1):
            connection.create_function("ST_IsEmpty", 1, lambda _: 0)
            for edge in ("ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
                connection.create_function(edge, 1, lambda _: 0)
            connection.execute("UPDATE assets SET name = ? WHERE OBJECTID = ?", (name, number))
        connection.commit()
    out = tmp_path / "deep" / "out"
    before = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    report = extract_photos(source, out, layout="attach", name_by=name_by)
    assert report.ok, [file.reason for file in report.files if file.reason]
    assert all((out / file.file).resolve().is_relative_to(out) for file in report.files)
    after = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    assert after - before <= {tmp_path / "deep"}


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_in_the_folder_leads_nowhere(fixtures_dir, tmp_path):
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    out.mkdir()
    (out / "trees").symlink_to(elsewhere)
    report = extract_photos(fixtures_dir / "related_media.gpkg", out)
    assert not tree(elsewhere)
    assert report.counts[FileStatus.FAILED]
    assert "leads out" in next(f.reason for f in report.files if f.status is FileStatus.FAILED)


def test_a_file_with_other_content_is_never_replaced(fixtures_dir, tmp_path):
    (tmp_path / "Photo2.jpg").write_bytes(b"mine")
    report = extract_photos(fixtures_dir / "esri_globalid.gpkg", tmp_path)
    assert (tmp_path / "Photo2.jpg").read_bytes() == b"mine"
    assert [f.item.name for f in report.files if f.status is FileStatus.FAILED] == ["Photo2.jpg"]


@pytest.mark.parametrize("kind", ["geojson", "geoparquet"])
def test_a_foreign_index_is_not_replaced(fixtures_dir, tmp_path, kind):
    for name in ("photos.geojson", "photos.parquet"):
        (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="not an index"):
        plan_extraction(fixtures_dir / "esri_globalid.gpkg", tmp_path, index=kind)


def test_dry_run_writes_nothing(fixtures_dir, tmp_path):
    report = extract_photos(fixtures_dir / "esri_globalid.gpkg", tmp_path / "out", dry_run=True)
    assert report.counts == {FileStatus.PLANNED: 21}
    assert not (tmp_path / "out").exists()


def test_a_broken_off_run_is_resumed(fixtures_dir, tmp_path):
    run = iter(plan_extraction(fixtures_dir / "esri_globalid.gpkg", tmp_path))
    for _ in range(5):
        next(run)
    run.close()
    assert not (tmp_path / "photos.geojson").exists()
    report = extract_photos(fixtures_dir / "esri_globalid.gpkg", tmp_path)
    assert report.counts == {FileStatus.PRESENT: 5, FileStatus.WRITTEN: 16}
    assert len(features_of(report)) == 21


def test_a_folder_that_cannot_be_written_ends_the_run(fixtures_dir, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SinkError, match="cannot be written"):
        extract_photos(fixtures_dir / "esri_globalid.gpkg", tmp_path / "file" / "out")


def test_wrong_arguments(fixtures_dir, tmp_path):
    source = fixtures_dir / "esri_globalid.gpkg"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArgumentError, match="is a file"):
        plan_extraction(source, tmp_path / "file")
    with pytest.raises(ArgumentError, match="--index"):
        plan_extraction(source, tmp_path, index="shapefile")
    with pytest.raises(LayoutError):
        plan_extraction(source, tmp_path, layout="blob")


READ = """
import sys, json, geopandas
path = sys.argv[1]
frame = geopandas.read_parquet(path) if path.endswith("parquet") else geopandas.read_file(path)
print(json.dumps({"crs": frame.crs.to_epsg() if frame.crs else None, "n": len(frame),
    "empty": int(frame.geometry.isna().sum()), "columns": list(frame.columns),
    "bounds": list(frame.total_bounds)}))
"""


def read_by_geopandas(path: Path) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_index_opens_in_gis(fixtures_dir, tmp_path):
    source = fixtures_dir / "mergin" / "data" / "survey.gpkg"
    shown = read_by_geopandas(extract_photos(source, tmp_path / "a").index)
    assert shown["crs"] in (4326, 4979)
    assert 9 < shown["bounds"][0] < 10
    assert 51 < shown["bounds"][1] < 52
    pytest.importorskip("pyarrow")
    exact = read_by_geopandas(extract_photos(source, tmp_path / "b", index="geoparquet").index)
    assert exact["crs"] == 25832
    assert exact["n"] == shown["n"]
    assert exact["bounds"][0] == 561267.5
    assert exact["columns"][:7] == [
        "file",
        "attachment",
        "media_type",
        "layer",
        "fid",
        "key",
        "digest",
    ]


@pytest.mark.slow
def test_an_unknown_coordinate_system_is_said(fixture_copy, tmp_path):
    source = change(
        fixture_copy("esri_globalid.gpkg"),
        "UPDATE gpkg_geometry_columns SET srs_id = -1",
        "UPDATE gpkg_contents SET srs_id = -1 WHERE table_name = 'assets'",
    )
    report = extract_photos(source, tmp_path / "a")
    assert all(feature["geometry"] is None for feature in features_of(report))
    assert any("no known coordinate system" in note for note in report.notes)
    pytest.importorskip("pyarrow")
    kept = read_by_geopandas(extract_photos(source, tmp_path / "b", index="geoparquet").index)
    assert kept["crs"] is None
    assert kept["empty"] < kept["n"]


def test_columns_of_mixed_types_and_taken_names(fixture_copy, tmp_path):
    source = change(
        fixture_copy("blob_column.gpkg"),
        "ALTER TABLE notes ADD COLUMN file TEXT",
        "ALTER TABLE notes ADD COLUMN mixed",
        "ALTER TABLE notes ADD COLUMN done BOOLEAN",
        "CREATE TEMP TRIGGER unused AFTER DELETE ON notes BEGIN SELECT 1; END",
    )
    with closing(sqlite3.connect(source)) as connection:
        for trigger in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'notes'"
        ).fetchall():
            connection.execute(f'DROP TRIGGER "{trigger[0]}"')
        keys = [fid for (fid,) in connection.execute("SELECT fid FROM notes")]
        for fid, mixed in zip(keys, [9e999, b"\0"] * len(keys), strict=False):
            connection.execute(
                "UPDATE notes SET file = 'x', mixed = ?, done = 1 WHERE fid = ?", (mixed, fid)
            )
        connection.commit()
    report = extract_photos(source, tmp_path / "a", layer="notes")
    rows = [feature["properties"] for feature in features_of(report)]
    assert [row["file_"] for row in rows] == ["x"] * len(rows)
    assert [row["mixed"] for row in rows] == [None] * len(rows)
    assert [row["done"] for row in rows] == [True] * len(rows)
    assert "picture" not in rows[0]
    pytest.importorskip("pyarrow")
    extract_photos(source, tmp_path / "b", layer="notes", index="geoparquet")
