"""Pix2PixHD as ArcGIS saves it: paired image translation, and pictures from label maps.

The generators of Wang et al. 2018 (arXiv 1711.11585), with the layer numbers of its published
code (https://github.com/NVIDIA/pix2pixHD): the global generator is a ResNet generator like
CycleGAN's; a local enhancer adds the full resolution to one that works at half of it. Which one,
its size and its normalisation are read from the weights, not from the definition's Kwargs.

Image input is mapped as in CycleGAN (`attachtrans.models.domains`). Label input is one band of
class values, which mask_map lists; the result is then a picture in 0..255 (0..1 under `compat`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from attachtrans.errors import InferenceError, ModelError
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.cyclegan import Norm, ResidualBlock
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.domains import (
    Rescaled,
    as_in_reference,
    domain_a,
    domain_b,
    require_spread,
)
from attachtrans.models.extent import Extent
from attachtrans.models.facts import number_list, whole
from attachtrans.models.module import NO_REFERENCE, ModuleTranslator, Reference, place
from attachtrans.models.tracing import place_by_place
from attachtrans.models.translator import TranslatorSpec
from attachtrans.models.weights import fill, load_state_dict, part_of, shape_of

_LABEL_MULTIPLE_OF = 32
_SMALLEST_BOTTOM = 2
"""Reflection by one pixel needs two."""
_SMALLEST_TOP = 4
"""Reflection by three pixels needs four."""
_FULL_SCALE = 255.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HDPlan:
    """The sizes of a generator.

    bands, bands_out    channels in and out
    features    channels of the first convolution at full resolution
    halvings    of the global generator
    blocks      residual blocks of the global generator
    enhancers   local enhancers, each doubling the resolution; 0: the global generator alone
    local_blocks    residual blocks of each enhancer
    batch_norm  batch normalisation, else instance normalisation
    """

    bands: int
    bands_out: int
    features: int
    halvings: int
    blocks: int
    enhancers: int
    local_blocks: int
    batch_norm: bool

    @property
    def multiple_of(self) -> int:
        """What width and height of a tile are halved by, from top to bottom."""
        return 1 << self.halvings + self.enhancers

    @property
    def min_size(self) -> int:
        """The smallest tile whose reflected borders exist at every resolution."""
        return max(_SMALLEST_BOTTOM * self.multiple_of, _SMALLEST_TOP << self.enhancers)

    @property
    def receptive_field_px(self) -> int | None:
        """How far an output pixel looks; None with instance normalisation."""
        if not self.batch_norm:
            return None
        inputs = [Extent()]
        for _ in range(self.enhancers):
            inputs.append(inputs[-1].halved(3))
        extent = inputs.pop().convolved(7)
        for _ in range(self.halvings):
            extent = extent.halved(3)
        extent = extent.convolved(3, times=2 * self.blocks)
        for _ in range(self.halvings):
            extent = extent.doubled_by_convolution()
        while inputs:
            extent = extent.joined(inputs.pop().convolved(7).halved(3))
            extent = extent.convolved(3, times=2 * self.local_blocks).doubled_by_convolution()
        return extent.convolved(7).reach_px


class GlobalGenerator(nn.Module):
    """(N, bands, H, W) -> (N, bands_out, H, W) in -1..1."""

    def __init__(self, plan: HDPlan) -> None:
        super().__init__()
        self.model = nn.Sequential(
            *_trunk(plan, plan.features), *_to_image(plan.features, plan.bands_out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.model(x)
        return out


class LocalEnhancer(nn.Module):
    """(N, bands, H, W) -> (N, bands_out, H, W) in -1..1.

    The global generator sees the image at 1 / 2 ** enhancers of its size; enhancer n, from 1 on,
    adds what it sees at twice the size of the one before.
    """

    def __init__(self, plan: HDPlan) -> None:
        super().__init__()
        norm = _norm(plan)
        self.enhancers = plan.enhancers
        self.model = nn.Sequential(*_trunk(plan, plan.features << plan.enhancers))
        for number in range(1, plan.enhancers + 1):
            features = plan.features << plan.enhancers - number
            up: list[nn.Module] = [
                *(ResidualBlock(2 * features, norm) for _ in range(plan.local_blocks)),
                *_up(2 * features, norm),
            ]
            if number == plan.enhancers:
                up += _to_image(features, plan.bands_out)
            down = [*_from_image(plan.bands, features, norm), *_down(features, norm)]
            self.add_module(f"model{number}_1", nn.Sequential(*down))
            self.add_module(f"model{number}_2", nn.Sequential(*up))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        inputs = [x]
        for _ in range(self.enhancers):
            inputs.append(_halved(inputs[-1]))
        out: Tensor = self.model(inputs.pop())
        for number in range(1, self.enhancers + 1):
            seen = self.get_submodule(f"model{number}_1")(inputs.pop())
            out = self.get_submodule(f"model{number}_2")(seen + out)
        return out


class FromLabels(nn.Module):
    """A generator that draws a picture from a map of class values.

    classes     the class values, in the order of the net's first channels
    channels    of the net's input
    full_scale  what white is in the result
    """

    classes: Tensor

    def __init__(
        self, net: nn.Module, *, classes: tuple[float, ...], channels: int, full_scale: float
    ) -> None:
        super().__init__()
        self.net = net
        self.channels = channels
        self.full_scale = full_scale
        self.register_buffer("classes", torch.tensor(classes))

    def forward(self, labels: Tensor) -> Tensor:
        """(N, 1, H, W) class values -> (N, bands, H, W) in 0..full_scale.

        Raises:
            InferenceError: a value that is no class of the model.
        """
        hot = place_by_place(self._one_hot, labels, channels=self.channels, label="classes")
        y: Tensor = self.net(hot)
        return (y.float() / 2 + 0.5) * self.full_scale

    def _one_hot(self, labels: Tensor) -> Tensor:
        """(N, 1, H, W) class values -> (N, channels, H, W), 1 in the channel of the class."""
        values = labels[:, 0].float()
        index = values.clone()
        for number, value in enumerate(self.classes):
            index[values == value] = number
        # Values that mask_map does not list count as numbers of classes, as in training.
        foreign = ~((index >= 0) & (index < self.channels))
        if bool(foreign.any()):
            raise InferenceError(
                f"The label map holds the value {float(values[foreign][0]):g}, which is no class "
                f"of the model; its classes are {[f'{float(value):g}' for value in self.classes]}."
            )
        hot = functional.one_hot(index.long(), self.channels).movedim(-1, 1)
        return hot.to(self.classes.dtype)


def takes_labels(definition: ModelDefinition) -> bool:
    """Whether the net of a definition is fed class numbers, not light."""
    is_hd = definition.model_type == "Pix2PixHD"
    return is_hd and bool(whole(definition.raw, "label_nc", minimum=0))


def build(
    definition: ModelDefinition,
    arguments: TilingArguments,
    device: torch.device,
    reference: Reference = NO_REFERENCE,
) -> ModuleTranslator:
    """The generator, with its statistics or its classes.

    Raises:
        ModelError: weights, statistics or classes are missing, damaged or do not fit together.
    """
    del arguments  # these concern the tiles, not the net
    if definition.model_file is None:
        raise ModelError(f"{definition.name} names no model file.")
    net, plan = read_generator(part_of(load_state_dict(definition.model_file), "G."))
    if takes_labels(definition):
        full_scale = _FULL_SCALE if reference.compat is None else 1.0
        module: nn.Module = FromLabels(
            net,
            classes=_classes(definition, plan.bands),
            channels=plan.bands,
            full_scale=full_scale,
        )
        in_bands, bands_out, out_range = 1, plan.bands_out, (0.0, full_scale)
        multiple_of = math.lcm(plan.multiple_of, _LABEL_MULTIPLE_OF)
    else:
        source = domain_a(definition, plan.bands)
        if reference.compat is not None:
            source = as_in_reference(definition, source, definition.normalization.a)
        require_spread(source, definition.name)
        target = domain_b(definition, plan.bands_out)
        module = Rescaled(net, channels=plan.bands, source=source, target=target)
        in_bands, bands_out, out_range = source.raster_bands, len(target.used), target.span
        multiple_of = plan.multiple_of
    spec = TranslatorSpec(
        in_bands=in_bands,
        out_bands=bands_out,
        in_range=None,
        out_range=out_range,
        multiple_of=multiple_of,
        min_size=max(plan.min_size, multiple_of),
        receptive_field_px=plan.receptive_field_px,
    )
    return place(module, spec, device)


def read_generator(own: Mapping[str, Tensor]) -> tuple[nn.Module, HDPlan]:
    """The generator that a state dict (without "G.") belongs to, filled, and its sizes.

    Raises:
        ModelError: the weights are of no such net.
    """
    features, bands, *_ = shape_of(own, "model.1.weight", dimensions=4)
    enhancers = sum(re.fullmatch(r"model\d+_1\.1\.weight", name) is not None for name in own)
    prefix = f"model{enhancers}_2." if enhancers else "model."
    *_, image = sorted(
        int(match[1]) for name in own if (match := re.fullmatch(rf"{prefix}(\d+)\.weight", name))
    ) or [0]
    bands_out, *_ = shape_of(own, f"{prefix}{image}.weight", dimensions=4)
    # Between the first and the last layer, the trunk has as many doublings as halvings.
    scalings = _count(own, r"model\.\d+\.weight", dimensions=4) - (1 if enhancers else 2)
    plan = HDPlan(
        bands=bands,
        bands_out=bands_out,
        features=features >> enhancers,
        halvings=max(scalings, 0) // 2,
        blocks=_count(own, r"model\.\d+\.conv_block\.1\.weight"),
        enhancers=enhancers,
        local_blocks=_count(own, rf"model{enhancers}_2\.\d+\.conv_block\.1\.weight"),
        batch_norm="model.2.running_mean" in own,
    )
    with torch.device("meta"):
        net = LocalEnhancer(plan) if enhancers else GlobalGenerator(plan)
    fill(net, dict(own), what="The weights of the Pix2PixHD generator G")
    return net, plan


def _count(own: Mapping[str, Tensor], pattern: str, *, dimensions: int = 4) -> int:
    """Tensors of so many dimensions whose whole name fits the pattern."""
    return sum(
        tensor.ndim == dimensions and re.fullmatch(pattern, name) is not None
        for name, tensor in own.items()
    )


def _classes(definition: ModelDefinition, channels: int) -> tuple[float, ...]:
    """mask_map: the class values, at most one per channel of the net."""
    classes = number_list(definition.raw.get("mask_map"), "mask_map")
    if not classes or len(classes) > channels:
        raise ModelError(
            f"mask_map of {definition.name} lists {len(classes)} class values: a net for label "
            f"maps of {channels} channels needs 1 to {channels}."
        )
    return classes


def _norm(plan: HDPlan) -> Norm:
    return nn.BatchNorm2d if plan.batch_norm else nn.InstanceNorm2d


def _trunk(plan: HDPlan, features: int) -> list[nn.Module]:
    """All of a global generator but its last layers: (N, bands, H, W) -> (N, features, H, W)."""
    norm = _norm(plan)
    layers = _from_image(plan.bands, features, norm)
    for _ in range(plan.halvings):
        layers += _down(features, norm)
        features *= 2
    layers += [ResidualBlock(features, norm) for _ in range(plan.blocks)]
    for _ in range(plan.halvings):
        layers += _up(features, norm)
        features //= 2
    return layers


def _from_image(bands: int, features: int, norm: Norm) -> list[nn.Module]:
    return [
        nn.ReflectionPad2d(3),
        nn.Conv2d(bands, features, 7),
        norm(features),
        nn.ReLU(inplace=True),
    ]


def _down(inside: int, norm: Norm) -> list[nn.Module]:
    return [
        nn.Conv2d(inside, 2 * inside, 3, stride=2, padding=1),
        norm(2 * inside),
        nn.ReLU(inplace=True),
    ]


def _up(inside: int, norm: Norm) -> list[nn.Module]:
    return [
        nn.ConvTranspose2d(inside, inside // 2, 3, stride=2, padding=1, output_padding=1),
        norm(inside // 2),
        nn.ReLU(inplace=True),
    ]


def _to_image(features: int, bands_out: int) -> list[nn.Module]:
    return [nn.ReflectionPad2d(3), nn.Conv2d(features, bands_out, 7), nn.Tanh()]


def _halved(x: Tensor) -> Tensor:
    """Half the size: means of 3 x 3 pixels, of those that exist."""
    return functional.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
