from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from attachtrans.geo.camera import PanoramaCamera, TurnedCamera
from attachtrans.geo.rotation import pose_angles
from attachtrans.stores.poses import read_poses
from tests.stores.poses.frames import stood

RECORD = {
    "id": "498763468214164",
    "computed_geometry": {"type": "Point", "coordinates": [13.19, 55.7]},
    "computed_altitude": 71.5,
    "computed_rotation": [1.2, -0.9, 0.8],
    "computed_compass_angle": 100.0,
    "geometry": {"type": "Point", "coordinates": [13.2, 55.8]},
    "compass_angle": 90.0,
    "camera_type": "perspective",
    "camera_parameters": [0.85, -0.05, 0.01],
    "width": 4000,
    "height": 3000,
    "exif_orientation": 6,
    "captured_at": 1600000000123,
}


def poses(tmp_path, *records):
    path = tmp_path / "mapillary.json"
    path.write_text(json.dumps(records[0] if len(records) == 1 else {"data": records}))
    return read_poses(path)


def test_what_was_computed_is_taken_together(tmp_path):
    pose = poses(tmp_path, RECORD).find(f"{RECORD['id']}.jpg")
    assert pose.xyz == (13.19, 55.7, 71.5)
    assert pose.paired
    assert pose.orientation == 1
    expected = cv2.Rodrigues(np.array(RECORD["computed_rotation"]))[0].T
    assert np.abs(pose.rotation - expected).max() < 1e-14
    assert pose.lens.focal_px == (3400.0, 3400.0)
    assert pose.lens.distortion[:2] == [-0.05, 0.01]
    assert pose.time == "2020-09-13T12:26:40.123000+00:00"


@pytest.mark.parametrize("lacking", ["computed_rotation", "computed_geometry"])
def test_without_half_of_it_the_phones_own_is_taken(tmp_path, lacking):
    record = {name: value for name, value in RECORD.items() if name != lacking}
    pose = poses(tmp_path, record).poses[0]
    assert pose.xyz == (13.2, 55.8, None)
    assert not pose.paired
    assert pose.assumed == ("level camera",)
    assert pose_angles("hpr", pose.rotation) == pytest.approx((90.0, 90.0, 0.0))


def test_the_phones_camera_is_upright_and_the_picture_stored_turned(tmp_path):
    record = {name: value for name, value in RECORD.items() if not name.startswith("computed")}
    record["geometry"]["coordinates"] = [13.2, 55.8]
    pose = poses(tmp_path, record).poses[0]
    camera = stood(
        # The height is nobody's business here.
        replace(pose, xyz=(13.2, 55.8, 2.0)),
        (4000, 3000),
    )
    assert isinstance(camera, TurnedCamera)
    assert camera.upright.size == (3000, 4000)
    assert camera.upright.focal_px == (3400.0, 3400.0)


def test_many_records_and_panoramas(tmp_path):
    around = {**RECORD, "id": "2", "camera_type": "spherical", "camera_parameters": []}
    found = poses(tmp_path, RECORD, around, {"id": "3", "compass_angle": None}, {"x": 1})
    assert [pose.name for pose in found.poses][:3] == [RECORD["id"], "2", "3"]
    assert isinstance(found.find("2.jpg").lens, PanoramaCamera)
    assert found.find("3.jpg").rotation is None


@pytest.mark.parametrize(
    "change",
    [
        {"computed_rotation": "x"},
        {"computed_geometry": {"coordinates": ["a", None]}},
        {"geometry": 5, "computed_geometry": None},
        {"camera_parameters": [1e400]},
        {"width": None},
        {"exif_orientation": 99},
        {"captured_at": 1e300},
    ],
)
def test_odd_values_leave_parts_out(tmp_path, change):
    found = poses(tmp_path, {**RECORD, **change})
    assert len(found.poses) + len(found.notes) == 1
