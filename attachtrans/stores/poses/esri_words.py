"""Esri's CameraOrientation: a pose in one text, its parts divided by "|".

| type | parts |
|---|---|
| 1 | H_WKID, V_WKID, X, Y, Z, heading, pitch, roll |
| 2 | H_WKID, V_WKID, X, Y, Z, omega, phi, kappa |
| 3 | H_WKID, V_WKID, X, Y, Z, yaw, pitch, roll: of images all around; the yaw is used alone |
| 4 | latitude, longitude, radius, eccentricity2 of a tangent plane, type of angles, X to angles |

and then, or not: A0, A1, A2, B0, B1, B2 (film to image), focal length, principal x, y, K1, K2, K3,
P1, P2. Lengths are in one unit that the text does not name; it cancels.

Source: Esri, oriented imagery schema.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import SourceError
from attachtrans.geo.camera import PerspectiveCamera
from attachtrans.geo.pose import North, Pose
from attachtrans.geo.rotation import camera_axes, pose_matrix
from attachtrans.stores.poses.base import number, srs, z_unit
from attachtrans.stores.poses.esri_camera import (
    FilmCamera,
    affine_to_image,
    in_focal_lengths,
    lens_and_turn,
    radius_factor,
)
from attachtrans.stores.poses.lenses import panorama
from attachtrans.stores.poses.tangent import TangentFrame
from attachtrans.types import Size

Floats = NDArray[np.float64]
Fov = tuple[float | None, float | None]

_EXTERIOR = 8
_INTERIOR = 14
_MOST_PARTS = 64
_WHOLE_PX = 1e-4
_CONVENTIONS = {1: "hpr", 2: "opk", 3: "hpr"}


def read_orientation(text: str, fov_deg: Fov, radius_unit: str = "um") -> Pose:
    """The pose of a CameraOrientation text.

    Args:
        text: as the table has it.
        fov_deg: the row's horizontal and vertical field of view; with the focal length they say
            how large the picture is, which the text itself does not.
        radius_unit: of K1 to P2, as of `PoseOptions`; "um" is the unit of the focal length.

    Raises:
        SourceError: not such a text.
        CrsError: WKIDs that are not known.
    """
    parts = [part.strip() for part in text.split("|", _MOST_PARTS)]
    kind = number(parts[0])
    values = [number(part) for part in parts[1:]]
    if kind == 4:
        return _local(values, fov_deg, radius_unit)
    if kind not in _CONVENTIONS or kind is None or len(values) < _EXTERIOR:
        raise SourceError(f"CameraOrientation {text[:60]!r} is of no type that is known (1 to 4)")
    numbers = values[2:]
    if None in numbers[:6]:
        raise SourceError(f"CameraOrientation {text[:60]!r} lacks a number")
    flat, heights = parts[1], parts[2]
    crs = srs(f"{flat};{heights}" if number(heights) else flat)
    known = [value for value in numbers[:6] if value is not None]
    place, angles = (known[0], known[1], known[2]), known[3:6]
    assumed: tuple[str, ...] = ()
    if kind == 3:
        angles = [angles[0], 90.0, 0.0]
        # Esri's two printed versions of this matrix name the angles differently.
        assumed = ("level panorama",)
    rotation = pose_matrix(_CONVENTIONS[int(kind)], angles)
    lens, turn = interior(numbers[6:], fov_deg, radius_unit)
    return Pose(
        xyz=place,
        crs=crs,
        z_unit_m=z_unit(crs),
        rotation=rotation if turn is None else rotation @ turn,
        north=North.GRID if crs.is_projected else North.TRUE,
        lens=panorama() if kind == 3 else lens,
        source=f"Esri CameraOrientation (type {kind:.0f})",
        assumed=assumed,
    )


def _local(values: list[float | None], fov_deg: Fov, radius_unit: str) -> Pose:
    """Type 4: in a tangent plane."""
    known = [value for value in values[:11] if value is not None]
    if len(known) < 11 or int(known[4]) not in _CONVENTIONS:
        raise SourceError("CameraOrientation of type 4 lacks numbers, or is of no type within")
    latitude, longitude, radius, eccentricity2, kind = known[:5]
    frame = TangentFrame(
        longitude=longitude, latitude=latitude, axis_m=radius, eccentricity2=eccentricity2
    )
    rotation = pose_matrix(_CONVENTIONS[int(kind)], known[8:11])
    lens, turn = interior(values[11:], fov_deg, radius_unit)
    xyz, rotation = frame.locate(
        np.array(known[5:8]), rotation if turn is None else rotation @ turn
    )
    return Pose(
        xyz=xyz,
        crs=frame.crs,
        rotation=rotation,
        lens=lens,
        source="Esri CameraOrientation (type 4)",
    )


def interior(
    values: list[float | None], fov_deg: Fov, radius_unit: str
) -> tuple[PerspectiveCamera | None, Floats | None]:
    """(camera, turn of its axes as of `lens_and_turn`) of the text's last 14 parts.

    None, None where A0 to the principal point are not all there. Raises as `lens_and_turn` does.
    """
    known = [value for value in values[:_INTERIOR] if value is not None]
    if len(known) < 9 or len(known) != min(len(values), _INTERIOR) or known[6] <= 0.0:
        return None, None
    known += [0.0] * (_INTERIOR - len(known))
    focal = known[6]
    to_image = affine_to_image(known[:6], from_image=False)
    unit = radius_factor(radius_unit, focal)
    k, p = in_focal_lengths((0.0, *known[9:12]), known[12:14], unit)
    film = FilmCamera(
        size=_size(to_image, focal, fov_deg),
        focal=focal,
        principal=(known[7], known[8]),
        to_image=to_image,
        radial=k,
        tangential=p,
    )
    return lens_and_turn(film)


def _size(to_image: Floats, focal: float, fov_deg: Fov) -> Size:
    """Of the picture: the film's zero is its middle where that makes a whole number of pixels.

    Elsewhere, as with principal points in the affine terms, the field of view tells.
    """
    sides = []
    for axis in (0, 1):
        side = 2.0 * (float(to_image[axis, 2]) + 0.5)
        angle = fov_deg[axis]
        if abs(side - round(side)) > _WHOLE_PX and angle is not None and 0.0 < angle < 180.0:
            scale = float(np.hypot(*to_image[axis, :2]))
            side = 2.0 * focal * scale * float(np.tan(np.deg2rad(angle) / 2.0))
        sides.append(round(side))
    if min(sides) < 1 or max(sides) > 1_000_000:
        raise SourceError(
            "the affine terms of CameraOrientation do not have the film's zero in the picture's "
            "middle, and there is no field of view to tell the picture's size"
        )
    return Size(*sides)


def matrix_rotation(values: list[float]) -> Floats:
    """Esri's Matrix: nine values, row by row, from photo axes to the map."""
    return camera_axes(np.reshape(values, (3, 3)))
