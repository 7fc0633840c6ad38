"""`ModelDefinition`: what an .emd says about a model, before any weight is loaded.

An .emd is a JSON object (UTF-8). The keys of the ArcGIS model types are those that ArcGIS writes;
the keys of TorchScript, ONNX and built-in models are listed in `attachtrans.models.facts`.
Unknown keys are kept in `raw`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from attachtrans.errors import ModelError
from attachtrans.models.arguments import Argument, describe
from attachtrans.models.catalog import MODEL_TYPES, NOT_YET
from attachtrans.models.facts import number_list, read_enlargement, read_scale, whole
from attachtrans.models.onnxfile import external_files
from attachtrans.models.package import (
    MAX_DEFINITION_BYTES,
    FileRef,
    check_beginning,
    find_definition,
    find_definition_in_folder,
    resolve_model_file,
)
from attachtrans.models.recognise import WEIGHT_SUFFIXES, recognise
from attachtrans.models.scripts import code_files, find_script, imports_arcgis

OUR_FRAMEWORK = "attachtrans"
SCRIPT_TYPE = "PythonRasterFunction"
"""Model type of definitions that bring their own Python code."""

_BUILTIN_FOLDER = Path(__file__).parents[1] / "models_builtin"
_ARCGIS_SCRIPTS = {"arcgisimagetranslation.py", "arcgissuperresolution.py"}
_CONFIGURATIONS = {
    "_cyclegan": "CycleGAN",
    "_pix2pix": "Pix2Pix",
    "_pix2pix_hd": "Pix2PixHD",
    "_superres": "SuperResolution",
    "_wnet_cgan": "WNet_cGAN",
    "_climax": "ClimaX",
}
"""Types by the module of arcgis.learn that runs them."""
_MAX_TEXT = 4096
_MEANINGLESS_KEYS = frozenset(
    {
        "ModelFile",
        "Licence",
        "Description",
        "Training",
        "LearningRate",
        "monitored_valid_loss",
        "metrics",
        "PSNR",
        "SSIM",
        "FID_A",
        "FID_B",
    }
)
"""Keys that change no pixel, so they do not count in the fingerprint."""


class Normalization(NamedTuple):
    """Per-band (minimum, maximum) of the domains A (input) and B; None = not stated."""

    a: tuple[tuple[float, float], ...] | None
    b: tuple[tuple[float, float], ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDefinition:
    """A model definition; `ModelDefinition.read` makes one.

    name        what to call the model: the stem of the .emd, or the model type
    model_type  a key of `MODEL_TYPES`, a type that is not run yet, or "PythonRasterFunction"
    framework   value of Framework, "" when absent
    file        the .emd, on disk or in a package; None for JSON text
    model_file  the weights; None for a type that is not run
    tile_size   width and height of the training tiles, None when not stated
    bands       bands of the input, None when not stated
    normalization   statistics of the ArcGIS types
    scale       output pixels per input pixel of the net, None when not stated
    enlarge     by how much a photo is enlarged, bilinearly, before the net sees it: the factor
                that an ArcGIS super-resolution net was trained for, None when not stated; 1 for
                all other models
    raw         the parsed JSON object
    """

    name: str
    model_type: str
    framework: str
    file: FileRef | None
    model_file: FileRef | None
    tile_size: int | None
    bands: int | None
    normalization: Normalization
    scale: float | None
    enlarge: float | None
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, path_or_json: str | os.PathLike[str]) -> ModelDefinition:
        """The definition in an .emd, a folder or package that holds one, or JSON text.

        Also the name of a built-in model ("sr-x2"), and a file of weights: with an .emd of the
        same stem beside it, or without one where `recognise` knows the net and its ranges.

        Raises:
            ModelError: not found, unreadable, not one definition, or not a valid one.
        """
        text = os.fspath(path_or_json)
        if text.lstrip().startswith("{"):
            return _interpret(_parse(text.encode("utf-8", "surrogatepass"), "The JSON text"), None)
        path = Path(text)
        file = _find(text)
        if file is None:
            return _from_weights(path)
        definition = _interpret(
            _parse(file.read(limit_bytes=MAX_DEFINITION_BYTES), str(file)), file
        )
        if _is_weights(path) and definition.model_file != FileRef(path=path):
            raise ModelError(
                f"{file} lies beside {path} but describes {definition.model_file}: name the .emd "
                f"that is meant, or write one for {path.name}."
            )
        return definition

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The arguments that the model takes; none for a type that is not run."""
        known = MODEL_TYPES.get(self.model_type)
        return () if known is None else describe(known.arguments)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what the model computes: the definition's meaning and its weights.

        The same after a move or a rename of the files. Reads the weights once (seconds for
        gigabytes).

        Raises:
            ModelError: the weights cannot be read.
        """
        meaning = {key: self.raw[key] for key in self.raw if key not in _MEANINGLESS_KEYS}
        digest = hashlib.sha256(canonical_json(meaning))
        if self.model_file is not None:
            check_beginning(self.model_file)
        for ref in self.weight_files():
            content = hashlib.sha256()
            for chunk in ref.chunks():
                content.update(chunk)
            digest.update(content.digest())
        return digest.hexdigest()

    def weight_files(self) -> Iterator[FileRef]:
        """The model file, then the files that an ONNX file keeps its tensors in.

        Of a raster function: all files that its code may read.

        Raises:
            ModelError: one is missing, or lies outside the model's folder.
        """
        if self.model_type == SCRIPT_TYPE:
            yield from code_files(self.file, self.raw)
        if self.model_file is None:
            return
        yield self.model_file
        if self.model_type == "ONNX":
            yield from external_files(self.model_file)


def builtin_names() -> tuple[str, ...]:
    """Names of the models that come with attachtrans."""
    return tuple(sorted(path.stem for path in _BUILTIN_FOLDER.glob("*.emd")))


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """JSON that is the same for equal values, whatever their order."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _find(text: str) -> FileRef | None:
    """The .emd that a user's text leads to; None for a file of weights without one."""
    path = Path(text)
    if text in builtin_names():
        return FileRef(path=_BUILTIN_FOLDER / f"{text}.emd")
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        raise ModelError(f"{text!r:.200} is no path of a model: {error}") from error
    if is_folder:
        return find_definition_in_folder(path)
    if not exists:
        raise ModelError(
            f'There is no model "{text}": no such file or folder, and the built-in models are '
            f"{', '.join(builtin_names())}."
        )
    suffix = path.suffix.lower()
    if suffix in {".emd", ".json"}:
        return FileRef(path=path)
    if suffix in {".dlpk", ".zip"}:
        return find_definition(path)
    if _is_weights(path):
        return _find_beside(path)
    raise ModelError(
        f"{path} is not a model: expected a definition (.emd), a package (.dlpk), a folder that "
        f"holds a definition, or a file of weights ({', '.join(sorted(WEIGHT_SUFFIXES))})."
    )


def _is_weights(path: Path) -> bool:
    return path.suffix.lower() in WEIGHT_SUFFIXES


def _find_beside(weights: Path) -> FileRef | None:
    """The .emd of the same stem beside a file of weights ("x.emd" for "x.ts.pt" too)."""
    for stem in _stems(weights):
        candidate = weights.with_name(f"{stem}.emd")
        if candidate.is_file():
            return FileRef(path=candidate)
    return None


def _stems(weights: Path) -> tuple[str, str]:
    return weights.stem, weights.stem.removesuffix(".ts")


def _from_weights(weights: Path) -> ModelDefinition:
    """The definition that recognised weights imply."""
    known = recognise(FileRef(path=weights))
    if known is None:
        raise ModelError(
            f"{weights} holds weights without their net, and they are of none that attachtrans "
            "knows: give the .emd or .dlpk that belongs to them, or export the net to TorchScript "
            "or ONNX. (Upscalers are known where spandrel is: pip install attachtrans[upscalers].)"
        )
    *_, stem = _stems(weights)
    if "InputRange" not in known:
        example = {**known, "InputRange": [0, 1], "OutputRange": [0, 1]}
        raise ModelError(
            f"{weights} does not say what values it takes and gives. Let attachtrans find out "
            f"(attachtrans model wrap), or write a file {stem}.emd beside it and correct the "
            'ranges ([0, 255] and "raw" are others); all else is measured:\n'
            f"{json.dumps(example, indent=4)}"
        )
    raw = {**known, "ModelFile": str(weights.absolute())}
    return dataclasses.replace(_interpret(raw, None), name=stem)


def _parse(content: bytes, where: str) -> dict[str, Any]:
    try:
        raw = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_unambiguous)
    except (ValueError, RecursionError, MemoryError) as error:
        raise ModelError(f"{where} is not valid JSON in UTF-8: {error!s:.300}") from error
    if not isinstance(raw, dict):
        raise ModelError(f"{where} is not a JSON object, so it is no model definition.")
    return raw


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; readers disagree on which of two equal keys counts."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r:.60} stands twice in one object")
        found[key] = value
    return found


def _interpret(raw: dict[str, Any], file: FileRef | None) -> ModelDefinition:
    model_type = _model_type(raw)
    if model_type == SCRIPT_TYPE and (net := _net_of_script(raw, file)):
        model_type = net
    runs = model_type in MODEL_TYPES and model_type != SCRIPT_TYPE
    stats = Normalization(
        a=_stats(raw, "NormalizationStats"), b=_stats(raw, "NormalizationStats_b")
    )
    stated_scale = read_scale(raw) if raw.get("Framework") == OUR_FRAMEWORK else 1.0
    return ModelDefinition(
        name=model_type if file is None else posixpath.splitext(file.name)[0],
        model_type=model_type,
        framework=_text(raw, "Framework") or "",
        file=file,
        model_file=resolve_model_file(file, _model_file(raw)) if runs else None,
        tile_size=whole(raw, "ImageHeight", minimum=1),
        bands=(
            whole(raw, "InputBands", minimum=1)
            or whole(raw, "n_channel_rev", minimum=1)
            or (len(stats.a) if stats.a else None)
        ),
        normalization=stats,
        scale=stated_scale,
        enlarge=read_enlargement(raw) if runs and MODEL_TYPES[model_type].enlarges else 1.0,
        raw=raw,
    )


def _model_file(raw: Mapping[str, Any]) -> str:
    name = _text(raw, "ModelFile")
    if not name:
        raise ModelError("ModelFile is missing in the model definition: name the weights there.")
    return name


def _model_type(raw: Mapping[str, Any]) -> str:
    """The type by which a definition is dispatched."""
    framework = _text(raw, "Framework") or ""
    if framework == OUR_FRAMEWORK:
        return _text(raw, "ModelType") or ""
    script = (_text(raw, "InferenceFunction") or "").replace("\\", "/")
    foreign = posixpath.basename(script).lower() not in {"", *_ARCGIS_SCRIPTS}
    if foreign and not framework.lower().startswith("arcgis"):
        return SCRIPT_TYPE
    names, known = _named_types(raw)
    if not names:
        raise ModelError("ModelType is missing in the model definition.")
    return known or names[-1]


def _named_types(raw: Mapping[str, Any]) -> tuple[list[str], str | None]:
    """The types that the keys of ArcGIS name, and the first of them that is known."""
    # ArcGIS dispatches on ModelName; definitions before 2.0 have only ModelType.
    names = [name for key in ("ModelName", "ModelType") if (name := _text(raw, key))]
    known = [name for name in names if name in MODEL_TYPES or name in NOT_YET]
    arch = _text(raw, "ModelArch")
    if known and known[0] == "SuperResolution" and (arch in MODEL_TYPES or arch in NOT_YET):
        return names, arch
    return names, known[0] if known else None


def _net_of_script(raw: Mapping[str, Any], file: FileRef | None) -> str | None:
    """The type whose net takes the place of a script that needs arcgis; None for other scripts."""
    configuration = raw.get("ModelConfiguration")
    net = _named_types(raw)[1] or (
        _CONFIGURATIONS.get(configuration) if isinstance(configuration, str) else None
    )
    if net is None:
        return None
    try:
        return net if imports_arcgis(find_script(file, raw)) else None
    except ModelError:  # it will be said when the script is to be run
        return None


def _text(raw: Mapping[str, Any], key: str) -> str | None:
    value = raw.get(key)
    if value is not None and not isinstance(value, str):
        raise ModelError(f"{key} of the model definition is {value!r:.60}: it must be text.")
    if value is not None and len(value) > _MAX_TEXT:
        raise ModelError(
            f"{key} of the model definition is {len(value)} characters long, more than the "
            f"{_MAX_TEXT} that names and paths may have."
        )
    return value


def _stats(raw: Mapping[str, Any], key: str) -> tuple[tuple[float, float], ...] | None:
    """(minimum, maximum) per band; None where the statistics are absent."""
    stats = raw.get(key)
    if stats is None:
        return None
    if not isinstance(stats, dict):
        raise ModelError(f"{key} of the model definition is {stats!r:.60}: it must be an object.")
    low, high = stats.get("band_min_values"), stats.get("band_max_values")
    if low is None and high is None:
        return None
    lows = number_list(low, f"{key}.band_min_values")
    highs = number_list(high, f"{key}.band_max_values")
    if not lows or len(lows) != len(highs):
        raise ModelError(
            f"{key} of the model definition has {len(lows)} band_min_values and {len(highs)} "
            "band_max_values: there must be one of each per band."
        )
    return tuple(zip(lows, highs, strict=True))
