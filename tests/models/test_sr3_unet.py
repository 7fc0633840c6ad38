from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from attachtrans.errors import ModelError
from attachtrans.models.sr3_unet import LevelEncoding, SelfAttention, UNet, Upsample, unet_like
from attachtrans.models.weights import fill
from tests.models.diffusion_nets import unet

torch.set_num_threads(1)


@pytest.fixture
def state():
    torch.manual_seed(3)
    return dict(unet().state_dict())


def test_the_structure_is_read_from_the_weights(state):
    net = unet_like(state, groups=4)
    assert (net.bands, net.multiple_of) == (3, 2)
    fill(net, state, what="x")
    original = unet().eval()
    original.load_state_dict(state)
    condition, latent = torch.randn(2, 2, 3, 8, 12)
    with torch.inference_mode():
        found = net(condition, latent, torch.tensor([[0.7]]))
        assert torch.equal(found, original(condition, latent, torch.tensor([[0.7]])))
    assert found.shape == latent.shape


def test_the_level_and_the_condition_count(state):
    net = unet_like(state, groups=4)
    fill(net, state, what="x")
    condition, latent = torch.randn(2, 1, 3, 8, 8)
    with torch.inference_mode():
        one = net(condition, latent, torch.tensor([[0.7]]))
        each = net(condition, latent, torch.tensor([[0.7]] * len(latent)))
        assert torch.allclose(one, each, atol=1e-6)
        assert not torch.allclose(one, net(condition, latent, torch.tensor([[0.2]])))
        assert not torch.allclose(one, net(-condition, latent, torch.tensor([[0.7]])))


def test_levels_are_encoded_as_waves():
    level = 0.3
    found = LevelEncoding(8)(torch.tensor([[level]]))[0]
    angles = [level * 10_000 ** (-k / 4) for k in range(4)]
    expected = [*(math.sin(angle) for angle in angles), *(math.cos(angle) for angle in angles)]
    assert found.tolist() == pytest.approx(expected)


def test_attention_is_a_weighted_mean_over_all_places():
    torch.manual_seed(1)
    attention = SelfAttention(8, 4)
    x = torch.randn(2, 8, 3, 5)
    query, key, value = attention.qkv(attention.norm(x)).chunk(3, dim=1)
    scores = torch.einsum("nchw,ncyx->nhwyx", query, key) / math.sqrt(8)
    weights = scores.flatten(3).softmax(dim=-1).reshape(scores.shape)
    seen = torch.einsum("nhwyx,ncyx->nchw", weights, value)
    expected = x + functional.conv2d(seen, attention.out.weight, attention.out.bias)
    assert torch.allclose(attention(x), expected, atol=1e-5)


def test_doubling_repeats_pixels():
    layer = Upsample(1)
    with torch.no_grad():
        layer.conv.weight.zero_()[0, 0, 1, 1] = 1
        layer.conv.bias.zero_()
    doubled = layer(torch.tensor([[[[1.0, 2.0]]]]))
    assert doubled.tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]


def without(state, prefix):
    return {name: value for name, value in state.items() if not name.startswith(prefix)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {}, "downs.0.weight"),
        (lambda s: without(s, "final_conv"), "final_conv"),
        (lambda s: without(s, "mid"), '"mid"'),
        (lambda s: without(s, "downs.1"), '"downs"'),
        (lambda s: without(s, "ups.0."), '"ups"'),
        (lambda s: without(s, "downs.3"), "fit together"),
        (lambda s: without(s, "ups.4"), "fit together"),
        (lambda s: s | {"downs.1000000000.conv.weight": s["downs.2.conv.weight"]}, '"downs"'),
        (lambda s: s | {"downs.0.weight": torch.zeros(8, 2, 3, 3)}, "fit together"),
        (lambda s: s | {"downs.0.weight": torch.zeros(8)}, "downs.0.weight"),
    ],
)
def test_weights_that_are_no_such_net(state, change, message):
    with pytest.raises(ModelError, match=message):
        unet_like(change(state), groups=4)


def test_channels_that_cannot_be_grouped(state):
    with pytest.raises(ModelError, match="norm_groups"):
        unet_like(state, groups=3)


def test_a_net_of_nothing_but_halvings(state):
    halving = {f"downs.{i}.conv.weight": state["downs.2.conv.weight"] for i in range(4, 500)}
    with pytest.raises(ModelError):
        unet_like(state | halving, groups=4)


def test_the_small_net_has_both_kinds_of_layers():
    net = unet()
    assert isinstance(net, UNet)
    assert [layer.attn is not None for layer in net.mid] == [True, False]
