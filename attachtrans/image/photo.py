"""bytes -> Photo -> bytes: the formats, and what they have in common.

A format module decodes to stored order and encodes from it. Orientation, alpha, EXIF, XMP and the
limits of formats are dealt with once, here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from PIL import Image

from attachtrans.errors import ArgumentError, ImageError
from attachtrans.image import heif, jpeg, plain, png, sniff, tiff, webp
from attachtrans.image.arrays import interleaved, resized_alpha, stored, turned, upright
from attachtrans.image.base import (
    Encoded,
    EncodeOptions,
    Job,
    Limits,
    Media,
    Metadata,
    Photo,
    Pixels,
    Raster,
    Untouchable,
)
from attachtrans.image.exif import ExifChange, patch_exif, read_exif
from attachtrans.image.jpeg_file import EXIF_LIMIT, read_partial
from attachtrans.image.resources import without_thumbnails
from attachtrans.image.xmp import scale_xmp, without_pictures
from attachtrans.types import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """What a format can hold; dtypes and bands are None when it holds any number."""

    media: Media
    encode: Callable[[Job], bytes]
    max_side: int
    dtypes: frozenset[str] | None
    bands: frozenset[int] | None
    has_alpha: bool = True

    def holds(self, dtype: np.dtype[Any], bands: int) -> bool:
        """Whether pixels of this type and number of bands can be written without loss of range."""
        fits_type = self.dtypes is None or dtype.name in self.dtypes
        return fits_type and (self.bands is None or bands in self.bands)


_BYTES, _GREY_OR_COLOUR = frozenset({"uint8"}), frozenset({1, 3})

# Formats by the name that options and messages use.
WRITERS: dict[str, Writer] = {
    "jpeg": Writer(
        media=sniff.JPEG,
        encode=jpeg.encode,
        max_side=jpeg.MAX_SIDE,
        dtypes=_BYTES,
        bands=_GREY_OR_COLOUR,
        has_alpha=False,
    ),
    "png": Writer(
        media=sniff.PNG,
        encode=png.encode,
        max_side=png.MAX_SIDE,
        dtypes=frozenset({"uint8", "uint16"}),
        bands=_GREY_OR_COLOUR,
    ),
    "tiff": Writer(
        media=sniff.TIFF, encode=tiff.encode, max_side=tiff.MAX_SIDE, dtypes=None, bands=None
    ),
    "webp": Writer(
        media=sniff.WEBP,
        encode=webp.encode,
        max_side=webp.MAX_SIDE,
        dtypes=_BYTES,
        bands=_GREY_OR_COLOUR,
    ),
    "bmp": Writer(
        media=sniff.BMP,
        encode=plain.encode_bmp,
        max_side=plain.MAX_SIDE,
        dtypes=_BYTES,
        bands=_GREY_OR_COLOUR,
    ),
}
# What --format may ask for: BMP is only written for photos that are BMP.
OFFERED = ("jpeg", "png", "tiff", "webp")

READERS: dict[str, Callable[[bytes, Limits], Raster]] = {
    sniff.JPEG.media_type: jpeg.decode,
    sniff.PNG.media_type: png.decode,
    sniff.TIFF.media_type: tiff.decode,
    sniff.WEBP.media_type: webp.decode,
    sniff.BMP.media_type: plain.decode,
    sniff.GIF.media_type: plain.decode,
    sniff.HEIC.media_type: heif.decode,
    sniff.HEIF.media_type: heif.decode,
}
# Formats that are read but not written, and what takes their place.
_STAND_INS = {
    sniff.GIF.media_type: "png",
    sniff.HEIC.media_type: "jpeg",
    sniff.HEIF.media_type: "jpeg",
}


def decode(data: bytes, limits: Limits) -> Photo:
    """Decode a photo, upright. Safe in threads.

    Raises Untouchable (an ImageError) for what is not re-encoded by rule: the message is the
    reason, and the bytes are to be kept as they are. Raises ImageError for what is damaged,
    truncated or beyond the limits.
    """
    media = sniff.sniff(data[:4096])
    reader = READERS.get(media.media_type)
    if reader is None:
        raise Untouchable(unread(media))
    raster = reader(data, limits)
    facts = read_exif(raster.metadata.exif)
    alpha = raster.alpha
    return Photo(
        pixels=upright(raster.pixels, facts.orientation),
        alpha=None if alpha is None else upright(alpha, facts.orientation),
        media=media,
        orientation=facts.orientation,
        marks=facts.marks,
        metadata=raster.metadata,
        native=raster.native,
    )


def unread(media: Media) -> str:
    """Why files of a kind that no reader knows are left alone."""
    if media.is_image:
        return f"{media.media_type} pictures are not translated; convert them first"
    return f"not an image ({media.media_type})"


def _own_format(photo: Photo) -> str | None:
    for name, writer in WRITERS.items():
        if writer.media == photo.media:
            return name
    return None


def needs_format(
    photo: Photo, dtype: np.dtype[Any], bands: int, options: EncodeOptions | None = None
) -> str | None:
    """The format that a result needs when the one it would get cannot hold it, else None.

    The one it would get is `options.format`, or the photo's own. Call it with the type and number
    of bands of the result before translating: when it returns a name, overwriting must refuse the
    photo, and appending asks `encode` for that format. Raises ArgumentError for an unknown format.
    """
    name = _chosen(options or EncodeOptions()) or _own_format(photo)
    if name is None:
        stand_in = _STAND_INS[photo.media.media_type]
        if not WRITERS[stand_in].has_alpha and photo.alpha is not None:
            stand_in = "png"
        return stand_in if WRITERS[stand_in].holds(dtype, bands) else "tiff"
    return None if WRITERS[name].holds(dtype, bands) else "tiff"


def _chosen(options: EncodeOptions) -> str | None:
    if options.format is not None and options.format not in OFFERED:
        raise ArgumentError(f"--format is {options.format!r}; choose from {', '.join(OFFERED)}")
    if options.quality is not None and not 1 <= options.quality <= 100:
        raise ArgumentError(f"--quality is {options.quality}; 1 to 100 is allowed")
    return options.format


def encode(
    photo: Photo,
    pixels: Pixels,
    *,
    options: EncodeOptions,
    history: str | None,
    anonymise: bool,
) -> Encoded:
    """Write translated pixels in the photo's place: its format, quality, metadata, orientation.

    pixels is (bands, height, width), upright, of any size, in a type that the format holds (values
    are never clipped or converted here). history becomes a line of ImageHistory; BMP has no place
    for it. anonymise leaves out thumbnails, MakerNotes, previews and whatever makers append.

    Raises ImageError when the format cannot hold the result (see `needs_format`), ArgumentError
    for options that make no sense.
    """
    size = Size(pixels.shape[2], pixels.shape[1])
    name = _chosen(options) or _own_format(photo)
    if name is None:
        message = f"{photo.media.media_type} is read but not written; give --format"
        raise ImageError(message)
    writer = WRITERS[name]
    _check(writer, name, size, pixels)
    alpha = _alpha(photo, writer, size, pixels.dtype)
    before, after = (turned(side, photo.orientation) for side in (photo.size, size))
    flat = stored(pixels, photo.orientation)
    own = name == _own_format(photo)
    change = ExifChange(
        before=before,
        after=after,
        history=history,
        thumbnail=lambda old: _thumbnail(flat, old),
        anonymise=anonymise,
    )
    old = photo.metadata
    # A block that came in several segments may go out in several.
    tight = name == "jpeg" and len(old.exif or b"") <= EXIF_LIMIT
    xmp = None if old.xmp is None else scale_xmp(old.xmp, before, after)
    metadata = Metadata(
        exif=patch_exif(old.exif, change, EXIF_LIMIT if tight else None),
        xmp=xmp,
        icc=_profile(photo, own=own, bands=len(pixels)),
        iptc=old.iptc,
    )
    job = Job(
        pixels=flat,
        alpha=None if alpha is None else stored(alpha, photo.orientation),
        metadata=_without_pictures(metadata) if anonymise else metadata,
        native=photo.native if own else None,
        size_before=before,
        quality=options.quality,
        history=history,
        anonymise=anonymise,
    )
    data = writer.encode(job)
    media = writer.media
    return Encoded(data=data, media_type=media.media_type, extension=media.extension, size=size)


def _check(writer: Writer, name: str, size: Size, pixels: Pixels) -> None:
    if max(size) > writer.max_side:
        message = (
            f"the result has {size.width} x {size.height} pixels, {name} holds "
            f"{writer.max_side} a side; give --format tiff"
        )
        raise ImageError(message)
    if not writer.holds(pixels.dtype, len(pixels)):
        message = (
            f"the result has {len(pixels)} bands of {pixels.dtype.name}, which {name} cannot hold; "
            "give --format tiff"
        )
        raise ImageError(message)


def _alpha(photo: Photo, writer: Writer, size: Size, dtype: np.dtype[Any]) -> Pixels | None:
    if photo.alpha is None:
        return None
    alpha = resized_alpha(photo.alpha, size, dtype)
    if writer.has_alpha:
        return alpha
    if np.issubdtype(dtype, np.integer) and alpha.min() == np.iinfo(dtype).max:
        return None
    raise ImageError("the photo has transparent parts, which jpeg cannot hold; give --format png")


def _profile(photo: Photo, *, own: bool, bands: int) -> bytes | None:
    """The ICC profile, if it is one for the colours that are written."""
    profile = photo.metadata.icc
    if profile is None:
        return None
    space = profile[16:20]
    if space == b"CMYK":  # the net saw sRGB, and another format gets sRGB
        return profile if own and bands == 3 else None
    fitting = {1: b"GRAY", 3: b"RGB "}.get(bands)
    return profile if space == fitting or fitting is None else None


def _without_pictures(metadata: Metadata) -> Metadata:
    xmp, iptc = metadata.xmp, metadata.iptc
    return replace(
        metadata,
        xmp=None if xmp is None else without_pictures(xmp),
        iptc=None if iptc is None else without_thumbnails(iptc) or None,
    )


def _thumbnail(pixels: Pixels, old: bytes) -> bytes | None:
    """A JPEG of the stored pixels that fits into the old thumbnail's sides; None to drop it."""
    frame = read_partial(old)[1]
    if frame is None or len(pixels) not in {1, 3} or pixels.dtype.name not in {"uint8", "uint16"}:
        return None
    height, width = pixels.shape[1:]
    factor = min(frame.size.width / width, frame.size.height / height, 1.0)
    sides = (max(1, round(width * factor)), max(1, round(height * factor)))
    # Far more than enough pixels for the mean below.
    step = max(1, min(width // (4 * sides[0]), height // (4 * sides[1])))
    sample = interleaved(pixels[:, ::step, ::step])
    if sample.dtype == np.uint16:
        sample = (sample >> 8).astype(np.uint8)
    small = np.asarray(cv2.resize(sample, sides, interpolation=cv2.INTER_AREA))
    return jpeg.small(Image.fromarray(small.squeeze() if len(pixels) == 1 else small))
