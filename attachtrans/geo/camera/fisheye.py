"""The fisheye camera: image radius is a polynomial of the angle from the axis, beyond 90 degrees.

Sources: OpenCV fisheye page (4 terms); OpenSfM camera models (2 terms); Pix4D support page on
fisheye internal parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike, NDArray

from attachtrans.errors import ArgumentError
from attachtrans.geo.camera.base import (
    AXIS,
    columns,
    into_camera,
    into_world,
)
from attachtrans.geo.camera.lens import LensCamera
from attachtrans.geo.distortion import least_root
from attachtrans.types import Size

Floats = NDArray[np.float64]

_STEPS = 20
_ENTRIES = 2048
_SMALL_STEP = 1e-9
_RESIDUAL = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class AngleSeries:
    """The image radius, in focal lengths, theta (1 + t1 theta + t2 theta^2 + ...).

    terms  t1, t2, ...
    """

    terms: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not np.isfinite(self.terms).all():
            raise ArgumentError(f"distortion {self.terms} is not finite")

    @classmethod
    def even(cls, coefficients: Sequence[float]) -> Self:
        """From k1, k2, ... of theta^2, theta^4, ...: OpenSfM has 2 of them, OpenCV 4."""
        return cls(terms=tuple(value for k in coefficients for value in (0.0, float(k))))

    def radius(self, theta: Floats) -> Floats:
        """(N,) angles -> (N,) radii; nan beyond the fold."""
        held = theta <= _fold(self).widest
        return np.where(held, theta * _factor((1.0, *self.terms), theta), np.nan)

    def angle(self, radius: Floats) -> Floats:
        """(N,) radii -> (N,) angles, by Newton's method; nan where no angle has the radius."""
        fold = _fold(self)
        series = (1.0, *self.terms)
        slopes = tuple((power + 1.0) * term for power, term in enumerate(series))
        theta = np.interp(radius, fold.radii, fold.angles)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for _ in range(_STEPS):
                step = (theta * _factor(series, theta) - radius) / _factor(slopes, theta)
                theta = theta - step
                if not np.any(np.abs(step) > _SMALL_STEP):
                    break
            missed = np.abs(theta * _factor(series, theta) - radius)
        good = (missed <= _RESIDUAL) & (theta >= 0.0) & (theta <= fold.widest * (1.0 + _RESIDUAL))
        return np.where(good, theta, np.nan)


class _Fold(NamedTuple):
    """The angle up to which the radius grows, and radius -> angle as a table."""

    widest: float
    radii: Floats
    angles: Floats


@lru_cache(maxsize=64)
def _fold(series: AngleSeries) -> _Fold:
    """Where d radius/d theta first vanishes, at most half a turn."""
    slope = Polynomial([0.0, 1.0, *series.terms]).deriv()
    widest = min(least_root(slope, np.pi), np.pi)
    angles = np.linspace(0.0, widest, _ENTRIES)
    return _Fold(widest, angles * _factor((1.0, *series.terms), angles), angles)


def _factor(terms: tuple[float, ...], theta: Floats) -> Floats:
    """t0 + t1 theta + t2 theta^2 + ..., by Horner's rule."""
    value = np.zeros_like(theta)
    for term in reversed(terms):
        value = value * theta + term
    return value


@dataclass(frozen=True, slots=True, eq=False)
class FisheyeCamera(LensCamera[AngleSeries]):
    """A lens whose picture radius grows with the angle from its axis.

    With theta = atan2(hypot(x, y), z) in camera axes, the radius in focal lengths is
    theta (1 + k1 theta^2 + k2 theta^4 + ...).

    size        (width, height) of the image
    focal_px    (fx, fy)
    centre_px   (cx, cy); (0, 0) is the CENTRE of the first pixel
    distortion  k1, k2, ... (OpenSfM has 2 of them, OpenCV 4), or any `AngleSeries`
    rotation    (3, 3): camera axes (x right, y down, z forward) -> world; see `pose_matrix`
    position    (x, y, z) of the perspective centre, metres
    shear_px    (d col/dy, d row/dx); OpenCV's alpha is (fx * alpha, 0)

    Raises:
        ArgumentError: a value that no camera has; the message names it.
    """

    @staticmethod
    def _lens(distortion: Sequence[float] | AngleSeries) -> AngleSeries:
        return distortion if isinstance(distortion, AngleSeries) else AngleSeries.even(distortion)

    @classmethod
    def pix4d(
        cls,
        size: Size,
        *,
        polynomial: Sequence[float],
        affine_px: tuple[float, float, float, float],
        centre_px: tuple[float, float],
        rotation: ArrayLike,
        position: ArrayLike,
    ) -> Self:
        """From Pix4D's p0, p1, p2, ... and C, D, E, F, as in the XMP of senseFly and Parrot.

        With t = 2 theta/pi the radius is p0 + p1 t + p2 t^2 + ..., and the pixel
        (C x + D y + cx, E x + F y + cy).

        Raises:
            ArgumentError: p0 is not 0, or there is no p1 > 0.
        """
        if len(polynomial) < 2 or polynomial[0] or polynomial[1] <= 0.0:
            raise ArgumentError(
                f"a fisheye polynomial begins with p0 = 0 and p1 > 0, not {list(polynomial)}"
            )
        unit = 2.0 / np.pi
        first, c, d, e, f = (float(value) for value in (polynomial[1], *affine_px))
        terms = tuple(
            float(p) / first * unit**power for power, p in enumerate(polynomial[2:], start=1)
        )
        scale = unit * first
        return cls(
            size,
            focal_px=(scale * c, scale * f),
            centre_px=centre_px,
            distortion=AngleSeries(terms=terms),
            rotation=np.asarray(rotation, dtype=np.float64),
            position=np.asarray(position, dtype=np.float64),
            shear_px=(scale * d, scale * e),
        )

    def project(self, xyz: ArrayLike) -> Floats:
        """(3, N) world points -> (2, N) pixels; nan beyond the fold and straight behind."""
        x, y, z = into_camera(self, xyz)
        across = np.hypot(x, y)
        theta = np.arctan2(across, z)
        radius = self.lens.radius(theta)
        with np.errstate(divide="ignore", invalid="ignore"):
            # On the axis itself the direction is of no account in front, undefined behind.
            onward = np.where(
                across > AXIS * np.abs(z), radius / across, np.where(z > 0.0, 0.0, np.nan)
            )
        return self._plane.pixels(np.stack([x * onward, y * onward]))

    def rays(self, pixels: ArrayLike) -> Floats:
        """(2, N) pixels -> (3, N) unit directions in the world; nan outside the lens's circle."""
        x, y = self._plane.plane(columns(pixels, 2))
        radius = np.hypot(x, y)
        theta = self.lens.angle(radius)
        across = np.sin(theta) / np.where(radius > 0.0, radius, 1.0)
        return into_world(self, np.stack([x * across, y * across, np.cos(theta)]))
