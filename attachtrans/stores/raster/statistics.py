"""Statistics of a raster's bands: as its file says, else from its pixels in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import SourceError
from attachtrans.stores.raster.base import Raster
from attachtrans.stores.raster.image import RasterImage
from attachtrans.types import Window

_WINDOW = 512
_MOST_WINDOWS = 64
"""16 million pixels; of larger rasters so many windows, spread evenly."""
_KEYS = ("STATISTICS_MINIMUM", "STATISTICS_MAXIMUM", "STATISTICS_MEAN", "STATISTICS_STDDEV")


class BandStatistics(NamedTuple):
    """Of the pixels of a band that have data; the deviation is that of all, not of a sample."""

    minimum: float
    maximum: float
    mean: float
    deviation: float


class Statistics(NamedTuple):
    """Of some bands, and where they come from, as a note for people."""

    bands: tuple[BandStatistics, ...]
    note: str


def statistics(raster: Raster, bands: Sequence[int] | None = None) -> Statistics:
    """Minimum, maximum, mean and standard deviation of each band (numbers from 1, None: all).

    Those that GDAL keeps in a file (STATISTICS_MINIMUM ...) are taken where all bands have them.

    Raises:
        SourceError: no pixel has data, or it cannot be read.
    """
    chosen = tuple(range(1, raster.bands + 1)) if bands is None else tuple(bands)
    if isinstance(raster, RasterImage):
        stored = [_stored(raster.band_tags(band)) for band in chosen]
        known = [found for found in stored if found is not None]
        if len(known) == len(chosen):
            return Statistics(tuple(known), f"statistics of {raster.name} as its file states them")
    windows = list(_windows(raster.size.width, raster.size.height))
    share = sum(w.width * w.height for w in windows) / (raster.size.width * raster.size.height)
    part = "all" if share == 1.0 else f"a sample of {share:.2g} of the"
    return Statistics(
        _computed(raster, chosen, windows), f"statistics of {raster.name} from {part} pixels"
    )


def _stored(tags: Mapping[str, str]) -> BandStatistics | None:
    try:
        found = BandStatistics(*(float(tags[key]) for key in _KEYS))
    except (KeyError, ValueError):
        return None
    return found if all(map(math.isfinite, found)) and found.deviation >= 0.0 else None


def _windows(width: int, height: int) -> Iterator[Window]:
    """Windows that cover a raster, or so many as are looked at, spread evenly."""
    cols, rows = list(range(0, width, _WINDOW)), list(range(0, height, _WINDOW))
    if len(cols) * len(rows) > _MOST_WINDOWS:
        # As many down as across for a square; a long strip has them along its length.
        across = round(math.sqrt(_MOST_WINDOWS * len(cols) / len(rows)))
        across = min(max(across, 1), len(cols), _MOST_WINDOWS)
        cols = _spread(cols, across)
        rows = _spread(rows, _MOST_WINDOWS // across)
    for row in rows:
        for col in cols:
            yield Window(
                col=col,
                row=row,
                width=min(_WINDOW, width - col),
                height=min(_WINDOW, height - row),
            )


def _spread(places: list[int], count: int) -> list[int]:
    """So many of the places, the first and the last among them where it is more than one."""
    if count >= len(places):
        return places
    last = len(places) - 1
    at = np.linspace(0, last, count) if count > 1 else np.array([last / 2])
    return [places[round(float(number))] for number in at]


def _computed(
    raster: Raster, bands: tuple[int, ...], windows: Sequence[Window]
) -> tuple[BandStatistics, ...]:
    low, high = np.full(len(bands), np.inf), np.full(len(bands), -np.inf)
    count, mean, spread = (np.zeros(len(bands)) for _ in range(3))
    for window in windows:
        known = raster.read_mask(window) > 0
        values = raster.read(window, bands=bands)[:, known].astype(np.float64)
        for band, found in enumerate(values):
            valid: NDArray[np.float64] = found[np.isfinite(found)]
            if not valid.size:
                continue
            low[band] = min(low[band], valid.min())
            high[band] = max(high[band], valid.max())
            # Chan's way to put variances of parts together: no sum of squares overflows.
            total, off = count[band] + valid.size, valid.mean() - mean[band]
            spread[band] += valid.var() * valid.size
            spread[band] += off * off * count[band] * valid.size / total
            mean[band] += off * valid.size / total
            count[band] = total
    if not count.all():
        raise SourceError(
            f"{raster.name}: band {bands[int(np.argmin(count))]} has no data that statistics could "
            "be taken of"
        )
    deviation = np.sqrt(spread / count)
    return tuple(
        BandStatistics(*map(float, of_band))
        for of_band in zip(low, high, mean, deviation, strict=True)
    )
