"""The model of a run: its definition, its arguments, and the name that its job goes by."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from attachtrans.errors import ArgumentError
from attachtrans.journal import digest_of
from attachtrans.models.arguments import FunctionArguments, Pairs, pixel_values
from attachtrans.models.catalog import MODEL_TYPES
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.job import job_fingerprint, require_release, resolve_arguments
from attachtrans.tool.choices import ModelChoice, Running
from attachtrans.tool.functions import settle

_LARGEST_SCALE = 16


def choose_model(
    model: str | os.PathLike[str],
    arguments: Pairs,
    running: Running,
    scale: float | None,
    encoding: Mapping[str, object],
) -> ModelChoice:
    """Read a model's definition and settle how it is run.

    Args:
        model: .emd, .dlpk, folder, JSON text, or the name of a built-in model.
        arguments: of the model, by name.
        running: how the net runs.
        scale: of a super-resolution net that keeps the size; None: as it was trained.
        encoding: what else changes results; it goes into the fingerprint.

    Raises:
        ArgumentError: arguments or a scale that the model does not take.
        ModelError (UntrustedModelError): it cannot be read or run.
    """
    definition = ModelDefinition.read(model)
    typed = resolve_arguments(definition, arguments, trust_code=running.trust_code)
    if running.compat is not None:
        require_release(definition, running.compat)
    enlarge = _enlargement(definition, scale)
    if isinstance(typed, FunctionArguments):
        typed, enlarge = settle(definition, typed)
    shown: dict[str, object] = {
        name: value for name, value in pixel_values(typed).items() if value is not None
    }
    settled = dict(encoding)
    if scale is not None:
        shown["scale"] = scale
    if "space" in encoding:
        shown["space"] = encoding["space"]
    if running.seams != "blend":
        shown["seams"] = settled["seams"] = running.seams
    if running.compat is not None:
        shown["compat"] = settled["compat"] = running.compat
        # It makes blocks of the batch, so it changes pixels.
        shown["batch_size"] = settled["batch_size"] = typed.batch_size
    fingerprint = job_fingerprint(definition, typed)
    if any(settled.values()):  # asked for, so that results differ
        fingerprint = digest_of(f"{fingerprint} {json.dumps(settled)}".encode())
    return ModelChoice(
        definition=definition,
        arguments=typed,
        shown=shown,
        fingerprint=fingerprint,
        running=running,
        enlarge=enlarge,
    )


def _enlargement(definition: ModelDefinition, scale: float | None) -> float:
    """By how much images are enlarged before the net sees them."""
    if not MODEL_TYPES[definition.model_type].enlarges:
        if scale is not None:
            message = (
                f"--scale: {definition.name} ({definition.model_type}) decides by itself how large "
                "its results are; leave --scale out"
            )
            raise ArgumentError(message)
        return 1.0
    factor = scale or definition.enlarge
    if factor is None:
        message = (
            f"{definition.name} does not say what enlargement it was trained for "
            "(downsample_factor); give --scale, for example --scale 4"
        )
        raise ArgumentError(message)
    if not 1 <= factor <= _LARGEST_SCALE:
        message = f"--scale {factor:g}: 1 to {_LARGEST_SCALE} is allowed"
        raise ArgumentError(message)
    return factor
