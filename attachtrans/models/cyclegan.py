"""CycleGAN as ArcGIS saves it: two generators in one checkpoint, one per direction.

The generator is the ResNet of Zhu et al. 2017 (arXiv 1703.10593): two downsamplings by two,
residual blocks, two upsamplings, instance normalisation throughout, tanh. In the checkpoint G_B
turns domain A into domain B (AtoB), and G_A turns B into A (BtoA). Keys, layer numbers and
statistics follow the ArcGIS files (arcgis.learn 1.9 to 2.4.4, whose maths are the same from 2.0
on); pixels are mapped from the source domain's minimum..maximum to -1..1, and back by the target's.

Instance normalisation takes its statistics from the tile, so the result depends on the tile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attachtrans.errors import ArgumentError, ModelError
from attachtrans.models.arguments import CycleGANArguments, TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.facts import whole
from attachtrans.models.module import ModuleTranslator
from attachtrans.models.translator import TranslatorSpec
from attachtrans.models.weights import fill, load_state_dict

MULTIPLE_OF = 4
MIN_SIZE = 8
"""Two halvings leave 2 x 2 of these, the least that reflection by one pixel can pad."""

_EIGHT_BITS = (0.0, 255.0)
_FIRST_BLOCK = 10

BandRange = tuple[float, float]


class ResidualBlock(nn.Module):
    """x + conv(x), two 3x3 convolutions."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(features, features, 3),
            nn.InstanceNorm2d(features),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(features, features, 3),
            nn.InstanceNorm2d(features),
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


class Rescaled(nn.Module):
    """A generator in the units of its domains.

    bands       for each channel of the net, the input band it takes
    source      (minimum, maximum) for each channel of the net
    target      (minimum, maximum) for each output band
    """

    low: Tensor
    gain: Tensor
    out_low: Tensor
    out_gain: Tensor
    bands: Tensor

    def __init__(
        self,
        net: nn.Module,
        *,
        bands: Sequence[int],
        source: Sequence[BandRange],
        target: Sequence[BandRange],
    ) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("bands", torch.tensor(bands))
        self.register_buffer("low", _column([low for low, _ in source]))
        self.register_buffer("gain", _column([2 / (high - low) for low, high in source]))
        self.register_buffer("out_low", _column([low for low, _ in target]))
        self.register_buffer("out_gain", _column([(high - low) / 2 for low, high in target]))

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, bands, H, W) in units of the source -> (N, bands, H, W) in units of the target."""
        x = (pixels.index_select(1, self.bands) - self.low) * self.gain - 1
        y: Tensor = self.net(x)
        return (y[:, : self.out_low.shape[1]].float() + 1) * self.out_gain + self.out_low


@dataclass(frozen=True, slots=True, kw_only=True)
class _Domain:
    """The bands of one domain of a definition: how many a raster has, which are used, ranges."""

    raster_bands: int
    used: tuple[int, ...]
    ranges: tuple[BandRange, ...]


def build(
    definition: ModelDefinition, arguments: TilingArguments, device: torch.device
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
    a = _domain_a(definition, channels)
    b = _domain_b(definition, channels)
    source, target = (a, b) if forward else (b, a)
    _require_spread(source, definition.name)
    last = channels - len(source.used)
    module = Rescaled(
        net,
        bands=source.used + source.used[-1:] * last,
        source=source.ranges + source.ranges[-1:] * last,
        target=target.ranges,
    )
    spec = TranslatorSpec(
        in_bands=source.raster_bands,
        out_bands=len(target.used),
        in_range=None,
        out_range=(
            min(low for low, _ in target.ranges),
            max(high for _, high in target.ranges),
        ),
        multiple_of=MULTIPLE_OF,
        min_size=MIN_SIZE,
        receptive_field_px=None,
    )
    if device.type == "cuda":
        # Tensor cores want this layout; on the CPU it gains nothing for these layers (measured).
        nn.utils.convert_conv2d_weight_memory_format(module, torch.channels_last)
    return ModuleTranslator(module=module.to(device), spec=spec, device=device)


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


def _domain_a(definition: ModelDefinition, channels: int) -> _Domain:
    """Domain A; ExtractBands, where stated, picks its bands and their statistics."""
    stats = definition.normalization.a
    extract = definition.raw.get("ExtractBands")
    if extract is not None:
        used = _extracted(extract, len(stats) if stats else None)
        picked = None if stats is None else tuple(stats[band] for band in used)
        return _domain(used, picked, channels)
    count = whole(definition.raw, "n_channel_rev", minimum=1)
    bands = count or (len(stats) if stats else channels)
    return _domain(tuple(range(bands)), stats, channels)


def _domain_b(definition: ModelDefinition, channels: int) -> _Domain:
    stats = definition.normalization.b
    count = whole(definition.raw, "n_channel", minimum=1)
    bands = count or (len(stats) if stats else channels)
    return _domain(tuple(range(bands)), stats, channels)


def _domain(used: tuple[int, ...], stats: tuple[BandRange, ...] | None, channels: int) -> _Domain:
    """A domain; without statistics its values are 0..255, the last one serves further bands."""
    if len(used) > channels:
        raise ModelError(
            f"The definition states {len(used)} bands, but the net has {channels} channels."
        )
    known = stats or (_EIGHT_BITS,)
    ranges = known[: len(used)] + known[-1:] * (len(used) - len(known))
    return _Domain(raster_bands=max(used) + 1, used=used, ranges=ranges)


def _extracted(extract: object, known: int | None) -> tuple[int, ...]:
    entries = extract if isinstance(extract, list) else []
    used = tuple(
        band
        for band in entries
        if isinstance(band, int) and not isinstance(band, bool) and band >= 0
    )
    limit = 1 << 16 if known is None else known
    if not used or len(used) != len(entries) or max(used) >= limit:
        raise ModelError(
            f"ExtractBands of the model definition is {extract!r:.60}: it must be a list of band "
            f"numbers from 0 to {limit - 1}, or null."
        )
    return used


def _require_spread(source: _Domain, name: str) -> None:
    for band, (low, high) in zip(source.used, source.ranges, strict=True):
        if not low < high:
            raise ModelError(
                f"{name}: the statistics of input band {band + 1} say that its minimum ({low}) "
                f"is not below its maximum ({high}), so its values cannot be normalised."
            )


def _column(values: Sequence[float]) -> Tensor:
    """(1, C, 1, 1) float32."""
    return torch.tensor(values, dtype=torch.float64).float().reshape(1, -1, 1, 1)
