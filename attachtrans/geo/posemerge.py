"""One pose of several sources: a table, the photo itself, the feature that it hangs on.

Earlier poses win, part by part: position, attitude, lens, height above the ground, ranges. What
image matching or control points found together is taken together: its rotation does not fit
another's position, nor the other way round.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

from attachtrans.errors import GeorefError
from attachtrans.geo.frame import convergence_deg, horizontal, read_crs, transform
from attachtrans.geo.pose import Accuracy, North, Pose, height_m, place_in

Floats = NDArray[np.float64]

_EARTH = Geod(ellps="WGS84")
# Quarter turns about the line of sight, from the stored picture's axes to the upright one's, by
# EXIF Orientation; the others mirror, which no rotation does.
_QUARTERS = MappingProxyType({1: 0, 6: 1, 3: 2, 8: 3})


def oriented(pose: Pose, orientation: int) -> Pose:
    """A pose of a picture as it is looked at, for a photo that is stored under an orientation.

    Args:
        pose: any; one that speaks of stored pixels, or knows the orientation, comes back as it is.
        orientation: of the photo's EXIF, 1 to 8.
    """
    return replace(pose, orientation=orientation, upright=False) if pose.upright else pose


def merge(*poses: Pose) -> Pose:
    """One pose of several, of which the earlier win.

    A part that the winner lacks comes from the next that has it; with each part come its accuracy,
    and its words in `source` and `assumed`.

    Raises:
        GeorefError: a lens of stored pixels is to be turned for a mirrored photo.
    """
    places, attitudes = _pairs(poses)
    place = next((pose for pose in places if pose.xyz is not None), None)
    high = next((pose for pose in places if height_m(pose) is not None), None)
    attitude = next((pose for pose in attitudes if pose.rotation is not None), None)
    lens = next((pose for pose in poses if pose.lens is not None), None)
    ground = next((pose for pose in poses if pose.above_ground_m is not None), None)
    # A height above the ground is of use where the position has none that can be relied on.
    stands = ground if high is None or high.rough_height else None
    parts = [part for part in (place, high, attitude, lens, stands) if part is not None]
    used = [pose for pose in poses if any(pose is part for part in parts)] or list(poses[:1])
    merged = Pose(
        name=next((pose.name for pose in poses if pose.name), ""),
        above_ground_m=None if ground is None else ground.above_ground_m,
        near_m=next((pose.near_m for pose in poses if pose.near_m is not None), None),
        far_m=next((pose.far_m for pose in poses if pose.far_m is not None), None),
        accuracy=_accuracy(place, attitude),
        time=next((pose.time for pose in poses if pose.time), None),
        paired=place is not None and place is attitude and place.paired,
        source=" + ".join(dict.fromkeys(pose.source for pose in used if pose.source)),
        assumed=tuple(dict.fromkeys(text for pose in used for text in pose.assumed)),
    )
    return _looking(_placed(merged, place, high), attitude, lens)


def position_gap_m(first: Pose, second: Pose) -> float | None:
    """The horizontal distance between two poses' positions; None where one has none."""
    ends = [_lonlat(pose) for pose in (first, second)]
    one, two = ends
    if one is None or two is None:
        return None
    return float(_EARTH.inv(one[0], one[1], two[0], two[1])[2])


def disagreement(first: Pose, second: Pose, limit_m: float) -> str:
    """A warning where two sources place one photo further apart than a limit, "" where not."""
    gap = position_gap_m(first, second)
    if gap is None or gap <= limit_m:
        return ""
    sides = []
    for pose in (first, second):
        lonlat = _lonlat(pose)
        where = "" if lonlat is None else f" at {lonlat[1]:.6f}, {lonlat[0]:.6f}"
        sides.append(f"{pose.source or 'one source'}{where}")
    name = first.name or second.name or "the photo"
    return (
        f"{name}: {sides[0]} and {sides[1]} (latitude, longitude) lie {gap:.0f} m apart; "
        "the first is taken"
    )


def _pairs(poses: tuple[Pose, ...]) -> tuple[tuple[Pose, ...], tuple[Pose, ...]]:
    """(poses to take the position from, poses to take the attitude from), in order.

    The first pose with an attitude decides: of a pair both are taken, beside another attitude no
    half of a pair is, unless there is no position otherwise: then the pair stands in for both.
    """
    pair = next(
        (p for p in poses if p.paired and p.xyz is not None and p.rotation is not None), None
    )
    single = tuple(pose for pose in poses if not pose.paired)
    first = next((p for p in poses if p is pair or (p.rotation is not None and not p.paired)), None)
    placeless = all(pose.xyz is None for pose in single)
    if pair is not None and (first is pair or placeless):
        return (pair,), (pair,)
    return single, single


def _placed(merged: Pose, place: Pose | None, high: Pose | None) -> Pose:
    """With a position; its height, where it has none, of another."""
    if place is None or place.xyz is None or place.crs is None:
        return merged
    # A position with a height of its own comes first.
    if high is None or place.xyz[2] is not None or high.crs is None or high.xyz is None:
        rough = place.rough_height
        return replace(
            merged, xyz=place.xyz, crs=place.crs, z_unit_m=place.z_unit_m, rough_height=rough
        )
    # The height keeps its datum, so the position goes into the CRS that has it.
    there = place_in(place, high.crs)
    return replace(
        merged,
        xyz=(float(there[0]), float(there[1]), high.xyz[2]),
        crs=high.crs,
        z_unit_m=high.z_unit_m,
        rough_height=high.rough_height,
    )


def _looking(merged: Pose, attitude: Pose | None, lens: Pose | None) -> Pose:
    """With a rotation and a lens that speak of one picture."""
    first = attitude or lens
    if first is None:
        return merged
    rotation, north = None, North.TRUE
    if attitude is not None:
        rotation, north = _northed(attitude, merged)
    orientation, upright = first.orientation, first.upright
    if lens is not None and rotation is not None and lens.orientation != orientation:
        rotation = _turned(rotation, orientation, lens)
        orientation, upright = lens.orientation, False
    return replace(
        merged,
        rotation=rotation,
        north=north,
        lens=None if lens is None else lens.lens,
        orientation=orientation,
        upright=upright,
    )


def _northed(attitude: Pose, merged: Pose) -> tuple[Floats | None, North]:
    """The rotation and its north; from true north where the grid is not the position's own."""
    same = merged.crs is not None and attitude.crs == merged.crs
    if attitude.north is North.TRUE or same or attitude.rotation is None:
        return attitude.rotation, attitude.north
    if attitude.crs is None or attitude.xyz is None:
        return attitude.rotation, attitude.north
    angle = -np.deg2rad(convergence_deg(attitude.crs, attitude.xyz[:2]))
    sine, cosine = np.sin(angle), np.cos(angle)
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return turn @ attitude.rotation, North.TRUE


def _turned(rotation: Floats, orientation: int, lens: Pose) -> Floats:
    """A rotation of a picture under one orientation, of the same under the lens's."""
    if orientation not in _QUARTERS or lens.orientation not in _QUARTERS:
        raise GeorefError(
            f"the lens ({lens.source}) speaks of another picture than the attitude, and EXIF "
            f"Orientation {orientation} or {lens.orientation} mirrors it: turn the photo upright"
        )
    quarters = (_QUARTERS[orientation] - _QUARTERS[lens.orientation]) % 4
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned: Floats = rotation @ np.linalg.matrix_power(quarter, quarters)
    return turned


def _accuracy(place: Pose | None, attitude: Pose | None) -> Accuracy:
    where = Accuracy() if place is None else place.accuracy
    how = Accuracy() if attitude is None else attitude.accuracy
    return Accuracy(
        xy_m=where.xy_m,
        z_m=where.z_m,
        heading_deg=how.heading_deg,
        pitch_deg=how.pitch_deg,
        roll_deg=how.roll_deg,
    )


def _column(pose: Pose) -> Floats:
    return np.array((pose.xyz or (np.nan, np.nan))[:2], dtype=np.float64)[:, None]


def _lonlat(pose: Pose) -> tuple[float, float] | None:
    if pose.xyz is None or pose.crs is None:
        return None
    place = transform(horizontal(pose.crs), read_crs("OGC:CRS84"), _column(pose))[:, 0]
    return (float(place[0]), float(place[1])) if np.isfinite(place).all() else None
