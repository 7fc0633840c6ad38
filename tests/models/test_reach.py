"""A reach that is too small would put seams into photos; these nets try to hide theirs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from attachtrans.models.facts import read_facts
from attachtrans.models.probe import complete_spec

torch.set_num_threads(1)


def reach(forward, weights=1000, **keys):
    facts = read_facts({"InputRange": [0, 1], "OutputRange": [0, 1], "InputBands": 1, **keys})
    torch.manual_seed(3)
    with torch.no_grad():
        return complete_spec(facts, forward, weights=weights).receptive_field_px


def conv(kernel, **keys):
    torch.manual_seed(5)
    return nn.Conv2d(1, 1, kernel, **keys).eval()


def chain(*layers):
    return nn.Sequential(*layers).eval()


def far_but_faint(x: Tensor) -> Tensor:
    """A kernel whose corner weights are zero in float32 arithmetic, but there."""
    kernel = torch.zeros(1, 1, 9, 9)
    kernel[..., 4, 4] = 1
    kernel[..., 0, 0] = 1e-30
    return functional.conv2d(x, kernel, padding=4)


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda x: x * 2, 0),
        (conv(3, padding=1), 1),
        (conv(7, padding=3), 3),
        (conv(5), 2),
        (conv(3, padding=5, dilation=5), 5),
        (conv((3, 9), padding=(1, 4)), 4),
        (chain(*(conv(3, padding=1) for _ in range(20))), 20),
        (far_but_faint, 4),
        (
            chain(conv(3, padding=1), nn.ReLU(), nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2)),
            2,
        ),
        (lambda x: functional.interpolate(x, scale_factor=2.0, mode="bilinear"), 1),
        # Nothing between the middle and the taps far away.
        (conv((1, 3), padding=(0, 50), dilation=50), 50),
        # Dead units: no gradient shows this reach.
        (chain(conv(3, padding=1), nn.Hardtanh(-1e9, -1e8), conv(3, padding=1)), 2),
    ],
)
def test_bounded_nets(forward, expected):
    assert reach(forward) == expected


def test_strides_are_seen_in_every_phase():
    # Halving by the mean of four and repeating: a pixel sees three to either side, by its phase.
    def halved(x):
        return functional.interpolate(functional.avg_pool2d(x, 4), scale_factor=4.0)

    assert reach(halved) == 3


def half_brightness(x: Tensor) -> Tensor:
    return torch.where(x.mean(dim=(2, 3), keepdim=True) > 0.5, x, x * 0.5)


def swallowed_nan(x: Tensor) -> Tensor:
    """A global statistic behind something that NaN does not pass."""
    return x + torch.nan_to_num(x).mean(dim=(2, 3), keepdim=True)


def aligned_corners(x: Tensor) -> Tensor:
    """Local everywhere, but the grid follows the tile's size."""
    small = functional.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=True)
    size = [x.shape[2], x.shape[3]]
    return x + functional.interpolate(small, size=size, mode="bilinear", align_corners=True)


def position(x: Tensor) -> Tensor:
    return x + torch.arange(x.shape[3]) / x.shape[3]


def vignette(x: Tensor) -> Tensor:
    """Depends on the place in the tile in absolute pixels."""
    return x * (1 - torch.arange(x.shape[3]) * 1e-3)


def hidden_stride(x: Tensor) -> Tensor:
    """Takes any size by padding inside, but its grid has a period of two."""
    height, width = x.shape[2:]
    padded = functional.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
    low = functional.avg_pool2d(padded, 2)
    return functional.interpolate(low, scale_factor=2.0)[..., :height, :width]


def random_noise(x: Tensor) -> Tensor:
    return x + torch.rand_like(x) * 0.1


def circular(x: Tensor) -> Tensor:
    return functional.conv2d(
        functional.pad(x, (1, 1, 1, 1), mode="circular"), torch.ones(1, 1, 3, 3)
    )


def attention(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    weights = (tokens @ tokens.transpose(1, 2) * 10).softmax(-1)
    return (weights @ tokens).transpose(1, 2).reshape(x.shape)


@pytest.mark.parametrize(
    "forward",
    [
        nn.InstanceNorm2d(1),
        chain(conv(3, padding=1), nn.InstanceNorm2d(1), conv(3, padding=1)),
        nn.GroupNorm(1, 1),
        lambda x: x / x.amax(dim=(2, 3), keepdim=True),
        half_brightness,
        swallowed_nan,
        aligned_corners,
        position,
        vignette,
        hidden_stride,
        random_noise,
        circular,
        attention,
        lambda x: x.flip(3),
        lambda x: torch.cumsum(x, dim=3),
    ],
)
def test_nets_that_depend_on_the_tile(forward):
    assert reach(forward) is None


def test_too_far_or_too_much_work_is_unknown():
    assert reach(conv(3, padding=50, dilation=50)) == 50
    assert reach(conv(3, padding=80, dilation=80)) == 80
    assert reach(conv(3, padding=200, dilation=200)) is None
    assert reach(conv(3, padding=900, dilation=900)) is None
    assert reach(conv(3, padding=1), weights=10**9) is None


def test_fixed_size_nets():
    def only_64(forward):
        def run(x):
            if tuple(x.shape[2:]) != (64, 64):
                raise RuntimeError("wrong size")
            return forward(x)

        return run

    assert reach(only_64(conv(7, padding=3))) == 3
    assert reach(only_64(nn.InstanceNorm2d(1))) is None
    assert reach(only_64(conv(3, padding=31, dilation=31))) is None


def test_the_same_facts_every_time():
    net = chain(*(conv(3, padding=1) for _ in range(5)))
    assert {reach(net) for _ in range(3)} == {5}
