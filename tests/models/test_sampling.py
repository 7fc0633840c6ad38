from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.models.sampling import all_times, ddim, ddpm, spaced_times
from attachtrans.models.schedules import SCHEDULES, Schedule, kept

torch.set_num_threads(1)


def left(name="linear", steps=50):
    return kept(Schedule(name=name, steps=steps, start=1e-4, end=0.1))


def sample(steps, picture):
    """What the steps make of noise with a net that knows the picture."""
    draw = torch.Generator().manual_seed(3)

    def normal():
        return torch.randn(picture.shape, generator=draw, dtype=torch.float64)

    latent = normal()
    for step in steps:
        noise = (latent - step.level * picture) / max(1 - step.level**2, 1e-12) ** 0.5
        latent = step.next_latent(latent, noise, normal() if step.draws else None)
    return latent


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("count", [1, 7, 50])
def test_a_net_that_knows_the_picture_gets_it(name, count):
    picture = torch.linspace(-0.9, 0.9, 64, dtype=torch.float64)
    times = spaced_times(50, count)
    for steps in (
        ddim(left(name), times),
        ddpm(left(name), times),
        ddpm(left(name), times, full_variance=True),
    ):
        assert len(steps) == count
        assert torch.allclose(sample(steps, picture), picture, rtol=0, atol=1e-5)


@pytest.mark.parametrize("times", [all_times(50), spaced_times(50, 9)])
def test_ddim_with_eta_1_is_ddpm_where_nothing_is_clipped(times):
    kept_values = left()
    latent = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    found = torch.tensor([0.2, -0.1, 0.05], dtype=torch.float64)
    fresh = torch.tensor([1.0, -0.5, 0.2], dtype=torch.float64)
    for one, other in zip(ddim(kept_values, times), ddpm(kept_values, times), strict=True):
        noise = found * one.level if one.noise_gain < 1 else found * 0
        mine = one.next_latent(latent * one.level, noise, fresh if one.draws else None)
        theirs = other.next_latent(latent * one.level, noise, fresh if other.draws else None)
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("count", [5, 49])
def test_ddim_keeps_the_variance_of_its_level(count):
    kept_values, times = left(), spaced_times(50, count)
    for step, after in zip(ddim(kept_values, times), times[1:], strict=True):
        then = 1.0 if after < 0 else kept_values[after]
        assert step.of_clean**2 == pytest.approx(then)
        assert step.of_noise**2 + step.spread**2 == pytest.approx(1 - then)


def test_numbers_of_ddpm():
    kept_values = np.array([0.9, 0.5])
    last, first = ddpm(kept_values, (1, 0, -1))[::-1]
    beta = 1 - 0.5 / 0.9
    assert first.level == pytest.approx(0.5**0.5)
    assert first.of_clean == pytest.approx(beta * 0.9**0.5 / 0.5)
    assert first.of_latent == pytest.approx(0.1 * (1 - beta) ** 0.5 / 0.5)
    assert first.spread == pytest.approx((beta * 0.1 / 0.5) ** 0.5)
    wide = ddpm(kept_values, (1, 0, -1), full_variance=True)[0]
    assert wide.spread == pytest.approx(beta**0.5)
    assert (last.of_clean, last.of_latent) == pytest.approx((1, 0))
    assert not last.draws


@given(
    steps=st.integers(min_value=1, max_value=2000), count=st.integers(min_value=1, max_value=2000)
)
def test_times_go_from_noise_to_picture(steps, count):
    times = spaced_times(steps, count)
    assert len(times) == count + 1
    assert (times[0], times[-1]) == (steps - 1, -1)
    assert list(times) == sorted(times, reverse=True)
    if count <= steps:
        assert len(set(times)) == len(times)


@pytest.mark.parametrize("steps", [1, 12, 1000])
def test_all_times_are_evenly_spread(steps):
    assert spaced_times(steps, steps) == all_times(steps)


def test_which_draws_the_reference_makes():
    flags = [(step.skips, step.draws) for step in ddim(left(), spaced_times(12, 5))]
    assert flags == [(True, True)] * 4 + [(True, False)]
    flags = [(step.skips, step.draws) for step in ddim(left(), all_times(5))]
    assert flags == [(True, True)] * 4 + [(False, False)]
    flags = [(step.skips, step.draws) for step in ddpm(left(), all_times(3))]
    assert flags == [(False, True)] * 2 + [(False, False)]
