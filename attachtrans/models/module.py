"""What a builder gives: a translator on a device, with what `info` wants to know of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from attachtrans.errors import ArgumentError
from attachtrans.models.stages import with_stages
from attachtrans.models.translator import TranslatorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a model is to be compared with, number by number.

    compat  the release of arcgis.learn whose units and rules are wanted, defects included
            ("arcgis-2.4.4" or "arcgis-2.4.2"); None = ours
    noise   recorded draws in order, each (N, channels, H, W), for diffusion nets; None = drawn
    """

    compat: str | None = None
    noise: Iterable[Tensor] | None = None


NO_REFERENCE = Reference()

_NORMS = (nn.InstanceNorm2d, nn.GroupNorm, nn.BatchNorm2d)
"""Layers that keep a net in torch's own layout on CUDA: instance and group normalisation know no
other, and turning values over between layers costs more than convolutions gain. Measured on an
H100: CycleGAN takes 1.20 times as long with weights in channels_last, in bf16 1.34 times; nets with
a resnet34 1.12; none is faster.
"""


class LoadedModel(Protocol):
    """A `Translator` that knows its device and its number of parameters."""

    @property
    def spec(self) -> TranslatorSpec:
        """What the engine knows of the net."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the net is; batches must be there."""
        ...

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        ...

    def __call__(self, batch: Tensor, positions: Tensor | None = None) -> Tensor:
        """See `Translator`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleTranslator:
    """A torch module as a translator; one that draws no noise, so positions do not matter."""

    module: nn.Module
    spec: TranslatorSpec
    device: torch.device

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def compiled(self) -> ModuleTranslator:
        """See `CompilableTranslator`. Each shape of a batch is compiled by itself.

        Raises:
            ArgumentError: a TorchScript program, which torch leaves as it is.
        """
        if any(isinstance(part, torch.jit.ScriptModule) for part in self.module.modules()):
            raise ArgumentError(
                "--compile: a TorchScript file brings its own compiler: leave --compile out"
            )
        module = cast(nn.Module, torch.compile(self.module, dynamic=False))
        return dataclasses.replace(self, module=module)

    def __call__(self, batch: Tensor, positions: Tensor | None = None) -> Tensor:
        """See `Translator`. A uint8 batch is taken as 8-bit pixels, whatever the range."""
        del positions
        out: Tensor = self.module(as_float(batch, self.spec.in_range))
        return out.float()


def place(module: nn.Module, spec: TranslatorSpec, device: torch.device) -> ModuleTranslator:
    """A module of convolutions on a device, in the memory layout that suits it there.

    The spec gets the net's stages, where it has them.
    """
    if device.type == "cuda" and not any(isinstance(part, _NORMS) for part in module.modules()):
        # Tensor cores want this layout; on the CPU it gains nothing for these nets (measured).
        nn.utils.convert_conv2d_weight_memory_format(module, torch.channels_last)
    module = module.to(device)
    return ModuleTranslator(module=module, spec=with_stages(spec, module), device=device)


def as_float(batch: Tensor, in_range: tuple[float, float] | None) -> Tensor:
    """A batch as the net wants it: float32 as it is, 8-bit pixels mapped to `in_range`."""
    values = batch.float()
    if batch.dtype != torch.uint8 or in_range is None or in_range == (0, 255):
        return values
    low, high = in_range
    return values * ((high - low) / 255) + low


def pick_device(name: str | torch.device) -> torch.device:
    """The torch device for "auto", "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        ArgumentError: no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ArgumentError(
            f'--device {name} is not known: use "auto", "cpu", "cuda", "cuda:N" or "mps".'
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ArgumentError(
            f"--device {name} is not here: torch sees {torch.cuda.device_count()} CUDA devices."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ArgumentError("--device mps is not here: torch sees no Apple GPU.")
    return device
