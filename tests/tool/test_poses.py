"""What `info` knows of photos' poses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from attachtrans.errors import ArgumentError, LayoutError
from attachtrans.stores.catalog import detect
from attachtrans.stores.photos import open_photos
from attachtrans.tool.place.options import Placing
from attachtrans.tool.poses import PoseSummary, photo_facts, pose_facts
from attachtrans.tool.sources import Choice
from tests.stores.gpkg import Gpkg, attachment, point
from tests.stores.poses.photos import gps, jpeg, packet
from tests.tool.place import world


def facts(path, placing=None, **choice):
    found, summary = photo_facts(path, Choice(**choice), placing or Placing())
    return {one.key: one for one in found}, summary


def test_a_folder_of_a_bit_of_everything(tmp_path):
    drone = {
        "drone-dji:GimbalYawDegree": "30",
        "drone-dji:GimbalPitchDegree": "-60",
        "drone-dji:GimbalRollDegree": "180",
        "drone-dji:RelativeAltitude": "+90.0",
    }
    photos = {
        "bare.jpg": jpeg(),
        "compass.jpg": jpeg((640, 480), gps=gps(15, 50, 200.0, direction=90, t31=5)),
        "drone.jpg": jpeg(gps=gps(15, 50, 300.0), xmp=packet(drone)),
        "portrait.jpg": jpeg((640, 480), main={0x0112: 6}, gps=gps(15, 50, direction=90)),
        "none.jpg": b"%PDF",
    }
    for name, data in photos.items():
        (tmp_path / name).write_bytes(data)
    found, summary = facts(tmp_path)
    assert set(found) == {"bare.jpg", "compass.jpg", "drone.jpg", "portrait.jpg"}
    compass, drone = found["compass.jpg"], found["drone.jpg"]
    assert (compass.heading_deg, compass.pitch_deg, compass.roll_deg) == (90.0, 90.0, 0.0)
    assert compass.position == (15.0, 50.0, 200.0)
    assert compass.accuracy == {"xy_m": 5.0}
    assert compass.north == "true"
    assert compass.field_of_view_deg == pytest.approx(2 * np.degrees(np.arctan(18 / 28)))
    # Roll 180 at pitch -60 is heading 210, 120 degrees up from straight down: not the sky.
    assert (drone.heading_deg, drone.pitch_deg, drone.roll_deg) == (30.0, 30.0, 180.0)
    assert drone.above_ground_m == 90.0
    portrait = found["portrait.jpg"]
    assert portrait.size == (640, 480)
    assert portrait.roll_deg == 0.0
    assert portrait.field_of_view_deg < compass.field_of_view_deg
    assert found["bare.jpg"].lacks == ("position", "direction")
    assert summary.photos == 4
    assert summary.lacking == {"position": 1, "direction": 1}
    assert summary.assumed["level camera"] == 2
    text = json.dumps([one.to_json() for one in found.values()] + [summary.to_json()])
    assert "NaN" not in text


def test_the_table_goes_before_the_photo(tmp_path):
    photos, placing, views = world.survey(tmp_path)
    found, summary = facts(photos, Placing(**placing))
    one = found["0.png"]
    assert (one.pitch_deg, one.roll_deg) == pytest.approx((35.0, 2.0))
    assert one.position == pytest.approx(tuple(views[0].eye.position))
    assert one.lacks == ()
    assert summary.lacking == {}
    assert list(facts(photos, Placing(**placing), patterns=("1*",))[0]) == ["1.png"]
    assert list(facts(photos / "1.png", Placing(**placing))[0]) == ["1.png"]


def test_contradictions_are_warnings(tmp_path):
    gpkg = Gpkg(tmp_path / "a.gpkg")
    gpkg.layer("trees", "GlobalID TEXT", [(1, point(15, 50.01), "{1}")])
    photo = jpeg(gps=gps(15, 50, 2.0, direction=1))
    broken = b"\xff\xd8\xff\xe1\x00\x10Exif\0\0II*\0\x08\0\0\0"
    gpkg.attach(
        "trees", "REL_GLOBALID TEXT", [attachment(1, "{1}", photo), attachment(2, "{1}", broken)]
    )
    path = gpkg.done()
    photos, summary = open_photos(path, detect(path)), PoseSummary()
    list(pose_facts(photos, Placing(), summary))
    photos.close()
    (warning,) = summary.warnings
    assert "1112 m apart" in warning
    assert summary.photos == 1


def test_panoramas_are_as_wide_as_they_go(tmp_path):
    attributes = {
        "GPano:ProjectionType": "equirectangular",
        "GPano:FullPanoWidthPixels": 128,
        "GPano:FullPanoHeightPixels": 64,
        "GPano:CroppedAreaLeftPixels": 0,
        "GPano:CroppedAreaTopPixels": 0,
        "GPano:CroppedAreaImageWidthPixels": 64,
        "GPano:CroppedAreaImageHeightPixels": 64,
        "GPano:PoseHeadingDegrees": 12,
    }
    data = jpeg((64, 64), gps=gps(15, 50, 2.0), xmp=packet(attributes))
    (tmp_path / "a.jpg").write_bytes(data)
    found, _ = facts(tmp_path)
    assert found["a.jpg"].field_of_view_deg == 180.0
    assert found["a.jpg"].heading_deg == 12.0


def test_what_is_no_source(tmp_path):
    (tmp_path / "a.csv").write_text("name,x\n")
    with pytest.raises(LayoutError, match="is no photo"):
        facts(tmp_path / "a.csv")
    with pytest.raises(LayoutError, match="no photos"):
        facts(tmp_path)
    (tmp_path / "a.jpg").write_bytes(jpeg())
    with pytest.raises(ArgumentError, match="these photos have no features"):
        facts(tmp_path, Placing(columns={"heading": "a"}))
