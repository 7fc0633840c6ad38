"""The footprint of an image, by the kind of its georeference: `footprint`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from attachtrans.errors import ArgumentError, HorizonError
from attachtrans.geo.camera import Camera, PanoramaCamera, TurnedCamera
from attachtrans.geo.footprint.arcs import bearings_deg, disc, fan
from attachtrans.geo.footprint.base import MODES, Footprint
from attachtrans.geo.footprint.gsd import camera_gsd_m, map_gsd_m
from attachtrans.geo.footprint.outline import outline, sealed
from attachtrans.geo.footprint.probe import CameraProbe, MapProbe, Sight
from attachtrans.geo.footprint.reproject import reprojected
from attachtrans.geo.footprint.rings import Shown, shown
from attachtrans.geo.frame import horizontal
from attachtrans.geo.ground import EARTH_RADIUS_M, FlatGround, default_far_m, horizon_m
from attachtrans.geo.view import CameraView, Georef
from attachtrans.types import Size

Floats = NDArray[np.float64]

_GRID = 17
"""Pixels each way of a first look for the ground's height."""
_POINT = 1e-6
"""Of the far distance: a near one within this is none."""
_WHOLE = 0.999
"""Of a turn: what covers as much goes all around."""


def footprint(
    georef: Georef,
    *,
    mode: str = "auto",
    near_m: float | None = None,
    far_m: float | None = None,
) -> Footprint:
    """The area that an image shows, in its georeference's CRS.

    Args:
        georef: a camera over a ground, an affine grid, an RPC, control points.
        mode: one of `MODES`; cameras only.
        near_m: ground range from which on ground counts; None: from the camera on.
        far_m: ground range up to which it does; None: the view's own `far_m`, else
            `default_far_m`. Over level ground never beyond the horizon.

    Raises:
        ArgumentError: not a mode, a mode that needs a camera, or not 0 <= near_m < far_m.
        HorizonError: the image shows no such ground; says why.
    """
    if mode not in MODES:
        raise ArgumentError(f"unknown footprint mode {mode!r}; known: {', '.join(MODES)}")
    if isinstance(georef, CameraView):
        reach = _reach(georef, near_m, far_m)
        kind = _auto(georef.camera) if mode == "auto" else mode
        return _of_camera(georef, kind, reach)
    if mode not in {"auto", "ground"} or near_m is not None or far_m is not None:
        raise ArgumentError(
            f"mode {mode!r}, near_m and far_m are for cameras, not for a {type(georef).__name__}"
        )
    return _of_map(georef)


class _Reach(NamedTuple):
    """The level that stands for the ground, and the ground range that counts."""

    level: FlatGround
    near_m: float
    far_m: float


def ground_level(view: CameraView) -> FlatGround:
    """A level ground at the height of the view's ground under the camera, in `view.world`.

    Where the elevation model does not reach there: at the median height that the image shows.

    Raises:
        HorizonError: it shows none.
    """
    if isinstance(view.surface, FlatGround):
        return view.surface
    z = float(view.surface.height(view.eye.position[:2, None])[0])
    if not np.isfinite(z):
        points, _ = view.look(grid_pixels(view.size))
        heights = points[2, np.isfinite(points[2])]
        if not heights.size:
            raise HorizonError(
                "the elevation model covers neither the camera's place nor anything in the image; "
                "give one that does, or a height (--ground)"
            )
        z = float(np.median(heights))
    return FlatGround(z, earth_radius_m=getattr(view.surface, "earth_radius_m", None))


def grid_pixels(size: Size) -> Floats:
    """(2, N) pixels evenly over an image, its centre among them."""
    steps = (np.arange(_GRID) + 0.5) / _GRID
    cols, rows = np.meshgrid(steps * size.width, steps * size.height)
    return np.stack([cols.ravel(), rows.ravel()])


def _reach(view: CameraView, near_m: float | None, far_m: float | None) -> _Reach:
    level = ground_level(view)
    height = float(view.eye.position[2]) - level.z
    far = far_m
    if far is None:
        far = view.far_m if np.isfinite(view.far_m) else default_far_m(height)
    if isinstance(view.surface, FlatGround) and height > 0.0:
        far = min(far, horizon_m(height, level.earth_radius_m or EARTH_RADIUS_M))
    far, near = min(far, view.far_m), 0.0 if near_m is None else near_m
    if not 0.0 <= near < far:
        raise ArgumentError(f"near_m {near:g} and far_m {far:g}: 0 <= near_m < far_m is wanted")
    return _Reach(level, near if near > _POINT * far else 0.0, far)


def _auto(camera: Camera) -> str:
    inner = camera.upright if isinstance(camera, TurnedCamera) else camera
    if not isinstance(inner, PanoramaCamera):
        return "ground"
    return "disc" if _goes_around(inner) else "sector"


def _goes_around(camera: Camera) -> bool:
    inner = camera.upright if isinstance(camera, TurnedCamera) else camera
    return isinstance(inner, PanoramaCamera) and inner.size.width >= _WHOLE * inner.whole_px[0]


def _of_camera(view: CameraView, kind: str, reach: _Reach) -> Footprint:
    probe = CameraProbe(
        eye=view.eye,
        surface=reach.level if kind == "plane" else view.surface,
        level=reach.level,
        skip_m=view.skip_m,
        near_m=reach.near_m,
        far_m=reach.far_m,
    )
    seen = shown(probe, view.size)
    foot = view.eye.position[:2]
    if kind == "disc":
        shape: Polygon | MultiPolygon = disc(foot, _finite(reach.far_m), reach.near_m)
    elif kind == "sector":
        shape = fan(foot, bearings_deg(view.eye), reach.near_m, _finite(reach.far_m))
    else:
        shape = outline(probe, seen.rings)
        if shape.area <= 0.0:
            raise HorizonError(_why_nothing(seen, reach))
        shape = sealed(shape) if _goes_around(view.camera) else shape
    level = isinstance(probe.surface, FlatGround)
    return Footprint(
        geometry=reprojected(shape, view.world.crs, view.crs),
        crs=horizontal(view.crs),
        kind=kind,
        sky_share=seen.shares[Sight.SKY],
        clipped_share=seen.shares[Sight.FAR] + seen.shares[Sight.NEAR],
        off_dem_share=seen.shares[Sight.OFF],
        gsd_m=camera_gsd_m(probe, view.size),
        near_m=reach.near_m,
        far_m=reach.far_m,
        ground_source=f"level ground at {reach.level.z:.2f} m" if level else "elevation model",
        shape=shape,
        frame=view.world.crs,
    )


def _finite(far_m: float) -> float:
    if not np.isfinite(far_m):
        raise ArgumentError("a sector or a disc ends at a finite far_m")
    return far_m


def _why_nothing(seen: Shown, reach: _Reach) -> str:
    """What fills an image that shows no ground between near and far."""
    words = {
        Sight.SKY: "the sky",
        Sight.FAR: f"ground beyond {reach.far_m:.0f} m, the far distance",
        Sight.NEAR: f"ground within {reach.near_m:.0f} m, the near distance",
        Sight.OFF: "what the elevation model does not cover",
        Sight.BLIND: "places without a ray (the camera stands under the ground's surface, or the "
        "lens has none there)",
    }
    kinds = sorted(words, key=lambda kind: -seen.shares[kind])
    texts = [words[kind] for kind in kinds if seen.shares[kind] > 0.0]
    if not texts:
        return "the image has no footprint: it shows no ground"
    return f"the image has no footprint: it shows only {' and '.join(texts)}"


def _of_map(georef: Georef) -> Footprint:
    probe = MapProbe.of(georef)
    seen = shown(probe, georef.size)
    shape = outline(probe, seen.rings)
    if shape.area <= 0.0:
        raise HorizonError("the image has no footprint: none of its pixels has map coordinates")
    crs = horizontal(georef.crs)
    return Footprint(
        geometry=reprojected(shape, crs, crs),
        crs=crs,
        kind="outline",
        off_dem_share=seen.shares[Sight.OFF],
        gsd_m=map_gsd_m(georef),
        shape=shape,
        frame=crs,
    )
