"""DJI's XMP: gimbal, RTK position and calibration.

    Gimbal*Degree          camera: north-east-down, order ZYX; roll 180 at pitch -90 is the heading
                           turned about
    Flight*Degree          aircraft: taken only where the gimbal says nothing
    AbsoluteAltitude       above the ellipsoid with AltitudeType RtkAlt, else of unknown datum
    RelativeAltitude       above the take-off, not above the ground under the drone
    CalibratedFocalLength  of the design; pixels, as CalibratedOpticalCenterX/Y
    DewarpData             date;fx,fy,cx,cy,k1,k2,p1,p2,k3 of this camera; cx, cy from the middle
    DewarpDataK6           the same with k1,k2,p1,p2,k3,k4,k5,k6
    DewarpFlag             1: the picture is rid of the distortion already

Sources: photo file tables of DJI's manuals (Zenmuse P1, Mavic 3 Enterprise, Matrice 4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from attachtrans.geo.camera import PerspectiveCamera
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
from attachtrans.types import Size

ABOVE_TAKE_OFF: Final = "height above ground: that above the take-off, on level ground"
"""What a pose assumes that has RelativeAltitude as its height above the ground."""

_NS: Final = "drone-dji:"
_LONGITUDES = ("GpsLongitude", "GpsLongtitude", "Longitude")  # the second is DJI's spelling
_LATITUDES = ("GpsLatitude", "Latitude")
_FIXED, _FLOATING = 50, range(17, 50)
"""RtkFlag; 16 is a position without correction data."""
_ALIKE = 1.1
"""Between calibrated and designed values."""
_EARTH_M = 111_320.0
"""Per degree of latitude."""
_NOTED_M = 1.0


def attitude(carried: Carried) -> Attitude | None:
    """The gimbal's angles, a missing yaw from the aircraft; None where neither gives enough."""
    yaw, pitch, roll = _angles(carried, "Gimbal")
    source, notes = "DJI XMP (gimbal)", _reversed_notes(carried.xmp)
    if yaw is None and pitch is None:
        yaw, pitch, roll = _angles(carried, "Flight")
        source = "DJI XMP (aircraft)"
        notes += ("camera looks along the aircraft's nose: the gimbal is not given",)
    elif yaw is None:
        yaw = _angles(carried, "Flight")[0]
        source = "DJI XMP (gimbal, yaw of the aircraft)"
        notes += ("camera looks to where the aircraft heads",)
    if yaw is None or pitch is None:
        return None
    if roll is None:
        notes += ("camera without roll",)
    return Attitude(
        convention="dji", angles_deg=(yaw, pitch, roll or 0.0), source=source, assumed=notes
    )


def _angles(carried: Carried, part: str) -> tuple[float | None, float | None, float | None]:
    yaw, pitch, roll = (
        real(carried.xmp, f"{_NS}{part}{axis}Degree") for axis in ("Yaw", "Pitch", "Roll")
    )
    return yaw, pitch, roll


def _reversed_notes(xmp: Mapping[str, str]) -> tuple[str, ...]:
    if not real(xmp, f"{_NS}CamReverse"):
        return ()
    return ("angles are those of the picture: CamReverse says that the camera hung upside down",)


def place(carried: Carried, known: Place | None) -> Place | None:
    """The position, where XMP has one that is at least as good as EXIF's, which is `known`.

    DJI writes XMP with more decimals. A position that differs from EXIF's is noted, since programs
    that correct positions afterwards write only EXIF.
    """
    xmp = carried.xmp
    height = real(xmp, f"{_NS}AbsoluteAltitude")
    latitude = _first(xmp, _LATITUDES)
    longitude = _first(xmp, _LONGITUDES)
    if latitude is None or longitude is None or (latitude == longitude == 0.0):
        if known is None or known.z_m is not None or height is None:
            return known
        return replace(known, z_m=height, source=f"{known.source}, DJI XMP (height)")
    if abs(latitude) > 90.0 or abs(longitude) > 180.0:
        return known
    flag = int(real(xmp, f"{_NS}RtkFlag") or 0)
    kind = "RTK " if flag == _FIXED else "unfixed RTK " if flag in _FLOATING else ""
    xy_sd, z_sd = _deviations(xmp) if flag else (None, None)
    ellipsoidal = xmp.get(f"{_NS}AltitudeType", "").lower() == "rtkalt"
    found = Place(
        longitude=longitude,
        latitude=latitude,
        z_m=height,
        crs=epsg(4979 if ellipsoidal and height is not None else 4326),
        rough=flag != _FIXED,
        xy_sd_m=xy_sd,
        z_sd_m=z_sd,
        source=f"DJI XMP ({kind}position)",
    )
    return found if known is None else _compared(found, known)


def _first(xmp: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    found = (real(xmp, _NS + name) for name in names)
    return next((value for value in found if value is not None), None)


def _deviations(xmp: Mapping[str, str]) -> tuple[float | None, float | None]:
    plane = reals(xmp, f"{_NS}RtkStdLon", f"{_NS}RtkStdLat")
    height = real(xmp, f"{_NS}RtkStdHgt")
    xy = None if plane is None else math.hypot(*plane) / math.sqrt(2.0)
    return xy or None, height if height is not None and height > 0.0 else None


def _compared(found: Place, known: Place) -> Place:
    north = (found.latitude - known.latitude) * _EARTH_M
    turn = (found.longitude - known.longitude + 180.0) % 360.0 - 180.0
    east = turn * _EARTH_M * math.cos(math.radians(found.latitude))
    apart = math.hypot(north, east)
    if found.z_m is None and known.z_m is not None:
        source = f"{found.source}, {known.source} (height)"
        found = replace(found, z_m=known.z_m, rough=known.rough, source=source)
    if found.xy_sd_m is None:
        found = replace(found, xy_sd_m=known.xy_sd_m)
    if apart <= _NOTED_M:
        return found
    note = f"position of DJI's XMP; that of {known.source} lies {apart:.1f} m away"
    return replace(found, assumed=(*found.assumed, note))


def above_take_off_m(carried: Carried) -> float | None:
    """RelativeAltitude, above 0; None without one."""
    height = real(carried.xmp, f"{_NS}RelativeAltitude")
    return height if height is not None and height > 0.0 else None


def optics(carried: Carried) -> Optics | None:
    """The calibration of this camera, else that of its design; None without any."""
    tagged = _tagged_size(carried)
    designed = real(carried.xmp, f"{_NS}CalibratedFocalLength")
    lens, source, notes = _dewarped(carried.xmp, tagged, designed)
    if lens is None and designed is not None:
        centre = _designed_centre(carried.xmp) or (0.5 * tagged.width, 0.5 * tagged.height)
        lens = perspective_lens(tagged, (designed, designed), (centre[0] - 0.5, centre[1] - 0.5))
        source, notes = "DJI XMP (designed focal length)", ()
    upright = None if lens is None else looked_at(lens.resized(carried.size), carried.orientation)
    return None if upright is None else Optics(lens=upright, source=source, assumed=notes)


def _dewarped(
    xmp: Mapping[str, str], tagged: Size, designed: float | None
) -> tuple[PerspectiveCamera | None, str, tuple[str, ...]]:
    for name, count, notes in (
        ("DewarpData", 9, ()),
        ("DewarpDataK6", 12, ("terms of DewarpDataK6 in the order k1 k2 p1 p2 k3 k4 k5 k6",)),
    ):
        terms = numbers(xmp.get(_NS + name, "").rpartition(";")[2], count)
        if terms is None:
            continue
        fx, fy, cx, cy, *distortion = terms
        if designed and not 1.0 / _ALIKE <= fx / designed <= _ALIKE:
            continue
        flat = real(xmp, f"{_NS}DewarpFlag") == 1.0
        lens = perspective_lens(
            tagged,
            (fx, fy),
            (0.5 * (tagged.width - 1) + cx, 0.5 * (tagged.height - 1) + cy),
            () if flat else tuple(distortion),
        )
        if lens is not None:
            return lens, f"DJI XMP ({name}{', dewarped' if flat else ''})", () if flat else notes
    return None, "", ()


def _tagged_size(carried: Carried) -> Size:
    """The size that calibrations speak of: EXIF's, unless twice the designed centre is another.

    Programs that make photos smaller may change EXIF's size and leave XMP as it is.
    """
    tagged, centre = exif.tagged_size(carried), _designed_centre(carried.xmp)
    if centre is None:
        return tagged
    twice = Size(round(2.0 * centre[0]), round(2.0 * centre[1]))
    near = 1.0 / _ALIKE <= twice.width / tagged.width <= _ALIKE
    return tagged if near or not exif.same_shape(twice, tagged) else twice


def _designed_centre(xmp: Mapping[str, str]) -> tuple[float, float] | None:
    centre = reals(xmp, f"{_NS}CalibratedOpticalCenterX", f"{_NS}CalibratedOpticalCenterY")
    return (centre[0], centre[1]) if centre is not None and min(centre) > 0.0 else None
