"""Traps 3 (heights), 4 (feet), 6 (Web Mercator) and 13 (antimeridian, poles) of geometry."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import Geod
from pyproj.crs import ProjectedCRS
from pyproj.crs.coordinate_operation import AzimuthalEquidistantConversion

from attachtrans.errors import ArgumentError, CrsError
from attachtrans.geo.frame import (
    LocalFrame,
    convergence_deg,
    has_heights,
    horizontal,
    read_crs,
    transform,
    unit_m,
)
from attachtrans.geo.rotation import pose_angles, pose_matrix

WGS84 = Geod(ellps="WGS84")
US_FOOT = 1200.0 / 3937.0
PLACES = {
    "lonlat": ("EPSG:4326", (7.4, 46.9)),
    "web_mercator": ("EPSG:3857", (1.4e6, 8.4e6)),
    "north_pole": ("EPSG:4326", (12.0, 90.0)),
    "beside_the_south_pole": ("EPSG:4326", (-170.0, -89.9999)),
    "antimeridian": ("EPSG:4326", (179.99999, -17.0)),
    "polar_stereographic": ("EPSG:5041", (2.3e6, 1.8e6)),
    "europe": ("EPSG:3035", (3.2e6, 4.1e6)),
    "utm": ("EPSG:32651", (292746.0, 2731093.0)),
    "state_plane_feet": ("EPSG:2264", (2_958_000.0, 901_000.0)),
    "northing_first": ("EPSG:31467", (3_500_000.0, 5_400_000.0)),
}


@pytest.mark.parametrize("name", PLACES)
def test_frames_are_metres_with_a_known_north(name):
    """Distances and directions from the place against the geodesic, at 200 m."""
    crs, place = PLACES[name]
    frame = LocalFrame.at(crs, place)
    axes = [(axis.direction, axis.unit_conversion_factor) for axis in frame.crs.axis_info]
    assert axes == [("east", 1.0), ("north", 1.0)]
    here = frame.from_source(np.array([[place[0]], [place[1]], [0.0]]))
    around = np.deg2rad(np.arange(0.0, 360.0, 30.0))
    there = here + 200.0 * np.stack([np.sin(around), np.cos(around), np.zeros(12)])
    lonlat = transform(frame.crs, "EPSG:4326", np.concatenate([here, there], axis=1)[:2])
    heading, _, length = WGS84.inv(*np.repeat(lonlat[:, :1], 12, axis=1), *lonlat[:, 1:])
    assert length == pytest.approx(np.full(12, 200.0), rel=0.002)
    off = np.array([frame.true_heading_deg(angle) for angle in np.rad2deg(around)]) - heading
    # At a pole itself every direction is south; the frame counts from its own middle.
    if name != "north_pole":
        assert np.abs((off + 180.0) % 360.0 - 180.0).max() < 0.002
    back = frame.to_source(there)
    # PROJ's inverse of the equal-area projection is good to 0.2 mm.
    assert np.abs(frame.from_source(back) - there).max() < 1e-3


def test_projected_coordinates_that_are_true_to_scale_stay_what_they_are():
    frame = LocalFrame.at("EPSG:32651", (292746.0, 2731093.0))
    assert frame.crs == read_crs("EPSG:32651")
    points = np.array([[292746.0], [2731093.0], [186.0]])
    assert np.array_equal(frame.from_source(points), points)
    assert np.array_equal(frame.turn, np.eye(3))


def test_the_convergence_of_a_real_frames_zone():
    """Measured on the ODM frames: -0.856 degrees, east of nothing being grid north."""
    lonlat = np.array([[120.9515], [24.6800]])
    place = transform("EPSG:4326", "EPSG:32651", lonlat)[:, 0]
    assert convergence_deg("EPSG:32651", place) == pytest.approx(-0.856, abs=0.001)
    frame = LocalFrame.at("EPSG:32651", place)
    assert frame.grid_heading_deg(92.9) == pytest.approx(92.9 + 0.856, abs=0.001)
    assert frame.true_heading_deg(frame.grid_heading_deg(1.0)) == pytest.approx(1.0)
    assert convergence_deg("EPSG:4326", (1.0, 2.0)) == 0.0


@pytest.mark.parametrize("crs", ["EPSG:32651", "EPSG:2154", "EPSG:5041", "EPSG:2264"])
def test_convergence_is_the_bearing_of_grid_north(crs):
    x, y = {
        "EPSG:32651": (292746.0, 2731093.0),
        "EPSG:2154": (900_000.0, 6_300_000.0),
        "EPSG:5041": (2.3e6, 1.8e6),
        "EPSG:2264": (2_958_000.0, 901_000.0),
    }[crs]
    lonlat = transform(crs, "EPSG:4326", np.array([[x, x], [y, y + 100.0]]))
    bearing, _, _ = WGS84.inv(*lonlat[:, 0], *lonlat[:, 1])
    assert convergence_deg(crs, (x, y)) == pytest.approx(bearing, abs=0.002)


def test_rotations_of_a_source_grid_are_turned_into_the_frame():
    """A camera that looks along the grid's north of a polar CRS."""
    crs, place = PLACES["polar_stereographic"]
    frame = LocalFrame.at(crs, place)
    turned = frame.turn @ pose_matrix("hpr", (10.0, 80.0, 3.0))
    heading, pitch, roll = pose_angles("hpr", turned)
    assert heading == pytest.approx((10.0 + convergence_deg(crs, place)) % 360.0, abs=1e-9)
    assert (pitch, roll) == pytest.approx((80.0, 3.0), abs=1e-9)


def test_web_mercator_metres_are_not_metres():
    """Trap 6: at 60 degrees north they are half as long."""
    place = transform("EPSG:4326", "EPSG:3857", np.array([[10.0], [60.0]]))[:, 0]
    frame = LocalFrame.at("EPSG:3857", place)
    moved = frame.from_source(np.array([[place[0] + 100.0], [place[1]], [5.0]]))
    assert moved[0, 0] == pytest.approx(100.0 * np.cos(np.deg2rad(60.0)), rel=0.003)
    assert moved[2, 0] == 5.0


def test_feet_become_metres_and_the_grid_stays():
    """Trap 4: survey feet are not international feet, 6 mm apart per 3 km."""
    x, y = 2_958_000.0, 901_000.0
    frame = LocalFrame.at("EPSG:2264", (x, y), z_unit_m=unit_m("EPSG:2264"))
    moved = frame.from_source(np.array([[x], [y], [141.0]]))[:, 0]
    assert moved == pytest.approx(np.array([x, y, 141.0]) * US_FOOT, abs=1e-6)
    assert abs(moved[0] - x * 0.3048) > 1.0
    assert frame.to_source(moved[:, None])[:, 0] == pytest.approx([x, y, 141.0], abs=1e-6)
    assert LocalFrame.at("EPSG:2264", (x, y)).z_unit_m == 1.0


def test_a_vertical_part_gives_the_unit_of_heights():
    place = (2_958_000.0, 901_000.0, 141.0)
    frame = LocalFrame.at("EPSG:2264+6360", place)
    assert frame.z_unit_m == pytest.approx(US_FOOT)
    with pytest.raises(ArgumentError, match="has a unit of its own"):
        LocalFrame.at("EPSG:2264+6360", place, z_unit_m=1.0)
    assert LocalFrame.at("EPSG:4979", (7.0, 46.0)).z_unit_m == 1.0
    with pytest.raises(CrsError, match="not in units of length"):
        unit_m(4326)


def test_heights_are_never_handed_through_for_want_of_a_grid():
    """Trap 3: PROJ alone returns 100 for ellipsoidal 100 m as a height over EGM96."""
    points = np.array([[10.0], [50.0], [100.0]])
    for target in ("EPSG:4326+5773", "EPSG:25832+5799", "EPSG:32632+3855"):
        with pytest.raises(CrsError, match="PROJ cannot transform"):
            transform("EPSG:4979", target, points)
    with pytest.raises(CrsError, match=r"us_nga_egm96_15\.tif: fetch it with `projsync"):
        transform("EPSG:4979", "EPSG:4326+5773", points)


def test_heights_of_one_datum_keep_it_and_change_their_unit():
    feet = np.array([[2_958_000.0], [901_000.0], [141.0]])
    metres = transform("EPSG:2264+6360", "EPSG:32119+5703", feet)
    assert metres[2, 0] == pytest.approx(141.0 * US_FOOT, abs=1e-9)
    # The two zones write their false easting with different digits.
    assert metres[:2, 0] == pytest.approx(feet[:2, 0] * US_FOOT, abs=1e-3)
    plain = transform("EPSG:4326", "EPSG:32632", np.array([[10.0], [50.0], [100.0]]))
    assert plain[2, 0] == 100.0


def test_heights_that_only_one_side_explains_are_refused():
    points = np.array([[10.0], [50.0], [100.0]])
    for ends in (("EPSG:4979", "EPSG:32632"), ("EPSG:32632", "EPSG:4979")):
        with pytest.raises(CrsError, match="says what its heights mean"):
            transform(*ends, points)


def test_places_that_a_projection_cannot_show_are_nan():
    moved = transform("EPSG:4326", "EPSG:3857", np.array([[10.0, 10.0, np.nan], [95.0, 45.0, 1.0]]))
    assert np.isfinite(moved[0]).tolist() == [False, True, False]
    gone = transform("EPSG:4979", "EPSG:4979", np.array([[1.0, np.nan], [2.0, 2.0], [3.0, 3.0]]))
    assert np.isfinite(gone[0]).tolist() == [True, False]


def test_what_is_no_crs_is_refused():
    with pytest.raises(CrsError, match="cannot be read"):
        read_crs("EPSG:999999")
    with pytest.raises(CrsError, match="neither geographic nor projected"):
        read_crs("EPSG:5703")
    with pytest.raises(CrsError, match="does not lie where"):
        LocalFrame.at("EPSG:32632", (1e9, 1e9))
    with pytest.raises(CrsError, match="does not lie where"):
        convergence_deg("EPSG:32632", (1e9, 1e9))
    with pytest.raises(ArgumentError, match="points are an array"):
        transform(4326, 3857, np.zeros((4, 1)))


def test_a_plane_at_no_latitude_is_refused():
    plane = ProjectedCRS(AzimuthalEquidistantConversion(95.0, 10.0))
    with pytest.raises(CrsError, match="PROJ cannot transform"):
        transform("EPSG:4326", plane, [[10.0], [50.0]])


def test_parts_of_a_crs():
    assert horizontal(read_crs("EPSG:2264+6360")) == read_crs(2264)
    assert horizontal(read_crs(4979)) == read_crs(4326)
    assert has_heights(read_crs(4979))
    assert not has_heights(read_crs(4326))
    towgs84 = "+proj=tmerc +lon_0=9 +ellps=bessel +towgs84=598,73,418,0.2,0.04,-2.4,6.7 +units=m"
    assert LocalFrame.at(towgs84, (0.0, 5.4e6)).crs.is_projected
