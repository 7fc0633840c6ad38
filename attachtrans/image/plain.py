"""Formats without metadata worth the name: BMP, read and written; GIF, single frames, read only.

BMP becomes 24 bits (8 with a grey palette, 32 with alpha) without compression. Its resolution is
kept. A translated picture would not fit into the 256 colours of a GIF.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from attachtrans.errors import ImageError
from attachtrans.image.arrays import interleaved, planes, with_alpha
from attachtrans.image.base import Job, Limits, Metadata, Raster, Untouchable
from attachtrans.types import Size

MAX_SIDE = 2**31 - 1

_ANIMATED = "an animation (GIF): its frames would be lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """Resolution in dots per inch, (0, 0) when unknown."""

    dpi: tuple[float, float]


def size_of(data: bytes) -> Size:
    """The size that the header gives. Raises ImageError."""
    if data[:2] == b"BM":
        core = int.from_bytes(data[14:18], "little") == 12
        width, height = (2, 2) if core else (4, 4)
        parts = (data[18 : 18 + width], data[18 + width : 18 + width + height])
        size = Size(*(abs(int.from_bytes(part, "little", signed=not core)) for part in parts))
    else:
        size = Size(int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little"))
    if min(size) == 0:
        raise ImageError("the header is damaged: the picture has no pixels")
    return size


def decode(data: bytes, limits: Limits) -> Raster:
    """Decode to 1 or 3 bands of uint8. Raises ImageError, Untouchable for animations."""
    limits.check(size_of(data), 4, np.dtype(np.uint8))
    try:
        with Image.open(io.BytesIO(data), formats=["BMP", "GIF"]) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise Untouchable(_ANIMATED)
            image.load()
            transparent = image.has_transparency_data
            grey = image.mode in {"1", "L"}
            mode = ("LA" if transparent else "L") if grey else ("RGBA" if transparent else "RGB")
            samples = planes(np.asarray(image.convert(mode)))
            dpi = image.info.get("dpi", (0, 0))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"the picture is damaged or too large: {error}") from error
    return Raster(
        pixels=samples[:-1] if transparent else samples,
        alpha=samples[-1] if transparent else None,
        metadata=Metadata(),
        native=Plain(dpi=dpi),
    )


def encode_bmp(job: Job) -> bytes:
    """Write 1 or 3 bands of uint8, with alpha if there is one; metadata cannot be carried."""
    native = job.native if isinstance(job.native, Plain) else Plain(dpi=(0, 0))
    pixels = job.pixels
    if len(pixels) == 1 and job.alpha is not None:
        pixels = np.repeat(pixels, 3, axis=0)
    samples = interleaved(with_alpha(pixels, job.alpha))
    image = Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
    target = io.BytesIO()
    image.save(target, "BMP", **({"dpi": native.dpi} if all(native.dpi) else {}))
    return target.getvalue()
