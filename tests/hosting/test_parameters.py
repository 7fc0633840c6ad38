from __future__ import annotations

import pytest

from attachtrans.errors import ArgumentError, ModelError
from attachtrans.hosting.parameters import read_parameters, scalars

ROWS = [
    {"name": "raster", "dataType": "raster", "value": None, "required": True},
    {"name": "model", "dataType": "string", "value": None, "required": True},
    {"name": "device", "dataType": "numeric", "value": 0, "required": False},
    {"name": "amount", "dataType": "numeric", "value": 0.5, "displayName": "How\nmuch"},
    {"name": "steps", "dataType": "GPLong", "value": 20, "domain": [10, 20, 30]},
    {"name": "kind", "dataType": "GPStringKeyword", "value": "Soft", "domain": ["Soft", "Hard"]},
    {"name": "count", "dataType": "gplong", "value": None},
    {"name": "clip", "dataType": "boolean", "value": True},
    {"name": "title", "dataType": "string", "value": None, "required": True},
]


def given(**values):
    return scalars(read_parameters(ROWS), {"title": " T ", **values}.items())


def test_defaults_are_filled_in_as_text():
    assert given() == {
        "amount": "0.5",
        "steps": "20",
        "kind": "Soft",
        "count": "",
        "clip": "true",
        "title": " T ",
    }


@pytest.mark.parametrize(
    ("name", "value", "passed"),
    [
        ("amount", " 1e-3 ", "1e-3"),
        ("amount", "-2", "-2"),
        ("steps", "30.0", "30"),
        ("kind", "hARD", "Hard"),
        ("count", "-7", "-7"),
        ("clip", "No", "false"),
        ("clip", "1", "true"),
        ("title", "", ""),
    ],
)
def test_values_are_checked_and_put_in_the_declared_form(name, value, passed):
    assert given(**{name: value})[name] == passed


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("amount", "some", '"amount" takes a number'),
        ("amount", "nan", '"amount" takes a number'),
        ("amount", "", '"amount" takes a number'),
        ("steps", "40", '"steps" takes 10 or 20 or 30'),
        ("steps", "ten", '"steps" takes 10 or 20 or 30'),
        ("kind", "medium", '"kind" takes Soft or Hard'),
        ("count", "1.5", '"count" takes a whole number'),
        ("clip", "maybe", '"clip" takes true or false'),
        ("model", "x.emd", 'no argument "model"'),
        ("device", "0", 'no argument "device"'),
        ("raster", "x.tif", 'no argument "raster"'),
        ("nothing", "1", "It takes: amount, steps, kind, count, clip, title"),
    ],
)
def test_other_values_and_names_are_refused(name, value, words):
    with pytest.raises(ArgumentError, match=words):
        given(**{name: value})


def test_what_is_required_must_be_given():
    with pytest.raises(ArgumentError, match='needs the argument "title", text: -a title=VALUE'):
        scalars(read_parameters(ROWS), ())


def test_words_for_info():
    rows = {p.name: p for p in read_parameters(ROWS)}
    assert rows["amount"].description == "How much"
    assert [p.name for p in rows.values() if not p.is_free] == ["model", "device"]
    assert rows["raster"].takes == "an image file"
    for row in rows.values():
        if row.is_free and not row.is_raster:
            row.checked(row.example)


@pytest.mark.parametrize("rows", [None, 3, {}, [3], [{}], [{"name": 3}], [{"name": "x"}]])
def test_what_is_no_list_of_parameters_is_refused(rows):
    with pytest.raises(ModelError, match="getParameterInfo"):
        read_parameters(rows)
