"""What says where an image lies, rescaled for the same picture with another number of pixels.

Everything here takes a value as its file has it, the image's size before and after, and gives the
value back in the same form; what is not measured in pixels stays as it is. The ratio is taken per
axis. What lies inside photos (EXIF, XMP, the tags of GeoTIFF) is rescaled where photos are written,
in `image`; our own types rescale themselves (`resized`).

    world files, GeoTransforms, lists of control points, GDAL's "RPC" metadata
    Esri's CameraOrientation strings, oriented imagery rows, rows of Frames and Cameras tables
    OpenSfM's and ODM's cameras.json, 3x3 camera matrices

Sources: the pages of ArcGIS Pro on camera orientation, oriented imagery tables and cameras tables;
OpenSfM's page on camera models; for pixel origins the reader of each form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attachtrans.errors import GeorefError
from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.camera.base import ratios, scaled_px
from attachtrans.types import Size

Floats = NDArray[np.float64]

_SAME = 1e-6
"""How far apart two ratios may be for a form that knows one only: 0.01 px in 10 000."""
_SPHERES = ("spherical", "equirectangular")
_DIRECTIONS = MappingProxyType({"": 1.0, "imagetofilm": 1.0, "filmtoimage": -1.0})
_AFFINE = ("a0", "a1", "a2", "b0", "b1", "b2")
_BEFORE_AFFINE = MappingProxyType({"1": 9, "2": 9, "3": 9, "4": 12})
"""Entries of a CameraOrientation string before A0, by its type; type 4 has a tangent plane in the
place of two WKIDs: latitude, longitude, radius, eccentricity2, kind of angles."""


def scale_geotransform(
    values: Sequence[float], before: Size, after: Size
) -> tuple[float, float, float, float, float, float]:
    """GDAL's GeoTransform (x origin, a, b, y origin, d, e), from the outer corner."""
    x, a, b, y, d, e = values
    across, down = ratios(before, after)
    return (x, a / across, b / down, y, d / across, e / down)


def scale_world_file(text: str, before: Size, after: Size) -> str:
    """A world file; its origin is the centre of the first pixel.

    Raises:
        GeorefError: not six numbers, or no transform.
    """
    t = read_world_file(text)
    across, down = ratios(before, after)
    return world_file(
        PixelToMap(a=t.a / across, b=t.b / down, c=t.c, d=t.d / across, e=t.e / down, f=t.f)
    )


def read_world_file(text: str) -> PixelToMap:
    """The transform from outer-corner pixels; numbers may have a comma for the point.

    Raises:
        GeorefError: not six numbers, or no transform.
    """
    try:
        a, d, b, e, x, y = (float(word.replace(",", ".")) for word in text.split())
        return PixelToMap.read((a, b, x - 0.5 * (a + b), d, e, y - 0.5 * (d + e)))
    except ValueError as error:
        raise GeorefError(
            "a world file has six numbers a, d, b, e, x, y of a transform that can be inverted; "
            f"this one begins {text[:60]!r}"
        ) from error


def world_file(transform: PixelToMap) -> str:
    """The text of a world file of a transform from outer-corner pixels."""
    t = transform
    x, y = t.c + 0.5 * (t.a + t.b), t.f + 0.5 * (t.d + t.e)
    return "".join(f"{value!r}\n" for value in map(float, (t.a, t.d, t.b, t.e, x, y)))


def scale_gcps(pixels: ArrayLike, before: Size, after: Size) -> Floats:
    """(2, N) columns and rows of control points from the outer corner, as GDAL has them."""
    factors = np.array(ratios(before, after))[:, None]
    scaled: Floats = np.asarray(pixels, dtype=np.float64) * factors
    return scaled


def scale_rpc_tags(tags: Mapping[str, str], before: Size, after: Size) -> dict[str, str]:
    """GDAL's "RPC" metadata domain, or the entries of an _RPC.TXT; from the pixel's centre.

    Raises:
        GeorefError: an offset or a scale of line or sample is no number.
    """
    across, down = ratios(before, after)
    scaled = dict(tags)
    for name, text in tags.items():
        kind, _, word = name.upper().partition("_")
        if kind not in {"LINE", "SAMP"} or word not in {"OFF", "SCALE"}:
            continue
        factor = across if kind == "SAMP" else down
        number, *unit = text.split() or [""]
        try:
            value = float(number)
        except ValueError as error:
            raise GeorefError(f"the RPC is damaged: {name} is {text!r}") from error
        new = scaled_px(value, factor) if word == "OFF" else value * factor
        scaled[name] = " ".join([repr(new), *unit])
    return scaled


def scale_camera_orientation(text: str, before: Size, after: Size) -> str:
    """Esri's CameraOrientation: type|H_WKID|V_WKID|X|Y|Z|angles[|A0|A1|A2|B0|B1|B2|FL|...].

    The affine terms lead from film to image (col = A0 + A1 x + A2 y, row = B0 + B1 x + B2 y; from
    the centre of the first pixel) and follow the size; all other entries stay as they are written.
    Strings without them hold nothing in pixels.

    Raises:
        GeorefError: another type than 1 to 4, or affine terms that are no numbers.
    """
    parts = text.split("|")
    start = _BEFORE_AFFINE.get(parts[0].strip())
    if start is None:
        raise GeorefError(
            f"CameraOrientation begins with its type, 1 to 4, not with {parts[0][:20]!r}"
        )
    affine = parts[start : start + 6]
    if not any(part.strip() for part in affine):
        return text
    try:
        values = [float(part) for part in affine]
    except ValueError as error:
        raise GeorefError(f"CameraOrientation: A0 to B2 are {'|'.join(affine)!r}") from error
    if len(values) < 6:
        raise GeorefError(f"CameraOrientation: A0 to B2 end after {len(values)} of 6 numbers")
    scaled = _film_to_image(values, before, after)
    return "|".join([*parts[:start], *map(repr, scaled), *parts[start + 6 :]])


def scale_oriented_imagery_row(row: Mapping[str, Any], before: Size, after: Size) -> dict[str, Any]:
    """A row of an oriented imagery table or dataset, old (OIC) names included.

    Angles, fields of view and all that is in film units stay; A0 to B2 (film to image) and those
    of CameraOrientation follow.

    Raises:
        GeorefError: see `scale_camera_orientation`; some of A0 to B2 without the others.
    """
    scaled = dict(row)
    names = {name.lower(): name for name in row}
    for key in ("cameraorientation", "camori"):
        if row.get(names.get(key, "")):
            scaled[names[key]] = scale_camera_orientation(str(row[names[key]]), before, after)
    values = _affine(row, names)
    if values is not None:
        for key, value in zip(_AFFINE, _film_to_image(values, before, after), strict=True):
            scaled[names[key]] = value
    return scaled


def scale_camera_row(row: Mapping[str, Any], before: Size, after: Size) -> dict[str, Any]:
    """A row of a Cameras table, or of a Frames table that overrides its camera.

    NRows and NColumns become those of `after`; PixelSize and the affine terms follow: A0 to B2 lead
    from image to film (AffineDirection absent, or above 0), or the other way (below 0). The focal
    length, the principal point and the lens are in film units and stay.

    Raises:
        GeorefError: another AffineDirection; PixelSize alone, where columns and rows grow
            differently; some of A0 to B2 without the others.
    """
    across, down = ratios(before, after)
    scaled = dict(row)
    names = {name.lower(): name for name in row}
    for key, side in (("nrows", after.height), ("ncolumns", after.width)):
        if row.get(names.get(key, "")) is not None:
            scaled[names[key]] = side
    values = _affine(row, names)
    if values is not None:
        towards = _image_to_film if _leads_to_film(row, names) else _film_to_image
        for key, value in zip(_AFFINE, towards(values, before, after), strict=True):
            scaled[names[key]] = value
    pitch = row.get(names.get("pixelsize", ""))
    if pitch is not None:
        if values is None and abs(across / down - 1.0) > _SAME:
            raise GeorefError(
                f"PixelSize holds square pixels, but columns grow by {across:.6f} and rows by "
                f"{down:.6f}; give the camera affine terms A0 to B2"
            )
        scaled[names["pixelsize"]] = float(pitch) / float(np.sqrt(across * down))
    return scaled


def scale_opensfm_cameras(
    cameras: Mapping[str, Mapping[str, Any]], before: Size, after: Size
) -> dict[str, dict[str, Any]]:
    """The cameras of OpenSfM's and ODM's cameras.json or reconstruction.json.

    Focal lengths and centres are shares of the longer side, so that only width and height change;
    where columns and rows grow differently, focal_x, focal_y, c_x and c_y follow.

    Raises:
        GeorefError: they grow differently, and the camera has one focal length for both.
    """
    factors = np.array(ratios(before, after)) * max(before) / max(after)
    scaled = {}
    for key, camera in cameras.items():
        one = dict(camera) | {"width": after.width, "height": after.height}
        if np.abs(factors - 1.0).max() > _SAME and one.get("projection_type") not in _SPHERES:
            if "focal_x" not in one:
                raise GeorefError(
                    f"camera {key!r} has one focal length, but columns and rows grow differently: "
                    f"from {before.width} x {before.height} to {after.width} x {after.height}"
                )
            for name, factor in zip(("x", "y"), factors, strict=True):
                for entry in (f"focal_{name}", f"c_{name}"):
                    if entry in one:
                        one[entry] = float(one[entry]) * float(factor)
        scaled[key] = one
    return scaled


def scale_camera_matrix(matrix: ArrayLike, before: Size, after: Size) -> Floats:
    """A camera matrix (3, 3) of OpenCV and others: (0, 0) is the centre of the first pixel."""
    across, down = ratios(before, after)
    larger = np.array(
        [[across, 0.0, 0.5 * across - 0.5], [0.0, down, 0.5 * down - 0.5], [0.0, 0.0, 1.0]]
    )
    scaled: Floats = larger @ np.asarray(matrix, dtype=np.float64)
    return scaled


def _affine(row: Mapping[str, Any], names: Mapping[str, str]) -> list[float] | None:
    """A0 to B2 of a row, None without them."""
    found = [row.get(names.get(key, "")) for key in _AFFINE]
    given = [value for value in found if value is not None and str(value).strip()]
    if not given:
        return None
    try:
        values = [float(value) for value in given]
    except (TypeError, ValueError) as error:
        raise GeorefError(f"A0 to B2 are {found}: six numbers are wanted") from error
    if len(values) < 6:
        raise GeorefError(f"A0 to B2 are {found}: six numbers are wanted")
    return values


def _leads_to_film(row: Mapping[str, Any], names: Mapping[str, str]) -> bool:
    value = row.get(names.get("affinedirection", ""))
    text = "" if value is None else str(value).strip().lower()
    way = _DIRECTIONS.get("".join(filter(str.isalpha, text)))
    if way is None or any(map(str.isdigit, text)):
        try:
            way = float(text)
        except ValueError:
            way = 0.0
    if way == 0.0:
        raise GeorefError(
            f"AffineDirection is {value!r}; 1, ImageToFilm or nothing is from image to film, -1 or "
            "FilmToImage from film to image"
        )
    return way > 0.0


def _film_to_image(values: Sequence[float], before: Size, after: Size) -> list[float]:
    across, down = ratios(before, after)
    a0, a1, a2, b0, b1, b2 = values
    a = [scaled_px(a0, across), a1 * across, a2 * across]
    return [*a, scaled_px(b0, down), b1 * down, b2 * down]


def _image_to_film(values: Sequence[float], before: Size, after: Size) -> list[float]:
    across, down = ratios(before, after)
    # Where the first pixel's centre lies in the old image.
    col, row = scaled_px(0.0, 1.0 / across), scaled_px(0.0, 1.0 / down)
    a0, a1, a2, b0, b1, b2 = values
    a = [a0 + a1 * col + a2 * row, a1 / across, a2 / down]
    return [*a, b0 + b1 * col + b2 * row, b1 / across, b2 / down]
