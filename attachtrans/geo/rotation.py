"""One rotation for every way of writing a camera's attitude, and back.

Everything becomes R: a 3x3 matrix whose columns are the camera axes (x right, y down, z forward)
seen in the world (x east, y north, z up), so `world = R @ camera` and `R[:, 2]` is the viewing
direction. Angles refer to the world's north: true headings belong into a frame whose y axis is
true north, or lose the meridian convergence first (`attachtrans.geo.frame`).

| convention | the numbers | formula for the photo axes P (x right, y up, z backwards) |
|---|---|---|
| opk | omega, phi, kappa (PATB, ArcGIS, Pix4D, STAC) | Rx(o) Ry(p) Rz(k) |
| hpr | Esri heading (clockwise from north), pitch (0 down, 90 level), roll | Rz(-h) Rx(p) Rz(-r) |
| cirn | azimuth, tilt, swing: hpr with the roll turned round | Rz(-a) Rx(t) Rz(s) |
| cameratransform | heading, tilt, roll: as cirn | |
| dji | gimbal yaw, pitch (0 level, -90 down), roll: north-east-down, order ZYX | hpr(y, 90+p, r) |
| gpano | pose heading, pitch (0 level), roll of the image's centre | hpr(h, 90+p, r) |
| ypr | yaw, pitch (0 down), roll of Pix4D and senseFly | B Rz(y) Ry(p) Rx(r) B |
| opensfm | axis-angle vector in RADIANS, world to camera (OpenSfM, ODM, Mapillary) | |
| quaternion | w, x, y, z, camera axes to world (nuScenes: multiply ego by sensor) | |

Rx, Ry, Rz turn counter-clockwise; B swaps north-east-down and east-north-up. DJI's and Pix4D's
numbers mean the same only while the roll is 0. `dji` holds at every pitch, so pitch -90 with roll
180, which many gimbals write, looks down with the heading turned about.

Sources: Esri oriented imagery schema (printed matrices), Pix4D yaw-pitch-roll/omega-phi-kappa
page, DJI SDK gimbal description, OpenSfM geometry page, Google GPano metadata page.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attachtrans.errors import ArgumentError

Floats = NDArray[np.float64]

CONVENTIONS = MappingProxyType(
    {
        "opk": ("omega", "phi", "kappa"),
        "hpr": ("heading", "pitch", "roll"),
        "cirn": ("azimuth", "tilt", "swing"),
        "cameratransform": ("heading", "tilt", "roll"),
        "dji": ("yaw", "pitch", "roll"),
        "gpano": ("heading", "pitch", "roll"),
        "ypr": ("yaw", "pitch", "roll"),
        "opensfm": ("x", "y", "z"),
        "quaternion": ("w", "x", "y", "z"),
    }
)
"""Convention -> what its numbers are called, in their order."""

# hpr = sign * angles + offset, for the conventions that only count differently.
_AS_HPR = {
    "hpr": ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
    "cirn": ((1.0, 1.0, -1.0), (0.0, 0.0, 0.0)),
    "cameratransform": ((1.0, 1.0, -1.0), (0.0, 0.0, 0.0)),
    "dji": ((1.0, 1.0, 1.0), (0.0, 90.0, 0.0)),
    "gpano": ((1.0, 1.0, 1.0), (0.0, 90.0, 0.0)),
}
_FLIP = np.diag([1.0, -1.0, -1.0])
_SWAP = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
_LOCKED = 1e-9
"""Sine of the middle angle below which the outer two turn about one axis."""
_LOOSE = 1e-3
"""How far from orthonormal the printed digits of a matrix may leave it."""
_ROUNDING = 1e-14
"""How far from orthonormal a computed rotation is; one that is kept can be stored and read back."""


def pose_matrix(convention: str, angles_deg: Sequence[float] | ArrayLike) -> Floats:
    """The rotation (3, 3) from camera axes (x right, y down, z forward) to the world.

    Args:
        convention: a key of `CONVENTIONS`.
        angles_deg: its numbers in the order given there: degrees of any range, except radians for
            "opensfm" and a quaternion of any length > 0 for "quaternion".

    Raises:
        ArgumentError: unknown convention, wrong count, not finite.
    """
    values = _checked(convention, angles_deg)
    if convention in _AS_HPR:
        sign, offset = _AS_HPR[convention]
        heading, pitch, roll = np.deg2rad(values * sign + offset)
        return camera_axes(_turn(2, -heading) @ _turn(0, pitch) @ _turn(2, -roll))
    if convention == "opk":
        omega, phi, kappa = np.deg2rad(values)
        return camera_axes(_turn(0, omega) @ _turn(1, phi) @ _turn(2, kappa))
    if convention == "ypr":
        yaw, pitch, roll = np.deg2rad(values)
        body = _turn(2, yaw) @ _turn(1, pitch) @ _turn(0, roll)
        return camera_axes(_SWAP @ body @ _SWAP)
    if convention == "opensfm":
        angle = float(np.linalg.norm(values))
        half = 0.5 * np.sinc(angle / (2.0 * np.pi))  # sin(angle / 2) / angle, also at 0
        return _from_quaternion(np.array([np.cos(angle / 2.0), *(half * values)])).T
    return _from_quaternion(values)


def pose_angles(convention: str, rotation: ArrayLike) -> tuple[float, ...]:
    """The numbers of a convention for a rotation (3, 3): the inverse of `pose_matrix`.

    Headings, azimuths and yaws are 0 to 360, the others -180 to 180, the middle angle of each
    triple on its principal range. Where the outer two angles turn about one axis (looking
    straight down, phi 90), roll (for "opk": omega) is 0 and the other carries both.

    Raises:
        ArgumentError: unknown convention, or not a rotation.
    """
    if convention not in CONVENTIONS:
        raise ArgumentError(_unknown(convention))
    matrix = nearest_rotation(rotation)
    if convention in _AS_HPR:
        sign, offset = _AS_HPR[convention]
        first, middle, last = (_hpr_of(camera_axes(matrix)) - offset) * sign
        return _bearing(first), float(middle), float(last)
    if convention == "opk":
        return _opk_of(camera_axes(matrix))
    if convention == "ypr":
        return _ypr_of(_SWAP @ camera_axes(matrix) @ _SWAP)
    if convention == "opensfm":
        w, *axis = _to_quaternion(matrix.T)
        length = float(np.linalg.norm(axis))
        factor = 2.0 * np.arctan2(length, w) / length if length else 2.0
        return float(factor * axis[0]), float(factor * axis[1]), float(factor * axis[2])
    return tuple(float(value) for value in _to_quaternion(matrix))


def camera_axes(matrix: ArrayLike) -> Floats:
    """(3, 3) from photo axes (x right, y up, z backwards) to camera axes, and the other way.

    Esri's Matrix columns and the transpose of STAC's rotation_matrix are of photo axes.
    """
    return np.asarray(matrix, dtype=np.float64) @ _FLIP


def nearest_rotation(matrix: ArrayLike) -> Floats:
    """The rotation (3, 3) next to a matrix that was written with few digits.

    Raises:
        ArgumentError: not 3x3 and finite, mirrored, or further than 1e-3 from a rotation.
    """
    values = np.asarray(matrix, dtype=np.float64)
    if values.shape != (3, 3) or not np.isfinite(values).all():
        raise ArgumentError(f"a rotation is a finite 3x3 matrix, not {values.tolist()}")
    left, stretch, right = np.linalg.svd(values)
    nearest: Floats = left @ right
    if np.abs(stretch - 1.0).max() <= _ROUNDING and np.linalg.det(nearest) > 0.0:
        return values.copy()
    if np.abs(stretch - 1.0).max() > _LOOSE or np.linalg.det(nearest) < 0.0:
        raise ArgumentError(
            f"{values.tolist()} is not a rotation: its axes are not of length 1, not at right "
            "angles, or mirrored; check the order of its values and what it turns into what"
        )
    return nearest


def _turn(axis: int, angle_rad: float) -> Floats:
    """Counter-clockwise about axis 0, 1 or 2."""
    sine, cosine = np.sin(angle_rad), np.cos(angle_rad)
    turn = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn[first, first] = turn[second, second] = cosine
    turn[second, first], turn[first, second] = sine, -sine
    return turn


# The inverses take the first angle off the matrix before they read the others from the rest, so
# that the three together are exact even where each alone is ill-defined.


def _hpr_of(photo: Floats) -> Floats:
    locked = np.hypot(photo[0, 2], photo[1, 2]) < _LOCKED
    down, across = (photo[0, 0], photo[1, 0]) if locked else (photo[1, 2], photo[0, 2])
    heading = np.arctan2(-across, down if locked else -down)
    rest = _turn(2, heading) @ photo
    pitch = np.arctan2(-rest[1, 2], rest[2, 2])
    roll = np.arctan2(rest[0, 1], rest[0, 0])
    degrees: Floats = np.rad2deg([heading, pitch, roll])
    return degrees


def _opk_of(photo: Floats) -> tuple[float, float, float]:
    locked = np.hypot(photo[1, 2], photo[2, 2]) < _LOCKED
    omega = 0.0 if locked else np.arctan2(-photo[1, 2], photo[2, 2])
    rest = _turn(0, -omega) @ photo
    phi = np.arctan2(rest[0, 2], rest[2, 2])
    kappa = np.arctan2(rest[1, 0], rest[1, 1])
    return float(np.rad2deg(omega)), float(np.rad2deg(phi)), float(np.rad2deg(kappa))


def _ypr_of(body: Floats) -> tuple[float, float, float]:
    locked = np.hypot(body[0, 0], body[1, 0]) < _LOCKED
    yaw = np.arctan2(-body[0, 1], body[1, 1]) if locked else np.arctan2(body[1, 0], body[0, 0])
    rest = _turn(2, -yaw) @ body
    pitch = np.arctan2(-rest[2, 0], rest[0, 0])
    roll = np.arctan2(-rest[1, 2], rest[1, 1])
    return _bearing(np.rad2deg(yaw)), float(np.rad2deg(pitch)), float(np.rad2deg(roll))


def _bearing(angle_deg: float) -> float:
    """Below 360, which the remainder of a tiny negative angle rounds to."""
    return float(angle_deg % 360.0 % 360.0)


def _from_quaternion(values: Floats) -> Floats:
    w, x, y, z = values / np.linalg.norm(values)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _to_quaternion(matrix: Floats) -> Floats:
    """(w, x, y, z) with w >= 0, by way of the column of q qT with the largest diagonal."""
    trace = np.trace(matrix)
    squares = np.array([trace, *(2.0 * np.diag(matrix) - trace)])
    largest = int(np.argmax(squares))
    outer = np.diag(1.0 + squares)  # 4 q qT
    for axis in range(3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        outer[0, axis + 1] = outer[axis + 1, 0] = matrix[two, one] - matrix[one, two]
        outer[one + 1, two + 1] = outer[two + 1, one + 1] = matrix[one, two] + matrix[two, one]
    column = outer[largest]
    quaternion: Floats = column / np.linalg.norm(column)
    return -quaternion if quaternion[0] < 0.0 else quaternion


def _checked(convention: str, numbers: Sequence[float] | ArrayLike) -> Floats:
    if convention not in CONVENTIONS:
        raise ArgumentError(_unknown(convention))
    names = CONVENTIONS[convention]
    values = np.asarray(numbers, dtype=np.float64)
    if values.shape != (len(names),) or not np.isfinite(values).all():
        raise ArgumentError(
            f"a pose in the convention {convention!r} is {len(names)} finite numbers "
            f"({', '.join(names)}), not {values.tolist()}"
        )
    if convention == "quaternion" and not np.any(values):
        raise ArgumentError("a quaternion of length 0 is no rotation")
    return values


def _unknown(convention: str) -> str:
    return f"unknown pose convention {convention!r}; known: {', '.join(CONVENTIONS)}"
