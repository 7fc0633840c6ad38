"""`load_model`: from a definition to a translator on a device."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from attachtrans.errors import ArgumentError, AttachtransError, ModelError
from attachtrans.models.arguments import Pairs, TilingArguments
from attachtrans.models.catalog import MODEL_TYPES
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.job import require_release, require_runnable, resolve_arguments
from attachtrans.models.module import NO_REFERENCE, LoadedModel, Reference, pick_device
from attachtrans.models.translator import Translator, TranslatorSpec

PRECISIONS = ("auto", "fp32", "bf16", "fp16")

_DAMAGED = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError)
"""What PyTorch raises where sizes that are read from damaged weights make no net."""

Builder = Callable[[ModelDefinition, TilingArguments, torch.device, Reference], LoadedModel]


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPrecision:
    """A translator that computes in one precision, whatever autocast is active around it."""

    inner: LoadedModel
    dtype: torch.dtype

    @property
    def spec(self) -> TranslatorSpec:
        """The spec of the net."""
        return self.inner.spec

    @property
    def device(self) -> torch.device:
        """The device of the net."""
        return self.inner.device

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return self.inner.parameters

    def __call__(self, batch: Tensor, positions: Tensor | None = None) -> Tensor:
        """See `Translator`."""
        mixed = self.dtype != torch.float32
        kind = self.device.type
        with torch.autocast(kind, dtype=self.dtype if mixed else None, enabled=mixed):
            return self.inner(batch, positions).float()


def load_model(
    definition: ModelDefinition | str | os.PathLike[str],
    *,
    arguments: TilingArguments | Pairs | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    compat: str | None = None,
    noise: Iterable[Tensor] | None = None,
    trust_code: bool = False,
) -> Translator:
    """Load the weights of a model and give it as a translator.

    Args:
        definition: a `ModelDefinition`, or what `ModelDefinition.read` takes.
        arguments: from `resolve_arguments`, or NAME, VALUE pairs; None = the defaults.
        device: "auto", "cpu", "cuda", "cuda:N", "mps" or a torch device.
        precision: "auto" leaves it to the caller of the translator; "fp32", "bf16" and "fp16" are
            kept whatever the caller does.
        compat: the release of arcgis.learn whose units and rules are wanted, defects included,
            for checking; None = ours. For the ArcGIS types only; CycleGAN computes the same in
            all releases.
        noise: recorded draws in order, each (N, channels, H, W), for checking diffusion nets.
        trust_code: whether Python code that comes with a model may run (raster functions), in a
            process of its own that ends with the translator. No sandbox: it may do whatever its
            user may do. `precision` is the code's own matter.

    Raises:
        ArgumentError: a parameter or an argument that is not allowed, or a device that is not here.
        UntrustedModelError: loading it would run code.
        ModelError: the definition or the weights are wrong.
    """
    _require_one_of("precision", precision, PRECISIONS)
    if not isinstance(definition, ModelDefinition):
        definition = ModelDefinition.read(definition)
    require_runnable(definition, trust_code=trust_code)
    if compat is not None:
        require_release(definition, compat)
    if noise is not None and not MODEL_TYPES[definition.model_type].draws_noise:
        raise ArgumentError(f"noise: models of the type {definition.model_type} draw none.")
    if not isinstance(arguments, TilingArguments):
        arguments = resolve_arguments(definition, arguments or (), trust_code=trust_code)
    model = build(definition, arguments, device, Reference(compat=compat, noise=noise))
    if precision == "auto" or MODEL_TYPES[definition.model_type].runs_code:
        return model
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return FixedPrecision(inner=model, dtype=dtypes[precision])


def build(
    definition: ModelDefinition,
    arguments: TilingArguments,
    device: str | torch.device,
    reference: Reference = NO_REFERENCE,
) -> LoadedModel:
    """The translator of a definition whose type is run, in the caller's precision.

    Raises:
        ArgumentError: the device is not here.
        ModelError: the weights are wrong.
    """
    module, _, function = MODEL_TYPES[definition.model_type].builder.partition(":")
    builder = cast(Builder, getattr(importlib.import_module(module), function))
    place = pick_device(device)
    try:
        return builder(definition, arguments, place, reference)
    except AttachtransError:
        raise
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"{definition.name} does not fit into the memory of the device {place}: {error}"
        ) from error
    except _DAMAGED as error:
        raise ModelError(
            f"{definition.name} cannot be built from its definition and its weights: {error!s:.300}"
        ) from error


def _require_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ArgumentError(f'{name} is "{value}": it must be one of {", ".join(allowed)}.')
