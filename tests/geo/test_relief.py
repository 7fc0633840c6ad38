"""Heights of whole blocks, against the surface that they are of, point by point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attachtrans.geo.ground import DemGround
from attachtrans.geo.occlusion import Box, Horizon
from attachtrans.geo.rectify import lattice
from attachtrans.geo.rectify.relief import Relief

CELL_M = 3.0


def model(shape=(70, 90), hole=False):
    heights = np.random.default_rng(5).uniform(20.0, 60.0, shape).astype(np.float32)
    if hole:
        heights[30:34, 40:47] = np.nan
    return DemGround(heights, (CELL_M, 0.0, 0.0, 0.0, -CELL_M, 0.0))


def cells_of(corners, steps, turn):
    """((2, N, 25), (2, N, SIDE, SIDE)) cells at nodes and at pixels, of blocks that begin there."""
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = turned @ np.diag(steps)
    places = [
        corners[:, :, None] + np.einsum("ij,jk->ik", linear, px)[:, None, :]
        for px in (lattice.NODES_PX, lattice.CENTRES_PX)
    ]
    return places[0], places[1].reshape(2, -1, lattice.SIDE, lattice.SIDE)


@given(
    col=st.floats(-10.0, 85.0),
    row=st.floats(-10.0, 65.0),
    across=st.floats(0.02, 1.3),
    down=st.floats(-1.3, 1.3).filter(lambda step: abs(step) > 0.02),
    turn=st.sampled_from([0.0, 0.0, 0.3, np.pi / 2]),
    hole=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_heights_are_those_of_the_surface(col, row, across, down, turn, hole):
    ground = model(hole=hole)
    corners = np.array([[col, 20.0, col], [row, 20.0, row + 9.0]])
    nodes, pixels = cells_of(corners, (across, down), turn)
    found, hidden = Relief.of(ground).heights(nodes)
    expected = ground.surface.at(pixels[0].ravel(), pixels[1].ravel()).reshape(found.shape)
    expected = expected - ground.surface.lowest
    last = np.array(ground.surface.extent)[:, None, None, None]
    # On the very border of the model, and of a hole, single precision may say either.
    sure = (np.abs(pixels) > 1e-3).all(axis=0) & (np.abs(pixels - last) > 1e-3).all(axis=0)
    sure &= (np.abs(pixels - np.rint(pixels)) > 1e-3).all(axis=0) | ~np.isnan(expected)
    both = sure & ~np.isnan(found) & ~np.isnan(expected)
    if not hole:
        np.testing.assert_array_equal(np.isnan(found)[sure], np.isnan(expected)[sure])
    assert both.any() == (sure & ~np.isnan(expected)).any()
    np.testing.assert_allclose(found[both], expected[both], atol=2e-2)
    assert not hidden.any()


def test_along_the_axes_and_slightly_aslant_are_alike_with_what_is_hidden():
    ground = model()
    excess = np.random.default_rng(6).uniform(-1.0, 1.0, (60, 70)).astype(np.float32)
    relief = Relief.of(ground, Horizon(excess=excess, box=Box(10, 5, 80, 65)))
    corners = np.array([[12.0, 30.3], [7.0, 21.7]])
    straight, _ = cells_of(corners, (0.4, 0.3), 0.0)
    aslant, _ = cells_of(corners, (0.4, 0.3), 1e-6)
    assert lattice.along_axes(straight).all()
    assert not lattice.along_axes(aslant).any()
    (heights, hidden), (others, also_hidden) = relief.heights(straight), relief.heights(aslant)
    np.testing.assert_allclose(heights, others, atol=1e-2)
    assert 0.3 < hidden.mean() < 0.7
    assert (hidden != also_hidden).mean() < 1e-3


def test_a_block_is_the_same_beside_any_others():
    relief = Relief.of(model())
    corners = np.array([[3.3, 20.1, 41.7, 30.0], [5.9, 11.2, 33.3, 2.5]])
    straight, _ = cells_of(corners, (0.31, 0.27), 0.0)
    turned, _ = cells_of(corners, (0.31, 0.27), 0.4)
    mixed = np.concatenate([straight[:, :2], turned[:, 2:]], axis=1)
    for cells in (straight, turned, mixed):
        together = relief.heights(cells)[0]
        alone = [relief.heights(cells[:, n : n + 1])[0][0] for n in range(4)]
        np.testing.assert_array_equal(together, np.stack(alone))


@pytest.mark.parametrize("down", [0.2, 2.5])
def test_where_a_block_has_more_lines_than_pixels_it_is_done_the_other_way(down):
    ground = model((300, 90))
    nodes, pixels = cells_of(np.array([[10.0], [40.0]]), (0.5, down), 0.0)
    found, _ = Relief.of(ground).heights(nodes)
    expected = ground.surface.at(pixels[0].ravel(), pixels[1].ravel()).reshape(found.shape)
    np.testing.assert_allclose(found, expected - ground.surface.lowest, atol=2e-2)
