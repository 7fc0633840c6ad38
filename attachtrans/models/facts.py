"""The keys of an .emd with "Framework": "attachtrans", as values.

The .emd is the JSON file that ArcGIS uses for model definitions. For nets that do not come from
ArcGIS it has these keys (sizes in input pixels):

    Framework       "attachtrans"
    ModelType       "ONNX", "TorchScript" or "ExportedProgram": files that hold their own graph;
                    "ResnetGenerator" or "UnetGenerator": state dicts in the layout of
                    pytorch-CycleGAN-and-pix2pix; "Upscaler": state dicts that spandrel knows;
                    "SRNet": the built-in nets
    ModelFile       weights file, relative to the .emd
    InputRange      [low, high]: what full scale of the photo's data type is mapped to, e.g. [0, 1]
                    or [0, 255]; or "raw": the values go in as they are. Required: no look at a net
                    can tell, and a wrong range gives wrong photos
    OutputRange     [low, high]: the values that mean black and full scale; or "raw": unbounded,
                    in the units of the target. Required
    InputBands, OutputBands     numbers of bands
    Scale           output pixels per input pixel along an axis
    Margin          pixels lost on each side: output = Scale * (n - 2 * Margin)
    MultipleOf      width and height of a tile must be multiples of this
    MinSize         smallest width and height of a tile
    FixedSize       [width, height]: the only tile that the net takes
    FixedBatch      the only batch size that the net takes
    ReceptiveField  how far an output pixel looks beyond its own place, Margin included; or
                    "global" for nets with statistics over the tile (instance norm, attention)
    ModelFormat     "NCHW" or "NHWC" (ONNX only)
    Inputs          {name: value} for inputs besides the image (a strength, a noise level, a
                    scale): a number, or a list of as many numbers as the input has values. One
                    number fills an input of any shape, a map of the image's size too. Inputs that
                    have a value of their own in the graph may be left out
    Output          name of the output that is the image (ONNX only); by default the first one
                    with four axes
    ImageHeight, ImageWidth     size of the training tiles (for information)
    Licence, Description        text for `info`

All but the first five are optional. Of files with their own graph what is absent is measured when
the model is loaded (`attachtrans.models.probe`, `attachtrans.models.reach`); of the other types
the bands, sizes and scale follow from the weights, and stating them changes nothing. Without any
.emd, `attachtrans.models.recognise` gives these keys. The least that works is

    {"Framework": "attachtrans", "ModelType": "ONNX", "ModelFile": "x2.onnx",
     "InputRange": [0, 1], "OutputRange": [0, 1]}
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from attachtrans.errors import ModelError

Range = tuple[float, float]

MAX_SIZE = 1 << 16
"""Largest size, margin, reach or number of bands that a definition may state."""

MAX_INPUT_VALUES = 1 << 12
"""Most numbers that a definition may state for one input besides the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedFacts:
    """What an .emd of ours states; None where it says nothing, and a measurement decides.

    in_range, out_range     None = raw
    receptive_field_px      "global" = unbounded or dependent on the tile
    """

    in_range: Range | None
    out_range: Range | None
    in_bands: int | None
    out_bands: int | None
    scale: float | None
    margin_px: int | None
    multiple_of: int | None
    min_size: int | None
    fixed_size: tuple[int, int] | None
    fixed_batch: int | None
    receptive_field_px: int | Literal["global"] | None


def read_facts(raw: Mapping[str, Any]) -> StatedFacts:
    """The facts of a parsed .emd.

    Raises:
        ModelError: a required key is missing, or a value is none that its key takes.
    """
    return StatedFacts(
        in_range=_range(raw, "InputRange"),
        out_range=_range(raw, "OutputRange"),
        in_bands=whole(raw, "InputBands", minimum=1),
        out_bands=whole(raw, "OutputBands", minimum=1),
        scale=read_scale(raw),
        margin_px=whole(raw, "Margin", minimum=0),
        multiple_of=whole(raw, "MultipleOf", minimum=1),
        min_size=whole(raw, "MinSize", minimum=1),
        fixed_size=_size(raw, "FixedSize"),
        fixed_batch=whole(raw, "FixedBatch", minimum=1),
        receptive_field_px=_reach(raw),
    )


def with_unbounded_reach(facts: StatedFacts) -> StatedFacts:
    """The facts of a net that moves pixels by amounts that depend on the image.

    How far it looks cannot be measured on some images, so it counts as unbounded unless stated.
    """
    if facts.receptive_field_px is not None:
        return facts
    return dataclasses.replace(facts, receptive_field_px="global")


def whole(raw: Mapping[str, Any], key: str, *, minimum: int) -> int | None:
    """A whole number of a definition; None where the key is absent, null or false.

    (ArcGIS writes `false` where it has no number.)

    Raises:
        ModelError: anything else than a whole number from `minimum` to `MAX_SIZE`.
    """
    value = raw.get(key)
    if value is None or value is False:
        return None
    number = _finite(value)
    if number is None or number != int(number) or not minimum <= number <= MAX_SIZE:
        raise _wrong(key, value, f"a whole number from {minimum} to {MAX_SIZE}")
    return int(number)


def number_list(value: object, where: str) -> tuple[float, ...]:
    """A list of finite numbers of a definition.

    Raises:
        ModelError: anything else; `where` names the key.
    """
    numbers = [_finite(entry) for entry in value] if isinstance(value, list) else [None]
    found = tuple(number for number in numbers if number is not None)
    if len(found) != len(numbers):
        raise _wrong(where, value, "a list of finite numbers")
    return found


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _range(raw: Mapping[str, Any], key: str) -> Range | None:
    allowed = f'[low, high], for example "{key}": [0, 1] or [0, 255], or "raw"'
    if key not in raw:
        raise ModelError(f"{key} is missing in the model definition: state {allowed}.")
    value = raw[key]
    if value == "raw":
        return None
    pair = number_list(value, key) if isinstance(value, list) else ()
    if len(pair) != 2 or not pair[0] < pair[1]:
        raise _wrong(key, value, allowed)
    return pair[0], pair[1]


def read_inputs(raw: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """Inputs of a definition: the values of each input besides the image; one number is a 1-tuple.

    Raises:
        ModelError: it is no object of finite numbers or lists of them.
    """
    inputs = raw.get("Inputs")
    if inputs is None:
        return {}
    if not isinstance(inputs, dict):
        raise _wrong("Inputs", inputs, 'an object, for example {"strength": 0.5}')
    return {name: _values(value, f"Inputs.{name:.40}") for name, value in inputs.items()}


def _values(value: object, where: str) -> tuple[float, ...]:
    entries = value if isinstance(value, list) else [value]
    if not 1 <= len(entries) <= MAX_INPUT_VALUES:
        raise _wrong(where, value, f"a number or a list of 1 to {MAX_INPUT_VALUES} numbers")
    # An input may be a switch, and true is how JSON writes one.
    return number_list([int(each) if isinstance(each, bool) else each for each in entries], where)


def read_enlargement(raw: Mapping[str, Any]) -> float | None:
    """downsample_factor of an ArcGIS super-resolution model, None when not stated.

    Raises:
        ModelError: it is no number from 1 to 64.
    """
    value = raw.get("downsample_factor")
    if value is None or value is False:
        return None
    factor = _finite(value)
    if factor is None or not 1 <= factor <= 64:
        raise _wrong("downsample_factor", value, "a number from 1 to 64")
    return factor


def read_scale(raw: Mapping[str, Any]) -> float | None:
    """Scale of a definition, None when not stated.

    Raises:
        ModelError: it is no number from 1/64 to 64.
    """
    value = raw.get("Scale")
    if value is None:
        return None
    scale = _finite(value)
    if scale is None or not 1 / 64 <= scale <= 64:
        raise _wrong("Scale", value, "a number from 1/64 to 64")
    return scale


def _size(raw: Mapping[str, Any], key: str) -> tuple[int, int] | None:
    value = raw.get(key)
    if value is None:
        return None
    entries = value if isinstance(value, list) else [value, value]
    sizes = [whole({key: entry}, key, minimum=1) for entry in entries]
    if len(sizes) != 2 or sizes[0] is None or sizes[1] is None:
        raise _wrong(key, value, "[width, height]")
    return sizes[0], sizes[1]


def _reach(raw: Mapping[str, Any]) -> int | Literal["global"] | None:
    if raw.get("ReceptiveField") == "global":
        return "global"
    return whole(raw, "ReceptiveField", minimum=0)


def _wrong(key: str, value: object, allowed: str) -> ModelError:
    return ModelError(f"{key} of the model definition is {value!r:.60}: it must be {allowed}.")
