"""What every raster offers that is read by window: a file, a mosaic, a service, a warped view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.geo.affine import PixelToMap
from attachtrans.types import Size, Window


class Raster(Protocol):
    """Pixels by window, and what a header says of them. Reading is thread-safe.

    name          path or address, to show
    size          of the whole raster
    bands, dtype  of what `read` gives
    nodata        value that means no data, None when there is none
    colours       what each band shows, in GDAL's words: "red", "gray", "alpha", "undefined" ...
    names         of the bands, None where one has none
    tags          of the dataset, by name
    crs           of `transform`, None when it is not said
    transform     of outer-corner pixels, None when there is none
    """

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> Size: ...
    @property
    def bands(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def nodata(self) -> float | None: ...
    @property
    def colours(self) -> tuple[str, ...]: ...
    @property
    def names(self) -> tuple[str | None, ...]: ...
    @property
    def tags(self) -> Mapping[str, str]: ...
    @property
    def crs(self) -> CRS | None: ...
    @property
    def transform(self) -> PixelToMap | None: ...

    def read(
        self, window: Window | None = None, *, bands: Sequence[int] | None = None
    ) -> NDArray[np.generic]:
        """(bands, height, width) as stored, of a window within the raster, None: the whole.

        bands are numbers from 1, in the order wanted; None: all.

        Raises:
            ArgumentError: the window reaches out of the raster.
            SourceError: it cannot be read there.
        """
        ...

    def read_mask(self, window: Window | None = None) -> NDArray[np.uint8]:
        """(height, width): 0 where there is no data, 255 where there is; alpha where it is that.

        Raises:
            ArgumentError, SourceError: see `read`.
        """
        ...

    def fingerprint(self) -> str:
        """SHA-256 in hex of what changes when the content does: an unfinished run goes on by it."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
