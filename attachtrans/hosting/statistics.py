"""Statistics of an image's bands, as raster functions are told of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_STRIP_VALUES = 1 << 22


class BandStatistics(NamedTuple):
    """Of the pixels of a band that are data; the deviation is that of all, not of a sample."""

    minimum: float
    maximum: float
    mean: float
    deviation: float

    def to_json(self) -> dict[str, float]:
        """As a raster info has it."""
        return {
            "minimum": self.minimum,
            "maximum": self.maximum,
            "mean": self.mean,
            "standardDeviation": self.deviation,
        }


def statistics_of(
    image: NDArray[Any], mask: NDArray[Any] | None = None
) -> tuple[BandStatistics, ...]:
    """Statistics of each band of (bands, height, width); none where a band has no data.

    mask: (height, width), 0 where there is no data; None: all is data. NaN and infinity are none.
    """
    found = [_of_band(band, mask) for band in image]
    known = tuple(one for one in found if one is not None)
    return known if len(known) == len(found) else ()


def _of_band(band: NDArray[Any], mask: NDArray[Any] | None) -> BandStatistics | None:
    low, high, mean, spread, count = np.inf, -np.inf, 0.0, 0.0, 0
    rows = max(1, _STRIP_VALUES // band.shape[1])
    for top in range(0, band.shape[0], rows):
        values = band[top : top + rows]
        known = np.isfinite(values)
        if mask is not None:
            known &= mask[top : top + rows] != 0
        valid = values[known].astype(np.float64)
        if not valid.size:
            continue
        low, high = min(low, float(valid.min())), max(high, float(valid.max()))
        # Chan's way to put variances of parts together: no sum of squares overflows.
        total, off = count + valid.size, float(valid.mean()) - mean
        spread += float(valid.var()) * valid.size + off * off * count * valid.size / total
        mean += off * valid.size / total
        count = total
    if not count:
        return None
    return BandStatistics(low, high, mean, float(np.sqrt(spread / count)))
