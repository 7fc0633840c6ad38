"""A raster whose pixels come in blocks from somewhere else: several at a time, each once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.view import Grid
from attachtrans.stores.services.base import Fetch, Picture
from attachtrans.types import Size, Window

_KEPT_BYTES = 256 * 1024**2
_RGB = ("red", "green", "blue")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What the blocks of a service hold.

    identity  what tells this content from another, without secrets
    """

    name: str
    identity: str
    bands: int
    dtype: np.dtype[Any]
    nodata: float | None = None
    colours: tuple[str, ...] = ()
    names: tuple[str | None, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


class BlockRaster:
    """A `Raster` of blocks that are fetched when they are first read. Thread-safe.

    grid      where its pixels lie
    block     size of a block; the last ones of a row and a column may be smaller
    fetch     brings a block of the size that is due; None is a block without data
    parallel  blocks that are fetched at a time
    release   called by `close`
    """

    def __init__(
        self,
        content: Content,
        grid: Grid,
        block: Size,
        fetch: Fetch,
        *,
        parallel: int,
        release: Callable[[], None],
    ) -> None:
        self.content, self.grid, self.block = content, grid, block
        self._fetch, self._release = fetch, release
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="service")
        self._kept: OrderedDict[tuple[int, int], Picture | None] = OrderedDict()
        self._kept_bytes = 0
        self._lock = Lock()

    @property
    def name(self) -> str:
        """The address, fit to be shown."""
        return self.content.name

    @property
    def size(self) -> Size:
        """See `Raster`."""
        return self.grid.size

    @property
    def bands(self) -> int:
        """See `Raster`."""
        return self.content.bands

    @property
    def dtype(self) -> np.dtype[Any]:
        """See `Raster`."""
        return self.content.dtype

    @property
    def nodata(self) -> float | None:
        """See `Raster`."""
        return self.content.nodata

    @property
    def colours(self) -> tuple[str, ...]:
        """See `Raster`."""
        by_number = {1: ("gray",), 3: _RGB}
        default = by_number.get(self.bands, ("undefined",) * self.bands)
        return self.content.colours or default

    @property
    def names(self) -> tuple[str | None, ...]:
        """See `Raster`."""
        return self.content.names or (None,) * self.bands

    @property
    def tags(self) -> Mapping[str, str]:
        """See `Raster`."""
        return self.content.tags

    @property
    def crs(self) -> CRS:
        """See `Raster`."""
        return self.grid.crs

    @property
    def transform(self) -> PixelToMap:
        """See `Raster`."""
        return self.grid.affine

    def read(
        self, window: Window | None = None, *, bands: Sequence[int] | None = None
    ) -> NDArray[np.generic]:
        """See `Raster`. Where there is no data: nodata, or 0."""
        place = self._checked(window)
        chosen = list(range(1, self.bands + 1)) if bands is None else list(bands)
        if not all(1 <= band <= self.bands for band in chosen):
            raise ArgumentError(f"{self.name} has bands 1 to {self.bands}, asked for {chosen}")
        fill = 0 if self.nodata is None else self.nodata
        out: NDArray[Any] = np.full((len(chosen), place.height, place.width), fill, self.dtype)
        rows = [band - 1 for band in chosen]
        for picture, there, here in self._pieces(place):
            pixels = picture.pixels[(rows, *there)]
            # What a server paints where it has no data is no value of anything.
            out[(slice(None), *here)] = np.where(
                picture.mask[there] > 0, pixels, out.dtype.type(fill)
            )
        return out

    def read_mask(self, window: Window | None = None) -> NDArray[np.uint8]:
        """See `Raster`."""
        place = self._checked(window)
        out: NDArray[np.uint8] = np.zeros((place.height, place.width), np.uint8)
        for picture, there, here in self._pieces(place):
            out[here] = picture.mask[there]
        return out

    def _checked(self, window: Window | None) -> Window:
        size = self.size
        place = window or Window(col=0, row=0, width=size.width, height=size.height)
        right, bottom = place.col + place.width, place.row + place.height
        if min(place.col, place.row) < 0 or right > size.width or bottom > size.height:
            raise ArgumentError(f"{place} reaches out of {self.name}, {size.width} x {size.height}")
        return place

    def _pieces(
        self, place: Window
    ) -> list[tuple[Picture, tuple[slice, slice], tuple[slice, slice]]]:
        """(picture, its part, where that lies in the window) of the blocks that a window needs."""
        width, height = self.block
        cols = range(place.col // width, -(-(place.col + place.width) // width))
        rows = range(place.row // height, -(-(place.row + place.height) // height))
        keys = [(col, row) for row in rows for col in cols]
        found = self._blocks(keys)
        pieces = []
        for (col, row), picture in zip(keys, found, strict=True):
            if picture is None:
                continue
            left, top = max(place.col, col * width), max(place.row, row * height)
            right = min(place.col + place.width, (col + 1) * width)
            bottom = min(place.row + place.height, (row + 1) * height)
            there = (
                slice(top - row * height, bottom - row * height),
                slice(left - col * width, right - col * width),
            )
            here = (
                slice(top - place.row, bottom - place.row),
                slice(left - place.col, right - place.col),
            )
            pieces.append((picture, there, here))
        return pieces

    def _blocks(self, keys: list[tuple[int, int]]) -> list[Picture | None]:
        with self._lock:
            found = {key: self._kept[key] for key in keys if key in self._kept}
            for key in found:
                self._kept.move_to_end(key)
        missing = [key for key in keys if key not in found]
        tasks = [self._pool.submit(self._fitting, *key) for key in missing]
        try:
            for key, task in zip(missing, tasks, strict=True):
                found[key] = task.result()
        finally:
            for task in tasks:  # after an error nobody wants the others
                task.cancel()
        self._keep({key: found[key] for key in missing})
        return [found[key] for key in keys]

    def _fitting(self, col: int, row: int) -> Picture | None:
        picture = self._fetch(col, row)
        return None if picture is None else fitted(picture, self.content)

    def _keep(self, fresh: Mapping[tuple[int, int], Picture | None]) -> None:
        with self._lock:
            for key, picture in fresh.items():
                if key not in self._kept:
                    self._kept[key] = picture
                    self._kept_bytes += _nbytes(picture)
            while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._kept_bytes -= _nbytes(dropped)

    def fingerprint(self) -> str:
        """See `Raster`: of the address, the layer and the grid; a server does not say more."""
        t = self.grid.affine
        numbers = (t.a, t.b, t.c, t.d, t.e, t.f, *self.size)
        text = f"{self.content.identity} {numbers} {self.crs.to_wkt()}"
        return hashlib.sha256(text.encode()).hexdigest()

    def close(self) -> None:
        """See `Raster`."""
        self._pool.shutdown(cancel_futures=True)
        self._release()


def fitted(picture: Picture, content: Content) -> Picture:
    """A picture with the bands and the type of the others; gray ones become RGB.

    Raises:
        SourceError: it is of another kind.
    """
    pixels = picture.pixels
    if pixels.shape[0] == 1 and content.bands == 3:
        pixels = np.broadcast_to(pixels, (3, *pixels.shape[1:]))
    if pixels.shape[0] != content.bands or not np.can_cast(pixels.dtype, content.dtype):
        raise SourceError(
            f"{content.name}: pictures of {content.bands} bands of {content.dtype} came, then one "
            f"of {pixels.shape[0]} bands of {pixels.dtype}"
        )
    return Picture(pixels=pixels.astype(content.dtype, copy=False), mask=picture.mask)


def _nbytes(picture: Picture | None) -> int:
    return 64 if picture is None else picture.pixels.nbytes + picture.mask.nbytes
