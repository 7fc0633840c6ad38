import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.geo.pose import standing, work_crs
from attachtrans.geo.rotation import pose_angles
from attachtrans.stores.poses import exif
from attachtrans.stores.poses.photo import photo_pose
from attachtrans.types import Size
from tests.stores.poses.photos import carried, gps, jpeg, ratio


@given(
    st.floats(-180, 180).filter(lambda value: abs(value) > 1e-6),
    st.floats(-90, 90),
    st.floats(-400, 9000),
)
def test_positions_survive_degrees_minutes_seconds(longitude, latitude, height):
    place = exif.place(carried(gps=gps(longitude, latitude, height)))
    assert place.longitude == pytest.approx(longitude, abs=1e-8)
    assert place.latitude == pytest.approx(latitude, abs=1e-8)
    assert place.z_m == pytest.approx(height, abs=1e-5)
    assert place.crs.to_epsg() == 4326
    assert place.rough


def test_degrees_alone_will_do():
    place = exif.place(carried(gps={1: "S", 2: (ratio(12.5),), 3: "E", 4: (ratio(7), ratio(30))}))
    assert (place.longitude, place.latitude) == (7.5, -12.5)


@pytest.mark.parametrize(
    "tags",
    [
        *(
            {},
            {1: "N", 3: "E"},
            gps(0.0, 0.0),
            gps(8.0, 47.0) | {2: (ratio(97), ratio(0), ratio(0))},
        ),
        {name: value for name, value in gps(8.0, 47.0).items() if name < 3},
    ],
    ids=["nothing", "references", "no fix", "beyond the pole", "half"],
)
def test_no_position(tags):
    assert exif.place(carried(gps=tags)) is None


def test_missing_references_are_taken_as_north_and_east():
    place = exif.place(carried(gps={2: (ratio(47),), 4: (ratio(8),)}))
    assert (place.longitude, place.latitude) == (8.0, 47.0)
    assert "references are missing" in place.assumed[0]


@pytest.mark.parametrize(
    ("reference", "height"), [(0, 120.0), (1, -120.0), (2, 120.0), (3, -120.0)]
)
def test_heights_below_have_a_sign(reference, height):
    tags = gps(8.0, 47.0, 120.0) | {5: bytes([reference])}
    assert exif.place(carried(gps=tags)).z_m == height


@pytest.mark.parametrize("main", [{0x010F: "QField"}, {0x0131: "QField 3.4"}])
def test_qfield_says_below_and_means_above(main):
    tags = gps(8.0, 47.0, 432.0) | {5: b"\1"}
    place = exif.place(carried(main=main, gps=tags))
    assert place.z_m == 432.0
    assert exif.QFIELD_HEIGHT in place.assumed
    above = exif.place(carried(main=main, gps=gps(8.0, 47.0, 432.0)))
    assert above.z_m == 432.0
    assert not above.assumed


@pytest.mark.parametrize(
    ("text", "code"), [("WGS-84   ", 4326), ("TOKYO", 4301), ("NAD-83", 4269), ("ETRS89", 4258)]
)
def test_datums(text, code):
    place = exif.place(carried(gps=gps(139.0, 35.0, t18=text)))
    assert place.crs.to_epsg() == code
    assert not place.assumed


def test_an_unknown_datum_is_noted():
    place = exif.place(carried(gps=gps(8.0, 47.0, t18="POTSDAM")))
    assert place.crs.to_epsg() == 4326
    assert "POTSDAM" in place.assumed[0]


def test_the_error_of_a_position_counts_before_its_dilution():
    both = exif.place(carried(gps=gps(8.0, 47.0, t11=ratio(2.5), t31=ratio(4.75))))
    assert both.xy_sd_m == 4.75
    assert not both.assumed
    dilution = exif.place(carried(gps=gps(8.0, 47.0, t11=ratio(2.5))))
    assert dilution.xy_sd_m == 10.0
    assert "dilution" in dilution.assumed[0]


def test_positions_that_only_xmp_has():
    xmp = {"exif:GPSLatitude": "0,4.21601S", "exif:GPSLongitude": "34,22,30.5E"}
    xmp |= {"exif:GPSAltitude": "136169/100", "exif:GPSAltitudeRef": "1"}
    place = exif.place(carried(xmp=xmp))
    assert place.latitude == pytest.approx(-4.21601 / 60)
    assert place.longitude == pytest.approx(34 + 22 / 60 + 30.5 / 3600)
    assert place.z_m == -1361.69
    assert exif.place(carried(xmp=xmp | {"exif:GPSLatitude": "95,0N"})) is None
    assert exif.place(carried(xmp=xmp | {"exif:GPSLatitude": "12.5"})) is None


@pytest.mark.parametrize(
    ("reference", "magnetic", "noted"),
    [("T", False, False), ("M", True, False), ("\0", False, True), ("", False, True)],
)
def test_the_compass_and_its_north(reference, magnetic, noted):
    tags = gps(direction=212.5, direction_ref=reference)
    attitude = exif.attitude(carried(gps=tags))
    assert attitude.angles_deg == (212.5, 90.0, 0.0)
    assert attitude.magnetic == magnetic
    assert ("direction from true north: its reference is missing" in attitude.assumed) == noted
    assert "level camera" in attitude.assumed


def test_the_course_over_ground_stands_in_for_a_compass():
    tags = gps(t14="T", t15=ratio(270.89))
    course = exif.attitude(carried(gps=tags))
    assert course.angles_deg[0] == 270.89
    assert "camera looks along the course" in course.assumed
    compass = exif.attitude(carried(gps=tags | gps(direction=10)))
    assert compass.angles_deg[0] == 10.0
    assert compass.source == "EXIF direction"


def test_directions_beyond_the_circle_are_none():
    assert exif.attitude(carried(gps=gps(direction=999))) is None
    assert exif.attitude(carried(xmp={"exif:GPSImgDirection": "-999"})) is None
    assert exif.attitude(carried(xmp={"exif:GPSImgDirection": "-90/1"})).angles_deg[0] == -90.0


FILM = 0xA405
PLANE = {0x920A: ratio(5.0), 0xA20E: ratio(4000 / 0.62), 0xA20F: ratio(4000 / 0.62), 0xA210: 3}
"""A sensor 6.2 mm wide with 4000 columns: 29 mm of film."""


def test_the_sensor_gives_the_focal_length():
    optics = exif.optics(carried((4000, 3000), exif=PLANE | {FILM: 29}))
    assert optics.lens.focal_px == pytest.approx((5 / 6.2 * 4000,) * 2, rel=1e-6)
    assert optics.lens.centre_px == (1999.5, 1499.5)
    assert not optics.assumed


@pytest.mark.parametrize(("unit", "mm"), [(2, 25.4), (3, 10.0), (4, 1.0), (5, 0.001), (None, 25.4)])
def test_units_of_the_sensor(unit, mm):
    tags = {0x920A: ratio(5.0), 0xA20E: ratio(600 * mm), 0xA20F: ratio(600 * mm)}
    tags |= {} if unit is None else {0xA210: unit}
    assert exif.optics(carried(exif=tags)).lens.focal_px[0] == pytest.approx(3000, rel=1e-3)


def test_a_photo_made_smaller_keeps_its_angle_of_view():
    tags = PLANE | {0xA002: 4000, 0xA003: 3000}
    assert exif.optics(carried((1000, 750), exif=tags)).lens.focal_px[0] == pytest.approx(
        5 / 6.2 * 1000, rel=1e-6
    )


def test_the_film_counts_where_the_sensor_contradicts():
    tags = PLANE | {FILM: 60}
    optics = exif.optics(carried((4000, 3000), exif=tags))
    assert optics.lens.focal_px[0] == pytest.approx(60 / 36 * 4000)


def test_digital_zoom_narrows_the_view():
    tags = PLANE | {0xA404: ratio(2.0), FILM: 58}
    assert exif.optics(carried((4000, 3000), exif=tags)).lens.focal_px[0] == pytest.approx(
        2 * 5 / 6.2 * 4000, rel=1e-6
    )


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_film_lies_along_the_longer_side(size, orientation):
    """608 px for 912: what others make of portraits."""
    shot = carried(size, orientation=orientation, exif={FILM: 28})
    optics = exif.optics(shot)
    assert optics.lens.focal_px == pytest.approx((28 / 36 * 4000,) * 2)
    assert optics.lens.size == (size if orientation == 1 else size[::-1])
    assert "longer side" in optics.assumed[0]


@pytest.mark.parametrize("tags", [{}, {FILM: 0}, {0x920A: ratio(4.2)}, {FILM: 1}])
def test_no_focal_length(tags):
    assert exif.optics(carried(exif=tags or {0x9000: b"0232"})) is None


def test_what_is_assumed_of_a_lens_is_said():
    pose = photo_pose(jpeg((400, 300), gps=gps(8.0, 47.0, direction=90)))
    assert pose.lens.focal_px == pytest.approx((28 / 36 * 400,) * 2)
    assert any("28 mm" in note for note in pose.assumed)
    assert photo_pose(jpeg(gps=gps(8.0, 47.0)), assume_lens=False).lens is None


def geo(shared, name):
    return (shared / "data/geo" / name).read_bytes()


def test_a_phone(shared):
    pose = photo_pose(geo(shared, "exif_samples/jpg/hdr/iphone_hdr_NO.jpg"))
    assert pose.xyz == pytest.approx((-3.7247528, 40.4469722, 639.587879), abs=1e-6)
    assert pose_angles("hpr", pose.rotation) == pytest.approx((212.8720682, 90.0, 0.0), abs=1e-6)
    assert pose.lens.focal_px[0] == pytest.approx(57 / 36 * 3264)
    assert pose.time == "2015-04-10T18:12:22.060Z"


def test_a_field_app_with_a_compass(shared):
    pose = photo_pose(geo(shared, "exif_samples/mergin_photo_ricoh_dir357T.jpg"))
    assert pose_angles("hpr", pose.rotation) == pytest.approx((357.0, 90.0, 0.0), abs=1e-6)
    assert pose.xyz == pytest.approx((6.6281444, 49.7521667, 133.0), abs=1e-6)
    assert pose.accuracy.xy_m == pytest.approx(2.7 * 4.0)


@pytest.mark.parametrize("name", ["DSCN0010", "DSCN0012"])
def test_a_camera_with_empty_directions_and_without_height(shared, name):
    pose = photo_pose(geo(shared, f"exif_samples/jpg/gps/{name}.jpg"))
    assert pose.rotation is None
    assert pose.xyz[2] is None
    assert not pose.rough_height
    # GPS says the 23rd, the camera's clock, of no known zone, the 22nd.
    assert pose.time.startswith("2008-10-23T14:2")


def test_an_action_camera_on_a_car(shared):
    pose = photo_pose(geo(shared, "mapillary_tools/tests/data/images/DSC00001.JPG"))
    assert pose_angles("hpr", pose.rotation)[0] == pytest.approx(270.89)
    assert "camera looks along the course" in pose.assumed
    assert pose.time == "2018-06-08T13:24:10-07:00"


def test_focal_lengths_of_street_photos(shared):
    """Reference, section 2.3: the prior of the iPhone 4S is 11.8 % off what matching found."""
    pose = photo_pose(geo(shared, "opensfm_berlin/data/berlin/images/02.jpg"))
    assert pose.lens.focal_px[0] == pytest.approx(35 / 36 * 3264)
    assert pose.xyz == pytest.approx((13.4003889, 52.518925, 30.0), abs=1e-6)


def test_a_turned_photo_looks_where_its_upright_picture_does(shared):
    """Trap 1: row 0 of the stored picture is the right side of the upright one."""
    name = "exif_samples/jpg/orientation/landscape_6.jpg"
    assert photo_pose(geo(shared, name)) is None
    stored = Size(450, 600)
    data = jpeg(stored, main={0x0112: 6}, gps=gps(8.0, 47.0, 400.0, direction=90), exif={FILM: 36})
    pose = photo_pose(data)
    assert pose.orientation == 6
    assert pose.lens.size == (600, 450)
    camera = standing(pose, stored, work_crs(pose), 400.0)
    right_of_upright = camera.rays(np.array([[224.5], [-0.5]]))[:, 0]
    # Looking east, the right is south.
    assert right_of_upright == pytest.approx((np.sqrt(0.8), -np.sqrt(0.2), 0.0), abs=1e-6)
