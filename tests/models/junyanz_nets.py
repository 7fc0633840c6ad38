"""Weights in the layouts of pytorch-CycleGAN-and-pix2pix, and their meaning, layer by layer.

`run_resnet` and `run_unet` compute what the nets of that repository compute from their weights
alone, with functions only, so that they share nothing with `attachtrans.models.junyanz`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]


class Weights:
    """Makes seeded weights under growing names."""

    def __init__(self, norm: str) -> None:
        self.state: State = {}
        self.norm_kind = norm
        self.generator = torch.Generator().manual_seed(5)

    def put(self, name: str, *shape: int, scale: float = 0.2, mean: float = 0.0) -> None:
        noise = torch.randn(*shape, generator=self.generator)
        self.state[name] = noise * scale + mean

    def convolution(self, name: str, *shape: int, out: int, bias: bool | None = None) -> None:
        self.put(f"{name}.weight", *shape)
        if self.norm_kind != "batch" if bias is None else bias:
            self.put(f"{name}.bias", out)

    def norm(self, name: str, features: int) -> None:
        if self.norm_kind in {"affine", "batch"}:
            self.put(f"{name}.weight", features, mean=1.0)
            self.put(f"{name}.bias", features)
        if self.norm_kind in {"old", "batch"}:
            self.put(f"{name}.running_mean", features)
            self.state[f"{name}.running_var"] = torch.rand(features, generator=self.generator) + 0.5
        if self.norm_kind == "batch":
            self.state[f"{name}.num_batches_tracked"] = torch.tensor(9)


def resnet(
    norm: str = "instance",
    *,
    bands: tuple[int, int] = (3, 3),
    features: int = 4,
    blocks: int = 2,
    dropout: bool = False,
    reflect: bool = True,
    halvings: int = 2,
) -> State:
    """norm: "instance", "affine", "old" (instance with running statistics), "batch"."""
    weights = Weights(norm)
    weights.convolution("model.1", features, bands[0], 7, 7, out=features)
    weights.norm("model.2", features)
    at, width = 4, features
    for _ in range(halvings):
        weights.convolution(f"model.{at}", 2 * width, width, 3, 3, out=2 * width)
        weights.norm(f"model.{at + 1}", 2 * width)
        at, width = at + 3, 2 * width
    for _ in range(blocks):
        second = (5 if reflect else 3) + dropout
        for layer in (int(reflect), second):
            weights.convolution(f"model.{at}.conv_block.{layer}", width, width, 3, 3, out=width)
            weights.norm(f"model.{at}.conv_block.{layer + 1}", width)
        at += 1
    for _ in range(halvings):
        weights.convolution(f"model.{at}", width, width // 2, 3, 3, out=width // 2)
        weights.norm(f"model.{at + 1}", width // 2)
        at, width = at + 3, width // 2
    weights.convolution(f"model.{at + 1}", bands[1], width, 7, 7, out=bands[1], bias=True)
    return weights.state


def unet(
    norm: str = "instance",
    *,
    bands: tuple[int, int] = (3, 3),
    widths: tuple[int, ...] = (4, 6, 8),
) -> State:
    weights = Weights(norm)
    weights.convolution("model.model.0", widths[0], bands[0], 4, 4, out=widths[0])
    shape = (2 * widths[0], bands[1], 4, 4)
    weights.convolution("model.model.3", *shape, out=bands[1], bias=True)
    name = "model.model.1"
    for level, out in enumerate(widths[1:], start=1):
        inside, deepest = widths[level - 1], level == len(widths) - 1
        weights.convolution(f"{name}.model.1", out, inside, 4, 4, out=out)
        if not deepest:
            weights.norm(f"{name}.model.2", out)
        up = 3 if deepest else 5
        shape = (out if deepest else 2 * out, inside, 4, 4)
        weights.convolution(f"{name}.model.{up}", *shape, out=inside)
        weights.norm(f"{name}.model.{up + 1}", inside)
        name += ".model.3"
    return weights.state


def normed(state: State, name: str, x: Tensor, norm: str) -> Tensor:
    weight, bias = state.get(f"{name}.weight"), state.get(f"{name}.bias")
    if norm == "batch":
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return functional.batch_norm(x, mean, variance, weight, bias)
    return functional.instance_norm(x, weight=weight, bias=bias)


def convolved(state: State, name: str, x: Tensor, **keys: int) -> Tensor:
    return functional.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **keys)


def enlarged(state: State, name: str, x: Tensor, **keys: int) -> Tensor:
    weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
    return functional.conv_transpose2d(x, weight, bias, stride=2, padding=1, **keys)


def reflected(x: Tensor, by: int) -> Tensor:
    return functional.pad(x, (by,) * 4, mode="reflect")


def run_resnet(state: State, x: Tensor, norm: str, *, halvings: int = 2) -> Tensor:
    def layers(at: int, y: Tensor) -> Tensor:
        return functional.relu(normed(state, f"model.{at + 1}", y, norm))

    y = layers(1, convolved(state, "model.1", reflected(x, 3)))
    at = 4
    for _ in range(halvings):
        y = layers(at, convolved(state, f"model.{at}", y, stride=2, padding=1))
        at += 3
    while any(name.startswith(f"model.{at}.") and "block" in name for name in state):
        block = f"model.{at}.conv_block"
        numbers = sorted(
            int(name.split(".")[3])
            for name, value in state.items()
            if name.startswith(f"{block}.") and name.endswith(".weight") and value.ndim == 4
        )
        z = y
        for number in numbers:
            padded = reflected(z, 1) if numbers[0] else functional.pad(z, (1,) * 4)
            z = convolved(state, f"{block}.{number}", padded)
            z = normed(state, f"{block}.{number + 1}", z, norm)
            z = functional.relu(z) if number == numbers[0] else z
        y = y + z
        at += 1
    for _ in range(halvings):
        y = layers(at, enlarged(state, f"model.{at}", y, output_padding=1))
        at += 3
    return torch.tanh(convolved(state, f"model.{at + 1}", reflected(y, 3)))


def run_unet(state: State, x: Tensor, norm: str) -> Tensor:
    def level(name: str, y: Tensor) -> Tensor:
        # As in the original: the activation works in place, so the skip has passed it too.
        y = functional.leaky_relu(y, 0.2)
        z = convolved(state, f"{name}.model.1", y, stride=2, padding=1)
        up = 3
        if f"{name}.model.3.model.1.weight" in state:
            z = normed(state, f"{name}.model.2", z, norm)
            z = level(f"{name}.model.3", z)
            up = 5
        z = enlarged(state, f"{name}.model.{up}", functional.relu(z))
        return torch.cat([y, normed(state, f"{name}.model.{up + 1}", z, norm)], dim=1)

    y = convolved(state, "model.model.0", x, stride=2, padding=1)
    y = level("model.model.1", y)
    return torch.tanh(enlarged(state, "model.model.3", functional.relu(y)))


def saved(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path
