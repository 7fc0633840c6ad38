"""The affine grid: orthos and any raster that lies flat on the map, turned ones included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS

from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.camera.base import checked_size, columns, ratios
from attachtrans.geo.frame import read_crs
from attachtrans.types import Size

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """x = a col + b row + c, y = d col + e row + f.

    transform  (a, b, c, d, e, f) from outer-corner pixels, as rasterio has them
    size       (width, height)
    crs        anything that pyproj reads

    Raises:
        ArgumentError: not a transform, not a size.
        CrsError: the CRS cannot be read, or is neither geographic nor projected.
    """

    transform: PixelToMap | Sequence[float]
    size: Size
    crs: CRS
    affine: PixelToMap = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "affine", PixelToMap.read(self.transform))
        object.__setattr__(self, "size", checked_size(self.size))
        object.__setattr__(self, "crs", read_crs(self.crs))

    def pixel_to_map(self, pixels: ArrayLike) -> Floats:
        """See `Georef`."""
        return self.affine.to_map(columns(pixels, 2))

    def map_to_pixel(self, xy: ArrayLike) -> Floats:
        """See `Georef`."""
        return self.affine.to_pixels(columns(xy, 2))

    def resized(self, size: Size) -> Self:
        """The grid over the same area; the outer corner stays, pixels change."""
        size = checked_size(size)
        across, down = ratios(self.size, size)
        t = self.affine
        return replace(
            self,
            transform=(t.a / across, t.b / down, t.c, t.d / across, t.e / down, t.f),
            size=size,
        )
