from __future__ import annotations

import dataclasses

import pytest

from attachtrans.describe import fact_lines, model_lines
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.info import ModelInfo, model_info


@pytest.fixture(scope="module")
def about() -> ModelInfo:
    return model_info(ModelDefinition.read("sr-x2"))


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"in_range": None, "out_range": (-1.0, 1.0)}, "values       raw -> -1..1"),
        ({"scale": 1, "enlarge": 4}, "scale        1, of photos that are enlarged by 4 before"),
        ({"enlarge": None}, "--scale enlarges"),
        ({"fixed_size": (96, 64), "fixed_batch": 1}, "96 x 64 px only, 1 at a time"),
        ({"multiple_of": 32, "min_size": 64, "tile_size": None}, "at least 64 px, multiples of 32"),
        ({"margin_px": 7}, "7 px lost on each side"),
        ({"receptive_field_px": "global"}, "global: at the whole tile"),
        ({"receptive_field_px": "global"}, "--seams exact is offered"),
        ({"receptive_field_px": 900}, "overlapping tiles are blended"),
        (
            {"receptive_field_px": "global", "exact_seams": False, "no_exact_seams": "it cannot"},
            "no --seams exact: it cannot",
        ),
        ({"draws_noise": True}, "seed=N"),
        ({"licence": ""}, "licence      not stated"),
        ({"description": "Doubles."}, "  Doubles."),
    ],
)
def test_a_fact_has_a_line(about: ModelInfo, facts: dict[str, object], line: str) -> None:
    lines = list(fact_lines(dataclasses.replace(about, **facts)))
    assert [found for found in lines if line in found], lines


def test_arguments_follow_with_what_they_take(about: ModelInfo) -> None:
    lines = list(model_lines(about))
    assert "    batch_size [chosen for you]: a whole number from 1 on" in lines
    assert max(map(len, lines)) <= 100
