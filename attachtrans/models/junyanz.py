"""Generators of the repository pytorch-CycleGAN-and-pix2pix, from their weights alone.

`ResnetGenerator` (Zhu et al. 2017, arXiv 1703.10593) and `UnetGenerator` (Isola et al. 2017, arXiv
1611.07004), in the layout in which https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix saves
them, as do the many programs that followed it. Numbers of bands, filters, blocks and levels, the
kind of norm and whether convolutions have a bias are read from names and shapes of the weights.
Pixels are -1..1 in and out, unless the definition states other ranges.

Nets run in evaluation mode: dropout does nothing, and batch norm takes the statistics of the
training. (The repository's own test program leaves both in training mode unless it is given
--eval, so its pictures are noisy and depend on the tile.) Instance norm takes its statistics from
the tile, always: where old checkpoints hold running statistics of it, they are ignored.

Keys of the definition (.emd), all optional besides the ranges: ImageHeight, the tile size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from attachtrans.errors import ModelError
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.checkpoint import read_checkpoint
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.extent import Extent
from attachtrans.models.facts import read_facts
from attachtrans.models.module import NO_REFERENCE, ModuleTranslator, Reference, place
from attachtrans.models.translator import TranslatorSpec
from attachtrans.models.weights import fill, shape_of

RESNET, UNET = "ResnetGenerator", "UnetGenerator"

MAX_HALVINGS = 12
"""Tiles of 4096 pixels; no net of either kind goes as deep."""

Norm = Callable[[int], nn.Module]

_BLOCK = re.compile(r"model\.(\d{1,6})\.conv_block\.(\d{1,2})\.weight")
_OTHER_NAME_OF_BLOCK = re.compile(r"^(model\.\d+)\.block\.")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class ResidualBlock(nn.Module):
    """x + conv_block(x): two 3x3 convolutions with norms.

    reflects    whether they are padded by reflection, a layer of its own, or with zeros
    drops       whether there was dropout between them
    """

    def __init__(
        self, features: int, norm: Norm, *, bias: bool, reflects: bool, drops: bool
    ) -> None:
        super().__init__()
        padding: list[nn.Module] = [nn.ReflectionPad2d(1)] if reflects else []

        def convolution() -> nn.Module:
            return nn.Conv2d(features, features, 3, padding=0 if reflects else 1, bias=bias)

        self.conv_block = nn.Sequential(
            *padding,
            convolution(),
            norm(features),
            nn.ReLU(),
            *([nn.Identity()] if drops else []),
            *padding,
            convolution(),
            norm(features),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, features, H, W) -> the same shape."""
        out: Tensor = x + self.conv_block(x)
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class ResnetPlan:
    """The size of a `ResnetGenerator`.

    widths  features at full size and after each halving
    reflects, drops     of the residual blocks
    """

    bands: int
    bands_out: int
    widths: tuple[int, ...]
    blocks: int
    norm: Norm
    bias: bool
    reflects: bool
    drops: bool

    @property
    def multiple_of(self) -> int:
        """Width and height of a tile must be multiples of this."""
        return 1 << (len(self.widths) - 1)

    @property
    def min_size(self) -> int:
        """The first layer reflects 3 pixels, and 2 x 2 is the least that a block can reflect."""
        return max(2 * self.multiple_of, 4)

    @property
    def reach_px(self) -> int:
        """How far an output looks, but for the statistics of norms."""
        halvings = len(self.widths) - 1
        extent = Extent().convolved(7)
        for _ in range(halvings):
            extent = extent.halved(3)
        extent = extent.convolved(3, times=2 * self.blocks)
        for _ in range(halvings):
            extent = extent.doubled_by_convolution()
        return extent.convolved(7).reach_px


class ResnetGenerator(nn.Module):
    """(N, bands, H, W) -> (N, bands_out, H, W) in -1..1; H and W multiples of `multiple_of`."""

    def __init__(self, plan: ResnetPlan) -> None:
        super().__init__()
        first, norm, bias = plan.widths[0], plan.norm, plan.bias
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(plan.bands, first, 7, bias=bias),
            norm(first),
            nn.ReLU(),
        ]
        for inside, out in pairwise(plan.widths):
            down = nn.Conv2d(inside, out, 3, stride=2, padding=1, bias=bias)
            layers += [down, norm(out), nn.ReLU()]
        layers += [
            ResidualBlock(
                plan.widths[-1], norm, bias=bias, reflects=plan.reflects, drops=plan.drops
            )
            for _ in range(plan.blocks)
        ]
        for inside, out in pairwise(reversed(plan.widths)):
            up = nn.ConvTranspose2d(
                inside, out, 3, stride=2, padding=1, output_padding=1, bias=bias
            )
            layers += [up, norm(out), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(first, plan.bands_out, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.model(x)
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class UnetPlan:
    """The size of a `UnetGenerator`; widths are the features after each halving."""

    bands: int
    bands_out: int
    widths: tuple[int, ...]
    norm: Norm
    bias: bool

    @property
    def multiple_of(self) -> int:
        """Width and height of a tile must be multiples of this, which is also the least."""
        return 1 << len(self.widths)

    @property
    def min_size(self) -> int:
        """One pixel at the deepest level, which is not normalised."""
        return self.multiple_of

    @property
    def reach_px(self) -> int:
        """How far an output looks, but for the statistics of norms.

        A 4x4 convolution of stride 2, padded by 1, looks 1 step before its place and 2 behind;
        its transpose 2 coarse half-steps before and 1 behind: both sides sum to three per level.
        """
        return 3 * (self.multiple_of - 1)


class SkipBlock(nn.Module):
    """A level below full size: (N, C, H, W) -> the same and what the levels below make of it.

    Half the size, the levels below, twice the size; each convolution after its activation.
    """

    def __init__(self, plan: UnetPlan, level: int) -> None:
        super().__init__()
        inside, out = plan.widths[level - 1 : level + 1]
        deepest = level == len(plan.widths) - 1
        below: list[nn.Module] = [] if deepest else [plan.norm(out), SkipBlock(plan, level + 1)]
        self.model = nn.Sequential(
            nn.LeakyReLU(0.2),
            nn.Conv2d(inside, out, 4, stride=2, padding=1, bias=plan.bias),
            *below,
            nn.ReLU(),
            nn.ConvTranspose2d(
                out if deepest else 2 * out, inside, 4, stride=2, padding=1, bias=plan.bias
            ),
            plan.norm(inside),
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class.

        In the original the leaky ReLU works in place and so changes the skip too. That changes no
        number, for the next thing that happens to the skip is a ReLU, and ReLU(leaky(x)) is
        ReLU(x).
        """
        return torch.cat([x, self.model(x)], dim=1)


class UnetGenerator(nn.Module):
    """(N, bands, H, W) -> (N, bands_out, H, W) in -1..1; H and W multiples of `multiple_of`."""

    def __init__(self, plan: UnetPlan) -> None:
        super().__init__()
        first = plan.widths[0]
        outermost = nn.Sequential(
            nn.Conv2d(plan.bands, first, 4, stride=2, padding=1, bias=plan.bias),
            SkipBlock(plan, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * first, plan.bands_out, 4, stride=2, padding=1),
            nn.Tanh(),
        )
        self.model = nn.ModuleDict({"model": outermost})

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.model["model"](x)
        return out


def kind_of(state: Mapping[str, Tensor]) -> str | None:
    """The model type whose layout the names of `state` have: RESNET, UNET, or None."""
    names = _usual_names(state)
    if any(_BLOCK.fullmatch(name) for name in names) and "model.1.weight" in names:
        return RESNET
    if {"model.model.0.weight", "model.model.3.weight"} <= set(names) and any(
        name.startswith("model.model.1.model.") for name in names
    ):
        return UNET
    return None


def trained_tile(state: Mapping[str, Tensor]) -> int | None:
    """The tile that a `UnetGenerator` was made for, one pixel at its deepest level; else None."""
    return 2 ** (1 + len(_blocks(state))) if kind_of(state) == UNET else None


def build(
    definition: ModelDefinition,
    arguments: TilingArguments,
    device: torch.device,
    reference: Reference = NO_REFERENCE,
) -> ModuleTranslator:
    """The generator, of the size that its weights show.

    Raises:
        ModelError: the weights are of another layout or damaged, or the definition states no
            ranges.
    """
    del arguments, reference  # the tiles' matter, and nothing to compare with
    if definition.model_file is None:
        raise ModelError(f"{definition.name} names no model file.")
    facts = read_facts(definition.raw)
    state = read_checkpoint(definition.model_file)
    kind = kind_of(state)
    if kind != definition.model_type:
        raise ModelError(
            f"{definition.model_file} holds no {definition.model_type} of the layout of "
            f"pytorch-CycleGAN-and-pix2pix, but {'another net' if kind is None else f'a {kind}'}."
        )
    module, plan = read_generator(state, what=f"The weights of {definition.name}")
    bounded = not _has_instance_norm(module)
    spec = TranslatorSpec(
        in_bands=plan.bands,
        out_bands=plan.bands_out,
        in_range=facts.in_range,
        out_range=facts.out_range,
        multiple_of=plan.multiple_of,
        min_size=plan.min_size,
        receptive_field_px=plan.reach_px if bounded else None,
    )
    return place(module, spec, device)


def read_generator(
    state: Mapping[str, Tensor], *, what: str
) -> tuple[nn.Module, ResnetPlan | UnetPlan]:
    """The net of a state dict whose kind is known, filled and frozen, and its size.

    Raises:
        ModelError: weights are missing, too many, or of shapes that do not belong together.
    """
    own = _usual_names(state)
    plan: ResnetPlan | UnetPlan
    with torch.device("meta"):
        if kind_of(own) == RESNET:
            plan = _read_resnet(own)
            net: nn.Module = ResnetGenerator(plan)
        else:
            plan = _read_unet(own)
            net = UnetGenerator(plan)
    if _has_instance_norm(net):
        own = {name: tensor for name, tensor in own.items() if not name.endswith(_STATISTICS)}
    return fill(net, own, what=what), plan


def _has_instance_norm(net: nn.Module) -> bool:
    return any(isinstance(module, nn.InstanceNorm2d) for module in net.modules())


def _usual_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state under the repository's names; others call `conv_block` just `block`."""
    return {_OTHER_NAME_OF_BLOCK.sub(r"\1.conv_block.", name): state[name] for name in state}


def _read_resnet(state: Mapping[str, Tensor]) -> ResnetPlan:
    found = [match for name in state if (match := _BLOCK.fullmatch(name))]
    numbers = {int(match[1]) for match in found}
    layers = sorted({int(match[2]) for match in found if state[match.string].ndim == 4})
    halvings, odd = divmod(min(numbers) - 4, 3)
    if odd or not 0 <= halvings <= MAX_HALVINGS or layers not in ([1, 5], [1, 6], [0, 3], [0, 4]):
        raise ModelError(
            f"The weights have residual blocks from layer {min(numbers)} on with convolutions as "
            f"their layers {layers}: that is no ResnetGenerator of a known layout."
        )
    last = min(numbers) + len(numbers) + 3 * halvings + 1
    widths = [
        shape_of(state, f"model.{1 + 3 * n}.weight", dimensions=4) for n in range(halvings + 1)
    ]
    return ResnetPlan(
        bands=widths[0][1],
        bands_out=shape_of(state, f"model.{last}.weight", dimensions=4)[0],
        widths=tuple(shape[0] for shape in widths),
        blocks=len(numbers),
        norm=_norm(state, convolution="model.1", norm="model.2"),
        bias="model.1.bias" in state,
        reflects=layers[0] == 1,
        drops=layers[1] - layers[0] > (4 if layers[0] else 3),
    )


def _read_unet(state: Mapping[str, Tensor]) -> UnetPlan:
    blocks = _blocks(state)
    if not 1 <= len(blocks) < MAX_HALVINGS:
        raise ModelError(
            f"The weights are of a UnetGenerator of {1 + len(blocks)} levels: attachtrans runs "
            f"those of 2 to {MAX_HALVINGS}."
        )
    first, bands, *_ = shape_of(state, "model.model.0.weight", dimensions=4)
    deeper = [shape_of(state, f"{block}.1.weight", dimensions=4)[0] for block in blocks]
    return UnetPlan(
        bands=bands,
        bands_out=shape_of(state, "model.model.3.weight", dimensions=4)[1],
        widths=(first, *deeper),
        norm=_norm(
            state,
            convolution=f"{blocks[0]}.1",
            # The deepest block has no norm on its way down.
            norm=f"{blocks[0]}.{2 if len(blocks) > 1 else 4}",
        ),
        bias="model.model.0.bias" in state,
    )


def _blocks(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the blocks below full size, from the outermost to the deepest."""
    blocks = []
    name = "model.model.1.model"
    while f"{name}.1.weight" in state:
        blocks.append(name)
        name = f"{name}.3.model"
    return blocks


def _norm(state: Mapping[str, Tensor], *, convolution: str, norm: str) -> Norm:
    """The kind of norm, told by its first one and the convolution before it.

    Batch norm has trained values and running statistics. Instance norm without trained values is
    the repository's; it had running statistics in old releases. With both it is told by the bias,
    which the repository gives to convolutions before instance norm only; but where PyTorch counted
    batches (since 0.4.1), running statistics are there to be used, and then both norms compute the
    same.
    """
    trained = f"{norm}.weight" in state
    running = f"{norm}.running_mean" in state
    used = f"{convolution}.bias" not in state or f"{norm}.num_batches_tracked" in state
    if trained and running and used:
        return nn.BatchNorm2d

    def instance(features: int) -> nn.Module:
        return nn.InstanceNorm2d(features, affine=trained)

    return instance
