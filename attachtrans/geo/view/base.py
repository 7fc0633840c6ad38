"""What every kind of georeference answers: `Georef`."""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS

from attachtrans.types import Size

Floats = NDArray[np.float64]


class Georef(Protocol):
    """Where an image's pixels lie on a map.

    Pixels are (col, row) with (0, 0) at the OUTER CORNER of the first pixel: the image reaches
    from 0 to width and from 0 to height. Map coordinates are x (longitude) first.

    crs   of the map coordinates
    size  of the image, pixels
    """

    @property
    def crs(self) -> CRS: ...

    @property
    def size(self) -> Size: ...

    def pixel_to_map(self, pixels: ArrayLike) -> Floats:
        """(2, N) pixels -> (2, N) map coordinates; nan where a pixel shows no ground."""
        ...

    def map_to_pixel(self, xy: ArrayLike) -> Floats:
        """(2, N) map coordinates -> (2, N) pixels, also outside the image; nan where not seen.

        What hides behind something else has a pixel all the same: see `geo.occlusion`.
        """
        ...

    def resized(self, size: Size) -> Self:
        """The georeference of the same picture with another number of pixels."""
        ...
