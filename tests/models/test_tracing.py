from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from attachtrans.models.layers import LAYERS
from attachtrans.models.local import Pointwise
from attachtrans.models.tracing import UntraceableError, place_by_place, trace
from attachtrans.types import Size

SIZES = Size(16, 24), Size(32, 8)


class Net(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def nodes(function: Callable[[Tensor], Tensor] | nn.Module):
    module = function if isinstance(function, nn.Module) else Net(function)
    return trace(module.eval(), 3, SIZES, LAYERS)


WEIGHT = torch.ones(3, 3, 3, 3)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x.flatten(2), "its part Net uses flatten"),
        (lambda x: torch.softmax(x, 1), "uses softmax"),
        (lambda x: x if x.sum() > 0 else -x, "uses sum"),
        (lambda x: -x if torch.relu(x) else x, "decides by the values it sees"),
        (lambda x: x.data, "asks for data"),
        (lambda x: x[:, :, 2:], "takes a part of the image apart"),
        (lambda x: x[..., 0], "takes a part of the image apart"),
        (lambda x: x + torch.ones(16), "adds or multiplies values that belong to places"),
        (lambda x: x.mean((1, 2, 3), keepdim=True), "means other than of each channel"),
        (lambda x: x.mean(), "means other than of each channel"),
        (lambda x: functional.pad(x, (1, 1), mode="circular"), "pads by (1, 1) (circular)"),
        (lambda x: functional.interpolate(x, size=(8, 8)), "resizes (nearest) to (8, 8)"),
        (lambda x: functional.interpolate(x, scale_factor=1.5), "resizes (nearest) to 1.5"),
        (lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"), "(bilinear)"),
        (lambda x: functional.adaptive_avg_pool2d(x, 4), "pools the image to a fixed number"),
        (lambda x: functional.avg_pool2d(x, 3, ceil_mode=True), "ceil_mode"),
        (lambda x: functional.max_pool2d(x, 3, dilation=2), "dilation"),
        (lambda x: torch.cat([x, x], dim=2), "joins values along rows or columns"),
        (lambda x: torch.cat([x, WEIGHT], dim=1), "or with constants"),
        (lambda x: x.index_select(2, torch.tensor([1])), "picks rows or columns"),
        (lambda x: functional.relu(x[:, 1:], inplace=True), "changes a part of a value in place"),
        (lambda x: functional.dropout(x, 0.5, True), "draws at random"),
        (lambda x: x + functional.pad(x, (0, -1)), "joins 24 x 16 and 24 x 15"),
        (lambda x: torch.relu(x) if x.shape[2] > 20 else torch.tanh(x), "something else at every"),
        (lambda x: torch.zeros(2, 2), "does not give one image"),
        (lambda x: x, "does not give one image"),
        (lambda x: x.nonsense(), "asks for nonsense"),
        (lambda x: 1 / 0, "cannot be followed (ZeroDivisionError"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_says_why(function, reason):
    with pytest.raises(UntraceableError) as caught:
        nodes(function)
    assert reason in str(caught.value)


def test_what_cannot_be_followed_is_named():
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.fft2(x).real

    with pytest.raises(UntraceableError, match="its part Odd uses fft_fft2"):
        nodes(nn.Sequential(nn.ReLU(), Odd()))


def test_the_graph_of_a_chain():
    graph, shape = nodes(
        nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 5, 3), nn.InstanceNorm2d(5), nn.Tanh())
    )
    assert [node.inputs for node in graph] == [(0,), (1,), (2,), (3,)]
    assert [type(node.operation).__name__ for node in graph] == [
        *("Padding", "Convolution", "Normalisation", "Pointwise")
    ]
    assert shape == (5, 24, 16)


def test_same_padding():
    graph, shape = nodes(nn.Conv2d(3, 2, (4, 3), padding="same", dilation=(1, 2)))
    assert shape == (2, 24, 16)
    assert graph[0].operation.rows == (1, 2)


def test_what_is_done_in_place_is_seen_by_all():
    def net(x: Tensor) -> Tensor:
        y = x * 2
        z = y
        functional.relu(z, inplace=True)
        y += 1
        return z - y

    graph, _ = nodes(net)
    assert [node.inputs for node in graph] == [(0,), (1,), (2,), (3, 3)]


def test_the_result_comes_last():
    def net(x: Tensor) -> Tensor:
        y = torch.tanh(x)
        torch.relu(y)
        return y

    graph, _ = nodes(net)
    assert graph[-1].inputs == (1,)
    assert len(graph) == 3


def test_statistics_of_the_image_itself():
    graph, _ = nodes(nn.InstanceNorm2d(3))
    assert [node.inputs for node in graph] == [(0,), (1,)]


def test_a_promise_is_believed():
    def steps(x: Tensor) -> Tensor:
        return torch.cat([(x > 0).float(), x[x > 9].sum() * x], 1)

    graph, shape = nodes(lambda x: place_by_place(steps, x, channels=6, label="steps"))
    (node,) = graph
    assert isinstance(node.operation, Pointwise)
    assert (node.operation.channels, shape.channels) == (6, 6)
    x = torch.ones(1, 3, 2, 2)
    assert place_by_place(steps, x, channels=6, label="steps").shape == (1, 6, 2, 2)
