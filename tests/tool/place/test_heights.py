"""Which height of a camera is believed, case by case."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import CRS

from attachtrans.errors import GeorefError
from attachtrans.geo.camera import PanoramaCamera
from attachtrans.geo.pose import Accuracy, Pose
from attachtrans.geo.rotation import pose_matrix
from attachtrans.stores.poses.exif import QFIELD_HEIGHT
from attachtrans.tool.place.heights import Under, over_level, over_model
from attachtrans.tool.place.options import Placing

WGS84 = CRS.from_epsg(4326)
UNDER = Under(120.0)
PANORAMA = PanoramaCamera((64, 32), rotation=np.eye(3), position=np.zeros(3))


def pose(z=None, *, pitch=90.0, above=None, rough=True, paired=False, sigma=None, **more):
    return Pose(
        name="a.jpg",
        xyz=(15.0, 50.0, z),
        crs=WGS84,
        rotation=pose_matrix("hpr", (0.0, pitch, 0.0)),
        above_ground_m=above,
        rough_height=rough,
        paired=paired,
        accuracy=Accuracy(z_m=sigma),
        **more,
    )


@pytest.mark.parametrize(
    ("known", "placing", "z_m", "counted"),
    [
        # Sound heights are taken as they are.
        (pose(150.0, rough=False), {}, 150.0, False),
        (pose(150.0, paired=True), {}, 150.0, False),
        (pose(150.0, sigma=0.02), {}, 150.0, False),
        (pose(150.0, rough=False, above=40.0), {}, 150.0, False),
        # Unless the user knows better.
        (pose(150.0, rough=False), {"height_m": 2.5}, 122.5, True),
        # Rough ones are not: the ground and a height above it.
        (pose(150.0, sigma=8.0), {}, 121.8, True),
        (pose(150.0, above=40.0), {}, 160.0, True),
        (pose(150.0, above=40.0), {"height_m": 2.5}, 122.5, True),
        (pose(None), {}, 121.8, True),
        (pose(None, above=40.0, rough=False), {}, 160.0, True),
        # A steep picture was not taken by hand: a rough height is better than none.
        (pose(150.0, pitch=20.0), {}, 150.0, False),
        # All-around pictures are.
        (pose(150.0, pitch=20.0, lens=PANORAMA), {}, 121.8, True),
    ],
)
def test_over_an_elevation_model(known, placing, z_m, counted):
    stand = over_model(known, Placing(**placing), UNDER)
    assert (stand.z_m, stand.ground_m, stand.counted) == (pytest.approx(z_m), 120.0, counted)


def test_what_was_assumed_is_said():
    said = {
        "hand": over_model(pose(150.0), Placing(), UNDER).pose.assumed,
        "receiver": over_model(pose(150.0, pitch=0.0), Placing(), UNDER).pose.assumed,
        "model": over_model(pose(150.0), Placing(), Under(120.0, "as about it")).pose.assumed,
        "sound": over_model(pose(150.0, rough=False), Placing(), UNDER).pose.assumed,
        "user": over_model(pose(150.0), Placing(height_m=3.0), UNDER).pose.assumed,
    }
    assert said["hand"] == ("camera 1.8 m above the ground",)
    assert said["receiver"] == ("height of a receiver without corrections: tens of metres off",)
    assert said["model"] == ("camera 1.8 m above the ground", "as about it")
    assert said["sound"] == said["user"] == ()


def test_heights_that_contradict_each_other_are_both_said():
    (text, *_) = over_model(pose(420.0, above=40.0), Placing(), UNDER).pose.assumed
    assert text == "camera at 160 m, counted from the ground: its source says 420 m"
    assert over_model(pose(200.0, above=40.0), Placing(), UNDER).pose.assumed == ()


def test_where_the_model_has_no_heights():
    stand = over_model(pose(150.0), Placing(), None)
    assert (stand.z_m, stand.ground_m, stand.counted) == (150.0, None, False)
    for known, placing in ((pose(None), {}), (pose(150.0), {"height_m": 2.0})):
        with pytest.raises(GeorefError, match=r"a\.jpg stands where the elevation model has no"):
            over_model(known, Placing(**placing), None)
    with pytest.raises(GeorefError, match=r"nothing says how high a\.jpg stands"):
        over_model(pose(None, pitch=10.0), Placing(), None)


@pytest.mark.parametrize(
    ("known", "placing", "z_m", "ground_m"),
    [
        # The user's ground.
        (pose(150.0, rough=False), {"ground_m": 100.0}, 150.0, 100.0),
        (pose(150.0), {"ground_m": 100.0}, 101.8, 100.0),
        (pose(150.0, above=40.0), {"ground_m": 100.0}, 140.0, 100.0),
        (pose(None), {"ground_m": 100.0, "height_m": 3.0}, 103.0, 100.0),
        (pose(150.0, rough=False), {"ground_m": 100.0, "height_m": 3.0}, 103.0, 100.0),
        (pose(150.0, pitch=20.0), {"ground_m": 100.0}, 150.0, 100.0),
        # No ground but that under the camera.
        (pose(150.0, rough=False), {"height_m": 3.0}, 150.0, 147.0),
        (pose(150.0, above=40.0), {}, 150.0, 110.0),
        (pose(150.0), {}, 150.0, 148.2),
        (pose(None), {}, 1.8, 0.0),
        (pose(None, above=40.0), {}, 40.0, 0.0),
    ],
)
def test_over_level_ground(known, placing, z_m, ground_m):
    stand = over_level(known, Placing(**placing))
    assert (stand.z_m, stand.ground_m) == (pytest.approx(z_m), pytest.approx(ground_m))


@pytest.mark.parametrize(
    ("known", "placing", "reason"),
    [
        (pose(150.0, pitch=20.0), {}, "nothing says how high"),
        (pose(150.0, paired=True), {}, "nothing says how high"),
        (pose(None, pitch=20.0), {"ground_m": 5.0}, "nothing says how high"),
        (pose(90.0, rough=False), {"ground_m": 100.0}, "90 m stands below --ground 100"),
    ],
)
def test_level_ground_that_nothing_relates_to_the_camera(known, placing, reason):
    with pytest.raises(GeorefError, match=reason):
        over_level(known, Placing(**placing))


@pytest.mark.parametrize(
    ("ground_m", "z_m"), [(120.0, 12.0), (0.0, 12.0), (-10.0, -12.0), (-400.0, -12.0)]
)
def test_qfields_sign_is_compared_with_the_ground(ground_m, z_m):
    qfield = pose(12.0, pitch=20.0, assumed=("level camera", QFIELD_HEIGHT))
    stand = over_model(qfield, Placing(), Under(ground_m))
    assert stand.z_m == z_m
    assert (QFIELD_HEIGHT in stand.pose.assumed) == (z_m > 0.0)
    assert any("below sea level, as" in text for text in stand.pose.assumed) == (z_m < 0.0)
    if ground_m < z_m:
        assert over_level(qfield, Placing(ground_m=ground_m)).z_m == z_m
    others = pose(12.0, pitch=20.0)
    assert over_model(others, Placing(), Under(ground_m)).z_m == 12.0
