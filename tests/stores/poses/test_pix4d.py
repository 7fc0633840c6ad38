import numpy as np
import pytest

from attachtrans.geo.rotation import pose_matrix
from attachtrans.stores.poses import exif, pix4d
from attachtrans.stores.poses.photo import photo_pose
from tests.stores.poses.photos import carried, gps, jpeg, packet, ratio

PLANE = {0xA20E: ratio(1280 / 4.8), 0xA20F: ratio(960 / 3.6), 0xA210: 4, 0x920A: ratio(3.98)}
"""A sensor of 4.8 x 3.6 mm, of 1280 x 960 pixels."""
SIZE = (1280, 960)


def named(**values):
    return {f"Camera:{name}": str(value) for name, value in values.items()}


def angles(yaw, pitch, roll):
    return named(Yaw=yaw, Pitch=pitch, Roll=roll)


def test_pitch_0_looks_down_with_the_top_to_the_yaw():
    rotation = photo_pose(jpeg(xmp=packet(angles(30, 0, 0)))).rotation
    np.testing.assert_allclose(rotation[:, 2], (0, 0, -1), atol=1e-12)
    np.testing.assert_allclose(-rotation[:, 1], (0.5, np.sqrt(0.75), 0), atol=1e-12)


@pytest.mark.parametrize("pitch", [-40.0, 0.0, 25.0])
def test_without_roll_it_is_dji_with_another_zero(pitch):
    rotation = photo_pose(jpeg(xmp=packet(angles(200, pitch, 0)))).rotation
    np.testing.assert_allclose(rotation, pose_matrix("dji", (200, pitch - 90, 0)), atol=1e-12)


def test_the_namespace_of_sensefly_is_the_same():
    xmp = b"<d xmlns:Camera='http://ns.sensefly.com/Camera/1.0/' Camera:Yaw='1' Camera:Pitch='2'"
    pose = photo_pose(jpeg(xmp=xmp + b" Camera:Roll='3'/>"))
    np.testing.assert_allclose(pose.rotation, pose_matrix("ypr", (1, 2, 3)), atol=1e-12)
    assert "of the camera" in pose.assumed[0]


def test_parrots_own_angles_count_first():
    parrot = {f"drone-parrot:Camera{axis}Degree": v for axis, v in (("Yaw", 5), ("Roll", 0))}
    parrot["drone-parrot:CameraPitchDegree"] = -90
    attitude = pix4d.attitude(carried(xmp=angles(1, 2, 3) | parrot))
    assert (attitude.convention, attitude.angles_deg) == ("dji", (5.0, -90.0, 0.0))


def test_accuracies():
    xmp = angles(1, 2, 3) | named(IMUYawAccuracy=5, IMUPitchAccuracy=2, IMURollAccuracy=0)
    xmp |= named(GPSXYAccuracy="3/100", GPSZAccuracy=0.05)
    accuracy = photo_pose(jpeg(xmp=packet(xmp), gps=gps(8, 47, 500))).accuracy
    assert (accuracy.heading_deg, accuracy.pitch_deg, accuracy.roll_deg) == (5.0, 2.0, None)
    assert (accuracy.xy_m, accuracy.z_m) == (0.03, 0.05)


@pytest.mark.parametrize(("accuracy", "rough"), [(None, True), (5, True), (0.05, False)])
def test_heights_with_correction_data_are_not_rough(accuracy, rough):
    xmp = {} if accuracy is None else named(GPSZAccuracy=accuracy)
    assert photo_pose(jpeg(xmp=packet(xmp), gps=gps(8, 47, 500))).rough_height == rough


@pytest.mark.parametrize(
    ("heights", "datum"),
    [("ellipsoidal", "WGS 84"), ("EPSG:5773", "EGM96 height"), ("", None), ("EPSG:999999", None)],
)
def test_a_stated_datum_goes_into_the_crs(heights, datum):
    shot = carried(gps=gps(8, 47, 500), xmp=named(HorizCS="EPSG:4326", VertCS=heights))
    place = pix4d.described(exif.place(shot), shot)
    assert (len(place.crs.axis_info) == 3) == (datum is not None)
    assert datum is None or datum in place.crs.name
    assert bool(place.assumed) == (heights == "EPSG:999999")


@pytest.mark.parametrize("horizontal", ["EPSG:32632", "LOCAL_CS[]", "EPSG:4978", "x"])
def test_a_position_in_degrees_is_in_no_projection(horizontal):
    shot = carried(gps=gps(8, 47, 500), xmp=named(HorizCS=horizontal))
    place = pix4d.described(exif.place(shot), shot)
    assert place.crs.to_epsg() == 4326
    assert horizontal in place.assumed[-1]


@pytest.mark.parametrize("form", ["text", "list"])
def test_a_perspective_camera(form):
    numbers = ("0.2017", "-0.3585", "0.2562", "0.0042", "0.0003")
    xmp = named(ModelType="perspective", PerspectiveFocalLength=4.569165)
    xmp |= named(PrincipalPoint="2.42299,1.850154", PerspectiveDistortion=", ".join(numbers))
    if form == "list":
        del xmp["Camera:PerspectiveDistortion"]
        members = "".join(f"<rdf:li>{number}</rdf:li>" for number in numbers)
        element = f"<Camera:PerspectiveDistortion><rdf:Seq>{members}</rdf:Seq>"
        data = packet(xmp, element + "</Camera:PerspectiveDistortion>")
        lens = photo_pose(jpeg(SIZE, xmp=data, exif=PLANE)).lens
    else:
        lens = pix4d.optics(carried(SIZE, xmp=xmp, exif=PLANE)).lens
    assert lens.focal_px == pytest.approx((4.569165 * 1280 / 4.8,) * 2, rel=1e-6)
    centre = 2.42299 * 1280 / 4.8 - 0.5, 1.850154 * 960 / 3.6 - 0.5
    assert lens.centre_px == pytest.approx(centre, abs=1e-3)
    r1, r2, r3, t1, t2 = (float(number) for number in numbers)
    assert lens.distortion == (r1, r2, t1, t2, r3)
    notes = pix4d.optics(carried(SIZE, xmp=xmp, exif=PLANE)).assumed
    assert notes == ("principal point from the corner of the sensor: by Pix4D's documents alone",)


def test_the_scale_may_come_from_two_focal_lengths():
    """4 mm that are 30 mm of film: 7.5 film pixels to each of the sensor's mm."""
    xmp = named(PerspectiveFocalLength=4.0)
    optics = pix4d.optics(carried(SIZE, xmp=xmp, exif={0x920A: ratio(4.0), 0xA405: 30}))
    assert optics.lens.focal_px == pytest.approx((30 / 36 * 1280,) * 2)
    assert optics.assumed == ("lens looks through the middle",)


@pytest.mark.parametrize("factor", [1, 2])
def test_a_fisheye(factor):
    """The radius is a polynomial of 2 theta / pi; C, F are pixels of the tagged size."""
    xmp = named(ModelType="fisheye", FisheyePolynomial="0,1,-0.025178575,0.167834214")
    xmp |= named(FisheyeAffineMatrix="1583.319083002,0,0,1583.319083002")
    xmp |= named(PrincipalPoint="2.4,1.8")
    tags = PLANE | {0xA002: SIZE[0], 0xA003: SIZE[1]}
    size = SIZE[0] * factor, SIZE[1] * factor
    lens = pix4d.optics(carried(size, xmp=xmp, exif=tags)).lens
    theta = np.deg2rad([0.0, 20.0, 50.0])
    points = np.stack([np.sin(theta), np.zeros(3), np.cos(theta)])
    part = 2 * theta / np.pi
    radius = 1583.319083002 * (part - 0.025178575 * part**2 + 0.167834214 * part**3)
    cols, rows = lens.project(points)
    np.testing.assert_allclose(cols, (640 + radius) * factor - 0.5, rtol=1e-5)
    np.testing.assert_allclose(rows, 480 * factor - 0.5, rtol=1e-5)


@pytest.mark.parametrize(
    "xmp",
    [
        *({}, named(PerspectiveFocalLength=4)),
        named(ModelType="fisheye", FisheyePolynomial="1,0", FisheyeAffineMatrix="1,0,0,1"),
        named(ModelType="fisheye", FisheyePolynomial="0,1", FisheyeAffineMatrix="1,0"),
        named(ModelType="fisheye", FisheyePolynomial="0,1", FisheyeAffineMatrix="-1,0,0,1"),
    ],
)
def test_no_lens(xmp):
    assert pix4d.optics(carried(SIZE, xmp=xmp)) is None
