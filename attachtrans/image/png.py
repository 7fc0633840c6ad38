"""PNG: 8 and 16 bits, grey, colour and palette, with or without alpha; every chunk carried.

Source: PNG specification, third edition (W3C, 2025). A palette becomes full colour, bit depths
below 8 become 8, and interlacing is not repeated; the picture shown is the same.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import imagecodecs
import numpy as np

from attachtrans.errors import ImageError
from attachtrans.image.arrays import interleaved, planes, with_alpha
from attachtrans.image.base import Job, Limits, Metadata, Raster, Untouchable
from attachtrans.types import Size

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_SIDE = 2**31 - 1

_XMP_KEYWORD = b"XML:com.adobe.xmp\0"
_LEVEL = 6  # of zlib, what most programs write
_MAX_PROFILE_BYTES = 64 * 1024**2
_COLOURS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}
# Chunks that describe samples of the old coding; others are carried.
_CODING = frozenset({b"IHDR", b"PLTE", b"tRNS", b"hIST", b"IDAT", b"IEND"})
_FILL = b"\0\xff\n\r "
_PER_COLOUR_TYPE = frozenset({b"sBIT", b"bKGD"})


class Chunk(NamedTuple):
    """A chunk; `encoded` is as it lies in the file, with length and CRC."""

    name: bytes
    body: bytes

    @property
    def encoded(self) -> bytes:
        """The chunk as it lies in a file."""
        crc = zlib.crc32(self.body, zlib.crc32(self.name))
        return len(self.body).to_bytes(4, "big") + self.name + self.body + crc.to_bytes(4, "big")


class Ihdr(NamedTuple):
    """The header chunk. colour: 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGB + alpha."""

    size: Size
    depth: int
    colour: int

    @property
    def bands(self) -> int:
        """Bands without alpha."""
        return _COLOURS[self.colour]

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The type after decoding."""
        return np.dtype(np.uint16 if self.depth == 16 else np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Png:
    """The chunks around the samples, and the colour type that they belong to."""

    before: tuple[Chunk, ...]
    after: tuple[Chunk, ...]
    colour: int
    metadata: Metadata


def read_chunks(data: bytes, *, strict: bool) -> Iterator[Chunk]:
    """All chunks in order; IDAT without its body.

    Raises ImageError when one is cut off or damaged; not strict: just ends there.
    """
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            break
        if strict:
            crc = zlib.crc32(memoryview(data)[at + 4 : end - 4])
            if crc != int.from_bytes(data[end - 4 : end], "big"):
                raise ImageError(f"the PNG is damaged: wrong checksum of its chunk at byte {at}")
        yield Chunk(name, b"" if name == b"IDAT" else data[at + 8 : end - 4])
        if name == b"IEND":
            if strict and data[end:].strip(_FILL):
                rest = len(data) - end
                raise Untouchable(f"{rest} bytes of unknown data follow the picture")
            return
        at = end
    if strict:
        raise ImageError("the PNG is truncated: its end (IEND) is missing")


def read_ihdr(chunks: tuple[Chunk, ...]) -> Ihdr:
    """Parse the header chunk. Raises ImageError when it is missing or wrong."""
    if not chunks or chunks[0].name != b"IHDR" or len(chunks[0].body) != 13:
        raise ImageError("the PNG is damaged: its header (IHDR) is missing")
    body = chunks[0].body
    size = Size(int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big"))
    if min(size) == 0 or body[9] not in _COLOURS:
        raise ImageError("the PNG is damaged: its header (IHDR) makes no sense")
    return Ihdr(size, body[8], body[9])


def special(chunks: tuple[Chunk, ...]) -> str | None:
    """Why a file with these chunks is not re-encoded, None when it may be."""
    if any(chunk.name == b"acTL" for chunk in chunks):
        return "an animation (APNG): its frames would be lost"
    return None


def metadata_of(chunks: tuple[Chunk, ...]) -> Metadata:
    """The blocks that travel. Raises ImageError when the ICC profile cannot be unpacked."""
    exif = next((chunk.body for chunk in chunks if chunk.name == b"eXIf"), None)
    texts = (chunk.body for chunk in chunks if chunk.name == b"iTXt")
    xmp = next((text for body in texts if (text := _xmp_of(body)) is not None), None)
    icc = next((_profile_of(chunk.body) for chunk in chunks if chunk.name == b"iCCP"), None)
    return Metadata(exif=exif, xmp=xmp, icc=icc)


def _xmp_of(body: bytes) -> bytes | None:
    # Keyword NUL, compression flag and method, language NUL, translated keyword NUL, text.
    if not body.startswith(_XMP_KEYWORD):
        return None
    compressed = body[len(_XMP_KEYWORD)]
    text = body[len(_XMP_KEYWORD) + 2 :].split(b"\0", 2)[-1]
    return _unpacked(text) if compressed else text


def _profile_of(body: bytes) -> bytes:
    return _unpacked(body.split(b"\0", 1)[-1][1:])


def _unpacked(packed: bytes) -> bytes:
    machine = zlib.decompressobj()
    try:
        result = machine.decompress(packed, _MAX_PROFILE_BYTES)
    except zlib.error as error:
        raise ImageError(
            f"the PNG is damaged: a compressed chunk cannot be read: {error}"
        ) from error
    if not machine.eof:
        raise ImageError("the PNG is damaged: a compressed chunk is incomplete or absurdly large")
    return result


def decode(data: bytes, limits: Limits) -> Raster:
    """Decode to 1 or 3 bands of uint8 or uint16. Raises ImageError, Untouchable for animations."""
    # The header comes first, so that a bomb is refused before anything else is looked at.
    head = read_ihdr(tuple(itertools.islice(read_chunks(data, strict=True), 1)))
    limits.check(head.size, head.bands + 1, head.dtype)
    chunks = tuple(read_chunks(data, strict=True))
    reason = special(chunks)
    if reason is not None:
        raise Untouchable(reason)
    try:
        samples = planes(imagecodecs.png_decode(data))
    except imagecodecs.PngError as error:
        raise ImageError(f"the PNG is damaged: {error}") from error
    has_alpha = samples.shape[0] in {2, 4}
    metadata = metadata_of(chunks)
    first = [chunk.name for chunk in chunks].index(b"IDAT")
    native = Png(before=chunks[:first], after=chunks[first:], colour=head.colour, metadata=metadata)
    return Raster(
        pixels=samples[:-1] if has_alpha else samples,
        alpha=samples[-1] if has_alpha else None,
        metadata=metadata,
        native=native,
    )


def encode(job: Job) -> bytes:
    """Write 1 or 3 bands of uint8 or uint16, with alpha if there is one."""
    native = job.native if isinstance(job.native, Png) else None
    samples = interleaved(with_alpha(job.pixels, job.alpha))
    coded = imagecodecs.png_encode(
        samples[:, :, 0] if samples.shape[2] == 1 else samples, level=_LEVEL
    )
    header_end = len(SIGNATURE) + 25
    colour = coded[len(SIGNATURE) + 17]
    before: list[Chunk] = []
    after: list[Chunk] = []
    held: set[str] = set()
    if native is not None:
        before = _carried(job, native, native.before, colour)
        after = _carried(job, native, native.after, colour)
        held = {_kind(chunk) for chunk in native.before + native.after}
    before += [
        _made(kind, block)
        for kind in ("icc", "exif", "xmp")
        if kind not in held and (block := getattr(job.metadata, kind)) is not None
    ]
    parts = [chunk.encoded for chunk in before], [chunk.encoded for chunk in after]
    return b"".join((coded[:header_end], *parts[0], coded[header_end:-12], *parts[1], coded[-12:]))


def _kind(chunk: Chunk) -> str:
    if chunk.name == b"iTXt" and chunk.body.startswith(_XMP_KEYWORD):
        return "xmp"
    return {b"eXIf": "exif", b"iCCP": "icc"}.get(chunk.name, "")


def _made(kind: str, block: bytes) -> Chunk:
    if kind == "exif":
        return Chunk(b"eXIf", block)
    if kind == "xmp":
        return Chunk(b"iTXt", _XMP_KEYWORD + b"\0\0\0\0" + block)
    return Chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(block))


def _carried(job: Job, native: Png, chunks: tuple[Chunk, ...], colour: int) -> list[Chunk]:
    result: list[Chunk] = []
    for chunk in chunks:
        kind = _kind(chunk)
        block = getattr(job.metadata, kind) if kind else None
        if kind and block != getattr(native.metadata, kind):
            result += [] if block is None else [_made(kind, block)]
        elif _stays(chunk, same_colour=colour == native.colour, anonymise=job.anonymise):
            result.append(chunk)
    return result


def _stays(chunk: Chunk, *, same_colour: bool, anonymise: bool) -> bool:
    if chunk.name in _CODING or (chunk.name in _PER_COLOUR_TYPE and not same_colour):
        return False
    # ImageMagick's copies of EXIF blocks and private chunks may hold pictures.
    private = chunk.name[1:2].islower() or chunk.body.startswith(b"Raw profile type")
    return not (anonymise and private)
