"""What stands in a photo's file besides its pixels: size, EXIF, XMP. Nothing is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attachtrans.errors import ImageError
from attachtrans.image import heif, plain, png, sniff, tiff_file, webp
from attachtrans.image.base import Media, Untouchable
from attachtrans.image.ifd import Block
from attachtrans.image.jpeg_file import metadata_of, read_partial
from attachtrans.types import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What was found; None for what is missing or damaged.

    size  stored, except of HEIC, whose decoder turns pictures upright
    exif  directories of EXIF; of a TIFF the file's own, which hold the same tags
    xmp   packet, UTF-8
    """

    media: Media
    size: Size | None = None
    exif: Block | None = None
    xmp: bytes | None = None


def read_head(data: bytes) -> Head:
    """Read the head of a photo's file.

    Kinds that are not translated (several pictures, motion photos, camera raw built on TIFF) are
    read as well. A HEIC without the extra attachtrans[heif], and what is no photo, come back with
    their media alone.

    Raises:
        ImageError: the file is damaged before its head ends.
    """
    media = sniff.sniff(data[:4096])
    reader = _READERS.get(media.media_type)
    try:
        return Head(media=media) if reader is None else reader(media, data)
    except Untouchable:
        return Head(media=media)


def _block(data: bytes | None) -> Block | None:
    """A damaged block is no reason to do without the rest."""
    try:
        return Block(data) if data else None
    except ImageError:
        return None


def _jpeg(media: Media, data: bytes) -> Head:
    segments, frame = read_partial(data)
    metadata = metadata_of(segments)
    size = None if frame is None else frame.size
    return Head(media=media, size=size, exif=_block(metadata.exif), xmp=metadata.xmp)


def _png(media: Media, data: bytes) -> Head:
    chunks = tuple(png.read_chunks(data, strict=False))
    metadata = png.metadata_of(chunks)
    size = png.read_ihdr(chunks).size
    return Head(media=media, size=size, exif=_block(metadata.exif), xmp=metadata.xmp)


def _webp(media: Media, data: bytes) -> Head:
    header = webp.read_header(tuple(webp.read_chunks(data, strict=False)))
    metadata = webp.metadata_of(header.chunks)
    return Head(media=media, size=header.size, exif=_block(metadata.exif), xmp=metadata.xmp)


def _tiff(media: Media, data: bytes) -> Head:
    block = Block(data)
    packet = block.first().entries.get(tiff_file.XMP)
    return Head(
        media=media,
        size=tiff_file.sides(block),
        exif=block,
        xmp=None if packet is None else block.bytes_of(packet),
    )


def _heif(media: Media, data: bytes) -> Head:
    size, metadata = heif.read_head(data)
    return Head(media=media, size=size, exif=_block(metadata.exif), xmp=metadata.xmp)


def _plain(media: Media, data: bytes) -> Head:
    return Head(media=media, size=Size(*plain.size_of(data)))


_READERS: dict[str, Callable[[Media, bytes], Head]] = {
    sniff.JPEG.media_type: _jpeg,
    sniff.PNG.media_type: _png,
    sniff.WEBP.media_type: _webp,
    sniff.TIFF.media_type: _tiff,
    sniff.HEIC.media_type: _heif,
    sniff.HEIF.media_type: _heif,
    sniff.BMP.media_type: _plain,
    sniff.GIF.media_type: _plain,
}
