import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from attachtrans.geo.frame import convergence_deg
from attachtrans.geo.pose import standing
from attachtrans.geo.rotation import pose_angles
from attachtrans.stores.poses import dji, exif
from attachtrans.stores.poses.photo import photo_pose
from attachtrans.types import Size
from tests.stores.poses.photos import carried, gps, jpeg, packet

DEWARP = (
    "2018-09-07;3657.02,3650.62,-4.03,23.1,-0.267098,0.111977,0.000924881,0.0000882056,-0.0331614"
)


def named(**values):
    return {f"drone-dji:{name}": str(value) for name, value in values.items()}


def gimbal(yaw, pitch, roll):
    return named(GimbalYawDegree=yaw, GimbalPitchDegree=pitch, GimbalRollDegree=roll)


def north_east_down(yaw, pitch, roll):
    """Camera axes -> east, north, up, from the definition in DJI's manuals: NED, order ZYX."""
    (sy, sp, sr), (cy, cp, cr) = (
        np.sin(np.deg2rad([yaw, pitch, roll])),
        np.cos(np.deg2rad([yaw, pitch, roll])),
    )
    z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    # Body: x along the lens, y to the right, z down. Camera: x right, y down, z along the lens.
    body_of_camera = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    enu_of_ned = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
    return enu_of_ned @ z @ y @ x @ body_of_camera


@pytest.mark.parametrize("form", ["attributes", "elements"])
@pytest.mark.parametrize(
    "angles",
    [(92.9, -60.0, 0.0), (45.0, -90.0, 180.0), (-170.3, -35.5, 10.0), (12.0, 20.0, -7.5)],
)
def test_g11_the_gimbal_is_north_east_down(angles, form):
    values = gimbal(*angles)
    elements = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
    xmp = packet(values) if form == "attributes" else packet(elements=elements)
    pose = photo_pose(jpeg(xmp=xmp))
    np.testing.assert_allclose(pose.rotation, north_east_down(*angles), atol=1e-9)
    assert pose.source == "DJI XMP (gimbal)"


@given(st.tuples(st.floats(-180, 180), st.floats(-90, 30), st.floats(-180, 180)))
def test_g11_at_any_angle(angles):
    found = dji.attitude(carried(xmp=gimbal(*angles)))
    assert found.angles_deg == angles
    assert found.convention == "dji"


def test_straight_down_with_roll_180_looks_down_with_the_heading_turned_about():
    rotation = photo_pose(jpeg(xmp=packet(gimbal(45.0, -90.0, 180.0)))).rotation
    np.testing.assert_allclose(rotation[:, 2], (0.0, 0.0, -1.0), atol=1e-12)
    top = -rotation[:, 1]  # of the picture
    np.testing.assert_allclose(top, (-np.sqrt(0.5), -np.sqrt(0.5), 0.0), atol=1e-12)


def test_the_aircraft_stands_in_only_where_the_gimbal_is_silent():
    flight = named(FlightYawDegree=10, FlightPitchDegree=-3, FlightRollDegree=4)
    both = dji.attitude(carried(xmp=flight | gimbal(50, -60, 0)))
    assert both.angles_deg == (50.0, -60.0, 0.0)
    assert not both.assumed
    alone = dji.attitude(carried(xmp=flight))
    assert alone.angles_deg == (10.0, -3.0, 4.0)
    assert alone.assumed
    mixed = dji.attitude(carried(xmp=flight | named(GimbalPitchDegree=-60, GimbalRollDegree=0)))
    assert mixed.angles_deg == (10.0, -60.0, 0.0)
    assert mixed.assumed
    assert dji.attitude(carried(xmp=named(GimbalPitchDegree=-90))) is None


def test_a_camera_upside_down_is_noted():
    assert not dji.attitude(carried(xmp=gimbal(1, 2, 3) | named(CamReverse=0))).assumed
    assert (
        "upside down" in dji.attitude(carried(xmp=gimbal(1, 2, 3) | named(CamReverse=1))).assumed[0]
    )


@pytest.mark.parametrize("spelling", ["GpsLongtitude", "GpsLongitude"])
def test_the_position_of_rtk_with_its_deviations(spelling):
    values = named(GpsLatitude=24.68027804, AbsoluteAltitude="+186.57", RtkFlag=50)
    values |= named(RtkStdLon=0.012, RtkStdLat=0.005, RtkStdHgt=0.02)
    values |= named(**{spelling: 120.9517016})
    place = dji.place(carried(xmp=values), None)
    assert (place.longitude, place.latitude, place.z_m) == (120.9517016, 24.68027804, 186.57)
    assert place.xy_sd_m == pytest.approx(np.sqrt((0.012**2 + 0.005**2) / 2))
    assert place.z_sd_m == 0.02
    assert not place.rough
    assert place.source == "DJI XMP (RTK position)"


@pytest.mark.parametrize(
    ("flag", "words", "rough"),
    [(0, "(position)", True), (16, "(position)", True), (34, "unfixed", True)],
)
def test_other_states_of_rtk_are_rough(flag, words, rough):
    place = dji.place(carried(xmp=named(GpsLatitude=1, GpsLongitude=2, RtkFlag=flag)), None)
    assert words in place.source
    assert place.rough == rough


@pytest.mark.parametrize(("kind", "code"), [("RtkAlt", 4979), ("GpsFusionAlt", 4326), (None, 4326)])
def test_heights_have_a_datum_where_it_is_stated(kind, code):
    values = named(GpsLatitude=1, GpsLongitude=2, AbsoluteAltitude=300)
    values |= {} if kind is None else named(AltitudeType=kind)
    assert dji.place(carried(xmp=values), None).crs.to_epsg() == code


def test_a_position_far_from_exifs_is_noted():
    values = named(GpsLatitude=47.0, GpsLongitude=8.0, AbsoluteAltitude=500)
    near = carried(xmp=values, gps=gps(8.0, 47.0000001, 500))
    assert not dji.place(near, exif.place(near)).assumed
    corrected = carried(xmp=values, gps=gps(8.0, 47.00003, 501))
    assert "3.3 m" in dji.place(corrected, exif.place(corrected)).assumed[0]


def test_without_a_position_of_its_own_the_height_completes_exifs():
    shot = carried(xmp=named(AbsoluteAltitude=321.5), gps=gps(8.0, 47.0))
    assert dji.place(shot, exif.place(shot)).z_m == 321.5
    assert dji.place(carried(xmp=named(GpsLatitude=0, GpsLongitude=0)), None) is None
    assert dji.place(carried(xmp=named(GpsLatitude=95, GpsLongitude=0)), None) is None


@pytest.mark.parametrize(("height", "expected"), [("+39.80", 39.8), ("-2.0", None), ("0", None)])
def test_height_above_take_off_is_assumed_to_be_above_ground(height, expected):
    pose = photo_pose(jpeg(xmp=packet(gimbal(0, -90, 0) | named(RelativeAltitude=height))))
    assert pose.above_ground_m == expected
    assert any("take-off" in note for note in pose.assumed) == (expected is not None)


def calibrated(**more):
    return named(
        CalibratedFocalLength=3666.67,
        CalibratedOpticalCenterX=2736,
        CalibratedOpticalCenterY=1824,
        DewarpData=DEWARP,
        DewarpFlag=0,
    ) | named(**more)


def test_the_calibration_of_the_camera():
    optics = dji.optics(carried((5472, 3648), xmp=calibrated()))
    lens = optics.lens
    assert lens.focal_px == (3657.02, 3650.62)
    assert lens.centre_px == (2735.5 - 4.03, 1823.5 + 23.1)
    assert lens.distortion == (-0.267098, 0.111977, 0.000924881, 0.0000882056, -0.0331614)
    assert optics.source == "DJI XMP (DewarpData)"


@pytest.mark.parametrize("tagged", [None, (5472, 3648), (1368, 912)])
def test_a_photo_made_smaller_has_the_same_lens(tagged):
    tags = {} if tagged is None else {"exif": {0xA002: tagged[0], 0xA003: tagged[1]}}
    small = dji.optics(carried((1368, 912), xmp=calibrated(), **tags)).lens
    whole = dji.optics(carried((5472, 3648), xmp=calibrated())).lens
    points = np.array([[0.3, -0.2, 1.0], [0.0, 0.1, 1.0]]).T
    np.testing.assert_allclose(
        (small.project(points) + 0.5) * 4.0 - 0.5, whole.project(points), atol=1e-9
    )


def test_a_photo_that_we_enlarged_has_the_same_lens():
    """All of its pixel values are scaled together."""
    scaled = calibrated(
        CalibratedFocalLength=7333.34,
        CalibratedOpticalCenterX=5472,
        CalibratedOpticalCenterY=3648,
        DewarpData="2018-09-07;7314.04,7301.24,-8.06,46.2,-0.267098,0.111977,0.000924881,0.0000882056,"
        "-0.0331614",
    )
    tags = {0xA002: 10944, 0xA003: 7296}
    double = dji.optics(carried((10944, 7296), xmp=scaled, exif=tags)).lens
    whole = dji.optics(carried((5472, 3648), xmp=calibrated())).lens.resized(Size(10944, 7296))
    points = np.array([[0.3, -0.2, 1.0], [0.0, 0.1, 1.0]]).T
    np.testing.assert_allclose(double.project(points), whole.project(points), atol=1e-9)


def test_dewarped_pixels_have_no_distortion():
    optics = dji.optics(carried((5472, 3648), xmp=calibrated(DewarpFlag=1)))
    assert optics.lens.distortion == ()
    assert optics.lens.focal_px == (3657.02, 3650.62)
    assert "dewarped" in optics.source


def test_six_radial_terms():
    terms = "-0.2,0.1,0.001,0.002,0.03,0.01,0.02,0.003"
    values = named(DewarpDataK6=f"2022-01-01;3000,3001,1,2,{terms}")
    optics = dji.optics(carried(xmp=values))
    assert optics.lens.distortion == tuple(float(term) for term in terms.split(","))
    assert "order" in optics.assumed[0]


@pytest.mark.parametrize(
    "dewarp", ["", "2018;1,2,3", "2018;0,0,0,0,0,0,0,0,0", "x;900,900,0,0,0,0,0,0,0", DEWARP + ",1"]
)
def test_without_a_calibration_the_design_counts(dewarp):
    optics = dji.optics(carried((5472, 3648), xmp=calibrated(DewarpData=dewarp)))
    assert optics.lens.focal_px == (3666.67, 3666.67)
    assert optics.lens.centre_px == (2735.5, 1823.5)
    assert optics.lens.distortion == ()


def test_without_either_there_is_no_lens():
    assert dji.optics(carried(xmp=gimbal(0, -90, 0))) is None


def odm(shared, name):
    geo = shared / "data/geo"
    data = (geo / f"orthority/tests/data/odm/images/{name}.tif").read_bytes()
    truth = json.loads((geo / f"truth/odm_{name}_camera.json").read_text())
    return photo_pose(data, name=name), truth


@pytest.mark.parametrize("name", ["100_0005_0018", "100_0005_0142"])
def test_frames_of_a_survey_against_their_reconstruction(shared, name):
    """Reference, section 6: attitude 0.8 to 1.4 degrees, centre 1.2 to 2.6 m, focal 0.3 %."""
    pose, truth = odm(shared, name)
    camera = standing(pose, Size(*truth["im_size"]), CRS(truth["crs"]), pose.xyz[2])
    true = np.array(truth["R_cam_cv_to_world"])
    angle = np.degrees(np.arccos((np.trace(camera.rotation.T @ true) - 1.0) / 2.0))
    assert angle < 1.4
    assert np.linalg.norm(camera.position - truth["C"]) < 2.6
    assert np.mean(camera.focal_px) == pytest.approx(truth["K"][0][0], rel=0.003)
    assert convergence_deg(truth["crs"], camera.position) == pytest.approx(-0.856, abs=0.002)
    assert pose.accuracy.xy_m < 0.01
    assert pose.above_ground_m == pytest.approx(99.9, abs=0.1)


@pytest.mark.parametrize(("name", "yaw", "z"), [("0018", 45.0, 198.309), ("0019", 42.8, 198.609)])
def test_frames_of_an_older_drone(shared, name, yaw, z):
    data = (shared / f"data/geo/brighton_beach/images/DJI_{name}.JPG").read_bytes()
    pose = photo_pose(data)
    assert pose_angles("dji", pose.rotation) == pytest.approx((yaw, -89.9, 0.0), abs=1e-6)
    assert pose.xyz[2] == z
    assert pose.rough_height
    assert pose.lens.size == (4000, 2250)
    assert pose.lens.focal_px[0] == pytest.approx(20 / 36 * 4000)
    assert pose.time == f"2016-06-23T16:{'31:59' if name == '0018' else '32:06'}"
