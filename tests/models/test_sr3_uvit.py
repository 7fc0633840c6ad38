from __future__ import annotations

import math

import pytest
import torch

from attachtrans.errors import ModelError
from attachtrans.models.sr3_uvit import Attention, uvit_like
from attachtrans.models.weights import fill
from tests.models.diffusion_nets import UVIT_EDGE, uvit

torch.set_num_threads(1)


@pytest.fixture
def state():
    torch.manual_seed(3)
    return dict(uvit().state_dict())


def filled(state, **keys):
    net = uvit_like(state, **{"heads": 4, "condition_first": True, **keys})
    fill(net, state, what="x")
    return net


def test_the_structure_is_read_from_the_weights(state):
    net = filled(state)
    assert (net.bands, net.edge, net.multiple_of) == (3, UVIT_EDGE, 1)
    original = uvit().eval()
    original.load_state_dict(state)
    condition, latent = torch.randn(2, 2, 3, UVIT_EDGE, UVIT_EDGE)
    with torch.inference_mode():
        found = net(condition, latent, torch.tensor([[0.7]]))
        assert torch.equal(found, original(condition, latent, torch.tensor([[0.7]])))
    assert found.shape == latent.shape


def test_a_bias_of_queries_keys_and_values(state):
    biased = {
        f"{name[: -len('weight')]}bias": torch.zeros(len(weight))
        for name, weight in state.items()
        if name.endswith("qkv.weight")
    }
    condition, latent = torch.randn(2, 1, 3, UVIT_EDGE, UVIT_EDGE)
    level = torch.tensor([[0.4]])
    with torch.inference_mode():
        one = filled(state)(condition, latent, level)
        assert torch.allclose(filled(state | biased)(condition, latent, level), one, atol=1e-6)


def test_the_embeddings_may_have_changed_places(state):
    swapped = dict(state)
    for part in ("weight", "bias"):
        x, y = f"patch_embedx.proj.{part}", f"patch_embedy.proj.{part}"
        swapped[x], swapped[y] = state[y], state[x]
    condition, latent = torch.randn(2, 1, 3, UVIT_EDGE, UVIT_EDGE)
    level = torch.tensor([[0.4]])
    with torch.inference_mode():
        one = filled(state)(condition, latent, level)
        assert torch.equal(filled(swapped, condition_first=False)(condition, latent, level), one)
        assert not torch.allclose(filled(swapped)(condition, latent, level), one)


def test_attention_has_heads():
    torch.manual_seed(1)
    attention = Attention(6, 2, qkv_bias=False)
    x = torch.randn(1, 5, 6)
    query, key, value = attention.qkv(x)[0].chunk(3, dim=1)
    parts = []
    for head in (slice(0, 3), slice(3, 6)):
        weights = (query[:, head] @ key[:, head].T / math.sqrt(3)).softmax(dim=1)
        parts.append(weights @ value[:, head])
    expected = attention.proj(torch.cat(parts, dim=1))
    assert torch.allclose(attention(x)[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {}, "patch_embedx"),
        (lambda s: s | {"pos_embed": torch.zeros(1, 32, 16)}, "square"),
        (lambda s: s | {"pos_embed": torch.zeros(1, 1, 16)}, "square"),
        (lambda s: s | {"pos_embed": torch.zeros(33, 16)}, "pos_embed"),
        (lambda s: {k: v for k, v in s.items() if "mid_block" not in k}, "mid_block"),
        (
            lambda s: s | {f"in_blocks.{i}.x": torch.zeros(1) for i in range(2000)},
            "refused",
        ),
    ],
)
def test_weights_that_are_no_such_net(state, change, message):
    with pytest.raises(ModelError, match=message):
        uvit_like(change(state), heads=4, condition_first=True)


def test_a_width_that_cannot_be_split(state):
    with pytest.raises(ModelError, match="num_heads"):
        uvit_like(state, heads=3, condition_first=True)
