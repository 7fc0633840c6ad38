from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import ModelError
from attachtrans.models.facts import number_list, read_facts, read_inputs, whole

LEAST = {"InputRange": [0, 1], "OutputRange": [0, 255]}


def test_the_least_definition():
    facts = read_facts(LEAST)
    assert (facts.in_range, facts.out_range) == ((0, 1), (0, 255))
    assert facts.in_bands is None
    assert facts.scale is None
    assert facts.receptive_field_px is None


def test_all_keys():
    facts = read_facts(
        {
            "InputRange": "raw",
            "OutputRange": "raw",
            "InputBands": 1,
            "OutputBands": 2,
            "Scale": 1.5,
            "Margin": 7,
            "MultipleOf": 8,
            "MinSize": 16,
            "FixedSize": [256, 128],
            "FixedBatch": 4,
            "ReceptiveField": "global",
        }
    )
    assert facts.in_range is None
    assert facts.out_range is None
    assert (facts.in_bands, facts.out_bands, facts.scale, facts.margin_px) == (1, 2, 1.5, 7)
    assert (facts.multiple_of, facts.min_size, facts.fixed_size) == (8, 16, (256, 128))
    assert (facts.fixed_batch, facts.receptive_field_px) == (4, "global")
    assert read_facts({**LEAST, "FixedSize": 64}).fixed_size == (64, 64)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("InputRange", [1, 0]),
        ("InputRange", [0]),
        ("InputRange", [0, math.nan]),
        ("InputRange", None),
        ("OutputRange", "0..1"),
        ("OutputRange", [0, 10**400]),
        ("InputBands", 0),
        ("InputBands", 2.5),
        ("InputBands", True),
        ("InputBands", "3"),
        ("OutputBands", 1e9),
        ("Scale", 0),
        ("Scale", math.inf),
        ("Scale", "2"),
        ("Margin", -1),
        ("FixedSize", [1, 2, 3]),
        ("FixedSize", [64, None]),
        ("FixedSize", []),
        ("ReceptiveField", "small"),
    ],
)
def test_a_wrong_value_is_named(key, value):
    with pytest.raises(ModelError, match=key):
        read_facts({**LEAST, key: value})


@pytest.mark.parametrize("key", ["InputRange", "OutputRange"])
def test_ranges_are_required(key):
    with pytest.raises(ModelError, match=f'{key} is missing.*"raw"'):
        read_facts({name: value for name, value in LEAST.items() if name != key})


def test_false_stands_for_no_number():
    assert whole({"label_nc": False}, "label_nc", minimum=1) is None


@given(st.one_of(st.none(), st.text(), st.floats(), st.lists(st.floats() | st.text())))
def test_number_lists_are_finite_or_refused(value):
    try:
        numbers = number_list(value, "key")
    except ModelError:
        return
    assert all(math.isfinite(number) for number in numbers)
    assert len(numbers) == len(value)


def test_inputs_besides_the_image():
    stated = {"strength": 0.5, "flag": True, "mean": [1, 2.5]}
    assert read_inputs({"Inputs": stated}) == {"strength": (0.5,), "flag": (1,), "mean": (1, 2.5)}
    assert read_inputs({}) == {}


@pytest.mark.parametrize(
    "value", [math.nan, "1", None, [], [[1]], {"a": 1}, [None], [0] * 5000, 10**400]
)
def test_a_wrong_input_is_named(value):
    with pytest.raises(ModelError, match=r"Inputs\.strength"):
        read_inputs({"Inputs": {"strength": value}})
