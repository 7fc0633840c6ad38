"""SR3, SR3_UViT and SR3_Wavelet: super-resolution by diffusion, as ArcGIS saves it.

A net is told what the picture is to look like (the enlarged photo, scaled to -1..1), and turns
noise into a picture in many steps (`attachtrans.models.sampling`). Width and height stay; enlarging
is done before. Keys, scaling and schedules follow arcgis.learn 2.2 to 2.4.4.

Releases differ in how steps and schedule follow from the arguments. Ours is what each got right:
ddim takes `n_timestep` evenly spread steps of the training schedule (releases up to 2.4.3), ddpm
takes all of it (2.4.4), or as many of them as asked for. Under `compat` it is the release's rule.

Noise belongs to places in the image (`attachtrans.models.noise`), so tiles agree on it; group
normalisation and attention nevertheless make the result depend on the tile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from attachtrans.errors import ArgumentError, ModelError
from attachtrans.models.arguments import DiffusionArguments, TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.diffusion import DiffusionNet
from attachtrans.models.domains import column
from attachtrans.models.module import NO_REFERENCE, Reference
from attachtrans.models.noise import Noise, PlaceNoise, RecordedNoise
from attachtrans.models.release import learn_version
from attachtrans.models.sampling import Step
from attachtrans.models.sr3_facts import EIGHT_BITS, BandRange, Facts, plan_steps, read_facts
from attachtrans.models.sr3_unet import unet_like
from attachtrans.models.sr3_uvit import uvit_like
from attachtrans.models.sr3_wavelet import wavelet_like
from attachtrans.models.translator import TranslatorSpec
from attachtrans.models.weights import fill, load_state_dict

_SWAPPED = (2, 4, 4)
"""First release in which the patch embeddings of SR3_UViT changed places."""

_BUFFERS = frozenset(
    {
        "betas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
    }
)
"""The schedule that was set last, whatever it was: computed anew from the definition."""

_FILTERS = ("xfm.", "ifm.")
"""Constant coefficients of the Haar transform."""

_SHARPER = 0.3
_SHARPEN_REACH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """From source units to -1..1, and from -1..1 to target units; each (1, C, 1, 1) float32."""

    low: Tensor
    gain: Tensor
    out_low: Tensor
    out_gain: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionTranslator:
    """A diffusion net with its schedule, as a `StepwiseTranslator`.

    sharpens    whether each tile is sharpened at the end, as arcgis.learn 2.4.4 does
    """

    net: DiffusionNet
    spec: TranslatorSpec
    device: torch.device
    units: Units
    steps: tuple[Step, ...]
    noise: Noise
    sharpens: bool

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.net.parameters())

    @property
    def step_count(self) -> int:
        """How often the net is run for a tile."""
        return len(self.steps)

    @property
    def latent_step(self) -> int:
        """See `StepwiseTranslator`."""
        return self.net.latent_step

    def __call__(self, batch: Tensor, positions: Tensor | None = None) -> Tensor:
        """See `Translator`. Without positions every tile is taken to lie at (0, 0)."""
        if positions is None:
            positions = torch.zeros(len(batch), 2, dtype=torch.int64, device=self.device)
        condition = self.condition(batch)
        latent = self.begin(condition, positions)
        for number in range(self.step_count):
            latent = self.advance(number, latent, condition, positions)
        return self.finish(latent, condition)

    def condition(self, batch: Tensor) -> Tensor:
        """See `StepwiseTranslator`."""
        scaled = (batch.float() - self.units.low) * self.units.gain - 1
        return self.net.encode(scaled)

    def begin(self, condition: Tensor, positions: Tensor) -> Tensor:
        """See `StepwiseTranslator`; of the condition's shape."""
        return self.noise.draw(0, condition.shape, positions // self.latent_step)

    def advance(self, number: int, latent: Tensor, condition: Tensor, positions: Tensor) -> Tensor:
        """See `StepwiseTranslator`."""
        step = self.steps[number]
        level = torch.full((1, 1), step.level, device=latent.device)
        found = self.net(condition, latent, level).float()
        if step.skips:
            self.noise.skip()
        fresh = None
        if step.draws:
            fresh = self.noise.draw(number + 1, latent.shape, positions // self.latent_step)
        return step.next_latent(latent, found, fresh)

    def finish(self, latent: Tensor, condition: Tensor) -> Tensor:
        """See `StepwiseTranslator`."""
        pixels = (self.net.decode(latent, condition) + 1) * self.units.out_gain + self.units.out_low
        return _sharpened(pixels) if self.sharpens else pixels


def build(
    definition: ModelDefinition,
    arguments: TilingArguments,
    device: torch.device,
    reference: Reference = NO_REFERENCE,
) -> DiffusionTranslator:
    """The net of a definition, with its schedule and statistics.

    Raises:
        ModelError: weights, statistics or Kwargs are missing, damaged or do not fit together.
        ArgumentError: arguments of another model type, more steps than the training had, or a
            release that did not know the type.
    """
    if not isinstance(arguments, DiffusionArguments):
        raise ArgumentError(
            f"{definition.model_type} models take DiffusionArguments, not {type(arguments)}."
        )
    if definition.model_file is None:
        raise ModelError(f"{definition.name} names no model file.")
    state = load_state_dict(definition.model_file)
    arch = _architecture(state, definition)
    if arch == "SR3_Wavelet" and reference.compat == "arcgis-2.4.2":
        raise ArgumentError('compat is "arcgis-2.4.2", which did not know SR3_Wavelet models.')
    facts = read_facts(definition.raw, arch)
    net = load_net(definition, facts, reference, state)
    steps = plan_steps(
        facts, arguments, compat=reference.compat, full_variance=arch == "SR3_Wavelet"
    )
    draws = reference.noise
    eight_bits = not facts.multispectral and net.bands == 3
    source = _per_band(None if eight_bits else facts.source, net.bands)
    target = _per_band(facts.target, net.bands)
    low, high = _span(target)
    fitting = EIGHT_BITS[0] <= low and high <= EIGHT_BITS[1]
    return DiffusionTranslator(
        net=net.to(device),
        spec=_spec(net, target, photos=eight_bits and fitting and reference.compat is None),
        device=device,
        units=_units(source, target, device),
        steps=steps,
        noise=PlaceNoise(arguments.seed) if draws is None else RecordedNoise(draws),
        sharpens=reference.compat == "arcgis-2.4.4",
    )


def load_net(
    definition: ModelDefinition, facts: Facts, reference: Reference, state: Mapping[str, Tensor]
) -> DiffusionNet:
    """The net that the weights show, filled with them (it may be on the meta device, like them).

    Raises:
        ModelError: they are no weights of such a net, or not those alone.
    """
    arch = _architecture(state, definition)
    own = {
        name: tensor
        for name, tensor in state.items()
        if name not in _BUFFERS and not name.startswith(_FILTERS)
    }
    net: DiffusionNet
    if arch == "SR3_Wavelet":
        net = wavelet_like(own, groups=facts.norm_groups)
    else:
        # What has another prefix stays as it is, and is refused when the net is filled.
        own = {name.removeprefix("denoise_fn."): tensor for name, tensor in own.items()}
        if arch == "SR3_UViT":
            if reference.compat is None:
                swapped = learn_version(definition.raw) >= _SWAPPED
            else:
                swapped = reference.compat == "arcgis-2.4.4"
            net = uvit_like(own, heads=facts.num_heads, condition_first=swapped)
            if definition.tile_size not in (None, net.edge):
                raise ModelError(
                    f"ImageHeight of {definition.name} is {definition.tile_size}, but its weights "
                    f"are for tiles of {net.edge} pixels."
                )
        else:
            net = unet_like(own, groups=facts.norm_groups)
    fill(net, own, what=f"The weights of {definition.name}")
    return net


def _architecture(state: Mapping[str, Tensor], definition: ModelDefinition) -> str:
    """The ModelArch of the weights, whatever the definition says; its own where they show none.

    Raises:
        ModelError: they are of the super-resolution U-Net, which takes other arguments.
    """
    if "layers.0.0.weight" in state:
        raise ModelError(
            f'The weights of {definition.name} are of a U-Net: its ModelArch must be "UNet", not '
            f'"{definition.model_type}".'
        )
    if "dwsr.convs.0.weight" in state:
        return "SR3_Wavelet"
    if "denoise_fn.patch_embedx.proj.weight" in state:
        return "SR3_UViT"
    return "SR3" if "denoise_fn.downs.0.weight" in state else definition.model_type


def _spec(net: DiffusionNet, target: tuple[BandRange, ...], *, photos: bool) -> TranslatorSpec:
    """What the engine knows; `photos`: values are brought to 0..255, else they go in as are."""
    multiple = net.multiple_of
    # One value per group has no statistics, and sharpening reflects by its reach.
    least = max(2 * multiple, _SHARPEN_REACH + 1)
    return TranslatorSpec(
        in_bands=net.bands,
        out_bands=net.bands,
        in_range=EIGHT_BITS if photos else None,
        # A photo's values mean the same in the result, so a narrower range is not stretched.
        out_range=EIGHT_BITS if photos else _span(target),
        multiple_of=multiple,
        min_size=net.edge or -(-least // multiple) * multiple,
        fixed_size=None if net.edge is None else (net.edge, net.edge),
        receptive_field_px=None,
        no_stages="it is a diffusion net: at each of many steps it looks at all of a tile",
    )


def _span(ranges: tuple[BandRange, ...]) -> BandRange:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _units(
    source: tuple[BandRange, ...], target: tuple[BandRange, ...], device: torch.device
) -> Units:
    return Units(
        low=column([low for low, _ in source]).to(device),
        gain=column([2 / (high - low) for low, high in source]).to(device),
        out_low=column([low for low, _ in target]).to(device),
        out_gain=column([(high - low) / 2 for low, high in target]).to(device),
    )


def _per_band(ranges: tuple[BandRange, ...] | None, bands: int) -> tuple[BandRange, ...]:
    """One range per band: 0..255 where none is known, the last one for further bands."""
    known = ranges or (EIGHT_BITS,)
    return (known + known[-1:] * (bands - len(known)))[:bands]


def _sharpened(pixels: Tensor) -> Tensor:
    """An unsharp mask, kept within the range of each band of each tile; (N, C, H, W)."""
    offsets = torch.arange(-_SHARPEN_REACH, _SHARPEN_REACH + 1, device=pixels.device)
    bell = torch.exp(-offsets.float().square() / 2)
    bell = (bell / bell.sum()).reshape(1, 1, 1, -1)
    planes = pixels.flatten(0, 1).unsqueeze(1)
    smooth = functional.pad(planes, (_SHARPEN_REACH,) * 4, mode="reflect")
    smooth = functional.conv2d(functional.conv2d(smooth, bell), bell.transpose(2, 3))
    sharper = (planes + _SHARPER * (planes - smooth)).reshape(pixels.shape)
    low, high = pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)
    return torch.minimum(torch.maximum(sharper, low), high)
