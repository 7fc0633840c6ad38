"""The metric frame in which cameras and grounds meet, and its way to coordinate systems.

Geometry needs x, y and z in one unit, at one scale, with a known north. Where the data's own CRS
is projected and true to scale there (UTM, state plane), it is the frame, in metres, with the axes
east and north. Elsewhere (longitudes and latitudes, Web Mercator, polar grids) the frame is an
azimuthal equidistant projection about the camera: distances and directions from the camera are
exact in it, at the poles and across the antimeridian as well.

Heights keep their datum, in metres. A datum is changed by `transform` only, which refuses where
PROJ lacks the grid: PROJ itself would return the heights unchanged.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS, Proj, Transformer
from pyproj.crs import CompoundCRS, ProjectedCRS
from pyproj.crs.coordinate_operation import AzimuthalEquidistantConversion, UTMConversion
from pyproj.crs.coordinate_system import Cartesian2DCS
from pyproj.exceptions import CRSError, ProjError
from pyproj.transformer import TransformerGroup

from attachtrans.errors import ArgumentError, CrsError

Floats = NDArray[np.float64]

_TRUE_TO_SCALE = 0.002
"""How far from 1 a projection's scale may be where its own grid is the frame; UTM: 0.001."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalFrame:
    """A metric frame about a place, for data of a source CRS.

    crs              horizontal CRS of the frame: metres, x east, y north
    source           the CRS that the data came in
    z_unit_m         metres per unit of the source's heights
    convergence_deg  of the frame's grid at the place: the bearing of its y axis from true north,
                     clockwise; 0 where the frame was made about the place
    turn             (3, 3) from axes along the source's grid to axes along the frame's: rotations
                     given in the source CRS are `turn @ rotation` here
    """

    crs: CRS
    source: CRS
    z_unit_m: float
    convergence_deg: float
    turn: Floats

    @classmethod
    def at(cls, crs: object, xy: ArrayLike, *, z_unit_m: float | None = None) -> Self:
        """The frame for work about a place.

        Args:
            crs: of the data: anything that pyproj reads. A vertical part gives the unit of z.
            xy: (x, y, ...) of the place in it, x east: longitude before latitude.
            z_unit_m: metres per unit of z, for a CRS without a vertical part; None: metres.
                Esri's tables have z in the unit of x and y: `unit_m(crs)`.

        Raises:
            CrsError: the CRS is neither geographic nor projected, or not valid there.
            ArgumentError: z_unit_m for a CRS that says so itself.
        """
        source = read_crs(crs)
        flat = horizontal(source)
        place = np.asarray(xy, dtype=np.float64)[:2]
        lonlat = transform(flat, _geodetic(flat), place[:, None])[:, 0]
        if not np.isfinite(lonlat).all():
            raise CrsError(f"{place.tolist()} does not lie where {flat.name} is defined")
        z_unit = _z_unit_m(source, z_unit_m)
        if flat.is_projected:
            proj = Proj(flat)
            factors = proj.get_factors(*lonlat)
            convergence = float(factors.meridian_convergence)
            scales = np.array([factors.meridional_scale, factors.parallel_scale])
            if np.abs(scales - 1.0).max() <= _TRUE_TO_SCALE:
                return cls(
                    crs=_in_metres(flat),
                    source=source,
                    z_unit_m=z_unit,
                    convergence_deg=convergence,
                    turn=np.eye(3),
                )
        else:
            convergence = 0.0
        return cls(
            crs=_about(flat, lonlat),
            source=source,
            z_unit_m=z_unit,
            convergence_deg=0.0,
            turn=_clockwise(convergence),
        )

    def from_source(self, xyz: ArrayLike) -> Floats:
        """(3, N) in the source CRS -> (3, N) metres in the frame; nan where it does not reach."""
        points = np.asarray(xyz, dtype=np.float64)
        plane = transform(horizontal(self.source), self.crs, points[:2])
        return np.stack([*plane, points[2] * self.z_unit_m])

    def to_source(self, xyz: ArrayLike) -> Floats:
        """(3, N) metres in the frame -> (3, N) in the source CRS."""
        points = np.asarray(xyz, dtype=np.float64)
        plane = transform(self.crs, horizontal(self.source), points[:2])
        return np.stack([*plane, points[2] / self.z_unit_m])

    def grid_heading_deg(self, true_heading_deg: float) -> float:
        """The heading from the frame's y axis, 0 to 360, of a heading from true north."""
        return (true_heading_deg - self.convergence_deg) % 360.0

    def true_heading_deg(self, grid_heading_deg: float) -> float:
        """The heading from true north, 0 to 360, of a heading from the frame's y axis."""
        return (grid_heading_deg + self.convergence_deg) % 360.0


def read_crs(crs: object) -> CRS:
    """A CRS from whatever pyproj reads: code, WKT, PROJJSON, `CRS`.

    Raises:
        CrsError: it cannot be read, or is neither geographic nor projected.
    """
    try:
        read = CRS.from_user_input(crs)
    except CRSError as error:
        raise CrsError(f"the coordinate system {crs!r} cannot be read: {error}") from error
    if read.source_crs is not None and read.is_bound:
        read = read.source_crs
    if not (read.is_geographic or read.is_projected):
        raise CrsError(
            f"the coordinate system {read.name!r} is neither geographic nor projected; name the "
            "right one"
        )
    return read


@lru_cache(maxsize=64)
def horizontal(crs: CRS) -> CRS:
    """The horizontal part of a compound or 3D CRS; a 2D one itself."""
    if crs.is_compound:
        return crs.sub_crs_list[0]
    return crs.to_2d() if has_heights(crs) else crs


def has_heights(crs: CRS) -> bool:
    """Whether a CRS says what its heights mean."""
    return len(crs.axis_info) == 3


def with_heights(flat: CRS, heights: CRS) -> CRS:
    """A horizontal system with the vertical part of another one; itself where that has none."""
    if not has_heights(heights):
        return flat
    if not heights.is_compound:
        return flat.to_3d()
    vertical = heights.sub_crs_list[1]
    made = CompoundCRS(f"{flat.name} + {vertical.name}", [flat, vertical])
    # Subclasses of CRS do not survive all of its methods.
    return CRS.from_wkt(made.to_wkt())


def with_metric_heights(flat: CRS, heights: CRS) -> CRS:
    """`with_heights` for heights that are metres by now; without them where the datum has feet."""
    made = with_heights(flat, heights)
    if has_heights(made) and made.axis_info[2].unit_conversion_factor != 1.0:
        return flat
    return made


def unit_m(crs: object) -> float:
    """Metres per unit of a projected CRS.

    Raises:
        CrsError: not projected.
    """
    read = read_crs(crs)
    if not read.is_projected:
        raise CrsError(f"{read.name} is not in units of length")
    return float(horizontal(read).axis_info[0].unit_conversion_factor)


def convergence_deg(crs: object, xy: ArrayLike) -> float:
    """The bearing of a CRS's grid north from true north at (x, y), degrees clockwise.

    A heading from grid north is the heading from true north less this. 0 for longitudes and
    latitudes. In a projection that is not conformal it is the meridian's direction on the map.

    Raises:
        CrsError: not a CRS, or not valid there.
    """
    flat = horizontal(read_crs(crs))
    if not flat.is_projected:
        return 0.0
    place = np.asarray(xy, dtype=np.float64)[:2, None]
    lonlat = transform(flat, _geodetic(flat), place)[:, 0]
    if not np.isfinite(lonlat).all():
        raise CrsError(f"{place[:, 0].tolist()} does not lie where {flat.name} is defined")
    return float(Proj(flat).get_factors(*lonlat).meridian_convergence)


def transform(source: object, target: object, points: ArrayLike) -> Floats:
    """(2, N) or (3, N) points from one CRS to another, x (longitude) first.

    (2, N) are places; what the target cannot show is nan. (3, N) are places and heights: heights
    of two CRSs without vertical parts are taken as they are, heights of two with vertical parts
    are transformed, with the one operation that PROJ knows as the best or not at all.

    Raises:
        CrsError: not a CRS; no operation without a missing grid; one CRS says what its heights
            mean and the other does not.
        ArgumentError: points of another shape.
    """
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] not in {2, 3}:
        raise ArgumentError(f"points are an array (2, N) or (3, N), not of shape {values.shape}")
    ends = read_crs(source), read_crs(target)
    if len(values) == 3:
        return _transform_heights(*ends, values)
    moved = np.array(_transformer(horizontal(ends[0]), horizontal(ends[1])).transform(*values))
    moved[:, ~np.isfinite(moved).all(axis=0)] = np.nan
    return moved


def _transform_heights(source: CRS, target: CRS, points: Floats) -> Floats:
    if has_heights(source) != has_heights(target):
        known, unknown = (source, target) if has_heights(source) else (target, source)
        raise CrsError(
            f"{known.name} says what its heights mean and {unknown.name} does not; give the "
            "vertical datum of both (such as EPSG:32633+3855), or of neither when they agree"
        )
    if not has_heights(source):
        return np.stack([*transform(source, target, points[:2]), points[2]])
    finite = np.isfinite(points).all(axis=0)
    moved = np.array(_transformer(source, target).transform(*points))
    if not np.isfinite(moved[:, finite]).all():
        raise CrsError(_no_operation(source, target))
    moved[:, ~finite] = np.nan
    return moved


@lru_cache(maxsize=64)
def _transformer(source: CRS, target: CRS) -> Transformer:
    try:
        return Transformer.from_crs(
            source,
            target,
            always_xy=True,
            allow_ballpark=False,
            # Heights without their grid are wrong by tens of metres, places by a few at most.
            only_best=has_heights(source),
        )
    except ProjError as error:
        raise CrsError(_no_operation(source, target)) from error


def utm(crs: object, xy: ArrayLike) -> CRS:
    """The UTM zone of (x, y) in a CRS, on its datum; about the poles, where there is none, the CRS.

    Raises:
        CrsError: not a CRS, or not valid there.
    """
    flat = horizontal(read_crs(crs))
    place = np.asarray(xy, dtype=np.float64)[:2, None]
    longitude, latitude = transform(flat, _geodetic(flat), place)[:, 0]
    if not np.isfinite([longitude, latitude]).all():
        raise CrsError(f"{place[:, 0].tolist()} does not lie where {flat.name} is defined")
    if not -80.0 <= latitude <= 84.0:
        return flat
    return _zone(_geodetic(flat), int(longitude // 6.0) % 60 + 31, bool(latitude < 0.0))


@lru_cache(maxsize=64)
def _zone(geodetic: CRS, number: int, south: bool) -> CRS:  # noqa: FBT001
    number = (number - 1) % 60 + 1
    if geodetic.equals(CRS.from_epsg(4326), ignore_axis_order=True):
        return CRS.from_epsg((32700 if south else 32600) + number)
    name = f"{geodetic.name} / UTM zone {number}{'S' if south else 'N'}"
    return _projected(geodetic, name, UTMConversion(str(number), "S" if south else "N"))


def _no_operation(source: CRS, target: CRS) -> str:
    said = f"PROJ cannot transform from {source.name} to {target.name}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            group = TransformerGroup(source, target, always_xy=True, allow_ballpark=False)
        except ProjError as error:  # one of the two is none, such as a plane at 95 degrees north
            return f"{said}: {error}"
    grids = sorted(
        {grid.short_name for way in group.unavailable_operations for grid in way.grids} - {""}
    )
    hint = (
        f"it lacks {', '.join(grids[:3])}: fetch it with `projsync --file {grids[0]}`, or give "
        "heights in one vertical datum throughout"
        if grids
        else "there is no known operation, or the points lie outside its area"
    )
    return f"{said}: {hint}"


def _z_unit_m(source: CRS, z_unit_m: float | None) -> float:
    if not has_heights(source):
        return 1.0 if z_unit_m is None else z_unit_m
    if z_unit_m is not None:
        raise ArgumentError(f"z_unit_m is given, but {source.name} has a unit of its own for z")
    return float(source.axis_info[2].unit_conversion_factor)


def _geodetic(flat: CRS) -> CRS:
    geodetic = flat.geodetic_crs
    if geodetic is None:
        raise CrsError(f"{flat.name} is on no earth: it has no datum")
    return horizontal(geodetic)


@lru_cache(maxsize=64)
def _in_metres(flat: CRS) -> CRS:
    """The same projection with metres and with the axes east, north."""
    axes = [(axis.direction, axis.unit_conversion_factor) for axis in flat.axis_info]
    if axes == [("east", 1.0), ("north", 1.0)]:
        return flat
    return _projected(flat, f"{flat.name} in metres", flat.coordinate_operation)


def _about(flat: CRS, lonlat: Floats) -> CRS:
    longitude, latitude = (float(value) for value in lonlat)
    about = AzimuthalEquidistantConversion(
        latitude_natural_origin=latitude, longitude_natural_origin=longitude
    )
    return _projected(flat, f"metres about {longitude:.6f}, {latitude:.6f}", about)


def _projected(flat: CRS, name: str, conversion: object) -> CRS:
    """A projection of the datum of `flat`, in metres, x east and y north."""
    made = ProjectedCRS(
        conversion=conversion,
        name=name,
        cartesian_cs=Cartesian2DCS(),
        geodetic_crs=_geodetic(flat),
    )
    # Subclasses of CRS do not survive all of its methods.
    return CRS.from_wkt(made.to_wkt())


def _clockwise(angle_deg: float) -> Floats:
    angle = np.deg2rad(angle_deg)
    sine, cosine = np.sin(angle), np.cos(angle)
    return np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
