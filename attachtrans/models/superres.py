"""The built-in super-resolution nets: `attachtrans.models.srnet` with its shipped weights."""

from __future__ import annotations

import torch

from attachtrans.errors import ModelError
from attachtrans.models import srnet
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.facts import read_facts
from attachtrans.models.module import NO_REFERENCE, ModuleTranslator, Reference
from attachtrans.models.translator import TranslatorSpec
from attachtrans.models.weights import fill, load_state_dict


def build(
    definition: ModelDefinition,
    arguments: TilingArguments,
    device: torch.device,
    reference: Reference = NO_REFERENCE,
) -> ModuleTranslator:
    """The net that a definition describes, with its weights.

    Raises:
        ModelError: the definition or the weights do not fit the family.
    """
    del arguments, reference  # the tiles' matter, and nothing to compare with
    if definition.model_file is None:
        raise ModelError(f"{definition.name} names no model file.")
    facts = read_facts(definition.raw)
    net = srnet.build(definition.raw)
    fill(net, load_state_dict(definition.model_file), what=f"The weights of {definition.name}")
    spec = TranslatorSpec(
        in_bands=srnet.BANDS,
        out_bands=srnet.BANDS,
        in_range=facts.in_range,
        out_range=facts.out_range,
        scale=srnet.SCALE,
        receptive_field_px=net.receptive_field_px,
    )
    return ModuleTranslator(module=net.to(device), spec=spec, device=device)
