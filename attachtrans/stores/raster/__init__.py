"""Rasters by window: anything that GDAL opens is read, GeoTIFF and COG are written.

with open_raster(path) as image:
    image.read(Window(...)); image.read_mask(Window(...)); image.georef(ground)
with RasterWriter(path, RasterSpec(...), RasterOptions(...)) as writer:
    writer.write(array, Window(...)); writer.write_mask(mask, Window(...))
"""

from attachtrans.stores.raster.base import Raster
from attachtrans.stores.raster.image import RasterImage, open_raster
from attachtrans.stores.raster.writer import RasterOptions, RasterSpec, RasterWriter

__all__ = ["Raster", "RasterImage", "RasterOptions", "RasterSpec", "RasterWriter", "open_raster"]
