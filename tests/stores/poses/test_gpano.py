import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.geo.camera import PanoramaCamera
from attachtrans.geo.rotation import pose_angles, pose_matrix
from attachtrans.stores.poses import gpano
from attachtrans.stores.poses.photo import photo_pose
from tests.stores.poses.photos import carried, gps, jpeg, packet


def named(**values):
    return {f"GPano:{name}": str(value) for name, value in values.items()}


def area(full, image, left=0, top=0):
    return named(
        ProjectionType="equirectangular",
        FullPanoWidthPixels=full[0],
        FullPanoHeightPixels=full[1],
        CroppedAreaImageWidthPixels=image[0],
        CroppedAreaImageHeightPixels=image[1],
        CroppedAreaLeftPixels=left,
        CroppedAreaTopPixels=top,
    )


def pose(**angles):
    return named(**{f"Pose{name.capitalize()}Degrees": value for name, value in angles.items()})


def test_heading_pitch_and_roll_of_the_middle():
    xmp = area((8000, 4000), (8000, 4000)) | pose(heading=350.5, pitch=-3, roll=2.5)
    found = photo_pose(jpeg((80, 40), xmp=packet(xmp)))
    np.testing.assert_allclose(found.rotation, pose_matrix("gpano", (350.5, -3, 2.5)), atol=1e-12)
    middle = found.lens.posed(found.rotation, np.zeros(3)).rays(np.array([[39.5], [19.5]]))[:, 0]
    east, north, up = middle
    assert np.degrees(np.arctan2(east, north)) % 360 == pytest.approx(350.5)
    assert np.degrees(np.arcsin(up)) == pytest.approx(-3)
    assert not found.assumed


def test_a_level_panorama_is_assumed_where_it_does_not_say():
    attitude = gpano.attitude(carried(xmp=area((80, 40), (80, 40)) | pose(heading=10)))
    assert attitude.angles_deg == (10.0, 0.0, 0.0)
    assert attitude.assumed == ("level panorama",)


def test_a_part_of_a_sphere():
    """GPano's page: columns of the whole are longitudes, rows latitudes."""
    xmp = area((10_000, 5000), (4000, 1000), left=2000, top=1500)
    lens = gpano.optics(carried((2000, 500), xmp=xmp)).lens
    whole = PanoramaCamera((5000, 2500), rotation=np.eye(3), position=np.zeros(3))
    pixels = np.array([[0.0, 1999.0, 700.25], [0.0, 499.0, 100.5]])
    expected = whole.rays(pixels + np.array([[1000.0], [750.0]]))
    np.testing.assert_allclose(lens.rays(pixels), expected, atol=1e-12)


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 20_000), st.integers(1, 20_000))
def test_whole_panoramas_stay_whole_at_any_size(width, height, full_width, full_height):
    xmp = area((full_width, full_height), (full_width, full_height))
    lens = gpano.optics(carried((width, height), xmp=xmp)).lens
    assert lens.whole_px == pytest.approx((width, height))


@pytest.mark.parametrize(
    "crop",
    [
        named(ProjectionType="equirectangular"),
        area((100, 50), (8000, 4000)),
        area((8000, 4000), (8000, 4000), top=500),
        area((8000, 4000), (0, 0)),
        area(("1e300", 4000), (8000, 4000)),
    ],
)
def test_an_area_that_makes_no_sense(crop):
    whole = gpano.optics(carried((800, 400), xmp=crop))
    assert whole.lens.whole_px == (800, 400)
    assert whole.assumed == ("panorama all around",)
    part = gpano.optics(carried((800, 300), xmp=crop))
    assert part.lens is None


def test_other_projections_are_refused_by_name():
    data = jpeg(
        xmp=packet(named(ProjectionType="cylindrical") | pose(heading=5)), exif={0xA405: 28}
    )
    found = photo_pose(data)
    assert found.lens is None
    assert "cylindrical is not supported" in found.source


def test_the_compass_gives_a_heading_that_the_pose_lacks():
    xmp = area((80, 40), (80, 40)) | pose(pitch=1, roll=2)
    found = gpano.attitude(carried(xmp=xmp, gps=gps(direction=33, direction_ref="M")))
    assert found.angles_deg == (33.0, 1.0, 2.0)
    assert found.magnetic
    assert "level camera" not in found.assumed
    assert gpano.attitude(carried(xmp=xmp)) is None


@pytest.mark.parametrize(
    ("make", "model", "magnetic"),
    [("RICOH", "RICOH THETA S", True), ("RICOH", "GR III", False), ("GoPro", "GoPro Max", False)],
)
def test_a_theta_counts_from_magnetic_north(make, model, magnetic):
    xmp = area((80, 40), (80, 40)) | pose(heading=10, pitch=0, roll=0)
    shot = carried(xmp=xmp, main={0x010F: make, 0x0110: model})
    assert gpano.attitude(shot).magnetic == magnetic


def test_other_photos_are_no_panoramas():
    assert gpano.optics(carried(xmp=pose(heading=5))) is None
    assert gpano.attitude(carried(xmp=pose(heading=5))) is None


def test_a_real_panorama_made_small(shared):
    path = "data/geo/mapillary_tools/tests/data/adobe_coords/adobe_coords.jpg"
    found = photo_pose((shared / path).read_bytes())
    assert pose_angles("gpano", found.rotation) == pytest.approx((176.3, 0.0, 0.0), abs=1e-9)
    assert found.lens.whole_px == (32.0, 28.0)
    assert found.xyz == pytest.approx((34 + 22.91611 / 60, -4.21601 / 60, 1361.69))
