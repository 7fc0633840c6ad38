"""`attachtrans info` of photos: whose poses, and what they lack."""

from __future__ import annotations

import json

from tests.cli.inprocess import call
from tests.stores.poses.photos import gps, jpeg
from tests.tool import survey as surveys
from tests.tool.place import world


def test_a_photo(tmp_path):
    photo = tmp_path / "a.jpg"
    photo.write_bytes(jpeg((640, 480), gps=gps(15, -50, 200.0, direction=90, direction_ref="M")))
    done = call("info", photo)
    assert (done.code, done.err) == (0, "")
    for words in (
        "a.jpg: 640 x 480 px",
        "15.0000000, -50.0000000 in WGS 84, height 200.00 m",
        "pitch 90.00 (0 down, 90 level), roll 0.00 degrees",
        "65.5 degrees across",
        "EXIF GPS, EXIF direction",
        "magnetic",
        "level camera",
        "poses of 1 photos",
    ):
        assert words in done.out, words


def test_a_folder_as_json(tmp_path):
    photos, placing, _ = world.survey(tmp_path)
    done = call(
        "info", photos, *world.flags({k: v for k, v in placing.items() if k != "dem"}), "--json"
    )
    value = json.loads(done.out)
    assert [photo["key"] for photo in value["photos"]] == ["0.png", "1.png"]
    assert value["poses"]["photos"] == 2
    assert value["photos"][0]["lacks"] == []
    plain = json.loads(call("info", photos, "--json").out)
    assert plain["photos"][0]["lacks"] == ["position", "direction"]


def test_a_geopackage(tmp_path):
    source = surveys.survey(tmp_path / "a.gpkg", (0.0, None), epsg=25832)
    done = call("info", source)
    assert done.code == 0
    assert "poses of 2 photos" in done.out
    assert "1 without a direction" in done.out
    value = json.loads(call("info", source, "--json").out)
    assert value["poses"]["lacking"]["direction"] == 1
    assert "poses of" not in call("info", source, "--quick").out


def test_what_is_wrong(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n")
    assert call("info", tmp_path / "a.csv").code == 3
    assert call("info", tmp_path / "none").code == 3
    (tmp_path / "a.jpg").write_bytes(jpeg())
    assert call("info", tmp_path / "a.jpg", "-a", "x=1").code == 2
    assert call("info", tmp_path / "a.jpg", "--camera", tmp_path / "none").code == 2
