"""ArcGIS super-resolution with ModelArch "UNet": a `attachtrans.models.dynamicunet` per tile.

The net maps width x height to the same: it repairs a photo that was enlarged before, bilinearly,
by the definition's downsample_factor (`ModelDefinition.enlarge`). RGB nets take ImageNet
statistics, multispectral ones the mean and standard deviation per band of image_stats (input) and
image_stats2 (result). The arithmetic is the same in all releases from 2.2 on; the reference gives
RGB as 0..1, which is kept under `compat` only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attachtrans.errors import ModelError
from attachtrans.models import dynamicunet
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.domains import column
from attachtrans.models.facts import number_list
from attachtrans.models.module import NO_REFERENCE, ModuleTranslator, Reference, place
from attachtrans.models.translator import TranslatorSpec
from attachtrans.models.weights import load_state_dict

_FULL_SCALE = 255.0
_RGB_MEAN = (0.485, 0.456, 0.406)
_RGB_DEVIATION = (0.229, 0.224, 0.225)
"""Of the images of ImageNet, as shares of full scale."""

Moments = tuple[tuple[float, ...], tuple[float, ...]]
"""(mean per band, standard deviation per band)."""


class Standardised(nn.Module):
    """A net in the units of its images: (x - mean) / deviation in, the reverse out."""

    mean: Tensor
    deviation: Tensor
    out_mean: Tensor
    out_deviation: Tensor

    def __init__(self, net: nn.Module, *, source: Moments, target: Moments) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", column(source[0]))
        self.register_buffer("deviation", column(source[1]))
        self.register_buffer("out_mean", column(target[0]))
        self.register_buffer("out_deviation", column(target[1]))

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, bands, H, W) in units of the source -> (N, bands, H, W) in units of the target."""
        y: Tensor = self.net((pixels - self.mean) / self.deviation)
        return y.float() * self.out_deviation + self.out_mean


def build(
    definition: ModelDefinition,
    arguments: TilingArguments,
    device: torch.device,
    reference: Reference = NO_REFERENCE,
) -> ModuleTranslator:
    """The net with its statistics.

    Raises:
        ModelError: weights or statistics are missing, damaged or do not fit together.
    """
    del arguments  # these concern the tiles, not the net
    if definition.model_file is None:
        raise ModelError(f"{definition.name} names no model file.")
    state = load_state_dict(definition.model_file)
    if any(name.startswith("denoise_fn.") for name in state):
        raise ModelError(
            f"The weights of {definition.name} are of a diffusion net: its ModelArch must be "
            '"SR3", "SR3_UViT" or "SR3_Wavelet".'
        )
    net, plan = dynamicunet.read_unet(state, what="The weights of the super-resolution net")
    bands, bands_out = plan.encoder.bands, plan.bands_out
    in_range = out_range = usual_range = None
    if definition.raw.get("is_multispec") or (bands, bands_out) != (3, 3):
        source = _moments(definition, "image_stats", bands)
        target = _moments(definition, "image_stats2", bands_out)
        usual_range = min(target[0]), max(target[0])
    elif reference.compat is None:
        source = target = _rgb(_FULL_SCALE)
        in_range = out_range = (0.0, _FULL_SCALE)
    else:
        source, target = _rgb(_FULL_SCALE), _rgb(1.0)
        out_range = (0.0, 1.0)
    spec = TranslatorSpec(
        in_bands=bands,
        out_bands=bands_out,
        in_range=in_range,
        out_range=out_range,
        usual_range=usual_range,
        multiple_of=dynamicunet.MULTIPLE_OF,
        min_size=dynamicunet.MULTIPLE_OF,
        receptive_field_px=plan.receptive_field_px,
    )
    return place(Standardised(net, source=source, target=target), spec, device)


def _rgb(full_scale: float) -> Moments:
    """ImageNet's moments for values of which `full_scale` is white."""
    return (
        tuple(value * full_scale for value in _RGB_MEAN),
        tuple(value * full_scale for value in _RGB_DEVIATION),
    )


def _moments(definition: ModelDefinition, key: str, bands: int) -> Moments:
    """image_stats or image_stats2 of a multispectral net: [[means], [standard deviations]]."""
    stats = definition.raw.get(key)
    if not isinstance(stats, list) or len(stats) != 2:
        raise ModelError(
            f"{key} of {definition.name} is {stats!r:.60}: a super-resolution net for {bands} "
            "bands needs [[mean per band], [standard deviation per band]] there."
        )
    means = number_list(stats[0], f"{key} (means)")
    deviations = number_list(stats[1], f"{key} (standard deviations)")
    if not len(means) == len(deviations) == bands or min(deviations) <= 0:
        raise ModelError(
            f"{key} of {definition.name} states {len(means)} means and {len(deviations)} standard "
            f"deviations: the net needs {bands} of each, the deviations above 0."
        )
    return means, deviations
