"""Rasters for tests, in memory and as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import ColorInterp

from attachtrans.geo.affine import PixelToMap
from attachtrans.types import Size, Window

UTM = CRS(32633)
CELL = 0.5
TRANSFORM = PixelToMap(a=CELL, b=0.0, c=400_000.0, d=0.0, e=-CELL, f=5_200_000.0)


class ArrayRaster:
    """A `Raster` over arrays; counts what is read."""

    def __init__(
        self,
        values: NDArray[Any],
        mask: NDArray[np.uint8] | None = None,
        *,
        nodata: float | None = None,
        transform: PixelToMap | None = TRANSFORM,
        crs: CRS | None = UTM,
        colours: tuple[str, ...] | None = None,
        names: tuple[str | None, ...] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.values = values
        shape = values.shape[1:]
        self.mask = np.full(shape, 255, np.uint8) if mask is None else mask
        self.name = "array"
        self.size = Size(shape[1], shape[0])
        self.bands, self.dtype = len(values), values.dtype
        self.nodata, self.transform, self.crs = nodata, transform, crs
        self.colours = colours or ("undefined",) * self.bands
        self.names = names or (None,) * self.bands
        self.tags = tags or {}
        self.largest_read = 0
        self.is_closed = False

    def read(self, window: Window | None = None, *, bands: Sequence[int] | None = None):
        chosen = self.values if bands is None else self.values[[band - 1 for band in bands]]
        found = chosen if window is None else chosen[:, *window.slices]
        self.largest_read = max(self.largest_read, found[0].size)
        return found.copy()

    def read_mask(self, window: Window | None = None) -> NDArray[np.uint8]:
        return (self.mask if window is None else self.mask[window.slices]).copy()

    def fingerprint(self) -> str:
        return "array"

    def close(self) -> None:
        self.is_closed = True


def make_file(
    path: Path,
    values: NDArray[Any],
    *,
    mask: NDArray[np.uint8] | None = None,
    nodata: float | None = None,
    transform: PixelToMap = TRANSFORM,
    crs: CRS | str = UTM,
    colours: Sequence[str] = (),
    names: Sequence[str] = (),
    overviews: Sequence[int] = (),
) -> Path:
    """A GeoTIFF, written by rasterio."""
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=values.shape[2],
            height=values.shape[1],
            count=len(values),
            dtype=values.dtype,
            nodata=nodata,
            crs=CRS(crs).to_wkt(),
            transform=rasterio.Affine(*(getattr(transform, name) for name in "abcdef")),
            tiled=True,
            blockxsize=128,
            blockysize=128,
        ) as dataset,
    ):
        dataset.write(values)
        if mask is not None:
            dataset.write_mask(mask)
        if colours:
            dataset.colorinterp = [ColorInterp[colour] for colour in colours]
        for band, name in enumerate(names, start=1):
            dataset.set_band_description(band, name)
        if overviews:
            dataset.build_overviews(list(overviews), rasterio.enums.Resampling.average)
    return path
