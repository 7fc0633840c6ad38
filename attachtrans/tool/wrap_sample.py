"""The photo that `model wrap` tries a net on: the user's, or one that is made of nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError, ImageError, SourceError

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]
"""(3, height, width), upright."""

_LEAVES = 2600
_SMALLEST_PX = 4.0
_LEAST_SIDE = 64


def read_sample(path: Path) -> Pixels:
    """A photo as 8-bit RGB, upright.

    Raises:
        SourceError: the file cannot be read.
        ArgumentError: it is no photo that is decoded, or a tiny one.
    """
    from attachtrans.image import Limits, Untouchable, decode

    try:
        photo = decode(path.read_bytes(), Limits())
    except OSError as error:
        raise SourceError(f"--sample {path} cannot be read: {error.strerror}") from error
    except (ImageError, Untouchable) as error:
        raise ArgumentError(f"--sample {path} is no photo to try a net on: {error}") from error
    pixels = as_rgb8(photo.pixels)
    if min(pixels.shape[1:]) < _LEAST_SIDE:
        raise ArgumentError(
            f"--sample {path} has {pixels.shape[2]} x {pixels.shape[1]} pixels: give a photo of at "
            f"least {_LEAST_SIDE} x {_LEAST_SIDE}."
        )
    return pixels


def as_rgb8(pixels: NDArray[Any]) -> Pixels:
    """Any image (bands, height, width) as RGB to look at; floats are spread over their range."""
    bands = pixels[:3] if pixels.shape[0] >= 3 else np.repeat(pixels[:1], 3, axis=0)
    if bands.dtype == np.uint8:
        return np.ascontiguousarray(bands)
    values = bands.astype(np.float64)
    if bands.dtype.kind in "iu":
        low, high = 0.0, float(np.iinfo(bands.dtype).max)
    else:
        low, high = float(values.min()), float(values.max())
    spread = (values - low) / (high - low or 1.0)
    return (spread.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def synthetic_photo(size: int = 512) -> Pixels:
    """A picture with the statistics of photos: the same on every machine.

    "Dead leaves": shapes of all sizes that hide each other, their areas distributed as those of
    things seen from all distances, which gives edges, contrasts and a spectrum like a photo's
    (Lee, Mumford and Huang, Occlusion models for natural images, 2001). Here they are shaded and
    bear textures; black, white and every light between occur.
    """
    rng = np.random.default_rng(20261123)
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    texture = _texture(rng, size)
    sky = np.array([0.45, 0.6, 0.8], np.float32)[:, None, None]
    picture = np.repeat(sky + 0.15 * (rows / size)[None], 1, axis=0)
    inverse_squares = rng.uniform((3 / size) ** 2, _SMALLEST_PX**-2, _LEAVES)
    for radius in 1 / np.sqrt(inverse_squares):
        centre = rng.uniform(0, size, 2)
        top, left = np.maximum(centre - radius, 0).astype(int)
        window = (
            slice(top, int(min(centre[0] + radius + 1, size))),
            slice(left, int(min(centre[1] + radius + 1, size))),
        )
        y, x = rows[window] - centre[0], columns[window] - centre[1]
        leaf = _shape(rng, x / radius, y / radius)
        slope = rng.normal(0, 0.2, 2) / radius
        shade = slope[0] * x + slope[1] * y + abs(rng.normal(0, 0.05)) * texture[window]
        covered = (slice(None), *window)
        colour = _colour(rng)[:, None, None] + shade[None]
        picture[covered] = np.where(leaf, colour, picture[covered])
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _texture(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Noise with equal energy in all octaves, mean 0 and deviation 1."""
    spectrum = np.fft.rfft2(rng.random((size, size)) - 0.5)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = 1
    noise = np.fft.irfft2(spectrum / frequency, s=(size, size))
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def _shape(rng: np.random.Generator, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """An ellipse, a rectangle or a triangle within the unit circle, turned and squeezed."""
    turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.35, 1)
    u = x * np.cos(turn) + y * np.sin(turn)
    v = (y * np.cos(turn) - x * np.sin(turn)) / squeeze
    kind = rng.integers(3)
    within: NDArray[Any] = u * u + v * v < 1
    if kind == 1:
        within = (abs(u) < 0.9) & (abs(v) < 0.9)
    elif kind == 2:
        within &= (v > -0.5) & (abs(u) * 1.7 + v < 0.9)
    return within


def _colour(rng: np.random.Generator) -> NDArray[np.float32]:
    """A light from black to white, with little colour at both ends, as (3,)."""
    light = rng.beta(0.9, 1.1)
    tint = rng.normal(0, 0.1, 3) * 2 * np.sqrt(light * (1 - light) + 0.02)
    return np.asarray((light + tint).clip(0, 1), np.float32)


def save_preview(path: Path, panels: list[tuple[str, Pixels]]) -> None:
    """Write pictures side by side as PNG, each under its title, all as high as the highest.

    Raises:
        ArgumentError: the file cannot be written.
    """
    from PIL import Image, ImageDraw

    height = max(pixels.shape[1] for _, pixels in panels)
    pictures = [_of_height(pixels, height) for _, pixels in panels]
    bar, gap = 16, 8
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, height + bar), "white")
    draw, left = ImageDraw.Draw(sheet), 0
    for (title, _), picture in zip(panels, pictures, strict=True):
        draw.text((left + 2, 2), title, fill="black")
        sheet.paste(picture, (left, bar))
        left += picture.width + gap
    try:
        sheet.save(path, "PNG")
    except OSError as error:
        raise ArgumentError(f"--preview {path} cannot be written: {error}") from error


def _of_height(pixels: Pixels, height: int) -> Image:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    width = round(picture.width * height / picture.height)
    return picture.resize((width, height), Image.Resampling.NEAREST)
