"""East, north, up about a reference: the frame of OpenSfM and of Esri's local tangent planes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from attachtrans.errors import SourceError
from attachtrans.geo.frame import read_crs

Floats = NDArray[np.float64]

_WGS84 = (6378137.0, 6.69437999014131699613723354004e-3)
"""Semi-major axis and squared eccentricity."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TangentFrame:
    """A tangent plane of the earth: x east, y north, z up, metres, from a reference.

    axis_m, eccentricity2  of the ellipsoid

    Raises:
        SourceError: no place on earth.
    """

    longitude: float
    latitude: float
    altitude_m: float = 0.0
    axis_m: float = _WGS84[0]
    eccentricity2: float = _WGS84[1]
    _way: Transformer = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shape = f"+a={self.axis_m!r} +es={self.eccentricity2!r}"
        try:
            way = Transformer.from_pipeline(
                "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad "
                f"+step +proj=cart {shape} +step +proj=topocentric {shape} "
                f"+lon_0={self.longitude!r} +lat_0={self.latitude!r} +h_0={self.altitude_m!r}"
            )
        except ProjError as error:
            raise SourceError(
                f"{self.longitude}, {self.latitude} is no reference on an earth of {shape}: {error}"
            ) from error
        object.__setattr__(self, "_way", way)

    @property
    def crs(self) -> CRS:
        """Of the positions that `locate` gives: longitude, latitude; heights as the source's."""
        return read_crs("OGC:CRS84")

    def locate(self, place: Floats, rotation: Floats) -> tuple[tuple[float, float, float], Floats]:
        """(longitude, latitude, height) of a place, and a rotation to east, north, up there.

        Args:
            place: (3,) in the frame.
            rotation: (3, 3) camera axes -> axes of the frame.
        """
        longitude, latitude, height = self._way.transform(
            float(place[0]), float(place[1]), float(place[2]), direction="INVERSE"
        )
        if not np.isfinite([longitude, latitude, height]).all():
            raise SourceError(f"{place.tolist()} from the reference is no place on earth")
        turn = _axes(longitude, latitude).T @ _axes(self.longitude, self.latitude)
        return (float(longitude), float(latitude), float(height)), turn @ rotation


def _axes(longitude: float, latitude: float) -> Floats:
    """(3, 3): columns are east, north and up in geocentric axes."""
    (sl, sp), (cl, cp) = (
        np.sin(np.deg2rad([longitude, latitude])),
        np.cos(np.deg2rad([longitude, latitude])),
    )
    return np.array([[-sl, -sp * cl, cp * cl], [cl, -sp * sl, cp * sl], [0.0, cp, sp]])
