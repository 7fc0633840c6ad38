"""The attitude that Open Camera (Android) writes into the EXIF UserComment.

"Yaw:177.5,Pitch:-50.9,Roll:-0.9": degrees, of the picture as it is looked at. Yaw is the bearing of
the lens from MAGNETIC north (the app sets GPSImgDirectionRef M beside it); pitch is 0 for a level
camera, -90 straight down; roll grows as the camera turns clockwise, seen from behind. The app
computes them from the direction g of its accelerometer, in the phone's axes (x right, y up, z out
of the screen): pitch = asin(-g_z), roll = atan2(-g_x, g_y) less the whole quarter turns that EXIF
Orientation has. That is GPano's convention, exactly.

Front cameras look the other way; the comment does not tell them apart.
"""

from __future__ import annotations

import re

from attachtrans.stores.poses.base import number
from attachtrans.stores.poses.photo_parts import EXIF_IFD, Attitude, Carried, Tag

_USER_COMMENT = Tag(EXIF_IFD, 0x9286)
_NUMBER = r"([+-]?[0-9.]{1,25}(?:[eE][+-]?\d{1,3})?)"
_ANGLES = re.compile(rf"Yaw:{_NUMBER},\s?Pitch:{_NUMBER},\s?Roll:{_NUMBER}")


def attitude(carried: Carried) -> Attitude | None:
    """The three angles of the comment; None without all of them."""
    match = _ANGLES.search(_comment(carried))
    if match is None:
        return None
    yaw, pitch, roll = (number(part) for part in match.groups())
    if yaw is None or pitch is None or roll is None:
        return None
    return Attitude(
        convention="gpano",
        angles_deg=(yaw, pitch, roll),
        magnetic=True,
        source="Open Camera (EXIF UserComment)",
        assumed=("camera on the back of the phone",),
    )


def _comment(carried: Carried) -> str:
    """UserComment after its character code, which is not always there; UTF-16 of any order."""
    return carried.exif.raw(_USER_COMMENT).replace(b"\0", b"").decode("latin-1")
