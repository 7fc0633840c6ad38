"""Satellite scenes by their rational polynomials, on a ground.

A pixel is where its line of sight, followed from above, first comes under the ground.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError, GeorefError
from attachtrans.geo.camera.base import checked_size, columns, ratios
from attachtrans.geo.frame import horizontal, read_crs, transform
from attachtrans.geo.ground import DemGround, FlatGround
from attachtrans.geo.ground.base import Ground
from attachtrans.geo.rpcmodel import RpcModel
from attachtrans.types import Size

Floats = NDArray[np.float64]

_WGS84 = CRS.from_epsg(4326)
_CHUNK = 1 << 13
"""Pixels at a time."""
_STEP_CELLS = 0.5
"""How far apart a line of sight is compared with an elevation model."""
_REFINEMENTS = 60
_HAIR_M = 1e-3
_CLOSE_M = 1e-8
"""Next to nothing in pixels of a centimetre, but above the rounding of longitudes."""


@dataclass(frozen=True, slots=True, eq=False)
class Rpc:
    """A scene that comes with an RPC.

    model       the polynomials, see `RpcModel`; its pixels are from the centre, those here from
                the outer corner
    size        (width, height)
    ground      a `FlatGround` or a `DemGround`, with heights in the RPC's datum (most often above
                the ellipsoid), metres. Its places may be degrees: no straight ray meets it
    crs         of the map coordinates
    ground_crs  of the ground's places; None: as `crs`

    places      horizontal part of that

    Raises:
        ArgumentError: another kind of ground.
        CrsError: a CRS cannot be read.
    """

    model: RpcModel
    size: Size
    ground: Ground
    crs: CRS = _WGS84
    _: KW_ONLY
    ground_crs: CRS | None = None
    places: CRS = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.ground, FlatGround | DemGround):
            raise ArgumentError(
                "an RPC is placed on a FlatGround or a DemGround, not on a "
                f"{type(self.ground).__name__}"
            )
        crs = read_crs(self.crs)
        under = crs if self.ground_crs is None else read_crs(self.ground_crs)
        object.__setattr__(self, "size", checked_size(self.size))
        object.__setattr__(self, "crs", crs)
        object.__setattr__(self, "places", horizontal(under))

    def pixel_to_map(self, pixels: ArrayLike) -> Floats:
        """See `Georef`; nan where the line of sight meets no ground that is known."""
        return transform(_WGS84, horizontal(self.crs), self.look(pixels)[:2])

    def map_to_pixel(self, xy: ArrayLike) -> Floats:
        """See `Georef`; nan without ground, and far from the scene."""
        place = columns(xy, 2)
        lonlat = transform(horizontal(self.crs), _WGS84, place)
        height = self.ground.height(transform(horizontal(self.crs), self.places, place))
        return self.see(np.stack([*lonlat, height]))

    def look(self, pixels: ArrayLike) -> Floats:
        """(2, N) pixels -> (3, N) longitude, latitude and height of the ground they show."""
        centred = columns(pixels, 2) - 0.5
        ground = self.ground
        if not isinstance(ground, DemGround):
            height = ground.height(centred)
            return np.stack([*self.model.locate(centred, height), height])
        found = np.full((3, centred.shape[1]), np.nan)
        for begin in range(0, centred.shape[1], _CHUNK):
            part = slice(begin, begin + _CHUNK)
            found[:, part] = self._met(ground, centred[:, part])
        return found

    def see(self, points: ArrayLike) -> Floats:
        """(3, N) longitude, latitude, height -> (2, N) pixels from the outer corner."""
        place = columns(points, 3)
        pixels: Floats = self.model.project(place[:2], place[2]) + 0.5
        return pixels

    def corrected(self, pixels: ArrayLike, points: ArrayLike) -> tuple[Self, Floats]:
        """The scene moved so that control points lie where they were seen, in the mean.

        Args:
            pixels: (2, N) from the outer corner, where the points were seen.
            points: (3, N) x, y in `crs` and the height in metres.

        Returns:
            The moved scene, and (2, N) pixels by which each point is still off: seen - computed.

        Raises:
            GeorefError: no points, or some that the RPC does not reach.
        """
        place = columns(points, 3)
        lonlat = transform(horizontal(self.crs), _WGS84, place[:2])
        off = columns(pixels, 2) - self.see(np.stack([*lonlat, place[2]]))
        if not off.size or not np.isfinite(off).all():
            raise GeorefError(
                "an RPC is corrected by 1 or more control points (col, row, x, y, height) within "
                f"its scene; {int(np.isfinite(off).all(axis=0).sum())} of {off.shape[1]} are"
            )
        shift = off.mean(axis=1)
        moved = replace(self, model=self.model.shifted(float(shift[0]), float(shift[1])))
        return moved, off - shift[:, None]

    def to_tags(self) -> dict[str, str]:
        """GDAL's "RPC" metadata domain, for a file of this size."""
        return self.model.to_tags()

    def resized(self, size: Size) -> Self:
        """The scene with another number of pixels."""
        size = checked_size(size)
        return replace(self, model=self.model.scaled(*ratios(self.size, size)), size=size)

    def _met(self, ground: DemGround, centred: Floats) -> Floats:
        """(2, N) pixels from the centre -> (3, N) where the line of sight meets the model."""
        sight = _Sight(self.model, self.places, ground, centred)
        low, high = self.model.heights
        # A hair more than the surface has, so that lines begin above and end below it.
        top = min(ground.surface.highest + _HAIR_M, high)
        bottom = max(ground.surface.lowest - _HAIR_M, low)
        if top <= bottom:
            return np.full((3, centred.shape[1]), np.nan)
        return sight.refined(*sight.bracket(top, bottom))


class _Sight(NamedTuple):
    """Lines of sight of pixels, and the elevation model under them."""

    model: RpcModel
    crs: CRS
    ground: DemGround
    centred: Floats

    def bracket(self, top: float, bottom: float) -> tuple[Floats, Floats]:
        """(N,) the heights between which each line first comes under the ground; nan if never.

        Lines of sight are all but straight: from end to end they are followed as a parabola. One
        that comes out of a hole in the data under the ground has met none that is known.
        """
        heights = (top, 0.5 * (top + bottom), bottom)
        first, middle, last = (self._places(np.full(self.centred.shape[1], z))[0] for z in heights)
        bend = 4.0 * middle - 2.0 * (first + last)
        above = np.full(self.centred.shape[1], np.nan)
        below = above.copy()
        known = top > self.ground.height(first)
        left = np.flatnonzero(np.isfinite(first + middle + last).all(axis=0))
        known = known[left]
        count = self._steps(first[:, left], last[:, left])
        for step in range(1, count + 1):
            share = step / count
            straight = (1.0 - share) * first[:, left] + share * last[:, left]
            gap = self._height(top, bottom, share) - self.ground.height(
                straight + share * (1.0 - share) * bend[:, left]
            )
            under = gap <= 0.0
            met = left[under & known]
            above[met] = self._height(top, bottom, (step - 1) / count)
            below[met] = self._height(top, bottom, share)
            known, left = np.isfinite(gap[~under]), left[~under]
            if not left.size:
                break
        return above, below

    def refined(self, above: Floats, below: Floats) -> Floats:
        """(3, N) lon, lat, height where lines meet the ground between two heights (N,)."""
        found = np.full((3, above.size), np.nan)
        left = np.flatnonzero(np.isfinite(above))
        sight = self._replace(centred=self.centred[:, left])
        above, below = above[left], below[left]
        gap_above, gap_below = sight.gap(above)[1], sight.gap(below)[1]
        for step in range(_REFINEMENTS):
            if not left.size:
                break
            secant = (above * gap_below - below * gap_above) / (gap_below - gap_above)
            height = 0.5 * (above + below) if step % 2 else secant
            lonlat, gap = sight.gap(height)
            found[:, left] = np.where(np.isfinite(gap), np.stack([*lonlat, height]), np.nan)
            over = gap > 0.0
            above, gap_above = np.where(over, height, above), np.where(over, gap, gap_above)
            below, gap_below = np.where(over, below, height), np.where(over, gap_below, gap)
            open_ = (np.abs(gap) > _CLOSE_M) & (np.abs(above - below) > _CLOSE_M)
            left, sight = left[open_], sight._replace(centred=sight.centred[:, open_])
            above, below, gap_above, gap_below = (
                ends[open_] for ends in (above, below, gap_above, gap_below)
            )
        return found

    def gap(self, height: Floats) -> tuple[Floats, Floats]:
        """(2, N) lon, lat at heights (N,), and (N,) how far above the ground that is."""
        place, lonlat = self._places(height)
        return lonlat, height - self.ground.height(place)

    def _places(self, height: Floats) -> tuple[Floats, Floats]:
        """(2, N) in the ground's CRS at heights (N,), and the same as longitudes, latitudes."""
        lonlat = self.model.locate(self.centred, height)
        return transform(_WGS84, self.crs, lonlat), lonlat

    def _steps(self, first: Floats, last: Floats) -> int:
        """In how many steps the longest way through the elevation model is looked at."""
        way = np.abs(self.ground.grid.to_pixels(first) - self.ground.grid.to_pixels(last))
        return max(1, int(np.ceil(way.max(initial=0.0) / _STEP_CELLS)))

    @staticmethod
    def _height(top: float, bottom: float, share: float) -> float:
        return (1.0 - share) * top + share * bottom
