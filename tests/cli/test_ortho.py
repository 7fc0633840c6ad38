"""`attachtrans ortho` as a person meets it."""

from __future__ import annotations

import json
import resource
import signal

import pytest
import rasterio

from attachtrans.stores.durable import held
from tests.cli.inprocess import call
from tests.stores.poses.photos import gps, jpeg
from tests.tool.place import world

COMPASS = jpeg(gps=gps(15, 50, 200.0, direction=90))


@pytest.fixture
def survey(tmp_path):
    photos, placing, _ = world.survey(tmp_path)
    return photos, (*world.flags(placing), "--resolution", 1)


def test_a_folder_and_a_mosaic(survey, tmp_path):
    photos, flags = survey
    out, mosaic, report = tmp_path / "o", tmp_path / "m.tif", tmp_path / "a.jsonl"
    arguments = ("-o", out, "--mosaic", mosaic, "--cog", "--seam", "sharpest", "--report", report)
    done = call("ortho", photos, *arguments, *flags, "--cameras", tmp_path / "c")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == f"2 written -> {out} and {mosaic}"
    assert any("2 photos in one raster of" in line for line in done.out.splitlines())
    assert sorted(path.name for path in out.iterdir()) == ["0.tif", "1.tif"]
    assert len(list((tmp_path / "c").iterdir())) == 2
    with rasterio.open(mosaic) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.crs.to_epsg() == 32633
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert lines[0] == {"key": "0.png", "status": "written", "reason": ""}
    assert call("ortho", photos, "-o", out, *flags, "-q") == (0, "", "")


def test_some_failed_or_were_skipped(tmp_path):
    (tmp_path / "a.jpg").write_bytes(COMPASS)
    (tmp_path / "b.jpg").write_bytes(COMPASS[:-400])
    (tmp_path / "c.jpg").write_bytes(b"%PDF")
    (tmp_path / "d.jpg").write_bytes(jpeg())
    out = tmp_path / "o"
    done = call("ortho", tmp_path, "-o", out, "--resolution", 1)
    assert done.code == 1
    first, *others = done.out.splitlines()
    assert first == f"1 written, 2 skipped, 1 failed -> {out}"
    assert [line.partition(":")[0] for line in others[:2]] == ["  skipped 1"] * 2
    assert "the JPEG is truncated" in others[0]
    assert "not an image" in others[1]
    assert done.err.startswith("failed: d.jpg: has no position and no direction")
    assert [path.name for path in out.iterdir()] == ["a.tif"]
    large = call("ortho", tmp_path / "a.jpg", "-o", out, "--max-pixels", 10)
    assert (large.code, large.out.splitlines()[0]) == (0, "1 skipped -> nothing written")


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ((), 2, "say where orthos go"),
        (("--mosaic", "a.jpg"), 2, "name a GeoTIFF"),
        (("-o", "a.jpg"), 2, "is a file"),
        (("-o", "a.jpg/b"), 2, "--ortho a.jpg/b: cannot be made"),
        (("-o", "o", "--resolution", "0"), 2, "--resolution 0: more than 0"),
        (("-o", "o", "--crs", "EPSG:5773"), 2, "--crs: the coordinate system"),
        (("-o", "o", "--seam", "best"), 2, "'best' is not one of"),
        (("-o", "o", "--dem", "a.jpg"), 3, "does not say where it lies"),
    ],
)
def test_what_is_wrong_is_named_with_its_exit_code(flags, code, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_bytes(COMPASS)
    done = call("ortho", "a.jpg", *flags)
    assert done.code == code
    assert words in done.err
    assert not list(tmp_path.rglob("*.tif"))


def test_a_dry_run(survey, tmp_path):
    photos, flags = survey
    before = sorted(tmp_path.rglob("*"))
    arguments = ("-o", tmp_path / "o", "--mosaic", tmp_path / "m.tif", "--dry-run")
    done = call("ortho", photos, *arguments, *flags)
    assert done.code == 0
    assert done.out.startswith("2 planned")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_ends_the_run_and_leaves_nothing_half(survey, tmp_path):
    photos, flags = survey
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, before[1]))
        done = call("ortho", photos, "-o", tmp_path / "o", *flags)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert done.code == 3
    assert "cannot be written" in done.err
    assert not list((tmp_path / "o").iterdir())


@pytest.mark.parametrize("target", ["-o", "--mosaic"])
def test_a_second_run_to_the_same_place_is_refused(target, survey, tmp_path):
    photos, flags = survey
    out = tmp_path / ("o" if target == "-o" else "m.tif")
    if target == "-o":
        out.mkdir()
    with held(out):
        done = call("ortho", photos, target, out, *flags)
    assert done.code == 3
    assert f"another run of attachtrans writes to {out}" in done.err
    assert call("ortho", photos, target, out, *flags).code == 0
    assert not list(tmp_path.rglob("*lock*"))


def test_interrupted(survey, tmp_path, monkeypatch):
    from attachtrans.geo.mosaic import Mosaic

    photos, flags = survey

    def interrupted(self, window):
        raise KeyboardInterrupt

    monkeypatch.setattr(Mosaic, "window", interrupted)
    done = call("ortho", photos, "-o", tmp_path / "o", "--mosaic", tmp_path / "m.tif", *flags)
    assert (done.code, done.err.splitlines()[-1]) == (130, "attachtrans: interrupted")
    assert len(list((tmp_path / "o").iterdir())) == 2
    assert not [path for path in tmp_path.iterdir() if "m.tif" in path.name.replace("dem.tif", "")]
