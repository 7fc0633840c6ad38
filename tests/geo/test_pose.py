"""Poses stand where geodesics and grids say, in every kind of coordinate system."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer

from attachtrans.errors import CrsError, GeorefError
from attachtrans.geo.camera import PerspectiveCamera, TurnedCamera
from attachtrans.geo.pose import North, Pose, height_m, standing, work_crs
from attachtrans.geo.rotation import pose_matrix
from attachtrans.types import Size

EARTH = Geod(ellps="WGS84")
SIZE = Size(401, 301)
LENS = PerspectiveCamera(
    SIZE, focal_px=(1000.0, 1000.0), centre_px=(200.0, 150.0), rotation=np.eye(3), position=[0] * 3
)
PLACES = {
    "UTM, 3 degrees off its meridian": (32633, 11.9, 48.0),
    "UTM in the south": (32733, 17.9, -33.0),
    "state plane in US feet": (2264, -80.0, 35.5),
    "Web Mercator": (3857, 25.0, 60.0),
    "polar grid": (3031, 100.0, -75.0),
    "polar grid of the north": (3413, -170.0, 85.0),
    "degrees": (4326, 10.0, 50.0),
    "degrees next to the antimeridian": (4326, 179.9999, -17.0),
    "degrees next to the pole": (4326, 30.0, 89.9995),
    "UTM next to the antimeridian": (32660, 179.9999, 52.0),
}


def at(code, longitude, latitude, **fields):
    crs = CRS.from_epsg(code)
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(longitude, latitude)
    return Pose(name="a.jpg", xyz=(x, y, 10.0), crs=crs, lens=LENS, **fields)


def seen(pose, longitude, latitude, z_m=10.0):
    """The pixel of a place in the pose's camera, where its geometry is done."""
    crs = work_crs(pose)
    camera = standing(pose, SIZE, crs, z_m)
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(longitude, latitude)
    return camera.project(np.array([[x], [y], [z_m]])).ravel()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("heading", [0.0, 77.0, 200.0])
def test_a_true_heading_is_the_bearing_of_the_geodesic(place, heading):
    code, longitude, latitude = PLACES[place]
    pose = at(code, longitude, latitude, rotation=pose_matrix("hpr", (heading, 90.0, 0.0)))
    end = EARTH.fwd(longitude, latitude, heading, 20.0)[:2]
    # 0.02 px are 0.001 degrees.
    assert seen(pose, *end) == pytest.approx((200.0, 150.0), abs=0.02)


@pytest.mark.parametrize(
    "place", [name for name in PLACES if "degrees" not in name or "off" in name]
)
@pytest.mark.parametrize("heading", [0.0, 77.0, 200.0])
def test_a_grid_heading_is_that_of_the_maps_axes(place, heading):
    code, longitude, latitude = PLACES[place]
    pose = at(
        code,
        longitude,
        latitude,
        rotation=pose_matrix("hpr", (heading, 90.0, 0.0)),
        north=North.GRID,
    )
    angle = math.radians(heading)
    x, y = pose.xyz[0] + 20.0 * math.sin(angle), pose.xyz[1] + 20.0 * math.cos(angle)
    end = Transformer.from_crs(pose.crs, 4326, always_xy=True).transform(x, y)
    # Web Mercator is not quite conformal: its angles are off by up to 0.03 degrees here.
    off = 0.6 if code == 3857 else 0.02
    assert seen(pose, *end) == pytest.approx((200.0, 150.0), abs=off)


@settings(max_examples=30)
@given(st.floats(-2.9, 2.9), st.floats(-79.0, 83.0))
def test_the_convergence_of_utm_is_tan_of_the_longitude_times_sin_of_the_latitude(off, latitude):
    pose = at(32633, 15.0 + off, latitude, rotation=pose_matrix("hpr", (0.0, 90.0, 0.0)))
    forward = standing(pose, SIZE, pose.crs, 0.0).rotation[:, 2]
    turned = math.degrees(math.atan2(-forward[0], forward[1]))
    # On the sphere this is exact; the ellipsoid adds less than 0.002 degrees within a zone.
    closed = math.degrees(math.atan(math.tan(math.radians(off)) * math.sin(math.radians(latitude))))
    assert turned == pytest.approx(closed, abs=2e-3)


def test_us_feet_stand_in_metres_with_their_height():
    pose = at(2264, -80.0, 35.5, rotation=np.eye(3), z_unit_m=1200.0 / 3937.0)
    crs = work_crs(pose)
    camera = standing(pose, SIZE, crs, height_m(pose))
    assert [axis.unit_conversion_factor for axis in crs.axis_info] == [1.0, 1.0]
    assert camera.position == pytest.approx(np.array(pose.xyz) * 1200.0 / 3937.0, abs=1e-6)


@pytest.mark.parametrize(
    ("crs", "unit", "expected"),
    [
        ("EPSG:4326", None, 100.0),
        ("EPSG:4979", None, 100.0),
        ("EPSG:32633", 0.3048, 30.48),
        ("EPSG:2264+6360", None, 100.0 * 1200 / 3937),
        ("EPSG:2264+5703", None, 100.0),
    ],
)
def test_heights_have_the_unit_of_their_datum_or_the_one_given(crs, unit, expected):
    pose = Pose(xyz=(15.0, 45.0, 100.0), crs=CRS.from_user_input(crs), z_unit_m=unit)
    assert height_m(pose) == pytest.approx(expected, rel=1e-12)


def test_no_height_is_none():
    assert height_m(Pose()) is None
    assert height_m(Pose(xyz=(1.0, 2.0, None), crs=CRS.from_epsg(4326))) is None


def test_the_models_crs_is_taken_where_it_is_metric_and_true_to_scale():
    pose = at(4326, 15.5, 45.0)
    assert work_crs(pose, CRS.from_epsg(32633)) == CRS.from_epsg(32633)
    assert work_crs(pose, CRS.from_user_input("EPSG:32633+5773")) == CRS.from_epsg(32633)
    for unfit in (3857, 2264, 4326, 32601):
        assert work_crs(pose, CRS.from_epsg(unfit)) not in (
            CRS.from_epsg(unfit),
            CRS.from_epsg(32633),
        )


def test_a_sensors_lens_fits_the_picture_of_any_size():
    pose = at(32633, 15.0, 45.0, rotation=np.eye(3))
    camera = standing(pose, Size(802, 602), pose.crs, 1.0)
    assert camera.focal_px == pytest.approx((2000.0, 2000.0))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_upright_pose_of_a_picture_that_is_stored_turned(orientation):
    stored = SIZE if orientation < 5 else Size(SIZE.height, SIZE.width)
    pose = at(32633, 15.0, 45.0, rotation=np.eye(3), orientation=orientation)
    camera = standing(pose, stored, pose.crs, 1.0)
    assert camera.size == stored
    upright = camera.upright if isinstance(camera, TurnedCamera) else camera
    assert upright.focal_px == LENS.focal_px


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (
            Pose(name="a.jpg", source="EXIF GPS"),
            r"a\.jpg has no attitude and no focal length \(EXIF",
        ),
        (Pose(rotation=np.eye(3)), "the photo has no focal length"),
        (Pose(lens=LENS), "has no attitude"),
        (Pose(lens=LENS, rotation=np.eye(3)), "no position"),
    ],
)
def test_what_lacks_is_told(pose, words):
    with pytest.raises(GeorefError, match=words):
        standing(pose, SIZE, CRS.from_epsg(32633), 0.0)


def test_no_position_and_one_that_is_nowhere():
    with pytest.raises(GeorefError, match="no position"):
        work_crs(Pose())
    lost = Pose(xyz=(1e9, 1e9, 0.0), crs=CRS.from_epsg(32633), rotation=np.eye(3), lens=LENS)
    with pytest.raises(CrsError):
        work_crs(lost)
    here = Pose(xyz=(105.0, 0.0, 0.0), crs=CRS.from_epsg(4326), rotation=np.eye(3), lens=LENS)
    with pytest.raises(CrsError, match="does not lie"):
        standing(here, SIZE, CRS.from_epsg(32633), 0.0)
