"""WebP stills, lossy and lossless, with or without alpha; all chunks carried.

Source: WebP container specification (RFC 9649). Lossless stays lossless. A lossy file does not
tell its quality in a way that its encoder would take, so `DEFAULT_QUALITY` is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import imagecodecs
import numpy as np

from attachtrans.errors import ImageError
from attachtrans.image.arrays import interleaved, planes, with_alpha
from attachtrans.image.base import Job, Limits, Metadata, Raster, Untouchable
from attachtrans.types import Size

MAX_SIDE = 16_383
DEFAULT_QUALITY = 90

_HEAD_BYTES = 12
_ICC_FLAG, _ALPHA_FLAG, _EXIF_FLAG, _XMP_FLAG, _ANIMATION_FLAG = 0x20, 0x10, 0x08, 0x04, 0x02
_PICTURE = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"})
_BLOCKS = frozenset({b"ICCP", b"EXIF", b"XMP "})
_EXIF_HEAD = b"Exif\0\0"


class Chunk(NamedTuple):
    """A RIFF chunk."""

    name: bytes
    body: bytes

    @property
    def encoded(self) -> bytes:
        """The chunk as it lies in a file, padded to an even length."""
        pad = bytes(len(self.body) % 2)
        return self.name + len(self.body).to_bytes(4, "little") + self.body + pad


@dataclass(frozen=True, slots=True, kw_only=True)
class Webp:
    """Whether the picture is lossless, and the chunks that nobody here knows."""

    lossless: bool
    others: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the chunks say; size is stored."""

    size: Size
    has_alpha: bool
    lossless: bool
    animated: bool
    chunks: tuple[Chunk, ...]


def read_chunks(data: bytes, *, strict: bool) -> Iterator[Chunk]:
    """All chunks in order. Raises ImageError when one is cut off; not strict: just ends there."""
    end = int.from_bytes(data[4:8], "little") + 8
    if strict and end > len(data):
        raise ImageError(f"the WebP is truncated: {len(data)} of {end} bytes are there")
    if strict and data[end:].strip(b"\0\xff\n\r "):
        raise Untouchable(f"{len(data) - end} bytes of unknown data follow the picture")
    at = _HEAD_BYTES
    while at + 8 <= min(end, len(data)):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if strict and at + 8 + length > end:
            raise ImageError(f"the WebP is damaged: its chunk at byte {at} is cut off")
        yield Chunk(data[at : at + 4], data[at + 8 : at + 8 + length])
        at += 8 + length + length % 2


def read_header(chunks: tuple[Chunk, ...]) -> Header:
    """Read size and kind. Raises ImageError when the chunks hold no picture."""
    bodies = {chunk.name: chunk.body for chunk in reversed(chunks)}
    lossless = b"VP8L" in bodies
    extended = bodies.get(b"VP8X", b"")
    if len(extended) >= 10:
        size = Size(*(int.from_bytes(extended[at : at + 3], "little") + 1 for at in (4, 7)))
        has_alpha = bool(extended[0] & _ALPHA_FLAG)
    elif lossless and len(bodies[b"VP8L"]) >= 5:
        bits = int.from_bytes(bodies[b"VP8L"][1:5], "little")
        size = Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        has_alpha = bool(bits >> 28 & 1)
    elif len(bodies.get(b"VP8 ", b"")) >= 10:
        frame = bodies[b"VP8 "]
        size = Size(*(int.from_bytes(frame[at : at + 2], "little") & 0x3FFF for at in (6, 8)))
        has_alpha = False
    else:
        raise ImageError("the WebP is damaged: it holds no picture")
    animated = bool(extended) and bool(extended[0] & _ANIMATION_FLAG)
    return Header(
        size=size, has_alpha=has_alpha, lossless=lossless, animated=animated, chunks=chunks
    )


def special(header: Header) -> str | None:
    """Why a file is not re-encoded, None when it may be."""
    return "an animation (WebP): its frames would be lost" if header.animated else None


def metadata_of(chunks: tuple[Chunk, ...]) -> Metadata:
    """The blocks that travel."""
    bodies = {chunk.name: chunk.body for chunk in reversed(chunks)}
    # Some writers put JPEG's prefix before the block; no reader misses it.
    exif = bodies.get(b"EXIF", b"").removeprefix(_EXIF_HEAD)
    return Metadata(exif=exif or None, xmp=bodies.get(b"XMP "), icc=bodies.get(b"ICCP"))


def decode(data: bytes, limits: Limits) -> Raster:
    """Decode to 3 bands of uint8. Raises ImageError, Untouchable for animations."""
    header = read_header(tuple(read_chunks(data, strict=True)))
    limits.check(header.size, 4, np.dtype(np.uint8))
    reason = special(header)
    if reason is not None:
        raise Untouchable(reason)
    try:
        samples = planes(imagecodecs.webp_decode(data))
    except imagecodecs.WebpError as error:
        raise ImageError(f"the WebP is damaged: {error}") from error
    others = tuple(chunk for chunk in header.chunks if chunk.name not in _PICTURE | _BLOCKS)
    return Raster(
        pixels=samples[:3],
        alpha=samples[3] if len(samples) == 4 else None,
        metadata=metadata_of(header.chunks),
        native=Webp(lossless=header.lossless, others=others),
    )


def encode(job: Job) -> bytes:
    """Write 3 bands of uint8 (1 is repeated), with alpha if there is one."""
    native = job.native if isinstance(job.native, Webp) else None
    pixels = job.pixels
    if len(pixels) == 1:
        pixels = np.repeat(pixels, 3, axis=0)
    samples = interleaved(with_alpha(pixels, job.alpha))
    lossless = native is not None and native.lossless and job.quality is None
    quality = job.quality or DEFAULT_QUALITY
    coded = bytes(imagecodecs.webp_encode(samples, level=quality, lossless=lossless))
    header = read_header(tuple(read_chunks(coded, strict=True)))
    picture = [chunk for chunk in header.chunks if chunk.name in _PICTURE - {b"VP8X"}]
    metadata = job.metadata
    blocks = {b"ICCP": metadata.icc, b"EXIF": metadata.exif, b"XMP ": metadata.xmp}
    flags = sum(
        flag
        for flag, there in (
            (_ICC_FLAG, metadata.icc),
            (_ALPHA_FLAG, header.has_alpha),
            (_EXIF_FLAG, metadata.exif),
            (_XMP_FLAG, metadata.xmp),
        )
        if there
    )
    made = {name: [Chunk(name, body)] if body else [] for name, body in blocks.items()}
    # RFC 9649, 2.7: VP8X, ICCP, the picture, EXIF, XMP, unknown chunks.
    chunks = [*made[b"ICCP"], *picture, *made[b"EXIF"], *made[b"XMP "]]
    if native is not None and not job.anonymise:
        chunks += native.others
    if len(chunks) > 1:
        sides = b"".join((side - 1).to_bytes(3, "little") for side in job.size)
        chunks.insert(0, Chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sides))
    body = b"WEBP" + b"".join(chunk.encoded for chunk in chunks)
    return b"RIFF" + len(body).to_bytes(4, "little") + body
