"""Images on the map by ground control points."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Literal, NamedTuple, Self, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError, GeorefError
from attachtrans.geo.camera.base import checked_size, columns, ratios
from attachtrans.geo.frame import horizontal, read_crs
from attachtrans.geo.view.warps import Homography, Polynomial, Spline, Warp
from attachtrans.types import Size

Floats = NDArray[np.float64]

Method: TypeAlias = Literal[
    "auto", "homography", "tps", "polynomial1", "polynomial2", "polynomial3"
]


class Residuals(NamedTuple):
    """How far a fit misses its control points: fitted - given.

    pixels  (2, N): where the map position is found in the image
    map     (2, N): where the pixel comes to lie, units of the CRS
    """

    pixels: Floats
    map: Floats

    @property
    def rms_px(self) -> float:
        """Root of the mean squared distance, in pixels."""
        return float(np.sqrt((self.pixels**2).sum(axis=0).mean()))

    @property
    def rms_map(self) -> float:
        """The same in units of the CRS."""
        return float(np.sqrt((self.map**2).sum(axis=0).mean()))


@dataclass(frozen=True, slots=True, eq=False)
class Gcps:
    """An image that comes with control points.

    points  (4, N): col and row from the OUTER CORNER of the first pixel as GDAL has them, x and y
            in `crs`
    size    (width, height)
    crs     of the map coordinates
    method  how to go on from the points, least squares with all points alike:
            homography   4 or more; photos of something flat: a facade, a wall, level ground.
                         Beyond the plane's horizon there is nothing
            polynomial1 to 3   3, 6, 10 or more; scanned maps and scenes
            tps          3 or more; the thin plate through every point
            auto         polynomial2 from 6 points on, else polynomial1: what GDAL and so QGIS and
                         others take unasked, so that a raster lies where they show it

    The fit is from pixels to the map, and `map_to_pixel` is its exact inverse; GDAL fits a second
    time for that, so that there and back differ in it.

    residuals  of the fit, see `Residuals`

    Raises:
        ArgumentError: another method, not a (4, N) array of finite numbers.
        GeorefError: too few points, or points that fix nothing.
    """

    points: Floats
    size: Size
    crs: CRS
    _: KW_ONLY
    method: Method = "auto"
    residuals: Residuals = field(init=False, repr=False)
    warp: Warp = field(init=False, repr=False)

    def __post_init__(self) -> None:
        points = columns(self.points, 4).copy()
        if self.method not in get_args(Method):
            raise ArgumentError(
                f"method is one of {', '.join(get_args(Method))}, not {self.method!r}"
            )
        if not np.isfinite(points).all():
            raise ArgumentError("control points are finite numbers (col, row, x, y)")
        points.flags.writeable = False
        crs = read_crs(self.crs)
        warp = _fitted(points[:2], _unrolled(points[2:], crs), self.method)
        for name, value in (
            ("points", points),
            ("size", checked_size(self.size)),
            ("crs", crs),
            ("warp", warp),
        ):
            object.__setattr__(self, name, value)
        residuals = Residuals(
            self.map_to_pixel(points[2:]) - points[:2],
            warp.forward(points[:2]) - _unrolled(points[2:], crs),
        )
        if not np.isfinite(residuals.pixels).all():
            raise GeorefError(
                f"the {self.method} fit of the control points folds over: some of them lie on its "
                "other side; check them, or use another method"
            )
        object.__setattr__(self, "residuals", residuals)

    def pixel_to_map(self, pixels: ArrayLike) -> Floats:
        """See `Georef`; nan beyond the horizon of a homography."""
        xy = self.warp.forward(columns(pixels, 2))
        if horizontal(self.crs).is_geographic:
            xy = _turned(xy, 0.0)
        return xy

    def map_to_pixel(self, xy: ArrayLike) -> Floats:
        """See `Georef`; nan where no pixel of the fit lies there."""
        place = columns(xy, 2)
        if horizontal(self.crs).is_geographic:
            place = _turned(place, self.points[2, 0])
        return self.warp.inverse(place)

    def resized(self, size: Size) -> Self:
        """The image with another number of pixels: columns and rows of the points follow."""
        size = checked_size(size)
        across, down = ratios(self.size, size)
        points = self.points * np.array([[across], [down], [1.0], [1.0]])
        return replace(self, points=points, size=size)


def _fitted(pixels: Floats, xy: Floats, method: Method) -> Warp:
    if method == "homography":
        return Homography.fit(pixels, xy)
    if method == "tps":
        return Spline.fit(pixels, xy)
    if method == "auto":
        return Polynomial.fit(pixels, xy, 2 if pixels.shape[1] >= 6 else 1)
    return Polynomial.fit(pixels, xy, int(method[-1]))


def _unrolled(xy: Floats, crs: CRS) -> Floats:
    """Longitudes that run on across the antimeridian; other coordinates as they are."""
    return _turned(xy, xy[0, 0]) if horizontal(crs).is_geographic and xy.size else xy


def _turned(lonlat: Floats, about: float) -> Floats:
    """Longitudes within 180 degrees of one of them."""
    turns = np.round((lonlat[0] - about) / 360.0)
    return np.stack([lonlat[0] - 360.0 * turns, lonlat[1]])
