import sys

import pytest

from attachtrans.stores.poses import magnetic
from attachtrans.stores.poses.photo import photo_pose
from tests.stores.poses.photos import gps, jpeg

pygeomag = pytest.importorskip("pygeomag")

# Test values of the reports on WMM2020 and WMM2025 (NOAA): year, latitude, longitude, declination.
PUBLISHED = (
    *((2020, 80.0, 0.0, -1.28), (2020, 0.0, 120.0, 0.16), (2020, -80.0, 240.0, 69.36)),
    *((2025, 80.0, 0.0, 1.28), (2025, 0.0, 120.0, -0.16), (2025, -80.0, 240.0, 68.78)),
)


@pytest.mark.parametrize(("year", "latitude", "longitude", "expected"), PUBLISHED)
def test_published_declinations(year, latitude, longitude, expected):
    found = magnetic.declination_deg(longitude, latitude, 0.0, f"{year}-01-01T00:00:00")
    assert found == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("time", ["2009-12-31T23:59:59", "2030-01-01T00:00:00Z"])
def test_years_without_a_model(time):
    assert magnetic.declination_deg(8.0, 47.0, 0.0, time) is None


@pytest.mark.parametrize(
    "time", ["2024-12-31T23:59:59.999999999", "2010-01-01T00:00:00+14:00", "2029-12-31T23:59:59Z"]
)
def test_the_ends_of_models(time):
    assert abs(magnetic.declination_deg(8.0, 47.0, 400.0, time)) < 6.0


def taken(**more):
    exif = {0x9003: "2021:07:01 12:00:00", 0x9011: "-07:00"}
    tags = gps(-122.35, 47.62, 10.0, direction=100.0, direction_ref="M", **more)
    return photo_pose(jpeg(gps=tags, exif=exif))


def heading(pose):
    from attachtrans.geo.rotation import pose_angles

    return pose_angles("hpr", pose.rotation)[0]


def test_magnetic_headings_are_corrected():
    pose = taken()
    oracle = pygeomag.GeoMag(coefficients_file="wmm/WMM_2020.COF").calculate(
        glat=47.62, glon=-122.35, alt=0.01, time=2021.496
    )
    assert oracle.d > 15.0
    assert heading(pose) == pytest.approx(100.0 + oracle.d, abs=0.01)
    assert any("declination" in note for note in pose.assumed)


def test_without_the_extra_the_pose_says_so(monkeypatch):
    magnetic._model.cache_clear()
    monkeypatch.setitem(sys.modules, "pygeomag", None)
    pose = taken()
    magnetic._model.cache_clear()
    assert heading(pose) == pytest.approx(100.0)
    assert "magnetic north uncorrected" in pose.assumed


def test_without_a_date_the_pose_says_so():
    pose = photo_pose(jpeg(gps=gps(-122.35, 47.62, direction=100.0, direction_ref="M")))
    assert heading(pose) == pytest.approx(100.0)
    assert "magnetic north uncorrected" in pose.assumed
