from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError, ModelError
from attachtrans.models.arguments import DiffusionArguments
from attachtrans.models.sampling import ddim, ddpm, spaced_times
from attachtrans.models.schedules import Schedule, kept
from attachtrans.models.sr3_facts import plan_steps, read_facts
from tests.models.nets import stats


def facts(model_type="SR3", **keys):
    return read_facts(keys, model_type)


def plan(compat, sampling, steps=None, schedule=None, trained=1000, **keys):
    arguments = DiffusionArguments(sampling_type=sampling, n_timestep=steps, schedule=schedule)
    known = facts(Kwargs={"n_timestep": trained, **keys})
    return plan_steps(known, arguments, compat=compat, full_variance=False)


def left(steps, name="linear"):
    return kept(Schedule(name=name, steps=steps, start=1e-6, end=1e-2))


def test_absent_keys_have_the_values_of_the_first_releases():
    for keys in ({}, {"Kwargs": None}, {"Kwargs": {}}):
        found = facts(**keys)
        assert (found.norm_groups, found.num_heads) == (8, 12)
        assert found.schedule == Schedule(name="linear", steps=1000, start=1e-6, end=1e-2)
        assert (found.source, found.target, found.multispectral) == (None, None, False)
    assert facts("SR3_Wavelet").norm_groups == 12


def test_stated_facts():
    keys = {
        "Kwargs": {"norm_groups": 16, "schedule": "cosine", "n_timestep": 400},
        "is_multispec": True,
        "image_stats": stats(2, -3.0, 7.0),
        "image_stats2": stats(2, 0.0, 10_000.0),
    }
    found = facts(**keys)
    assert (found.norm_groups, found.multispectral) == (16, True)
    assert (found.schedule.name, found.schedule.steps) == ("cosine", 400)
    assert found.source == ((-3, 7), (-3, 7))
    assert found.target == ((0, 10_000), (0, 10_000))


def test_our_rule_spreads_steps_over_the_schedule_of_the_training():
    assert plan(None, "ddim") == ddim(left(1000), spaced_times(1000, 200))
    assert plan(None, "ddim", 50) == ddim(left(1000), spaced_times(1000, 50))
    assert plan(None, "ddpm") == ddpm(left(1000), spaced_times(1000, 1000))
    assert plan(None, "ddpm", 50) == ddpm(left(1000), spaced_times(1000, 50))
    assert plan(None, "ddim", 50, "cosine") == ddim(left(1000, "cosine"), spaced_times(1000, 50))
    assert len(plan(None, "ddim", trained=40)) == 40


def test_the_rule_of_old_releases():
    rule = "arcgis-2.4.2"
    assert plan(rule, "ddim") == ddim(left(1000), spaced_times(1000, 200))
    assert plan(rule, "ddpm") == ddpm(left(200), spaced_times(200, 200))
    assert plan(rule, "ddpm", 5) == ddpm(left(5), spaced_times(5, 5))
    assert len(plan(rule, "ddim", trained=40)) == 200


def test_the_rule_of_the_new_release():
    rule = "arcgis-2.4.4"
    assert plan(rule, "ddim") == ddim(left(200), spaced_times(200, 200))
    assert plan(rule, "ddim", 5, "cosine") == ddim(left(5), spaced_times(5, 5))
    assert plan(rule, "ddpm", 5) == ddpm(left(1000), spaced_times(1000, 1000))


@pytest.mark.parametrize(
    ("compat", "steps", "limit"), [(None, 11, "10"), ("arcgis-2.4.4", 100_001, "100000")]
)
def test_more_steps_than_there_are(compat, steps, limit):
    with pytest.raises(ArgumentError, match=f"n_timestep={steps} .* at most {limit} "):
        plan(compat, "ddim", steps, trained=10)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"Kwargs": []}, "Kwargs"),
        ({"Kwargs": {"n_timestep": 10**12}}, "n_timestep"),
        ({"Kwargs": {"n_timestep": 10**6}}, "n_timestep"),
        ({"Kwargs": {"n_timestep": 0}}, "n_timestep"),
        ({"Kwargs": {"norm_groups": "many"}}, "norm_groups"),
        ({"Kwargs": {"inner_channel": 10**9}}, "inner_channel"),
        ({"Kwargs": {"inner_channel": 4096, "channel_mults": [1, 64]}}, "channel_mults"),
        ({"Kwargs": {"channel_mults": [1] * 40}}, "channel_mults"),
        ({"Kwargs": {"channel_mults": []}}, "channel_mults"),
        ({"Kwargs": {"channel_mults": 3}}, "channel_mults"),
        ({"Kwargs": {"embed_dim": 10**8}}, "embed_dim"),
        ({"Kwargs": {"depth": 10**5}}, "depth"),
        ({"Kwargs": {"schedule": "sigmoid"}}, "cosine"),
        ({"Kwargs": {"schedule": ["linear"]}}, "cosine"),
        ({"Kwargs": {"linear_start": "small"}}, "linear_start"),
        ({"Kwargs": {"linear_end": 0}}, "linear_end"),
        ({"Kwargs": {"linear_end": 1e400}}, "linear_end"),
        ({"image_stats": [[0.5], [0.5]]}, "image_stats"),
        ({"image_stats2": {"band_min_values": [0, 0], "band_max_values": [1]}}, "one of each"),
        ({"image_stats2": stats(1, 5.0, 5.0)}, "cannot be normalised"),
    ],
)
def test_definitions_that_cannot_be(keys, message):
    with pytest.raises(ModelError, match=message):
        facts(**keys)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)


kwargs_keys = st.sampled_from(
    [
        "n_timestep",
        "schedule",
        "linear_start",
        "linear_end",
        "norm_groups",
        "num_heads",
        "inner_channel",
        "channel_mults",
        "attn_res",
        "res_blocks",
        "depth",
        "patch_size",
    ]
)


@given(st.dictionaries(kwargs_keys, json_values))
def test_any_kwargs_are_read_or_refused(kwargs):
    try:
        found = read_facts({"Kwargs": kwargs}, "SR3")
    except ModelError:
        return
    assert found.schedule.steps <= 100_000
