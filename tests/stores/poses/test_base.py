from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import CrsError, GeorefError
from attachtrans.geo.pose import Pose
from attachtrans.stores.poses.base import key, number, numbers, srs, stem, table, z_unit


def named(*names):
    return table([Pose(name=name) for name in names])


@pytest.mark.parametrize(
    ("photo", "pose"),
    [
        ("DCIM/1.jpg", "1.jpg"),
        ("DCIM/1.JPG", "1.jpg"),
        ("1.tif", "1"),
        ("1", "1.jpg"),
        ("C:\\photos\\1.jpg", "/data/photos/1.jpg"),
        ("X.jpg.cog.tif", "X"),
        ("X.jpg", "https://server/folder/X.jpg?token=a.b"),
        ("1444314601.Thu.c1.timex.jpg", "1444314601.Thu.c1.timex"),
    ],
)
def test_a_photo_is_found_by_name_with_or_without_folder_and_suffix(photo, pose):
    found = named("other.jpg", pose, "1444314601.Thu.c2.timex.jpg")
    assert found.find(photo).name == pose


def test_a_name_that_only_begins_alike_is_not_found():
    assert named("IMG.2015.jpg").find("IMG.jpg") is None
    assert named().find("") is None


def test_folders_decide_between_files_of_one_name():
    found = named("a/c/1.jpg", "b/c/1.jpg")
    assert found.find("photos/b/c/1.jpg").name == "b/c/1.jpg"
    assert found.find("b/c/1.png").name == "b/c/1.jpg"


@pytest.mark.parametrize("photo", ["1.jpg", "c/1.jpg", "d/1.jpg"])
def test_several_that_fit_equally_are_an_error_that_names_both(photo):
    with pytest.raises(GeorefError, match=r"a/c/1\.jpg.*b/c/1\.jpg"):
        named("a/c/1.jpg", "b/c/1.jpg").find(photo)


def test_the_same_suffix_is_better_than_another():
    assert named("1.jpg", "1.tif").find("1.tif").name == "1.tif"


@given(st.text(max_size=40))
def test_any_text_is_a_name(name):
    found = named(name)
    assert found.find(name) is found.poses[0]
    assert stem(stem(name)) == stem(name)


@given(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.floats())
    )
)
def test_a_number_is_finite_or_none(value):
    read = number(value)
    assert read is None or math.isfinite(read)


@pytest.mark.parametrize("value", ["1e999", "nan", 10**400, True, "", None, {}])
def test_what_is_no_number(value):
    assert number(value) is None


def test_lists_of_numbers_come_with_several_delimiters():
    assert numbers("1 2;3, 4") == [1.0, 2.0, 3.0, 4.0]
    assert numbers("[1, 2]", 2) == [1.0, 2.0]
    assert numbers([1, "x"]) is None
    assert numbers([1, 2, 3], 2) is None
    assert numbers(5.0) is None


def test_columns_are_compared_without_case_units_and_marks():
    assert key("Latitude [decimal degrees]") == key(" latitude") == "latitude"
    assert key("Omega (deg)") == "omega"
    assert key("Camera_Heading") == "cameraheading"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (26918, "NAD83 / UTM zone 18N"),
        ("26918;5773", "NAD83 / UTM zone 18N + EGM96 height"),
        ("26918,0", "NAD83 / UTM zone 18N"),
        (102003, "USA_Contiguous_Albers_Equal_Area_Conic"),
        ("EPSG:25832", "ETRS89 / UTM zone 32N"),
    ],
)
def test_tables_name_systems_in_several_ways(text, name):
    assert srs(text).name == name


@pytest.mark.parametrize("text", ["", None, "no such", "1" * 30_000, "999999", "26918;999999"])
def test_what_is_no_system(text):
    with pytest.raises(CrsError):
        srs(text)


def test_heights_are_in_the_unit_of_x_and_y_unless_the_system_says_more():
    assert z_unit(srs(2264)) == pytest.approx(1200 / 3937, rel=1e-12)
    assert z_unit(srs(2993)) == 1.0
    assert z_unit(srs(2994)) == pytest.approx(0.3048, rel=1e-12)
    assert z_unit(srs("2264;5703")) is None
    assert z_unit(srs(4326)) is None
