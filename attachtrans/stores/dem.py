"""Elevation models in files, as the ground around a place.

Where the model's own grid is the frame (or the frame in another unit), its cells are taken as they
are: nothing is resampled. Elsewhere (longitudes and latitudes, Web Mercator, another zone) heights
are interpolated bilinearly at the centres of a grid of the same fineness in the frame, which is
the surface that `DemGround` has between the centres of the model's own cells.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS
from pyproj.crs import CompoundCRS
from pyproj.exceptions import CRSError

from attachtrans.errors import ArgumentError, CrsError, GeorefError, SourceError
from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.frame import has_heights, horizontal, read_crs, transform, unit_m, with_heights
from attachtrans.geo.ground import DemGround
from attachtrans.stores.demwindow import Area, DemGrid, warped
from attachtrans.stores.raster import RasterImage, open_raster
from attachtrans.types import Size

Floats = NDArray[np.float64]
Heights = NDArray[np.floating]

ELLIPSOID = "ellipsoid"
"""What `vertical` may say besides a vertical CRS: heights above the ellipsoid."""

_MOST_CELLS = 25_000_000
"""Of one ground: 100 MB as float32, 1.25 km x 1.25 km at 0.25 m."""
_MOST_WARPED = 9_000_000
"""The same where heights are interpolated: places take 16 bytes a cell besides."""
_KEPT_CELLS = 2 * _MOST_CELLS
_SMALL = 4_000_000
"""A model of fewer cells is read whole, once."""
_BLOCK = 512
_FARTHEST_M = 500_000.0
"""Nothing on the ground is seen from further away: from the highest mountain it is 360 km."""
_OF_PICTURES = frozenset({"red", "green", "blue", "alpha"})
_UNITS_M = {
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), 1.0),
    **dict.fromkeys(("ft", "foot", "feet", "international foot"), 0.3048),
    **dict.fromkeys(
        ("us-ft", "us_ft", "ftus", "us survey foot", "us survey feet", "foot_us", "us_survey_foot"),
        1200.0 / 3937.0,
    ),
    **dict.fromkeys(("cm", "centimetre", "centimeter"), 0.01),
    **dict.fromkeys(("dm", "decimetre", "decimeter"), 0.1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A ground that was read, with what asks for the same must match."""

    key: tuple[object, ...]
    area: Area
    ground: DemGround


class Dem:
    """An elevation model of a file; made by `open`. Thread-safe.

    path  of the file
    crs   of its cells; with a vertical part where the file or its user says what heights mean
    """

    def __init__(self, image: RasterImage, band: int, crs: CRS, grid: DemGrid) -> None:
        """Take over an open raster."""
        self.path = image.path
        self.crs = crs
        self._image, self._band, self._grid = image, band, grid
        self._unit_m = _unit_m(image, band, crs)
        self._lock = RLock()
        self._kept: list[_Kept] = []
        self._notes: dict[str, None] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, band: int = 1, vertical: object = None) -> Self:
        """Open an elevation or surface model; close it after use.

        Args:
            path: anything that GDAL reads, with a CRS.
            band: the one with the heights, from 1.
            vertical: what its heights mean, when the file does not say: a vertical CRS such as
                "EPSG:3855" (EGM2008), or "ellipsoid".

        Raises:
            SourceError: it cannot be opened.
            CrsError: it has no CRS or transform, or `vertical` is no vertical CRS.
            ArgumentError: it has no such band, or that is one of a picture.
            GeorefError: its heights are in a unit that is not known.
        """
        image = open_raster(path)
        try:
            grid = _grid(image, band)
            crs = image.crs or grid.crs
            return cls(image, band, crs if vertical is None else _declared(crs, vertical), grid)
        except BaseException:
            image.close()
            raise

    def describe(self) -> str:
        """One line for people: cells, coordinate system, what heights mean."""
        across, down = np.hypot(*self._grid.affine.linear)
        unit = "degrees" if horizontal(self.crs).is_geographic else "units"
        if horizontal(self.crs).is_projected and unit_m(self.crs) == 1.0:
            unit = "m"
        datum = (
            f"heights {_datum(self.crs)}" if has_heights(self.crs) else "vertical datum not said"
        )
        scale = "" if self._unit_m == 1.0 else f", 1 unit of height = {self._unit_m:g} m"
        size = self._grid.size
        return (
            f"{self.path.name}: {size.width} x {size.height} cells of {across:g} x {down:g} "
            f"{unit}, {horizontal(self.crs).name}, {datum}{scale}"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed or simplified for the grounds given so far."""
        with self._lock:
            return tuple(self._notes)

    def ground(
        self,
        crs: CRS,
        centre_xy: ArrayLike,
        radius_m: float,
        *,
        earth_radius_m: float | None = None,
        own_datum: bool = False,
    ) -> DemGround:
        """The ground around a place; heights in metres.

        Args:
            crs: the frame: projected, in metres, true to scale (`work_crs`). With a vertical part
                the heights are given in that datum, if the model's own is known too; otherwise
                both are taken to be the same, and `notes` says so.
            centre_xy: (x, y) in the frame.
            radius_m: at least the square of this half side is covered, as far as the model
                reaches; infinity for all that can be seen.
            earth_radius_m: see `DemGround`.
            own_datum: heights stay in the model's datum, whatever it is: for cameras whose height
                is counted from this ground.

        Raises:
            GeorefError: there are no heights within the radius.
            CrsError: the frame is not in metres; heights cannot be transformed exactly, with the
                grid that PROJ lacks.
        """
        target = read_crs(crs)
        flat = horizontal(target)
        if not flat.is_projected or unit_m(flat) != 1.0:
            raise CrsError(f"{flat.name} is not in metres; take the frame of `LocalFrame.at`")
        centre = np.asarray(centre_xy, dtype=np.float64)[:2]
        with self._lock:
            unit = self._grid.unit_in(flat)
            find = self._own if unit is not None else self._resampled
            target = flat if own_datum else target
            shifts = not own_datum and self._shifts(target)
            key = (flat, _datum(target) if shifts else "", earth_radius_m)
            area, read = find(flat, centre, min(float(radius_m), _FARTHEST_M))
            for index, kept in enumerate(self._kept):
                # A larger one would do, but what a photo gets must not depend on those before it.
                if kept.key == key and kept.area == area:
                    self._kept.append(self._kept.pop(index))
                    return kept.ground
            heights, affine = read()
            if not np.isfinite(heights).any():
                raise self._nothing(centre, radius_m, flat)
            heights = self._in_datum(heights, affine, target) if shifts else heights
            ground = DemGround(heights, affine, earth_radius_m=earth_radius_m)
            self._keep(_Kept(key=key, area=area, ground=ground))
            return ground

    def close(self) -> None:
        """Let go of the file."""
        self._image.close()

    def _keep(self, new: _Kept) -> None:
        self._kept.append(new)
        while (
            len(self._kept) > 1
            and sum(kept.ground.surface.heights.size for kept in self._kept) > _KEPT_CELLS
        ):
            self._kept.pop(0)

    def _own(
        self, flat: CRS, centre: Floats, radius_m: float
    ) -> tuple[Area, Callable[[], tuple[Heights, PixelToMap]]]:
        """The model's own cells around a place."""
        unit = self._grid.unit_in(flat) or 1.0
        wanted = self._grid.around(centre / unit, radius_m / unit)
        if wanted is None:
            raise self._nothing(centre, radius_m, flat)
        step = max(1, int(np.ceil(np.sqrt(wanted.cells / _MOST_CELLS))))
        wanted = wanted.snapped(step, self._grid.size)
        area = wanted
        if step == 1:
            whole = Area(left=0, top=0, right=self._grid.size.width, bottom=self._grid.size.height)
            larger = whole if whole.cells <= _SMALL else wanted.snapped(_BLOCK, self._grid.size)
            area = larger if larger.cells <= _MOST_CELLS else wanted
        else:
            self._tell_thinned(step)

        def read() -> tuple[Heights, PixelToMap]:
            size = Size(-(-area.width // step), -(-area.height // step))
            heights = self._heights(area, None if step == 1 else size)
            t = self._grid.affine
            across, down = area.width / size.width, area.height / size.height
            c, f = t.to_map(np.array([[area.left], [area.top]], dtype=np.float64))[:, 0]
            numbers = (t.a * across, t.b * down, c, t.d * across, t.e * down, f)
            return heights, PixelToMap.read([number * unit for number in numbers])

        return (area if step == 1 else area.of_step(step)), read

    def _resampled(
        self, flat: CRS, centre: Floats, radius_m: float
    ) -> tuple[Area, Callable[[], tuple[Heights, PixelToMap]]]:
        """Heights at a grid of the frame, as fine as the model's own."""
        cell = self._grid.cell_in(flat, centre)
        low, high = centre - radius_m, centre + radius_m
        bounds = self._grid.bounds_in(flat, centre)
        if bounds is not None:
            low, high = np.maximum(low, bounds[0]), np.minimum(high, bounds[1])
            if (low >= high).any():
                raise self._nothing(centre, radius_m, flat)
        step = max(1.0, float(np.sqrt(np.prod(high - low) / _MOST_WARPED)) / cell)
        if step > 1.0:
            self._tell_thinned(step)
        # By eighths of powers of two, so that photos beside each other get the same grid.
        side = float(2.0 ** (np.floor(8.0 * np.log2(cell * step)) / 8.0))
        low, high = np.floor(low / side), np.ceil(high / side)
        area = Area(
            left=int(low[0]) - 1, top=int(-high[1]) - 1, right=int(high[0]) + 1,
            bottom=int(-low[1]) + 1, step=side,
        )  # fmt: skip

        def read() -> tuple[Heights, PixelToMap]:
            affine = PixelToMap(
                a=side, b=0.0, c=area.left * side, d=0.0, e=-side, f=-area.top * side
            )
            size = Size(area.width, area.height)
            heights = warped(self._grid, flat, affine, size, self._heights, step=step)
            if heights is None:
                raise self._nothing(centre, radius_m, flat)
            return heights, affine

        return area, read

    def _tell_thinned(self, step: float) -> None:
        self._notes[
            f"{self.path.name} has too many cells for one view: it was read {step:.3g} times "
            "coarser; a nearer --far keeps it as it is"
        ] = None

    def _heights(self, area: Area, size: Size | None) -> Heights:
        """(height, width) metres, nan without data."""
        if area.cells == 0:
            raise SourceError(f"{self.path}: an empty window was asked for")
        values = self._image.read_band(self._band, area.window, size=size)
        factor, offset = self._image.scaling[self._band - 1]
        exact = values.dtype.itemsize <= 2 or values.dtype == np.float32
        wide = values.data.astype(np.float32 if exact else np.float64)
        heights: Heights = np.where(np.ma.getmaskarray(values), wide.dtype.type(np.nan), wide)
        heights[~np.isfinite(heights)] = np.nan
        if (factor, offset, self._unit_m) != (1.0, 0.0, 1.0):
            heights = (heights.astype(np.float64) * factor + offset) * self._unit_m
        return heights

    def _shifts(self, target: CRS) -> bool:
        """Whether heights have to be transformed; says what is assumed where that is unknown."""
        if has_heights(target) and has_heights(self.crs):
            return _datum(target) != _datum(self.crs)
        said = next((_datum(crs) for crs in (self.crs, target) if has_heights(crs)), None)
        self._notes[
            f"the heights of the camera and of {self.path.name} are taken to be in one vertical "
            f"datum{'' if said is None else f' ({said})'}: "
            f"{'neither says' if said is None else 'only one of them says'} which"
        ] = None
        return False

    def _in_datum(self, heights: Heights, affine: PixelToMap, target: CRS) -> Heights:
        """Heights of the model's datum in that of the frame, cell by cell."""
        flat = horizontal(target)
        source = with_heights(flat, self.crs)
        units = [float(crs.axis_info[2].unit_conversion_factor) for crs in (source, target)]
        moved = heights.astype(np.float64)
        cols = np.arange(heights.shape[1]) + 0.5
        for row, line in enumerate(moved):
            places = affine.to_map(np.stack([cols, np.full_like(cols, row + 0.5)]))
            points = np.stack([*places, line / units[0]])
            line[:] = transform(source, target, points)[2] * units[1]
        return moved

    def _nothing(self, centre: Floats, radius_m: float, flat: CRS) -> GeorefError:
        return GeorefError(
            f"{self.path.name} has no heights within {radius_m:.0f} m of ({centre[0]:.1f}, "
            f"{centre[1]:.1f}) in {flat.name}: name an elevation model that covers the photos"
        )


def _grid(image: RasterImage, band: int) -> DemGrid:
    """Where the cells lie. Raises ArgumentError, CrsError for what is no elevation model."""
    if not 1 <= band <= image.bands or image.dtype.kind not in "iuf":
        raise ArgumentError(
            f"{image.path}: there is no band {band} of heights: it has {image.bands} of "
            f"{image.dtype}"
        )
    if image.crs is None or image.transform is None:
        raise CrsError(
            f"{image.path} does not say where it lies (it has no CRS or no transform); add them, "
            "for example with gdal_translate -a_srs"
        )
    if image.colours[band - 1] in _OF_PICTURES:
        raise ArgumentError(
            f"{image.path}: is a picture ({', '.join(image.colours)}) and no elevation model: its "
            f"band {band} is {image.colours[band - 1]}"
        )
    return DemGrid(affine=image.transform, size=image.size, crs=horizontal(image.crs))


def _unit_m(image: RasterImage, band: int, crs: CRS) -> float:
    """Metres per unit of the heights: as the band says, else as the vertical CRS does."""
    unit = image.units[band - 1]
    if unit is not None:
        factor = _UNITS_M.get(unit.strip().casefold())
        if factor is None:
            raise GeorefError(
                f"{image.path}: band {band} has heights in {unit!r}, which is no known unit; set "
                "it to metre or ft"
            )
        return factor
    return float(crs.axis_info[2].unit_conversion_factor) if has_heights(crs) else 1.0


def _declared(crs: CRS, vertical: object) -> CRS:
    flat = horizontal(crs)
    if isinstance(vertical, str) and vertical.casefold() == ELLIPSOID:
        return flat.to_3d()
    try:
        read = CRS.from_user_input(vertical)
    except CRSError as error:
        raise CrsError(f"the vertical datum {vertical!r} cannot be read: {error}") from error
    if not read.is_vertical or read.is_compound:
        raise CrsError(
            f"{read.name} is no vertical CRS: give one such as EPSG:3855 (EGM2008) or EPSG:5773 "
            f"(EGM96), or {ELLIPSOID!r}"
        )
    return with_heights(flat, CompoundCRS(read.name, [flat, read]))


def _datum(crs: CRS) -> str:
    """What heights of a CRS with heights are above, by name."""
    return crs.sub_crs_list[1].name if crs.is_compound else f"{crs.name}: ellipsoid"
