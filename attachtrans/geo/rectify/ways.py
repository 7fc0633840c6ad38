"""The way from places of an output grid, with their heights, to pixels of an image.

Between the relief and the image everything is smooth: coordinate systems, perspective and lens. A
`Way` keeps the relief apart, so that the smooth part can be taken from a few nodes (`mapping`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.geo.frame import horizontal, transform
from attachtrans.geo.ground import DemGround, FlatGround, horizon_m
from attachtrans.geo.view import CameraView, Georef, Rpc

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Move = Callable[[Floats], Floats]

_WGS84 = CRS.from_epsg(4326)
_BORDER = 64
"""Rays per edge of the image that bound what the camera sees."""
_MARGIN = 1.05
"""By which the pyramid of the camera is wider than those rays."""
_FORWARD = 0.1
"""Of each ray, at least, where a pyramid bounds what the camera sees: 84 degrees from its axis."""


class Way(Protocol):
    """From a grid's map coordinates to an image.

    dem   the relief, or None
    flat  the height of all places where there is none, metres
    """

    @property
    def dem(self) -> DemGround | None: ...

    @property
    def flat(self) -> float: ...

    def locate(self, xy: Floats) -> Floats:
        """(2, N) of the grid's CRS -> (2, N) places, in whatever coordinates `pixels` takes."""
        ...

    def cells(self, place: Floats) -> Floats:
        """(2, N) places -> (2, N) cells of the relief; the first one's CENTRE is (0, 0)."""
        ...

    def pixels(self, place: Floats, z: Floats, /) -> Floats:
        """(2, N) places at heights (N,) -> (2, N) pixels from the outer corner.

        nan where not seen; but what hides behind other ground has a pixel.
        """
        ...

    def unseen(self, place: Floats, low: Floats, high: Floats, /) -> Flags:
        """Whether nothing can be seen of what lies among places, between two heights.

        Args:
            place: (2, N, K) K places on the border and in the inside of each of N regions.
            low: (N,) lowest height of each.
            high: (N,) highest.

        Returns:
            (N,) true where that is sure.
        """
        ...

    def distance_m(self, place: Floats, z: float, /) -> Floats:
        """(N,) of places (2, N) at one height from the camera; nan where there is no camera."""
        ...


def way_to(georef: Georef, crs: CRS) -> Way:
    """The way from a CRS to the image of a georeference."""
    if isinstance(georef, CameraView):
        return CameraWay(view=georef, move=_mover(crs, georef.world.crs))
    if isinstance(georef, Rpc):
        return RpcWay(rpc=georef, move=_mover(crs, _WGS84), to_ground=_mover(_WGS84, georef.places))
    return PlainWay(georef=georef, move=_mover(crs, georef.crs))


def _mover(source: CRS, target: CRS) -> Move:
    flat = horizontal(source), horizontal(target)
    if flat[0] == flat[1]:
        return lambda xy: xy
    return lambda xy: transform(*flat, xy)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraWay:
    """Into a camera's picture; places are x and y of its metric frame."""

    view: CameraView
    move: Move
    _sides: Floats = field(init=False)
    """(sides, 3) outward normals of a pyramid that holds all its rays; none: it sees all around"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_sides", _pyramid(self.view))

    @property
    def dem(self) -> DemGround | None:
        return self.view.surface if isinstance(self.view.surface, DemGround) else None

    @property
    def flat(self) -> float:
        return self.view.surface.z if isinstance(self.view.surface, FlatGround) else 0.0

    def locate(self, xy: Floats) -> Floats:
        return self.move(xy)

    def cells(self, place: Floats) -> Floats:
        dem = self.dem
        return place if dem is None else dem.grid.to_pixels(place) - 0.5

    def pixels(self, place: Floats, z: Floats, /) -> Floats:
        view = self.view
        pixels = view.see(np.stack([*place, z]))
        reach = np.hypot(*(place - view.eye.position[:2, None]))
        with np.errstate(invalid="ignore"):
            pixels[:, ~(reach <= self._far_m)] = np.nan
            if view.skip_m:
                near = np.hypot(reach, z - view.eye.position[2]) < view.skip_m
                pixels[:, near] = np.nan
        return pixels

    @property
    def _far_m(self) -> float:
        """Ground range up to which there is anything to see."""
        ground, height = self.view.surface, self.view.eye.position[2] - self.flat
        if not isinstance(ground, FlatGround):
            return self.view.far_m
        if height <= 0.0:
            return -1.0
        if ground.earth_radius_m is None:
            return self.view.far_m
        return min(self.view.far_m, horizon_m(float(height), ground.earth_radius_m))

    def unseen(self, place: Floats, low: Floats, high: Floats, /) -> Flags:
        eye = self.view.eye.position
        ends = [self._apparent(place, height) for height in (low, high)]
        points = np.concatenate(ends, axis=-1) - eye[:, None, None]
        unseen = np.zeros(place.shape[1], dtype=np.bool_)
        for x, y, z in self._sides:
            # What lies beyond a plane with all its corners does so throughout.
            unseen |= (x * points[0] + y * points[1] + z * points[2] > 0.0).all(axis=-1)
        flat = points[:2]
        middle = 0.5 * (flat.min(axis=-1) + flat.max(axis=-1))
        radius = np.hypot(*(flat - middle[:, :, None])).max(axis=-1)
        beyond: Flags = np.hypot(*middle) - radius > self._far_m
        return unseen | beyond

    def _apparent(self, place: Floats, z: Floats) -> Floats:
        """(3, N, K) of places (2, N, K) at heights (N,)."""
        points = np.stack([*place.reshape(2, -1), np.repeat(z, place.shape[2])])
        return self.view.surface.apparent(self.view.eye.position, points).reshape(
            3, *place.shape[1:]
        )

    def distance_m(self, place: Floats, z: float, /) -> Floats:
        points = np.stack([*place, np.full(place.shape[1], z)])
        away: Floats = np.linalg.norm(points - self.view.eye.position[:, None], axis=0)
        return away


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RpcWay:
    """Into a scene with an RPC; places are longitude and latitude."""

    rpc: Rpc
    move: Move
    to_ground: Move

    @property
    def dem(self) -> DemGround | None:
        return self.rpc.ground if isinstance(self.rpc.ground, DemGround) else None

    @property
    def flat(self) -> float:
        return self.rpc.ground.z if isinstance(self.rpc.ground, FlatGround) else 0.0

    def locate(self, xy: Floats) -> Floats:
        return self.move(xy)

    def cells(self, place: Floats) -> Floats:
        dem = self.dem
        return place if dem is None else dem.grid.to_pixels(self.to_ground(place)) - 0.5

    def pixels(self, place: Floats, z: Floats, /) -> Floats:
        return self.rpc.see(np.stack([*place, z]))

    def unseen(self, place: Floats, _low: Floats, _high: Floats, /) -> Flags:
        return np.zeros(place.shape[1], dtype=np.bool_)

    def distance_m(self, place: Floats, _z: float, /) -> Floats:
        return np.full(place.shape[1], np.nan)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlainWay:
    """Into an image that lies flat on its map: a grid, control points."""

    georef: Georef
    move: Move
    dem: None = None
    flat: float = 0.0

    def locate(self, xy: Floats) -> Floats:
        return self.move(xy)

    def cells(self, place: Floats) -> Floats:
        return place

    def pixels(self, place: Floats, _z: Floats, /) -> Floats:
        return self.georef.map_to_pixel(place)

    def unseen(self, place: Floats, _low: Floats, _high: Floats, /) -> Flags:
        return np.zeros(place.shape[1], dtype=np.bool_)

    def distance_m(self, place: Floats, _z: float, /) -> Floats:
        return np.full(place.shape[1], np.nan)


def _pyramid(view: CameraView) -> Floats:
    """(4, 3) outward normals of the sides of a pyramid that holds all rays of a camera.

    (0, 3) where a lens sees too wide, or ends within the image, so that its edges do not tell.
    """
    width, height = view.size
    along = np.linspace(0.0, 1.0, _BORDER)
    zero, one = np.zeros(_BORDER), np.ones(_BORDER)
    edges = np.concatenate(
        [[along, zero], [along, one], [zero, along], [one, along]], axis=1
    ) * np.array([[width], [height]])
    x, y, z = view.eye.rotation.T @ view.eye.rays(edges - 0.5)
    if not (z >= _FORWARD).all():
        return np.zeros((0, 3))
    sides = []
    for axis, slopes in enumerate((x / z, y / z)):
        middle, half = 0.5 * (slopes.min() + slopes.max()), 0.5 * (slopes.max() - slopes.min())
        for sign in (-1.0, 1.0):
            # Beyond the limit of x / z, or of y / z.
            side = np.array([0.0, 0.0, -sign * (middle + sign * _MARGIN * half)])
            side[axis] = sign
            sides.append(side)
    return np.array(sides) @ view.eye.rotation.T
