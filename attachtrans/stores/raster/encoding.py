"""Blocks of a GeoTIFF encoded apart from it, by GDAL itself, in memory.

A block of whole tiles is written to a small GeoTIFF with the creation options of the large one;
its encoded tiles are, byte for byte, valid tiles of the large one. So each codec that GDAL has
works, several threads can encode at once, and nothing is held but the block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage

from attachtrans.stores.raster.spec import RasterOptions, RasterSpec, tiff_profile
from attachtrans.types import Size

_MASK = 4
"""Bit of a TIFF page's NewSubfileType: a mask of another page."""


def encoded_pixels(
    array: NDArray[np.generic], spec: RasterSpec, options: RasterOptions
) -> list[bytes]:
    """The tiles of (bands, height, width), row by row; one plane after the other where separate."""
    return _encoded(array.shape[-2:], spec, options, array=array)


def encoded_mask(mask: NDArray[np.uint8], spec: RasterSpec, options: RasterOptions) -> list[bytes]:
    """The tiles of a mask (height, width) of 0 and 255."""
    return _encoded(mask.shape, spec, options, mask=mask)


def pages_of(file: TiffFile) -> list[TiffPage]:
    """The image, and its mask where it has one, of a GeoTIFF without overviews."""
    pages = [page.aspage() for page in file.pages]
    return sorted(pages, key=lambda page: bool(page.subfiletype & _MASK))


def _encoded(
    shape: tuple[int, ...],
    spec: RasterSpec,
    options: RasterOptions,
    *,
    array: NDArray[np.generic] | None = None,
    mask: NDArray[np.uint8] | None = None,
) -> list[bytes]:
    import rasterio
    from rasterio.io import MemoryFile

    height, width = shape
    # A transform, so that nothing warns of pictures without one.
    small = replace(
        spec, size=Size(width, height), crs=None, gcps=(), transform=(2.0, 0, 0, 0, -2.0, 0)
    )
    profile: Mapping[str, Any] = tiff_profile(small, options) | {"sparse_ok": array is None}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_PAM_ENABLED=False),
        MemoryFile() as memory,
    ):
        with memory.open(**profile) as dataset:
            if array is not None:
                dataset.write(array)
            if mask is not None:
                dataset.write_mask(mask)
        data = memory.getbuffer()
        # Closed with it: a TiffFile refers to itself, and would keep the block until the garbage
        # collector comes by.
        with BytesIO(data) as stream, TiffFile(stream) as file:
            page = pages_of(file)[0 if mask is None else 1]
            places = zip(page.dataoffsets, page.databytecounts, strict=True)
            return [bytes(data[start : start + count]) for start, count in places]
