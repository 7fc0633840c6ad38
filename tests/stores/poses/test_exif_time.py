from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.stores.poses.exif_time import exposure_time
from tests.stores.poses.photos import carried, ratio

CLOCK = {0x9003: "2024:05:06 07:08:09"}
GPS = {29: "2024:05:06", 7: (ratio(5), ratio(8), ratio(9.25))}


@pytest.mark.parametrize(
    ("exif", "gps", "xmp", "expected"),
    [
        (CLOCK, {}, {}, "2024-05-06T07:08:09"),
        (CLOCK | {0x9011: "+02:00"}, GPS, {}, "2024-05-06T07:08:09+02:00"),
        (CLOCK | {0x9011: "+02:00", 0x9291: "016"}, {}, {}, "2024-05-06T07:08:09.016+02:00"),
        (CLOCK, GPS, {}, "2024-05-06T05:08:09.250Z"),
        ({0x9004: "2024:05:06 07:08:09"}, {}, {}, "2024-05-06T07:08:09"),
        ({0x9003: "2018:06:26 17:46:33.847"}, {}, {}, "2018-06-26T17:46:33.847"),
        (CLOCK | {0x9011: "   :  "}, {}, {}, "2024-05-06T07:08:09"),
        ({}, {}, {"xmp:CreateDate": "2024-05-06T07:08:09-0330"}, "2024-05-06T07:08:09-03:30"),
        (
            CLOCK,
            {},
            {"drone-dji:UTCAtExposure": "2024:05:05 23:08:09.482115"},
            "2024-05-05T23:08:09.482115Z",
        ),
    ],
)
def test_the_best_clock(exif, gps, xmp, expected):
    found = exposure_time(carried(exif=exif, gps=gps, xmp=xmp))
    assert found == expected
    datetime.fromisoformat(found)


@pytest.mark.parametrize(
    "text", ["0000:00:00 00:00:00", "    :  :     :  :  ", "2024:02:30 00:00:00", "yesterday", ""]
)
def test_no_time(text):
    assert exposure_time(carried(exif={0x9003: text, 0x9000: b"0232"})) is None


def test_gps_time_beyond_midnight():
    assert exposure_time(carried(gps=GPS | {7: (ratio(24), ratio(0), ratio(1))})) == (
        "2024-05-07T00:00:01Z"
    )
    assert exposure_time(carried(gps=GPS | {29: "9999:12:31", 7: (ratio(25),) * 3})) is None


@given(st.text(max_size=30), st.text(max_size=8))
def test_any_text_is_a_time_or_none(time, zone):
    values = {"xmp:CreateDate": time, "drone-dji:UTCAtExposure": zone}
    shot = carried()
    shot = type(shot)(size=shot.size, orientation=1, exif=shot.exif, xmp=values)
    found = exposure_time(shot)
    assert found is None or datetime.fromisoformat(found)
