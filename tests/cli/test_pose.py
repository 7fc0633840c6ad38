"""`attachtrans pose fit` as a person meets it."""

from __future__ import annotations

import json

import pytest

from tests.cli.inprocess import call
from tests.tool.place import world
from tests.tool.test_posefile import points_csv


@pytest.fixture
def survey(tmp_path):
    photos, placing, views = world.survey(tmp_path, 1)
    points = points_csv(tmp_path / "points.csv", views[0])
    flags = ("--gcps", points, "--gcps-crs", "EPSG:32633", *world.flags(placing))
    return photos / "0.png", flags


def test_a_pose_before_and_after(survey):
    photo, flags = survey
    done = call("pose", "fit", photo, *flags)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "before: 0.png: 160 x 120 px"
    assert "after: 0.png: 160 x 120 px" in lines
    assert sum(line.startswith("  p") and "0.00" in line for line in lines) >= 9
    assert "-0.00" not in done.out
    assert lines[-1] == f"0.00 px rms -> {photo}.camera.json"
    again = call("pose", "fit", photo, *flags)
    assert again.code == 3
    assert "--overwrite" in again.err
    assert call("pose", "fit", photo, *flags, "--overwrite").code == 0
    known = call("info", photo)
    assert "fitted to 9 control points" in known.out


def test_as_json_without_writing(survey, tmp_path):
    photo, flags = survey
    done = call("pose", "fit", photo, *flags, "--json", "--dry-run", "--free", "rotation, focal")
    value = json.loads(done.out)
    assert value["free"] == ["rotation", "focal"]
    assert value["output"] is None
    assert value["rms_px"] < 0.01
    assert not list(tmp_path.rglob("*.camera.json"))


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("--free", "colour"), 2, "colour"),
        (("--free", ""), 2, ""),
        (("--sigma-px", "0"), 2, "--sigma-px"),
        (("--gcps", "none.csv"), 2, "does not exist"),
        (("--gcps-crs", "nonsense"), 3, "nonsense"),
        (("--ground", "nan"), 2, "--ground nan"),
        (("-o", "none/a.json"), 3, "there is no folder none; make it first"),
    ],
)
def test_what_is_wrong_is_named_with_its_exit_code(flags, code, words, survey, tmp_path):
    photo, known = survey
    done = call("pose", "fit", photo, *known, *flags)
    assert done.code == code
    assert words in done.err
    assert not list(tmp_path.rglob("*.camera.json"))
