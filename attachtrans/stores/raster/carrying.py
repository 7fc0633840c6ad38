"""What places a raster in its own file, carried over to a result with another number of pixels.

Pixel space for rasters: the net runs on rows and columns, and the result gets the georeference of
the raster at its own size: the same transform, control points and RPC, rescaled. To have it on the
map instead, it is read on a grid: `gridded(result, grid, image.georef(...).resized(size))`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pyproj import CRS

from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.carriers import scale_gcps, scale_geotransform, scale_rpc_tags
from attachtrans.stores.raster.image import RasterImage
from attachtrans.stores.raster.spec import Point
from attachtrans.types import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """What a raster's file says of its place, in the words of `RasterSpec`.

    crs        of the transform or of the control points
    transform  of outer-corner pixels; None for none
    gcps       (col, row, x, y, z), pixels from the outer corner; none beside a transform
    rpc        GDAL's "RPC" metadata
    """

    crs: CRS | None = None
    transform: PixelToMap | None = None
    gcps: tuple[Point, ...] = ()
    rpc: Mapping[str, str] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """As `RasterSpec` takes them: RasterSpec(..., **carrier.fields())."""
        return {name: getattr(self, name) for name in ("crs", "transform", "gcps", "rpc")}


def carried_back(image: RasterImage, size: Size) -> Carrier:
    """The place of a raster, for the same picture with `size` pixels.

    Raises:
        GeorefError: the RPC is damaged.
    """
    before, t = image.size, image.transform
    scaled = None
    if t is not None:
        c, a, b, f, d, e = scale_geotransform((t.c, t.a, t.b, t.f, t.d, t.e), before, size)
        scaled = PixelToMap(a=a, b=b, c=c, d=d, e=e, f=f)
    points: tuple[Point, ...] = ()
    if scaled is None and image.gcps.size:
        pixels = scale_gcps(image.gcps[:2], before, size)
        table = np.vstack([pixels, image.gcps[2:], image.gcp_heights])
        points = tuple((c, r, x, y, z) for c, r, x, y, z in table.T.tolist())
    return Carrier(
        crs=image.crs,
        transform=scaled,
        gcps=points,
        rpc=scale_rpc_tags(image.rpc, before, size) if image.rpc else {},
    )
