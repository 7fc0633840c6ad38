"""Images on output grids: the whole, or window by window in bounded memory."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError
from attachtrans.geo.rectify import lattice
from attachtrans.geo.rectify.mapping import Mapping
from attachtrans.geo.rectify.picture import Read
from attachtrans.geo.rectify.sampling import Interpolation, Sampler
from attachtrans.geo.view import Georef, Grid
from attachtrans.types import Window

Pixels = NDArray[Any]
Mask = NDArray[np.uint8]

BLOCKS = 4
"""Blocks per side whose pixels are computed at a time: what stays in a processor's cache."""
VALID = np.uint8(255)
_STRIP = 8 * lattice.SIDE
"""Rows of the output that one thread does at a time."""


class Readable(Protocol):
    """An image that is read by windows."""

    def read(self, window: Window) -> Pixels:
        """(bands, height, width) of a window."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rectifier:
    """An image as it lies on an output grid.

    Each pixel of the grid is one look into the image: its place at its height, seen through the
    camera, interpolated once. Sky, what lies behind the camera, beyond its far limit or outside
    its lens, off the elevation model, and outside the image are masked.

    georef         of the image: camera, RPC, control points or grid
    grid           of the output, in any CRS, turned or not
    occlusion      masks what other ground hides from the camera, see `geo.occlusion`
    interpolation  nearest, linear or cubic, between the pixels of the image
    antialias      takes means where an output pixel covers two or more of the image's, along its
                   columns and along its rows each by itself; never with nearest
    nodata         of the image: such pixels take no part, and are masked; the value of masked
                   pixels, which else is 0

    Windows are the same pixels as the whole, and may be computed in several threads.

    Raises:
        ArgumentError: an interpolation that there is not; occlusion without a camera.
    """

    georef: Georef
    grid: Grid
    occlusion: bool = False
    interpolation: Interpolation = "cubic"
    antialias: bool = True
    nodata: float | None = None
    mapping: Mapping = field(init=False, repr=False)
    sampler: Sampler = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.interpolation not in get_args(Interpolation):
            raise ArgumentError(
                f"interpolation is one of {', '.join(get_args(Interpolation))}, not "
                f"{self.interpolation!r}"
            )
        mapping = Mapping(georef=self.georef, grid=self.grid, occlusion=self.occlusion)
        sampler = Sampler(self.georef.size, self.interpolation, self.antialias, self.nodata)
        object.__setattr__(self, "mapping", mapping)
        object.__setattr__(self, "sampler", sampler)

    def window(self, window: Window, read: Read) -> tuple[Pixels, Mask]:
        """A part of the output.

        Args:
            window: within the grid.
            read: of the image: window -> (bands, height, width); a masked array for an image with
                a mask, see `nodata`.

        Returns:
            (bands, height, width) in the image's type, and (height, width): 255 where it is valid,
            else 0.

        Raises:
            ArgumentError: a window that reaches out of the grid.
        """
        check_window(window, self.grid)
        values: Pixels | None = None
        mask = np.zeros((1, window.height, window.width), dtype=np.uint8)
        whole = lattice.covering(window)
        paths = self.mapping.paths(lattice.corners(whole))
        for blocks in lattice.pieces(whole, BLOCKS):
            which = lattice.numbers(blocks, whole)
            if not (paths.smooth[which] | paths.exact[which]).any():
                continue
            placed = self.mapping.placed(paths.some(which))
            found, seen = self.sampler.sample(placed, read)
            if values is None:
                values = np.empty((found.shape[-1], *mask.shape[1:]), dtype=found.dtype)
            lattice.paste(found, blocks, values, window)
            lattice.paste(seen * VALID, blocks, mask, window)
        if values is None:
            values = np.moveaxis(self.sampler.nothing(mask.shape[1:], read), -1, 0)
        self.sampler.fill(values, mask[0] == 0)
        return values, mask[0]


def rectify(
    image: Pixels | Readable,
    georef: Georef,
    grid: Grid,
    *,
    occlusion: bool = False,
    interpolation: Interpolation = "linear",
    antialias: bool = False,
    nodata: float | None = None,
) -> tuple[Pixels, Mask]:
    """An image on an output grid, whole.

    By default each pixel is one bilinear look into the image, which is what others can compute as
    well; orthos for the eye are better with "cubic" and antialias, as those of `Rectifier` are.

    Args:
        image: (bands, height, width) or (height, width), or anything with `read(window)`.
        georef: of the image.
        grid: of the output.
        occlusion: masks what other ground hides.
        interpolation: nearest, linear or cubic.
        antialias: takes means where an output pixel covers several of the image's.
        nodata: value of pixels without any; see `Rectifier`.

    Returns:
        (bands, height, width) in the image's type, and the mask (height, width): 255 where valid,
        else 0.

    Raises:
        ArgumentError: see `Rectifier`; an array of another size than the georeference's.
    """
    read = _reader(image, georef)
    rectifier = Rectifier(
        georef=georef,
        grid=grid,
        occlusion=occlusion,
        interpolation=interpolation,
        antialias=antialias,
        nodata=nodata,
    )
    width, height = grid.size
    strips = [
        Window(col=0, row=row, width=width, height=min(_STRIP, height - row))
        for row in range(0, height, _STRIP)
    ]
    # Arrays may be read by several threads at once; of other images nothing is known.
    threads = min(len(strips), os.cpu_count() or 1) if isinstance(image, np.ndarray) else 1
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(lambda strip: rectifier.window(strip, read), strips))
    if len(parts) == 1:
        return parts[0]
    return (
        np.concatenate([values for values, _ in parts], axis=1),
        np.concatenate([mask for _, mask in parts]),
    )


def _reader(image: Pixels | Readable, georef: Georef) -> Read:
    if not isinstance(image, np.ndarray):
        return image.read
    bands = image[None] if image.ndim == 2 else image
    width, height = georef.size
    if bands.ndim != 3 or bands.shape[1:] != (height, width):
        raise ArgumentError(
            f"the image is an array {image.shape} and its georeference is of {width} x {height} "
            "pixels; an array (bands, height, width) of that size is wanted, or "
            "georef.resized(size)"
        )
    # Laid out once as windows of it are needed, instead of once for each window.
    packed = np.empty((height, width, len(bands)), dtype=bands.dtype)
    for number, band in enumerate(bands):
        packed[..., number] = band
    return lambda window: np.moveaxis(packed[window.slices], -1, 0)


def check_window(window: Window, grid: Grid) -> None:
    """Raises ArgumentError for a window that is not one of the grid."""
    width, height = grid.size
    fits = window.col + window.width <= width and window.row + window.height <= height
    if not (fits and min(window.col, window.row) >= 0 and min(window.width, window.height) >= 1):
        raise ArgumentError(f"{window} does not lie within the grid of {width} x {height} pixels")
