"""The values of the photo codec: limits, what a file is, a decoded photo, an encoded result.

Pixels are (bands, height, width) and upright, that is, turned as the EXIF Orientation asks for.
"Stored" means the order of the file. A size is upright unless it says stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ImageError
from attachtrans.types import Size

Pixels: TypeAlias = NDArray[Any]


class Untouchable(ImageError):  # noqa: N818  (it is a verdict on a sound file)
    """The file is sound, but attachtrans does not re-encode its kind; the message is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one photo may cost when it is decoded; absolute, since compression ratios mislead."""

    max_pixels: int = 500_000_000
    max_bytes: int = 2 * 1024**3

    def check(self, size: Size, bands: int, dtype: np.dtype[Any]) -> None:
        """Refuse an image that is too big, before anything is allocated. Raises ImageError."""
        npixels = size.width * size.height
        if npixels > self.max_pixels:
            message = (
                f"the image has {size.width} x {size.height} pixels, more than the limit of "
                f"{self.max_pixels}; raise --max-pixels to translate it"
            )
            raise ImageError(message)
        nbytes = npixels * bands * dtype.itemsize
        if nbytes > self.max_bytes:
            message = f"the image takes {nbytes} bytes in memory, the limit is {self.max_bytes}"
            raise ImageError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What a file is, by its content.

    media_type  IANA name, "application/octet-stream" when unknown
    extension   with the dot, lower case, e.g. ".jpg"
    is_image    a still image, whether attachtrans can decode it or not
    """

    media_type: str
    extension: str
    is_image: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What the header of a file says; None where it says nothing (or was not given).

    size is upright. bands excludes alpha. heading_deg is GPSImgDirection, 0..360 clockwise from
    north. skip is the reason why the file is not translated, None when it can be.
    """

    media: Media
    size: Size | None = None
    bands: int | None = None
    dtype: np.dtype[Any] | None = None
    orientation: int = 1
    has_gps: bool = False
    heading_deg: float | None = None
    skip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The blocks that travel from format to format.

    exif    a TIFF block, without the "Exif" that JPEG puts before it
    xmp     an XMP packet, UTF-8
    icc     an ICC profile
    iptc    Photoshop image resources ("8BIM"...), which hold IPTC
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    iptc: bytes | None = None


class Native(Protocol):
    """What a format module needs to write a photo of its own back; opaque to everybody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """What a format module read from a file, in stored order.

    pixels is (bands, height, width), alpha (height, width) or None.
    """

    pixels: Pixels
    alpha: Pixels | None
    metadata: Metadata
    native: Native


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A decoded photo.

    pixels       (bands, height, width), upright; any strides
    alpha        (height, width), upright, same dtype as the pixels; None when there is none
    orientation  EXIF, 1..8: how the file stores it
    marks        lines of ImageHistory that earlier runs of attachtrans left
    """

    pixels: Pixels
    alpha: Pixels | None
    media: Media
    orientation: int
    marks: tuple[str, ...]
    metadata: Metadata
    native: Native

    @property
    def size(self) -> Size:
        """Width and height, upright."""
        return Size(self.pixels.shape[2], self.pixels.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions:
    """What the caller wants instead of the photo's own format and quality (None).

    format is "jpeg", "png", "tiff" or "webp"; quality is 1..100.
    """

    format: str | None = None
    quality: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a format module is asked to write; everything in stored order, metadata corrected.

    native is that of the photo when it already had this format, else None. history is the line
    that metadata.exif has got already; only formats that hold EXIF elsewhere write it.
    """

    pixels: Pixels
    alpha: Pixels | None
    metadata: Metadata
    native: Native | None
    size_before: Size
    quality: int | None
    history: str | None
    anonymise: bool

    @property
    def size(self) -> Size:
        """Width and height, stored."""
        return Size(self.pixels.shape[2], self.pixels.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A photo ready to be stored; size is upright."""

    data: bytes
    media_type: str
    extension: str
    size: Size
