"""The camera over a ground that a pose becomes: how high it stands, how far it sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import GeorefError
from attachtrans.geo.camera import Camera, PanoramaCamera
from attachtrans.geo.footprint import default_far_m
from attachtrans.geo.frame import with_heights
from attachtrans.geo.ground import EARTH_RADIUS_M, FlatGround, GroundStatus
from attachtrans.geo.pose import Pose, height_m, place_in, standing, work_crs
from attachtrans.geo.view import CameraView
from attachtrans.stores.dem import Dem
from attachtrans.tool.place.options import Placing
from attachtrans.types import Size

Floats = NDArray[np.float64]

_HAND_M = 1.8
"""Of a camera held by a person: the default of Esri's CameraHeight."""
_LEVEL = 0.5
"""Sine of the tilt up to which a picture counts as taken from the ground."""
_CURVED_FROM_M = 1000.0
"""Ground range at which the earth has fallen away by 7 cm."""
_GRAZING = np.sin(np.deg2rad(10.0))
_FIRST_REACH_M = 20_000.0
"""How far is looked where nobody knows how high the camera stands."""
_SPARE_M = 50.0
_SURVEYED_M = 1.0
_EDGE = 33


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A photo on the map.

    pose    that the view stands on, with all that was assumed
    ground  what its rays meet, in words
    near_m  ground range that is left out before it
    """

    pose: Pose
    view: CameraView
    ground: str
    near_m: float | None


class Viewer:
    """Makes views of poses; thread-safe. Close it after use."""

    def __init__(self, placing: Placing) -> None:
        """Open the elevation model. Raises SourceError, CrsError, GeorefError."""
        self._placing = placing
        self._dem = Dem.open(placing.dem) if placing.dem is not None else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed of the elevation model."""
        return self._dem.notes if self._dem is not None else ()

    def view(self, pose: Pose, size: Size) -> Seen:
        """The view of a photo of a (stored) size.

        Raises:
            GeorefError: the pose lacks something, or nothing says how high the camera stands.
        """
        if self._dem is None:
            return self._over_plane(pose, size)
        return self._over_model(pose, size, self._dem)

    def close(self) -> None:
        """Let go of the elevation model."""
        if self._dem is not None:
            self._dem.close()

    def _over_plane(self, pose: Pose, size: Size) -> Seen:
        pose, z_m, ground_m = _levels(pose, self._placing)
        crs = work_crs(pose)
        camera = standing(pose, size, crs, z_m)
        far_m = self._far_m(pose) or default_far_m(z_m - ground_m)
        ground = FlatGround(ground_m, earth_radius_m=_radius(camera, far_m))
        words = f"level ground at {ground_m:.2f} m"
        return self._seen(pose, CameraView(camera, ground, crs, far_m=far_m), words)

    def _over_model(self, pose: Pose, size: Size, dem: Dem) -> Seen:
        crs = work_crs(pose, dem.crs)
        datum = with_heights(crs, pose.crs) if pose.crs is not None else crs
        xy = place_in(pose, crs)
        under = _under(dem, datum, xy)
        pose, z_m = _height(pose, self._placing, under)
        camera = standing(pose, size, crs, z_m)
        far_m = self._far_m(pose)
        if far_m is None and under is not None:
            far_m = default_far_m(z_m - under)
        limit = _FIRST_REACH_M if far_m is None else far_m
        radius = _radius(camera, limit)
        low_m = z_m if under is None else under - 0.1 * abs(z_m - under)
        reach_m = min(limit, _reach_m(camera, low_m) + _SPARE_M)
        while True:
            ground = dem.ground(datum, xy, reach_m, earth_radius_m=radius)
            needed_m = min(limit, _reach_m(camera, ground.surface.lowest))
            if needed_m <= reach_m:
                break
            reach_m = needed_m
        if far_m is None:
            far_m = default_far_m(z_m - ground.surface.lowest)
        view = CameraView(camera, ground, crs, far_m=far_m)
        return self._seen(pose, view, dem.describe())

    def _far_m(self, pose: Pose) -> float | None:
        return self._placing.far_m if self._placing.far_m is not None else pose.far_m

    def _seen(self, pose: Pose, view: CameraView, ground: str) -> Seen:
        near = self._placing.near_m if self._placing.near_m is not None else pose.near_m
        return Seen(pose=pose, view=view, ground=ground, near_m=near)


def _radius(camera: Camera, far_m: float) -> float | None:
    """The earth's, where rays go so far and so level that it shows."""
    if far_m < _CURVED_FROM_M:
        return None
    up = camera.rays(_edge(camera.size))[2]
    return EARTH_RADIUS_M if np.nanmax(up, initial=-1.0) > -_GRAZING else None


def _edge(size: Size) -> Floats:
    """(2, N) pixels (centres) spread over the image, its outermost included."""
    cols, rows = np.meshgrid(
        np.linspace(-0.5, size.width - 0.5, _EDGE), np.linspace(-0.5, size.height - 0.5, _EDGE)
    )
    return np.stack([cols.ravel(), rows.ravel()])


def _reach_m(camera: Camera, z_m: float) -> float:
    """How far away, on the map, a picture shows a plane; infinite where it shows the horizon."""
    points, status = FlatGround(z_m).intersect(camera.position, camera.rays(_edge(camera.size)))
    if (status == GroundStatus.SKY).any():
        return np.inf
    hits = points[:2, status == GroundStatus.HIT] - camera.position[:2, None]
    return float(np.hypot(*hits).max(initial=0.0))


def _under(dem: Dem, crs: CRS, xy: Floats) -> float | None:
    """The model's height under the camera, None where it has none."""
    try:
        ground = dem.ground(crs, xy, _SPARE_M)
    except GeorefError:
        return None
    height = float(ground.height(xy[:, None])[0])
    return height if np.isfinite(height) else None


def _height(pose: Pose, placing: Placing, under_m: float | None) -> tuple[Pose, float]:
    """The camera's height over a model, and the pose with what was assumed for it."""
    known = height_m(pose)
    if placing.height_m is not None or known is None or _is_rough(pose):
        above, pose = _above(pose, placing)
        if under_m is not None:
            return pose, under_m + above
        if placing.height_m is not None or known is None:
            raise GeorefError(
                f"{pose.name or 'the photo'} stands where the elevation model has no heights, so "
                "its height above the ground is of no use: name a larger model, or poses with "
                "heights"
            )
    return pose, known


def _levels(pose: Pose, placing: Placing) -> tuple[Pose, float, float]:
    """The heights of camera and level ground, and the pose with what was assumed for them."""
    known = height_m(pose)
    if placing.ground_m is not None:
        if placing.height_m is None and known is not None and not _is_rough(pose):
            return pose, known, placing.ground_m
        above, pose = _above(pose, placing)
        return pose, placing.ground_m + above, placing.ground_m
    above, pose = _above(pose, placing)
    if known is None:
        return pose.assuming("ground at height 0"), above, 0.0
    return pose, known, known - above


def _above(pose: Pose, placing: Placing) -> tuple[float, Pose]:
    """How high the camera stands above the ground under it, and the pose that says so."""
    if placing.height_m is not None:
        return placing.height_m, pose
    if pose.above_ground_m is not None:
        return pose.above_ground_m, pose
    if pose.paired or not _looks_level(pose):
        raise GeorefError(
            f"nothing says how high {pose.name or 'the camera'} stands above the ground: give "
            "--ground, --dem or --camera-height"
        )
    return _HAND_M, pose.assuming(f"camera {_HAND_M} m above the ground")


def _is_rough(pose: Pose) -> bool:
    """Whether the source's height above ground is worth more than its height above the sea.

    That of a phone or of a drone without RTK is tens of metres off; solved poses and surveyed
    ones are not.
    """
    if pose.paired or (pose.accuracy.z_m is not None and pose.accuracy.z_m <= _SURVEYED_M):
        return False
    return pose.rough_height


def _looks_level(pose: Pose) -> bool:
    """Whether a picture was taken by somebody who stood on the ground, as far as it shows."""
    if isinstance(pose.lens, PanoramaCamera):
        return True
    return pose.rotation is not None and abs(float(pose.rotation[2, 2])) <= _LEVEL
