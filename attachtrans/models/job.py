"""A model with its arguments: whether it is run, with what values, and by what name a job goes."""

from __future__ import annotations

import dataclasses
import hashlib

from attachtrans.errors import ArgumentError, ModelError, UntrustedModelError
from attachtrans.models.arguments import (
    Pairs,
    TilingArguments,
    function_arguments,
    parse,
    pixel_values,
)
from attachtrans.models.catalog import COMPATIBILITIES, MODEL_TYPES, NOT_YET
from attachtrans.models.definition import ModelDefinition, canonical_json
from attachtrans.models.scripts import find_script, imports_arcgis


def require_runnable(definition: ModelDefinition, *, trust_code: bool = False) -> None:
    """Raise when the type of `definition` is not run by this release.

    Raises:
        UntrustedModelError: it would run Python code of its own, and `trust_code` is not given.
        ModelError: it is recognised but not run yet, or not known.
    """
    kind = definition.model_type
    if kind in MODEL_TYPES:
        if MODEL_TYPES[kind].runs_code:
            _require_trust(definition, trust_code=trust_code)
        return
    runs = f"attachtrans runs: {', '.join(MODEL_TYPES)}."
    if kind in NOT_YET:
        raise ModelError(
            f"{definition.name} is of the type {kind} ({NOT_YET[kind]}), which this release "
            f"recognises but does not run yet. {runs}"
        )
    raise ModelError(f'{definition.name} is of the unknown type "{kind:.60}". {runs}')


def _require_trust(definition: ModelDefinition, *, trust_code: bool) -> None:
    """Raise unless the user trusts the script of `definition`, and it can be run here at all."""
    try:
        script = find_script(definition.file, definition.raw)
        needs_arcgis = imports_arcgis(script)
    except ModelError:
        if trust_code:
            raise
        needs_arcgis = False  # that it would run code comes first
    if needs_arcgis:
        raise ModelError(
            f"{definition.name} cannot be run: its script {script.name} imports arcgis (ArcGIS API "
            "for Python), and the definition names no model type that attachtrans has a net for."
        )
    if not trust_code:
        raise UntrustedModelError(
            f"{definition.name} runs Python code of its own (InferenceFunction "
            f"{definition.raw.get('InferenceFunction')!r:.100}), which may do whatever you may do: "
            "give --trust-code (trust_code=True) if you trust whoever wrote it. Its arguments are "
            "unknown without."
        )


def require_release(definition: ModelDefinition, compat: str) -> None:
    """Raise unless `compat` names a release of arcgis.learn that runs the type of `definition`.

    Raises:
        ArgumentError: an unknown release, or a type that arcgis.learn does not run.
    """
    if compat not in COMPATIBILITIES:
        raise ArgumentError(
            f'compat is "{compat}": it must be one of {", ".join(COMPATIBILITIES)}.'
        )
    kind = definition.model_type
    if not MODEL_TYPES[kind].follows_releases:
        known = ", ".join(name for name, entry in MODEL_TYPES.items() if entry.follows_releases)
        raise ArgumentError(
            f"compat: {definition.name} is of the type {kind}, which is none of arcgis.learn "
            f"({known}); leave compat out."
        )


def resolve_arguments(
    definition: ModelDefinition, pairs: Pairs = (), *, trust_code: bool = False
) -> TilingArguments:
    """Typed arguments from NAME, VALUE pairs; None stands for the engine's rule.

    `tile_size` defaults to the training size for the types whose result depends on the tile. The
    own arguments of a raster function are checked when it is loaded, since only its code knows
    them; arrays (bands, height, width), or lists of such, are images for its further rasters.

    Raises:
        ArgumentError: a name or a value that the model type does not take.
        ModelError: the model type is not run.
    """
    require_runnable(definition, trust_code=trust_code)
    model_type = MODEL_TYPES[definition.model_type]
    if model_type.runs_code:
        return function_arguments(pairs)
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
