"""Upscaler and restoration checkpoints (ESRGAN, SwinIR, SPAN and some 35 more), by spandrel.

spandrel (MIT, https://github.com/chaiNNer-org/spandrel, the extra `attachtrans[upscalers]`) tells
the architecture of a state dict and builds its net. The weights are read by
`attachtrans.models.checkpoint`, never by spandrel. Values are 0..1 in and out; results are clamped
to that, as spandrel does.

spandrel imports three functions of torchvision, for two architectures that attachtrans refuses
anyway. Where torchvision cannot be imported, stand-ins that only raise take their place while
spandrel is imported.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from attachtrans.errors import ModelError
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.checkpoint import read_checkpoint
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.facts import StatedFacts, read_facts
from attachtrans.models.module import NO_REFERENCE, ModuleTranslator, Reference, place
from attachtrans.models.package import FileRef
from attachtrans.models.probe import complete_spec

RANGE = (0.0, 1.0)
"""Of the values that every net of spandrel takes and gives."""

_TORCHVISION = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
_IMPORTED_NAMES = ("InterpolationMode", "normalize", "rotate")
_importing = threading.Lock()

_SQUARE = 256
"""Side of the tiles of nets that take only squares, unless they need more."""

_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
_MAX_LAYER = 4096
_SPARE_VALUES = 1 << 26
"""Room for tables and masks that are no weights."""


class Upscaler(nn.Module):
    """A net of spandrel, called by its descriptor, which knows how."""

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.model = descriptor.model
        self.descriptor = descriptor

    def forward(self, batch: Tensor) -> Tensor:
        """(N, bands, H, W) in 0..1 -> (N, bands, scale * H, scale * W) in 0..1."""
        out: Tensor = self.descriptor(batch.clone())  # some nets change their input
        return out


def architecture_of(state: Mapping[str, Tensor]) -> str | None:
    """What spandrel calls the architecture of a state dict; None: unknown, or no spandrel here."""
    try:
        spandrel = _import_spandrel()
    except ModelError:
        return None
    support = _support(spandrel, state)
    return None if support is None else str(support.architecture.name)


def build(
    definition: ModelDefinition,
    arguments: TilingArguments,
    device: torch.device,
    reference: Reference = NO_REFERENCE,
) -> ModuleTranslator:
    """The net of a checkpoint that spandrel knows.

    Sizes and bands are spandrel's and are checked by running the net; the reach is measured where
    spandrel does not advise against tiles.

    Raises:
        ModelError: spandrel is missing or does not know the weights; they do not fit their
            architecture; the net needs more than a photo (a mask, an aligned face), or gives
            another result each time.
    """
    del arguments, reference  # the tiles' matter, and nothing to compare with
    if definition.model_file is None:
        raise ModelError(f"{definition.name} names no model file.")
    stated = read_facts(definition.raw)
    if (stated.in_range, stated.out_range) != (RANGE, RANGE):
        raise ModelError(
            f"{definition.name}: upscalers take and give values of 0..1, so InputRange and "
            "OutputRange must be [0, 1]."
        )
    with warnings.catch_warnings():
        # What PyTorch thinks of the code in spandrel helps no user of a model.
        warnings.simplefilter("ignore")
        descriptor = _descriptor(definition.model_file)
        module = Upscaler(descriptor).float().eval().requires_grad_(requires_grad=False)
        _require_repeatable(module, descriptor, definition.name)
        weights = sum(parameter.numel() for parameter in module.parameters())
        spec = complete_spec(_facts(stated, descriptor), module, weights=weights)
    return place(module, spec, device)


def _descriptor(file: FileRef) -> Any:
    """The descriptor that spandrel makes of the net in a file.

    Raises:
        ModelError: see `build`.
    """
    spandrel = _import_spandrel()
    state = read_checkpoint(file)
    support = _support(spandrel, state)
    if support is None:
        raise ModelError(
            f"{file} holds weights of a net that spandrel does not know: export the net to "
            "TorchScript or ONNX."
        )
    architecture = support.architecture
    try:
        with _Bounded(_SPARE_VALUES + 2 * sum(tensor.numel() for tensor in state.values())):
            descriptor = architecture.load(state)
    except ModelError:
        raise
    except Exception as error:  # spandrel asserts, indexes and divides by what it finds
        raise ModelError(
            f"{file} looks like weights of {architecture.name}, but they do not fit that net: "
            f"{type(error).__name__}: {error!s:.300}"
        ) from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise ModelError(
            f"{file} is {architecture.name}, which fills in what a mask hides: attachtrans has no "
            "mask to give it."
        )
    if descriptor.purpose == "FaceSR":
        raise ModelError(
            f"{file} is {architecture.name}, which restores aligned pictures of one face, not "
            "photos: refused."
        )
    return descriptor


def _support(spandrel: Any, state: Mapping[str, Tensor]) -> Any | None:
    """The entry of spandrel's registry that knows a state dict.

    Raises:
        ModelError: the names count layers that no net has; spandrel would build them all.
    """
    numbers = (found for name in state for found in _NUMBER.findall(name))
    if any(len(number) > 4 or int(number) > _MAX_LAYER for number in numbers):
        raise ModelError(f"The weights name layers beyond the number {_MAX_LAYER}: refused.")
    entries = spandrel.MAIN_REGISTRY.architectures("detection")
    return next((entry for entry in entries if entry.detect(state)), None)


def _facts(stated: StatedFacts, descriptor: Any) -> StatedFacts:
    """What spandrel says of a net, under what the definition states."""
    sizes = descriptor.size_requirements
    side = -(-max(sizes.minimum, _SQUARE) // sizes.multiple_of) * sizes.multiple_of
    tiles_suit = descriptor.tiling.name == "SUPPORTED"
    return StatedFacts(
        in_range=RANGE,
        out_range=RANGE,
        in_bands=descriptor.input_channels,
        out_bands=descriptor.output_channels,
        scale=float(descriptor.scale),
        margin_px=0,
        multiple_of=sizes.multiple_of,
        min_size=stated.min_size or sizes.minimum or None,
        fixed_size=(side, side) if sizes.square else stated.fixed_size,
        fixed_batch=stated.fixed_batch,
        receptive_field_px=stated.receptive_field_px if tiles_suit else "global",
    )


def _require_repeatable(module: nn.Module, descriptor: Any, name: str) -> None:
    """Refuse nets that draw noise: neighbouring tiles would not fit together.

    Raises:
        ModelError: two runs on one picture differ.
    """
    sizes = descriptor.size_requirements
    side = -(-max(sizes.minimum, 32) // sizes.multiple_of) * sizes.multiple_of
    image = torch.rand(
        1, descriptor.input_channels, side, side, generator=torch.Generator().manual_seed(0)
    )
    try:
        first, second = module(image), module(image)
    except Exception as error:  # a net may raise anything
        raise ModelError(f"{name} does not run: {type(error).__name__}: {error!s:.300}") from error
    if not torch.allclose(first, second, atol=1e-4, equal_nan=True):
        raise ModelError(
            f"{name} is {descriptor.architecture.name}, which draws noise: its result differs from "
            "run to run and from tile to tile, so it is refused."
        )


class _Bounded(TorchFunctionMode):
    """Refuses, before it is allocated, a net that is much larger than the weights for it."""

    def __init__(self, values: int) -> None:
        super().__init__()
        self.values_left = values

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        keywords = kwargs or {}
        if func in _MAKERS:
            first = keywords.get("size", args[0] if args else ())
            size = first if isinstance(first, tuple | list) else args
            self.values_left -= math.prod(each for each in size if isinstance(each, int))
            if self.values_left < 0:
                raise ModelError(
                    "The weights describe a net that is much larger than they are: refused."
                )
        return func(*args, **keywords)


_MAKERS = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)


def _import_spandrel() -> Any:
    """The module spandrel.

    Raises:
        ModelError: it is not installed.
    """
    with _importing:
        try:
            return importlib.import_module("spandrel")
        except Exception as error:  # a torchvision of another torch raises what it likes
            if not _is_there("spandrel"):
                raise ModelError(
                    "Upscaler checkpoints need spandrel: pip install attachtrans[upscalers] (or, "
                    "without torchvision: pip install --no-deps spandrel einops)."
                ) from error
        with _stand_ins():
            return importlib.import_module("spandrel")


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    """Empty modules in the place of a torchvision that cannot be imported."""

    def missing(*args: object, **keywords: object) -> NoReturn:
        del args, keywords
        raise ModelError("This net needs torchvision, which cannot be imported here.")

    before = {name: sys.modules.get(name) for name in _TORCHVISION}
    modules = {name: ModuleType(name) for name in _TORCHVISION}
    for name in _IMPORTED_NAMES:
        setattr(modules[_TORCHVISION[-1]], name, missing)
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
