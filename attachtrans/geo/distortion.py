"""What a lens does to the ideal picture: (2, N) normalised coordinates, both ways, exactly.

Normalised coordinates are (x, y) = (X/Z, Y/Z) in camera axes, x right, y down. A `Distortion`
maps ideal to distorted and back. Its polynomial folds: beyond some radius it leads back towards
the middle, and points far outside the view would appear inside the picture. What lies beyond that
fold has no picture (nan), and neither has a distorted place that no ideal point is mapped to.

    BrownDistortion   OpenCV's 4, 5, 8, 12 and 14 terms, OpenSfM, Pix4D, DJI, Metashape
    LensCorrection    the same polynomial the other way, from distorted to ideal (photogrammetric
                      correction tables, Australis, PhotoModeler)

Sources: OpenCV calib3d page (pinhole model); Metashape user manual, appendix "Camera models".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError

Floats = NDArray[np.float64]

_OPENCV_COUNTS = (0, 4, 5, 8, 12, 14)
_STEPS = 25
_SMALL_STEP = 1e-9
"""Normalised."""
_INSIDE = 0.95
"""Of the fold's radius."""
_CHUNK = 1 << 14
"""Points at a time, so that what a step computes stays in the cache."""
_RESIDUAL = 1e-10
"""Normalised; 1e-6 px at a focal length of 10 000 px. Further off is not a solution."""
_WIDEST = 1e4
"""Radius at which pictures end in any case: 0.006 degrees from the camera's own plane."""
_DIRECTIONS = 720
_RADII = 160
_ENTRIES = 2048


class Distortion(Protocol):
    """From ideal to distorted normalised coordinates and back; nan where there is no answer."""

    def distort(self, ideal: Floats) -> Floats:
        """(2, N) ideal -> (2, N) distorted; nan beyond the fold."""
        ...

    def undistort(self, distorted: Floats) -> Floats:
        """(2, N) distorted -> (2, N) ideal, within the fold; nan where nothing is mapped to."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BrownDistortion:
    """Radial, rational, tangential, thin-prism and tilt terms, as OpenCV defines them.

    With r2 = x2 + y2:
        x' = x N(r2)/D(r2) + 2 p1 x y + p2 (r2 + 2 x2) + s1 r2 + s2 r4
        y' = y N(r2)/D(r2) + p1 (r2 + 2 y2) + 2 p2 x y + s3 r2 + s4 r4
    then the plane is tilted by tau_x, tau_y.

    radial      k1, k2, k3 ... of r2, r4, r6 ... in N = 1 + ...; any number
    rational    the same of D
    tangential  p1, p2
    prism       s1, s2, s3, s4
    tilt_rad    tau_x, tau_y
    """

    radial: tuple[float, ...] = ()
    rational: tuple[float, ...] = ()
    tangential: tuple[float, float] = (0.0, 0.0)
    prism: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    tilt_rad: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ("radial", "rational", "tangential", "prism", "tilt_rad"):
            values = tuple(float(value) for value in getattr(self, name))
            if not np.isfinite(values).all():
                raise ArgumentError(f"distortion {name} {values} is not finite")
            if name in {"radial", "rational"}:
                values = tuple(np.trim_zeros(values, "b"))
            object.__setattr__(self, name, values)

    @classmethod
    def opencv(cls, coefficients: Sequence[float]) -> Self:
        """From OpenCV's order k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [tau_x tau_y]]]].

        Also OpenSfM's, Pix4D's (R1 R2 T1 T2 R3) and DJI's DewarpData.

        Raises:
            ArgumentError: not 0, 4, 5, 8, 12 or 14 finite numbers.
        """
        if len(coefficients) not in _OPENCV_COUNTS:
            raise ArgumentError(
                f"distortion has {len(coefficients)} terms; OpenCV's has "
                f"{', '.join(map(str, _OPENCV_COUNTS))}: k1 k2 p1 p2 k3 k4 k5 k6 s1..s4 tx ty"
            )
        k = [*map(float, coefficients), *[0.0] * (14 - len(coefficients))]
        return cls(
            radial=(k[0], k[1], k[4]),
            rational=(k[5], k[6], k[7]),
            tangential=(k[2], k[3]),
            prism=(k[8], k[9], k[10], k[11]),
            tilt_rad=(k[12], k[13]),
        )

    @classmethod
    def metashape(cls, radial: Sequence[float], tangential: Sequence[float] = (0.0, 0.0)) -> Self:
        """From Metashape's K1..K4 and its P1, P2, which stand the other way round.

        B1, B2 and the principal point belong to the camera (`PerspectiveCamera.metashape`).
        """
        p1, p2 = tangential
        return cls(radial=tuple(radial), tangential=(p2, p1))

    def distort(self, ideal: Floats) -> Floats:
        """(2, N) ideal -> (2, N) distorted; nan beyond the fold."""
        x, y = ideal
        if self == _NONE:
            return np.array([x, y])
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            bent = np.stack(_bend(self, x, y))
            bent[:, ~_fold(self).holds(x, y)] = np.nan
            return _tilted(_tilt(self.tilt_rad), bent)

    def undistort(self, distorted: Floats) -> Floats:
        """(2, N) distorted -> (2, N) ideal, within the fold; nan where nothing is mapped to."""
        if self == _NONE:
            return np.array(distorted, dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            back: Floats = np.linalg.inv(_tilt(self.tilt_rad)).astype(np.float64)
            return _solve(self, _tilted(back, distorted))


@dataclass(frozen=True, slots=True, kw_only=True)
class LensCorrection:
    """A polynomial that leads from distorted to ideal coordinates."""

    polynomial: BrownDistortion

    def distort(self, ideal: Floats) -> Floats:
        """(2, N) ideal -> (2, N) distorted, within the fold; nan where nothing is mapped to."""
        return self.polynomial.undistort(ideal)

    def undistort(self, distorted: Floats) -> Floats:
        """(2, N) distorted -> (2, N) ideal; nan beyond the fold."""
        return self.polynomial.distort(distorted)


_NONE = BrownDistortion()


class _Fold(NamedTuple):
    """The region about the middle within which a lens maps one to one."""

    least: float
    """Radius that is inside in every direction."""
    directions: Floats
    radii: Floats
    """Its radius by direction, -pi to pi."""
    bent: Floats
    straight: Floats
    """Distorted radius -> ideal radius of the radial terms alone, increasing."""
    reach: float
    """Distorted radius that nothing within is mapped beyond."""

    def holds(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        radius2 = x * x + y * y
        inside = radius2 <= self.least**2
        open_ = np.flatnonzero(~inside & (radius2 <= self.radii.max() ** 2))
        if open_.size:
            limit = np.interp(np.arctan2(y[open_], x[open_]), self.directions, self.radii)
            inside[open_] = radius2[open_] <= limit**2
        return inside


@lru_cache(maxsize=64)
def _fold(lens: BrownDistortion) -> _Fold:
    """Where the Jacobian's determinant first vanishes, seen from the middle."""
    radial = min(_radial_fold(lens), _WIDEST)
    directions = np.linspace(-np.pi, np.pi, _DIRECTIONS + 1)
    radii = np.full_like(directions, radial)
    if any(lens.tangential) or any(lens.prism):
        radii = _first_zeros(lens, directions, radial)
    straight = np.tan(np.linspace(0.0, np.arctan(radial), _ENTRIES))
    bent = straight * _radial(lens, straight**2)
    border = np.stack(_bend(lens, radii * np.cos(directions), radii * np.sin(directions)))
    reach = 1.01 * float(np.hypot(*border).max())
    return _Fold(float(radii.min()), directions, radii, bent, straight, reach)


def _radial_fold(lens: BrownDistortion) -> float:
    """The smallest r > 0 with d(r N/D)/dr = 0 or D = 0; infinite if there is none."""
    top, under = Polynomial([1.0, *lens.radial]), Polynomial([1.0, *lens.rational])
    r2 = Polynomial([0.0, 1.0])
    # d(r N/D)/dr = (N D + 2 r2 (N' D - N D')) / D2, primes by r2.
    slope = top * under + 2.0 * r2 * (top.deriv() * under - top * under.deriv())
    return float(np.sqrt(min(least_root(slope, _WIDEST**2), least_root(under, _WIDEST**2))))


def least_root(polynomial: Polynomial, limit: float) -> float:
    """The smallest root above 0 and below `limit` of a polynomial 1 + ...; infinite if none."""
    # The roots of the reversed terms are the reciprocals: the largest is found best, and highest
    # terms of next to nothing, which would spoil the others, do no harm.
    reciprocals = np.roots(polynomial.coef)
    real = reciprocals.real[np.abs(reciprocals.imag) <= 1e-9 * np.abs(reciprocals)]
    largest = float(real.max(initial=0.0))
    return 1.0 / largest if largest * limit > 1.0 else np.inf


def _first_zeros(lens: BrownDistortion, directions: Floats, widest: float) -> Floats:
    """(directions,) radius of the determinant's first zero along each, at most `widest`."""
    cosine, sine = np.cos(directions), np.sin(directions)

    def determinant(radii: Floats) -> Floats:
        xx, xy, yx, yy = _slopes(lens, radii * cosine, radii * sine)
        return xx * yy - xy * yx

    # Even steps of the angle from the axis: radii from the tiny to the widest are all met.
    steps = np.tan(np.linspace(0.0, np.arctan(widest), _RADII))
    negative = np.array([determinant(np.full_like(directions, step)) <= 0.0 for step in steps])
    first = np.argmax(negative, axis=0)
    folds = negative.any(axis=0)
    high = np.where(folds, steps[first], widest)
    low = np.where(folds, steps[np.maximum(first - 1, 0)], widest)
    for _ in range(60):
        middle = 0.5 * (low + high)
        over = determinant(middle) <= 0.0
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    return low


def _radial(lens: BrownDistortion, r2: Floats) -> Floats:
    """N/D."""
    top = _series(lens.radial, r2)
    return top / _series(lens.rational, r2) if any(lens.rational) else top


def _radial_slope(lens: BrownDistortion, r2: Floats, factor: Floats) -> Floats:
    """The derivative of N/D = factor by r2."""
    top = _series_slope(lens.radial, r2)
    if not any(lens.rational):
        return top
    return (top - factor * _series_slope(lens.rational, r2)) / _series(lens.rational, r2)


def _series(terms: tuple[float, ...], r2: Floats) -> Floats:
    """1 + t1 r2 + t2 r4 + ... by Horner's rule."""
    value = np.zeros_like(r2)
    for term in (*reversed(terms), 1.0):
        value *= r2
        value += term
    return value


def _series_slope(terms: tuple[float, ...], r2: Floats) -> Floats:
    """The derivative of `_series` by r2."""
    value = np.zeros_like(r2)
    for power in range(len(terms), 0, -1):
        value *= r2
        value += power * terms[power - 1]
    return value


def _bend(lens: BrownDistortion, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """All terms but the tilt."""
    p1, p2 = lens.tangential
    s1, s2, s3, s4 = lens.prism
    r2 = x * x + y * y
    factor = _radial(lens, r2)
    if not (any(lens.tangential) or any(lens.prism)):
        return x * factor, y * factor
    xy = x * y
    bent_x = x * factor + 2.0 * p1 * xy + p2 * (r2 + 2.0 * x * x) + (s1 + s2 * r2) * r2
    bent_y = y * factor + 2.0 * p2 * xy + p1 * (r2 + 2.0 * y * y) + (s3 + s4 * r2) * r2
    return bent_x, bent_y


def _slopes(lens: BrownDistortion, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """The Jacobian of `_bend`: dx'/dx, dx'/dy, dy'/dx, dy'/dy."""
    p1, p2 = lens.tangential
    s1, s2, s3, s4 = lens.prism
    r2 = x * x + y * y
    factor = _radial(lens, r2)
    slope = _radial_slope(lens, r2, factor)
    across = 2.0 * x * y * slope + 2.0 * p1 * x + 2.0 * p2 * y
    prism_x, prism_y = 2.0 * (s1 + 2.0 * s2 * r2), 2.0 * (s3 + 2.0 * s4 * r2)
    return (
        factor + 2.0 * x * x * slope + 2.0 * p1 * y + 6.0 * p2 * x + prism_x * x,
        across + prism_x * y,
        across + prism_y * x,
        factor + 2.0 * y * y * slope + 2.0 * p2 * x + 6.0 * p1 * y + prism_y * y,
    )


def _solve(lens: BrownDistortion, target: Floats) -> Floats:
    """The ideal point within the fold that `_bend` maps to `target` (2, N); nan if none.

    Newton's method, begun where the radial terms alone would have come from: there the branch is
    known, and the other terms are small. Not too near to the fold, however, where the slope
    vanishes: the way there is convex, so that steps from inside do not lead beyond it.
    """
    fold = _fold(lens)
    solution = np.full(target.shape, np.nan)
    for begin in range(0, target.shape[1], _CHUNK):
        aim = target[:, begin : begin + _CHUNK]
        radius = np.hypot(*aim)
        straight = np.minimum(np.interp(radius, fold.bent, fold.straight), _INSIDE * fold.least)
        place = aim * (straight / np.where(radius > 0.0, radius, 1.0))
        left = np.flatnonzero(radius <= fold.reach)
        for _ in range(_STEPS):
            step = _newton_step(lens, place[:, left], aim[:, left])
            place[:, left] -= step
            # Convergence is quadratic: after a step this small the next one is below rounding.
            left = left[np.abs(step).max(axis=0) > _SMALL_STEP]
            if not left.size:
                break
        missed = np.hypot(*(np.stack(_bend(lens, *place)) - aim))
        good = (missed <= _RESIDUAL * (1.0 + radius)) & fold.holds(*place)
        solution[:, begin : begin + _CHUNK] = np.where(good, place, np.nan)
    return solution


def _newton_step(lens: BrownDistortion, place: Floats, aim: Floats) -> Floats:
    """(2, N) by how much too far `place` is for what `_bend` should map to `aim`."""
    xx, xy, yx, yy = _slopes(lens, *place)
    off_x, off_y = np.stack(_bend(lens, *place)) - aim
    scale = 1.0 / (xx * yy - xy * yx)
    return np.stack([(yy * off_x - xy * off_y) * scale, (xx * off_y - yx * off_x) * scale])


def _tilt(tilt_rad: tuple[float, float]) -> Floats:
    """OpenCV's homography of a sensor that is tilted about x and y."""
    (sx, sy), (cx, cy) = np.sin(tilt_rad), np.cos(tilt_rad)
    turn = np.array([[cy, 0.0, -sy], [0.0, 1.0, 0.0], [sy, 0.0, cy]]) @ np.array(
        [[1.0, 0.0, 0.0], [0.0, cx, sx], [0.0, -sx, cx]]
    )
    onto = np.array(
        [[turn[2, 2], 0.0, -turn[0, 2]], [0.0, turn[2, 2], -turn[1, 2]], [0.0, 0.0, 1.0]]
    )
    tilt: Floats = onto @ turn
    return tilt


def _tilted(homography: Floats, points: Floats) -> Floats:
    """(2, N) points through a 3x3 homography."""
    if np.array_equal(homography, np.eye(3)):
        return points
    moved = homography[:, :2] @ points + homography[:, 2:]
    return np.where(moved[2] > 0.0, moved[:2] / moved[2], np.nan)
