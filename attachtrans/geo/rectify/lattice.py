"""Square blocks of an output grid, and smooth functions on them known at a few nodes.

Blocks are counted from the grid's first pixel, whatever part of the grid is asked for: so a pixel
comes out the same in every window. On a block a smooth function is the polynomial through its
values at the nodes, of degree 4 across and down.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attachtrans.types import Window

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.intp]

SIDE = 64
"""Of a block, in pixels."""
_DEGREE = 4
_ROUNDING_CELLS = 1e-6


def _chebyshev(degree: int) -> Floats:
    """(degree + 1,) places from -1 to 1, ends included, through which polynomials stay tame."""
    places: Floats = np.cos(np.linspace(np.pi, 0.0, degree + 1)).astype(np.float64)
    return places


def _basis(nodes: Floats, places: Floats) -> Floats:
    """(places, nodes): the value at each place of the polynomial that is 1 at one node only."""
    powers = np.arange(nodes.size)
    basis = np.linalg.solve((nodes[:, None] ** powers).T, (places[:, None] ** powers).T).T
    return np.array(basis, dtype=np.float64)


def _middles(nodes: Floats) -> Floats:
    middles: Floats = 0.5 * (nodes[1:] + nodes[:-1])
    return middles


def _meshed(places: Floats) -> Floats:
    """(2, N * N) (col, row) in pixels from the block's corner; columns vary fastest."""
    px = 0.5 * SIDE * (places + 1.0)
    return np.stack([np.tile(px, px.size), np.repeat(px, px.size)])


_NODES = _chebyshev(_DEGREE)
_CENTRES = np.linspace(1.0 / SIDE - 1.0, 1.0 - 1.0 / SIDE, SIDE)
_TO_CENTRES = _basis(_NODES, _CENTRES).astype(np.float32)
_TO_TESTS = _basis(_NODES, _middles(_NODES))
_SLOPES = np.array(
    [
        np.polyval(np.polyder(np.polyfit(_NODES, one, _DEGREE)), _NODES)
        for one in np.eye(_NODES.size)
    ]
).T * (2.0 / SIDE)

NODES_PX = _meshed(_NODES)
"""(2, 25) pixels from the block's outer corner."""
TESTS_PX = _meshed(_middles(_NODES))
"""(2, 16): where a polynomial is furthest from its nodes."""
CENTRES_PX = _meshed(_CENTRES)
"""(2, SIDE * SIDE) all pixels' centres."""

_LEVELS = _chebyshev(3)
LEVELS = {1: np.zeros(1), 4: _LEVELS}
"""Heights at which nodes stand, from -1 (a block's lowest) to 1 (its highest): one on a plane."""
TEST_LEVELS = {1: np.zeros(1), 4: _middles(_LEVELS)}
TO_POWERS = {1: np.eye(1), 4: np.linalg.inv(_LEVELS[:, None] ** np.arange(4))}
"""From values at the levels to coefficients of 1, t, t^2, t^3."""
_TO_TEST_LEVELS = {1: np.eye(1), 4: _basis(_LEVELS, _middles(_LEVELS))}


def spread(values: Floats) -> Singles:
    """(..., 25) at the nodes -> (..., SIDE, SIDE) at the pixels' centres.

    Each function by itself, so that no result depends on which others it is computed with.
    """
    nodes = values.reshape(*values.shape[:-1], _NODES.size, _NODES.size).astype(np.float32)
    spread: Singles = _TO_CENTRES @ (nodes @ _TO_CENTRES.T)
    return spread


def along_axes(cells: Floats) -> NDArray[np.bool_]:
    """(N,) pairs of functions (2, N, 25): one depends on the column alone, the other on the row.

    But for what rounding makes of places far from the origin.
    """
    i, j = cells.reshape(2, -1, _NODES.size, _NODES.size)
    bent = np.maximum(np.ptp(i, axis=1).max(axis=1), np.ptp(j, axis=2).max(axis=1))
    straight: NDArray[np.bool_] = bent <= _ROUNDING_CELLS
    return straight


def spread_along(cells: Floats) -> tuple[Singles, Singles]:
    """Such functions -> (N, SIDE) of the pixels' columns, and (N, SIDE) of their rows."""
    i, j = cells.reshape(2, -1, _NODES.size, _NODES.size)
    # Each by itself, see `spread`.
    columns, rows = i[:, :1].astype(np.float32), j[:, None, :, 0].astype(np.float32)
    return (columns @ _TO_CENTRES.T)[:, 0], (rows @ _TO_CENTRES.T)[:, 0]


def at_tests(values: Floats) -> Floats:
    """(..., 25) at the nodes -> (..., 16) at the tests."""
    nodes = values.reshape(*values.shape[:-1], _NODES.size, _NODES.size)
    tests: Floats = _TO_TESTS @ nodes @ _TO_TESTS.T
    return tests.reshape(*values.shape[:-1], len(_TO_TESTS) ** 2)


def at_test_levels(values: Floats) -> Floats:
    """(..., levels, N) at the levels -> (..., tests, N) between them."""
    tests: Floats = _TO_TEST_LEVELS[values.shape[-2]] @ values
    return tests


def slopes(values: Floats) -> tuple[Floats, Floats]:
    """(..., 25) at the nodes -> change per pixel (across, down), at the nodes."""
    nodes = values.reshape(*values.shape[:-1], _NODES.size, _NODES.size)
    return (nodes @ _SLOPES.T).reshape(values.shape), (_SLOPES @ nodes).reshape(values.shape)


def covering(window: Window) -> Window:
    """The blocks that a window of pixels touches: columns and rows of blocks."""
    first_col, first_row = window.col // SIDE, window.row // SIDE
    return Window(
        col=first_col,
        row=first_row,
        width=-(-(window.col + window.width) // SIDE) - first_col,
        height=-(-(window.row + window.height) // SIDE) - first_row,
    )


def corners(blocks: Window) -> Ints:
    """(2, N) pixels of the blocks' first corners, row after row."""
    cols = np.arange(blocks.col, blocks.col + blocks.width, dtype=np.intp)
    rows = np.arange(blocks.row, blocks.row + blocks.height, dtype=np.intp)
    return np.stack([np.tile(cols, rows.size), np.repeat(rows, cols.size)]) * SIDE


def numbers(blocks: Window, among: Window) -> Ints:
    """(N,) places of blocks in the order of others' corners that they are among."""
    cols = np.arange(blocks.width, dtype=np.intp) + (blocks.col - among.col)
    rows = np.arange(blocks.height, dtype=np.intp) + (blocks.row - among.row)
    return (rows[:, None] * among.width + cols).ravel()


def pieces(blocks: Window, side: int) -> list[Window]:
    """Blocks in squares of `side` by `side` blocks, or what is left of them."""
    return [
        Window(
            col=col,
            row=row,
            width=min(side, blocks.col + blocks.width - col),
            height=min(side, blocks.row + blocks.height - row),
        )
        for row in range(blocks.row, blocks.row + blocks.height, side)
        for col in range(blocks.col, blocks.col + blocks.width, side)
    ]


def paste(values: NDArray[Any], blocks: Window, target: NDArray[Any], window: Window) -> None:
    """Copies what blocks and a window have in common.

    Args:
        values: (N, SIDE, SIDE, bands) of the blocks.
        blocks: columns and rows of blocks, N in all.
        target: (bands, height, width) of the window.
        window: pixels.
    """
    cells = values.reshape(blocks.height, blocks.width, SIDE, SIDE, -1)
    pixels = np.swapaxes(cells, 1, 2).reshape(blocks.height * SIDE, blocks.width * SIDE, -1)
    inner, outer = [], []
    for first, count, begin, length in (
        (blocks.row, blocks.height, window.row, window.height),
        (blocks.col, blocks.width, window.col, window.width),
    ):
        low = max(first * SIDE, begin)
        high = min((first + count) * SIDE, begin + length)
        inner.append(slice(low - first * SIDE, high - first * SIDE))
        outer.append(slice(low - begin, high - begin))
    target[:, outer[0], outer[1]] = np.moveaxis(pixels[inner[0], inner[1]], -1, 0)
