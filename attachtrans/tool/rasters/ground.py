"""Rasters that an RPC places, on the ground of an elevation model."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from pyproj import CRS

from attachtrans.geo.frame import transform, utm
from attachtrans.geo.rpcmodel import RpcModel
from attachtrans.geo.view import Georef
from attachtrans.stores.dem import Dem
from attachtrans.stores.raster import RasterImage

_WGS_84 = CRS.from_epsg(4326)


def on_dem(image: RasterImage, dem: Path, stack: ExitStack, notes: list[str]) -> Georef | None:
    """Where a raster with an RPC lies on an elevation model; None for rasters of other kinds.

    Args:
        image: an open raster.
        dem: file of the elevation model, which stays open as long as the stack.
        stack: closes it.
        notes: gets what was assumed of heights.

    Raises:
        GeorefError: the RPC is damaged, or there are no heights under the scene.
        CrsError: heights of the model cannot be transformed.
        SourceError: it cannot be read.
    """
    if image.transform is not None or not image.rpc:
        return None
    model = RpcModel.from_tags(image.rpc)
    place = np.array([model.long_off, model.lat_off])
    frame = utm(_WGS_84, place)
    corners = place[:, None] + np.array([[-1, 1, 1, -1], [-1, -1, 1, 1]]) * np.array(
        [[model.long_scale], [model.lat_scale]]
    )
    centre = transform(_WGS_84, frame, place[:, None])[:, 0]
    radius = float(np.abs(transform(_WGS_84, frame, corners) - centre[:, None]).max())
    surface = Dem.open(dem)
    stack.callback(surface.close)
    # RPCs take heights above the ellipsoid: a frame of three dimensions.
    ground = surface.ground(frame.to_3d(), centre, radius)
    notes.extend(note for note in surface.notes if note not in notes)
    return image.georef(ground, crs=frame)
