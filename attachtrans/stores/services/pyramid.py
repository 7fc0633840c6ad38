"""Tile matrices: grids of tiles over one area, each finer than the last.

Longitude or easting comes first in every coordinate here, whatever the CRS says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from pyproj import CRS

from attachtrans.errors import ArgumentError
from attachtrans.geo.frame import transform, unit_m
from attachtrans.geo.gridding import Bounds, Gridding, moved_bounds, same_crs
from attachtrans.geo.view import Grid
from attachtrans.types import Size

OGC_PIXEL_M = 0.00028
"""A pixel of a scale denominator (OGC 07-057r7, 6.1)."""
METRES_PER_DEGREE = 6_378_137.0 * math.pi / 180.0
WEB_MERCATOR_EDGE = 6_378_137.0 * math.pi
FINEST_ZOOM = 30
_MARGIN_PX = 4
"""What interpolation looks at beside an area."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRange:
    """Tiles by column and row, the last ones included."""

    first_col: int
    first_row: int
    last_col: int
    last_row: int

    @property
    def cols(self) -> range:
        return range(self.first_col, self.last_col + 1)

    @property
    def rows(self) -> range:
        return range(self.first_row, self.last_row + 1)

    @property
    def count(self) -> int:
        return len(self.cols) * len(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileMatrix:
    """One level. Tiles are numbered from the top left.

    name    what the service calls it
    cell    side of a pixel in map units
    origin  (x, y) of the top left corner
    tile    size of a tile
    limits  the tiles that may be asked for
    """

    name: str
    cell: float
    origin: tuple[float, float]
    tile: Size
    limits: TileRange

    def range_of(self, box: Bounds, margin_px: float = _MARGIN_PX) -> TileRange | None:
        """The tiles that a box and a margin touch, None when there are none."""
        left, bottom, right, top = box
        wide, high = self.cell * self.tile.width, self.cell * self.tile.height
        hair = 1e-6  # of a tile: a box that ends at a tile's edge does not touch the next one
        margin_x, margin_y = margin_px / self.tile.width, margin_px / self.tile.height
        limits = self.limits
        first_col = math.floor((left - self.origin[0]) / wide - margin_x + hair)
        last_col = math.ceil((right - self.origin[0]) / wide + margin_x - hair) - 1
        first_row = math.floor((self.origin[1] - top) / high - margin_y + hair)
        last_row = math.ceil((self.origin[1] - bottom) / high + margin_y - hair) - 1
        found = TileRange(
            first_col=max(first_col, limits.first_col),
            first_row=max(first_row, limits.first_row),
            last_col=min(last_col, limits.last_col),
            last_row=min(last_row, limits.last_row),
        )
        return found if found.cols and found.rows else None

    def within(self, limits: TileRange) -> TileMatrix:
        """The same level with other limits."""
        return replace(self, limits=limits)

    def grid_of(self, tiles: TileRange, crs: CRS) -> Grid:
        """The grid of the pixels of some tiles."""
        left = self.origin[0] + tiles.first_col * self.tile.width * self.cell
        top = self.origin[1] - tiles.first_row * self.tile.height * self.cell
        size = Size(len(tiles.cols) * self.tile.width, len(tiles.rows) * self.tile.height)
        return Grid((self.cell, 0.0, left, 0.0, -self.cell, top), size, crs)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pyramid:
    """The levels of a service.

    bounds  of what the service shows, in `crs`
    known   the finest level is the service's, not just the finest that there could be
    """

    crs: CRS
    matrices: tuple[TileMatrix, ...]
    bounds: Bounds
    known: bool = True

    def nearest(self, cell: float | None) -> TileMatrix:
        """The level whose pixels come nearest to a size, the finer of two; None: the finest.

        Raises:
            ArgumentError: no size is given, and the service does not say what its finest is.
        """
        if cell is None:
            if not self.known:
                raise ArgumentError(
                    "the template does not say how far its zoom levels go: name a --cell-size, or "
                    "the last zoom behind the template (#zmax=19)"
                )
            return min(self.matrices, key=lambda matrix: matrix.cell)
        return min(
            self.matrices, key=lambda matrix: (abs(math.log2(matrix.cell / cell)), matrix.cell)
        )


def web_mercator(zooms: range, tile: Size, *, known: bool) -> Pyramid:
    """Google's and OpenStreetMap's tiles: a square world, halved with each zoom."""
    edge = WEB_MERCATOR_EDGE
    matrices = tuple(
        TileMatrix(
            name=str(zoom),
            cell=2.0 * edge / (tile.width * 2**zoom),
            origin=(-edge, edge),
            tile=tile,
            limits=TileRange(first_col=0, first_row=0, last_col=2**zoom - 1, last_row=2**zoom - 1),
        )
        for zoom in zooms
    )
    return Pyramid(
        crs=CRS.from_epsg(3857), matrices=matrices, bounds=(-edge, -edge, edge, edge), known=known
    )


def cell_of_scale(denominator: float, crs: CRS) -> float:
    """A scale denominator of OGC as the side of a pixel in map units."""
    unit = METRES_PER_DEGREE if crs.is_geographic else unit_m(crs)
    return denominator * OGC_PIXEL_M / unit


def asked_box(asked: Gridding, crs: CRS, shown: Bounds | None, name: str) -> Bounds:
    """The extent that was asked for, in a service's system, as far as the service shows it.

    Raises:
        ArgumentError: no extent, or one beside the service.
    """
    if asked.extent is None:
        raise ArgumentError(
            f"{name} is a service and has no size of its own: name the --extent to translate "
            "(with --extent-crs, such as EPSG:4326) and the --cell-size"
        )
    system = asked.extent_crs or asked.crs or crs
    box = moved_bounds(asked.extent, system, crs)
    if shown is None:
        return box
    cut = (*np.maximum(box[:2], shown[:2]).tolist(), *np.minimum(box[2:], shown[2:]).tolist())
    if cut[0] >= cut[2] or cut[1] >= cut[3]:
        raise ArgumentError(
            f"--extent {asked.extent} in {system.name} lies beside what {name} shows: {shown} in "
            f"{crs.name}"
        )
    return cut


def asked_cell(asked: Gridding, crs: CRS, box: Bounds) -> float | None:
    """The cell size that was asked for, in a service's system at the middle of a box."""
    if asked.cell_size is None:
        return None
    wide, high = asked.cell_size
    system = asked.crs or crs
    if same_crs(system, crs):
        return math.sqrt(wide * high)
    middle = np.array([[(box[0] + box[2]) / 2.0], [(box[1] + box[3]) / 2.0]])
    there = transform(crs, system, middle)
    corners = there + np.array([[0.0, wide, 0.0], [0.0, 0.0, high]])
    zero, right, up = transform(system, crs, corners).T
    return math.sqrt(abs(float(np.linalg.det(np.stack([right - zero, up - zero])))))
