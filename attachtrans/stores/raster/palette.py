"""Rasters of colour numbers, read as the colours that their palette has for these."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attachtrans.stores.raster.derived import DerivedRaster
from attachtrans.stores.raster.image import RasterImage
from attachtrans.types import Window

_COLOURS = ("red", "green", "blue")
_WIDEST = 2
"""Bytes of a number that a palette has a colour for."""


class ExpandedRaster(DerivedRaster):
    """Red, green and blue of a raster whose first band holds numbers of its palette's colours.

    Pixels of transparent colours have no data.
    """

    def __init__(self, image: RasterImage, palette: NDArray[np.uint8]) -> None:
        """Take over an open raster of 8 or 16 bits.

        palette: (N, 4) red, green, blue and opacity of the first N numbers; others are black.
        """
        super().__init__(image)
        room = np.iinfo(image.dtype).max + 1
        self._table = np.zeros((room, 4), np.uint8)
        self._table[:, 3] = 255
        self._table[: len(palette)] = palette[:room]
        self.has_mask = image.has_mask or bool((self._table[:, 3] == 0).any())
        self.dtype = np.dtype(np.uint8)
        self.bands, self.nodata = len(_COLOURS), None  # its nodata is in the mask
        self.colours, self.names = _COLOURS, (None,) * len(_COLOURS)

    def read(
        self, window: Window | None = None, *, bands: Sequence[int] | None = None
    ) -> NDArray[np.generic]:
        """See `Raster`."""
        chosen = range(len(_COLOURS)) if bands is None else [band - 1 for band in bands]
        (numbers,) = self._raster.read(window, bands=[1])
        return np.stack([self._table[:, band][numbers] for band in chosen])

    def read_mask(self, window: Window | None = None) -> NDArray[np.uint8]:
        """See `Raster`."""
        mask = self._raster.read_mask(window)
        (numbers,) = self._raster.read(window, bands=[1])
        return np.where(self._table[:, 3][numbers] == 0, np.uint8(0), mask)

    def _change(self) -> bytes:
        return hashlib.sha256(self._table.tobytes()).digest()


def expanded(image: RasterImage) -> RasterImage | ExpandedRaster:
    """A raster in the colours of its palette; without one as it is.

    Raises:
        SourceError: the palette cannot be read.
    """
    palette = image.palette if image.dtype.kind == "u" and image.dtype.itemsize <= _WIDEST else None
    return image if palette is None else ExpandedRaster(image, palette)
