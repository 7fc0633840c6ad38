"""Noise schedules of diffusion models: how much of the picture is left after each step.

A schedule is a sequence of T variances beta_t, 0 <= beta_t <= 1 (Ho et al. 2020, arXiv
2006.11239); what is kept of the picture after step t is the product of 1 - beta up to t. Names and
formulas are those of SR3 models; "cosine" is by Nichol and Dhariwal 2021, arXiv 2102.09672.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_STEPS = 100_000
"""A hundred times what models are trained with; more is a mistake, and memory for nothing."""

_LEAST_KEPT = 1e-12
_COSINE_OFFSET = 0.008
_COSINE_LIMIT = 0.999

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule as definitions state it.

    name        one of `SCHEDULES`
    steps       T, from 1 to `MAX_STEPS`
    start, end  lowest and highest beta, for the schedules that have any
    """

    name: str
    steps: int
    start: float
    end: float


def betas(schedule: Schedule) -> Floats:
    """The variances beta_0 .. beta_(T-1), shape (T,).

    Raises:
        KeyError: there is no schedule of this name.
    """
    return _FORMULAS[schedule.name](schedule)


def kept(schedule: Schedule) -> Floats:
    """The share of the picture's variance left after each step, a-bar_t, shape (T,), in (0, 1].

    It never reaches 0, which "jsd" and strong linear schedules otherwise do: no picture could be
    estimated from pure noise by a division by 0.
    """
    left: Floats = np.maximum(np.cumprod(1 - betas(schedule)), _LEAST_KEPT)
    return left


def _linear(schedule: Schedule) -> Floats:
    return np.linspace(schedule.start, schedule.end, schedule.steps)


def _quad(schedule: Schedule) -> Floats:
    roots = np.linspace(schedule.start**0.5, schedule.end**0.5, schedule.steps)
    return np.square(roots)


def _warmup(share: float) -> Callable[[Schedule], Floats]:
    """A linear rise over the first share of the steps, then constant."""

    def values(schedule: Schedule) -> Floats:
        rise = int(schedule.steps * share)
        betas = np.full(schedule.steps, schedule.end)
        betas[:rise] = np.linspace(schedule.start, schedule.end, rise)
        return betas

    return values


def _jsd(schedule: Schedule) -> Floats:
    return np.reciprocal(np.linspace(schedule.steps, 1, schedule.steps))


def _cosine(schedule: Schedule) -> Floats:
    places = np.arange(schedule.steps + 1) / schedule.steps
    level = np.cos((places + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * np.pi / 2) ** 2
    betas: Floats = np.minimum(1 - level[1:] / level[:-1], _COSINE_LIMIT)
    return betas


_FORMULAS: dict[str, Callable[[Schedule], Floats]] = {
    "linear": _linear,
    "quad": _quad,
    "warmup10": _warmup(0.1),
    "warmup50": _warmup(0.5),
    "const": _warmup(0.0),
    "jsd": _jsd,
    "cosine": _cosine,
}
SCHEDULES = tuple(_FORMULAS)
