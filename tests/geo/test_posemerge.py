from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Geod

from attachtrans.errors import GeorefError
from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.geo.frame import convergence_deg
from attachtrans.geo.pose import Accuracy, North, Pose, standing
from attachtrans.geo.posemerge import disagreement, merge, oriented, position_gap_m
from attachtrans.geo.rotation import pose_angles, pose_matrix
from attachtrans.types import Size

WGS84, UTM = CRS.from_epsg(4326), CRS.from_epsg(32633)
SIZE = Size(400, 300)
LENS = PerspectiveCamera(
    SIZE,
    focal_px=(300.0, 310.0),
    centre_px=(190.0, 155.0),
    distortion=(-0.1, 0.01, 1e-3, -2e-3),
    rotation=np.eye(3),
    position=np.zeros(3),
)
EXIF = Pose(
    name="DCIM/1.jpg",
    xyz=(15.0, 45.0, 120.0),
    crs=WGS84,
    rotation=pose_matrix("hpr", (30.0, 90.0, 0.0)),
    orientation=6,
    accuracy=Accuracy(xy_m=5.0, z_m=9.0, heading_deg=10.0),
    time="2024",
    rough_height=True,
    source="EXIF",
    assumed=("level camera",),
)
POINT = Pose(
    xyz=(500_000.0, 4_983_000.0, 33.0),
    crs=UTM,
    accuracy=Accuracy(xy_m=0.02, z_m=0.03),
    source="feature point",
)
SFM = Pose(
    name="1",
    xyz=(15.001, 45.001, 122.0),
    crs=WGS84,
    rotation=pose_matrix("hpr", (33.0, 70.0, 1.0)),
    lens=LENS,
    paired=True,
    accuracy=Accuracy(xy_m=0.1),
    source="OpenSfM reconstruction",
)


def test_one_pose_is_itself():
    for pose in (EXIF, POINT, SFM):
        merged = merge(pose)
        assert merged.xyz == pose.xyz
        assert merged.source == pose.source
        assert merged.paired is pose.paired
    assert merge().xyz is None


def test_earlier_poses_win_part_by_part_with_their_accuracy_and_words():
    columns = Pose(above_ground_m=1.8, far_m=30.0, source="feature attributes")
    lens = Pose(lens=LENS, orientation=6, source="camera file")
    merged = merge(POINT, EXIF, columns, lens)
    assert (merged.xyz, merged.crs) == (POINT.xyz, UTM)
    assert np.array_equal(merged.rotation, EXIF.rotation)
    assert merged.lens is LENS
    assert (merged.above_ground_m, merged.far_m, merged.time) == (1.8, 30.0, "2024")
    assert merged.accuracy == Accuracy(xy_m=0.02, z_m=0.03, heading_deg=10.0)
    # The point's height can be relied on, so that above the ground decides nothing.
    assert merged.source == "feature point + EXIF + camera file"
    assert "feature attributes" in merge(EXIF, columns).source
    assert merged.assumed == ("level camera",)
    assert merged.name == "DCIM/1.jpg"
    assert (merged.orientation, merged.rough_height) == (6, False)


def test_a_source_that_gives_nothing_is_not_named():
    assert merge(EXIF, POINT).source == "EXIF"


@pytest.mark.parametrize("order", [(POINT, SFM, EXIF), (SFM, EXIF, POINT), (POINT, SFM)])
def test_what_was_solved_together_is_taken_together(order):
    merged = merge(*order)
    assert (merged.xyz, merged.crs) == (SFM.xyz, WGS84)
    assert np.array_equal(merged.rotation, SFM.rotation)
    assert merged.paired


def test_beside_an_earlier_attitude_no_half_of_a_pair_is_taken():
    merged = merge(EXIF, SFM)
    assert (merged.xyz, merged.paired) == (EXIF.xyz, False)
    assert merged.lens is LENS
    attitude = replace(EXIF, xyz=None, crs=None)
    assert merge(attitude, POINT, SFM).xyz == POINT.xyz
    both = merge(attitude, SFM)
    assert both.xyz == SFM.xyz
    assert np.array_equal(both.rotation, SFM.rotation)


def test_a_height_is_taken_of_the_next_that_has_one_with_its_datum():
    crs = CRS.from_user_input("EPSG:32633+5773")
    flat = replace(EXIF, xyz=(15.0, 45.0, None))
    merged = merge(flat, replace(POINT, crs=crs))
    assert merged.crs == crs
    assert merged.xyz[2] == 33.0
    assert not merged.rough_height
    assert position_gap_m(merged, flat) < 1e-6
    assert "feature point" in merged.source
    assert merge(flat).xyz == flat.xyz


def test_a_rotation_of_one_grid_is_turned_when_the_position_is_in_another():
    x, y = 300_000.0, 5_500_000.0
    sfm = Pose(
        xyz=(x, y, 1.0), crs=UTM, rotation=pose_matrix("hpr", (30.0, 70.0, 2.0)), north=North.GRID
    )
    merged = merge(Pose(xyz=(12.2, 49.6, 1.0), crs=WGS84), sfm)
    assert merged.north is North.TRUE
    expected = (30.0 + convergence_deg(UTM, (x, y)), 70.0, 2.0)
    assert pose_angles("hpr", merged.rotation) == pytest.approx(expected, abs=1e-9)
    same = merge(Pose(xyz=(x + 5, y, 1.0), crs=UTM), sfm)
    assert same.north is North.GRID
    assert np.array_equal(same.rotation, sfm.rotation)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_lens_of_stored_pixels_fits_a_compass_of_the_upright_picture(orientation):
    """Oracle: the same photo by the turned camera, with a lens that is the same either way."""
    even = replace(
        LENS, focal_px=(300.0, 300.0), centre_px=(199.5, 149.5), distortion=(-0.1, 0, 0, 0)
    )
    upright_size = SIZE if orientation < 5 else Size(300, 400)
    upright = replace(
        even, size=upright_size, centre_px=tuple(0.5 * (side - 1) for side in upright_size)
    )
    compass = replace(EXIF, orientation=orientation)
    turned = standing(replace(compass, lens=upright), SIZE, UTM, 0.0)
    merged = merge(compass, Pose(lens=even, source="camera file"))
    assert merged.orientation == 1
    stored = standing(merged, SIZE, UTM, 0.0)
    pixels = np.array([[0.0, 399.0, 20.0, 250.0], [0.0, 10.0, 299.0, 170.0]])
    assert np.abs(stored.rays(pixels) - turned.rays(pixels)).max() < 1e-12


def test_a_mirrored_photo_and_a_lens_of_stored_pixels_do_not_go_together():
    with pytest.raises(GeorefError, match="mirrors"):
        merge(replace(EXIF, orientation=5), Pose(lens=LENS))


def test_a_table_that_speaks_of_the_upright_picture_learns_how_it_is_stored():
    pose = Pose(upright=True, rotation=np.eye(3))
    assert (oriented(pose, 8).orientation, oriented(pose, 8).upright) == (8, False)
    assert oriented(SFM, 8) is SFM


@given(st.floats(0.0, 360.0), st.floats(0.0, 5000.0), st.floats(-89.0, 89.0))
def test_the_gap_is_the_geodesic(azimuth, distance, latitude):
    earth = Geod(ellps="WGS84")
    x, y, _ = earth.fwd(179.99, latitude, azimuth, distance)
    ends = (Pose(xyz=(px, py, None), crs=WGS84) for px, py in ((179.99, latitude), (x, y)))
    assert position_gap_m(*ends) == pytest.approx(distance, abs=1e-5)


def test_a_disagreement_names_both_and_how_far():
    there = Pose(xyz=(15.01, 45.0, None), crs=WGS84, source="feature point", name="1.jpg")
    gap = position_gap_m(EXIF, there)
    assert gap == pytest.approx(788.0, abs=1.0)
    text = disagreement(EXIF, there, limit_m=50.0)
    assert "EXIF at 45.000000, 15.000000" in text
    assert "feature point at 45.000000, 15.010000" in text
    assert "788 m" in text
    assert disagreement(EXIF, there, limit_m=800.0) == ""
    assert disagreement(EXIF, Pose(), limit_m=1.0) == ""
    assert position_gap_m(Pose(), EXIF) is None
