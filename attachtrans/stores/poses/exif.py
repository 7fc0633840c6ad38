"""Position, compass, lens and time from EXIF, and the same from its mirror in XMP.

What EXIF leaves open is decided here and said in `assumed`: heights have no datum (phones mean sea
level, Exif 3.0 the ellipsoid), a compass speaks of a level camera, a 35 mm equivalent of the longer
side. Directions refer to the picture as it is looked at.

Sources: CIPA DC-008 (Exif 2.32 and 3.0); Adobe XMP specification part 2 (exif:GPSLatitude).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pyproj import CRS

from attachtrans.stores.poses.photo_parts import (
    EXIF_IFD,
    GPS_IFD,
    Attitude,
    Carried,
    Optics,
    Place,
    Tag,
    central_lens,
    epsg,
)
from attachtrans.stores.poses.xmp import real
from attachtrans.types import Size

QFIELD_HEIGHT: Final = (
    "height above sea level: QField writes GPSAltitudeRef 1 (below) for heights above"
)
"""Assumed of the sign of a height; compare with the ground where it is known."""

MAKE, MODEL, SOFTWARE = Tag(0, 0x010F), Tag(0, 0x0110), Tag(0, 0x0131)

_LATITUDE_REF, _LATITUDE = Tag(GPS_IFD, 1), Tag(GPS_IFD, 2)
_LONGITUDE_REF, _LONGITUDE = Tag(GPS_IFD, 3), Tag(GPS_IFD, 4)
_ALTITUDE_REF, _ALTITUDE = Tag(GPS_IFD, 5), Tag(GPS_IFD, 6)
_DOP, _TRACK_REF, _TRACK = Tag(GPS_IFD, 11), Tag(GPS_IFD, 14), Tag(GPS_IFD, 15)
_DIRECTION_REF, _DIRECTION = Tag(GPS_IFD, 16), Tag(GPS_IFD, 17)
_DATUM, _ERROR = Tag(GPS_IFD, 18), Tag(GPS_IFD, 31)

_FOCAL_MM, _FOCAL_35 = Tag(EXIF_IFD, 0x920A), Tag(EXIF_IFD, 0xA405)
_PIXELS = Tag(EXIF_IFD, 0xA002), Tag(EXIF_IFD, 0xA003)
_PLANE = Tag(EXIF_IFD, 0xA20E), Tag(EXIF_IFD, 0xA20F)
_PLANE_UNIT, _ZOOM = Tag(EXIF_IFD, 0xA210), Tag(EXIF_IFD, 0xA404)

_UNITS_MM = MappingProxyType({1: 25.4, 2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001})
"""FocalPlaneResolutionUnit -> mm. 1, "none", is an inch as everywhere in EXIF."""
_FILM_MM = 36.0
_USUAL_FOCAL_35 = 28.0
"""Of the main camera of most phones; 65 degrees."""
_RANGE_ERROR_M = 4.0
"""What a dilution of precision of 1 stands for: the error of one satellite's range."""
_CONTRADICTION = 1.2
"""Between two focal lengths of one photo; rounding and the rule of the diagonal make 1.1."""
_SAME_SHAPE = 0.02
_BELOW = frozenset({1, 3})  # 0, 1: at or above, below the sea (Exif 3: the ellipsoid); 2, 3: sea
_DATUMS = MappingProxyType(
    {
        **dict.fromkeys(("", "WGS84", "WGS1984"), 4326),
        "TOKYO": 4301,
        **dict.fromkeys(("NAD83", "NAD1983"), 4269),
        **dict.fromkeys(("NAD27", "NAD1927"), 4267),
        "ETRS89": 4258,
    }
)
_XMP_DEGREES = re.compile(r"(\d{1,3}),(\d{1,2}(?:\.\d+)?)(?:,(\d{1,2}(?:\.\d+)?))?\s*([NSEW])")


def place(carried: Carried) -> Place | None:
    """The GPS position. None without one, and for 0, 0, which stands for "no fix"."""
    tags = carried.exif
    latitude, longitude = (
        _degrees(tags.numbers(value), tags.text(ref), negative, most)
        for value, ref, negative, most in (
            (_LATITUDE, _LATITUDE_REF, "S", 90.0),
            (_LONGITUDE, _LONGITUDE_REF, "W", 180.0),
        )
    )
    if latitude is None or longitude is None:
        return _xmp_place(carried.xmp)
    if latitude == longitude == 0.0:
        return None
    refs = {tags.text(_LATITUDE_REF).upper()[:1], tags.text(_LONGITUDE_REF).upper()[:1]}
    crs, assumed = _datum(tags.text(_DATUM))
    if not refs <= {"N", "S", "E", "W"}:
        assumed += ("northern latitude, eastern longitude: their references are missing",)
    z_m, sign = _height(carried)
    error, accuracy = _position_error(carried)
    return Place(
        longitude=longitude,
        latitude=latitude,
        z_m=z_m,
        crs=crs,
        xy_sd_m=error,
        source="EXIF GPS",
        assumed=(*assumed, *sign, *accuracy),
    )


def _degrees(parts: tuple[float, ...], reference: str, negative: str, most: float) -> float | None:
    """Degrees of up to three numbers: degrees, minutes, seconds."""
    if not parts:
        return None
    value = sum(part / 60.0**power for power, part in enumerate(parts[:3]))
    value = -value if reference.upper().startswith(negative) else value
    return value if abs(value) <= most else None


def _datum(text: str) -> tuple[CRS, tuple[str, ...]]:
    name = re.sub(r"[^A-Z0-9]", "", text.upper())
    if name in _DATUMS:
        return epsg(_DATUMS[name]), ()
    return epsg(4326), (f"position on WGS 84: the datum {text[:40]!r} is not known",)


def _height(carried: Carried) -> tuple[float | None, tuple[str, ...]]:
    tags = carried.exif
    height = tags.number(_ALTITUDE)
    if height is None or height <= 0.0 or int(tags.number(_ALTITUDE_REF) or 0) not in _BELOW:
        return height, ()
    if "QFIELD" in f"{tags.text(MAKE)} {tags.text(SOFTWARE)}".upper():
        return height, (QFIELD_HEIGHT,)
    return -height, ()


def _position_error(carried: Carried) -> tuple[float | None, tuple[str, ...]]:
    error = carried.exif.number(_ERROR)
    if error is not None and error > 0.0:
        return error, ()
    dilution = carried.exif.number(_DOP)
    if dilution is None or dilution <= 0.0:
        return None, ()
    note = f"position good to {_RANGE_ERROR_M:g} m for each 1 of dilution of precision"
    return dilution * _RANGE_ERROR_M, (note,)


def _xmp_place(xmp: Mapping[str, str]) -> Place | None:
    """The position as XMP mirrors EXIF: "46,50.5564N", or with seconds "46,50,33N"."""
    found = [_XMP_DEGREES.fullmatch(xmp.get(f"exif:GPS{n}", "")) for n in ("Latitude", "Longitude")]
    pair = [match.groups() for match in found if match is not None]
    if len(pair) < 2:
        return None
    latitude, longitude = (
        _degrees(tuple(float(part or 0.0) for part in parts[:3]), parts[3], negative, most)
        for parts, negative, most in zip(pair, "SW", (90.0, 180.0), strict=True)
    )
    if latitude is None or longitude is None or latitude == longitude == 0.0:
        return None
    height = real(xmp, "exif:GPSAltitude")
    if height is not None and real(xmp, "exif:GPSAltitudeRef") == 1.0:
        height = -height
    crs, assumed = _datum(xmp.get("exif:GPSMapDatum", ""))
    return Place(
        longitude=longitude,
        latitude=latitude,
        z_m=height,
        crs=crs,
        source="XMP GPS (exif:)",
        assumed=assumed,
    )


def attitude(carried: Carried) -> Attitude | None:
    """The compass, else the course over ground; both with a level camera."""
    bearing, reference = _bearing(carried, _DIRECTION, _DIRECTION_REF, "exif:GPSImgDirection")
    source, notes = "EXIF direction", ["level camera"]
    if bearing is None:
        bearing, reference = _bearing(carried, _TRACK, _TRACK_REF, "exif:GPSTrack")
        source = "EXIF course over ground"
        notes.append("camera looks along the course")
    if bearing is None:
        return None
    if reference not in {"T", "M"}:
        notes.append("direction from true north: its reference is missing")
    return Attitude(
        convention="hpr",
        angles_deg=(bearing, 90.0, 0.0),
        magnetic=reference == "M",
        source=source,
        assumed=tuple(notes),
    )


def _bearing(carried: Carried, tag: Tag, ref: Tag, name: str) -> tuple[float | None, str]:
    bearing, reference = carried.exif.number(tag), carried.exif.text(ref)
    if bearing is None:
        bearing, reference = real(carried.xmp, name), carried.xmp.get(f"{name}Ref", "")
    # -999 and the like are no directions; a few programs count from -180 to 180.
    good = bearing is not None and -180.0 <= bearing <= 360.0
    return bearing if good else None, reference.upper()[:1]


def optics(carried: Carried) -> Optics | None:
    """The lens, through the middle of the picture; None without a focal length."""
    by_film, by_plane = _focal_of_film(carried), _focal_of_plane(carried)
    if by_plane is not None and by_film is not None:
        ratio = max(by_plane) / by_film
        if not 1.0 / _CONTRADICTION <= ratio <= _CONTRADICTION:
            by_plane = None
    if by_plane is not None:
        swapped = by_plane if carried.orientation < 5 else by_plane[::-1]
        lens = central_lens(carried.upright, swapped)
        if lens is not None:
            return Optics(lens=lens, source="EXIF focal length and focal plane resolution")
    lens = central_lens(carried.upright, (by_film, by_film)) if by_film is not None else None
    if lens is None:
        return None
    return Optics(
        lens=lens,
        source="EXIF focal length of 35 mm film",
        assumed=("36 mm of film along the picture's longer side",),
    )


def assumed_optics(size: Size) -> Optics:
    """What is taken where nothing tells the lens.

    Args:
        size: of the upright picture.
    """
    focal = _USUAL_FOCAL_35 / _FILM_MM * max(size)
    return Optics(
        lens=central_lens(size, (focal, focal)),
        source="no focal length",
        assumed=(f"focal length: {_USUAL_FOCAL_35:g} mm of 35 mm film, as of most phones",),
    )


def _focal_of_film(carried: Carried) -> float | None:
    focal = carried.exif.number(_FOCAL_35) or real(carried.xmp, "exif:FocalLengthIn35mmFilm")
    return focal / _FILM_MM * max(carried.size) if focal is not None and focal > 0.0 else None


def _focal_of_plane(carried: Carried) -> tuple[float, float] | None:
    scale, focal = plane_px_per_mm(carried), carried.exif.number(_FOCAL_MM)
    if scale is None or focal is None or focal <= 0.0:
        return None
    zoom = max(carried.exif.number(_ZOOM) or 1.0, 1.0)
    return focal * scale[0] * zoom, focal * scale[1] * zoom


def plane_px_per_mm(carried: Carried) -> tuple[float, float] | None:
    """Stored pixels for each mm of the sensor, along columns and rows; None when not known."""
    unit = _UNITS_MM.get(int(carried.exif.number(_PLANE_UNIT) or 2))
    across, down = (carried.exif.number(tag) for tag in _PLANE)
    if unit is None or across is None or across <= 0.0:
        return None
    # A few cameras give rows per unit of something else; sensors have square pixels.
    square = down is None or not 1.0 / _CONTRADICTION <= down / across <= _CONTRADICTION
    tagged = tagged_size(carried)
    return (
        across / unit * carried.size.width / tagged.width,
        (across if square or down is None else down) / unit * carried.size.height / tagged.height,
    )


def px_per_mm(carried: Carried) -> tuple[float, float] | None:
    """`plane_px_per_mm`, else by the two focal lengths, in mm and of 35 mm film."""
    known, focal = plane_px_per_mm(carried), carried.exif.number(_FOCAL_MM)
    film = _focal_of_film(carried)
    if known is not None or film is None or focal is None or focal <= 0.0:
        return known
    return film / focal, film / focal


def tagged_size(carried: Carried) -> Size:
    """The size that the tags speak of: PixelXDimension x PixelYDimension where it has the shape.

    Programs that make photos smaller often leave tags as they are.
    """
    width, height = (int(carried.exif.number(tag) or 0) for tag in _PIXELS)
    tagged = Size(width, height)
    return tagged if same_shape(tagged, carried.size) else carried.size


def same_shape(one: Size, other: Size) -> bool:
    """Whether two sizes may be of one picture; rounding of small ones included."""
    if min(one) < 1:
        return False
    ratio = (one.width * other.height) / (one.height * other.width)
    return abs(ratio - 1.0) <= _SAME_SHAPE + 1.0 / min(*one, *other)
