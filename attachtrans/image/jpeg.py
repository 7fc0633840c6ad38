"""JPEG: decoded strictly by libjpeg-turbo, written with the photo's own quantisation tables.

Kept: tables, chroma subsampling (4:4:4, 4:2:2, 4:2:0; rarer ones become 4:4:4, which is finer),
progressive coding, RGB and CMYK coding, and every segment. A quality of its own drops the tables.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from attachtrans.errors import ImageError
from attachtrans.image import cmyk
from attachtrans.image.arrays import interleaved, planes
from attachtrans.image.base import Job, Limits, Metadata, Pixels, Raster, Untouchable
from attachtrans.image.jpeg_file import (
    APP0,
    APP14,
    COM,
    EXIF_HEAD,
    EXIF_LIMIT,
    ICC_HEAD,
    IPTC_HEAD,
    MAX_PAYLOAD,
    XMP_HEAD,
    Header,
    Segment,
    check_ending,
    find_end,
    metadata_of,
    read_header,
)
from attachtrans.image.xmp import skip_reason, without_padding

MAX_SIDE = 65_535
DEFAULT_QUALITY = 92

_APP1, _APP2, _APP13 = 0xE1, 0xE2, 0xED
_CHUNK = MAX_PAYLOAD - len(ICC_HEAD) - 2
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
# Warnings of libjpeg that leave every pixel in place.
_HARMLESS = re.compile(r"\b1?\d extraneous bytes before marker|Unknown Adobe color transform")
# Chroma sampling of (luma, chroma) -> Pillow's number.
_SUBSAMPLING = {(1, 1): 0, (2, 1): 1, (2, 2): 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Jpeg:
    """How a JPEG was coded: colour is "grey", "ycbcr", "rgb" or "cmyk"."""

    header: Header
    metadata: Metadata
    colour: str
    trailer: bytes


def decode(data: bytes, limits: Limits) -> Raster:
    """Decode to 1 or 3 bands of uint8. Raises ImageError, or Untouchable for special photos."""
    header = read_header(data)
    _check_kind(header)
    size = header.frame.size
    if min(size) == 0:
        raise ImageError("the JPEG says that it has no pixels")
    limits.check(size, len(header.frame.sampling), np.dtype(np.uint8))
    metadata = metadata_of(header.segments)
    reason = special(header.segments, metadata)
    if reason is not None:
        raise Untouchable(reason)
    end = find_end(data, header)
    trailer = check_ending(data, end, header)
    colour = _colour(header)
    pixels = _pixels(data, colour)
    if colour == "cmyk":
        # Adobe's programs, and after them everybody, store CMYK inverted.
        pixels = cmyk.to_rgb(255 - pixels, metadata.icc)
    native = Jpeg(header=header, metadata=metadata, colour=colour, trailer=trailer)
    return Raster(pixels=planes(pixels), alpha=None, metadata=metadata, native=native)


def special(segments: tuple[Segment, ...], metadata: Metadata) -> str | None:
    """Why a photo with these segments is not re-encoded, None when it may be."""
    if any(segment.kind == "gain-map" for segment in segments):
        return "an HDR photo with a gain map, which would no longer fit"
    return skip_reason(metadata.xmp)


def _check_kind(header: Header) -> None:
    frame = header.frame
    if frame.marker in _LOSSLESS:
        raise Untouchable("a lossless JPEG, which could only be written with losses")
    if frame.precision != 8:
        raise Untouchable(f"a JPEG of {frame.precision} bits, which could only be written in 8")
    if len(frame.sampling) not in {1, 3, 4}:
        raise Untouchable(f"a JPEG with {len(frame.sampling)} components")


def _colour(header: Header) -> str:
    components = len(header.frame.sampling)
    if components != 3:
        return "grey" if components == 1 else "cmyk"
    transform = header.adobe_transform
    has_jfif = any(
        segment.marker == APP0 and segment.payload.startswith(b"JFIF")
        for segment in header.segments
    )
    # The rules of libjpeg: JFIF means YCbCr, then Adobe's marker counts, then the names.
    named_rgb = header.frame.component_ids == tuple(b"RGB")
    is_rgb = transform == 0 if transform is not None else named_rgb
    return "rgb" if is_rgb and not has_jfif else "ycbcr"


def _pixels(data: bytes, colour: str) -> Pixels:
    space = {"grey": "GRAY", "cmyk": "CMYK"}.get(colour, "RGB")
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colorspace=space, strict=True))
    except ValueError as error:
        if not _HARMLESS.search(str(error)):
            raise ImageError(f"the JPEG is damaged: {error}") from error
    return np.asarray(simplejpeg.decode_jpeg(data, colorspace=space, strict=False))


def encode(job: Job) -> bytes:
    """Write a JPEG of 1 or 3 bands of uint8. Raises ImageError when metadata do not fit."""
    native = job.native if isinstance(job.native, Jpeg) else None
    stream = _stream(job, native)
    coded, body = _split(stream)
    if native is None:
        segments = coded + _travelling(job.metadata)
        trailer = b""
    else:
        # The coder's Adobe marker says how the components are to be read; its JFIF says nothing.
        adobe = [segment for segment in coded if segment.marker == APP14]
        segments = _carried(job, native) + adobe
        trailer = b"" if job.anonymise else native.trailer
    return stream[:2] + b"".join(segment.encoded for segment in segments) + body + trailer


def small(image: Image.Image) -> bytes:
    """A JPEG without any metadata, for thumbnails."""
    target = io.BytesIO()
    image.save(target, "JPEG", quality=80)
    stream = target.getvalue()
    return stream[:2] + _split(stream)[1]


def _split(stream: bytes) -> tuple[list[Segment], bytes]:
    segments: list[Segment] = []
    at = 2
    while APP0 <= stream[at + 1] <= 0xEF:
        length = int.from_bytes(stream[at + 2 : at + 4], "big")
        segments.append(Segment(stream[at + 1], stream[at + 4 : at + 2 + length]))
        at += 2 + length
    return segments, stream[at:]


def _stream(job: Job, native: Jpeg | None) -> bytes:
    pixels = interleaved(job.pixels)
    colour = "ycbcr" if native is None else native.colour
    if pixels.shape[2] == 1:
        image = Image.fromarray(pixels[:, :, 0])
    elif colour == "cmyk":
        height, width, _ = pixels.shape
        inks = cmyk.to_inks(pixels, None if native is None else native.metadata.icc)
        image = Image.frombytes("CMYK", (width, height), np.ascontiguousarray(inks).data)
    else:
        image = Image.fromarray(pixels)
    options: dict[str, Any] = {"keep_rgb": colour == "rgb"}
    if native is None:
        options["quality"] = job.quality or DEFAULT_QUALITY
    else:
        frame = native.header.frame
        options["progressive"] = frame.progressive
        options["subsampling"] = _subsampling(frame.sampling)
        if job.quality is None:
            options["qtables"] = _tables(native.header, len(image.getbands()))
        else:
            options["quality"] = job.quality
    target = io.BytesIO()
    image.save(target, "JPEG", **options)
    return target.getvalue()


def _subsampling(sampling: tuple[tuple[int, int], ...]) -> int:
    if len(sampling) != 3:  # inks have no chroma that could be coarser
        return 0
    luma, chroma = sampling[0], sampling[1]
    ratio = (luma[0] // max(chroma[0], 1), luma[1] // max(chroma[1], 1))
    return _SUBSAMPLING.get(ratio, 0)


def _tables(header: Header, bands: int) -> list[list[int]]:
    """One table per component; Pillow lets the last one serve the components after it."""
    numbers = header.frame.tables[:bands]
    missing = sorted(set(numbers) - header.quantisation.keys())
    if missing:
        raise ImageError(f"the JPEG is damaged: its quantisation table {missing[0]} is missing")
    while len(numbers) > 1 and numbers[-1] == numbers[-2]:
        numbers = numbers[:-1]
    return [list(header.quantisation[number]) for number in numbers]


def _travelling(metadata: Metadata) -> list[Segment]:
    """Segments for the blocks that travel, made anew."""
    return [
        segment
        for kind in ("exif", "xmp", "icc", "iptc")
        for segment in _made(kind, getattr(metadata, kind))
    ]


def _made(kind: str, block: bytes | None) -> list[Segment]:
    if block is None:
        return []
    if kind == "exif":
        return [Segment(_APP1, EXIF_HEAD + part) for part in _chunks(block, EXIF_LIMIT)]
    if kind == "iptc":
        room = MAX_PAYLOAD - len(IPTC_HEAD)
        return [Segment(_APP13, IPTC_HEAD + part) for part in _chunks(block, room)]
    if kind == "icc":
        parts = _chunks(block, _CHUNK)
        return [
            Segment(_APP2, ICC_HEAD + bytes((number, len(parts))) + part)
            for number, part in enumerate(parts, start=1)
        ]
    if len(XMP_HEAD + block) > MAX_PAYLOAD:
        block = without_padding(block)
    if len(XMP_HEAD + block) > MAX_PAYLOAD:
        message = (
            f"the XMP packet takes {len(block)} bytes, a JPEG holds {MAX_PAYLOAD - len(XMP_HEAD)}; "
            "--format tiff or --format png has no such limit"
        )
        raise ImageError(message)
    return [Segment(_APP1, XMP_HEAD + block)]


def _chunks(block: bytes, size: int) -> list[bytes]:
    return [block[start : start + size] for start in range(0, len(block), size)]


def _carried(job: Job, native: Jpeg) -> list[Segment]:
    """The photo's own segments in their order; those of blocks that did not change as they were."""
    before, after = native.metadata, job.metadata
    made = {
        kind: _made(kind, getattr(after, kind))
        for kind in ("exif", "xmp", "icc", "iptc")
        if getattr(before, kind) != getattr(after, kind)
    }
    result: list[Segment] = []
    for segment in native.header.segments:
        if segment.kind in made:
            result += made[segment.kind]
            made[segment.kind] = []
        elif _stays(segment, native.colour, anonymise=job.anonymise):
            result.append(_without_jfif_thumbnail(segment))
    added = [segment for segments in made.values() for segment in segments]
    start = 1 if result and result[0].marker == APP0 else 0
    return result[:start] + added + result[start:]


def _stays(segment: Segment, colour: str, *, anonymise: bool) -> bool:
    if segment.kind == "mpf" or segment.payload.startswith(b"JFXX\0"):
        return False  # previews and thumbnails of the old picture
    if segment.marker == APP14:
        return colour == "ycbcr"
    if not anonymise or segment.kind in {"exif", "xmp", "icc", "iptc"}:
        return True
    # What makers put elsewhere may be pictures (FlashPix, thermal and depth data).
    return segment.marker == COM or segment.payload.startswith(b"JFIF")


def _without_jfif_thumbnail(segment: Segment) -> Segment:
    if (
        segment.marker == APP0
        and segment.payload.startswith(b"JFIF")
        and segment.payload[12:14] > b"\0\0"
    ):
        return Segment(APP0, segment.payload[:12] + b"\0\0")
    return segment
