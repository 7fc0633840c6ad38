from __future__ import annotations

import numpy as np
import pytest

from attachtrans.errors import ArgumentError
from attachtrans.infer.block import translate_block
from tests.infer.nets import conv_net, identity, instance_norm_net, nearest


def block(edge: int) -> np.ndarray:
    return np.random.default_rng(0).random((3, edge, edge)).astype(np.float32)


def test_the_rule_itself():
    """Hann weights, tile by tile, in the words of the rule."""
    net, padding, tile = instance_norm_net(), 8, 32
    pixels = block(16 * 2 + 16)
    total, weight = np.zeros((3, 48, 48)), np.zeros((48, 48))
    hann = np.array([0.5 - 0.5 * np.cos(2 * np.pi * i / tile) for i in range(tile)])
    for row in (0, 16):
        for col in (0, 16):
            result = np.zeros((3, tile, tile))
            result[:] = call(net, pixels[:, row : row + tile, col : col + tile])
            mask = hann[:, None] * hann[None, :]
            total[:, row : row + tile, col : col + tile] += result * mask
            weight[row : row + tile, col : col + tile] += mask
    expected = (total[:, 8:-8, 8:-8] / weight[8:-8, 8:-8]).astype(np.float32)
    for batch_size in (4, 8):  # 8 is floored to 2 x 2
        result = translate_block(net, pixels, padding=padding, batch_size=batch_size)
        np.testing.assert_allclose(result, expected, atol=1e-6)
    assert net.shapes[-1] == (4, 3, tile, tile)


def call(net, tile: np.ndarray) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return net(torch.from_numpy(tile.copy())[None]).numpy()[0]


def test_identity_and_scale():
    pixels = block(80)
    result = translate_block(identity(), pixels, padding=8, batch_size=4)
    np.testing.assert_allclose(result, pixels[:, 8:-8, 8:-8], atol=1e-6)
    doubled = translate_block(nearest(2), pixels, padding=8, batch_size=4)
    np.testing.assert_allclose(doubled[:, ::2, ::2], pixels[:, 8:-8, 8:-8], atol=1e-6)


def test_no_padding_divides_by_zero_as_the_reference_does():
    result = translate_block(conv_net(), block(64), padding=0, batch_size=4)
    bad = np.isnan(result[0])
    assert bad[[0, 32]].all()
    assert bad[:, [0, 32]].all()
    assert bad.sum() == 64 * 64 - 62 * 62


def test_a_block_that_does_not_fit_is_refused():
    with pytest.raises(ArgumentError, match="61 pixels does not hold 2 tiles"):
        translate_block(identity(), block(61), padding=8, batch_size=4)
