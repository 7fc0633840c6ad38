"""Tile services as a raster: the level nearest to the cell size, and which tiles are none.

A tile that is missing (404, 204) or transparent is without data. So is a placeholder ("map data
not yet available"): the very same bytes at several places are no imagery. Some tiles of the area,
and a few around it, are looked at first, so that placeholders are known before anything is read;
one that none of them shows is told from the third place on at which it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.geo.gridding import Gridding, target_grid
from attachtrans.stores.raster.gridded import gridded
from attachtrans.stores.services.base import Address, Answer, Picture, Service
from attachtrans.stores.services.blocks import BlockRaster, Content, fitted
from attachtrans.stores.services.client import Client
from attachtrans.stores.services.pictures import read_picture
from attachtrans.stores.services.pyramid import (
    Pyramid,
    TileMatrix,
    TileRange,
    asked_box,
    asked_cell,
)

Place = tuple[int, int]
UrlOf = Callable[[TileMatrix, int, int], str]
"""(level, column, row) -> the address of a tile."""

_SAME_AT = 3
"""Places at which one picture is a placeholder."""
_LOOKED_AT = 7
"""Tiles that are looked at first: up to so many along each side of the area, spread evenly."""
_AROUND = 9
"""Tiles between the area and those around it that are looked at, too."""
_MOST_DIGESTS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileService:
    """A service that has tiles.

    name   to show
    tags   of the raster
    """

    address: Address
    name: str
    pyramid: Pyramid
    url_of: UrlOf
    tags: dict[str, str]


class Placeholders:
    """Counts the places at which the same bytes were seen. Thread-safe."""

    def __init__(self) -> None:
        self._places: dict[bytes, set[Place]] = {}
        self._lock = Lock()

    def seen(self, data: bytes, place: Place) -> bool:
        """Note a tile; whether it is one of the same at several places."""
        digest = hashlib.sha256(data).digest()[:16]
        with self._lock:
            places = self._places.setdefault(digest, set())
            if len(places) < _SAME_AT:
                places.add(place)
            if len(self._places) > _MOST_DIGESTS:  # those that are one of a kind tell nothing
                self._places = {key: at for key, at in self._places.items() if len(at) > 1}
            return len(places) >= _SAME_AT


class Tiles:
    """The tiles of one level. Thread-safe once it was surveyed."""

    def __init__(self, service: TileService, matrix: TileMatrix, client: Client) -> None:
        self.service, self.matrix, self.client = service, matrix, client
        self._placeholders = Placeholders()
        self._looked_at: dict[Place, tuple[Picture | None, bytes]] = {}

    def fetch(self, col: int, row: int) -> Picture | None:
        """A tile; None where there is none, or nothing is on it."""
        known = self._looked_at.get((col, row))
        picture, data = known or self._ask((col, row))
        if picture is None or not picture.mask.any():
            return None
        self._check(picture, (col, row))
        again = self._placeholders.seen(data, (col, row))
        return None if again and not self.client.access.keep_blank else picture

    def survey(self, tiles: TileRange) -> tuple[list[Picture], tuple[str, ...]]:
        """Look at some tiles of an area: those that have data, and what is to be said.

        Raises:
            SourceError: none has.
        """
        inside = [(col, row) for row in _spread(tiles.rows) for col in _spread(tiles.cols)]
        around = _around(tiles, self.matrix.limits) if tiles.count < _LOOKED_AT**2 else []
        with ThreadPoolExecutor(self.client.access.parallel) as pool:
            list(pool.map(self._peek, around))
            self._looked_at = dict(zip(inside, pool.map(self._ask, inside), strict=True))
        for place, (picture, data) in self._looked_at.items():
            if picture is not None:
                self._placeholders.seen(data, place)
        pictures = [found for found in (self.fetch(*place) for place in inside) if found]
        missing = sum(picture is None for picture, _ in self._looked_at.values())
        empty = len(inside) - len(pictures) - missing
        said = (
            f"of {len(inside)} tiles looked at, {missing} are missing and {empty} are transparent "
            f"or one picture at {_SAME_AT} places or more: taken as without data"
        )
        if not pictures:
            url = self.client.show(self.service.url_of(self.matrix, *inside[len(inside) // 2]))
            raise SourceError(
                f"{url}: {said}. Look at this address in a browser; name a coarser --cell-size or "
                "another --extent"
            )
        return pictures, (said,) if missing or empty else ()

    def _ask(self, place: Place, retries: int | None = None) -> tuple[Picture | None, bytes]:
        limits = self.client.access.limits

        def read(answer: Answer) -> tuple[Picture | None, bytes]:
            return read_picture(answer, limits), answer.data

        return self.client.get(self.service.url_of(self.matrix, *place), read, retries=retries)

    def _check(self, picture: Picture, place: Place) -> None:
        high, wide = picture.mask.shape
        tile = self.matrix.tile
        if (wide, high) != tile:
            url = self.client.show(self.service.url_of(self.matrix, *place))
            raise SourceError(
                f"{url}: the tile has {wide} x {high} pixels and not {tile.width} x {tile.height}; "
                f"if all of a template have, write #tilesize={wide} behind it"
            )

    def _peek(self, place: Place) -> None:
        """Note a tile beside the area, which may well be none."""
        with contextlib.suppress(SourceError):
            picture, data = self._ask(place, retries=0)
            if picture is not None:
                self._placeholders.seen(data, place)


def open_tiles(service: TileService, asked: Gridding, client: Client) -> Service:
    """The level nearest to the cell size, read on the grid that is asked for.

    Raises:
        ArgumentError: no extent or cell size where one is needed, or beside the service.
        SourceError: nothing is there.
    """
    pyramid = service.pyramid
    box = asked_box(asked, pyramid.crs, pyramid.bounds, service.name)
    matrix = pyramid.nearest(asked_cell(asked, pyramid.crs, box))
    tiles = matrix.range_of(box)
    if tiles is None:
        raise ArgumentError(
            f"--extent {asked.extent} lies beside the tiles of {service.name} at level "
            f"{matrix.name}"
        )
    native = matrix.grid_of(tiles, pyramid.crs)
    target = target_grid(native, asked)  # what cannot be made is refused before anything is asked
    level = Tiles(service, matrix, client)
    pictures, said = level.survey(matrix.range_of(box, margin_px=0.0) or tiles)
    content = _content(service, matrix, pictures)
    for picture in pictures:
        fitted(picture, content)
    raster = BlockRaster(
        content,
        native,
        matrix.tile,
        lambda col, row: level.fetch(tiles.first_col + col, tiles.first_row + row),
        parallel=client.access.parallel,
        release=client.close,
    )
    note = (
        f"level {matrix.name} is read: cells of {matrix.cell:.6g} in {pyramid.crs.name}, "
        f"{tiles.count} tiles"
    )
    return Service(
        kind=service.address.kind,
        raster=gridded(raster, target, resampling=asked.resampling),
        notes=(note, *said),
    )


def _content(service: TileService, matrix: TileMatrix, pictures: list[Picture]) -> Content:
    dtype = np.result_type(*(picture.pixels.dtype for picture in pictures))
    nodata = {picture.nodata for picture in pictures}
    return Content(
        name=service.name,
        identity=f"{service.name} {service.address.layer} {service.address.options} {matrix.name}",
        bands=max(picture.pixels.shape[0] for picture in pictures),
        dtype=dtype,
        # In bytes it is how GDAL tells of a transparent colour, which differs between tiles.
        nodata=nodata.pop() if len(nodata) == 1 and dtype != np.uint8 else None,
        tags=service.tags,
    )


def _spread(numbers: range) -> list[int]:
    """Some of them, the first and the last among them, evenly apart."""
    count = min(len(numbers), _LOOKED_AT)
    places = np.linspace(0, len(numbers) - 1, count).round().astype(int)
    return [numbers[int(place)] for place in places]


def _around(tiles: TileRange, limits: TileRange) -> list[Place]:
    """Eight tiles at a distance about an area, as far as there are any."""
    cols = (tiles.first_col - _AROUND, tiles.cols[len(tiles.cols) // 2], tiles.last_col + _AROUND)
    rows = (tiles.first_row - _AROUND, tiles.rows[len(tiles.rows) // 2], tiles.last_row + _AROUND)
    return [
        (col, row)
        for row in rows
        for col in cols
        if col in limits.cols
        and row in limits.rows
        and not (col in tiles.cols and row in tiles.rows)
    ]
