"""Which input of an ONNX graph is the image, what its other inputs are given, which output counts.

Shapes and element types are those that onnxruntime tells of a session: an axis is a number, a
name (of a size that the caller chooses) or nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attachtrans.errors import ModelError
from attachtrans.models.facts import MAX_SIZE, StatedFacts, read_inputs, with_unbounded_reach

_IMAGES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
_CONSTANTS: dict[str, type[np.generic]] = {
    **_IMAGES,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
_FEW = {1, 2, 3, 4}
"""Numbers of bands by which an axis is told from a width."""

_MAX_CONSTANT = 1 << 24


class Argument(Protocol):
    """An input or output of a graph, as onnxruntime describes it."""

    name: str
    type: str
    shape: Sequence[int | str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """An input besides the image, and the values it is given.

    shape   None where the graph leaves an axis open
    axes    for each open axis the number of the image's axis (N, bands, H, W) whose size it has;
            None: it is 1, or as long as the values
    """

    dtype: type[np.generic]
    values: tuple[float, ...]
    shape: tuple[int | None, ...]
    axes: tuple[int | None, ...]

    def array(self, image: Sequence[int]) -> npt.NDArray[Any]:
        """The values for an image batch of this (N, bands, H, W)."""
        sizes = [
            size if size is not None else 1 if axis is None else image[axis]
            for size, axis in zip(self.shape, self.axes, strict=True)
        ]
        values = np.array(self.values, dtype=self.dtype)
        if len(self.values) == 1:
            return np.full(sizes, values[0], dtype=self.dtype)
        return values if None in self.shape else values.reshape(sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """How a graph is fed and what is taken from it.

    shape           (N, bands, H, W) of the image, None where the graph leaves it open
    channels_last   whether the image is fed as (N, H, W, bands)
    gives_channels_last     whether the result comes so
    gives_integers  whether the result is rounded, as far as the graph tells
    """

    name: str
    dtype: type[np.generic]
    shape: tuple[int | None, int | None, int | None, int | None]
    channels_last: bool
    constants: Mapping[str, Constant]
    output: str
    gives_channels_last: bool
    gives_integers: bool

    def feed(self, batch: Tensor) -> dict[str, npt.NDArray[Any]]:
        """What to run the graph on, for (N, bands, H, W) float32 in the net's units."""
        axes = (0, 2, 3, 1) if self.channels_last else (0, 1, 2, 3)
        if self.dtype == np.uint8:
            batch = batch.nan_to_num().round().clamp(0, 255)
        image = np.ascontiguousarray(batch.permute(axes).cpu().numpy(), dtype=self.dtype)
        others = {name: each.array(batch.shape) for name, each in self.constants.items()}
        return {self.name: image, **others}

    def take(self, result: npt.NDArray[Any]) -> Tensor:
        """The result as (N, bands, h, w) float32."""
        out = torch.from_numpy(result)
        if self.gives_channels_last and out.ndim == 4:
            out = out.permute(0, 3, 1, 2)
        return out.float()


def read_port(session: Any, raw: Mapping[str, Any], *, name: str) -> Port:
    """The image input, the other inputs with the values that a definition states, and the output.

    Args:
        session: of onnxruntime.
        raw: the definition.
        name: of the model, for messages.

    Raises:
        ModelError: no input is a batch of images, another one has no value, or the definition
            names inputs or an output that the graph does not have.
    """
    stated = read_inputs(raw)
    inputs: list[Argument] = session.get_inputs()
    optional: list[Argument] = session.get_overridable_initializers()
    unknown = stated.keys() - {each.name for each in (*inputs, *optional)}
    if unknown:
        raise ModelError(
            f"Inputs of {name} states {min(unknown)!r:.60}, but the graph has the inputs "
            f"{_list([*inputs, *optional])}."
        )
    image = _image(inputs, stated, name)
    layout = raw.get("ModelFormat")
    if layout not in {None, "NCHW", "NHWC"}:
        raise ModelError(f'ModelFormat is {layout!r:.40}: it must be "NCHW" or "NHWC".')
    told = _tells_channels_last(image.shape) if layout is None else layout == "NHWC"
    channels_last = bool(told)
    output = _output(session.get_outputs(), raw.get("Output"), name)
    gives = _tells_channels_last(output.shape) if layout is None else None
    order = (0, 3, 1, 2) if channels_last else (0, 1, 2, 3)
    axes = [image.shape[axis] for axis in order]
    batch, bands, height, width = (_size(size) for size in axes)
    return Port(
        name=image.name,
        dtype=_IMAGES[image.type],
        shape=(batch, bands, height, width),
        channels_last=channels_last,
        constants={
            each.name: _constant(each, stated[each.name], axes, channels_last=channels_last)
            for each in (*inputs, *optional)
            if each.name in stated
        },
        output=output.name,
        gives_channels_last=channels_last if gives is None else gives,
        gives_integers="float" not in output.type and "double" not in output.type,
    )


def with_port(facts: StatedFacts, port: Port) -> StatedFacts:
    """Facts with what the graph fixes, where the definition does not state it.

    Rounding hides how far a net looks, so where there is any the reach counts as unbounded.

    Raises:
        ModelError: the graph takes 8-bit pixels, but the definition says otherwise.
    """
    batch, bands, height, width = port.shape
    if port.dtype == np.uint8 and facts.in_range not in {None, (0.0, 255.0)}:
        raise ModelError(
            f'The input "{port.name}" takes 8-bit pixels: InputRange must be [0, 255] (or "raw").'
        )
    # With one side fixed, squares are the tiles that surely fit.
    size = (width or height, height or width)
    fixed = None if size[0] is None or size[1] is None else (size[0], size[1])
    facts = dataclasses.replace(
        facts,
        in_bands=facts.in_bands or bands,
        fixed_size=facts.fixed_size or fixed,
        fixed_batch=facts.fixed_batch or batch,
    )
    return with_unbounded_reach(facts) if port.dtype == np.uint8 or port.gives_integers else facts


def _image(inputs: Sequence[Argument], stated: Mapping[str, object], name: str) -> Argument:
    """The first input that is a batch of images.

    Raises:
        ModelError: there is none, or another input is left without a value.
    """
    free = [each for each in inputs if each.name not in stated]
    # Four axes of one value each are a number that somebody wrote as an image.
    images = [
        each
        for each in free
        if each.type in _IMAGES and len(each.shape) == 4 and set(each.shape[1:]) != {1}
    ]
    if not images:
        raise ModelError(
            f"{name} has the inputs {_list(inputs)}: none is a batch of images, which has four "
            "axes and float32, float16, float64 or uint8 values."
        )
    others = [each for each in free if each is not images[0]]
    if others:
        example = ", ".join(f'"{each.name}": 1' for each in others)
        raise ModelError(
            f"{name} has inputs besides the image {images[0].name}: {_list(others)}. State what "
            f'they are given in its model definition (.emd): "Inputs": {{{example}}}.'
        )
    return images[0]


def _output(outputs: Sequence[Argument], wanted: object, name: str) -> Argument:
    """The stated output, else the first one with four axes, else the first one."""
    if wanted is None:
        return next((each for each in outputs if len(each.shape) == 4), outputs[0])
    found = next((each for each in outputs if each.name == wanted), None)
    if found is None:
        raise ModelError(
            f"Output of {name} is {wanted!r:.60}, but the graph has the outputs {_list(outputs)}."
        )
    return found


def _constant(
    argument: Argument,
    values: tuple[float, ...],
    image: Sequence[int | str | None],
    *,
    channels_last: bool,
) -> Constant:
    """An input with its values; `image` are the image's axes (N, bands, H, W).

    An open axis is as long as the image's axis of that name, else, where there are four as well,
    as that in its place.

    Raises:
        ModelError: of a type that takes no numbers, or not as many values as were stated.
    """
    if argument.type not in _CONSTANTS:
        raise ModelError(f'The input "{argument.name}" is a {argument.type}, not numbers.')
    shape = tuple(_size(size) for size in argument.shape)
    places: tuple[int | None, ...] = (None,) * len(shape)
    if len(shape) == 4:
        places = (0, 2, 3, 1) if channels_last else (0, 1, 2, 3)
    axes = tuple(
        image.index(size) if isinstance(size, str) and size in image else place
        for size, place in zip(argument.shape, places, strict=True)
    )
    known = math.prod(size for size in shape if size is not None)
    fits = len(values) == 1 or (len(values) == known if None not in shape else len(shape) == 1)
    if not fits or known > _MAX_CONSTANT:
        raise ModelError(
            f'Inputs states {len(values)} values for "{argument.name}", which has the shape '
            f"{list(argument.shape)}."
        )
    return Constant(dtype=_CONSTANTS[argument.type], values=values, shape=shape, axes=axes)


def _tells_channels_last(shape: Sequence[int | str | None]) -> bool | None:
    """Whether the bands of an image come last; None: its shape does not tell."""
    if len(shape) != 4:
        return None
    second, last = (size in _FEW for size in (shape[1], shape[3]))
    return None if second == last else last


def _size(size: int | str | None) -> int | None:
    return size if isinstance(size, int) and 0 < size <= MAX_SIZE else None


def _list(arguments: Sequence[Argument]) -> str:
    return "(" + ", ".join(f"{a.name}: {a.type} {list(a.shape)}" for a in arguments[:8]) + ")"
