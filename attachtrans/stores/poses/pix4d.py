"""The XMP namespace Camera of Pix4D, as senseFly, Parrot and others write it, and Parrot's own.

    Camera:Yaw, Pitch, Roll          pitch 0 looks down; of the camera (some writers put the
                                     aircraft's, which nothing tells apart)
    Camera:ModelType                 perspective or fisheye
    Camera:PerspectiveFocalLength    mm; PerspectiveDistortion: R1,R2,R3,T1,T2
    Camera:FisheyePolynomial         p0,p1,p2,...; FisheyeAffineMatrix: C,D,E,F in pixels
    Camera:PrincipalPoint            mm from the upper left corner
    Camera:GPSXYAccuracy, GPSZAccuracy (m), IMUYawAccuracy, ... (degrees): standard deviations
    Camera:HorizCS, VertCS           of the GPS position: "EPSG:4326", "ellipsoidal", "EPSG:5773"
    drone-parrot:Camera*Degree       north-east-down, order ZYX; pitch 0 level

Source: Pix4D, "Specifications of XMP Camera tags" and "Yaw, pitch, roll and omega, phi, kappa".
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from pyproj import CRS

from attachtrans.errors import ArgumentError, CrsError
from attachtrans.geo.camera import FisheyeCamera, PerspectiveCamera
from attachtrans.geo.frame import read_crs
from attachtrans.stores.poses import exif
from attachtrans.stores.poses.base import numbers
from attachtrans.stores.poses.photo_parts import (
    Attitude,
    Carried,
    Optics,
    Place,
    epsg,
    looked_at,
    perspective_lens,
)
from attachtrans.stores.poses.xmp import real, reals

_AXES = ("Yaw", "Pitch", "Roll")
_CODE = re.compile(r"EPSG:(\d{4,6})")
_FINE_M = 1.0
"""Standard deviation of a height up to which it has correction data behind it."""


def attitude(carried: Carried) -> Attitude | None:
    """Parrot's own angles, else those of the namespace Camera; None without."""
    parrot = reals(carried.xmp, *(f"drone-parrot:Camera{axis}Degree" for axis in _AXES))
    angles = reals(carried.xmp, *(f"Camera:{axis}" for axis in _AXES))
    if parrot is not None:
        return Attitude(
            convention="dji",
            angles_deg=(parrot[0], parrot[1], parrot[2]),
            source="Parrot XMP (camera)",
            assumed=("Parrot's angles: north-east-down, pitch 0 is level",),
        )
    if angles is None:
        return None
    yaw, pitch, roll = (_positive(carried, f"Camera:IMU{axis}Accuracy") for axis in _AXES)
    return Attitude(
        convention="ypr",
        angles_deg=(angles[0], angles[1], angles[2]),
        sd_deg=(yaw, pitch, roll),
        source="Pix4D XMP (Camera:)",
        assumed=("yaw, pitch and roll of the camera, not of the aircraft",),
    )


def _positive(carried: Carried, name: str) -> float | None:
    value = real(carried.xmp, name)
    return value if value is not None and value > 0.0 else None


def described(place: Place, carried: Carried) -> Place:
    """A GPS position with the accuracy and the coordinate system that the namespace states."""
    xy, z = (_positive(carried, f"Camera:GPS{axis}Accuracy") for axis in ("XY", "Z"))
    rough = place.rough and (z is None or z > _FINE_M)
    place = replace(place, xy_sd_m=xy or place.xy_sd_m, z_sd_m=z or place.z_sd_m, rough=rough)
    flat = carried.xmp.get("Camera:HorizCS", "") or "EPSG:4326"
    heights = carried.xmp.get("Camera:VertCS", "")
    crs = _stated_crs(flat.upper(), heights.upper())
    if crs is None:
        note = f"position on {place.crs.name}: {flat[:40]!r}, {heights[:40]!r} is not known"
        return replace(place, assumed=(*place.assumed, note))
    return replace(place, crs=crs) if crs != epsg(4326) else place


def _stated_crs(flat: str, heights: str) -> CRS | None:
    """Of EPSG codes alone: what else pyproj reads (files, pipelines) has no place in a photo."""
    code, vertical = _CODE.fullmatch(flat), _CODE.fullmatch(heights)
    if code is None or (vertical is None and heights not in {"", "ELLIPSOIDAL"}):
        return None
    try:
        crs = read_crs(f"EPSG:{code[1]}" + (f"+{vertical[1]}" if vertical else ""))
    except CrsError:
        return None
    if not crs.is_geographic:
        return None
    return crs.to_3d() if heights == "ELLIPSOIDAL" else crs


def optics(carried: Carried) -> Optics | None:
    """The lens by the namespace's interior parameters; None without them or without a scale."""
    scale = exif.px_per_mm(carried)
    point = numbers(carried.xmp.get("Camera:PrincipalPoint"), 2)
    width, height = carried.size
    centre = 0.5 * (width - 1), 0.5 * (height - 1)
    notes: tuple[str, ...] = ("lens looks through the middle",)
    if scale is not None and point is not None:
        centre = point[0] * scale[0] - 0.5, point[1] * scale[1] - 0.5
        notes = ("principal point from the corner of the sensor: by Pix4D's documents alone",)
    fisheye = carried.xmp.get("Camera:ModelType", "").lower() == "fisheye"
    stored = _fisheye(carried, centre) if fisheye else _perspective(carried, scale, centre)
    upright = None if stored is None else looked_at(stored, carried.orientation)
    if upright is None:
        return None
    kind = "fisheye" if fisheye else "perspective"
    return Optics(lens=upright, source=f"Pix4D XMP ({kind} camera)", assumed=notes)


def _perspective(
    carried: Carried, scale: tuple[float, float] | None, centre_px: tuple[float, float]
) -> PerspectiveCamera | None:
    focal = real(carried.xmp, "Camera:PerspectiveFocalLength")
    if focal is None or scale is None:
        return None
    terms = numbers(carried.xmp.get("Camera:PerspectiveDistortion"), 5) or [0.0] * 5
    r1, r2, r3, t1, t2 = terms
    focal_px = focal * scale[0], focal * scale[1]
    return perspective_lens(carried.size, focal_px, centre_px, (r1, r2, t1, t2, r3))


def _fisheye(carried: Carried, centre_px: tuple[float, float]) -> FisheyeCamera | None:
    polynomial = numbers(carried.xmp.get("Camera:FisheyePolynomial"))
    affine = numbers(carried.xmp.get("Camera:FisheyeAffineMatrix"), 4)
    if polynomial is None or affine is None:
        return None
    tagged = exif.tagged_size(carried)
    x, y = (full / part for full, part in zip(tagged, carried.size, strict=True))
    c, d, e, f = affine
    try:
        return FisheyeCamera.pix4d(
            tagged,
            polynomial=polynomial,
            affine_px=(c, d, e, f),
            centre_px=((centre_px[0] + 0.5) * x - 0.5, (centre_px[1] + 0.5) * y - 0.5),
            rotation=np.eye(3),
            position=np.zeros(3),
        ).resized(carried.size)
    except ArgumentError:
        return None
