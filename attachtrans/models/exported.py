"""Exported programs (.pt2 of torch.export.save): nets as graphs of PyTorch operators."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from attachtrans.errors import ModelError
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.exportedfile import ExportedFile, dtype_of, read_exported
from attachtrans.models.facts import (
    MAX_INPUT_VALUES,
    StatedFacts,
    read_facts,
    read_inputs,
    with_unbounded_reach,
)
from attachtrans.models.module import NO_REFERENCE, ModuleTranslator, Reference
from attachtrans.models.package import FileRef
from attachtrans.models.probe import complete_spec
from attachtrans.models.program import Program, read_program
from attachtrans.models.torchscript import first_image

_WARPS = ("torch.ops.aten.grid_sampler", "torch.ops.aten.affine_grid_generator")


class Exported(nn.Module):
    """A graph of operators with its weights, as a module.

    program     the steps
    image       name of the input that takes the pictures
    dtype       the type in which it takes them
    """

    def __init__(
        self,
        file: ExportedFile,
        program: Program,
        sources: Mapping[str, str],
        image: str,
        others: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        self.program = program
        self.image = image
        self.dtype = dtype_of(file.graph["tensor_values"][image]["dtype"])
        self._places: dict[str, str] = {}
        placed: dict[int, str] = {}
        for name, key in sources.items():
            tensor = file.tensors[key]
            place = placed.setdefault(id(tensor), f"tensor{len(placed)}")
            self._places[name] = place
            if hasattr(self, place):
                continue  # tied weights
            if key in file.trained:
                self.register_parameter(place, nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(place, tensor)
        for name, tensor in others.items():
            self._places[name] = f"input{len(self._places)}"
            self.register_buffer(self._places[name], tensor)

    def forward(self, batch: Tensor) -> Tensor:
        """(N, bands, H, W) in the net's units -> the net's result, the first image if several."""
        values: dict[str, Any] = {name: getattr(self, at) for name, at in self._places.items()}
        values[self.image] = _as_type(batch, self.dtype)
        return first_image(self.program.run(values, batch.device))


def build(
    definition: ModelDefinition,
    arguments: TilingArguments,
    device: torch.device,
    reference: Reference = NO_REFERENCE,
) -> ModuleTranslator:
    """The net of an exported program, with the facts of its definition or measured ones.

    A size that was not exported as dynamic is fixed.

    Raises:
        UntrustedModelError: it would do more than compute.
        ModelError: it cannot be loaded, or contradicts its definition.
    """
    del arguments, reference  # the tiles' matter, and nothing to compare with
    if definition.model_file is None:
        raise ModelError(f"{definition.name} names no model file.")
    file = read_exported(definition.model_file)
    try:
        net = _net(file, definition.model_file, read_inputs(definition.raw))
        facts = _with_sizes(read_facts(definition.raw), file, net.image)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{definition.model_file} is not laid out as an exported program: {error!s:.200}"
        ) from error
    if any(step.operator.startswith(_WARPS) for step in net.program.steps):
        facts = with_unbounded_reach(facts)
    weights = sum(parameter.numel() for parameter in net.parameters())
    spec = complete_spec(facts, net, weights=weights)
    return ModuleTranslator(module=net.to(device), spec=spec, device=device)


def _net(file: ExportedFile, where: FileRef, inputs: Mapping[str, tuple[float, ...]]) -> Exported:
    sources, images = _inputs(file, where)
    results: list[str] = []
    for entry in file.signature["output_specs"]:
        ((kind, spec),) = entry.items()
        if kind != "user_output":
            raise ModelError(
                f"{where} changes its own state ({kind}): call .eval() of the net before "
                "torch.export.export."
            )
        if "as_tensor" in spec["arg"]:
            results.append(spec["arg"]["as_tensor"]["name"])
    lacking = sorted(set(sources.values()) - set(file.tensors))
    if lacking:
        raise ModelError(f"{where} lacks the weights {', '.join(lacking)[:200]}: it is damaged.")
    free = [name for name in images if name not in inputs]
    if len(free) != 1 or not set(inputs) <= set(images):
        raise ModelError(
            f"{where} takes the inputs {', '.join(images)}: state all but the image in the model "
            'definition (.emd), for example "Inputs": {"strength": 0.5}.'
        )
    others = {name: _constant(file, name, values) for name, values in inputs.items()}
    program = read_program(file.graph, results, frozenset((*sources, *others)))
    return Exported(file, program, sources, free[0], others)


def _inputs(file: ExportedFile, where: FileRef) -> tuple[dict[str, str], list[str]]:
    """Names of the weights by the names of their inputs, and the inputs that are given."""
    sources: dict[str, str] = {}
    images: list[str] = []
    for entry in file.signature["input_specs"]:
        ((kind, spec),) = entry.items()
        match kind:
            case "parameter" | "buffer" | "tensor_constant":
                sources[spec["arg"]["name"]] = spec[f"{kind}_name"]
            case "user_input" if "as_tensor" in spec["arg"]:
                images.append(spec["arg"]["as_tensor"]["name"])
            case "user_input" | "constant_input":
                pass  # a number that the graph has taken in already
            case _:
                raise ModelError(f"{where} has an input of the kind {kind}, which is not run.")
    return sources, images


def _constant(file: ExportedFile, name: str, values: tuple[float, ...]) -> Tensor:
    """Stated numbers as an input; one number fills an input of any fixed shape."""
    meta = file.graph["tensor_values"][name]
    dtype = dtype_of(meta["dtype"])
    shape = [entry.get("as_int") for entry in meta["sizes"]]
    count = -1 if None in shape else math.prod(shape)
    if not 0 <= count <= MAX_INPUT_VALUES or len(values) not in (1, count):
        raise ModelError(
            f"The input {name} of the exported program has the shape {shape}, which the "
            f"{len(values)} numbers of Inputs.{name} in the model definition cannot fill."
        )
    numbers = values * count if len(values) == 1 else values
    return torch.tensor(numbers, dtype=dtype).reshape(shape)


def _with_sizes(facts: StatedFacts, file: ExportedFile, image: str) -> StatedFacts:
    """The facts with what the file itself fixes, where the definition says nothing."""
    sizes = [entry.get("as_int") for entry in file.graph["tensor_values"][image]["sizes"]]
    if len(sizes) != 4:
        raise ModelError(f"The exported program takes {len(sizes)} dimensions, not a batch of 4.")
    batch, bands, height, width = sizes
    size = None if height is None or width is None else (width, height)
    own = {"fixed_batch": batch, "in_bands": bands, "fixed_size": size}
    for name, held in own.items():
        stated = getattr(facts, name)
        if None not in (stated, held) and stated != held:
            raise ModelError(
                f"The model definition states {stated} as its {name.replace('_', ' ')}, but the "
                f"file was exported for {held}."
            )
    known = {name: held for name, held in own.items() if held is not None}
    return dataclasses.replace(facts, **known)


def _as_type(batch: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype.is_floating_point:
        return batch.to(dtype)
    limits = torch.iinfo(dtype)
    return batch.round().clamp(limits.min, limits.max).to(dtype)
