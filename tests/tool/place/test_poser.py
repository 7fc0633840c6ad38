"""Whose pose: order of the sources, and what each may not do to the others."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from pyproj import CRS

from attachtrans.errors import ArgumentError, GeorefError, SourceError
from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.geo.pose import Pose
from attachtrans.geo.rotation import pose_angles, pose_matrix
from attachtrans.image import probe
from attachtrans.image.arrays import turned
from attachtrans.stores.catalog import detect
from attachtrans.stores.folder import open_folder
from attachtrans.stores.photos import open_photos
from attachtrans.stores.poses.camera_json import CameraFile, write_camera
from attachtrans.tool.place.options import Placing
from attachtrans.tool.place.poser import Poser, common_lens, read_pose_table
from attachtrans.tool.poses import photo_facts
from attachtrans.tool.sources import Choice
from attachtrans.types import Size
from tests.stores.gpkg import Gpkg, attachment, point
from tests.stores.poses.photos import gps, jpeg

COMPASS = jpeg(gps=gps(15.0, 50.0, 200.0, direction=90))
SIZE = Size(64, 48)
HEADER = "name,lon,lat,z,heading,pitch,roll"


def heading(pose):
    return round(pose_angles("hpr", pose.rotation)[0], 6)


def poses(source, placing=None, close=True):
    """The poses of all photos of a source, by their keys; and what the poser noted."""
    poser = Poser(placing or Placing(), source)
    found = {}
    try:
        for item in source:
            data = source.read(item)
            head = probe(data)
            size = turned(head.size, head.orientation)
            found[item.key] = poser.pose(item, data, size, head.orientation)
        return found, poser.notes
    finally:
        poser.close()
        source.close()


def folder(path: Path, photos: dict[str, bytes]):
    for name, data in photos.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return open_folder(path)


def features(path: Path, columns="", rows=(), photos=()):
    """A GeoPackage of points with attachments."""
    gpkg = Gpkg(path)
    gpkg.layer("trees", f"GlobalID TEXT{columns}", rows)
    gpkg.attach("trees", "REL_GLOBALID TEXT", photos)
    made = gpkg.done()
    return open_photos(made, detect(made))


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def sidecar(path: Path, turn: float) -> None:
    camera = PerspectiveCamera(
        SIZE,
        focal_px=(60.0, 60.0),
        centre_px=(31.5, 23.5),
        rotation=pose_matrix("hpr", (turn, 90.0, 0.0)),
        position=(500_000.0, 5_540_000.0, 300.0),
    )
    pose = Pose(source="a fit", paired=True)
    path.write_bytes(write_camera(CameraFile(camera=camera, crs=CRS.from_epsg(32633), pose=pose)))


def test_the_order_of_a_folders_sources(tmp_path):
    """Sidecar, table, the photo itself."""
    poses_csv = table(tmp_path / "p.csv", f"{HEADER}\na.jpg,16,51,9,45,80,0\n")
    photos = {"a.jpg": COMPASS, "b.jpg": COMPASS}
    found, _ = poses(folder(tmp_path / "photos", photos))
    assert heading(found["a.jpg"]) == heading(found["b.jpg"]) == 90.0
    found, _ = poses(open_folder(tmp_path / "photos"), Placing(poses=poses_csv))
    assert (heading(found["a.jpg"]), heading(found["b.jpg"])) == (45.0, 90.0)
    assert found["a.jpg"].xyz == (16.0, 51.0, 9.0)
    sidecar(tmp_path / "photos" / "a.jpg.camera.json", 10.0)
    found, _ = poses(open_folder(tmp_path / "photos"), Placing(poses=poses_csv))
    assert (heading(found["a.jpg"]), heading(found["b.jpg"])) == (10.0, 90.0)
    assert found["a.jpg"].source == "a fit"


def test_photos_that_the_table_lacks_are_told(tmp_path):
    photos = folder(tmp_path / "photos", {"a.jpg": COMPASS, "b.jpg": COMPASS})
    some = Placing(poses=table(tmp_path / "p.csv", f"{HEADER}\na.jpg,16,51,9,45,80,0\n"))
    found, notes = poses(photos, some)
    assert found["b.jpg"].source.startswith("EXIF")
    taken = "for these, what is known otherwise was taken"
    assert notes == (f"p.csv lacks 1 of the 2 photos (b.jpg): {taken}",)
    other = Placing(poses=table(tmp_path / "o.csv", f"{HEADER}\nx.jpg,16,51,9,45,80,0\n"))
    _, notes = poses(open_folder(tmp_path / "photos"), other)
    assert notes == (f"o.csv has none of the 2 photos (a.jpg, b.jpg), but x.jpg: {taken}",)
    _, summary = photo_facts(tmp_path / "photos", Choice(), other)
    assert summary.warnings == list(notes)


def test_tables_tell_folders_apart(tmp_path):
    rows = f"{HEADER}\nwest/1.jpg,16,51,9,45,80,0\neast/1.jpg,16,51,9,46,80,0\n"
    placing = Placing(poses=table(tmp_path / "p.csv", rows))
    found, _ = poses(
        folder(tmp_path / "x", {"west/1.jpg": COMPASS, "east/1.jpg": COMPASS}), placing
    )
    assert {key: heading(pose) for key, pose in found.items()} == {
        "west/1.jpg": 45.0,
        "east/1.jpg": 46.0,
    }
    with pytest.raises(GeorefError, match=r"1\.jpg may be 'west/1\.jpg' or 'east/1\.jpg'"):
        poses(folder(tmp_path / "y", {"1.jpg": COMPASS}), placing)


def test_an_attachments_number_is_no_name(tmp_path):
    """The attachment 7 is named 12.jpg, attachment 12 is 7.jpg: names decide."""
    source = features(
        tmp_path / "t.gpkg",
        rows=[(1, point(15, 50), "{1}")],
        photos=[
            attachment(7, "{1}", COMPASS, "12.jpg"),
            attachment(12, "{1}", COMPASS, "7.jpg"),
        ],
    )
    rows = f"{HEADER}\n7.jpg,15,50,9,7,80,0\n12.jpg,15,50,9,12,80,0\n"
    found, _ = poses(source, Placing(poses=table(tmp_path / "p.csv", rows)))
    assert {pose.name: heading(pose) for pose in found.values()} == {"12.jpg": 12.0, "7.jpg": 7.0}


def test_attributes_before_the_photo_where_they_are_named_and_behind_it_where_guessed(tmp_path):
    columns = ", CameraHeading REAL, azimuth REAL, tilt REAL, height REAL"
    rows = [(1, point(15, 50), "{1}", 33.0, 44.0, 80.0, 12.0)]
    plain, compass = jpeg(gps=gps(15.0, 50.0, 200.0)), COMPASS
    photos = [
        attachment(1, "{1}", compass, "compass.jpg"),
        attachment(2, "{1}", plain, "plain.jpg"),
        attachment(3, "{1}", jpeg(), "bare.jpg"),
    ]
    found, _ = poses(features(tmp_path / "a.gpkg", columns, rows, photos))
    by_name = {pose.name: pose for pose in found.values()}
    assert {name: heading(pose) for name, pose in by_name.items()} == {
        "compass.jpg": 90.0,
        "plain.jpg": 33.0,
        "bare.jpg": 33.0,
    }
    # `height` is the tree's, not the camera's; the point is the position where there is no other.
    assert all(pose.above_ground_m is None for pose in by_name.values())
    assert by_name["bare.jpg"].xyz == (15.0, 50.0, None)
    assert "the point of its feature (trees 1)" in by_name["bare.jpg"].source
    assert by_name["plain.jpg"].xyz == (15.0, 50.0, 200.0)
    mapped = Placing(columns={"heading": "azimuth", "pitch": "tilt", "height": "height"})
    found, _ = poses(features(tmp_path / "b.gpkg", columns, rows, photos), mapped)
    for pose in found.values():
        assert heading(pose) == 44.0
        assert pose.above_ground_m == 12.0


def test_a_photo_far_from_its_feature_is_told_with_both_places(tmp_path):
    rows = [(number, point(15.0, 50.002), f"{{{number}}}") for number in range(1, 9)]
    photos = [
        attachment(number, f"{{{number}}}", COMPASS, f"{number}.jpg") for number in range(1, 9)
    ]
    found, notes = poses(features(tmp_path / "a.gpkg", rows=rows, photos=photos))
    for pose in found.values():
        (text,) = (text for text in pose.assumed if "apart" in text)
        assert "50.000000, 15.000000" in text
        assert "50.002000, 15.000000" in text
        assert "222 m apart" in text
        assert pose.xyz[:2] == (15.0, 50.0)
    assert len([note for note in notes if "222 m apart" in note]) == 5
    assert notes[-1] == "3 more photos lie as far from their features"
    near = [(1, point(15.0, 50.0005), "{1}")]
    _, notes = poses(features(tmp_path / "b.gpkg", rows=near, photos=photos[:1]))
    assert notes == ()


@pytest.mark.parametrize("kind", ["point z", "line", "empty point", "broken"])
def test_features_that_are_no_plain_points(kind, tmp_path):
    from shapely import LineString, Point, to_wkb

    shapes = {
        "point z": to_wkb(Point(15, 50, 321.5), flavor="iso"),
        "line": to_wkb(LineString([(15, 50), (16, 50)])),
        "empty point": to_wkb(Point()),
        "broken": b"\x01\x07",
    }
    blob = b"GP\0\1" + (4326).to_bytes(4, "little") + shapes[kind]
    source = features(
        tmp_path / "a.gpkg",
        rows=[(1, blob, "{1}")],
        photos=[attachment(1, "{1}", jpeg(gps=gps(direction=5)), "a.jpg")],
    )
    found, _ = poses(source)
    (pose,) = found.values()
    if kind == "point z":
        assert (pose.xyz, pose.rough_height) == ((15.0, 50.0, 321.5), True)
    else:
        assert pose.xyz is None


def test_columns_are_for_features(tmp_path):
    with pytest.raises(ArgumentError, match="these photos have no features"):
        poses(folder(tmp_path / "a", {"a.jpg": COMPASS}), Placing(columns={"heading": "azimuth"}))
    source = features(
        tmp_path / "b.gpkg", rows=[(1, point(15, 50), "{1}")], photos=[attachment(1, "{1}")]
    )
    with pytest.raises(ArgumentError, match="there is no column 'azimuth', but"):
        Poser(Placing(columns={"heading": "azimuth"}), source)
    source.close()


def test_what_a_row_says_that_no_camera_has_concerns_its_photo(tmp_path):
    rows = [(1, point(15, 50), "{1}", 400.0), (2, point(15, 50), "{2}", 60.0)]
    photos = [attachment(n, f"{{{n}}}", COMPASS, f"{n}.jpg") for n in (1, 2)]
    source = features(tmp_path / "a.gpkg", ", hfov REAL", rows, photos)
    poser = Poser(Placing(columns={"hfov": "hfov"}), source)
    first, second = source
    with pytest.raises(GeorefError, match=r"1\.jpg: .*400"):
        poser.pose(first, COMPASS, SIZE, 1)
    assert poser.pose(second, COMPASS, SIZE, 1).lens is not None
    poser.close()
    source.close()


def lens_file(path: Path, count=1, named=True):
    cameras = {
        f"v2 dji {n}": {
            "projection_type": "perspective",
            "width": 64,
            "height": 48,
            "focal": 0.9 + 0.1 * n,
            "k1": 0.0,
            "k2": 0.0,
        }
        for n in range(count)
    }
    path.write_text(json.dumps(cameras if named else next(iter(cameras.values()))))
    return path


@pytest.mark.parametrize("named", [True, False])
def test_one_camera_is_for_all_photos_whatever_it_is_called(named, tmp_path):
    placing = Placing(camera=lens_file(tmp_path / "cameras.json", named=named))
    found, _ = poses(folder(tmp_path / "a", {"a.jpg": COMPASS}), placing)
    assert found["a.jpg"].lens.focal_px[0] == pytest.approx(0.9 * 64)
    assert "lens of cameras.json" in found["a.jpg"].source
    assert not any("focal length" in text for text in found["a.jpg"].assumed)


def test_of_several_cameras_a_table_has_to_name_each_photos(tmp_path):
    several = lens_file(tmp_path / "cameras.json", count=2)
    with pytest.raises(ArgumentError, match=r"--camera .*has 2 cameras \(v2 dji 0, v2 dji 1\)"):
        common_lens(Placing(camera=several))
    rows = "name,lon,lat,z,heading,pitch,roll,camera\na.jpg,16,51,9,45,80,0,v2 dji 1\n"
    placing = Placing(camera=several, poses=table(tmp_path / "p.csv", rows))
    found, _ = poses(folder(tmp_path / "a", {"a.jpg": COMPASS}), placing)
    assert found["a.jpg"].lens.focal_px[0] == pytest.approx(64.0)


def test_a_table_without_header_gets_one(tmp_path):
    path = table(tmp_path / "p.txt", "a.jpg 500000 5540000 9 0 0 30\n")
    placing = Placing(
        poses_crs="EPSG:32633", header=("name", "x", "y", "z", "omega", "phi", "kappa")
    )
    (pose,) = read_pose_table(path, placing).poses
    assert pose.xyz == (500_000.0, 5_540_000.0, 9.0)
    with pytest.raises(ArgumentError, match="--poses-columns"):
        read_pose_table(path, Placing(poses_crs="EPSG:32633"))
    with pytest.raises(ArgumentError, match="--poses-crs: the coordinate system"):
        read_pose_table(path, Placing(poses_crs="nowhere"))


def test_damaged_sidecars_and_tags(tmp_path):
    source = folder(tmp_path / "a", {"a.jpg": COMPASS})
    (tmp_path / "a" / "a.jpg.camera.json").write_text("{")
    with pytest.raises(SourceError, match=r"a\.jpg\.camera\.json: is not JSON"):
        poses(source)


def test_photos_of_no_feature_and_vanished_features(tmp_path):
    source = features(
        tmp_path / "a.gpkg",
        ", azimuth REAL",
        rows=[(1, point(15, 50), "{1}", 44.0)],
        photos=[
            attachment(1, "{nobody}", COMPASS, "a.jpg"),
            attachment(2, "{1}", COMPASS, "b.jpg"),
        ],
    )
    poser = Poser(Placing(columns={"heading": "azimuth"}), source)
    items = {item.name: item for item in source}
    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as connection:
        connection.execute("DELETE FROM trees")
        connection.commit()
    assert [heading(poser.pose(items[n], COMPASS, SIZE, 1)) for n in ("a.jpg", "b.jpg")] == [90, 90]
    poser.close()
    source.close()


def test_a_photo_beside_its_path_column_has_its_sidecar(tmp_path):
    (tmp_path / "DCIM").mkdir()
    (tmp_path / "DCIM" / "a.jpg").write_bytes(COMPASS)
    sidecar(tmp_path / "DCIM" / "a.jpg.camera.json", 10.0)
    gpkg = Gpkg(tmp_path / "p.gpkg")
    gpkg.layer("poles", "photo TEXT", [(1, point(15, 50), "DCIM/a.jpg")])
    path = gpkg.done()
    found, _ = poses(open_photos(path, detect(path)))
    assert [heading(pose) for pose in found.values()] == [10.0]


def test_the_lens_of_a_turned_photo(tmp_path):
    """Of a portrait the compass speaks of what is looked at, a calibration of what is stored."""
    portrait = jpeg((64, 48), main={0x0112: 6}, gps=gps(15, 50, 2.0, direction=90))
    placing = Placing(camera=lens_file(tmp_path / "c.json"))
    source = folder(tmp_path / "a", {"a.jpg": portrait})
    pose = poses(source, placing)[0]["a.jpg"]
    # Stored columns run down the upright picture: the camera is rolled by a quarter.
    assert pose.orientation == 1
    roll = pose_angles("hpr", pose.rotation)[2]
    assert np.isclose(abs(roll), 90.0)
    assert np.isclose(heading(pose), 90.0)


def test_a_lens_of_another_shape_than_the_photo_is_told(tmp_path):
    photos = folder(tmp_path / "photos", {"a.jpg": COMPASS})
    wide = SIZE.width, SIZE.height * 3 // 4
    lens = PerspectiveCamera(
        wide, focal_px=(60.0, 60.0), centre_px=(31.5, 17.5), rotation=np.eye(3), position=(0, 0, 0)
    )
    (tmp_path / "c.camera.json").write_bytes(write_camera(CameraFile(camera=lens)))
    found, _ = poses(photos, Placing(camera=tmp_path / "c.camera.json"))
    told = "lens of a picture of 64 x 36, stretched to this one's shape"
    assert told in found["a.jpg"].assumed
    for angles in ("hfov\na.jpg,16,51,9,45,80,0,60", "hfov,vfov\na.jpg,16,51,9,45,80,0,60,20"):
        rows = table(tmp_path / "p.csv", f"{HEADER},{angles}\n")
        found, _ = poses(open_folder(tmp_path / "photos"), Placing(poses=rows))
        assert not [text for text in found["a.jpg"].assumed if "stretched" in text]
