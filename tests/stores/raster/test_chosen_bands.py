"""Bands by number, name and colour, by the model, and what is said where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from attachtrans.errors import ArgumentError
from attachtrans.stores.raster.chosen_bands import choose_bands, data_bands
from tests.stores.raster.making import ArrayRaster


def raster(colours=("undefined",), names=None):
    values = np.zeros((len(colours), 2, 2), np.uint8)
    return ArrayRaster(values, colours=tuple(colours), names=names)


RGBA = raster(("red", "green", "blue", "alpha"))
SENTINEL = raster(
    ("blue", "green", "red", "undefined", "undefined"), ("B2", "B3", "B4", "nir", "SWIR 1")
)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ("3,2,1", (3, 2, 1)),
        ("red, green ,blue", (3, 2, 1)),
        ("R,G,B", (3, 2, 1)),
        ("B4,b3,B2", (3, 2, 1)),
        ("nir,red", (4, 3)),
        ("NearInfrared", (4,)),
        ("Swir 1,Band_2,band 1,1", (5, 2, 1, 1)),
        ([4, "red"], (4, 3)),
    ],
)
def test_bands_by_what_they_are_called(wanted, numbers):
    assert choose_bands(SENTINEL, wanted) == numbers


def test_a_name_goes_before_a_number():
    assert choose_bands(raster(("undefined",) * 3, ("3", "2", "1")), "1,2,3") == (3, 2, 1)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            "6",
            "no band '6': it has 1 \\(B2\\), 2 \\(B3\\), 3 \\(B4\\), 4 \\(nir\\), 5 \\(SWIR 1\\)",
        ),
        ("0", "no band '0'"),
        ("red,,blue", "no band ''"),
        ("undefined", "no band 'undefined'"),
        ("pink", "no band 'pink'"),
    ],
)
def test_no_such_band(wanted, words):
    with pytest.raises(ArgumentError, match=words):
        choose_bands(SENTINEL, wanted)


def test_a_name_of_two_bands():
    with pytest.raises(ArgumentError, match="2 of its bands are called 'a'"):
        choose_bands(raster(("undefined",) * 2, ("a", "A")), "a")


def test_another_number_than_the_model_takes():
    with pytest.raises(ArgumentError, match="names 2 bands and the model takes 3"):
        choose_bands(RGBA, "1,2", count=3)
    assert choose_bands(RGBA, "4", count=1) == (4,)


def test_transparency_is_no_data():
    assert data_bands(RGBA) == (1, 2, 3)
    assert choose_bands(RGBA) == (1, 2, 3)
    assert choose_bands(RGBA, count=4) == (1, 2, 3)
    assert choose_bands(raster(("alpha", "gray")), count=3) == (2,)
    assert choose_bands(SENTINEL, count=3) == (1, 2, 3)


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["red", "green", "blue"], (3, 2, 1)),
        (["u", "u", "u"], (1, 2, 3)),
        (["red", "green", "o"], (1, 2, 3)),
        (["red", "red", "blue"], (1, 2, 3)),
        (["red", "green", "coastal"], (1, 2, 3)),
        (["red"], (1, 2, 3)),
        (None, (1, 2, 3)),
    ],
)
def test_the_models_own_names_where_the_raster_has_them_all(names, numbers):
    assert choose_bands(SENTINEL, count=3, names=names) == numbers
