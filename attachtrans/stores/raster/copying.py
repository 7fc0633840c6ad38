"""Finished rasters copied, into another format where the new name asks for one."""

from __future__ import annotations

import shutil
from pathlib import Path

from attachtrans.errors import SinkError
from attachtrans.stores.durable import temporary_for
from attachtrans.stores.raster.carrying import carried_back
from attachtrans.stores.raster.drivers import check_writable, driver_for
from attachtrans.stores.raster.finishing import complete, discard, writing
from attachtrans.stores.raster.image import RasterImage, gdal_errors, open_raster
from attachtrans.stores.raster.spec import RasterOptions, RasterSpec

_FULL_DISK: tuple[type[Exception], ...] = (OSError,)


def copy_raster(source: Path, target: Path) -> None:
    """Copy a GeoTIFF; only a complete copy bears the target's name, whose ending says the format.

    Raises:
        ArgumentError: there is no format of that ending, or it cannot hold the raster.
        SourceError: the raster is not there, or damaged.
        SinkError: the copy cannot be written.
    """
    options = RasterOptions(driver=driver_for(target))
    with open_raster(source) as image:
        spec = _spec_of(image)
    check_writable(target, spec, options)
    first = temporary_for(target)
    try:
        shutil.copyfile(source, first)
        with writing():
            complete(first, target, spec, options)
    except _FULL_DISK + gdal_errors() as error:
        discard(first, target)
        raise SinkError(f"{target} cannot be written: {error}") from error


def _spec_of(image: RasterImage) -> RasterSpec:
    alpha = "alpha" in image.colours
    return RasterSpec(
        size=image.size,
        bands=image.bands,
        dtype=image.dtype,
        nodata=image.nodata,
        masked=image.has_mask and image.nodata is None and not alpha,
        colours=image.colours,
        names=image.names,
        **carried_back(image, image.size).fields(),
    )
