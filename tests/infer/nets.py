"""Small nets with known facts, as translators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from attachtrans.models.translator import TranslatorSpec

CPU = torch.device("cpu")


@dataclass
class Net:
    """A function as a translator that remembers the shapes and positions it was called with."""

    function: Callable[[Tensor], Tensor]
    spec: TranslatorSpec
    device: torch.device = CPU
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    positions: list[list[int]] = field(default_factory=list)

    def __call__(self, batch: Tensor, positions: Tensor | None = None) -> Tensor:
        self.shapes.append(tuple(batch.shape))
        if positions is not None:
            self.positions += positions.tolist()
        return self.function(batch)


def spec(
    bands: int = 3,
    in_range: tuple[float, float] | None = (0, 1),
    out_range: tuple[float, float] | None = (0, 1),
    **facts,
) -> TranslatorSpec:
    return TranslatorSpec(
        in_bands=bands, out_bands=bands, in_range=in_range, out_range=out_range, **facts
    )


def identity(**facts) -> Net:
    return Net(lambda batch: batch, spec(**facts))


def nearest(scale: int, **facts) -> Net:
    def enlarge(batch: Tensor) -> Tensor:
        return batch.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)

    return Net(enlarge, spec(scale=scale, **facts))


def three_halves(**facts) -> Net:
    """Scale 1.5 by nearest neighbour; takes multiples of 2 and sees its own 2 x 2 only."""

    def enlarge(batch: Tensor) -> Tensor:
        return functional.interpolate(batch, scale_factor=1.5, mode="nearest-exact")

    return Net(enlarge, spec(scale=1.5, multiple_of=2, **facts))


def convolutions(layers: int = 3, padding_mode: str = "zeros", seed: int = 0) -> nn.Module:
    """3x3 convolutions with ReLU: each sees one pixel further."""
    torch.manual_seed(seed)
    parts: list[nn.Module] = []
    for i in range(layers):
        parts.append(
            nn.Conv2d(
                3 if i == 0 else 8,
                3 if i == layers - 1 else 8,
                3,
                padding=1,
                padding_mode=padding_mode,
            )
        )
        if i < layers - 1:
            parts.append(nn.ReLU())
    return nn.Sequential(*parts).eval()


def conv_net(layers: int = 3, padding_mode: str = "zeros") -> Net:
    return Net(convolutions(layers, padding_mode), spec(out_range=None, receptive_field_px=layers))


def strided_net() -> Net:
    """Down and up by 4 in two steps: multiples of 4, and results that depend on the phase."""
    torch.manual_seed(1)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1),
    ).eval()
    return Net(module, spec(out_range=None, multiple_of=4, receptive_field_px=12))


def valid_net() -> Net:
    """Two unpadded convolutions and an enlargement by 2: output = 2 * (n - 4)."""
    torch.manual_seed(2)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.PixelShuffle(2))
    return Net(module.eval(), spec(out_range=None, scale=2, margin_px=2, receptive_field_px=2))


def instance_norm_net() -> Net:
    """What it gives depends on the whole tile."""
    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.InstanceNorm2d(8), nn.Conv2d(8, 3, 1), nn.Sigmoid()
    )
    return Net(module.eval(), spec())
