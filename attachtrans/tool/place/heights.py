"""How high a camera stands: which of the heights that its sources give is believed.

A sound height (solved by image matching, surveyed, RTK) is taken as it is. That of a phone or of a
drone without correction data is tens of metres off, so the ground under the camera and a height
above it go before it: the user's, the source's, else that of a hand where the picture looks level.
Where nothing is known of the height above the ground, a rough height is better than none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from attachtrans.errors import GeorefError
from attachtrans.geo.camera import PanoramaCamera
from attachtrans.geo.pose import Pose, height_m
from attachtrans.stores.poses.dji import ABOVE_TAKE_OFF
from attachtrans.stores.poses.exif import QFIELD_HEIGHT
from attachtrans.tool.place.options import Placing

_HAND_M = 1.8
"""Of a camera held by a person: the default of Esri's CameraHeight."""
_LEVEL = 0.5
"""Sine of the tilt up to which a picture counts as taken from the ground."""
_SURVEYED_M = 1.0
_APART_M = 100.0
"""Between two heights of one camera: more than geoids and receivers are off."""
_BELOW_SEA = "height below sea level, as GPSAltitudeRef says: the ground lies there"


class Under(NamedTuple):
    """The ground under a camera.

    z_m   its height
    note  what was assumed for it, "" for nothing
    """

    z_m: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How high a camera stands.

    pose      with all that was assumed
    z_m       height of the camera
    ground_m  height of the ground under it; None where it is not known
    counted   z_m was counted from that ground, so it has the ground's datum
    """

    pose: Pose
    z_m: float
    ground_m: float | None
    counted: bool


def over_model(pose: Pose, placing: Placing, under: Under | None) -> Stand:
    """A camera over an elevation model; `under` None where that has no heights about it.

    Raises:
        GeorefError: nothing says how high it stands.
    """
    if under is not None:
        pose = _signed(pose, under.z_m)
    known, ground_m = height_m(pose), None if under is None else under.z_m
    if known is not None and _is_sound(pose, placing):
        return Stand(pose=_aloof(pose), z_m=known, ground_m=ground_m, counted=False)
    above = _above(pose, placing)
    if above is not None and under is not None:
        pose = pose.assuming(*filter(None, (above.note, under.note)))
        return _counted(pose, placing, under.z_m, above.z_m)
    if known is not None and placing.height_m is None:
        return Stand(pose=_rough(pose), z_m=known, ground_m=ground_m, counted=False)
    if above is None:
        raise GeorefError(_nothing_known(pose))
    raise GeorefError(
        f"{_name(pose)} stands where the elevation model has no heights, so its height above the "
        "ground is of no use: name a larger model, or poses with heights"
    )


def over_level(pose: Pose, placing: Placing) -> Stand:
    """A camera over level ground, that of the user or one that its height above ground tells.

    Raises:
        GeorefError: nothing says how high it stands, or it stands under the user's ground.
    """
    if placing.ground_m is not None:
        stand = _over(pose, placing, placing.ground_m)
        if stand.z_m <= placing.ground_m:
            raise GeorefError(
                f"{_name(pose)} at {stand.z_m:g} m stands below --ground {placing.ground_m:g}: "
                "both count from one vertical datum, in metres; --camera-height goes before the "
                "source's height"
            )
        return stand
    above, known = _above(pose, placing), height_m(pose)
    if above is None:
        raise GeorefError(_nothing_known(pose))
    pose = pose.assuming(above.note) if above.note else pose
    if known is None:
        pose = pose.assuming("ground at height 0")
        return Stand(pose=pose, z_m=above.z_m, ground_m=0.0, counted=True)
    return Stand(pose=pose, z_m=known, ground_m=known - above.z_m, counted=False)


def _over(pose: Pose, placing: Placing, ground_m: float) -> Stand:
    """Over ground of that height."""
    pose = _signed(pose, ground_m)
    known, above = height_m(pose), _above(pose, placing)
    if known is not None and _is_sound(pose, placing):
        return Stand(pose=_aloof(pose), z_m=known, ground_m=ground_m, counted=False)
    if above is not None:
        pose = pose.assuming(above.note) if above.note else pose
        return _counted(pose, placing, ground_m, above.z_m)
    if known is None:
        raise GeorefError(_nothing_known(pose))
    return Stand(pose=_rough(pose), z_m=known, ground_m=ground_m, counted=False)


def _counted(pose: Pose, placing: Placing, ground_m: float, above_m: float) -> Stand:
    """From the ground; a note where the source's own height is another altogether."""
    z_m, known = ground_m + above_m, height_m(pose)
    if known is not None and placing.height_m is None and abs(known - z_m) > _APART_M:
        pose = pose.assuming(
            f"camera at {z_m:.0f} m, counted from the ground: its source says {known:.0f} m"
        )
    return Stand(pose=pose, z_m=z_m, ground_m=ground_m, counted=True)


def _is_sound(pose: Pose, placing: Placing) -> bool:
    """Whether the source's height is worth more than a height above the ground."""
    if placing.height_m is not None:
        return False
    surveyed = pose.accuracy.z_m is not None and pose.accuracy.z_m <= _SURVEYED_M
    return pose.paired or surveyed or not pose.rough_height


def _above(pose: Pose, placing: Placing) -> Under | None:
    """How high the camera stands above the ground under it, and what was assumed for that."""
    if placing.height_m is not None:
        return Under(placing.height_m)
    if pose.above_ground_m is not None:
        return Under(pose.above_ground_m)
    if pose.paired or not _looks_level(pose):
        return None
    return Under(_HAND_M, f"camera {_HAND_M} m above the ground")


def _signed(pose: Pose, ground_m: float) -> Pose:
    """The pose with its height below the sea, where QField meant what it wrote after all."""
    if QFIELD_HEIGHT not in pose.assumed or pose.xyz is None:
        return pose
    x, y, z = pose.xyz
    if z is None or abs(z - ground_m) <= abs(-z - ground_m):
        return pose
    others = tuple(text for text in pose.assumed if text != QFIELD_HEIGHT)
    return replace(pose, xyz=(x, y, -z), assumed=(*others, _BELOW_SEA))


def _aloof(pose: Pose) -> Pose:
    """A pose whose height above the ground is of no account."""
    return replace(pose, assumed=tuple(text for text in pose.assumed if text != ABOVE_TAKE_OFF))


def _rough(pose: Pose) -> Pose:
    return pose.assuming("height of a receiver without corrections: tens of metres off")


def _looks_level(pose: Pose) -> bool:
    """Whether a picture was taken by somebody who stood on the ground, as far as it shows."""
    if isinstance(pose.lens, PanoramaCamera):
        return True
    return pose.rotation is not None and abs(float(pose.rotation[2, 2])) <= _LEVEL


def _nothing_known(pose: Pose) -> str:
    return (
        f"nothing says how high {_name(pose)} stands above the ground: give --ground, --dem or "
        "--camera-height"
    )


def _name(pose: Pose) -> str:
    return pose.name or "the camera"
