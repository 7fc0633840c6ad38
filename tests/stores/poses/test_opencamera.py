import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.geo.rotation import pose_matrix
from attachtrans.stores.poses import opencamera
from tests.stores.poses.photos import carried

REAL = b"Yaw:177.50502,Pitch:-50.860384571572325,Roll:-0.8683256611851107"


def comment(text, code=b"ASCII\0\0\0"):
    return opencamera.attitude(carried(exif={0x9286: code + text}))


def as_the_app_computes(rotation):
    """Yaw, pitch, roll from sensors, as the app has them, for a phone held upright.

    The phone's axes (x right, y up, z out of the screen) are a photo's: right, up, backwards.
    The accelerometer shows "up"; the compass the horizontal bearing of the lens.
    """
    phone = rotation @ np.diag([1.0, -1.0, -1.0])
    x, y, z = 9.81 * phone.T @ [0.0, 0.0, 1.0]
    east, north, _ = -phone[:, 2]
    pitch = np.degrees(np.arcsin(-z / 9.81))
    roll = np.degrees(np.arctan2(-x, y))
    return np.degrees(np.arctan2(east, north)) % 360.0, pitch, roll


@given(
    yaw=st.floats(0.0, 360.0),
    pitch=st.floats(-69.0, 69.0),
    roll=st.floats(-44.0, 44.0),
)
def test_the_attitude_is_that_which_the_sensors_felt(yaw, pitch, roll):
    true = pose_matrix("hpr", (yaw, 90.0 + pitch, roll))
    written = ",".join(
        f"{name}:{value!r}"
        for name, value in zip(
            ("Yaw", "Pitch", "Roll"), map(float, as_the_app_computes(true)), strict=True
        )
    )
    found = comment(written.encode())
    assert found.magnetic
    np.testing.assert_allclose(pose_matrix(found.convention, found.angles_deg), true, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (REAL, b"ASCII\0\0\0"),
        (REAL, b""),
        (REAL.decode().encode("utf-16-le"), b"UNICODE\0"),
        (REAL.decode().encode("utf-16-be"), b"UNICODE\0"),
    ],
    ids=["ascii", "no code", "unicode", "unicode, other order"],
)
def test_comments_of_a_real_photo(text, code):
    found = comment(text, code)
    assert found.angles_deg == pytest.approx((177.50502, -50.860384571572325, -0.8683256611851107))
    # The photo shows something that stood on the floor.
    assert pose_matrix(found.convention, found.angles_deg)[2, 2] < -0.7


def test_java_writes_small_numbers_with_an_exponent():
    assert comment(b"Yaw:1.5E-4,Pitch:-8.6E-4,Roll:0.0").angles_deg == (1.5e-4, -8.6e-4, 0.0)


@pytest.mark.parametrize(
    "text", [b"", b"MAP", b"Yaw:12", b"Yaw:a,Pitch:b,Roll:c", b"Yaw:1..2,Pitch:0,Roll:0"]
)
def test_other_comments_are_no_attitude(text):
    assert comment(text) is None


def test_no_comment():
    assert opencamera.attitude(carried()) is None
