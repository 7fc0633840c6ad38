"""XMP packets (UTF-8): values measured in pixels, embedded pictures, signs of special photos.

Packets are edited as bytes, so that all that is not changed stays as it is. Sources: ISO 16684-1;
GPano (developers.google.com/streetview/spherical-metadata); drone-dji as DJI's cameras write it;
Camera: as Pix4D describes it; hdrgm (Adobe gain maps, ISO 21496-1); GCamera motion photos.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from attachtrans.types import Size

_WIDTHS: Final = ("tiff:ImageWidth", "exif:PixelXDimension")
_HEIGHTS: Final = ("tiff:ImageLength", "exif:PixelYDimension")
_ALONG_X: Final = (
    "GPano:FullPanoWidthPixels",
    "GPano:CroppedAreaImageWidthPixels",
    "GPano:CroppedAreaLeftPixels",
    "GPano:LargestValidInteriorRectLeft",
    "GPano:LargestValidInteriorRectWidth",
)
_ALONG_Y: Final = (
    "GPano:FullPanoHeightPixels",
    "GPano:CroppedAreaImageHeightPixels",
    "GPano:CroppedAreaTopPixels",
    "GPano:LargestValidInteriorRectTop",
    "GPano:LargestValidInteriorRectHeight",
)
# The same with fractions.
_REAL_X: Final = (
    "drone-dji:CalibratedFocalLength",
    "drone-dji:CalibratedOpticalCenterX",
    "exif:FocalPlaneXResolution",
)
_REAL_Y: Final = ("drone-dji:CalibratedOpticalCenterY", "exif:FocalPlaneYResolution")
# Lists whose first four numbers are pixels: "date;fx,fy,cx,cy,..." and "C,D,E,F" (rows x, x, y, y).
_DEWARPS: Final = ("drone-dji:DewarpData", "drone-dji:DewarpDataK6")
_AFFINE: Final = "Camera:FisheyeAffineMatrix"

_NAMES = "|".join(
    (*_WIDTHS, *_HEIGHTS, *_ALONG_X, *_ALONG_Y, *_REAL_X, *_REAL_Y, *_DEWARPS, _AFFINE)
)
# name="value" or <name>value<; the second also meets closing tags, whose "value" is white space.
_PROPERTY = re.compile(
    rf"(?<![\w:-])(?P<name>{_NAMES})(?P<open>\s*=\s*[\"']|>)(?P<value>[^\"'<]+)(?=[\"'<])".encode()
)
_MORE_DIGITS: Final = 4
_PADDING = re.compile(rb"\s{64,}(?=<\?xpacket end)")

_PICTURES: Final = ("xmp:Thumbnails", "xap:Thumbnails", "GImage:Data", "GDepth:Data", "GAudio:Data")
_EXTENDED: Final = "xmpNote:HasExtendedXMP"
_PICTURE_ELEMENT = re.compile(
    rf"<(?P<name>{'|'.join((*_PICTURES, _EXTENDED))})\b[^>]*(/>|>.*?</(?P=name)>)\s*".encode(),
    re.DOTALL,
)
_PICTURE_ATTRIBUTE = re.compile(
    rf"\s+(?:{'|'.join((*_PICTURES, _EXTENDED))})\s*=\s*(\"[^\"]*\"|'[^']*')".encode()
)

_GAIN_MAP = re.compile(rb"hdrgm:Version|Semantic\s*(=\s*[\"']|>)GainMap")
_MOTION = re.compile(
    rb"(MotionPhoto|MicroVideo)\s*(=\s*[\"']|>)\s*1\b|Semantic\s*(=\s*[\"']|>)MotionPhoto"
)


def skip_reason(packet: bytes | None) -> str | None:
    """Why a photo with this packet is not re-encoded, None when it may be."""
    if packet is None:
        return None
    if _MOTION.search(packet):
        return "a motion photo: its video would be lost"
    if _GAIN_MAP.search(packet):
        return "an HDR photo with a gain map, which would no longer fit"
    return None


def scale_xmp(packet: bytes, before: Size, after: Size) -> bytes:
    """Correct what is measured in pixels for a new stored size; the same bytes when it is equal."""
    if before == after:
        return packet
    x, y = after.width / before.width, after.height / before.height
    changes: dict[str, Callable[[str], str]] = {
        **dict.fromkeys(_WIDTHS, lambda _: str(after.width)),
        **dict.fromkeys(_HEIGHTS, lambda _: str(after.height)),
        **dict.fromkeys(_ALONG_X, lambda text: str(round(float(text) * x))),
        **dict.fromkeys(_ALONG_Y, lambda text: str(round(float(text) * y))),
        **dict.fromkeys(_REAL_X, lambda text: _scaled(text, x)),
        **dict.fromkeys(_REAL_Y, lambda text: _scaled(text, y)),
        **dict.fromkeys(_DEWARPS, lambda text: _scaled_list(text, (x, y, x, y))),
        _AFFINE: lambda text: _scaled_list(text, (x, x, y, y)),
    }

    def change(match: re.Match[bytes]) -> bytes:
        name, opening, value = match["name"], match["open"], match["value"]
        if not value.strip():
            return match[0]
        try:
            text = changes[name.decode()](value.decode())
        except ValueError:
            return match[0]  # nonsense before, nonsense after: no reason to refuse the photo
        return name + opening + text.encode()

    return _PROPERTY.sub(change, packet)


def _scaled(text: str, factor: float) -> str:
    """A number or a fraction, with its digits and as many more as a broken factor brings."""
    if "/" in text:
        top, bottom = text.split("/")
        return f"{round(int(top) * factor * 1000)}/{int(bottom) * 1000}"
    decimals = len(text.strip().partition(".")[2]) + (0 if factor.is_integer() else _MORE_DIGITS)
    return f"{float(text) * factor:.{decimals}f}"


def _scaled_list(text: str, factors: tuple[float, ...]) -> str:
    head, separator, tail = text.rpartition(";")
    parts = tail.split(",")
    scaled = [_scaled(part, factor) for part, factor in zip(parts, factors, strict=False)]
    return head + separator + ",".join(scaled + parts[len(factors) :])


def without_pictures(packet: bytes) -> bytes:
    """The packet without thumbnails, depth maps and the pointer to extended XMP."""
    return _PICTURE_ATTRIBUTE.sub(b"", _PICTURE_ELEMENT.sub(b"", packet))


def without_padding(packet: bytes) -> bytes:
    """The packet without the white space that is kept for editors before its end."""
    return _PADDING.sub(b"\n", packet)
