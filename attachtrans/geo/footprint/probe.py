"""What the pixels of an image show: ground, sky, or nothing that counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from attachtrans.geo.camera import Camera
from attachtrans.geo.frame import horizontal
from attachtrans.geo.ground import FlatGround, GroundStatus
from attachtrans.geo.ground.base import Ground
from attachtrans.geo.view import Georef

Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]


class Sight(IntEnum):
    """What a pixel shows."""

    SEEN = 0
    """Ground that belongs into the footprint."""
    NEAR = 1
    """Ground nearer than was asked for."""
    FAR = 2
    """Ground further away than was asked for."""
    SKY = 3
    OFF = 4
    """What the elevation model does not cover."""
    BLIND = 5
    """Nothing: the lens has no ray there, or it begins under the surface."""


_SIGHTS = np.zeros(len(GroundStatus), dtype=np.uint8)
for _status, _sight in {
    GroundStatus.HIT: Sight.SEEN,
    GroundStatus.SKY: Sight.SKY,
    GroundStatus.BEYOND_FAR: Sight.FAR,
    GroundStatus.OFF_DEM: Sight.OFF,
    GroundStatus.INSIDE_GROUND: Sight.BLIND,
    GroundStatus.NO_RAY: Sight.BLIND,
}.items():
    _SIGHTS[_status] = _sight


class Probe(Protocol):
    """Answers for pixels (2, N) from the outer corner."""

    @property
    def rough(self) -> bool:
        """Whether the ground has a form of its own."""
        ...

    def look(self, pixels: Floats) -> tuple[Floats, Labels]:
        """(2, N) places, nan where none, and (N,) values of `Sight`."""
        ...

    def smooth(self, pixels: Floats, xy: Floats) -> Floats:
        """(2, N) places xy as they would be without the ground's own form; nan where none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraProbe:
    """The pixels of a camera over a ground, in the metres of its frame.

    level   the plane that stands for the ground where its roughness is of no account
    skip_m  see `CameraView`
    near_m, far_m   ground range between which ground is seen
    """

    eye: Camera
    surface: Ground
    level: FlatGround
    skip_m: float
    near_m: float
    far_m: float

    @property
    def rough(self) -> bool:
        """See `Probe`."""
        return not isinstance(self.surface, FlatGround)

    def look(self, pixels: Floats) -> tuple[Floats, Labels]:
        """See `Probe`."""
        points, status = self.surface.intersect(
            self.eye.position, self.eye.rays(pixels - 0.5), skip_m=self.skip_m, far_m=self.far_m
        )
        labels = _SIGHTS[status]
        if self.near_m > 0.0:
            labels[self.ranges(points[:2]) < self.near_m] = Sight.NEAR
        return points[:2], labels

    def smooth(self, pixels: Floats, xy: Floats) -> Floats:
        """See `Probe`."""
        if not self.rough:
            return xy
        points, _ = self.level.intersect(
            self.eye.position, self.eye.rays(pixels - 0.5), far_m=self.far_m
        )
        return points[:2]

    def ranges(self, xy: Floats) -> Floats:
        """(N,) ground range of places (2, N)."""
        x, y = xy - self.eye.position[:2, None]
        ranges: Floats = np.hypot(x, y)
        return ranges


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapProbe:
    """The pixels of any other georeference, in its own coordinates; nan counts as off the model.

    Longitudes run on beyond 180 degrees within half a turn of the image's middle.
    """

    georef: Georef
    about: float | None

    @classmethod
    def of(cls, georef: Georef) -> Self:
        """With the longitude of the middle, where there is one."""
        middle = georef.pixel_to_map(0.5 * np.array([[georef.size[0]], [georef.size[1]]]))
        turns = horizontal(georef.crs).is_geographic and np.isfinite(middle).all()
        return cls(georef=georef, about=float(middle[0, 0]) if turns else None)

    @property
    def rough(self) -> bool:
        """See `Probe`; what form the ground has is not known, and taken to be smooth."""
        return False

    def look(self, pixels: Floats) -> tuple[Floats, Labels]:
        """See `Probe`."""
        xy = self.georef.pixel_to_map(pixels)
        known = np.isfinite(xy).all(axis=0)
        if self.about is not None:
            xy[0] = self.about + np.remainder(xy[0] - self.about + 180.0, 360.0) - 180.0
        return xy, np.where(known, Sight.SEEN, Sight.OFF).astype(np.uint8)

    def smooth(self, pixels: Floats, xy: Floats) -> Floats:  # noqa: ARG002  # the protocol's
        """See `Probe`."""
        return xy
