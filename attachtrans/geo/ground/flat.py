"""A level ground, flat or round as the earth is."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attachtrans.errors import ArgumentError
from attachtrans.geo.ground.base import (
    Bundle,
    GroundStatus,
    Statuses,
    check_limits,
    check_radius,
    lowered,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FlatGround:
    """A level ground.

    z               its height, metres
    earth_radius_m  None: a plane; else it is curved so
    """

    z: float
    _: KW_ONLY
    earth_radius_m: float | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.z):
            raise ArgumentError(f"the ground's height is a finite number of metres, not {self.z}")
        check_radius(self.earth_radius_m)

    def intersect(
        self, origin: ArrayLike, rays: ArrayLike, *, skip_m: float = 0.0, far_m: float = np.inf
    ) -> tuple[Floats, Statuses]:
        """See `Ground.intersect`; a ray never leaves this ground."""
        check_limits(skip_m, far_m)
        bundle = Bundle.of(origin, rays, self.earth_radius_m)
        status = np.full(bundle.count, GroundStatus.SKY, dtype=np.uint8)
        distance = bundle.descent(self.z)
        status[distance < np.inf] = GroundStatus.HIT
        with np.errstate(invalid="ignore"):  # straight up: an endless distance, no ground range
            beyond = (distance < np.inf) & (distance * bundle.level > far_m)
        status[beyond] = GroundStatus.BEYOND_FAR
        status[bundle.height(np.full(bundle.count, skip_m)) <= self.z] = GroundStatus.INSIDE_GROUND
        status[~bundle.defined] = GroundStatus.NO_RAY
        points = bundle.at(np.where(status == GroundStatus.HIT, distance, np.nan))
        points[2, status == GroundStatus.HIT] = self.z
        return points, status

    def height(self, xy: ArrayLike) -> Floats:
        """(2, N) places -> (N,) the height."""
        return np.full(np.asarray(xy).shape[1], float(self.z))

    def apparent(self, origin: ArrayLike, points: ArrayLike) -> Floats:
        """See `Ground.apparent`."""
        return lowered(origin, points, self.earth_radius_m)
