from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.models.schedules import SCHEDULES, Schedule, betas, kept


def schedule(name, steps, start=1e-6, end=1e-2):
    return Schedule(name=name, steps=steps, start=start, end=end)


def test_reproduces_the_recorded_schedules(shared):
    with np.load(shared / "arcgis" / "beta_schedules.npz") as recorded:
        assert {name.rpartition("_")[0] for name in recorded.files} == set(SCHEDULES)
        for name in recorded.files:
            kind, _, steps = name.rpartition("_")
            found = betas(schedule(kind, int(steps)))
            np.testing.assert_allclose(found, recorded[name], rtol=1e-9, atol=1e-15)


@given(
    name=st.sampled_from(SCHEDULES),
    steps=st.integers(min_value=1, max_value=300),
    start=st.floats(min_value=0, max_value=1),
    end=st.floats(min_value=1e-9, max_value=1),
)
def test_every_schedule_takes_away_and_never_all(name, steps, start, end):
    values = betas(schedule(name, steps, start, end))
    assert values.shape == (steps,)
    assert np.all((values >= 0) & (values <= 1))
    left = kept(schedule(name, steps, start, end))
    assert np.all((left > 0) & (left <= 1))
    assert np.all(np.diff(left) <= 0)


def test_an_unknown_schedule():
    with pytest.raises(KeyError):
        betas(schedule("sigmoid", 8))
