"""What every ground answers, and the rays that are sent to it.

Every ray gets a status, and a point only if it meets the ground: no height is ever made up.
Rays may be followed over a round earth (`earth_radius_m`): at the ground range d the surface then
lies d^2 / 2R lower than a flat one does. `EARTH_RADIUS_M` allows for ordinary refraction of light.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attachtrans.errors import ArgumentError

Floats = NDArray[np.float64]
Statuses = NDArray[np.uint8]

EARTH_RADIUS_M = 6_371_008.8 / (1.0 - 0.13)
"""Mean radius over 1 - k, with k = 0.13 the usual refraction coefficient of light (Gauss)."""
_STREET_M = 5.0
"""Cameras lower than this above the ground are held in hands or carried by cars."""
_STREET_FAR_M = 50.0
_LEAST_SLOPE = 1e-150
"""Of a ray along an axis."""


class GroundStatus(IntEnum):
    """What became of a ray."""

    HIT = 0
    SKY = 1
    """It never comes down to the ground: not to the lowest height that is known."""
    BEYOND_FAR = 2
    """It comes down further away than was asked for."""
    OFF_DEM = 3
    """It leaves the elevation model, or goes under it where there is no data."""
    INSIDE_GROUND = 4
    """It begins under the surface."""
    NO_RAY = 5
    """The lens has no ray there (nan)."""


class Ground(Protocol):
    """A surface z(x, y), in the metres of the world frame."""

    def intersect(
        self, origin: ArrayLike, rays: ArrayLike, *, skip_m: float = 0.0, far_m: float = np.inf
    ) -> tuple[Floats, Statuses]:
        """Where rays from a point first meet the surface.

        Args:
            origin: (3,) in metres.
            rays: (3, N) directions of any length; nan for no ray.
            skip_m: each ray begins at this distance from the origin, for cameras that stand in a
                surface model's tree or house.
            far_m: ground range (horizontal distance) beyond which nothing is looked for.

        Returns:
            (3, N) points, nan where not hit, and (N,) values of `GroundStatus`.
        """
        ...

    def height(self, xy: ArrayLike) -> Floats:
        """(2, N) places -> (N,) heights; nan where there is no data."""
        ...

    def apparent(self, origin: ArrayLike, points: ArrayLike) -> Floats:
        """(3, N) points as a camera at `origin` (3,) sees them along straight rays.

        Lower by the earth's curvature, where the ground has any: what to give to
        `Camera.project`.
        """
        ...


def horizon_m(height_m: float, earth_radius_m: float = EARTH_RADIUS_M) -> float:
    """Ground range of the horizon from a height above it; 0 from below."""
    return float(np.sqrt(2.0 * earth_radius_m * max(height_m, 0.0)))


def default_far_m(height_above_ground_m: float) -> float:
    """Ground range up to which a photo is taken to be of use, where nobody says another.

    50 m from less than 5 m above the ground, else 10 times the height, never beyond the horizon.
    """
    if height_above_ground_m < _STREET_M:
        return _STREET_FAR_M
    return min(10.0 * height_above_ground_m, horizon_m(height_above_ground_m))


def check_radius(earth_radius_m: float | None) -> None:
    """Raises ArgumentError for a radius that no earth has."""
    if earth_radius_m is not None and not earth_radius_m > 0.0:
        raise ArgumentError(f"earth_radius_m is positive or None, not {earth_radius_m}")


def check_limits(skip_m: float, far_m: float) -> None:
    """Raises ArgumentError for distances between which there is nothing to look for."""
    if not (0.0 <= skip_m < np.inf and far_m > 0.0):
        raise ArgumentError(
            f"rays are followed from skip_m >= 0 to far_m > 0, not from {skip_m} to {far_m}"
        )


def lowered(origin: ArrayLike, points: ArrayLike, earth_radius_m: float | None) -> Floats:
    """(3, N) points, lower by what a round earth falls away on the way from `origin` (3,)."""
    moved = np.array(points, dtype=np.float64)
    if earth_radius_m is not None:
        start = np.asarray(origin, dtype=np.float64)
        moved[2] -= ((moved[:2] - start[:2, None]) ** 2).sum(axis=0) / (2.0 * earth_radius_m)
    return moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Rays from one point, by the distance t along them: metres.

    Heights are z(t) = start + slope t + curve t^2, the last from the earth's curvature: the ray
    is bent up instead of the ground down.
    """

    origin: Floats
    """(3,)"""
    unit: Floats
    """(3, N); nan for no ray"""
    level: Floats
    """(N,) metres of ground range per metre"""
    curve: Floats
    """(N,)"""

    @classmethod
    def of(cls, origin: ArrayLike, rays: ArrayLike, earth_radius_m: float | None) -> Bundle:
        """Checks and normalises.

        Raises:
            ArgumentError: wrong shapes, or an origin that is not finite.
        """
        start = np.asarray(origin, dtype=np.float64)
        directions = np.asarray(rays, dtype=np.float64)
        if start.shape != (3,) or not np.isfinite(start).all():
            raise ArgumentError(f"rays begin at a finite (x, y, z), not {start.tolist()}")
        if directions.ndim != 2 or directions.shape[0] != 3:
            raise ArgumentError(f"rays are an array (3, N), not one of shape {directions.shape}")
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = directions / np.linalg.norm(directions, axis=0)
        # Of these neither squares nor distances are numbers.
        unit[np.abs(unit) < _LEAST_SLOPE] = 0.0
        level = np.hypot(unit[0], unit[1])
        curve = level**2 / (2.0 * earth_radius_m) if earth_radius_m else np.zeros_like(level)
        return cls(origin=start, unit=unit, level=level, curve=curve)

    @property
    def count(self) -> int:
        return int(self.unit.shape[1])

    @property
    def defined(self) -> NDArray[np.bool_]:
        """(N,) where there is a ray."""
        finite: NDArray[np.bool_] = np.isfinite(self.unit.sum(axis=0))
        return finite

    def chosen(self, which: slice | NDArray[np.intp]) -> Bundle:
        """Some of the rays."""
        return Bundle(
            origin=self.origin,
            unit=self.unit[:, which],
            level=self.level[which],
            curve=self.curve[which],
        )

    def height(self, distance: Floats) -> Floats:
        """(N,) heights at distances (N,)."""
        height: Floats = self.origin[2] + distance * (self.unit[2] + distance * self.curve)
        return height

    def at(self, distance: Floats) -> Floats:
        """(3, N) points at distances (N,)."""
        points: Floats = self.origin[:, None] + self.unit * distance
        points[2] = self.height(distance)
        return points

    def descent(self, z: float) -> Floats:
        """(N,) distance at which each ray comes down to z; inf if it never does."""
        above = self.origin[2] - z
        with np.errstate(divide="ignore", invalid="ignore"):
            down = -self.unit[2]
            root = np.sqrt(down**2 - 4.0 * self.curve * above)
            # The first root of above - down t + curve t^2; without cancellation for down > 0.
            distance = np.where(down > 0.0, 2.0 * above / (down + root), np.inf)
        return np.where(np.isfinite(distance) & (distance >= 0.0), distance, np.inf)
