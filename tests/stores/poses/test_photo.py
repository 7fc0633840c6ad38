import io
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from attachtrans.errors import ImageError
from attachtrans.geo.pose import Pose, standing, work_crs
from attachtrans.geo.rotation import pose_angles
from attachtrans.image import EncodeOptions, Limits, decode, encode
from attachtrans.stores.poses import xmp as xmp_module
from attachtrans.stores.poses.photo import photo_pose, usual_lens
from attachtrans.types import Size
from tests.stores.poses.photos import block, gps, jpeg, packet, ratio

GIMBAL = {
    f"drone-dji:Gimbal{axis}Degree": v for axis, v in (("Yaw", 45), ("Pitch", -60), ("Roll", 0))
}
CAMERA = {f"Camera:{axis}": v for axis, v in (("Yaw", 10), ("Pitch", 20), ("Roll", 0))}
PANO = {"GPano:ProjectionType": "equirectangular", "GPano:PoseHeadingDegrees": 77}
TAGS = {
    "gps": gps(8.5, 47.25, 430.0, direction=120.0),
    "exif": {0xA405: 28, 0x9003: "2024:01:02 03:04:05"},
}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"])
def test_every_format_carries_a_pose(form):
    image, target = Image.new("RGB", (64, 48)), io.BytesIO()
    exif, xmp = block(**TAGS), packet(GIMBAL)
    if form == "HEIF":
        pillow_heif = pytest.importorskip("pillow_heif")
        file = pillow_heif.from_pillow(image)
        file.info.update(exif=exif, xmp=xmp)
        file[0].info.update(exif=exif, xmp=xmp)
        file.save(target)
    elif form == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        image.save(target, form, exif=exif, pnginfo=text)
    elif form == "TIFF":
        made = Image.Exif()
        made.load(exif)
        made[700] = xmp
        image.save(target, form, exif=made)
    else:
        image.save(target, form, exif=exif, xmp=xmp)
    pose = photo_pose(target.getvalue(), name="a")
    assert pose.name == "a"
    assert pose.xyz == pytest.approx((8.5, 47.25, 430.0))
    assert pose_angles("dji", pose.rotation) == pytest.approx((45, -60, 0), abs=1e-9)
    assert pose.lens.size == (64, 48)
    assert pose.lens.focal_px[0] == pytest.approx(28 / 36 * 64)
    assert pose.time == "2024-01-02T03:04:05"
    assert pose.source == "EXIF GPS, DJI XMP (gimbal), EXIF focal length of 35 mm film"


@pytest.mark.parametrize(
    ("xmp", "comment", "heading", "source"),
    [
        (GIMBAL | CAMERA | PANO, True, 45, "DJI XMP (gimbal)"),
        (CAMERA | PANO, True, 10, "Pix4D XMP (Camera:)"),
        (PANO, True, 77, "GPano XMP"),
        ({}, True, 200, "Open Camera"),
        ({}, False, 120, "EXIF direction"),
    ],
)
def test_what_measures_more_counts_first(xmp, comment, heading, source):
    exif = TAGS["exif"] | ({0x9286: b"ASCII\0\0\0Yaw:200,Pitch:-5,Roll:1"} if comment else {})
    pose = photo_pose(jpeg((64, 32), gps=TAGS["gps"], exif=exif, xmp=packet(xmp)))
    turned = pose_angles("hpr", pose.rotation)[0]
    declination = 5.0 if comment and not xmp else 1e-9
    assert turned == pytest.approx(heading, abs=declination)
    assert source in pose.source


def test_parts_of_several_sources_stand_together():
    pose = photo_pose(jpeg((640, 480), **TAGS, xmp=packet(GIMBAL)))
    camera = standing(pose, Size(640, 480), work_crs(pose), 430.0)
    # 45 degrees of heading, 60 below the horizon.
    expected = np.array([np.sqrt(0.5) * 0.5, np.sqrt(0.5) * 0.5, -np.sqrt(0.75)])
    np.testing.assert_allclose(camera.rays(np.array([[319.5], [239.5]]))[:, 0], expected, atol=1e-9)


CALIBRATED = GIMBAL | {
    "drone-dji:CalibratedFocalLength": "900.000000",
    "drone-dji:CalibratedOpticalCenterX": "640.000000",
    "drone-dji:CalibratedOpticalCenterY": "480.000000",
    "drone-dji:DewarpData": "2018;905.120,904.310,-4.030,23.100,-0.26,0.11,0.0009,0.00009,-0.03",
}
PIX4D = {
    **CAMERA,
    "Camera:ModelType": "fisheye",
    "Camera:FisheyePolynomial": "0,1,-0.025,0.168",
    "Camera:FisheyeAffineMatrix": "1583.319083,0,0,1583.319083",
    "Camera:PrincipalPoint": "2.4,1.8",
}
PART = PANO | {
    "GPano:FullPanoWidthPixels": 4000,
    "GPano:FullPanoHeightPixels": 2000,
    "GPano:CroppedAreaImageWidthPixels": 1280,
    "GPano:CroppedAreaImageHeightPixels": 960,
    "GPano:CroppedAreaLeftPixels": 700,
    "GPano:CroppedAreaTopPixels": 500,
}
PLANE = {0x920A: ratio(3.98), 0xA20E: ratio(1280 / 4.8), 0xA20F: ratio(960 / 3.6), 0xA210: 4}
SIZED = {0xA002: 1280, 0xA003: 960}


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize(
    ("xmp", "exif"),
    [(CALIBRATED, SIZED), (PIX4D, PLANE | SIZED), (PART, SIZED), ({}, PLANE | SIZED)],
    ids=["dewarp", "pix4d", "gpano", "focal plane"],
)
def test_g10_an_enlarged_photo_shows_the_same_in_the_same_place(xmp, exif, factor):
    """Through the codec, which rescales what the carriers say in pixels."""
    data = jpeg((1280, 960), xmp=packet(xmp), exif=exif, gps=TAGS["gps"])
    photo = decode(data, Limits())
    larger = np.repeat(np.repeat(photo.pixels, factor, axis=1), factor, axis=2)
    encoded = encode(photo, larger, options=EncodeOptions(), history=None, anonymise=False)
    before, after = photo_pose(data), photo_pose(encoded.data)
    assert after.lens.size == (1280 * factor, 960 * factor)
    points = np.random.default_rng(0).uniform([-0.3, -0.2, 1.0], [0.3, 0.2, 1.0], (50, 3)).T
    expected = (before.lens.project(points) + 0.5) * factor - 0.5
    np.testing.assert_allclose(after.lens.project(points), expected, atol=0.01)


@pytest.mark.parametrize(
    "data", [b"", b"%PDF-1.7", jpeg(), jpeg(main={0x0112: 6}), jpeg(xmp=packet({"xmp:Rating": 5}))]
)
def test_photos_that_say_nothing(data):
    assert photo_pose(data) is None


def test_a_lens_alone_is_worth_having():
    pose = photo_pose(jpeg(exif={0xA405: 28}, main={0x0112: 8}))
    assert pose.xyz is None
    assert pose.rotation is None
    assert pose.orientation == 8
    assert pose.lens.size == (48, 64)


def test_the_usual_lens_is_for_the_end():
    pose = usual_lens(Size(400, 300), 6)
    assert pose.lens.size == (300, 400)
    assert pose.orientation == 6
    assert pose.assumed
    bare = photo_pose(jpeg((400, 300), gps=gps(8, 47), main={0x0112: 6}), assume_lens=False)
    assert bare.lens is None
    full = photo_pose(jpeg((400, 300), gps=gps(8, 47), main={0x0112: 6}))
    assert full.lens.focal_px == pose.lens.focal_px


def test_damage_in_the_exif_leaves_the_xmp():
    data = jpeg(xmp=packet(GIMBAL), **TAGS)
    at = data.index(b"Exif\0\0") + 10
    pose = photo_pose(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :])
    assert pose.source == "DJI XMP (gimbal)"


def test_only_the_start_of_a_file_is_needed():
    data = jpeg((640, 480), xmp=packet(GIMBAL), **TAGS)
    start = data[: data.index(b"\xff\xda")]
    assert photo_pose(start).source == photo_pose(data).source


WORDS = st.sampled_from(
    ["", "0", "-1", "1e308", "-1e308", "nan", "1/0", "a", "1,2,3,4,5", "0;" + "9," * 8 + "9", "90"]
) | st.floats(allow_nan=True).map(str)
NAMES = (
    *(
        f"drone-dji:{name}"
        for name in ("GpsLatitude", "GpsLongtitude", "AbsoluteAltitude", "RtkFlag")
    ),
    *(f"drone-dji:Gimbal{axis}Degree" for axis in ("Yaw", "Pitch", "Roll")),
    *(f"drone-dji:RtkStd{axis}" for axis in ("Lon", "Lat", "Hgt")),
    *("drone-dji:DewarpData", "drone-dji:CalibratedFocalLength", "drone-dji:DewarpFlag"),
    *("drone-dji:CalibratedOpticalCenterX", "drone-dji:CalibratedOpticalCenterY"),
    *(f"Camera:{name}" for name in ("Yaw", "Pitch", "Roll", "PrincipalPoint", "GPSZAccuracy")),
    *(f"Camera:{name}" for name in ("PerspectiveFocalLength", "HorizCS", "VertCS")),
    *(f"Camera:Fisheye{name}" for name in ("Polynomial", "AffineMatrix")),
    *(f"GPano:Pose{name}Degrees" for name in ("Heading", "Pitch", "Roll")),
    *(f"GPano:FullPano{name}Pixels" for name in ("Width", "Height")),
    *(f"GPano:CroppedArea{name}Pixels" for name in ("ImageWidth", "ImageHeight", "Left", "Top")),
    *("exif:GPSLatitude", "exif:GPSLongitude", "exif:GPSImgDirection", "xmp:CreateDate"),
)


@given(
    values=st.dictionaries(st.sampled_from(NAMES), WORDS),
    kind=st.sampled_from(["perspective", "fisheye"]),
    projection=st.sampled_from(["", "equirectangular", "cylindrical"]),
)
def test_any_values_make_a_pose_of_sound_parts(values, kind, projection):
    xmp = values | {"Camera:ModelType": kind, "GPano:ProjectionType": projection}
    pose = photo_pose(jpeg(xmp=packet(xmp), **TAGS))
    longitude, latitude, height = pose.xyz
    assert abs(longitude) <= 180.0
    assert abs(latitude) <= 90.0
    assert height is None or np.isfinite(height)
    np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-9)
    if pose.lens is not None:
        camera = pose.lens.resized(Size(128, 96)).posed(pose.rotation, np.zeros(3))
        camera.rays(np.array([[64.0], [48.0]]))


SAMPLES = (
    jpeg(xmp=packet(GIMBAL | CAMERA | PANO), main={0x010F: "QField", 0x0112: 6}, **TAGS),
    jpeg(gps=TAGS["gps"], exif={0x9286: b"ASCII\0\0\0Yaw:200,Pitch:-5,Roll:1"}),
)


@settings(max_examples=300)
@given(
    sample=st.sampled_from(SAMPLES),
    place=st.integers(0, 2500),
    noise=st.binary(max_size=12),
    cut=st.booleans(),
)
def test_any_bytes_make_a_pose_or_an_image_error(sample, place, noise, cut):
    data = sample[:place] + noise + (b"" if cut else sample[place + len(noise) :])
    try:
        pose = photo_pose(data)
    except ImageError:
        return
    assert pose is None or isinstance(pose, Pose)


@given(
    st.sampled_from([b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"\x89PNG\r\n\x1a\n", b"RIFF"]),
    st.binary(),
)
def test_noise_behind_any_signature(signature, noise):
    try:
        pose = photo_pose(signature + noise)
    except ImageError:
        return
    assert pose is None or isinstance(pose, Pose)


def test_a_packet_of_any_length_is_read_to_a_limit():
    with mock.patch.object(xmp_module, "_MOST_BYTES", 100):
        assert photo_pose(jpeg(xmp=packet(GIMBAL))) is None
