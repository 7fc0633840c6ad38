"""Control points: places on the map that were found in one photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError
from attachtrans.geo.camera.base import columns
from attachtrans.geo.frame import LocalFrame, has_heights, read_crs, unit_m

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ControlPoints:
    """Points of one photo, on the map and in the picture.

    names   of the points; "1", "2", ... where there are none
    crs     of xyz; anything that pyproj reads
    xyz     (3, N) x (longitude) first. Heights are in the unit of the crs's vertical part; without
            one in the unit of x and y, or in metres where these are degrees; nan where unknown
    pixels  (2, N) col, row of the stored picture; (0, 0) is the OUTER CORNER of the first pixel

    Raises:
        ArgumentError: shapes that do not fit together, places or pixels that are not finite.
        CrsError: the CRS cannot be read.
    """

    names: Sequence[str] = ()
    crs: CRS
    xyz: Floats
    pixels: Floats

    def __post_init__(self) -> None:
        xyz, pixels = columns(self.xyz, 3), columns(self.pixels, 2)
        count = pixels.shape[1]
        names = tuple(self.names) or tuple(str(number) for number in range(1, count + 1))
        if not len(names) == count == xyz.shape[1]:
            raise ArgumentError(
                f"{len(names)} names, {xyz.shape[1]} places and {count} pixels do not make "
                "control points; give one of each per point"
            )
        if not (np.isfinite(xyz[:2]).all() and np.isfinite(pixels).all()):
            raise ArgumentError("a control point's x, y, col and row are finite numbers")
        for name, value in (
            ("names", names),
            ("crs", read_crs(self.crs)),
            ("xyz", xyz),
            ("pixels", pixels),
        ):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def z_unit_m(self) -> float:
        """Metres per unit of the heights."""
        if has_heights(self.crs):
            return float(self.crs.axis_info[2].unit_conversion_factor)
        return unit_m(self.crs) if self.crs.is_projected else 1.0

    def with_heights(self, height: Callable[[Floats], Floats]) -> Self:
        """The same with missing heights filled: `height` maps (2, N) places to (N,) in the crs."""
        missing = np.isnan(self.xyz[2])
        if not missing.any():
            return self
        xyz = self.xyz.copy()
        xyz[2, missing] = height(xyz[:2, missing])
        return replace(self, xyz=xyz)

    def frame(self, xy: ArrayLike | None = None) -> LocalFrame:
        """A metric frame for these points, about a place in their crs; None: their middle."""
        # The mean of longitudes astride the antimeridian is on the other side of the earth.
        place = self.xyz[:2, 0] if xy is None else np.asarray(xy, dtype=np.float64)
        unit = None if has_heights(self.crs) else self.z_unit_m
        return LocalFrame.at(self.crs, place, z_unit_m=unit)
