"""From noise to a picture: the steps of DDPM and DDIM sampling, as numbers.

Both walk down a sequence of times t > t' > ... of a schedule. With a = a-bar_t, a' = a-bar_t' and
e the noise that the net finds in the latent x_t, the picture is estimated as
x0 = clamp(x_t / sqrt(a) - sqrt(1 / a - 1) e, -1, 1), and the next latent is a weighted sum of x0,
e, x_t and fresh noise z:

    ddpm    the posterior of Ho et al. 2020, arXiv 2006.11239; over a part of the times with
            1 - beta = a / a', as Nichol and Dhariwal 2021, arXiv 2102.09672
    ddim    Song et al. 2020, arXiv 2010.02502, with eta = 1

The net is told the noise level sqrt(a), not the number of the step (SR3, arXiv 2104.07636), so any
times of the training schedule may be used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from attachtrans.models.schedules import Floats

_LEAST_VARIANCE = 1e-20


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of the net and what follows from it.

    level       the noise level for the net, sqrt(a-bar_t)
    gain        x0 = clamp(gain * latent - noise_gain * e)
    of_clean, of_noise, of_latent, spread
                next latent = of_clean * x0 + of_noise * e + of_latent * latent + spread * z
    draws       whether z is drawn
    skips       whether the reference draws once more before z and does not use it
    """

    level: float
    gain: float
    noise_gain: float
    of_clean: float
    of_noise: float = 0.0
    of_latent: float = 0.0
    spread: float = 0.0
    draws: bool = False
    skips: bool = False

    def next_latent(self, latent: Tensor, found: Tensor, fresh: Tensor | None) -> Tensor:
        """x_t' from x_t, the noise that the net found in it and fresh noise, all of one shape."""
        clean = (self.gain * latent - self.noise_gain * found).clamp_(-1, 1).mul_(self.of_clean)
        if self.of_noise:
            clean.add_(found, alpha=self.of_noise)
        if self.of_latent:
            clean.add_(latent, alpha=self.of_latent)
        if fresh is not None:
            clean.add_(fresh, alpha=self.spread)
        return clean


def all_times(steps: int) -> tuple[int, ...]:
    """Every time of a schedule of so many steps, in descending order, down to -1 (the picture)."""
    return tuple(range(steps - 1, -2, -1))


def spaced_times(steps: int, count: int) -> tuple[int, ...]:
    """`count` times of a schedule, evenly spread, in descending order, then -1.

    With more than `steps` of them some come twice, which changes nothing but the noise used.
    """
    ascending: list[int] = torch.linspace(-1, steps - 1, count + 1).int().tolist()
    return tuple(reversed(ascending))


def ddpm(kept: Floats, times: Sequence[int], *, full_variance: bool = False) -> tuple[Step, ...]:
    """The steps of DDPM through `times` of a schedule (descending, -1 last).

    kept            a-bar of the schedule, shape (T,)
    full_variance   fresh noise with the variance beta, not that of the posterior (SR3_Wavelet)
    """

    def step(now: float, then: float, *, last: bool) -> Step:
        beta = 1 - now / then
        variance = beta if full_variance else beta * (1 - then) / (1 - now)
        gain, noise_gain = _to_clean(now)
        return Step(
            level=math.sqrt(now),
            gain=gain,
            noise_gain=noise_gain,
            of_clean=beta * math.sqrt(then) / (1 - now),
            of_latent=(1 - then) * math.sqrt(now / then) / (1 - now),
            spread=0.0 if last else math.sqrt(max(variance, _LEAST_VARIANCE)),
            draws=not last,
        )

    return tuple(
        step(float(kept[t]), 1.0 if after < 0 else float(kept[after]), last=after < 0)
        for t, after in pairwise(times)
    )


def ddim(kept: Floats, times: Sequence[int]) -> tuple[Step, ...]:
    """The steps of DDIM with eta = 1 through `times` of a schedule (descending, -1 last).

    kept    a-bar of the schedule, shape (T,)
    """
    return tuple(_ddim_steps(kept, times))


def _ddim_steps(kept: Floats, times: Sequence[int]) -> Iterator[Step]:
    for t, after in pairwise(times):
        now = float(kept[t])
        gain, noise_gain = _to_clean(now)
        if after < 0:
            yield Step(
                level=math.sqrt(now), gain=gain, noise_gain=noise_gain, of_clean=1.0, skips=t > 0
            )
            continue
        then = float(kept[after])
        variance = (1 - now / then) * (1 - then) / (1 - now)
        yield Step(
            level=math.sqrt(now),
            gain=gain,
            noise_gain=noise_gain,
            of_clean=math.sqrt(then),
            of_noise=math.sqrt(max(1 - then - variance, 0.0)),
            spread=math.sqrt(variance),
            draws=True,
            skips=t > 0,
        )


def _to_clean(now: float) -> tuple[float, float]:
    return 1 / math.sqrt(now), math.sqrt(1 / now - 1)
