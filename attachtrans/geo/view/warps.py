"""Fitted maps from one plane to another, and their exact inverses.

Each is fitted from source to target, and its inverse is that very map's, solved to rounding: what
goes out comes back, other than with a second fit the other way round.

    Homography   a plane in perspective: facades, walls, level ground
    Polynomial   of the first to third order, by least squares: rasters
    Spline       the thin plate that goes through every point
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import GeorefError

Floats = NDArray[np.float64]

_STEPS = 30
_SMALL_STEP = 1e-9
"""Of the points' extent; convergence is quadratic, so the next step would be below rounding."""
_RESIDUAL = 1e-11
"""Of the points' extent."""
_FITTING_STEPS = 20
_CHUNK = 1 << 20
"""Distances between places and control points at a time."""


class Warp(Protocol):
    """A map between planes and its inverse; nan where there is none."""

    def forward(self, source: Floats) -> Floats:
        """(2, N) source -> (2, N) target."""
        ...

    def inverse(self, target: Floats) -> Floats:
        """(2, N) target -> (2, N) source."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Unit:
    """From coordinates to ones about 0 of the size of 1, with the same scale both ways."""

    middle: Floats
    extent: float

    @classmethod
    def of(cls, points: Floats) -> Self:
        middle = points.mean(axis=1, keepdims=True)
        return cls(middle=middle, extent=float(np.abs(points - middle).max()) or 1.0)

    def into(self, points: Floats) -> Floats:
        return (points - self.middle) / self.extent

    def back(self, points: Floats) -> Floats:
        return points * self.extent + self.middle


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Homography:
    """x = (h11 u + h12 v + h13) / (h31 u + h32 v + h33), and so on, between unit squares."""

    source: _Unit
    target: _Unit
    matrix: Floats
    """With a positive denominator where the points are: behind the horizon there is nothing."""

    @classmethod
    def fit(cls, source: Floats, target: Floats) -> Self:
        """Least squares in the target, all points alike: none is taken for an outlier.

        Raises:
            GeorefError: fewer than 4 points, three of them in line, or a fold between them.
        """
        _check(source, target, 4, "a homography")
        ends = _Unit.of(source), _Unit.of(target)
        (u, v), (x, y) = ends[0].into(source), ends[1].into(target)
        zero, one = np.zeros_like(u), np.ones_like(u)
        rows = np.concatenate(
            [
                np.stack([u, v, one, zero, zero, zero, -u * x, -v * x, -x], axis=1),
                np.stack([zero, zero, zero, u, v, one, -u * y, -v * y, -y], axis=1),
            ]
        )
        values, vectors = np.linalg.svd(rows)[1:]
        if len(values) < 8 or values[7] <= 1e-10 * values[0]:
            raise GeorefError("the control points fix no homography: too many lie in one line")
        matrix = _least_reprojection(vectors[-1].reshape(3, 3), np.stack([u, v, one]), x, y)
        depth = matrix[2] @ np.stack([u, v, one])
        if depth.min() * depth.max() <= 0.0:
            raise GeorefError(
                "the control points are not the picture of a plane: the best homography has its "
                "horizon between them; check them, or use another method"
            )
        return cls(source=ends[0], target=ends[1], matrix=matrix * np.sign(depth[0]))

    def forward(self, source: Floats) -> Floats:
        return self.target.back(_divided(self.matrix, self.source.into(source)))

    def inverse(self, target: Floats) -> Floats:
        back: Floats = np.linalg.inv(self.matrix).astype(np.float64)
        # Its denominator is the reciprocal of the other's, so what is behind stays behind.
        return self.source.back(_divided(back, self.target.into(target)))


def _least_reprojection(matrix: Floats, source: Floats, x: Floats, y: Floats) -> Floats:
    """The homography (3, 3) made better by Gauss-Newton, from the algebraic solution."""
    best = matrix / np.linalg.norm(matrix)
    for _ in range(_FITTING_STEPS):
        top, middle, depth = best @ source
        rows = source / depth
        zero = np.zeros_like(rows)
        jacobian = np.concatenate(
            [
                np.concatenate([rows, zero, -rows * (top / depth)]).T,
                np.concatenate([zero, rows, -rows * (middle / depth)]).T,
            ]
        )
        off = np.concatenate([x - top / depth, y - middle / depth])
        step = np.linalg.lstsq(jacobian, off, rcond=1e-12)[0].reshape(3, 3)
        best = (best + step) / np.linalg.norm(best + step)
        if np.abs(step).max() <= 1e-14:
            break
    return best


def _divided(matrix: Floats, plane: Floats) -> Floats:
    x, y, depth = matrix[:, :2] @ plane + matrix[:, 2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(depth > 0.0, 1.0 / depth, np.nan)
    return np.stack([x * scale, y * scale])


class _Curved(ABC):
    """What a polynomial and a spline have in common: an inverse by Newton's method."""

    source: _Unit
    target: _Unit
    guess: Floats
    """Coefficients (terms, 2) of a polynomial from target to source."""

    @abstractmethod
    def _values(self, plane: Floats) -> Floats:
        """(2, N) between unit squares."""

    @abstractmethod
    def _slopes(self, plane: Floats) -> Floats:
        """(2, 2, N): d of x and y by u and v."""

    def forward(self, source: Floats) -> Floats:
        return self.target.back(self._values(self.source.into(source)))

    def inverse(self, target: Floats) -> Floats:
        aim = self.target.into(target)
        place = self.guess.T @ _powers(aim, _order_of(self.guess))
        middle = _determinant(self._slopes(np.zeros((2, 1))))
        left = np.flatnonzero(np.isfinite(place).all(axis=0))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for _ in range(_STEPS):
                if not left.size:
                    break
                here = place[:, left]
                (xu, xv), (yu, yv) = slopes = self._slopes(here)
                off_x, off_y = self._values(here) - aim[:, left]
                step = np.stack([yv * off_x - xv * off_y, xu * off_y - yu * off_x])
                step /= _determinant(slopes)
                place[:, left] -= step
                left = left[np.abs(step).max(axis=0) > _SMALL_STEP]
            off = np.abs(self._values(place) - aim).max(axis=0)
            # Beyond a fold the map turns over: that is another sheet, not the picture's.
            good = (off <= _RESIDUAL * (1.0 + np.abs(aim).max(axis=0))) & (
                _determinant(self._slopes(place)) * middle > 0.0
            )
        return self.source.back(np.where(good, place, np.nan))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Polynomial(_Curved):
    """x and y are polynomials in u and v, between unit squares."""

    source: _Unit
    target: _Unit
    coefficients: Floats
    """(terms, 2)"""
    guess: Floats

    @classmethod
    def fit(cls, source: Floats, target: Floats, order: int) -> Self:
        """Least squares in the target.

        Raises:
            GeorefError: fewer points than terms (3, 6 or 10), or in one line.
        """
        wanted = _terms(order)
        _check(source, target, wanted, f"a polynomial of order {order}")
        ends = _Unit.of(source), _Unit.of(target)
        plane, aim = ends[0].into(source), ends[1].into(target)
        return cls(
            source=ends[0],
            target=ends[1],
            coefficients=_fitted(plane, aim, order),
            guess=_fitted(aim, plane, order),
        )

    def _values(self, plane: Floats) -> Floats:
        values: Floats = self.coefficients.T @ _powers(plane, _order_of(self.coefficients))
        return values

    def _slopes(self, plane: Floats) -> Floats:
        by_u, by_v = _power_slopes(plane, _order_of(self.coefficients))
        return np.stack([self.coefficients.T @ by_u, self.coefficients.T @ by_v], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spline(_Curved):
    """The thin plate through every point: weights of r2 log r2, and an affine map."""

    source: _Unit
    target: _Unit
    knots: Floats
    """(2, K) in the unit square"""
    weights: Floats
    """(K, 2)"""
    affine: Floats
    """(3, 2)"""
    guess: Floats

    @classmethod
    def fit(cls, source: Floats, target: Floats) -> Self:
        """Through all points.

        Raises:
            GeorefError: fewer than 3 points, all in one line, or two in one place.
        """
        _check(source, target, 3, "a thin-plate spline")
        ends = _Unit.of(source), _Unit.of(target)
        knots, aim = ends[0].into(source), ends[1].into(target)
        _fitted(knots, aim, 1)  # refuses points in a line
        bending, _ = _plate(knots, knots)
        affine = _powers(knots, 1)
        system = np.block([[bending, affine.T], [affine, np.zeros((3, 3))]])
        try:
            solution = np.linalg.solve(system, np.concatenate([aim.T, np.zeros((3, 2))]))
        except np.linalg.LinAlgError as error:
            raise GeorefError(_TWICE) from error
        spline = cls(
            source=ends[0],
            target=ends[1],
            knots=knots,
            weights=solution[:-3],
            affine=solution[-3:],
            guess=_fitted(aim, knots, 1),
        )
        if not np.abs(spline._values(knots) - aim).max() <= 1e-6:
            raise GeorefError(_TWICE)
        return spline

    def _values(self, plane: Floats) -> Floats:
        values: Floats = self.affine.T @ _powers(plane, 1)
        for part in self._parts(plane):
            values[:, part] += self.weights.T @ _plate(self.knots, plane[:, part])[0]
        return values

    def _slopes(self, plane: Floats) -> Floats:
        slopes = np.repeat(self.affine[1:].T[:, :, None], plane.shape[1], axis=2)
        for part in self._parts(plane):
            factor = _plate(self.knots, plane[:, part])[1]
            for axis in (0, 1):
                away = plane[axis, part] - self.knots[axis][:, None]
                slopes[:, axis, part] += self.weights.T @ (factor * away)
        return slopes

    def _parts(self, plane: Floats) -> Iterator[slice]:
        step = max(1, _CHUNK // self.knots.shape[1])
        for begin in range(0, plane.shape[1], step):
            yield slice(begin, begin + step)


_TWICE = "the control points fix no thin-plate spline: two of them lie in one place"


def _check(source: Floats, target: Floats, wanted: int, what: str) -> None:
    if source.shape != target.shape or source.shape[1] < wanted:
        raise GeorefError(
            f"{what} takes {wanted} or more control points, not {source.shape[1]}; add some, or "
            "use another method"
        )


def _plate(knots: Floats, plane: Floats) -> tuple[Floats, Floats]:
    """(K, N) r2 log r2, and 2 (log r2 + 1): the factor of its slope."""
    r2 = ((plane[:, None, :] - knots[:, :, None]) ** 2).sum(axis=0)
    log = np.log(np.where(r2 > 0.0, r2, 1.0))
    return r2 * log, 2.0 * (log + (r2 > 0.0))


def _terms(order: int) -> int:
    return (order + 1) * (order + 2) // 2


def _order_of(coefficients: Floats) -> int:
    return {3: 1, 6: 2, 10: 3}[len(coefficients)]


def _exponents(order: int) -> list[tuple[int, int]]:
    """1, u, v, uu, uv, vv ..."""
    return [(total - j, j) for total in range(order + 1) for j in range(total + 1)]


def _powers(plane: Floats, order: int) -> Floats:
    """(terms, N) products of u and v."""
    u, v = plane
    return np.stack([u**i * v**j for i, j in _exponents(order)])


def _power_slopes(plane: Floats, order: int) -> tuple[Floats, Floats]:
    """The derivatives of `_powers` by u and by v."""
    u, v = plane
    by_u = [i * u ** max(i - 1, 0) * v**j for i, j in _exponents(order)]
    by_v = [j * u**i * v ** max(j - 1, 0) for i, j in _exponents(order)]
    return np.stack(by_u), np.stack(by_v)


def _fitted(source: Floats, target: Floats, order: int) -> Floats:
    """(terms, 2) coefficients from source to target, by least squares."""
    coefficients, _, rank, _ = np.linalg.lstsq(_powers(source, order).T, target.T, rcond=1e-12)
    if rank < _terms(order):
        raise GeorefError(
            f"the control points fix no polynomial of order {order}: too many lie in one line or "
            "on one curve; use a lower order"
        )
    fitted: Floats = coefficients.astype(np.float64)
    return fitted


def _determinant(slopes: Floats) -> Floats:
    (xu, xv), (yu, yv) = slopes
    determinant: Floats = xu * yv - xv * yu
    return determinant
