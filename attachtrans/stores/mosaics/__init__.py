"""Collections of rasters: VRT, tile index, footprints with paths, STAC items, a folder.

with open_mosaic("footprints.gpkg", MosaicChoice(where="cloud < 10")) as mosaic:
    for member in mosaic.members: ...         # nothing is opened
    mosaic.member(0)                          # one raster
    mosaic.mosaicked("date")                  # all of them as one raster, the newest on top
"""

from attachtrans.stores.mosaics.base import Member, MosaicChoice, MosaicKind, Order
from attachtrans.stores.mosaics.image import MosaicImage
from attachtrans.stores.mosaics.mosaic import Mosaic, open_mosaic
from attachtrans.stores.mosaics.recognise import recognise

__all__ = [
    "Member",
    "Mosaic",
    "MosaicChoice",
    "MosaicImage",
    "MosaicKind",
    "Order",
    "open_mosaic",
    "recognise",
]
