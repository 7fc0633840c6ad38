"""`model_info`: what `attachtrans info` and `attachtrans model info` say about a model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from attachtrans.models.arguments import Argument, Pairs
from attachtrans.models.catalog import MODEL_TYPES
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.job import require_runnable, resolve_arguments
from attachtrans.models.load import build

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """Facts about a model, as it runs with the arguments asked for; sizes in input pixels.

    in_range    (low, high) that full scale of a photo is mapped to; None: values go in raw
    out_range   (low, high) of the result; None: unbounded
    enlarge     by how much a photo is to be enlarged before the net sees it (ArcGIS
                super-resolution), None when the definition does not say
    receptive_field_px  how far an output pixel looks beyond its own place, so that tiles with
                that halo give exactly the untiled result; "global": the result depends on the tile
    tile_size   width and height of the training tiles
    arguments   what the model takes; defaults that the definition sets are filled in
    fingerprint SHA-256 of the definition's meaning and the weights
    """

    name: str
    model_type: str
    summary: str
    file: str
    in_bands: int
    out_bands: int
    in_range: Range | None
    out_range: Range | None
    scale: float
    enlarge: float | None
    tile_size: int | None
    multiple_of: int
    min_size: int
    fixed_size: tuple[int, int] | None
    fixed_batch: int | None
    margin_px: int
    receptive_field_px: int | Literal["global"]
    parameters: int
    arguments: tuple[Argument, ...]
    licence: str
    description: str
    fingerprint: str


def model_info(definition: ModelDefinition, pairs: Pairs = ()) -> ModelInfo:
    """Load a model on the CPU and give its facts.

    Args:
        definition: of a type that is run.
        pairs: arguments as NAME, VALUE; the direction of a CycleGAN decides its bands.

    Raises:
        ArgumentError: an argument that the model does not take.
        ModelError: the type is not run, or the model cannot be loaded.
    """
    require_runnable(definition)
    resolved = resolve_arguments(definition, pairs)
    model = build(definition, resolved, "cpu")
    spec = model.spec
    reach = spec.receptive_field_px
    return ModelInfo(
        name=definition.name,
        model_type=definition.model_type,
        summary=MODEL_TYPES[definition.model_type].summary,
        file=str(definition.file or "JSON text"),
        in_bands=spec.in_bands,
        out_bands=spec.out_bands,
        in_range=spec.in_range,
        out_range=spec.out_range,
        scale=spec.scale,
        enlarge=definition.enlarge,
        tile_size=definition.tile_size,
        multiple_of=spec.multiple_of,
        min_size=spec.min_size,
        fixed_size=spec.fixed_size,
        fixed_batch=spec.fixed_batch,
        margin_px=spec.margin_px,
        receptive_field_px="global" if reach is None else reach,
        parameters=model.parameters,
        arguments=tuple(
            dataclasses.replace(argument, default=getattr(resolved, argument.name))
            for argument in definition.arguments
        ),
        licence=_line(definition, "Licence"),
        description=_line(definition, "Description"),
        fingerprint=definition.fingerprint,
    )


def _line(definition: ModelDefinition, key: str) -> str:
    """A text of the definition on one line, "" when absent."""
    return " ".join(str(definition.raw.get(key) or "").split())
