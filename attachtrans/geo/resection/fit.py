"""Space resection by least squares in pixels: Levenberg-Marquardt over the free parts of a camera.

Derivatives are central differences of `Camera.project`, so that every camera, lens and EXIF
orientation has them; at the steps taken here they are right to nine digits or so. The steps
themselves are solved by orthogonal decomposition, not by normal equations: attitude and position
of a long lens are nearly one, and squaring would lose the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attachtrans.errors import ArgumentError, GeorefError
from attachtrans.geo.camera import Camera, PanoramaCamera, TurnedCamera
from attachtrans.geo.camera.base import columns
from attachtrans.geo.ground.base import lowered
from attachtrans.geo.resection.report import PoseFit, report
from attachtrans.geo.resection.start import attitude, place, poses
from attachtrans.geo.resection.unknowns import (
    COUNTS,
    Part,
    Prior,
    Stand,
    checked_parts,
    zoomed,
)

Floats = NDArray[np.float64]

_STEPS = 60
_DAMPING = 1e-3
_STUCK = 1e12
"""Damping at which no smaller step helps: rounding is all that is left."""
_STILL = 1e-8
"""Standard deviations of a pixel by which a last step moves the picture; another would move it by
the square of that."""
_NUDGE = 1e-5
"""Radians, share of the distance, share of the focal length."""
_LOOSE = 1e-7
"""Least over greatest singular value of the scaled derivatives that still determine a pose."""
_LINE = 1e-6
"""Width over length of a row of points that counts as a line."""
_TRIED = 4
"""Starts besides the camera's own that are followed; three points have up to four poses."""
_HOPELESS = 100.0
"""Times as bad as the best start, and as points that are some pixels off."""
_ZOOMS = (1.0, 0.5, 0.7, 1.4, 2.0)
_SOLVED = 1e-6
"""Pixels that three points are missed by where a pose shows them exactly."""


def refine_pose(
    camera: Camera,
    xyz: ArrayLike,
    pixels: ArrayLike,
    *,
    free: Iterable[str] = (Part.ROTATION, Part.POSITION),
    sigma_px: ArrayLike | None = None,
    prior: Prior | None = None,
    earth_radius_m: float | None = None,
) -> PoseFit:
    """The camera that shows control points where they were found.

    The camera's own pose is one start; closed forms give others, so it may be far off. With three
    points and no prior there are up to four poses: the one next to the camera's position is taken.

    Args:
        camera: of the photo, with the pose that is known so far.
        xyz: (3, N) control points in the camera's world, metres.
        pixels: (2, N) where they are in the picture; (0, 0) is the CENTRE of the first pixel.
        free: what may change, names of `Part`.
        sigma_px: standard deviation of a pixel coordinate, for all points or (N,) for each; None:
            the same for all, estimated from the residuals.
        prior: what is known of the camera beforehand.
        earth_radius_m: as of the ground that the camera will look at, for points kilometres away.

    Raises:
        GeorefError: too few points, or points that leave a free part open (on one line, in one
            spot of the picture); no pose that has them all in view.
        ArgumentError: shapes, values that are not finite, focal length of a panorama.
    """
    problem = _Problem.of(camera, xyz, pixels, free, sigma_px, prior or Prior(), earth_radius_m)
    best = _solved(problem, [problem.start, *_best(problem, _starts(problem))])
    problem.check_determined(best)
    return report(
        problem.camera(best),
        problem.parts,
        misses_px=problem.misses(best),
        slopes=problem.slopes(best),
        sigma_px=None if sigma_px is None else problem.sigma_px,
        prior_weights=problem.prior_weights,
        prior_misses=problem.prior_misses(best),
    )


def find_pose(camera: Camera, xyz: ArrayLike, pixels: ArrayLike) -> Camera:
    """The camera standing and looking so that it shows control points; its own pose is ignored.

    Args:
        camera: of the photo; only its lens matters.
        xyz: (3, N) control points in the world to place it in, metres; at least 4.
        pixels: (2, N) where they are in the picture; (0, 0) is the CENTRE of the first pixel.

    Raises:
        GeorefError: fewer than 4 points, points on one line, no pose that has them all in view.
    """
    both = (Part.ROTATION, Part.POSITION)
    problem = _Problem.of(camera, xyz, pixels, both, None, Prior(), None)
    if problem.count < 4:
        raise GeorefError(
            f"{problem.count} control points do not single out a pose (three have up to four): "
            "find a fourth, or give the photo's rough position"
        )
    best = _solved(problem, _best(problem, _starts(problem)))
    problem.check_determined(best)
    return problem.camera(best)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Problem:
    """Points, what is free, and what else is known. Residuals are in standard deviations.

    lens     the camera without its pose
    middle   (3,) of the points; places are counted from there, to keep digits
    """

    lens: Camera
    start: Stand
    middle: Floats
    xyz: Floats
    pixels: Floats
    parts: tuple[Part, ...]
    sigma_px: Floats
    prior_weights: Floats
    earth_radius_m: float | None

    @classmethod
    def of(
        cls,
        camera: Camera,
        xyz: ArrayLike,
        pixels: ArrayLike,
        free: Iterable[str],
        sigma_px: ArrayLike | None,
        prior: Prior,
        earth_radius_m: float | None,
    ) -> _Problem:
        """Checked."""
        points, places, parts = columns(xyz, 3), columns(pixels, 2), checked_parts(free)
        count = points.shape[1]
        if places.shape[1] != count or not (
            np.isfinite(points).all() and np.isfinite(places).all()
        ):
            raise ArgumentError(
                f"{count} control points and {places.shape[1]} pixels: one finite pixel is wanted "
                "for each finite point"
            )
        if Part.FOCAL in parts:
            zoomed(camera, 1.0)
        sigma = np.broadcast_to(
            np.asarray(1.0 if sigma_px is None else sigma_px, dtype=np.float64), (count,)
        )
        if not ((sigma > 0.0) & (sigma < np.inf)).all():
            raise ArgumentError("sigma_px, a standard deviation in pixels, is above 0")
        middle = points.mean(axis=1) if count else np.zeros(3)
        problem = cls(
            lens=camera.posed(np.eye(3), np.zeros(3)),
            start=Stand(camera.rotation, camera.position - middle),
            middle=middle,
            xyz=points - middle[:, None],
            pixels=places,
            parts=parts,
            sigma_px=sigma,
            prior_weights=prior.weights(parts),
            earth_radius_m=earth_radius_m,
        )
        problem.check_enough()
        return problem

    @property
    def count(self) -> int:
        """Points."""
        return int(self.xyz.shape[1])

    def camera(self, stand: Stand) -> Camera:
        """The camera in the world of the points as they were given."""
        return stand._replace(position=stand.position + self.middle).camera(self.lens)

    def check_enough(self) -> None:
        """Raises GeorefError when there are fewer numbers than unknowns, or points on a line."""
        unknowns = sum(COUNTS[part] for part in self.parts)
        known = 2 * self.count + np.count_nonzero(self.prior_weights)
        if known < unknowns:
            raise GeorefError(
                f"{known} numbers are known (by {self.count} control points), and "
                f"{' and '.join(self.parts)} have {unknowns}: find more points, or let less be free"
            )
        if {Part.ROTATION, Part.POSITION} <= set(self.parts) and not self.prior_weights.any():
            extent = np.linalg.svd(self.xyz, compute_uv=False)
            if extent[1] <= _LINE * extent[0]:
                raise GeorefError(
                    "the control points lie on one line, about which the camera could be anywhere: "
                    "add a point beside it, or hold the position"
                )

    def check_determined(self, stand: Stand) -> None:
        """Raises GeorefError when the camera could change and show the points as it does."""
        slopes = np.concatenate([self.slopes(stand), np.diag(self.prior_weights)])
        length = np.linalg.norm(slopes, axis=0)
        values = np.linalg.svd(slopes / np.where(length > 0.0, length, 1.0), compute_uv=False)
        if not length.all() or values[-1] <= _LOOSE * values[0]:
            raise GeorefError(
                f"these {self.count} control points leave {' and '.join(self.parts)} open: spread "
                "them over the picture and in depth, or let less be free"
            )

    def shown(self, stands: Sequence[Stand]) -> Floats:
        """(K, 2, N) pixels at which cameras show the points."""
        seen = [
            stand.rotation.T
            @ (lowered(stand.position, self.xyz, self.earth_radius_m) - stand.position[:, None])
            for stand in stands
        ]
        pixels = self.lens.project(np.concatenate(seen, axis=1))
        shown = pixels.reshape(2, len(stands), -1).transpose(1, 0, 2)
        if Part.FOCAL not in self.parts:
            return shown
        # Focal lengths enlarge the picture about the principal point, where the axis is seen.
        centre = self.lens.project(np.array([[0.0], [0.0], [1.0]]))
        zooms = np.array([stand.zoom for stand in stands])[:, None, None]
        enlarged: Floats = centre + (shown - centre) * zooms
        return enlarged

    def misses(self, stand: Stand) -> Floats:
        """(2, N) pixels from where a camera shows the points to where they were found."""
        return _around(self.lens, self.pixels - self.shown([stand])[0])

    def prior_misses(self, stand: Stand) -> Floats:
        """(unknowns,) by how much the start lies beyond a camera, in standard deviations."""
        if not self.prior_weights.any():
            return self.prior_weights
        return self.prior_weights * stand.to(self.start, self.parts)

    def residuals(self, stand: Stand) -> Floats:
        """(2 N + unknowns,) of the points, columns first, and of the prior."""
        pixels = (self.misses(stand) / self.sigma_px).ravel()
        return np.concatenate([pixels, self.prior_misses(stand)])

    def slopes(self, stand: Stand) -> Floats:
        """(2 N, unknowns) derivatives of the projected points, in their standard deviations."""
        distance = float(np.median(np.linalg.norm(self.xyz - stand.position[:, None], axis=0)))
        nudges = dict.fromkeys(Part, _NUDGE) | {Part.POSITION: _NUDGE * (distance or 1.0)}
        lengths = np.array([nudges[part] for part in self.parts for _ in range(COUNTS[part])])
        steps = np.concatenate([np.diag(lengths), -np.diag(lengths)])
        ends = self.shown([stand.moved(self.parts, step) for step in steps])
        change = _around(self.lens, ends[: len(lengths)] - ends[len(lengths) :])
        slopes: Floats = change / (2.0 * lengths[:, None, None]) / self.sigma_px
        return slopes.reshape(len(lengths), -1).T


def _around(lens: Camera, misses: Floats) -> Floats:
    """Misses (..., 2, N) the short way round a panorama."""
    axis = 0
    if isinstance(lens, TurnedCamera):
        axis = int(lens.orientation > 4)
        lens = lens.upright
    if isinstance(lens, PanoramaCamera):
        width = lens.whole_px[0]
        along = misses[..., axis, :]
        misses[..., axis, :] = np.mod(along + 0.5 * width, width) - 0.5 * width
    return misses


def _starts(problem: _Problem) -> Iterator[Stand]:
    """Where the solution may be near, from closed forms."""
    parts, (rotation, position, _) = set(problem.parts), problem.start
    for zoom in _ZOOMS if Part.FOCAL in parts else (1.0,):
        lens = zoomed(problem.lens, zoom) if zoom != 1.0 else problem.lens
        rays = lens.rays(problem.pixels)
        seen = np.isfinite(rays.sum(axis=0))
        rays, xyz = rays[:, seen], problem.xyz[:, seen]
        if seen.sum() < 2:
            continue
        if Part.ROTATION in parts:
            yield Stand(attitude(rays, xyz, position), position, zoom)
        if parts >= {Part.ROTATION, Part.POSITION} and seen.sum() > 2:
            yield from (Stand(*pose, zoom) for pose in poses(rays, xyz))
        elif Part.POSITION in parts:
            yield Stand(rotation, place(rays, xyz, rotation), zoom)


def _cost(problem: _Problem, stand: Stand) -> float:
    """The sum of squares; infinite where points are out of view."""
    residuals = problem.residuals(stand)
    cost = float(residuals @ residuals)
    return cost if np.isfinite(cost) else np.inf


def _best(problem: _Problem, starts: Iterable[Stand]) -> list[Stand]:
    """Those of the starts that it is worth to follow."""
    costs = [(_cost(problem, start), start) for start in starts]
    costs.sort(key=lambda entry: entry[0])
    limit = _HOPELESS * (costs[0][0] + 2 * problem.count) if costs else 0.0
    return [start for cost, start in costs[:_TRIED] if cost <= limit]


def _solved(problem: _Problem, starts: Iterable[Stand]) -> Stand:
    """The solution with the least residuals; of several exact ones the next to the first start."""
    solutions = [stand for start in starts if (stand := _descended(problem, start)) is not None]
    if not solutions:
        raise GeorefError(
            "no pose has all the control points in view: check the order of x and y, of column and "
            "row, and that they are points of this photo"
        )
    costs = [_cost(problem, stand) for stand in solutions]
    if min(costs) > _SOLVED**2:
        return solutions[int(np.argmin(costs))]
    exact = [stand for stand, cost in zip(solutions, costs, strict=True) if cost <= _SOLVED**2]
    return min(exact, key=lambda stand: np.linalg.norm(stand.position - problem.start.position))


def _descended(problem: _Problem, stand: Stand) -> Stand | None:
    """The bottom of the valley that a start lies in; None where points are out of view."""
    residuals = problem.residuals(stand)
    if not np.isfinite(residuals).all():
        return None
    damping = _DAMPING
    for _ in range(_STEPS):
        slopes = np.concatenate([problem.slopes(stand), np.diag(problem.prior_weights)])
        if not np.isfinite(slopes).all():
            return None
        length = np.linalg.norm(slopes, axis=0)
        scale = 1.0 / np.where(length > 0.0, length, 1.0)
        scaled = slopes * scale
        while damping < _STUCK:
            step = _damped(scaled, residuals, damping)
            trial = stand.moved(problem.parts, step * scale)
            trial_residuals = problem.residuals(trial)
            if trial_residuals @ trial_residuals < residuals @ residuals:  # nan is not less
                break
            damping *= 10.0
        else:
            break
        stand, residuals, damping = trial, trial_residuals, max(0.1 * damping, 1e-15)
        if np.linalg.norm(scaled @ step) <= _STILL:
            break
    return stand


def _damped(slopes: Floats, residuals: Floats, damping: float) -> Floats:
    """The Levenberg-Marquardt step for columns of length 1."""
    unknowns = slopes.shape[1]
    rows = np.concatenate([slopes, np.sqrt(damping) * np.eye(unknowns)])
    step: Floats = np.linalg.lstsq(rows, np.append(residuals, np.zeros(unknowns)), rcond=None)[0]
    return step
