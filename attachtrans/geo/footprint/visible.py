"""What of a footprint is seen, without what stands behind other ground."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from shapely.geometry import MultiPolygon, Polygon

from attachtrans.errors import HorizonError
from attachtrans.geo.footprint.base import Footprint
from attachtrans.geo.footprint.cells import cells_area
from attachtrans.geo.footprint.outline import areas_of
from attachtrans.geo.footprint.reproject import reprojected
from attachtrans.geo.ground import DemGround
from attachtrans.geo.occlusion import CUT_M, Box, Horizon
from attachtrans.geo.view import CameraView


def visible_area(view: CameraView, footprint: Footprint, *, cut_m: float = CUT_M) -> Footprint:
    """A footprint without the ground that other ground hides from the camera.

    It has the edges of the elevation model's cells where something hidden begins; cells without
    data are not seen. Over level ground nothing is hidden.

    Args:
        view: the camera and its ground.
        footprint: made of it; its shares stay.
        cut_m: how deep the ground has to cut a sight line, see `geo.occlusion`.

    Raises:
        HorizonError: all of it is hidden.
    """
    ground = view.surface
    if not isinstance(ground, DemGround):
        return replace(footprint, kind="visible")
    box = _box(ground, footprint.shape)
    seen = Horizon.of(view, box=box, cut_m=cut_m).excess <= 0.0
    corner = ground.grid.to_map(np.array([[box.left], [box.top]], dtype=np.float64))[:, 0]
    grid = replace(ground.grid, c=float(corner[0]), f=float(corner[1]))
    cells = cells_area(seen, grid)
    shape = areas_of(cells.intersection(footprint.shape))
    if shape.area <= 0.0:
        raise HorizonError("nothing of the footprint is visible: other ground hides all of it")
    return replace(
        footprint,
        kind="visible",
        shape=shape,
        geometry=reprojected(shape, footprint.frame, footprint.crs),
    )


def _box(ground: DemGround, area: Polygon | MultiPolygon) -> Box:
    """The cells about an area."""
    west, south, east, north = area.bounds
    corners = np.array([[west, east, east, west], [south, south, north, north]])
    cols, rows = ground.grid.to_pixels(corners)
    height, width = ground.surface.heights.shape
    left, right = np.clip([np.floor(cols.min()), np.ceil(cols.max())], 0, width).astype(int)
    top, bottom = np.clip([np.floor(rows.min()), np.ceil(rows.max())], 0, height).astype(int)
    return Box(int(left), int(top), int(right), int(bottom))
