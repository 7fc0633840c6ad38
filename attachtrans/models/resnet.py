"""ResNet encoders: the eight parts of a classification ResNet before its pooling.

He et al. 2015 (arXiv 1512.03385) with the stride of a bottleneck in its 3x3 convolution, ResNeXt
(arXiv 1611.05431) and wide ResNet (arXiv 1605.07146). Names of the parameters are those of the
published checkpoints: 0 is the first convolution, 1 its batch norm, 4 to 7 are the four stages
("4.0.conv1.weight"); 2 and 3 are ReLU and max pooling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from attachtrans.errors import ModelError
from attachtrans.models.extent import Extent
from attachtrans.models.weights import shape_of

STAGES = (4, 5, 6, 7)
"""Places of the stages among the parts."""

_EXPANSION = 4
"""A bottleneck gives so many times the channels of its stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetPlan:
    """The sizes of an encoder.

    blocks      residual blocks of the four stages
    bottleneck  whether a block is 1x1, 3x3, 1x1 convolutions, not two 3x3 ones
    bands       channels of the input
    stem        channels of the first convolution and base of the stages'
    groups      groups of the 3x3 convolutions in bottlenecks
    widening    channels inside a bottleneck over those of its stage
    """

    blocks: tuple[int, ...]
    bottleneck: bool
    bands: int = 3
    stem: int = 64
    groups: int = 1
    widening: int = 1

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels after the first convolution and after each stage."""
        expansion = _EXPANSION if self.bottleneck else 1
        return (self.stem, *(self.stem * 2**stage * expansion for stage in range(len(STAGES))))

    def extents(self) -> tuple[Extent, ...]:
        """What a value sees after the first convolution and after each stage; steps 2, 4 to 32."""
        extent = Extent().halved(7)
        found = [extent]
        extent = extent.halved(3)  # the pooling
        for stage, blocks in enumerate(self.blocks):
            if stage:
                extent = extent.halved(3)
            full = blocks * (1 if self.bottleneck else 2) - (1 if stage else 0)
            extent = extent.convolved(3, times=full)
            found.append(extent)
        return tuple(found)


class BasicBlock(nn.Module):
    """x + two 3x3 convolutions of it."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = _shortcut(inside, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, out, H / stride, W / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(y)
        return out


class Bottleneck(nn.Module):
    """x + 1x1, 3x3 and 1x1 convolutions of it, the middle one of `width` channels in groups."""

    def __init__(self, inside: int, out: int, stride: int, *, width: int, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inside, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, out, H / stride, W / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(y)
        return out


def encoder(plan: ResNetPlan) -> nn.Sequential:
    """The eight parts: (N, bands, H, W) -> (N, channels[-1], H / 32, W / 32)."""
    parts: list[nn.Module] = [
        nn.Conv2d(plan.bands, plan.stem, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(plan.stem),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    inside = plan.stem
    for stage, (blocks, out) in enumerate(zip(plan.blocks, plan.channels[1:], strict=True)):
        made: list[nn.Module] = []
        for index in range(blocks):
            stride = 2 if stage and not index else 1
            made.append(_block(plan, inside, out, stride, stage))
            inside = out
        parts.append(nn.Sequential(*made))
    return nn.Sequential(*parts)


def read_plan(state: Mapping[str, Tensor]) -> ResNetPlan:
    """The sizes of the encoder that a state dict belongs to.

    Raises:
        ModelError: it is no encoder of this family.
    """
    stem, bands, _, _ = shape_of(state, "0.weight", dimensions=4)
    blocks = tuple(
        sum(name.startswith(f"{stage}.") and name.endswith(".conv1.weight") for name in state)
        for stage in STAGES
    )
    if not all(blocks):
        raise ModelError(f"The weights are of no ResNet: its four stages have {blocks} blocks.")
    if "4.0.conv3.weight" not in state:
        return ResNetPlan(blocks=blocks, bottleneck=False, bands=bands, stem=stem)
    width, _, _, _ = shape_of(state, "4.0.conv1.weight", dimensions=4)
    _, grouped, _, _ = shape_of(state, "4.0.conv2.weight", dimensions=4)
    if width % stem or width % grouped:
        raise ModelError(
            f"The weights are of no known ResNet: {stem} channels first, {width} inside its first "
            f"block, in groups of {grouped}."
        )
    return ResNetPlan(
        blocks=blocks,
        bottleneck=True,
        bands=bands,
        stem=stem,
        groups=width // grouped,
        widening=width // stem,
    )


def _block(plan: ResNetPlan, inside: int, out: int, stride: int, stage: int) -> nn.Module:
    if not plan.bottleneck:
        return BasicBlock(inside, out, stride)
    width = plan.stem * 2**stage * plan.widening
    return Bottleneck(inside, out, stride, width=width, groups=plan.groups)


def _shortcut(inside: int, out: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inside == out:
        return None
    return nn.Sequential(nn.Conv2d(inside, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))
