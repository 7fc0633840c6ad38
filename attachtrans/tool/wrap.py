"""`wrap_model`: from a file of weights to a definition that says what the net takes and gives.

What the file tells is taken from it, what shows when the net runs is measured, and what neither
tells, the ranges of its values, is tried on a photo. Nothing is guessed in silence: where two
answers are possible the user is asked, and what is written has been read back and run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from attachtrans.errors import (
    InferenceError,
    ModelError,
)
from attachtrans.models.definition import OUR_FRAMEWORK, ModelDefinition
from attachtrans.models.package import FileRef
from attachtrans.models.recognise import WEIGHT_SUFFIXES, recognise
from attachtrans.tool.wrap_files import model_file_key, writing
from attachtrans.tool.wrap_ranges import Ranges, find_ranges, in_words
from attachtrans.tool.wrap_sample import (
    Pixels,
    as_rgb8,
    read_sample,
    save_preview,
    synthetic_photo,
)
from attachtrans.tool.wrap_wish import Wish, check_wish

if TYPE_CHECKING:
    from attachtrans.models.guess import Limits
    from attachtrans.models.info import ModelInfo

GRAPH_TYPES = ("ONNX", "TorchScript", "ExportedProgram")
"""Types of files that hold their own graph; what they take and give is measured."""

_ARCGIS_KEYS = {
    "G_A.": "CycleGAN",
    "G.model.": "Pix2PixHD",
    "G.": "Pix2Pix",
    "denoise_fn.": "SR3",
    "layers.": "SuperResolution",
}
"""How names of tensors begin in checkpoints of arcgis.learn, the longer before the shorter."""
_DEFINITIONS = {".emd", ".json", ".dlpk", ".zip"}
_SHOWN_PX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """A model that was wrapped.

    output      what was written; None for a dry run
    definition  the content of the .emd
    info        what the model says of itself, as it was read back
    notes       what the user should know
    """

    output: Path | None
    definition: Mapping[str, Any]
    ranges: Ranges
    info: ModelInfo
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The findings as JSON types."""
        return {
            "output": None if self.output is None else str(self.output),
            "definition": dict(self.definition),
            "ranges": {
                "input": _json_range(self.ranges.in_range),
                "output": _json_range(self.ranges.out_range),
                "source": self.ranges.source,
                "reason": self.ranges.reason,
            },
            "notes": list(self.notes),
            "model": self.info.to_json(),
        }


def wrap_model(wish: Wish) -> Wrapped:
    """Find out what a net takes and gives, write its definition, read it back and run it.

    Raises:
        ArgumentError: something in the wish is not allowed.
        OutputExistsError: the output is there already.
        SourceError: the weights or the sample cannot be read.
        ModelError: the weights are no model that runs, or their ranges could not be told; the
            message says what to state.
        SinkError: the output cannot be written.
    """
    check_wish(wish)
    keys = _recognised(wish)
    sample = synthetic_photo() if wish.sample is None else read_sample(wish.sample)
    ranges = find_ranges(wish, keys, sample)
    definition = _definition(wish, keys, ranges)
    if wish.dry_run:
        text = json.dumps({**definition, "ModelFile": str(wish.weights.absolute())})
        result = _run(text, sample)
        info = replace(_facts(text), name=wish.output.stem)
    else:
        with writing(wish.output, definition, wish.weights) as written:
            result = _run(written, sample)
        info = _facts(wish.output)
    if wish.preview is not None:
        title = f"after ({in_words(ranges.in_range)} -> {in_words(ranges.out_range)})"
        save_preview(wish.preview, [("before", _shown(sample)), (title, result)])
    return Wrapped(
        output=None if wish.dry_run else wish.output,
        definition=definition,
        ranges=ranges,
        info=info,
        notes=tuple(_notes(wish, ranges, definition)),
    )


def _recognised(wish: Wish) -> dict[str, Any]:
    """The keys that the file tells, with what the user states on top."""
    file = FileRef(path=wish.weights)
    known = recognise(file)
    if wish.model_type is not None and (known or {}).get("ModelType") != wish.model_type:
        known = {"Framework": OUR_FRAMEWORK, "ModelType": wish.model_type}
    if known is None:
        raise _unknown(file)
    return {**known, **wish.stated}


def _unknown(file: FileRef) -> ModelError:
    """Why a file cannot be wrapped, and what would help."""
    from attachtrans.models.checkpoint import read_checkpoint

    if file.suffix in _DEFINITIONS:
        return ModelError(f"{file} is a model already: give it to --model, or to model info.")
    names = tuple(read_checkpoint(file)) if file.suffix in WEIGHT_SUFFIXES else ()
    for beginning, kind in _ARCGIS_KEYS.items():
        if any(name.startswith(beginning) for name in names):
            return ModelError(
                f"{file} looks like the weights of an ArcGIS {kind}. What it takes and gives "
                "(statistics of the bands, version, tile) stands only in the .emd or .dlpk that "
                "it was saved with: give that to --model; it needs no wrapping."
            )
    seen = f" Its first tensors are {', '.join(names[:3])}." if names else ""
    return ModelError(
        f"{file} is no ONNX, TorchScript or exported program, and no checkpoint of a net that is "
        f"known here.{seen} Upscalers need the extra attachtrans[upscalers]; other nets have to be "
        "exported to ONNX or TorchScript with their code."
    )


def _definition(wish: Wish, keys: Mapping[str, Any], ranges: Ranges) -> dict[str, Any]:
    """The content of the .emd: what is known, then what was measured, then the texts."""
    definition = {
        "Framework": OUR_FRAMEWORK,
        "ModelType": keys["ModelType"],
        "ModelFile": model_file_key(wish.weights, wish.output),
        **{key: value for key, value in keys.items() if key != "ModelFile"},
        "InputRange": _json_range(ranges.in_range),
        "OutputRange": _json_range(ranges.out_range),
    }
    if keys["ModelType"] in GRAPH_TYPES:
        # Stated, so that it need not be measured each time the model is loaded.
        for key, value in _measured(wish, definition).items():
            definition.setdefault(key, value)
    return {**definition, **wish.texts}


def _measured(wish: Wish, definition: Mapping[str, Any]) -> dict[str, Any]:
    from attachtrans.models.load import load_model

    text = json.dumps({**definition, "ModelFile": str(wish.weights.absolute())})
    spec = load_model(ModelDefinition.read(text), device="cpu", precision="fp32").spec
    reach = spec.receptive_field_px
    facts: dict[str, Any] = {
        "InputBands": spec.in_bands,
        "OutputBands": spec.out_bands,
        "Scale": int(spec.scale) if spec.scale == int(spec.scale) else spec.scale,
        "Margin": spec.margin_px,
        "ReceptiveField": "global" if reach is None else reach,
    }
    if spec.fixed_size is None:
        facts |= {"MultipleOf": spec.multiple_of, "MinSize": spec.min_size}
    else:
        facts |= {"FixedSize": list(spec.fixed_size)}
    if spec.fixed_batch is not None:
        facts |= {"FixedBatch": spec.fixed_batch}
    return facts


def _run(definition: Path | str, sample: Pixels) -> Pixels:
    """Run a definition on the sample as `translate` would, and give the picture.

    Raises:
        ModelError: the net gives values that are no numbers, or does not run.
    """
    from attachtrans.infer.whole import translate_array
    from attachtrans.models.load import load_model

    net = load_model(ModelDefinition.read(definition), device="cpu", precision="fp32")
    try:
        result = translate_array(net, _with_bands(_shown(sample), net.spec.in_bands))
    except InferenceError as error:
        raise ModelError(f"The net fails on the sample: {error}") from error
    return as_rgb8(result)


def _facts(definition: Path | str) -> ModelInfo:
    from attachtrans.models.info import model_info

    return model_info(ModelDefinition.read(definition))


def _shown(sample: Pixels) -> Pixels:
    """The middle of the sample, in a size that is run quickly."""
    top, left = (max(side - _SHOWN_PX, 0) // 2 for side in sample.shape[1:])
    return np.ascontiguousarray(sample[:, top : top + _SHOWN_PX, left : left + _SHOWN_PX])


def _with_bands(pixels: Pixels, bands: int) -> Pixels:
    grey = np.asarray(pixels.mean(axis=0, keepdims=True) + 0.5, np.uint8)
    if bands == 1:
        return grey
    four = np.concatenate([pixels, grey])
    return np.asarray(np.tile(four, (-(-bands // 4), 1, 1))[:bands], np.uint8)


def _notes(wish: Wish, ranges: Ranges, definition: Mapping[str, Any]) -> Iterator[str]:
    if Path(definition["ModelFile"]).is_absolute():
        yield (
            f"the definition refers to {definition['ModelFile']}, which must stay there: write the "
            ".emd into its folder, or a .dlpk, to move both together"
        )
    elif wish.output.suffix.lower() == ".emd":
        yield f"the definition and {definition['ModelFile']} belong together: move both"
    if ranges.source == "tried" and definition.get("InputBands") == 1:
        yield (
            "tried with a photo; if the net is for values that are no pixels (radar, "
            "temperatures), give --input-range raw --output-range raw"
        )
    if "Licence" not in definition:
        yield "no licence is stated (--licence)"


def _json_range(limits: Limits | Literal["raw"]) -> list[float] | str:
    if limits == "raw":
        return "raw"
    return [int(value) if value == int(value) else value for value in limits]
