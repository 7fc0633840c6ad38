"""Services that draw any window that they are asked for: WMS, ArcGIS exportImage and export.

The grid is asked for in blocks of a fixed size, whatever windows are read, so that an answer in
the cache serves again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pyproj import CRS

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.geo.gridding import Bounds, Gridding, target_grid
from attachtrans.geo.view import Grid
from attachtrans.stores.raster.gridded import gridded
from attachtrans.stores.services.base import Address, Answer, Picture, Service
from attachtrans.stores.services.blocks import BlockRaster, Content
from attachtrans.stores.services.client import Client
from attachtrans.stores.services.pictures import read_picture
from attachtrans.stores.services.pyramid import asked_box, asked_cell
from attachtrans.types import Size

_BLOCK = 1024
_BIGGEST = Size(_BLOCK, _BLOCK)
_MARGIN_PX = 4
"""What interpolation looks at beside an area, where the server's windows are warped."""
UrlOf = Callable[[Bounds, Size, CRS], str]
"""(box, size in pixels, system of the box and of the picture) -> the address of a window."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExportService:
    """A service that draws windows.

    name      to show
    crs       its own system
    bounds    of what it shows, in `crs`; None where it does not say
    cell      side of its own pixels, in `crs`; None where it has none of its own
    origin    (x, y) of a corner of its own pixels
    biggest   window that it draws
    draws     whether it draws windows of a grid, by system and shape of the cells
    bands, dtype, nodata  None where only a picture tells
    """

    address: Address
    name: str
    crs: CRS
    url_of: UrlOf
    draws: Callable[[Grid], bool]
    bounds: Bounds | None = None
    cell: float | None = None
    origin: tuple[float, float] | None = None
    biggest: Size = _BIGGEST
    bands: int | None = None
    dtype: np.dtype[Any] | None = None
    nodata: float | None = None
    names: tuple[str | None, ...] = ()
    colours: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


def open_export(service: ExportService, asked: Gridding, client: Client) -> Service:
    """The grid that is asked for, drawn by the server; where it cannot, one near to it, warped.

    Raises:
        ArgumentError: no extent or cell size where one is needed, or beside the service.
        SourceError: what comes is no picture.
    """
    native = _native(service, asked)
    target = target_grid(native, asked)
    grid = target if service.draws(target) else native
    block = Size(min(_BLOCK, service.biggest.width), min(_BLOCK, service.biggest.height))
    windows = _Windows(service, grid, block, client)
    raster = BlockRaster(
        _content(service, windows),
        grid,
        block,
        windows.fetch,
        parallel=client.access.parallel,
        release=client.close,
    )
    count = math.prod(-(-side // most) for side, most in zip(grid.size, block, strict=True))
    how = "" if grid is target else f", and warped from {grid.crs.name}"
    return Service(
        kind=service.address.kind,
        raster=gridded(raster, target, resampling=asked.resampling),
        notes=(f"the server draws {count} windows of at most {block.width} x {block.height}{how}",),
    )


class _Windows:
    """The blocks of a grid."""

    def __init__(self, service: ExportService, grid: Grid, block: Size, client: Client) -> None:
        self._service, self._grid, self._block, self._client = service, grid, block, client

    def fetch(self, col: int, row: int) -> Picture | None:
        """A block, drawn by the server; None where nothing is on it."""
        size = self._size(col, row)
        url = self._service.url_of(self._box(col, row, size), size, self._grid.crs)
        limits, bands = self._client.access.limits, self._service.bands
        nodata = self._service.nodata

        def read(answer: Answer) -> Picture | None:
            return read_picture(answer, limits, bands)

        picture = self._client.get(url, read)
        if picture is None:
            raise SourceError(
                f"{self._client.show(url)}: the server knows no such address: look at it in a "
                "browser"
            )
        if picture.pixels.shape[1:] != (size.height, size.width):
            high, wide = picture.pixels.shape[1:]
            raise SourceError(
                f"{self._client.show(url)}: {size.width} x {size.height} pixels were asked for and "
                f"{wide} x {high} came"
            )
        return picture if nodata is None else _without(picture, nodata)

    def sample(self) -> Picture:
        """The block in the middle: what the service's pictures are like."""
        middle = [
            side // most // 2 for side, most in zip(self._grid.size, self._block, strict=True)
        ]
        picture = self.fetch(*middle)
        if picture is None:
            raise SourceError(f"{self._service.name}: nothing came for the middle of the extent")
        return picture

    def _size(self, col: int, row: int) -> Size:
        width = min(self._block.width, self._grid.size.width - col * self._block.width)
        height = min(self._block.height, self._grid.size.height - row * self._block.height)
        return Size(width, height)

    def _box(self, col: int, row: int, size: Size) -> Bounds:
        left, top = col * self._block.width, row * self._block.height
        ends = np.array([[left, left + size.width], [top + size.height, top]], dtype=np.float64)
        (west, east), (south, north) = self._grid.pixel_to_map(ends)
        return float(west), float(south), float(east), float(north)


def _without(picture: Picture, nodata: float) -> Picture:
    """A picture in which the service's own nodata counts, too."""
    same = np.isnan(picture.pixels) if math.isnan(nodata) else picture.pixels == nodata
    mask = np.where(same.all(axis=0), np.uint8(0), picture.mask)
    return Picture(pixels=picture.pixels, mask=mask, nodata=nodata)


def _content(service: ExportService, windows: _Windows) -> Content:
    bands, dtype, nodata = service.bands, service.dtype, service.nodata
    if bands is None or dtype is None:
        sample = windows.sample()
        bands, dtype = sample.pixels.shape[0], sample.pixels.dtype
        nodata = nodata if dtype == np.uint8 else sample.nodata
    return Content(
        name=service.name,
        identity=f"{service.name} {service.address.layer} {service.address.options}",
        bands=bands,
        dtype=dtype,
        nodata=nodata,
        colours=service.colours if len(service.colours) == bands else (),
        names=service.names if len(service.names) == bands else (),
        tags=service.tags,
    )


def _native(service: ExportService, asked: Gridding) -> Grid:
    """A grid in the service's system over the extent, of its own cells or those asked for."""
    box = asked_box(asked, service.crs, service.bounds, service.name)
    wanted = asked_cell(asked, service.crs, box)
    if wanted is None and service.cell is None:
        raise ArgumentError(
            f"{service.name} draws at any scale and has no cell size of its own: name a --cell-size"
        )
    if wanted is not None and asked.cell_size is not None:  # the shorter side loses nothing
        wide, high = asked.cell_size
        wanted *= min(wide, high) / math.sqrt(wide * high)
    own = wanted is None or service.cell is None or math.isclose(wanted, service.cell)
    cell = service.cell if own and service.cell is not None else wanted or 1.0
    beside = _MARGIN_PX * cell
    left, bottom, right, top = box[0] - beside, box[1] - beside, box[2] + beside, box[3] + beside
    if own and service.origin is not None:  # on the corners of its pixels: nothing is resampled
        x, y = service.origin
        left = x + math.floor((left - x) / cell + 1e-6) * cell
        top = y - math.floor((y - top) / cell + 1e-6) * cell
    width, height = ((right - left) / cell, (top - bottom) / cell)
    size = Size(*(max(1, math.ceil(side - 1e-6)) for side in (width, height)))
    return Grid((cell, 0.0, left, 0.0, -cell, top), size, service.crs)


def square(grid: Grid) -> bool:
    """Whether cells are as wide as they are high."""
    return math.isclose(grid.affine.a, -grid.affine.e, rel_tol=1e-9)
