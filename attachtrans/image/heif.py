"""HEIC and HEIF stills, read only, with the extra attachtrans[heif].

Nothing writes HEIC here, so that results take another format (see `photo.needs_format`). The
decoder turns pictures upright itself; the EXIF Orientation is set to 1 to say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from attachtrans.errors import ImageError
from attachtrans.image.arrays import planes
from attachtrans.image.base import Limits, Metadata, Raster, Untouchable
from attachtrans.image.exif import ORIENTATION
from attachtrans.image.ifd import Block
from attachtrans.types import Size

MISSING_EXTRA = "a HEIC picture: reading it needs the extra attachtrans[heif]"

_EXIF_HEAD = b"Exif\0\0"


def decode(data: bytes, limits: Limits) -> Raster:
    """Decode to 3 bands of uint8. Raises ImageError; Untouchable without the extra."""
    with _opened(data) as file:
        if len(file) > 1:
            raise Untouchable("several pictures in one file (HEIC): the others would be lost")
        if file.info.get("bit_depth", 8) > 8:
            raise Untouchable("a HEIC picture of more than 8 bits")
        limits.check(Size(*file.size), 4, np.dtype(np.uint8))
        samples = planes(np.asarray(file))
        metadata = _metadata_of(file.info)
    has_alpha = len(samples) in {2, 4}
    return Raster(
        pixels=samples[:-1] if has_alpha else samples,
        alpha=samples[-1] if has_alpha else None,
        metadata=metadata,
        native=None,
    )


def read_head(data: bytes) -> tuple[Size, Metadata]:
    """Size, upright, and metadata of the first picture, as of what `decode` returns.

    Raises ImageError; Untouchable without the extra.
    """
    with _opened(data) as file:
        return Size(*file.size), _metadata_of(file.info)


@contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    """The decoder's file; its errors become ours."""
    try:
        import pillow_heif
    except ImportError as error:
        raise Untouchable(MISSING_EXTRA) from error
    try:
        yield pillow_heif.open_heif(data)
    # The library counts on a primary picture, hence LookupError.
    except (ValueError, RuntimeError, OSError, EOFError, SyntaxError, LookupError) as error:
        raise ImageError(f"the HEIC is damaged: {error}") from error


def _metadata_of(info: Mapping[str, Any]) -> Metadata:
    return Metadata(
        exif=_upright(info.get("exif")),
        xmp=info.get("xmp") or None,
        icc=info.get("icc_profile") or None,
    )


def _upright(exif: bytes | None) -> bytes | None:
    if not exif:
        return None
    block = Block(exif.removeprefix(_EXIF_HEAD))
    block.set_unsigned(block.first(), ORIENTATION, [1])
    return bytes(block.data)
