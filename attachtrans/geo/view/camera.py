"""A camera over a ground: each pixel lies where its ray meets the surface."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError, CrsError
from attachtrans.geo.affine import PixelToMap
from attachtrans.geo.camera.base import Camera, columns
from attachtrans.geo.frame import LocalFrame, has_heights, horizontal, read_crs, transform, unit_m
from attachtrans.geo.ground import DemGround, FlatGround
from attachtrans.geo.ground.base import Ground, Statuses
from attachtrans.types import Size

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class CameraView:
    """A photo on the map.

    camera  its position is (x, y, z) in `crs`, its rotation refers to the axes of `crs`: x east,
            y grid north. z is in the unit of x and y; in metres where `crs` is in degrees
    ground  in the same coordinates
    crs     of the map coordinates; anything that pyproj reads. Where it is not true to scale (Web
            Mercator, degrees), the geometry is done in a metric frame about the camera instead:
            then the ground has to be flat, or an elevation model that was warped into that frame
            (`LocalFrame.at`), which is then the `crs` to give
    skip_m  rays begin at this distance, for cameras that stand in a surface model's tree or house
    far_m   ground range beyond which nothing is placed

    world, eye, surface   the metric frame, and the camera and the ground in it

    Raises:
        CrsError: the CRS cannot be read, or an elevation model is given in one that is not true to
            scale.
    """

    camera: Camera
    ground: Ground
    crs: CRS
    _: KW_ONLY
    skip_m: float = 0.0
    far_m: float = np.inf
    world: LocalFrame = field(init=False, repr=False)
    eye: Camera = field(init=False, repr=False)
    surface: Ground = field(init=False, repr=False)

    def __post_init__(self) -> None:
        crs = read_crs(self.crs)
        if not (0.0 <= self.skip_m < np.inf and self.far_m > 0.0):
            raise ArgumentError(f"skip_m {self.skip_m} >= 0 and far_m {self.far_m} > 0 are wanted")
        flat = horizontal(crs)
        z_unit = unit_m(flat) if flat.is_projected else 1.0
        place = self.camera.position
        world = LocalFrame.at(crs, place, z_unit_m=None if has_heights(crs) else z_unit)
        same = world.crs == flat
        eye, surface = self.camera, self.ground
        if not same:
            rotation = world.turn @ self.camera.rotation
            eye = self.camera.posed(rotation, world.from_source(place[:, None])[:, 0])
            surface = _moved(self.ground, world)
        for name, value in (("crs", crs), ("world", world), ("eye", eye), ("surface", surface)):
            object.__setattr__(self, name, value)

    @property
    def size(self) -> Size:
        """Of the (stored) image."""
        return self.camera.size

    def look(self, pixels: ArrayLike) -> tuple[Floats, Statuses]:
        """Where pixels' rays meet the ground, in `world`.

        Args:
            pixels: (2, N) from the outer corner.

        Returns:
            (3, N) metres in `world`, nan where not hit, and (N,) values of `GroundStatus`.
        """
        rays = self.eye.rays(columns(pixels, 2) - 0.5)
        return self.surface.intersect(self.eye.position, rays, skip_m=self.skip_m, far_m=self.far_m)

    def pixel_to_map(self, pixels: ArrayLike) -> Floats:
        """See `Georef`; nan for sky, beyond `far_m`, off the elevation model."""
        points, _ = self.look(pixels)
        return transform(self.world.crs, horizontal(self.crs), points[:2])

    def map_to_pixel(self, xy: ArrayLike) -> Floats:
        """See `Georef`; nan behind the camera, beyond the lens's fold, and without ground."""
        place = transform(horizontal(self.crs), self.world.crs, columns(xy, 2))
        return self.see(np.stack([*place, self.surface.height(place)]))

    def see(self, points: ArrayLike) -> Floats:
        """(3, N) points of `world` -> (2, N) pixels from the outer corner; nan where not seen."""
        apparent = self.surface.apparent(self.eye.position, columns(points, 3))
        pixels: Floats = self.eye.project(apparent) + 0.5
        return pixels

    def resized(self, size: Size) -> Self:
        """The view of the same picture with another number of pixels."""
        return replace(self, camera=self.camera.resized(size))


def _moved(ground: Ground, world: LocalFrame) -> Ground:
    """A ground of the frame's source coordinates in the frame."""
    if isinstance(ground, FlatGround):
        return FlatGround(ground.z * world.z_unit_m, earth_radius_m=ground.earth_radius_m)
    unit = _metres(world)
    if isinstance(ground, DemGround) and unit is not None:
        t = ground.grid
        return DemGround(
            ground.array.astype(np.float64) * world.z_unit_m,
            PixelToMap(**{name: getattr(t, name) * unit for name in "abcdef"}),
            None if ground.nodata is None else ground.nodata * world.z_unit_m,
            earth_radius_m=ground.earth_radius_m,
        )
    raise CrsError(
        f"{world.source.name} is not true to scale, so an elevation model in it cannot be met by "
        f"straight rays; warp it into the frame {world.crs.name!r} (LocalFrame.at) and place the "
        "camera there"
    )


def _metres(world: LocalFrame) -> float | None:
    """Metres per unit where the frame is the source's own grid in metres, else None."""
    source = horizontal(world.source)
    if not source.is_projected:
        return None
    corner = np.array([[0.0, 1.0], [0.0, 1.0]])
    moved = transform(source, world.crs, corner * 1e5)
    unit = unit_m(source)
    return unit if np.allclose(moved, corner * 1e5 * unit, rtol=0.0, atol=1e-3) else None
