"""Rational polynomials (RPC00B): longitude, latitude and height <-> pixels of a satellite scene.

Pixels count from the CENTRE of the first pixel here, as RPC files have them; `view.rpc` is where
the half pixel is added. Longitudes and latitudes are of WGS 84, heights in metres, above the
ellipsoid where the producer keeps to the standard.

Sources: NIMA STDI-0002, appendix E (RPC00B); GDAL's "RPC" metadata domain (RFC 22).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attachtrans.errors import GeorefError
from attachtrans.geo.camera.base import columns, scaled_px

Floats = NDArray[np.float64]

TERMS = 20

_POLYNOMIALS = ("samp_num_coeff", "samp_den_coeff", "line_num_coeff", "line_den_coeff")
_OFFSETS = ("line_off", "samp_off", "lat_off", "long_off", "height_off")
_SCALES = ("line_scale", "samp_scale", "lat_scale", "long_scale", "height_scale")
_ERRORS = ("err_bias", "err_rand")

_REACH = 2.0
"""Polynomials are fitted to -1..1 of their scales; twice as far off they mean nothing."""
_STEPS = 20
_SMALL_STEP = 1e-9
"""Of the scales; convergence is quadratic, so the next step would be below rounding."""
_RESIDUAL = 1e-11
"""Of the image's scale: 1e-7 px in an image of 20 000 px."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RpcModel:
    """The numbers of an RPC, by the names of GDAL's metadata in lower case.

    *_off, *_scale  of line and sample (pixels from the first one's centre), latitude and
                    longitude (degrees) and height (metres)
    *_coeff         of numerators and denominators: 20 numbers in the order of 1 L P H LP LH PH LL
                    PP HH PLH LLL LPP LHH LLP PPP PHH LLH PPH HHH, where L, P, H are the
                    normalised longitude, latitude and height
    err_*           bias and random error, metres; None where not said

    table           (4, 20): numerator and denominator of sample, then of line

    Raises:
        GeorefError: not finite, a scale that is not positive, not 20 numbers of a polynomial.
    """

    line_off: float
    samp_off: float
    lat_off: float
    long_off: float
    height_off: float
    line_scale: float
    samp_scale: float
    lat_scale: float
    long_scale: float
    height_scale: float
    line_num_coeff: Sequence[float]
    line_den_coeff: Sequence[float]
    samp_num_coeff: Sequence[float]
    samp_den_coeff: Sequence[float]
    err_bias: float | None = None
    err_rand: float | None = None
    table: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in (*_OFFSETS, *_SCALES):
            value = float(getattr(self, name))
            if not np.isfinite(value) or (name in _SCALES and value <= 0.0):
                raise GeorefError(
                    f"the RPC is damaged: {name.upper()} is {value}; offsets are finite, scales "
                    "positive"
                )
            object.__setattr__(self, name, value)
        for name in _POLYNOMIALS:
            terms = tuple(float(term) for term in getattr(self, name))
            if len(terms) != TERMS or not np.isfinite(terms).all():
                raise GeorefError(
                    f"the RPC is damaged: {name.upper()} is {terms}, not {TERMS} finite numbers"
                )
            object.__setattr__(self, name, terms)
        table = np.array([getattr(self, name) for name in _POLYNOMIALS])
        if not (table[1::2, 0] != 0.0).all():
            raise GeorefError("the RPC is damaged: a denominator is 0 in the middle of the scene")
        object.__setattr__(self, "table", table)

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Self:
        """From GDAL's "RPC" metadata domain: `dataset.tags(ns="RPC")`.

        Values may have a unit behind them ("+0703.00 meters"), as some _RPC.TXT files do.

        Raises:
            GeorefError: an entry is missing or is no number; names it.
        """
        upper = {name.upper(): text for name, text in tags.items()}

        def numbers(name: str, count: int) -> list[float]:
            text = upper.get(name.upper(), "")
            try:
                return [float(word) for word in text.replace(",", " ").split()[:count]]
            except ValueError as error:
                raise GeorefError(f"the RPC is damaged: {name.upper()} is {text!r}") from error

        ones = {name: numbers(name, 1) for name in (*_OFFSETS, *_SCALES, *_ERRORS)}
        lacking = [name for name, found in ones.items() if not found and name not in _ERRORS]
        if lacking:
            raise GeorefError(f"the RPC is damaged: it has no {', '.join(lacking).upper()}")
        return cls(
            **{name: found[0] for name, found in ones.items() if found},
            samp_num_coeff=numbers("samp_num_coeff", TERMS),
            samp_den_coeff=numbers("samp_den_coeff", TERMS),
            line_num_coeff=numbers("line_num_coeff", TERMS),
            line_den_coeff=numbers("line_den_coeff", TERMS),
        )

    @classmethod
    def from_attributes(cls, rpc: object) -> Self:
        """From an object with the same names as attributes: rasterio's `dataset.rpcs`.

        Raises:
            GeorefError: an attribute is missing, or is not what an RPC has.
        """
        names = (*_OFFSETS, *_SCALES, *_POLYNOMIALS)
        lacking = [name for name in names if getattr(rpc, name, None) is None]
        if lacking:
            raise GeorefError(f"the RPC is damaged: it has no {', '.join(lacking).upper()}")
        values: dict[str, Any] = {n: getattr(rpc, n, None) for n in (*names, *_ERRORS)}
        return cls(**values)

    def to_tags(self) -> dict[str, str]:
        """GDAL's "RPC" metadata domain; numbers keep all their digits."""
        tags = {name.upper(): repr(getattr(self, name)) for name in (*_OFFSETS, *_SCALES)}
        for name in _POLYNOMIALS:
            tags[name.upper()] = " ".join(repr(term) for term in getattr(self, name))
        for name in _ERRORS:
            if getattr(self, name) is not None:
                tags[name.upper()] = repr(float(getattr(self, name)))
        return tags

    def scaled(self, across: float, down: float) -> Self:
        """Of the same picture with that many times the columns and the rows.

        GDAL before 3.10 leaves the half pixel out: OSGeo/gdal #10600.
        """
        return replace(
            self,
            line_off=scaled_px(self.line_off, down),
            samp_off=scaled_px(self.samp_off, across),
            line_scale=self.line_scale * down,
            samp_scale=self.samp_scale * across,
        )

    def shifted(self, across_px: float, down_px: float) -> Self:
        """All of the picture moved by so many pixels: the usual correction of an RPC's bias."""
        return replace(self, samp_off=self.samp_off + across_px, line_off=self.line_off + down_px)

    @property
    def heights(self) -> tuple[float, float]:
        """The lowest and the highest height at which the polynomials mean something, metres."""
        reach = _REACH * self.height_scale
        return self.height_off - reach, self.height_off + reach

    def project(self, lonlat: ArrayLike, height_m: ArrayLike) -> Floats:
        """(2, N) longitudes and latitudes and (N,) heights -> (2, N) pixels from the centre.

        nan far outside of what the polynomials were made for, and where they fold.
        """
        place = self._normalised(columns(lonlat, 2), np.asarray(height_m, dtype=np.float64))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            sample, line = self._ratios(place)
            col = sample * self.samp_scale + self.samp_off
            pixels = np.stack([col, line * self.line_scale + self.line_off])
            pixels[:, ~self._holds(place)] = np.nan
        return pixels

    def locate(self, pixels: ArrayLike, height_m: ArrayLike) -> Floats:
        """(2, N) pixels from the centre and (N,) heights -> (2, N) longitudes and latitudes.

        The inverse of `project`, to 1e-7 px or better; nan where there is none.
        """
        col, row = columns(pixels, 2)
        height = np.asarray(height_m, dtype=np.float64)
        aim = np.stack(
            [(col - self.samp_off) / self.samp_scale, (row - self.line_off) / self.line_scale]
        )
        # Newton's method on numerator - aim x denominator, which a plane's perspective, the
        # greatest part of any RPC, makes linear: the first step nearly arrives.
        zero = np.zeros_like(col)
        place = np.stack([zero, zero, zero + (height - self.height_off) / self.height_scale])
        left = np.flatnonzero(np.isfinite(aim).all(axis=0) & np.isfinite(height))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for _ in range(_STEPS):
                step = self._newton_step(place[:, left], aim[:, left])
                place[:2, left] -= step
                left = left[np.abs(step).max(axis=0) > _SMALL_STEP]
                if not left.size:
                    break
            off = np.abs(self._ratios(place) - aim).max(axis=0)
            good = (off <= _RESIDUAL) & self._holds(place)
        longitude = place[0] * self.long_scale + self.long_off
        latitude = place[1] * self.lat_scale + self.lat_off
        return np.where(good, np.stack([_wrapped(longitude), latitude]), np.nan)

    def _normalised(self, lonlat: Floats, height: Floats) -> Floats:
        """(3, N) L, P, H."""
        return np.stack(
            [
                _wrapped(lonlat[0] - self.long_off) / self.long_scale,
                (lonlat[1] - self.lat_off) / self.lat_scale,
                np.broadcast_to((height - self.height_off) / self.height_scale, lonlat[0].shape),
            ]
        )

    def _ratios(self, place: Floats) -> Floats:
        """(2, N) normalised sample and line."""
        values = _sums(self.table, monomials(place))
        ratios: Floats = values[::2] / values[1::2]
        return ratios

    def _holds(self, place: Floats) -> NDArray[np.bool_]:
        """(N,) within reach, and on this side of every pole and fold."""
        within: NDArray[np.bool_] = np.abs(place[:2]).max(axis=0) <= _REACH
        values = _sums(self.table[1::2], monomials(place))
        # What the middle of the scene has; there all terms but the first are 0.
        within &= (values * self.table[1::2, :1] > 0.0).all(axis=0)
        within &= self._turn(place) * self._turn(np.zeros((3, 1))) > 0.0
        return within

    def _turn(self, place: Floats) -> Floats:
        """(N,) of the sign of the determinant of d(sample, line)/d(L, P)."""
        xx, xy, yx, yy = self._slopes(place, self._ratios(place))
        values = _sums(self.table[1::2], monomials(place))
        turn: Floats = (xx * yy - xy * yx) / values.prod(axis=0)
        return turn

    def _newton_step(self, place: Floats, aim: Floats) -> Floats:
        """(2, N) by how much too far L and P are for a normalised sample and line."""
        values = _sums(self.table, monomials(place))
        off_x, off_y = values[::2] - aim * values[1::2]
        xx, xy, yx, yy = self._slopes(place, aim)
        scale = 1.0 / (xx * yy - xy * yx)
        return np.stack([(yy * off_x - xy * off_y) * scale, (xx * off_y - yx * off_x) * scale])

    def _slopes(self, place: Floats, aim: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Of numerator - aim x denominator: sample by L and P, line by L and P."""
        by_l = _sums(self.table, _by_longitude(place))
        by_p = _sums(self.table, _by_latitude(place))
        x_l, y_l = by_l[::2] - aim * by_l[1::2]
        x_p, y_p = by_p[::2] - aim * by_p[1::2]
        return x_l, x_p, y_l, y_p


def _sums(table: Floats, terms: Floats) -> Floats:
    """(K, 20) coefficients and (20, N) terms -> (K, N)."""
    # Not by BLAS: for so few products its threads cost more than they bring.
    sums: Floats = np.einsum("kt,tn->kn", table, terms)
    return sums


def monomials(place: Floats) -> Floats:
    """(3, N) L, P, H -> (20, N) in the order of RPC00B."""
    x, y, z = place
    one = np.ones_like(x)
    xx, yy, zz = x * x, y * y, z * z
    second = (x * y, x * z, y * z, xx, yy, zz)
    third = (x * y * z, xx * x, x * yy, x * zz, xx * y, yy * y, y * zz, xx * z, yy * z, zz * z)
    return np.stack([one, x, y, z, *second, *third])


def _by_longitude(place: Floats) -> Floats:
    """The derivatives of `monomials` by L."""
    x, y, z = place
    o, one = np.zeros_like(x), np.ones_like(x)
    second = (y, z, o, 2.0 * x, o, o)
    third = (y * z, 3.0 * x * x, y * y, z * z, 2.0 * x * y, o, o, 2.0 * x * z, o, o)
    return np.stack([o, one, o, o, *second, *third])


def _by_latitude(place: Floats) -> Floats:
    """The derivatives of `monomials` by P."""
    x, y, z = place
    o, one = np.zeros_like(x), np.ones_like(x)
    second = (x, o, z, o, 2.0 * y, o)
    third = (x * z, o, 2.0 * x * y, o, x * x, 3.0 * y * y, z * z, o, 2.0 * y * z, o)
    return np.stack([o, o, one, o, *second, *third])


def _wrapped(degrees: Floats) -> Floats:
    """Within -180 to 180; what lies there already keeps its digits."""
    return np.where(np.abs(degrees) <= 180.0, degrees, (degrees + 180.0) % 360.0 - 180.0)
