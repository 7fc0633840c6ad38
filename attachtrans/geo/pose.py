"""A photo's pose as its source gives it, and the camera that it becomes in a metric frame.

Sources differ in what they know: a phone has a position and a compass, a drone a gimbal, image
matching has all but a datum. `Pose` keeps each part with where it is from and what was assumed, so
that nothing is guessed twice and every footprint can say what it stands on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import CrsError, GeorefError
from attachtrans.geo.camera import Camera, TurnedCamera
from attachtrans.geo.frame import LocalFrame, convergence_deg, has_heights, horizontal, transform
from attachtrans.types import Size

Floats = NDArray[np.float64]


class North(StrEnum):
    """What a rotation's y axis is.

    TRUE  the meridian
    GRID  the y axis of the pose's CRS
    """

    TRUE = "true"
    GRID = "grid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Standard deviations as the source states them, None where it does not."""

    xy_m: float | None = None
    z_m: float | None = None
    heading_deg: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pose:
    """Where a camera stood, how it looked and what its lens is; None for what is not known.

    name            of the photo: file name, path or key, as the source has it
    xyz             position in `crs`, x (longitude) first; z None when unknown
    crs             of xyz; with a vertical part only where the source states a datum
    z_unit_m        metres per unit of z, for a crs without a vertical part; None: metres
    rotation        (3, 3) camera axes (x right, y down, z forward) -> x east, y north, z up
    north           what "north" in `rotation` is
    lens            the camera's inside, with no rotation and at the origin, of whatever size the
                    source speaks of; made to fit the image by `standing`
    orientation     EXIF Orientation that leads from the picture which rotation and lens speak of
                    to the stored one: 1 for cameras of image matching, which speak of stored
                    pixels; the photo's own for compass, gimbal and field of view
    upright         the picture that they speak of is that which is looked at, and the source does
                    not know how it is stored: `orientation` is to be the photo's (`oriented`)
    above_ground_m  height of the camera above the ground under it
    rough_height    xyz's height is that of a phone or a drone without correction, tens of metres
                    off: `above_ground_m`, or a guess of it, serves better
    near_m, far_m   ground range that the source thinks usable
    accuracy        standard deviations
    time            of exposure, ISO 8601
    paired          position and rotation were solved together, by image matching or from control
                    points: one of them without the other is worth less than none
    source          where it is from, in words: "DJI XMP (gimbal)", "EXIF GPS and direction"
    assumed         what no source said: "level camera", "focal length: 28 mm of full frame"
    """

    name: str = ""
    xyz: tuple[float, float, float | None] | None = None
    crs: CRS | None = None
    z_unit_m: float | None = None
    rotation: Floats | None = None
    north: North = North.TRUE
    lens: Camera | None = None
    orientation: int = 1
    upright: bool = False
    above_ground_m: float | None = None
    rough_height: bool = False
    near_m: float | None = None
    far_m: float | None = None
    accuracy: Accuracy = Accuracy()
    time: str | None = None
    paired: bool = False
    source: str = ""
    assumed: tuple[str, ...] = ()

    def assuming(self, *texts: str) -> Self:
        """The same pose with further assumptions noted."""
        return replace(self, assumed=tuple(dict.fromkeys((*self.assumed, *texts))))


def work_crs(pose: Pose, preferred: CRS | None = None) -> CRS:
    """The metric CRS, true to scale about the pose, that its geometry is done in.

    Args:
        pose: with a position.
        preferred: taken where it is projected in metres and true to scale there: that of an
            elevation model, which then needs no resampling.

    Raises:
        GeorefError: the pose has no position (CrsError: or one that its CRS does not know).
    """
    xy, crs = _place(pose)
    if preferred is not None and preferred.is_projected:
        there = transform(horizontal(crs), horizontal(preferred), xy[:, None])[:, 0]
        if np.isfinite(there).all():
            frame = LocalFrame.at(horizontal(preferred), there)
            if frame.crs == horizontal(preferred):
                return frame.crs
    return LocalFrame.at(horizontal(crs), xy).crs


def height_m(pose: Pose) -> float | None:
    """The camera's height in metres, in whatever datum the source has; None when unknown."""
    if pose.xyz is None or pose.xyz[2] is None or pose.crs is None:
        return None
    unit = 1.0 if pose.z_unit_m is None else pose.z_unit_m
    if has_heights(pose.crs):
        unit = float(pose.crs.axis_info[2].unit_conversion_factor)
    return pose.xyz[2] * unit


def standing(pose: Pose, size: Size, crs: CRS, z_m: float) -> Camera:
    """The camera of a pose in a metric CRS, of the (stored) image's size.

    Args:
        pose: with position, rotation and lens.
        size: of the stored image, pixels.
        crs: of the camera's position: true to scale there, metres (`work_crs`).
        z_m: the camera's height in metres.

    Raises:
        GeorefError: the pose lacks a position, a rotation or a lens; says which.
    """
    if pose.rotation is None or pose.lens is None:
        words = {"rotation": "attitude", "lens": "focal length"}
        lacking = " and no ".join(w for name, w in words.items() if getattr(pose, name) is None)
        raise GeorefError(
            f"{pose.name or 'the photo'} has no {lacking} ({pose.source or 'no pose found'})"
        )
    xy, own = _place(pose)
    there = place_in(pose, crs)
    turn = convergence_deg(crs, there)
    if pose.north is North.GRID:
        turn = 0.0 if horizontal(own) == crs else turn - convergence_deg(own, xy)
    upright = size if pose.orientation < 5 else Size(size.height, size.width)
    rotation = _counter_clockwise(turn) @ pose.rotation
    camera = pose.lens.resized(upright).posed(rotation, [*there, z_m])
    if pose.orientation == 1:
        return camera
    return TurnedCamera(upright=camera, orientation=pose.orientation)


def place_in(pose: Pose, crs: CRS) -> Floats:
    """(x, y) of a pose in another CRS.

    Raises:
        GeorefError: it has no position (CrsError: or one where the CRS is not defined).
    """
    xy, own = _place(pose)
    there: Floats = transform(horizontal(own), horizontal(crs), xy[:, None])[:, 0]
    if not np.isfinite(there).all():
        raise CrsError(f"{pose.name} at {xy.tolist()} does not lie where {crs.name} is defined")
    return there


def _place(pose: Pose) -> tuple[Floats, CRS]:
    if pose.xyz is None or pose.crs is None:
        raise GeorefError(
            f"{pose.name or 'the photo'} has no position ({pose.source or 'no pose found'})"
        )
    return np.array(pose.xyz[:2], dtype=np.float64), pose.crs


def _counter_clockwise(angle_deg: float) -> Floats:
    """(3, 3) from axes along true north to those of a grid whose convergence is the angle."""
    angle = np.deg2rad(angle_deg)
    sine, cosine = np.sin(angle), np.cos(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
