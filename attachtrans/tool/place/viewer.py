"""The camera over a ground that a pose becomes: how high it stands, how far it sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError, CrsError, GeorefError, SourceError
from attachtrans.geo.camera import Camera
from attachtrans.geo.frame import (
    LocalFrame,
    horizontal,
    transform,
    utm,
    with_heights,
    with_metric_heights,
)
from attachtrans.geo.ground import (
    EARTH_RADIUS_M,
    DemGround,
    FlatGround,
    GroundStatus,
    default_far_m,
)
from attachtrans.geo.pose import Pose, height_m, place_in, standing, work_crs
from attachtrans.geo.view import CameraView
from attachtrans.stores.dem import Dem
from attachtrans.tool.place.heights import Under, over_level, over_model
from attachtrans.tool.place.options import Placing
from attachtrans.types import Size

Floats = NDArray[np.float64]
Ask = Callable[..., DemGround]
"""`Dem.ground` about a camera: (radius_m, earth_radius_m=...)."""

_CURVED_FROM_M = 1000.0
"""Ground range at which the earth has fallen away by 7 cm."""
_GRAZING = np.sin(np.deg2rad(10.0))
_FIRST_REACH_M = 20_000.0
"""How far is looked where nobody knows how high the camera stands."""
_SPARE_M = 50.0
_HIGHEST_M = 1e7
_TURNS_DEG = 720.0
"""Longitudes may run on, but not for ever."""
_QUARTER_DEG = 90.0
_FARTHEST = 1e9
"""Of a coordinate in any unit: beyond, no projection has the earth."""
_WAYS = {
    **dict.fromkeys(
        ("position", "direction"), "name a table that has it (--poses), or columns (--pose)"
    ),
    "focal length": "name the lens (--camera), or a column of angles of view (--pose hfov=COLUMN)",
    "coordinate system": "name it (--poses-crs)",
}
"""What gives a pose that which it lacks."""
_EDGE = 33
_SKIPS_M = (0.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""Where rays may begin of a camera that stands under the surface: in a tree, beside a house."""
_ENOUGH = 0.8
"""Of the rays that come out at best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A photo on the map.

    pose    that the view stands on, with all that was assumed
    ground  what its rays meet, in words
    near_m  ground range that is left out before it
    crs     that orthos of it are in where nobody asks for another: that of the elevation model or
            of the pose, else the UTM zone
    datum   the view's CRS, with a vertical part where it is known what its heights mean
    """

    pose: Pose
    view: CameraView
    ground: str
    near_m: float | None
    crs: CRS
    datum: CRS


class Viewer:
    """Makes views of poses; thread-safe. Close it after use."""

    def __init__(self, placing: Placing) -> None:
        """Open the elevation model. Raises SourceError, CrsError, GeorefError."""
        self._placing = placing
        self._dem = Dem.open(placing.dem) if placing.dem is not None else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed of the elevation model, in an order that photos have no part in."""
        return tuple(sorted(self._dem.notes)) if self._dem is not None else ()

    def view(self, pose: Pose, size: Size) -> Seen:
        """The view of a photo of a (stored) size.

        Raises:
            GeorefError: the pose lacks something, or nothing says how high the camera stands.
        """
        _check_whole(pose)
        _check_place(pose)
        try:
            if self._dem is None:
                return self._over_plane(pose, size)
            return self._over_model(pose, size, self._dem)
        except (ArgumentError, SourceError) as error:
            # Options were looked at before: this is a number that no camera has, or a part of the
            # model that cannot be read.
            raise GeorefError(f"{pose.name or 'the photo'}: {error}") from error

    def close(self) -> None:
        """Let go of the elevation model."""
        if self._dem is not None:
            self._dem.close()

    def _over_plane(self, pose: Pose, size: Size) -> Seen:
        stand = over_level(pose, self._placing)
        ground_m = stand.z_m if stand.ground_m is None else stand.ground_m
        crs = work_crs(pose)
        camera = standing(pose, size, crs, stand.z_m)
        far_m = self._far_m(pose) or default_far_m(stand.z_m - ground_m)
        ground = FlatGround(ground_m, earth_radius_m=_radius(camera, far_m))
        words = f"level ground at {ground_m:.2f} m"
        view = CameraView(camera, ground, crs, far_m=far_m)
        return self._seen(stand.pose, view, words, None if stand.counted else pose.crs)

    def _over_model(self, pose: Pose, size: Size, dem: Dem) -> Seen:
        crs = work_crs(pose, dem.crs)
        xy = place_in(pose, crs)
        ask = partial(dem.ground, crs, xy, own_datum=True)
        under = _under(ask, xy)
        stand = over_model(pose, self._placing, under)
        pose, z_m = stand.pose, stand.z_m
        if not stand.counted and pose.crs is not None:
            ask = partial(dem.ground, with_heights(crs, pose.crs), xy)
            under = _under(ask, xy)
        camera = standing(pose, size, crs, z_m)
        far_m = self._far_m(pose)
        if far_m is None and under is not None:
            far_m = default_far_m(z_m - under.z_m)
        ground = _in_reach(ask, camera, far_m, None if under is None else under.z_m)
        if far_m is None:
            far_m = default_far_m(z_m - _seen_m(camera, ground))
        pose, skip_m = _skipping(pose, camera, ground, far_m)
        view = CameraView(camera, ground, crs, far_m=far_m, skip_m=skip_m)
        return self._seen(pose, view, dem.describe(), dem.crs if stand.counted else pose.crs)

    def _far_m(self, pose: Pose) -> float | None:
        return self._placing.far_m if self._placing.far_m is not None else pose.far_m

    def _seen(self, pose: Pose, view: CameraView, ground: str, heights: CRS | None) -> Seen:
        near = self._placing.near_m
        if near is not None and near >= view.far_m:
            raise GeorefError(
                f"{pose.name or 'the photo'}: --near {near:g} leaves nothing, as its ground counts "
                f"up to {view.far_m:.0f} m; --far names another range"
            )
        if near is None and pose.near_m is not None and 0.0 < pose.near_m < view.far_m:
            near = pose.near_m
        own = () if self._dem is None else (self._dem.crs,)
        crs = _map_crs(view, own if pose.crs is None else (*own, pose.crs))
        flat = view.world.crs
        datum = flat if heights is None else with_metric_heights(flat, heights)
        return Seen(pose=pose, view=view, ground=ground, near_m=near, crs=crs, datum=datum)


def _check_whole(pose: Pose) -> None:
    """Raises GeorefError for a pose that lacks something, and names all that it lacks."""
    parts: dict[str, object] = {
        "position": pose.xyz,
        "direction": pose.rotation,
        "focal length": pose.lens,
    }
    if pose.xyz is not None:
        parts["coordinate system"] = pose.crs
    lacking = [name for name, part in parts.items() if part is None]
    if lacking:
        ways = dict.fromkeys(_WAYS[name] for name in lacking)
        raise GeorefError(
            f"{pose.name or 'the photo'} has {' and '.join(f'no {name}' for name in lacking)} "
            f"({pose.source or 'no pose found'}): {'; '.join(ways)}"
        )


def _check_place(pose: Pose) -> None:
    """Raises GeorefError for a place that is off the earth."""
    name, z_m = pose.name or "the photo", height_m(pose)
    if z_m is not None and not abs(z_m) < _HIGHEST_M:
        raise GeorefError(f"{name}: {z_m:g} m is no height of a camera")
    if pose.crs is None or pose.xyz is None:
        return
    x, y = pose.xyz[:2]
    if pose.crs.is_geographic:
        for value, most, what in ((x, _TURNS_DEG, "longitude"), (y, _QUARTER_DEG, "latitude")):
            if not abs(value) <= most:
                raise GeorefError(f"{name}: {value:g} is no {what}")
    elif not max(abs(x), abs(y)) <= _FARTHEST:
        raise GeorefError(f"{name}: ({x:g}, {y:g}) is no place in {pose.crs.name}")


def _map_crs(view: CameraView, sources: tuple[CRS, ...]) -> CRS:
    """See `Seen.crs`: people's own, in their own unit, rather than a frame about the camera."""
    world, place = view.world.crs, view.eye.position[:2]
    for source in map(horizontal, sources):
        if source.is_projected:
            there = transform(world, source, place[:, None])[:, 0]
            if np.isfinite(there).all() and _is_frame(LocalFrame.at(source, there), world):
                return source
    return utm(world, place)


def _is_frame(frame: LocalFrame, world: CRS) -> bool:
    """Whether a frame is the world, and its source's own projection."""
    own = horizontal(frame.source).coordinate_operation
    return frame.crs == world and frame.crs.coordinate_operation == own


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


def _in_reach(ask: Ask, camera: Camera, far_m: float | None, under_m: float | None) -> DemGround:
    """The ground as far as the camera sees it.

    Raises GeorefError where there is none.
    """
    z_m = float(camera.position[2])
    limit = _FIRST_REACH_M if far_m is None else far_m
    radius = _radius(camera, limit)
    reach_m = min(limit, _SPARE_M)
    if under_m is not None:
        low_m = under_m - 0.1 * abs(z_m - under_m)
        reach_m = min(limit, _reach_m(camera, low_m) + _SPARE_M)
    while True:
        ground = _asked(partial(ask, reach_m, earth_radius_m=radius), last=reach_m >= limit)
        needed_m = 2.0 * reach_m
        if ground is not None:
            needed_m = _reach_m(camera, ground.surface.lowest)
        if ground is not None and min(limit, needed_m) <= reach_m:
            return ground
        reach_m = min(limit, needed_m)


def _asked(ask: Callable[[], DemGround], *, last: bool) -> DemGround | None:
    """The ground, None where there is none so near; the last time that is an error."""
    try:
        return ask()
    except CrsError:
        raise
    except GeorefError:
        if last:
            raise
        return None


def _seen_m(camera: Camera, ground: DemGround) -> float:
    """The median height of what a picture shows; the lowest there is where it shows nothing."""
    rays = camera.rays(_edge(camera.size))
    points, _ = ground.intersect(camera.position, rays, far_m=_FIRST_REACH_M)
    heights = points[2, np.isfinite(points[2])]
    return float(np.median(heights)) if heights.size else ground.surface.lowest


def _under(ask: Ask, xy: Floats) -> Under | None:
    """The model's height under the camera or about it, None where it has none.

    Raises CrsError where heights of two datums cannot be related.
    """
    ground = _asked(partial(ask, _SPARE_M), last=False)
    if ground is None:
        return None
    height = float(ground.height(xy[:, None])[0])
    if np.isfinite(height):
        return Under(height)
    along = np.linspace(-_SPARE_M, _SPARE_M, _EDGE)
    about = np.stack(np.meshgrid(along, along)).reshape(2, -1)
    heights = ground.height(xy[:, None] + about)
    heights = heights[np.isfinite(heights)]
    if not heights.size:
        return None
    return Under(
        float(np.median(heights)),
        "ground under the camera as high as in the middle of what the elevation model has within "
        f"{_SPARE_M:.0f} m",
    )


def _skipping(pose: Pose, camera: Camera, ground: DemGround, far_m: float) -> tuple[Pose, float]:
    """From where on rays are followed: from the camera, unless it stands under the surface.

    Raises GeorefError where no ray of such a camera comes out.
    """
    z_m, surface_m = float(camera.position[2]), float(ground.height(camera.position[:2, None])[0])
    if not z_m < surface_m:
        return pose, 0.0
    rays = camera.rays(_edge(camera.size))
    hits = [
        int(np.sum(status == GroundStatus.HIT))
        for _, status in (
            ground.intersect(camera.position, rays, skip_m=skip_m, far_m=far_m)
            for skip_m in _SKIPS_M
        )
    ]
    deep = f"{surface_m - z_m:.1f} m under the surface of the elevation model"
    if not any(hits):
        raise GeorefError(
            f"{pose.name or 'the camera'} stands {deep}: take a terrain model without trees and "
            "houses, say how high it stands (--camera-height), or see whether both heights are in "
            "one unit and from one datum"
        )
    skip_m = next(
        s for s, count in zip(_SKIPS_M, hits, strict=True) if count >= _ENOUGH * max(hits)
    )
    return pose.assuming(
        f"camera {deep}: the first {skip_m:.0f} m of its view are left out"
    ), skip_m
