"""A raster read on another grid: other cells, another extent, another coordinate system.

What is a part of the raster on its own pixels is read as it is. All else goes through `Rectifier`,
as photos do: windows are the pixels of the whole to the last bit, in any kind of georeference, and
pixels without data take no part. (GDAL's warper, by way of rasterio, gives other pixels by windows
than whole: the way of its pixels is approximated along the lines of each piece.)
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError, CrsError
from attachtrans.geo.frame import transform
from attachtrans.geo.gridding import Resampling, same_crs
from attachtrans.geo.rectify import Interpolation, Rectifier
from attachtrans.geo.view import Georef, Grid
from attachtrans.stores.raster.base import Raster
from attachtrans.stores.raster.derived import DerivedRaster, filler
from attachtrans.types import Size, Window

Pixels = NDArray[Any]

_INTERPOLATIONS: dict[str, Interpolation] = {
    "nearest": "nearest",
    "bilinear": "linear",
    "cubic": "cubic",
}
_WHOLE_PX = 1e-3
"""How far from whole pixels corners may lie for pixels to be taken as they are."""
_LATTICE = 17
_COARSE = 2.0
"""From how many pixels per cell on a reduced copy is looked for."""


@runtime_checkable
class Reducible(Protocol):
    """A raster that has copies of fewer pixels: overviews, levels of a pyramid."""

    def reduced(self, factor: float) -> Raster | None:
        """The smallest copy whose pixels are at most `factor` times as large; None: there is none.

        It is open, shows the same area, and is closed by the caller.
        """
        ...


def gridded(
    raster: Raster, grid: Grid, georef: Georef | None = None, *, resampling: Resampling = "bilinear"
) -> Raster:
    """A raster on a grid; it closes the raster.

    Args:
        raster: of real numbers.
        grid: of the result; it may reach beyond the raster, where there is no data.
        georef: where the raster's pixels lie, None: as its transform and CRS say.
        resampling: between pixels; bilinear and cubic take means where cells are larger than those,
            from overviews where the raster has some.

    Returns:
        The raster itself where the grid is its own, and pixels as they are where the grid is a part
        of it. Pixels without data hold its nodata, else 0.

    Raises:
        CrsError: the raster does not say where it lies.
        ArgumentError: a resampling that there is not; a georef of another size.
    """
    if resampling not in _INTERPOLATIONS:
        raise ArgumentError(
            f"resampling is one of {', '.join(_INTERPOLATIONS)}, not {resampling!r}"
        )
    source = placed(raster) if georef is None else georef
    if source.size != raster.size:
        raise ArgumentError(
            f"{raster.name} has {raster.size.width} x {raster.size.height} pixels, its "
            f"georeference {source.size.width} x {source.size.height}"
        )
    corner = _whole_pixels(source, grid)
    if corner is None:
        return _Rectified(raster, source, grid, _INTERPOLATIONS[resampling])
    if corner == (0, 0) and raster.size == grid.size:
        return raster
    return _Cropped(raster, grid, corner)


def placed(raster: Raster) -> Grid:
    """Where a raster lies by its transform.

    Raises:
        CrsError: it has no transform, or no coordinate system.
    """
    if raster.transform is None or raster.crs is None:
        raise CrsError(
            f"{raster.name} does not say where it lies (it has no transform or no CRS): leave cell "
            "size, extent, mask and CRS out, or add them, for example with gdal_translate -a_srs"
        )
    return Grid(raster.transform, raster.size, raster.crs)


def _whole_pixels(source: Georef, grid: Grid) -> tuple[int, int] | None:
    """The column and row of the source that the grid begins at; None where pixels are others."""
    if not isinstance(source, Grid) or not same_crs(source.crs, grid.crs):
        return None
    width, height = grid.size
    corners = np.array([[0.0, width, 0.0], [0.0, 0.0, height]])
    found = source.map_to_pixel(grid.pixel_to_map(corners))
    first = np.rint(found[:, :1])
    if np.abs(found - first - corners).max() > _WHOLE_PX:
        return None
    return int(first[0, 0]), int(first[1, 0])


class _Cropped(DerivedRaster):
    """A part of a raster, or more than it: pixels as they are."""

    def __init__(self, raster: Raster, grid: Grid, corner: tuple[int, int]) -> None:
        super().__init__(raster)
        self._corner = corner
        self.size, self.transform = grid.size, grid.affine

    def read(self, window: Window | None = None, *, bands: Sequence[int] | None = None) -> Pixels:
        place = self._place(window)
        inner, slices = self._inner(place)
        count = self.bands if bands is None else len(bands)
        if inner == self._moved(place):
            return self._raster.read(inner, bands=bands)
        values = np.full((count, place.height, place.width), filler(self._raster), self.dtype)
        if inner is not None:
            values[:, *slices] = self._raster.read(inner, bands=bands)
        return values

    def read_mask(self, window: Window | None = None) -> NDArray[np.uint8]:
        place = self._place(window)
        inner, slices = self._inner(place)
        mask = np.zeros((place.height, place.width), dtype=np.uint8)
        if inner is not None:
            mask[slices] = self._raster.read_mask(inner)
        return mask

    def _moved(self, place: Window) -> Window:
        col, row = self._corner
        return Window(
            col=place.col + col, row=place.row + row, width=place.width, height=place.height
        )

    def _inner(self, place: Window) -> tuple[Window | None, tuple[slice, slice]]:
        """The part of a window that the raster has, None for nothing, and where it goes."""
        moved, (width, height) = self._moved(place), self._raster.size
        left, top = max(moved.col, 0), max(moved.row, 0)
        right = min(moved.col + moved.width, width)
        bottom = min(moved.row + moved.height, height)
        if left >= right or top >= bottom:
            return None, (slice(0), slice(0))
        inner = Window(col=left, row=top, width=right - left, height=bottom - top)
        rows = slice(top - moved.row, bottom - moved.row)
        return inner, (rows, slice(left - moved.col, right - moved.col))

    def _change(self) -> bytes:
        return f"part {self._corner} {tuple(self.size)}".encode()


class _Window(NamedTuple):
    """What was computed last: pixels are often asked for just before or after their mask."""

    place: Window
    bands: tuple[int, ...]
    values: Pixels
    mask: NDArray[np.uint8]


class _Rectified(DerivedRaster):
    """A raster resampled to a grid."""

    def __init__(
        self, raster: Raster, georef: Georef, grid: Grid, interpolation: Interpolation
    ) -> None:
        super().__init__(raster)
        self.size, self.transform, self.crs = grid.size, grid.affine, grid.crs
        self._lock = Lock()
        self._last: _Window | None = None
        self._lattice = lattice_of(georef, grid)
        self._reduced = None
        if interpolation != "nearest" and isinstance(raster, Reducible):
            factor = _pixels_per_cell(self._lattice, grid.size)
            self._reduced = raster.reduced(factor) if factor >= _COARSE else None
        if self._reduced is not None:
            georef = georef.resized(self._reduced.size)
        self._source = self._reduced or raster
        self._rectifier = Rectifier(georef=georef, grid=grid, interpolation=interpolation)

    def read(self, window: Window | None = None, *, bands: Sequence[int] | None = None) -> Pixels:
        wanted = self._numbers(bands)
        last = self._computed(self._place(window), wanted)
        if last.bands == wanted:
            return last.values.copy()
        return last.values[[last.bands.index(band) for band in wanted]]

    def read_mask(self, window: Window | None = None) -> NDArray[np.uint8]:
        return self._computed(self._place(window), None).mask.copy()

    def close(self) -> None:
        if self._reduced is not None:
            self._reduced.close()
        super().close()

    def _numbers(self, bands: Sequence[int] | None) -> tuple[int, ...]:
        return tuple(range(1, self.bands + 1)) if bands is None else tuple(bands)

    def _computed(self, place: Window, bands: tuple[int, ...] | None) -> _Window:
        """A window's pixels and mask; bands None: whichever."""
        with self._lock:
            last = self._last
        if last is not None and last.place == place and set(bands or ()) <= set(last.bands):
            return last
        wanted = self._numbers(bands)
        values, mask = self._rectifier.window(place, lambda part: self._part(part, wanted))
        np.copyto(values, filler(self._raster), where=mask == 0)
        alpha = self._alpha(wanted)
        if alpha is not None:
            mask = np.where(values[alpha] > 0, _eight_bits(values[alpha]), np.uint8(0)) & mask
        made = _Window(place, wanted, values, mask)
        with self._lock:
            self._last = made
        return made

    def _part(self, part: Window, bands: tuple[int, ...]) -> Pixels:
        """Pixels of the source, masked where there is no data."""
        values = self._source.read(part, bands=bands)
        hidden = self._source.read_mask(part) == 0
        return np.ma.MaskedArray(values, np.broadcast_to(hidden, values.shape))

    def _alpha(self, bands: tuple[int, ...]) -> int | None:
        """Which of some bands says how opaque pixels are."""
        shown = [self.colours[band - 1] for band in bands]
        return shown.index("alpha") if "alpha" in shown else None

    def _change(self) -> bytes:
        how = f"{self._rectifier.interpolation} {tuple(self.size)} {self.transform} {self.crs}"
        return how.encode() + rounded(self._lattice).tobytes()


def _eight_bits(alpha: Pixels) -> NDArray[np.uint8]:
    """Opacity as a mask has it."""
    if alpha.dtype == np.uint8:
        return alpha
    return np.full(alpha.shape, 255, dtype=np.uint8)


def lattice_of(georef: Georef, grid: Grid) -> NDArray[np.float64]:
    """(2, rows, cols) pixels of a raster that a lattice over a grid shows."""
    ends = np.linspace(0.0, 1.0, _LATTICE)
    places = np.stack(np.meshgrid(ends, ends)).reshape(2, -1) * np.array(grid.size)[:, None]
    on_map = transform(grid.crs, georef.crs, grid.pixel_to_map(places))
    return georef.map_to_pixel(on_map).reshape(2, _LATTICE, _LATTICE)


def rounded(lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """A lattice as names of jobs have it: rounding, and the sign that it gives zeros, left out."""
    return np.round(lattice, 4) + 0.0


def _pixels_per_cell(lattice: NDArray[np.float64], size: Size) -> float:
    """How many of the raster's pixels lie along the side of a cell, where those are smallest."""
    across = np.hypot(*np.diff(lattice, axis=2)) * (_LATTICE - 1) / size.width
    down = np.hypot(*np.diff(lattice, axis=1)) * (_LATTICE - 1) / size.height
    lengths = np.concatenate([across.ravel(), down.ravel()])
    lengths = lengths[np.isfinite(lengths)]
    return float(lengths.min()) if lengths.size else 1.0
