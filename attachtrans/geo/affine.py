"""Affine transforms from pixels (outer corners) to maps, in the order of world files' readers.

The six numbers are (a, b, c, d, e, f) of x = a col + b row + c, y = d col + e row + f: those of
`affine.Affine` and rasterio. GDAL's GeoTransform has the order (c, a, b, f, d, e).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelToMap:
    """x = a col + b row + c, y = d col + e row + f, rotated and sheared ones included."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    @classmethod
    def read(cls, transform: Sequence[float] | PixelToMap) -> Self:
        """From six numbers in the order a to f, or nine whose last row is 0, 0, 1.

        Raises:
            ArgumentError: another count, not finite, or not invertible.
        """
        if isinstance(transform, PixelToMap):
            return cls(**{name: getattr(transform, name) for name in "abcdef"})
        values = [float(value) for value in transform]
        if len(values) == 9 and values[6:] == [0.0, 0.0, 1.0]:
            values = values[:6]
        if len(values) != 6 or not np.isfinite(values).all():
            raise ArgumentError(
                f"a transform is 6 finite numbers (a, b, c, d, e, f) of x = a col + b row + c, "
                f"y = d col + e row + f; got {values}"
            )
        a, b, c, d, e, f = values
        if a * e == b * d:
            raise ArgumentError(f"the transform {values} maps pixels onto a line")
        return cls(a=a, b=b, c=c, d=d, e=e, f=f)

    @property
    def linear(self) -> Floats:
        """(2, 2): map units per pixel."""
        return np.array([[self.a, self.b], [self.d, self.e]])

    @property
    def origin(self) -> Floats:
        """(2,): the map position of the first pixel's outer corner."""
        return np.array([self.c, self.f])

    def to_map(self, pixels: Floats) -> Floats:
        """(2, N) (col, row) from the outer corner -> (2, N) (x, y)."""
        placed: Floats = self.linear @ pixels + self.origin[:, None]
        return placed

    def to_pixels(self, xy: Floats) -> Floats:
        """(2, N) (x, y) -> (2, N) (col, row) from the outer corner."""
        placed: Floats = np.linalg.inv(self.linear) @ (xy - self.origin[:, None])
        return placed
