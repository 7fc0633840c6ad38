"""CMYK to sRGB and back, so that a net sees RGB and the file stays CMYK.

With a profile through LittleCMS (relative colorimetric, black point compensation), else by the
plain formula R = (1 - C)(1 - K), whose inverse takes the most black (UCR 100 %). Inks are 0..255,
255 = full ink.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from attachtrans.errors import ImageError

Bytes = NDArray[np.uint8]


def to_rgb(inks: Bytes, profile: bytes | None) -> Bytes:
    """(height, width, 4) inks -> (height, width, 3) sRGB. Raises ImageError for a bad profile."""
    if profile is not None:
        return _convert(inks, profile, to_inks=False)
    light = 255 - inks.astype(np.uint16)
    return ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)


def to_inks(rgb: Bytes, profile: bytes | None) -> Bytes:
    """(height, width, 3) sRGB -> (height, width, 4) inks.

    Raises ImageError when the profile only leads from inks to colours.
    """
    if profile is not None:
        return _convert(rgb, profile, to_inks=True)
    light = rgb.max(axis=2, keepdims=True).astype(np.uint16)
    # Where all is black, the colour of the other inks is arbitrary: none.
    share = np.where(light > 0, (rgb * np.uint16(255) + light // 2) // np.maximum(light, 1), 255)
    return np.concatenate([255 - share, 255 - light], axis=2).astype(np.uint8)


def _convert(pixels: Bytes, profile: bytes, *, to_inks: bool) -> Bytes:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    try:
        inks: Any = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        source, target = (srgb, inks) if to_inks else (inks, srgb)
        modes = ("RGB", "CMYK") if to_inks else ("CMYK", "RGB")
        transform = ImageCms.buildTransform(
            source,
            target,
            *modes,
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError) as error:
        direction = "from RGB to CMYK" if to_inks else "from CMYK to RGB"
        message = f"the photo's ICC profile does not lead {direction}; --format writes another kind"
        raise ImageError(message) from error
    height, width, _ = pixels.shape
    image = Image.frombytes(modes[0], (width, height), np.ascontiguousarray(pixels).data)
    return np.asarray(ImageCms.applyTransform(image, transform))
