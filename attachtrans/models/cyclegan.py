"""CycleGAN as ArcGIS saves it: two generators in one checkpoint, one per direction.

The generator is the ResNet of Zhu et al. 2017 (arXiv 1703.10593): two downsamplings by two,
residual blocks, two upsamplings, instance normalisation throughout, tanh. In the checkpoint G_B
turns domain A into domain B (AtoB), and G_A turns B into A (BtoA). Keys, layer numbers and
statistics follow the ArcGIS files (arcgis.learn 1.9 to 2.4.4, whose maths are the same from 2.0
on); pixels are mapped from the source domain's minimum..maximum to -1..1, and back by the target's.

Instance normalisation takes its statistics from the tile, so the result depends on the tile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from attachtrans.errors import ArgumentError, ModelError
from attachtrans.models.arguments import CycleGANArguments, TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.domains import (
    Rescaled,
    as_in_reference,
    domain_a,
    domain_b,
    require_spread,
)
from attachtrans.models.facts import whole
from attachtrans.models.module import NO_REFERENCE, ModuleTranslator, Reference, place
from attachtrans.models.translator import TranslatorSpec
from attachtrans.models.weights import fill, load_state_dict

MULTIPLE_OF = 4
MIN_SIZE = 8
"""Two halvings leave 2 x 2 of these, the least that reflection by one pixel can pad."""

Norm = Callable[[int], nn.Module]


class ResidualBlock(nn.Module):
    """x + conv(x), two 3x3 convolutions."""

    def __init__(self, features: int, norm: Norm = nn.InstanceNorm2d) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(features, features, 3),
            norm(features),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(features, features, 3),
            norm(features),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, features, H, W) -> the same shape."""
        out: Tensor = x + self.conv_block(x)
        return out


def generator(bands: int, features: int, blocks: int) -> nn.Sequential:
    """The net: (N, bands, H, W) in -1..1 to the same shape in -1..1; H and W multiples of 4."""

    def down(inside: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inside, 2 * inside, 3, stride=2, padding=1),
            nn.InstanceNorm2d(2 * inside),
            nn.ReLU(inplace=True),
        ]

    def up(inside: int) -> list[nn.Module]:
        return [
            nn.ConvTranspose2d(inside, inside // 2, 3, stride=2, padding=1, output_padding=1),
            nn.InstanceNorm2d(inside // 2),
            nn.ReLU(inplace=True),
        ]

    return nn.Sequential(
        nn.ReflectionPad2d(3),
        nn.Conv2d(bands, features, 7),
        nn.InstanceNorm2d(features),
        nn.ReLU(inplace=True),
        *down(features),
        *down(2 * features),
        *(ResidualBlock(4 * features) for _ in range(blocks)),
        *up(4 * features),
        *up(2 * features),
        nn.ReflectionPad2d(3),
        nn.Conv2d(features, bands, 7),
        nn.Tanh(),
    )


def build(
    definition: ModelDefinition,
    arguments: TilingArguments,
    device: torch.device,
    reference: Reference = NO_REFERENCE,
) -> ModuleTranslator:
    """The generator of the asked direction, with its statistics.

    Raises:
        ModelError: weights or statistics are missing, damaged or do not fit together.
        ArgumentError: arguments of another model type.
    """
    if not isinstance(arguments, CycleGANArguments):
        raise ArgumentError(f"CycleGAN models take CycleGANArguments, not {type(arguments)}.")
    if definition.model_file is None:
        raise ModelError(f"{definition.name} names no model file.")
    forward = arguments.direction == "AtoB"
    net, channels = _load_generator(
        load_state_dict(definition.model_file), "G_B" if forward else "G_A"
    )
    a = domain_a(
        definition,
        channels,
        bands=whole(definition.raw, "n_channel_rev", minimum=1),
        extracts=forward or reference.compat is None,
    )
    b = domain_b(definition, channels)
    source, target = (a, b) if forward else (b, a)
    if reference.compat is not None:  # the same in every release since 2.0
        stats = definition.normalization
        source = as_in_reference(definition, source, stats.a if forward else stats.b)
    require_spread(source, definition.name)
    module = Rescaled(net, channels=channels, source=source, target=target)
    spec = TranslatorSpec(
        in_bands=source.raster_bands,
        out_bands=len(target.used),
        in_range=None,
        out_range=target.span,
        multiple_of=MULTIPLE_OF,
        min_size=MIN_SIZE,
        receptive_field_px=None,
    )
    return place(module, spec, device)


def _load_generator(state: Mapping[str, Tensor], prefix: str) -> tuple[nn.Module, int]:
    """(generator, its channels), of the size that the weights show."""
    own = {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in state.items()
        if name.startswith(f"{prefix}.")
    }
    first = own.get("1.weight")
    if first is None or first.ndim != 4:
        raise ModelError(
            f"The weights hold no CycleGAN generator {prefix} ({prefix}.1.weight is missing)."
        )
    features, channels = int(first.shape[0]), int(first.shape[1])
    blocks = sum(name.endswith(".conv_block.1.weight") for name in own)
    with torch.device("meta"):
        net = generator(channels, features, blocks)
    return fill(net, own, what=f"The weights of the CycleGAN generator {prefix}"), channels
