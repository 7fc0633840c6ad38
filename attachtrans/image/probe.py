"""What the header of a file says, for `info`: nothing is decoded, and a file's start suffices."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from attachtrans.errors import ImageError
from attachtrans.image import heif, jpeg, plain, png, sniff, tiff, tiff_file, webp
from attachtrans.image.arrays import turned
from attachtrans.image.base import Media, Metadata, Probe, Untouchable
from attachtrans.image.exif import ExifFacts, facts_of, read_exif
from attachtrans.image.ifd import Block
from attachtrans.image.jpeg_file import metadata_of, mp_previews, read_partial
from attachtrans.image.photo import READERS, unread
from attachtrans.types import Size

_BYTE = np.dtype(np.uint8)


def probe(data: bytes) -> Probe:
    """Read what the header says of a file or of its first 256 KiB.

    A sound header does not promise that the file can be decoded. What stands behind the pixels
    (the tags of most TIFF files, a motion photo's video) is missed in a file's start.
    """
    media = sniff.sniff(data[:4096])
    if media.media_type not in READERS:
        return Probe(media=media, skip=unread(media))
    try:
        return _PROBES[media.media_type](media, data)
    except Untouchable as reason:
        return Probe(media=media, skip=str(reason))
    except ImageError:
        return Probe(media=media)


def _facts(metadata: Metadata) -> ExifFacts:
    try:
        return read_exif(metadata.exif)
    except ImageError:
        return ExifFacts()


def _jpeg(media: Media, data: bytes) -> Probe:
    segments, frame = read_partial(data)
    metadata = metadata_of(segments)
    facts = _facts(metadata)
    skip = jpeg.special(segments, metadata)
    try:
        mp_previews(segments)
    except Untouchable as reason:
        skip = skip or str(reason)
    return Probe(
        media=media,
        size=None if frame is None else turned(frame.size, facts.orientation),
        bands=None if frame is None else (1 if len(frame.sampling) == 1 else 3),
        dtype=_BYTE,
        orientation=facts.orientation,
        has_gps=facts.has_gps,
        heading_deg=facts.heading_deg,
        skip=skip,
    )


def _png(media: Media, data: bytes) -> Probe:
    chunks = tuple(png.read_chunks(data, strict=False))
    head = png.read_ihdr(chunks)
    facts = _facts(png.metadata_of(chunks))
    return Probe(
        media=media,
        size=turned(head.size, facts.orientation),
        bands=head.bands,
        dtype=head.dtype,
        orientation=facts.orientation,
        has_gps=facts.has_gps,
        heading_deg=facts.heading_deg,
        skip=png.special(chunks),
    )


def _webp(media: Media, data: bytes) -> Probe:
    header = webp.read_header(tuple(webp.read_chunks(data, strict=False)))
    facts = _facts(webp.metadata_of(header.chunks))
    return Probe(
        media=media,
        size=turned(header.size, facts.orientation),
        bands=3,
        dtype=_BYTE,
        orientation=facts.orientation,
        has_gps=facts.has_gps,
        heading_deg=facts.heading_deg,
        skip=webp.special(header),
    )


def _tiff(media: Media, data: bytes) -> Probe:
    block = Block(data)
    skip = tiff_file.special(block)
    facts = facts_of(block)
    size = turned(tiff_file.sides(block), facts.orientation)
    if skip is not None:
        return Probe(media=media, size=size, orientation=facts.orientation, skip=skip)
    layout = tiff.read_layout(block)
    return Probe(
        media=media,
        size=size,
        bands=layout.bands,
        dtype=layout.dtype,
        orientation=facts.orientation,
        has_gps=facts.has_gps,
        heading_deg=facts.heading_deg,
    )


def _plain(media: Media, data: bytes) -> Probe:
    return Probe(media=media, size=Size(*plain.size_of(data)), dtype=_BYTE)


def _heif(media: Media, data: bytes) -> Probe:
    del data  # its header is a tree of boxes that only the decoder reads
    missing = find_spec("pillow_heif") is None
    return Probe(media=media, skip=heif.MISSING_EXTRA if missing else None)


_PROBES: dict[str, Callable[[Media, bytes], Probe]] = {
    sniff.JPEG.media_type: _jpeg,
    sniff.PNG.media_type: _png,
    sniff.WEBP.media_type: _webp,
    sniff.TIFF.media_type: _tiff,
    sniff.BMP.media_type: _plain,
    sniff.GIF.media_type: _plain,
    sniff.HEIC.media_type: _heif,
    sniff.HEIF.media_type: _heif,
}
