from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.geo.camera import (
    FisheyeCamera,
    PanoramaCamera,
    PerspectiveCamera,
    TurnedCamera,
)
from attachtrans.geo.camera.fisheye import AngleSeries
from attachtrans.geo.distortion import BrownDistortion, LensCorrection
from attachtrans.geo.pose import Accuracy, Pose, standing
from attachtrans.geo.rotation import pose_matrix
from attachtrans.stores.poses import read_poses
from attachtrans.stores.poses.camera_json import CameraFile, read_camera, write_camera
from attachtrans.stores.poses.lenses import SquarePixelCamera, fov_camera
from attachtrans.types import Size

SMALL = st.floats(-0.3, 0.3)
ANGLE = st.floats(-180.0, 180.0)
PLACE = st.floats(-1e7, 1e7)
SIDE = st.integers(1, 20_000)


def brown():
    return st.builds(
        BrownDistortion,
        radial=st.lists(SMALL, max_size=5).map(tuple),
        rational=st.lists(SMALL, max_size=3).map(tuple),
        tangential=st.tuples(SMALL, SMALL),
        prism=st.tuples(SMALL, SMALL, SMALL, SMALL),
        tilt_rad=st.tuples(SMALL, SMALL),
    )


@st.composite
def cameras(draw):
    """Every kind of camera, with every kind of lens, posed."""
    size = Size(draw(SIDE), draw(SIDE))
    rotation = pose_matrix("hpr", [draw(ANGLE) for _ in range(3)])
    pose = {"rotation": rotation, "position": np.array([draw(PLACE) for _ in range(3)])}
    kind = draw(st.sampled_from(["perspective", "fisheye", "panorama", "square"]))
    if kind == "panorama":
        full = (size.width + draw(st.floats(0, 1e4)), size.height + draw(st.floats(1, 1e4)))
        offset = (draw(st.floats(-1e4, 1e4)), draw(st.floats(0.0, 1.0)))
        camera = PanoramaCamera(size, full_size_px=full, offset_px=offset, **pose)
    elif kind == "square":
        angle = draw(st.floats(1.0, 170.0))
        camera = fov_camera(*draw(st.sampled_from([(angle, None), (None, angle)])))
        camera = camera.posed(**pose)
    else:
        plane = {
            "focal_px": (draw(st.floats(1.0, 1e5)), draw(st.floats(1.0, 1e5))),
            "centre_px": (draw(PLACE), draw(PLACE)),
            "shear_px": (draw(SMALL), draw(SMALL)),
        }
        if kind == "fisheye":
            lens = AngleSeries(terms=tuple(draw(st.lists(SMALL, max_size=8))))
            camera = FisheyeCamera(size, distortion=lens, **plane, **pose)
        else:
            lens = draw(brown())
            if draw(st.booleans()):
                lens = LensCorrection(polynomial=lens)
            camera = PerspectiveCamera(size, distortion=lens, **plane, **pose)
    turned = draw(st.integers(1, 8))
    return camera if turned == 1 else TurnedCamera(upright=camera, orientation=turned)


def equal(one, two):
    """Bit for bit, whatever is in them."""
    if type(one) is not type(two):
        return False
    if isinstance(one, TurnedCamera):
        return one.orientation == two.orientation and equal(one.upright, two.upright)
    names = {field.name for field in fields(one)} - {"_plane", "distortion"}
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in names)


@settings(max_examples=60)
@given(cameras(), st.sampled_from([None, 32633, 4326, 2264]), st.text(max_size=20))
def test_every_camera_comes_back_to_the_last_bit(camera, code, name):
    if code is None:
        inner = camera.upright if isinstance(camera, TurnedCamera) else camera
        bare = inner.posed(np.eye(3), np.zeros(3))
        camera = replace(camera, upright=bare) if isinstance(camera, TurnedCamera) else bare
    crs = None if code is None else CRS.from_epsg(code)
    written = write_camera(CameraFile(camera=camera, crs=crs, name=name.strip()))
    found = read_camera(json.loads(written), "x")
    assert equal(found.camera, camera)
    assert found.crs == crs
    assert found.name == name.strip()
    assert write_camera(found) == written


POSE = Pose(
    above_ground_m=1.8,
    near_m=2.0,
    far_m=50.0,
    accuracy=Accuracy(xy_m=0.1, heading_deg=2.5),
    time="2024-05-01T10:00:00",
    paired=True,
    rough_height=True,
    source="DJI XMP (gimbal)",
    assumed=("level camera", "focal length: 28 mm of full frame"),
)
CAMERA = PerspectiveCamera(
    Size(4000, 3000),
    focal_px=(3000.1, 2999.9),
    centre_px=(1999.0, 1501.25),
    distortion=(-0.1, 0.02, 1e-3, -2e-3, 0.003),
    rotation=pose_matrix("hpr", (33.0, 60.0, 2.0)),
    position=(500_000.25, 5_540_000.5, 320.125),
)


def test_what_the_pose_says_comes_back(tmp_path):
    found = CameraFile(
        camera=CAMERA,
        crs=CRS.from_epsg(32632),
        name="DCIM/1.jpg",
        ground={"kind": "dem", "name": "dsm.tif"},
        pose=POSE,
    )
    path = tmp_path / "1.jpg.camera.json"
    path.write_bytes(write_camera(found))
    assert json.loads(path.read_text())["pixel_origin"] == "centre"
    again = read_camera(json.loads(path.read_text()), path)
    assert again.ground == found.ground
    for name in ("above_ground_m", "near_m", "far_m", "accuracy", "time", "paired", "source"):
        assert getattr(again.pose, name) == getattr(POSE, name)
    for read in (read_poses(path), read_poses(tmp_path)):
        pose = read.find("1.jpg")
        assert pose.assumed == POSE.assumed
        camera = standing(pose, CAMERA.size, pose.crs, pose.xyz[2])
        assert equal(camera, CAMERA)


def test_a_turned_photo_stands_as_it_was(tmp_path):
    turned = TurnedCamera(upright=CAMERA, orientation=6)
    path = tmp_path / "1.camera.json"
    path.write_bytes(
        write_camera(CameraFile(camera=turned, crs=CRS.from_epsg(32632), name="1.jpg"))
    )
    pose = read_poses(path).find("1.jpg")
    assert equal(standing(pose, turned.size, pose.crs, pose.xyz[2]), turned)


def test_a_lens_that_has_no_words_is_refused():
    class Odd:
        def distort(self, ideal):
            return ideal

        undistort = distort

    with pytest.raises(ArgumentError, match="Odd"):
        write_camera(CameraFile(camera=replace(CAMERA, distortion=Odd())))


VALUE = json.loads(write_camera(CameraFile(camera=CAMERA, crs=CRS.from_epsg(32632))))


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"pixel_origin": "corner"},
        {"kind": "orthographic"},
        {"kind": "fisheye"},
        {"size": [0, 5]},
        {"size": "4000 3000"},
        {"focal_px": [1.0]},
        {"focal_px": [-1.0, 1.0]},
        {"distortion": {"family": "magic"}},
        {"distortion": None},
        {"distortion": {"family": "brown", "radial": ["nan"]}},
        {"rotation": [[1, 0], [0, 1]]},
        {"rotation": [[2, 0, 0], [0, 2, 0], [0, 0, 2]]},
        {"position": [1, 2]},
        {"crs": "no such"},
        {"orientation": 9},
        {"orientation": "x"},
        {"accuracy": 5},
        {"ground": "flat"},
        {"assumed": 5},
    ],
)
def test_what_is_not_complete_is_told_by_name(change):
    with pytest.raises(SourceError, match=r"here\.json"):
        read_camera({**VALUE, **change}, "here.json")


@pytest.mark.parametrize("lacking", ["kind", "size", "focal_px", "distortion", "rotation"])
def test_what_lacks_is_told(lacking):
    with pytest.raises(SourceError, match=lacking):
        read_camera({name: value for name, value in VALUE.items() if name != lacking}, "x")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(sorted(VALUE)), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(sorted(VALUE)), json_values, min_size=1, max_size=3))
def test_hostile_values_are_an_error_or_a_camera(change):
    try:
        read_camera({**VALUE, **change}, "x")
    except SourceError:
        return


def test_a_field_of_view_keeps_its_side_when_it_is_stored():
    camera = fov_camera(None, 40.0)
    found = read_camera(json.loads(write_camera(CameraFile(camera=camera))), "x").as_pose().lens
    assert isinstance(found, SquarePixelCamera)
    assert found.resized(Size(1920, 1080)).focal_px == camera.resized(Size(1920, 1080)).focal_px
