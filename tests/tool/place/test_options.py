"""What a user may say of places, and what is refused before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError
from attachtrans.stores.poses.columns import PARTS
from attachtrans.tool.place.options import Placing, pose_columns, user_crs


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"resolution": 0.0}, "--resolution 0"),
        ({"resolution": -1.0}, "--resolution -1"),
        ({"resolution": float("nan")}, "--resolution nan"),
        ({"resolution": 1e9}, "--resolution"),
        ({"height_m": 0.0}, "--camera-height 0"),
        ({"height_m": float("inf")}, "--camera-height inf"),
        ({"far_m": 0.0}, "--far 0"),
        ({"far_m": float("nan")}, "--far nan"),
        ({"far_m": 5.0, "near_m": 5.0}, "--far 5 is not beyond --near 5"),
        ({"near_m": -1.0}, "--near -1"),
        ({"ground_m": float("nan")}, "--ground nan"),
        ({"ground_m": 1e300}, "--ground"),
        ({"ground_m": 3.0, "dem": Path("dem.tif")}, "--ground is a level ground"),
        ({"occlusion": True}, "--occlusion: only the surface of --dem hides"),
        ({"visible": True}, "--visible: only the surface of --dem hides"),
        ({"mode": "circle"}, "--footprint circle: one of auto"),
        ({"radius_unit": "inch"}, "--distortion-radius-unit inch: one of um"),
    ],
)
def test_what_cannot_be_is_refused_by_its_flag(options, flag):
    with pytest.raises(ArgumentError, match=flag):
        Placing(**options)


def test_what_may_be():
    assert not Placing(far_m=float("inf"), near_m=0.0, ground_m=-400.0).has_products
    for product in ("ortho", "rpc", "cameras"):
        assert Placing(**{product: Path("there")}).has_products


def test_columns_of_a_pose():
    assert pose_columns(["heading=azimuth, pitch = tilt", "convention=dji"]) == {
        "heading": "azimuth",
        "pitch": "tilt",
        "convention": "dji",
    }
    assert pose_columns([]) == {}
    assert pose_columns(["heading=a="]) == {"heading": "a="}


@pytest.mark.parametrize(
    "text",
    ["heading", "heading=", "=azimuth", "head=azimuth", "heading=a,heading=b", "é=b"],
)
def test_columns_that_make_no_sense(text):
    with pytest.raises(ArgumentError, match=r"--pose .*write PART=COLUMN"):
        pose_columns([text])


@given(
    st.dictionaries(st.sampled_from(sorted(PARTS)), st.text("abcö_ 1", min_size=1).map(str.strip))
)
def test_columns_come_back(mapping):
    wanted = {part: column for part, column in mapping.items() if column}
    assert pose_columns([f"{part}={column}" for part, column in wanted.items()]) == wanted


def test_a_system_that_is_none_is_named_by_its_flag():
    assert user_crs("--crs", "EPSG:32633").to_epsg() == 32633
    for text in ("nonsense", "EPSG:5773", "EPSG:999999"):
        with pytest.raises(ArgumentError, match="--poses-crs: the coordinate system"):
            user_crs("--poses-crs", text)
