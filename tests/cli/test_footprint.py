"""`attachtrans footprint` as a person meets it: words, exit codes, files."""

from __future__ import annotations

import json

import geopandas
import pytest

from tests.cli.inprocess import call
from tests.stores.poses.photos import gps, jpeg
from tests.tool import survey as surveys
from tests.tool.place import world

COMPASS = jpeg(gps=gps(15, 50, 200.0, direction=90))


@pytest.fixture
def survey(tmp_path):
    photos, placing, _ = world.survey(tmp_path)
    return photos, world.flags(placing)


@pytest.mark.slow
def test_a_folder_with_its_table_camera_and_model(survey, tmp_path):
    photos, flags = survey
    out, report = tmp_path / "a.gpkg", tmp_path / "a.jsonl"
    preview = tmp_path / "a.png"
    done = call("footprint", photos, "-o", out, *flags, "--report", report, "--preview", preview)
    assert (done.code, done.err) == (0, "")
    first, *notes = done.out.splitlines()
    assert first == f"2 placed -> {out}"
    assert f"  note: preview: {preview}" in notes
    assert preview.stat().st_size > 10_000
    lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    assert [line["key"] for line in lines] == ["0.png", "1.png"]
    assert all(line["wkt"].startswith("POLYGON") and line["GSD_M"] > 0 for line in lines)
    assert call("footprint", photos, "-o", out, *flags, "-q") == (0, "", "")
    assert len(geopandas.read_file(out)) == 2


def test_some_failed(tmp_path):
    (tmp_path / "a.jpg").write_bytes(COMPASS)
    (tmp_path / "b.jpg").write_bytes(jpeg(gps=gps(15, 50)))
    (tmp_path / "c\nd.jpg").write_bytes(jpeg())
    out = tmp_path / "a.geojson"
    done = call("footprint", tmp_path, "-o", out)
    assert done.code == 1
    assert done.out.splitlines()[0] == f"1 placed, 2 failed -> {out}"
    advice = "name a table that has it (--poses), or columns (--pose)"
    assert done.err.splitlines() == [
        f"failed: b.jpg: has no direction (EXIF GPS): {advice}",
        f"failed: c?d.jpg: has no position and no direction (no pose found): {advice}",
    ]
    none = call("footprint", tmp_path / "b.jpg", "-o", tmp_path / "b.gpkg")
    assert (none.code, none.out) == (1, "1 failed -> nothing written\n")
    assert not (tmp_path / "b.gpkg").exists()
    quiet = call("footprint", tmp_path / "b.jpg", "-o", tmp_path / "b.gpkg", "--quiet")
    assert (quiet.code, quiet.out) == (1, "")


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("--far", "-1"), 2, "--far -1: more than 0"),
        (("--far", "x"), 2, "'x' is not a valid float"),
        (("--ground", "3", "--dem", "."), 2, "--ground is a level ground and --dem is not"),
        (("--dem", "none.tif"), 2, "does not exist"),
        (("--crs", "nonsense"), 2, "--crs: the coordinate system 'nonsense' cannot be read"),
        (("--footprint", "circle"), 2, "'circle' is not one of"),
        (("--pose", "heading"), 2, "write PART=COLUMN"),
        (("--pose", "heading=a"), 2, "these photos have no features"),
        (("--distortion-radius-unit", "inch"), 2, "'inch' is not one of"),
        (("--where", "a"), 2, "--where concerns feature classes"),
        (("--preview", "a.jpg"), 2, "is a PNG"),
        (("--report", "none/a.jsonl"), 2, "--report none/a.jsonl cannot be written"),
        (("--camera", "a.jpg"), 3, "is no text, which files of cameras are"),
        (("--poses", "a.jpg"), 3, "holds no poses that can be read"),
        (("--dem", "a.jpg"), 3, "does not say where it lies"),
    ],
)
def test_what_is_wrong_is_named_with_its_exit_code(flags, code, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_bytes(COMPASS)
    done = call("footprint", "a.jpg", "-o", "a.gpkg", *flags)
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "a.gpkg").exists()


@pytest.mark.parametrize(
    ("source", "output", "code", "words"),
    [
        ("none", "a.gpkg", 3, "there is no such file or folder"),
        ("empty", "a.gpkg", 3, "there are no photos in this folder"),
        ("a.csv", "a.gpkg", 3, "has no poses that are known"),
        ("a.jpg", "a.kml", 2, "the ending says the format"),
        ("a.jpg", "none/a.gpkg", 3, "there is no folder none"),
        ("a.jpg", "empty", 2, "the ending says the format"),
    ],
)
def test_what_is_no_source_or_output(source, output, code, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "a.jpg").write_bytes(COMPASS)
    done = call("footprint", source, "-o", output)
    assert done.code == code
    assert words in done.err


def test_a_dry_run(survey, tmp_path):
    photos, flags = survey
    before = sorted(tmp_path.rglob("*"))
    done = call("footprint", photos, "-o", tmp_path / "a.gpkg", *flags, "--dry-run")
    assert done.code == 0
    assert done.out.splitlines()[0] == "2 placed -> nothing written"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_table_without_header_and_a_turned_unit(tmp_path):
    (tmp_path / "p.txt").write_text("a 500000 5400000 300 5 0 30\nb 500100 5400000 300 5 0 30\n")
    world.write_camera(tmp_path / "c.json", world.eyes()[0])
    columns = "name, x,y,z,omega,phi,kappa"
    flags = ("--poses-crs", "EPSG:32633", "--camera", tmp_path / "c.json", "--ground", "200")
    out = tmp_path / "a.gpkg"
    done = call("footprint", tmp_path / "p.txt", "-o", out, *flags, "--poses-columns", columns)
    assert (done.code, done.out.splitlines()[0]) == (0, f"2 placed -> {out}")
    without = call("footprint", tmp_path / "p.txt", "-o", out, *flags)
    assert without.code == 2
    assert "--poses-columns, such as name,x,y,z,omega,phi,kappa" in without.err


def test_modes_near_and_far_of_a_feature_class(tmp_path):
    source = surveys.survey(tmp_path / "a.gpkg", (70.0, 70.0), epsg=25832)
    areas = {}
    for mode in ("ground", "plane", "sector", "disc"):
        out = f"{tmp_path / 'out.gpkg'}:{mode}"
        assert call("footprint", source, "-o", out, "--footprint", mode, "--far", 300).code == 0
        rows = geopandas.read_file(tmp_path / "out.gpkg", layer=mode)
        assert set(rows.KIND) == {mode}
        areas[mode] = rows.area[0]
    assert areas["plane"] == pytest.approx(areas["ground"], rel=1e-6)
    assert areas["disc"] == pytest.approx(300.0**2 * 3.14159, rel=2e-3)
    angle = float(surveys.HFOV) / 360.0
    assert areas["sector"] == pytest.approx(areas["disc"] * angle, rel=0.2)
    out = f"{tmp_path / 'out.gpkg'}:near"
    done = call("footprint", source, "-o", out, "--near", 250, "--far", 300)
    assert done.code == 0
    near = geopandas.read_file(tmp_path / "out.gpkg", layer="near")
    assert 0.0 < near.area[0] < areas["ground"]
    chosen = call("footprint", source, "-o", f"{tmp_path / 'out.gpkg'}:one", "--where", "fid = 2")
    assert chosen.out.startswith("1 placed")


def test_interrupted(survey, tmp_path, monkeypatch):
    from attachtrans.tool.place.viewer import Viewer

    photos, flags = survey
    original, calls = Viewer.view, []

    def interrupted(self, pose, size):
        calls.append(pose)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, pose, size)

    monkeypatch.setattr(Viewer, "view", interrupted)
    done = call("footprint", photos, "-o", tmp_path / "a.gpkg", *flags)
    assert done.code == 130
    first, *_, last = done.err.splitlines()
    assert first == "footprints are written after the last photo: nothing was written"
    assert last == "attachtrans: interrupted"
    assert not list(tmp_path.glob("*a.gpkg*"))
