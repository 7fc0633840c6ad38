from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError
from attachtrans.models.arguments import (
    CycleGANArguments,
    DiffusionArguments,
    TilingArguments,
    describe,
    parse,
    pixel_values,
)


def test_values_arrive_as_strings_or_numbers():
    pairs = [("padding", "64"), ("batch_size", 4), ("direction", " btoa ")]
    arguments = parse(CycleGANArguments, pairs, model_type="CycleGAN")
    assert arguments == CycleGANArguments(padding=64, batch_size=4, direction="BtoA")
    assert parse(CycleGANArguments, dict(pairs), model_type="CycleGAN") == arguments


def test_defaults_leave_the_choice_to_the_engine():
    assert parse(TilingArguments, (), model_type="ONNX") == TilingArguments()
    assert CycleGANArguments().direction == "AtoB"
    assert CycleGANArguments().padding is None


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("direction", "CtoD", "AtoB or BtoA"),
        ("padding", "-1", "from 0 on"),
        ("batch_size", "0", "from 1 on"),
        ("batch_size", "four", "a whole number"),
        ("tile_size", "256.5", "a whole number"),
        ("tile_size", True, "a whole number"),
        ("tile_size", "9" * 30, "a whole number"),
        ("tile_size", "٣", "a whole number"),
    ],
)
def test_a_wrong_value_says_what_is_allowed(name, value, allowed):
    with pytest.raises(ArgumentError, match=allowed) as caught:
        parse(CycleGANArguments, {name: value}, model_type="CycleGAN")
    assert name in str(caught.value)


def test_a_wrong_name_says_what_is_allowed():
    with pytest.raises(ArgumentError, match="batch_size, padding, tile_size") as caught:
        parse(TilingArguments, {"direction": "AtoB"}, model_type="ONNX")
    assert "ONNX" in str(caught.value)
    with pytest.raises(ArgumentError, match="twice"):
        parse(TilingArguments, [("padding", 1), ("padding", 2)], model_type="ONNX")


def test_batch_size_changes_no_pixel():
    values = pixel_values(CycleGANArguments(batch_size=9, padding=3))
    assert values == {"padding": 3, "tile_size": None, "direction": "AtoB"}


def test_descriptions_fit_the_classes():
    for cls in (TilingArguments, CycleGANArguments, DiffusionArguments):
        for argument in describe(cls):
            assert getattr(cls(), argument.name) == argument.default
            assert argument.doc
            assert argument.allowed


@given(st.integers(min_value=0, max_value=10**8))
def test_numbers_round_trip(number):
    assert parse(TilingArguments, {"padding": str(number)}, model_type="x").padding == number
