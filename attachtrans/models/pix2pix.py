"""Pix2Pix as ArcGIS saves it: paired image translation by a U-Net.

The default generator is the U-Net of Isola et al. 2017 (arXiv 1611.07004): eight halvings by 4x4
convolutions, as many doublings, instance normalisation, tanh. With a backbone it is a
`attachtrans.models.dynamicunet` with batch normalisation and an unbounded result. Which one, and
its size, is read from the weights. Pixels are mapped as in CycleGAN
(`attachtrans.models.domains`), from domain A to domain B only.

The result of the default generator depends on the tile: normalisation takes its statistics there,
and the deepest layer sees all of it. That of a backbone does not, beyond its bounded reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from attachtrans.errors import ModelError
from attachtrans.models import dynamicunet
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.domains import Rescaled, domain_a, domain_b, require_spread
from attachtrans.models.module import NO_REFERENCE, ModuleTranslator, Reference, place
from attachtrans.models.translator import TranslatorSpec
from attachtrans.models.weights import fill, load_state_dict, part_of, shape_of

LEVELS = 8
MULTIPLE_OF = 2**LEVELS
"""What the default generator halves eight times."""


class Down(nn.Module):
    """Half the size: convolution, perhaps instance norm, leaky ReLU."""

    def __init__(self, inside: int, out: int, *, norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(inside, out, 4, stride=2, padding=1, bias=False)]
        if norm:
            layers.append(nn.InstanceNorm2d(out))
        self.model = nn.Sequential(*layers, nn.LeakyReLU(0.2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, out, H / 2, W / 2)."""
        out: Tensor = self.model(x)
        return out


class Up(nn.Module):
    """Twice the size: transposed convolution, instance norm, ReLU; then the skip as channels."""

    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.ConvTranspose2d(inside, out, 4, stride=2, padding=1, bias=False),
            nn.InstanceNorm2d(out),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, inside, H, W), (N, out, 2 H, 2 W) -> (N, 2 out, 2 H, 2 W)."""
        return torch.cat([self.model(x), skip], dim=1)


class UNet(nn.Module):
    """(N, bands, H, W) in -1..1 -> (N, bands_out, H, W) in -1..1; H and W multiples of 256.

    features    channels after each of the eight halvings
    """

    def __init__(self, bands: int, bands_out: int, features: Sequence[int]) -> None:
        super().__init__()
        inside = bands
        for level, out in enumerate(features, start=1):
            # The outermost layer is not normalised, and the innermost is one pixel, which cannot.
            self.add_module(f"down{level}", Down(inside, out, norm=1 < level < LEVELS))
            inside = out
        for level, out in enumerate(reversed(features[:-1]), start=1):
            self.add_module(f"up{level}", Up(inside, out))
            inside = 2 * out
        self.final = nn.Sequential(
            nn.Upsample(scale_factor=2),
            nn.ZeroPad2d((1, 0, 1, 0)),
            nn.Conv2d(inside, bands_out, 4, padding=1),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        seen = []
        y = x
        for level in range(1, LEVELS + 1):
            y = self.get_submodule(f"down{level}")(y)
            seen.append(y)
        seen.pop()
        for level in range(1, LEVELS):
            y = self.get_submodule(f"up{level}")(y, seen.pop())
        out: Tensor = self.final(y)
        return out


def build(
    definition: ModelDefinition,
    arguments: TilingArguments,
    device: torch.device,
    reference: Reference = NO_REFERENCE,
) -> ModuleTranslator:
    """The generator with its statistics.

    Raises:
        ModelError: weights or statistics are missing, damaged or do not fit together.
    """
    del arguments, reference  # the tiles' matter, and the same in every release since 2.0
    if definition.model_file is None:
        raise ModelError(f"{definition.name} names no model file.")
    own = part_of(load_state_dict(definition.model_file), "G.")
    what = "The weights of the Pix2Pix generator G"
    if "down1.model.0.weight" in own:
        net, bands, bands_out = _read_default(own, what)
        multiple_of, reach = MULTIPLE_OF, None
    else:
        net, plan = dynamicunet.read_unet(own, what=what)
        bands, bands_out = plan.encoder.bands, plan.bands_out
        multiple_of, reach = dynamicunet.MULTIPLE_OF, plan.receptive_field_px
    # The reference gives these nets all bands, whatever ExtractBands says.
    source = domain_a(definition, bands, extracts=False)
    require_spread(source, definition.name)
    target = domain_b(definition, bands_out)
    spec = TranslatorSpec(
        in_bands=source.raster_bands,
        out_bands=len(target.used),
        in_range=None,
        out_range=target.span,
        multiple_of=multiple_of,
        min_size=multiple_of,
        receptive_field_px=reach,
    )
    module = Rescaled(net, channels=bands, source=source, target=target)
    return place(module, spec, device)


def _read_default(own: Mapping[str, Tensor], what: str) -> tuple[nn.Module, int, int]:
    """(net, channels in, channels out), of the size that the weights show."""
    shapes = [
        shape_of(own, f"down{level}.model.0.weight", dimensions=4) for level in range(1, LEVELS + 1)
    ]
    bands = shapes[0][1]
    bands_out, *_ = shape_of(own, "final.2.weight", dimensions=4)
    with torch.device("meta"):
        net = UNet(bands, bands_out, [shape[0] for shape in shapes])
    return fill(net, dict(own), what=what), bands, bands_out
