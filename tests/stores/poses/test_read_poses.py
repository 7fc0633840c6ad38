from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError, AttachtransError, SourceError
from attachtrans.stores.poses import POSE_FILES, read_poses
from attachtrans.stores.poses.csvfile import NAME

CSV = "name,lat,lon,yaw,pitch,roll\na.jpg,1,2,3,4,5\n"


def test_names_of_formats_are_unique_and_described():
    names = [found.name for found in POSE_FILES]
    assert len(set(names)) == len(names)
    assert all(found.words for found in POSE_FILES)


def test_content_decides_not_the_suffix(tmp_path):
    path = tmp_path / "poses.jpg"
    path.write_text(CSV)
    assert read_poses(path).find("a.jpg") is not None


def test_a_format_by_name(tmp_path):
    path = tmp_path / "poses.csv"
    path.write_text(CSV)
    assert read_poses(path, kind="csv").poses[0].name == "a.jpg"
    with pytest.raises(SourceError, match="no OpenSfM"):
        read_poses(path, kind="opensfm")
    with pytest.raises(ArgumentError, match="known: camera, opensfm"):
        read_poses(path, kind="odd")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{}", "no poses that are known"),
        (b"[[[", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not JSON|no poses"),
        (b"SQLite format 3\0" + bytes(100), "cannot be read|not"),
        (bytes(500), "holds no poses"),
        (b"a,b\n1,2\n", "no poses that are known"),
        (b"", "no rows"),
        (b'{"cameras": {}, "shots": {}}', ""),
    ],
)
def test_other_files_are_an_error_that_names_them(tmp_path, content, words):
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    if not words:
        assert read_poses(path).poses == ()
        return
    with pytest.raises(SourceError, match=rf"x\.bin.*({words})"):
        read_poses(path)


def test_nothing_there(tmp_path):
    with pytest.raises(SourceError):
        read_poses(tmp_path / "gone.csv")
    with pytest.raises(SourceError, match="neither reconstruction"):
        read_poses(tmp_path)


def test_paths_in_a_file_are_names_and_nothing_is_opened(tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text("{")
    path = tmp_path / "poses.csv"
    names = ("../secret.json", "/etc/passwd", "file:///etc/passwd", "http://host/a.jpg?b=c")
    rows = "".join(f"{name},1,2,3,4,5\n" for name in names)
    path.write_text("name,lat,lon,yaw,pitch,roll\n" + rows)
    assert [pose.name for pose in read_poses(path).poses] == list(names)


def test_a_large_table_is_read_in_seconds(tmp_path):
    path = tmp_path / "poses.csv"
    rows = "".join(f"{count}.jpg,1,2,3,4,5\n" for count in range(5000))
    path.write_text("name,lat,lon,yaw,pitch,roll\n" + rows)
    began = time.monotonic()
    table = read_poses(path)
    assert table.find("4999.jpg") is not None
    assert time.monotonic() - began < 15.0


keys = [
    *("shots", "cameras", "rotation", "translation", "reference_lla", "latitude", "longitude"),
    *("features", "properties", "pers:omega", "pers:rotation_matrix", "pers:crs", "geometry"),
    *("pers:interior_orientation", "focal_length", "pixel_spacing", "sensor_array_dimensions"),
    *("id", "compass_angle", "computed_rotation", "computed_geometry", "coordinates", "data"),
    *("CameraHeading", "ImagePath", "CameraOrientation", "filename", "camera_type", "type"),
]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(10**30), 10**30)
    | st.sampled_from(
        ["Point", "1|4326|0|1|2|3|4|5|6", "FeatureCollection", "EPSG:4326", *NAME[:2]]
    )
    | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=9) | st.dictionaries(st.sampled_from(keys), inner, max_size=6)
    ),
    max_leaves=25,
)


@given(values)
def test_any_json_is_poses_or_an_error(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("any") / "x.json"
    path.write_text(json.dumps(value))
    try:
        read_poses(path)
    except AttachtransError:
        return


@pytest.mark.parametrize(
    "text",
    [
        "name,x" + "[" * 100_000 + "\na,1\n",
        "name,lat,lon\n" + "a.jpg" * 20_000 + ",1,2\n",
        "name,lat,lon\n" + "a" + ".jpg" * 25_000 + ",1,2\n",
        "a" + "," * 200_000 + "\n1" + "," * 200_000 + "\n",
        "'" * 100_001 + "\n1 2\n",
    ],
    ids=["brackets", "long name", "suffixes", "columns", "quotes"],
)
def test_hostile_text_does_not_hang(tmp_path, text):
    path = tmp_path / "x.csv"
    path.write_text(text)
    began = time.monotonic()
    with suppress(AttachtransError):
        read_poses(path)
    assert time.monotonic() - began < 20.0
