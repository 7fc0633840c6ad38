"""An RPC in place of a camera, so that GIS tools place the untouched photo.

A pinhole's perspective is an RPC to 1e-4 px. So is, nearly, one whose lens bends by r2; stronger
lenses leave what the fit reports: `geo.undistort` takes it away with the lens.

What readers do with it: GDAL takes longitudes and latitudes as WGS 84 and the height of the ground
from RPC_DEM or RPC_HEIGHT, which is 0 unless it is given; QGIS takes HEIGHT_OFF, so that it is the
median height of the ground in view here. Heights are those of the view's ground, in its datum. A
DEM whose CRS names a vertical datum is moved to the ellipsoid by GDAL; where the ground was not,
RPC_DEM_APPLY_VDATUM_SHIFT=NO keeps them together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import GeorefError, HorizonError
from attachtrans.geo.frame import horizontal, transform
from attachtrans.geo.ground import DemGround, FlatGround, GroundStatus
from attachtrans.geo.rpcmodel import RpcModel, monomials
from attachtrans.geo.view import CameraView, Rpc
from attachtrans.types import Size

Floats = NDArray[np.float64]

LIMIT_PX = 1.0
"""Root mean square above which a fit is refused."""

_WGS84 = CRS.from_epsg(4326)
_MOST_SKY = 0.1
"""Of the frame; an RPC knows no horizon, and what lies near it spoils the rest."""
_FAR = 10.0
"""Times the camera's height above the ground: ground beyond is as good as sky, unless the view
says how far it reaches."""
_LOOKS, _RAYS, _CHECKS = 41, 21, 40
"""Pixels per side that tell the ground's heights, that are fitted, that are checked."""
_HEIGHTS, _CHECKED_HEIGHTS = 6, 5
_MARGIN = 0.03
"""Of the camera's height above the ground: heights beyond those that were seen."""
_LOWEST_DEPTH = 0.1
"""Of the median depth: what is nearer than that to the camera has no part in the fit."""

_STEPS = 40
_PRIOR = 1e-12
"""Weight of the first guess: decides where the rays leave a coefficient open."""
_LEAST_DENOMINATOR = 0.05
"""Of the first guess: how small a step may make it anywhere."""
_GAIN = 1e-8
"""Of the mean of squares, below which a step is the last one."""
_ENOUGH = 1e-14
"""Mean of squares, half the image being 1: 1e-4 px in 2000."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RpcFit:
    """An RPC that was fitted to a camera.

    rpc        over the ground of the view
    rms_px, p95_px, max_px   distance between where the camera and the RPC see a point, over the
               frame and all heights of the ground
    heights_m  (lowest, highest) that it was fitted for
    sky_share  of the frame: pixels that show no ground, or ground beyond the view's far limit
    """

    rpc: Rpc
    rms_px: float
    p95_px: float
    max_px: float
    heights_m: tuple[float, float]
    sky_share: float


def fit_rpc(view: CameraView, *, force: bool = False) -> RpcFit:
    """The RPC of a view, fitted on rays that meet the ground.

    Args:
        view: of any camera that looks down.
        force: gives it also with an rms above `LIMIT_PX`.

    Raises:
        HorizonError: more than a tenth of the frame is sky.
        GeorefError: no ground in view; an rms above the limit, unless forced; no RPC at all.
    """
    view, heights, sky_share = _ground_in_view(view)
    median = float(np.median(heights))
    margin = _MARGIN * _above(view, heights)
    low, high = float(heights.min()) - margin, float(heights.max()) + margin
    rays = _sights(view, _RAYS, np.linspace(low, high, _HEIGHTS))
    model = _fitted(rays, view.size, median)
    checks = _sights(view, _CHECKS, np.linspace(low, high, _CHECKED_HEIGHTS))
    off = np.hypot(*(model.project(checks.points[:2], checks.points[2]) - checks.pixels))
    if not np.isfinite(off).all():
        raise GeorefError(
            "no RPC follows this camera: it folds over within the frame; write an ortho instead, "
            "or take the lens distortion out first (--undistort)"
        )
    fit = RpcFit(
        rpc=Rpc(
            model,
            view.size,
            view.surface,
            CRS(horizontal(view.crs)),
            ground_crs=view.world.crs,
        ),
        rms_px=float(np.sqrt((off**2).mean())),
        p95_px=float(np.quantile(off, 0.95)),
        max_px=float(off.max()),
        heights_m=(low, high),
        sky_share=sky_share,
    )
    if fit.rms_px > LIMIT_PX and not force:
        raise GeorefError(
            f"the RPC is off by {fit.rms_px:.2f} px rms, {fit.max_px:.1f} px at most, above the "
            f"limit of {LIMIT_PX} px: take the lens distortion out (--undistort), write an ortho, "
            "or force it (--force-rpc)"
        )
    return fit


class _Sights(NamedTuple):
    """Points on rays.

    points  (3, N) longitude, latitude, height
    pixels  (2, N) from the centre
    depths  (N,) along the camera's axis, metres
    """

    points: Floats
    pixels: Floats
    depths: Floats


def _ground_in_view(view: CameraView) -> tuple[CameraView, Floats, float]:
    """The view up to where its ground counts, heights there, and the share that shows none."""
    points, status = view.look(_over(view.size, _LOOKS))
    seen = status == GroundStatus.HIT
    if not np.isfinite(view.far_m) and seen.any():
        view = replace(view, far_m=_FAR * _above(view, points[2, seen]))
        away = np.hypot(*(points[:2] - view.eye.position[:2, None]))
        status[seen & (away > view.far_m)] = GroundStatus.BEYOND_FAR
        seen = status == GroundStatus.HIT
    sky = np.isin(status, (GroundStatus.SKY, GroundStatus.BEYOND_FAR, GroundStatus.NO_RAY))
    share = float(sky.mean())
    if share > _MOST_SKY:
        raise HorizonError(
            f"{share:.0%} of the frame shows no ground within {view.far_m:.0f} m, and an RPC knows "
            "no horizon: write an ortho instead (--ortho), or crop the photo below it"
        )
    if not seen.any():
        raise GeorefError(
            "the camera sees no known ground: check its height, and that the elevation model "
            "(--dem) lies under the view"
        )
    return view, points[2, seen], share


def _above(view: CameraView, heights: Floats) -> float:
    """Height of the camera above the ground in view, metres."""
    return max(float(view.eye.position[2]) - float(np.median(heights)), 1e-3)


def _over(size: Size, count: int) -> Floats:
    """(2, count^2) pixels from the outer corner over the image, its outer edges included."""
    cols, rows = np.meshgrid(np.linspace(0, size.width, count), np.linspace(0, size.height, count))
    return np.stack([cols.ravel(), rows.ravel()])


def _sights(view: CameraView, count: int, heights: Floats) -> _Sights:
    """Where rays over the frame come down to several heights."""
    pixels = _over(view.size, count) - 0.5
    rays, position = view.eye.rays(pixels), view.eye.position
    axis = view.eye.rotation[:, 2]
    found = []
    for height in heights:
        level = FlatGround(float(height), earth_radius_m=_radius(view))
        points, status = level.intersect(position, rays, skip_m=view.skip_m, far_m=view.far_m)
        depth = axis @ (points - position[:, None])
        hit = np.flatnonzero(status == GroundStatus.HIT)
        near = hit[depth[hit] > _LOWEST_DEPTH * np.median(depth[hit])] if hit.size else hit
        lonlat = transform(view.world.crs, _WGS84, points[:2, near])
        placed = np.stack([*lonlat, points[2, near]])
        found.append(_Sights(placed, pixels[:, near], depth[near]))
    return _Sights(*(np.concatenate(parts, axis=-1) for parts in zip(*found, strict=True)))


def _radius(view: CameraView) -> float | None:
    ground = view.surface
    return ground.earth_radius_m if isinstance(ground, FlatGround | DemGround) else None


def _fitted(sights: _Sights, size: Size, height_off: float) -> RpcModel:
    """Least squares in the image, for sample and line each by itself."""
    points = sights.points.copy()
    # Longitudes that run on across the antimeridian.
    points[0] -= 360.0 * np.round((points[0] - points[0, 0]) / 360.0)
    offsets = 0.5 * (points.max(axis=1) + points.min(axis=1))
    offsets[2] = height_off
    scales = np.abs(points - offsets[:, None]).max(axis=1)
    terms = monomials((points - offsets[:, None]) / scales[:, None])
    # A lens that bends by r2 is a cubic over the cube of the depth: the first guess.
    depth = sights.depths / np.median(sights.depths)
    cube = np.linalg.lstsq((terms / depth**3).T, np.ones_like(depth), rcond=1e-14)[0]
    half = 0.5 * np.array(size, dtype=np.float64)
    sample, line = (
        _ratio((pixel - (side - 0.5)) / side, terms, cube / cube[0])
        for pixel, side in zip(sights.pixels, half, strict=True)
    )
    return RpcModel(
        line_off=half[1] - 0.5,
        samp_off=half[0] - 0.5,
        lat_off=offsets[1],
        long_off=(offsets[0] + 180.0) % 360.0 - 180.0,
        height_off=height_off,
        line_scale=half[1],
        samp_scale=half[0],
        lat_scale=scales[1],
        long_scale=scales[0],
        height_scale=scales[2],
        line_num_coeff=line[0].tolist(),
        line_den_coeff=line[1].tolist(),
        samp_num_coeff=sample[0].tolist(),
        samp_den_coeff=sample[1].tolist(),
    )


def _ratio(aim: Floats, terms: Floats, denominator: Floats) -> tuple[Floats, Floats]:
    """Numerator and denominator (20,) whose ratio is `aim` (N,), by Levenberg and Marquardt.

    The denominator begins as the one given and stays positive where the rays are.
    """
    guess = _sum(denominator, terms)
    first = np.linalg.lstsq((terms / guess).T, aim, rcond=1e-14)[0]
    begin = np.concatenate([first, denominator[1:]])
    state = _State.at(begin, begin, terms, aim)
    damping = 1e-3
    for _ in range(_STEPS):
        normal, slope = state.equations(begin, terms)
        while damping < 1e8:
            damped = normal + damping * np.diag(np.diag(normal))
            there = _State.at(state.values - np.linalg.solve(damped, slope), begin, terms, aim)
            positive = (there.over * guess > 0.0) & (there.over * guess < 1.0 / _LEAST_DENOMINATOR)
            if positive.all() and there.cost < state.cost:
                break
            damping *= 4.0
        else:
            break
        gain = state.cost - there.cost
        state, damping = there, max(0.1 * damping, 1e-12)
        if gain <= _GAIN * state.cost or state.cost <= _ENOUGH:
            break
    return state.values[:20], np.concatenate([[1.0], state.values[20:]])


class _State(NamedTuple):
    """Coefficients (39,), and on N rays: what they leave, and 1 / denominator."""

    values: Floats
    off: Floats
    over: Floats
    cost: float

    @classmethod
    def at(cls, values: Floats, begin: Floats, terms: Floats, aim: Floats) -> _State:
        top, under = values[:20], np.concatenate([[1.0], values[20:]])
        over: Floats = 1.0 / _sum(under, terms)
        off = _sum(top, terms) * over - aim
        cost = float((off**2).mean() + _PRIOR * ((values - begin) ** 2).sum())
        return cls(values, off, over, cost)

    def equations(self, begin: Floats, terms: Floats) -> tuple[Floats, Floats]:
        """The normal equations' (39, 39) matrix and (39,) right side."""
        count = len(self.off)
        top = _sum(self.values[:20], terms) * self.over**2
        jacobian = np.concatenate([terms * self.over, -top * terms[1:]])
        squares = np.einsum("in,jn->ij", jacobian, jacobian)
        normal: Floats = squares / count + _PRIOR * np.eye(len(begin))
        slope: Floats = _sum(self.off, jacobian.T) / count + _PRIOR * (self.values - begin)
        return normal, slope


def _sum(factors: Floats, terms: Floats) -> Floats:
    """(K,) factors of (K, N) terms -> (N,)."""
    # Here and above not by BLAS: for so few products its threads cost more than they bring.
    total: Floats = np.einsum("k,kn->n", factors, terms)
    return total
