"""`model_info`: what `attachtrans info` and `attachtrans model info` say about a model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from attachtrans.models.arguments import Argument, Pairs
from attachtrans.models.catalog import MODEL_TYPES
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.job import require_runnable, resolve_arguments
from attachtrans.models.load import build
from attachtrans.models.module import LoadedModel
from attachtrans.models.rasterfunction import try_out

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
    exact_seams whether tiles can give exactly the untiled result: because the reach is bounded,
                or because the net can be run in stages over the whole image
    no_exact_seams      why not, as a clause; "" when they can
    draws_noise whether the result depends on noise, which -a seed=N chooses
    tile_size   width and height of the training tiles, None when not stated
    arguments   what the model takes; defaults are those of this call: given, or set by the
                definition
    weights     the model file, and its length in bytes
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
    exact_seams: bool
    no_exact_seams: str
    draws_noise: bool
    weights: str
    weights_bytes: int
    parameters: int
    arguments: tuple[Argument, ...]
    licence: str
    description: str
    fingerprint: str

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON types, under the names of the attributes.

        An argument is {name, type ("int" or "str"), default, minimum, choices, allowed, doc,
        changes_pixels}.
        """
        facts = dataclasses.asdict(self)
        facts["arguments"] = [_plain(argument) for argument in self.arguments]
        return facts


def model_info(
    definition: ModelDefinition, pairs: Pairs = (), *, trust_code: bool = False
) -> ModelInfo:
    """Load a model on the CPU and give its facts.

    Args:
        definition: of a type that is run.
        pairs: arguments as NAME, VALUE; the direction of a CycleGAN decides its bands.
        trust_code: whether Python code that comes with the model may run.

    Raises:
        ArgumentError: an argument that the model does not take.
        ModelError: the type is not run, or the model cannot be loaded.
    """
    require_runnable(definition, trust_code=trust_code)
    resolved = resolve_arguments(definition, pairs, trust_code=trust_code)
    function = None
    if MODEL_TYPES[definition.model_type].runs_code:
        model: LoadedModel = (function := try_out(definition, resolved))
    else:
        model = build(definition, resolved, "cpu")
    spec = model.spec
    reach = spec.receptive_field_px
    exact = reach is not None or spec.stages is not None
    weights = definition.model_file
    model_type = MODEL_TYPES[definition.model_type]
    return ModelInfo(
        name=definition.name,
        model_type=definition.model_type,
        summary=model_type.summary,
        file=str(definition.file or "none: JSON text, or known by the weights"),
        in_bands=spec.in_bands,
        out_bands=spec.out_bands,
        in_range=spec.in_range,
        out_range=spec.out_range,
        scale=spec.scale,
        enlarge=definition.enlarge if function is None else function.enlarge,
        tile_size=definition.tile_size,
        multiple_of=spec.multiple_of,
        min_size=spec.min_size,
        fixed_size=spec.fixed_size,
        fixed_batch=spec.fixed_batch,
        margin_px=spec.margin_px,
        receptive_field_px="global" if reach is None else reach,
        exact_seams=exact,
        no_exact_seams="" if exact else spec.no_stages,
        draws_noise=model_type.draws_noise,
        weights=str(weights or ""),
        weights_bytes=weights.size_bytes if weights else 0,
        parameters=model.parameters,
        arguments=(
            *(
                dataclasses.replace(argument, default=getattr(resolved, argument.name))
                for argument in definition.arguments
            ),
            *(() if function is None else function.own_arguments),
        ),
        licence=_line(definition, "Licence"),
        description=_line(definition, "Description"),
        fingerprint=definition.fingerprint,
    )


def _plain(argument: Argument) -> dict[str, Any]:
    facts = dataclasses.asdict(argument)
    return {**facts, "type": argument.type.__name__, "allowed": argument.allowed}


def _line(definition: ModelDefinition, key: str) -> str:
    """A text of the definition on one line, "" when absent."""
    return " ".join(str(definition.raw.get(key) or "").split())
