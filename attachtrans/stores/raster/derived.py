"""Rasters that are made of another one as they are read."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError
from attachtrans.geo.affine import PixelToMap
from attachtrans.stores.raster.base import Raster
from attachtrans.types import Size, Window


class DerivedRaster(ABC):
    """A `Raster` that is another one but for what a subclass changes; closes that one, too."""

    def __init__(self, raster: Raster) -> None:
        """Take over an open raster."""
        self._raster = raster
        self.name: str = raster.name
        self.size: Size = raster.size
        self.bands: int = raster.bands
        self.dtype: np.dtype[Any] = raster.dtype
        self.nodata: float | None = raster.nodata
        self.colours: tuple[str, ...] = raster.colours
        self.names: tuple[str | None, ...] = raster.names
        self.tags: Mapping[str, str] = raster.tags
        self.crs: CRS | None = raster.crs
        self.transform: PixelToMap | None = raster.transform

    def read(
        self, window: Window | None = None, *, bands: Sequence[int] | None = None
    ) -> NDArray[np.generic]:
        """See `Raster`."""
        return self._raster.read(window, bands=bands)

    def read_mask(self, window: Window | None = None) -> NDArray[np.uint8]:
        """See `Raster`."""
        return self._raster.read_mask(window)

    def fingerprint(self) -> str:
        """See `Raster`: of the other one, and of what is changed."""
        found = hashlib.sha256(self._raster.fingerprint().encode())
        found.update(self._change())
        return found.hexdigest()

    @abstractmethod
    def _change(self) -> bytes:
        """What tells this raster from others made of the same one."""

    def close(self) -> None:
        """See `Raster`."""
        self._raster.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _place(self, window: Window | None) -> Window:
        """The window, which must lie within the raster; None: all of it."""
        width, height = self.size
        place = window or Window(col=0, row=0, width=width, height=height)
        if (
            min(place.col, place.row) < 0
            or place.col + place.width > width
            or place.row + place.height > height
        ):
            raise ArgumentError(f"{place} reaches out of an image of {width} x {height}")
        return place


def filler(raster: Raster) -> np.generic:
    """The value of pixels without data: the raster's nodata where its type holds that, else 0."""
    if raster.nodata is not None:
        held = np.array(raster.nodata).astype(raster.dtype, casting="unsafe")
        if held == raster.nodata or (np.isnan(raster.nodata) and raster.dtype.kind == "f"):
            value: np.generic = raster.dtype.type(held)
            return value
    zero: np.generic = raster.dtype.type(0)
    return zero
