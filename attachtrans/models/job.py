"""A model with its arguments: whether it is run, with what values, and by what name a job goes."""

from __future__ import annotations

import dataclasses
import hashlib

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.arguments import Pairs, TilingArguments, parse, pixel_values
from attachtrans.models.catalog import MODEL_TYPES, NOT_YET
from attachtrans.models.definition import SCRIPT_TYPE, ModelDefinition, canonical_json


def require_runnable(definition: ModelDefinition, *, trust_code: bool = False) -> None:
    """Raise when the type of `definition` is not run by this release.

    Raises:
        UntrustedModelError: it would run Python code of its own.
        ModelError: it is recognised but not run yet, or not known.
    """
    kind = definition.model_type
    if kind in MODEL_TYPES:
        return
    runs = f"attachtrans runs: {', '.join(MODEL_TYPES)}."
    if kind == SCRIPT_TYPE:
        script = definition.raw.get("InferenceFunction")
        advice = (
            "This release cannot run such scripts, trusted or not."
            if trust_code
            else "Such scripts are refused; a later release will offer --trust-code for them."
        )
        raise UntrustedModelError(
            f"{definition.name} runs Python code of its own (InferenceFunction {script!r:.100}). "
            f"{advice} {runs}"
        )
    if kind in NOT_YET:
        raise ModelError(
            f"{definition.name} is of the type {kind} ({NOT_YET[kind]}), which this release "
            f"recognises but does not run yet. {runs}"
        )
    raise ModelError(f'{definition.name} is of the unknown type "{kind:.60}". {runs}')


def resolve_arguments(definition: ModelDefinition, pairs: Pairs = ()) -> TilingArguments:
    """Typed arguments from NAME, VALUE pairs; None stands for the engine's rule.

    `tile_size` defaults to the training size for the types whose result depends on the tile.

    Raises:
        ArgumentError: a name or a value that the model type does not take.
        ModelError: the model type is not run.
    """
    require_runnable(definition)
    model_type = MODEL_TYPES[definition.model_type]
    arguments = parse(model_type.arguments, pairs, model_type=definition.model_type)
    if model_type.tile_is_trained and arguments.tile_size is None:
        return dataclasses.replace(arguments, tile_size=definition.tile_size)
    return arguments


def job_fingerprint(definition: ModelDefinition, arguments: TilingArguments) -> str:
    """SHA-256 (hex) of the model and of the arguments that change pixels.

    Raises:
        ModelError: the weights cannot be read.
    """
    job = {"model": definition.fingerprint, "arguments": pixel_values(arguments)}
    return hashlib.sha256(canonical_json(job)).hexdigest()
