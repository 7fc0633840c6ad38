"""Rasters by window: anything that GDAL opens is read, any of its formats is written.

with open_raster(path) as image:
    image.read(Window(...)); image.read_mask(Window(...)); image.georef(ground)
with RasterWriter(path, RasterSpec(...), RasterOptions(...)) as writer:
    writer.write(array, Window(...)); writer.write_mask(mask, Window(...))
with ResumableWriter(path, RasterSpec(...), RasterOptions(...), job=fingerprint) as writer:
    for number, window in enumerate(blocks[writer.done :], start=writer.done + 1):
        writer.write(array, window); writer.checkpoint(number)
"""

from attachtrans.stores.raster.base import Raster
from attachtrans.stores.raster.drivers import check_writable, driver_for
from attachtrans.stores.raster.image import RasterImage, bounded_cache, open_raster
from attachtrans.stores.raster.resumable import ResumableWriter, tidy
from attachtrans.stores.raster.spec import RASTER_COMPRESSION, RasterOptions, RasterSpec
from attachtrans.stores.raster.writer import RasterWriter

__all__ = [
    "RASTER_COMPRESSION",
    "Raster",
    "RasterImage",
    "RasterOptions",
    "RasterSpec",
    "RasterWriter",
    "ResumableWriter",
    "bounded_cache",
    "check_writable",
    "driver_for",
    "open_raster",
    "tidy",
]
