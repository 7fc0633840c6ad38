from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError, ModelError
from attachtrans.infer.tiling import Axis, Plan, Tiling, output_size
from attachtrans.types import Size
from tests.infer.nets import spec

SPEC = spec()


@st.composite
def specs(draw):
    multiple = draw(st.sampled_from([1, 2, 3, 4, 8, 32]))
    fixed = draw(st.none() | st.tuples(*[st.sampled_from([64, 96, 192])] * 2))
    if fixed is not None:
        assume(fixed[0] % (multiple * 6) == 0)
        assume(fixed[1] % (multiple * 6) == 0)
    return spec(
        scale=draw(st.sampled_from([1, 2, 4, 1.5, 0.5, 1 / 3])),
        multiple_of=multiple,
        min_size=draw(st.sampled_from([1, 16, 40])),
        margin_px=draw(st.sampled_from([0, 6, 12])),
        fixed_size=fixed,
        receptive_field_px=draw(st.none() | st.integers(12, 20)),
    )


lengths = st.integers(1, 400) | st.integers(400, 12_000)


@given(
    width=lengths,
    height=lengths,
    net=specs(),
    tile=st.none() | st.integers(100, 700),
    padding=st.none() | st.integers(0, 32),
)
def test_plans_cover_the_image_with_tiles_that_the_net_takes(width, height, net, tile, padding):
    tile = None if net.fixed_size else tile
    plan = Tiling(tile_size=tile, padding=padding).plan(Size(width, height), net)
    assert plan.size == (width, height)
    assert plan.out_size == output_size(Size(width, height), net)
    if net.fixed_size:
        assert plan.tile == net.fixed_size
    for axis in (plan.columns, plan.rows):
        check_axis(axis, net, padding)
    assert len(list(plan)) == len(plan) == len(set(plan))


def check_axis(axis: Axis, net, padding: int | None) -> None:
    margin, scale = net.margin_px, net.scale
    assert axis.length % net.multiple_of == 0
    assert axis.length >= net.min_size
    assert axis.out_length == pytest.approx(scale * (axis.length - 2 * margin))
    assert axis.spans[0].start == -margin
    end = axis.spans[-1].start + axis.length
    assert end >= axis.size + margin
    needed = max(axis.size + 2 * margin, net.min_size, *(net.fixed_size or (0,)))
    assert end + margin < needed + 6 * net.multiple_of  # no more fill than needed
    at = 0
    for span in axis.spans:
        assert span.keep_start == at
        assert span.out_start <= span.keep_start <= span.keep_stop <= span.out_stop
        assert span.out_stop - span.out_start <= axis.out_length
        assert span.out_start == pytest.approx(scale * (span.start + margin))
        assert (span.start + margin) % net.multiple_of == 0
        at = span.keep_stop
    assert at == axis.out_size
    starts = [span.start for span in axis.spans]
    strides = {after - before for before, after in pairwise(starts)}
    if strides:
        assert min(strides) > 0
        assert axis.overlap == axis.length - max(strides)
        if padding is not None and padding <= axis.length // 4:
            assert axis.overlap >= 2 * max(padding, margin)
        assert max(strides) - min(strides) <= 6 * net.multiple_of  # spread evenly


@given(
    width=st.integers(1, 3000),
    halo=st.integers(0, 200),
    multiple=st.sampled_from([1, 4, 32]),
    tile=st.none() | st.integers(64, 800),
)
def test_exact_plans_keep_only_what_a_tile_sees_whole(width, halo, multiple, tile):
    net = spec(receptive_field_px=halo, multiple_of=multiple)
    plan = Tiling(tile_size=tile).plan(Size(width, 40), net)
    if tile is None:
        assert plan.exact
    if plan.exact:
        for i, span in enumerate(plan.columns.spans):
            if i > 0:
                assert span.keep_start - span.start >= halo
            if i + 1 < len(plan.columns.spans):
                assert span.start + plan.columns.length - span.keep_stop >= halo


def columns(plan: Plan) -> tuple[int, int]:
    return len(plan.columns.spans), plan.columns.length


def test_tiles_are_spread_evenly_and_few():
    plan = Tiling(padding=32).plan(Size(1500, 1500), SPEC)
    assert columns(plan) == (3, 543)
    assert plan.pixels_computed / 1500**2 == pytest.approx(1.18, abs=0.005)


@pytest.mark.parametrize(("width", "count"), [(512, 1), (665, 1), (666, 2), (1024, 2)])
def test_without_tile_size_the_tile_suits_the_image(width, count):
    plan = Tiling(padding=0).plan(Size(width, width), SPEC)
    assert columns(plan) == (count, -(-width // count))


def test_a_given_tile_size_is_used():
    plan = Tiling(tile_size=256, padding=16).plan(Size(1000, 200), SPEC)
    assert columns(plan) == (5, 256)
    assert plan.rows.length == 200
    assert columns(Tiling(tile_size=250).plan(Size(1000, 99), spec(multiple_of=4)))[1] == 252


def test_default_padding_is_the_receptive_field_or_an_eighth():
    exact = Tiling(tile_size=256).plan(Size(1000, 1000), spec(receptive_field_px=18))
    assert exact.exact
    assert exact.columns.overlap >= 36
    blended = Tiling(tile_size=256).plan(Size(1000, 1000), SPEC)
    assert not blended.exact
    assert blended.columns.overlap >= 64
    wide = Tiling(tile_size=1024).plan(Size(9000, 1000), SPEC)
    assert wide.columns.overlap >= 128


def test_a_halo_that_does_not_fit_the_tile_is_blended():
    plan = Tiling(tile_size=64).plan(Size(500, 500), spec(receptive_field_px=40))
    assert not plan.exact
    assert plan.columns.overlap >= 16


def test_padding_of_half_a_tile_moves_on_by_an_eighth():
    plan = Tiling(tile_size=64, padding=32).plan(Size(200, 64), SPEC)
    assert [span.start for span in plan.columns.spans] == list(range(0, 137, 8))


@pytest.mark.parametrize(
    ("tiling", "net", "words"),
    [
        ({"tile_size": 64, "padding": 33}, SPEC, "padding 33 .* at most 32"),
        ({"padding": 257}, SPEC, "padding 257 .* at most 256"),
        ({"tile_size": 8}, spec(min_size=16), "tile_size 8 .* at least 16"),
        ({"tile_size": 8}, spec(margin_px=7), "tile_size 8 .* at least 15"),
        ({"tile_size": 32}, spec(fixed_size=(64, 48)), "tile_size 32.* 64 x 48"),
        ({"padding": 30}, spec(fixed_size=(64, 48)), "padding 30 .* at most 24"),
    ],
)
def test_unsuitable_arguments_are_named(tiling, net, words):
    with pytest.raises(ArgumentError, match=words):
        Tiling(**tiling).plan(Size(100, 100), net)


@pytest.mark.parametrize("wrong", [{"tile_size": 0}, {"padding": -1}])
def test_impossible_arguments_are_named(wrong):
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        Tiling(**wrong)


@pytest.mark.parametrize(
    "facts", [{"scale": 1.5, "margin_px": 1}, {"fixed_size": (30, 30), "multiple_of": 4}]
)
def test_contradicting_facts_are_refused(facts):
    with pytest.raises(ModelError):
        Tiling().plan(Size(10, 10), spec(**facts))


def test_smaller_halves_down_to_a_floor():
    tiling = Tiling()
    plan = tiling.plan(Size(1000, 1000), SPEC)
    edges = [max(plan.tile)]
    for _ in range(3):
        tiling = tiling.smaller(plan)
        plan = tiling.plan(Size(1000, 1000), SPEC)
        edges.append(max(plan.tile))
    assert all(after <= before // 2 for before, after in pairwise(edges))
    assert 32 <= edges[-1] < 64
    with pytest.raises(ArgumentError, match="tile_size"):
        tiling.smaller(plan).plan(Size(1000, 1000), SPEC)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((10, 7), 2, (20, 14)),
        ((5, 3), 1.5, (8, 5)),
        ((1, 7), 0.25, (1, 2)),
        ((3, 4), 1 / 3, (1, 1)),
    ],
)
def test_output_size(size, scale, expected):
    assert output_size(Size(*size), spec(scale=scale)) == expected
