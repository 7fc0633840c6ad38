from __future__ import annotations

import pytest
import torch
from torch import nn

from attachtrans.errors import ModelError
from attachtrans.models.folding import fold_norms


def test_weight_norm_as_torch_has_it():
    with pytest.warns(FutureWarning):
        conv = nn.utils.weight_norm(nn.Conv2d(3, 5, 3))
    with torch.no_grad():
        conv.weight_g.mul_(torch.linspace(0.1, 3, 5).reshape(-1, 1, 1, 1))
    folded = fold_norms({f"a.{name}": value for name, value in conv.state_dict().items()})
    plain = nn.Conv2d(3, 5, 3)
    plain.load_state_dict({name.removeprefix("a."): value for name, value in folded.items()})
    pixels = torch.rand(1, 3, 8, 8)
    assert torch.allclose(plain(pixels), conv(pixels), atol=1e-6)


def test_spectral_norm_as_torch_has_it():
    conv = nn.utils.spectral_norm(nn.Conv1d(4, 6, 1, bias=False))
    conv(torch.rand(1, 4, 9))
    conv.eval()
    folded = fold_norms(conv.state_dict())
    assert folded.keys() == {"weight"}
    pixels = torch.rand(1, 4, 9)
    assert torch.allclose(torch.conv1d(pixels, folded["weight"]), conv(pixels), atol=1e-6)


def test_plain_weights_stay():
    state = {"weight": torch.ones(2), "weight_ground": torch.zeros(1)}
    assert fold_norms(state) == state


@pytest.mark.parametrize(
    "state",
    [
        {"a.weight_g": torch.ones(2, 1)},
        {"a.weight_g": torch.ones(3, 1), "a.weight_v": torch.ones(2, 4)},
        {"a.weight_g": torch.ones(1), "a.weight_v": torch.tensor(1.0)},
        {"a.weight_orig": torch.ones(2, 4), "a.weight_u": torch.ones(2)},
        {"weight_orig": torch.ones(2, 4), "weight_u": torch.ones(3), "weight_v": torch.ones(4)},
    ],
)
def test_parts_that_do_not_belong_together(state):
    with pytest.raises(ModelError, match="belong together"):
        fold_norms(state)
