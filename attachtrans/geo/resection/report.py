"""What a resection comes to: residuals, how sure it is, and which points speak against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attachtrans.geo.camera import Camera
from attachtrans.geo.pose import Accuracy
from attachtrans.geo.resection.unknowns import COUNTS, Part

Floats = NDArray[np.float64]

_SUSPECT = 0.01
"""Chance that in a set of good points any is called suspect."""
_FREE = 1e-9
"""Share of a point that the others say nothing about."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoseFit:
    """A camera fitted to N control points.

    camera        the result
    free          what was fitted, in the order of `covariance`
    residuals_px  (2, N) from where the camera shows a point to where it was found: col, row
    rms_px        root mean square of their lengths
    left_out_px   (2, N) the same for a fit without the point: what the others say of it; nan where
                  they do not suffice
    chance        (N,) probability of so large a `left_out_px` at a point that is no blunder
    suspects      numbers of the points that are improbable among so many, the worst first
    redundancy    numbers measured (and known beforehand) more than are needed
    sigma_px      standard deviation of a pixel coordinate: stated, or estimated from residuals;
                  1 where there is neither
    covariance    (unknowns, unknowns) of the free parts, in the units of `Part`
    """

    camera: Camera
    free: tuple[Part, ...]
    residuals_px: Floats
    rms_px: float
    left_out_px: Floats
    chance: Floats
    suspects: tuple[int, ...]
    redundancy: int
    sigma_px: float
    covariance: Floats

    def part(self, part: Part) -> Floats:
        """The covariance of one part alone; of width 0 where it was not free."""
        if part not in self.free:
            return np.zeros((0, 0))
        begin = sum(COUNTS[other] for other in self.free[: self.free.index(part)])
        chosen = slice(begin, begin + COUNTS[part])
        return self.covariance[chosen, chosen]

    @property
    def accuracy(self) -> Accuracy:
        """Standard deviations of what was free.

        Of the heading: about the vertical; of the pitch: about the camera's own axis to the right;
        of the roll: about its line of sight. So they are defined looking straight down as well.
        """
        turns, moves = self.part(Part.ROTATION), self.part(Part.POSITION)
        angles: list[float | None] = [None, None, None]
        if turns.size:
            axes = np.stack([self.camera.rotation[2], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
            angles = [float(np.rad2deg(np.sqrt(axis @ turns @ axis))) for axis in axes]
        heading, pitch, roll = angles
        return Accuracy(
            xy_m=float(np.sqrt(0.5 * np.trace(moves[:2, :2]))) if moves.size else None,
            z_m=float(np.sqrt(moves[2, 2])) if moves.size else None,
            heading_deg=heading,
            pitch_deg=pitch,
            roll_deg=roll,
        )


def report(
    camera: Camera,
    parts: tuple[Part, ...],
    *,
    misses_px: Floats,
    slopes: Floats,
    sigma_px: Floats | None,
    prior_weights: Floats,
    prior_misses: Floats,
) -> PoseFit:
    """The report on a fitted camera.

    Args:
        camera: the solution.
        parts: what was free.
        misses_px: (2, N) found less shown.
        slopes: (2 N, unknowns) derivatives in standard deviations of the pixels.
        sigma_px: (N,) as stated, None when they are to be estimated.
        prior_weights: (unknowns,) 1/sigma of what was known, 0 where nothing was.
        prior_misses: (unknowns,) of the solution, in standard deviations.
    """
    count = misses_px.shape[1]
    weighted = misses_px if sigma_px is None else misses_px / sigma_px
    rows = np.concatenate([slopes, np.diag(prior_weights)])
    redundancy = 2 * count + int(np.count_nonzero(prior_weights)) - rows.shape[1]
    # The inverse of a triangle of QR keeps digits that normal equations lose.
    inverse = np.linalg.inv(np.linalg.qr(rows, mode="r"))
    inverse = inverse @ inverse.T
    squares = float((weighted**2).sum() + (prior_misses**2).sum())
    estimated = sigma_px is None and redundancy > 0
    factor = squares / redundancy if estimated else 1.0
    left_out, distances = _left_out(slopes, inverse, weighted)
    chance = _chance(distances, squares, redundancy if sigma_px is None else None)
    limit = _SUSPECT / count
    suspects = [int(index) for index in np.argsort(chance) if chance[index] < limit]
    return PoseFit(
        camera=camera,
        free=parts,
        residuals_px=misses_px,
        rms_px=float(np.sqrt((misses_px**2).sum() / count)),
        left_out_px=left_out if sigma_px is None else left_out * sigma_px,
        chance=chance,
        suspects=tuple(suspects),
        redundancy=redundancy,
        sigma_px=float(np.sqrt(factor) * (1.0 if sigma_px is None else np.mean(sigma_px))),
        covariance=inverse * factor,
    )


def _left_out(slopes: Floats, inverse: Floats, misses: Floats) -> tuple[Floats, Floats]:
    """How a fit without each point misses it (2, N), and that squared in its own deviations (N,).

    To first order: with H the point's 2x2 block of the hat matrix, (I - H)^-1 times its residual,
    of covariance (I - H)^-1 (Belsley, Kuh and Welsch, 1980).
    """
    count = misses.shape[1]
    points = slopes.reshape(2, count, -1).transpose(1, 0, 2)
    rest = np.eye(2) - points @ inverse @ points.transpose(0, 2, 1)
    known = np.linalg.eigvalsh(rest)[:, 0] > _FREE
    left_out, distances = np.full((2, count), np.nan), np.full(count, np.nan)
    found = np.linalg.solve(rest[known], misses.T[known, :, None])[:, :, 0]
    left_out[:, known] = found.T
    distances[known] = (found * misses.T[known]).sum(axis=1)
    return left_out, distances


def _chance(distances: Floats, squares: float, redundancy: int | None) -> Floats:
    """(N,) probability of a larger distance; nan where it cannot be told.

    Two numbers of known deviation: chi-square with 2 degrees of freedom. With the deviation
    estimated from the other points: F with 2 and `redundancy` - 2. Both have closed forms.
    """
    if redundancy is None:
        return np.exp(-0.5 * distances)
    if redundancy <= 2:
        return np.full_like(distances, np.nan)
    others = np.maximum(squares - distances, 0.0) / (redundancy - 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 0.5 * distances / others
        return np.where(distances > 0.0, (1.0 + 2.0 * ratio / (redundancy - 2)), 1.0) ** (
            -0.5 * (redundancy - 2)
        )
