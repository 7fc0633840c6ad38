from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from attachtrans.errors import ModelError
from attachtrans.models.sr3_wavelet import haar, inverse_haar, wavelet_like
from attachtrans.models.weights import fill
from tests.models.diffusion_nets import wavelet

torch.set_num_threads(1)


@pytest.fixture
def state():
    torch.manual_seed(3)
    return dict(wavelet().state_dict())


def test_the_haar_transform_of_one_square():
    square = torch.tensor([[[[8.0, 4.0], [2.0, 1.0]]]])
    assert haar(square).flatten().tolist() == [7.5, 4.5, 2.5, 1.5]


def test_bands_of_colours_lie_together():
    image = torch.randn(2, 3, 6, 4)
    separate = torch.stack([haar(image[:, i : i + 1]) for i in range(3)], dim=2)
    assert torch.equal(haar(image), separate.flatten(1, 2))


def test_the_transform_keeps_energy_and_can_be_undone():
    image = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    coefficients = haar(image)
    assert coefficients.shape == (2, 12, 4, 6)
    assert torch.allclose(coefficients.square().sum(), image.square().sum())
    assert torch.allclose(inverse_haar(coefficients), image)


def test_the_structure_is_read_from_the_weights(state):
    net = wavelet_like(state, groups=4)
    fill(net, state, what="x")
    assert (net.bands, net.multiple_of, net.latent_step) == (3, 4, 2)
    picture = torch.randn(1, 3, 8, 8)
    with torch.inference_mode():
        condition = net.encode(picture)
        assert net(condition, condition, torch.tensor([[0.5]])).shape == (1, 12, 4, 4)
        assert net.decode(condition, condition).shape == picture.shape


def test_the_result_is_the_prediction_and_the_latent(state):
    net = wavelet_like(state, groups=4)
    fill(net, state, what="x")
    x = condition = torch.randn(1, 12, 4, 4)
    with torch.inference_mode():
        for i in (0, 2, 4):
            x = functional.conv2d(x, state[f"dwsr.convs.{i}.weight"], padding=1)
            x = x.relu() if i < 4 else x
        latent = torch.randn(1, 12, 4, 4)
        expected = inverse_haar(latent + condition + x)
        assert torch.allclose(net.decode(latent, condition), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {k: v for k, v in s.items() if not k.startswith("dwsr")}, "dwsr"),
        (lambda s: s | {"dwsr.convs.2.weight": torch.zeros(9, 8, 3, 3)}, "dwsr"),
        (lambda s: s | {"dwsr.convs.2.weight": torch.zeros(8)}, "dwsr"),
        (lambda s: {k: v for k, v in s.items() if k.startswith("dwsr")}, "downs.0.weight"),
    ],
)
def test_weights_that_are_no_such_net(state, change, message):
    with pytest.raises(ModelError, match=message):
        wavelet_like(change(state), groups=4)
