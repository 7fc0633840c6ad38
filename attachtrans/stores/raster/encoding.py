"""Blocks of a GeoTIFF encoded apart from it, in memory.

A block of whole tiles is written by GDAL to a small GeoTIFF with the creation options of the large
one; its encoded tiles are, byte for byte, valid tiles of the large one. So each codec that GDAL has
works, several threads can encode at once, and nothing is held but the block. Whole numbers that are
compressed by Zstandard, which is how rasters are written unless something else is asked for, are
encoded without that detour, in half the time.

Format: TIFF 6.0, sections 14 (differencing predictor) and 15 (tiles); Zstandard as TIFF compression
50000, as libtiff has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage

from attachtrans.stores.raster.spec import RasterOptions, RasterSpec, tiff_profile
from attachtrans.types import Size

_MASK = 4
"""Bit of a TIFF page's NewSubfileType: a mask of another page."""
_INTEGERS = "iu"
_WIDEST_INTEGER = 4
_MOST_CHANNELS = 512
"""Of a picture of OpenCV's (CV_CN_MAX)."""
_UNDERSTOOD = {
    *("driver", "width", "height", "count", "dtype", "nodata", "transform", "crs", "bigtiff"),
    *("tiled", "blockxsize", "blockysize", "photometric", "alpha", "num_threads"),
    *("compress", "predictor", "zstd_level"),
}
"""Creation options whose meaning for a tile is known here; with any other one GDAL encodes."""


def encoded_pixels(
    array: NDArray[np.generic], spec: RasterSpec, options: RasterOptions
) -> list[bytes]:
    """The tiles of (bands, height, width), row by row; one plane after the other where separate."""
    profile = tiff_profile(spec, options)
    if _is_plain_zstd(profile, array.dtype):
        return _zstd_tiles(array, profile)
    return _encoded(array.shape[-2:], spec, options, array=array)


def encoded_mask(mask: NDArray[np.uint8], spec: RasterSpec, options: RasterOptions) -> list[bytes]:
    """The tiles of a mask (height, width) of 0 and 255."""
    return _encoded(mask.shape, spec, options, mask=mask)


def pages_of(file: TiffFile) -> list[TiffPage]:
    """The image, and its mask where it has one, of a GeoTIFF without overviews."""
    pages = [page.aspage() for page in file.pages]
    return sorted(pages, key=lambda page: bool(page.subfiletype & _MASK))


def _is_plain_zstd(profile: Mapping[str, Any], dtype: np.dtype[Any]) -> bool:
    return (
        str(profile.get("compress", "")).lower() == "zstd"
        and profile.keys() <= _UNDERSTOOD
        and str(profile.get("predictor", 1)) in {"1", "2"}
        and np.dtype(profile["dtype"]) == dtype
        and dtype.kind in _INTEGERS
        and dtype.itemsize <= _WIDEST_INTEGER
        and dtype.isnative
    )


def _zstd_tiles(array: NDArray[np.generic], profile: Mapping[str, Any]) -> list[bytes]:
    """Tiles with their bands together, as GDAL lays them out; at the edges values go on."""
    import imagecodecs

    across, down = int(profile["blockxsize"]), int(profile["blockysize"])
    level, differences = int(profile.get("zstd_level", 9)), str(profile.get("predictor", 1)) == "2"
    _, height, width = array.shape
    tiles = []
    for top in range(0, height, down):
        for left in range(0, width, across):
            tile = _interleaved(array[:, top : top + down, left : left + across])
            if tile.shape[:2] != (down, across):
                beyond = (0, down - tile.shape[0]), (0, across - tile.shape[1]), (0, 0)
                tile = np.pad(tile, beyond, mode="edge")
            room = bytearray(tile.nbytes)
            values = np.frombuffer(room, tile.dtype).reshape(tile.shape)
            if differences:  # from each pixel to the next
                values[:, 0] = tile[:, 0]
                np.subtract(tile[:, 1:], tile[:, :-1], out=values[:, 1:])
            else:
                np.copyto(values, tile)
            tiles.append(bytes(imagecodecs.zstd_encode(room, level)))
    return tiles


def _interleaved(tile: NDArray[np.generic]) -> NDArray[np.generic]:
    """(bands, height, width) -> (height, width, bands), which is what it often is in memory."""
    by_pixel = tile.transpose(1, 2, 0)
    if len(tile) > _MOST_CHANNELS or by_pixel[0].flags.c_contiguous:
        return by_pixel
    # In a tenth of numpy's time. Bits are moved: OpenCV has no unsigned integers of 32.
    merged = cv2.merge([band.view(f"i{tile.itemsize}") for band in tile])
    found: NDArray[np.generic] = merged.view(tile.dtype).reshape(by_pixel.shape)
    return found


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
