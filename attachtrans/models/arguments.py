"""The arguments that a model takes (`-a NAME=VALUE`): names, types, defaults, allowed values.

One dataclass per kind of model. `describe` turns it into rows for `info`, `parse` turns a user's
pairs into an instance, and both read the same field metadata, so help, checks and error messages
cannot drift apart. Names and meanings are those of the tool "Translate Pixels Using Deep
Learning"; values may arrive as strings.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import ArgumentError

Pairs = Mapping[str, object] | Iterable[tuple[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument, as `info` shows it.

    default     None where the engine chooses, which `doc` then explains
    choices     the allowed values, None = any integer from `minimum` on
    takes       what may be given, in words, where neither of the two says it
    """

    name: str
    type: type[int | str]
    default: int | str | None
    doc: str
    minimum: int | None = None
    choices: tuple[str, ...] | None = None
    changes_pixels: bool = True
    takes: str = ""

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        if self.takes:
            return self.takes
        if self.choices is not None:
            return " or ".join(self.choices)
        return f"a whole number from {self.minimum} on"


def _integer(
    doc: str, *, minimum: int, default: int | None = None, changes_pixels: bool = True
) -> Any:
    metadata = {"type": int, "doc": doc, "minimum": minimum, "changes_pixels": changes_pixels}
    return field(default=default, metadata=metadata)


def _choice(doc: str, *choices: str) -> Any:
    """A field that takes one of `choices`; the first is the default."""
    return field(default=choices[0], metadata={"type": str, "doc": doc, "choices": choices})


def _choice_of_the_model(doc: str, *choices: str) -> Any:
    """A field that takes one of `choices`; by default what the definition states."""
    return field(default=None, metadata={"type": str, "doc": doc, "choices": choices})


@dataclass(frozen=True, slots=True, kw_only=True)
class TilingArguments:
    """Arguments that every model takes. None: the engine's rule."""

    batch_size: int | None = _integer(
        "Tiles per call of the net; by default what suits the device. Changes no pixel.",
        minimum=1,
        changes_pixels=False,
    )
    padding: int | None = _integer(
        "Pixels at each tile border that neighbouring tiles share, at most half the tile size; by "
        "default the net's exact reach where that is bounded, else an eighth of the tile (at most "
        "64) with blending.",
        minimum=0,
    )
    tile_size: int | None = _integer(
        "Width and height of the tiles, in pixels; by default the training size for nets whose "
        "result depends on the tile, else what suits the device.",
        minimum=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleGANArguments(TilingArguments):
    """Arguments of CycleGAN models."""

    direction: str = _choice("From which domain to which the image is taken.", "AtoB", "BtoA")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionArguments(TilingArguments):
    """Arguments of diffusion models (SR3, SR3_UViT, SR3_Wavelet)."""

    sampling_type: str = _choice(
        "How noise becomes a picture: in few steps (ddim), or as in training (ddpm).",
        "ddim",
        "ddpm",
    )
    n_timestep: int | None = _integer(
        "Steps, each a run of the net; at most as many as in training. By default 200 for ddim "
        "and those of the training for ddpm.",
        minimum=1,
    )
    schedule: str | None = _choice_of_the_model(
        "Noise schedule; by default that of the training, which any other only makes worse.",
        "linear",
        "quad",
        "warmup10",
        "warmup50",
        "const",
        "jsd",
        "cosine",
    )
    seed: int = _integer(
        "Which noise is drawn; the same seed gives the same result, however the image is cut.",
        minimum=0,
        default=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlay:
    """An image that is laid over each photo, edge to edge, as a further raster of a function.

    pixels      (bands, height, width)
    mask        (height, width), 0 where the image has nothing; None: it is whole
    """

    pixels: NDArray[Any]
    mask: NDArray[Any] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the image."""
        digest = hashlib.sha256(f"{self.pixels.dtype.str} {self.pixels.shape}".encode())
        digest.update(self.pixels.tobytes())
        if self.mask is not None:
            digest.update(self.mask.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionArguments(TilingArguments):
    """Arguments of Python raster functions: what they may use, and their own.

    Blocks and their padding are the function's own matter, so the engine's are not offered.

    values      names and values of the function's own arguments, images apart; not checked here
    images      the names of its rasters besides the photo, and what they are given
    """

    batch_size: None = field(default=None, init=False)
    padding: None = field(default=None, init=False)
    tile_size: None = field(default=None, init=False)
    code_timeout: int = _integer(
        "Seconds that the function may take for a block (and for loading, which has ten minutes at "
        "least) before it is ended and the photo is given up.",
        minimum=1,
        default=120,
        changes_pixels=False,
    )
    code_memory: int | None = _integer(
        "Memory that the function's process may take, in GiB; by default half of the machine's. "
        "(Not limited on Windows.)",
        minimum=1,
        changes_pixels=False,
    )
    values: tuple[tuple[str, str], ...] = ()
    images: tuple[tuple[str, tuple[Overlay, ...]], ...] = ()


def describe(arguments: type[TilingArguments]) -> tuple[Argument, ...]:
    """The arguments of a class above, in order of declaration."""
    return tuple(
        Argument(name=f.name, default=cast(int | str | None, f.default), **f.metadata)
        for f in dataclasses.fields(arguments)
        if f.metadata
    )


def parse(arguments: type[TilingArguments], pairs: Pairs, *, model_type: str) -> TilingArguments:
    """An instance of `arguments` from NAME, VALUE pairs; values may be strings.

    Raises:
        ArgumentError: an unknown name, a name given twice, or a value that is not allowed; the
            message says what is.
    """
    known = {argument.name: argument for argument in describe(arguments)}
    values: dict[str, int | str] = {}
    for name, value in pairs.items() if isinstance(pairs, Mapping) else pairs:
        if name not in known:
            raise ArgumentError(
                f'{model_type} models take no argument "{name}". They take: {", ".join(known)} '
                "(-a NAME=VALUE)."
            )
        if name in values:
            raise ArgumentError(f'The argument "{name}" is given twice.')
        values[name] = _value(known[name], value)
    return arguments(**values)  # type: ignore[arg-type]  # checked against the fields just above


def function_arguments(pairs: Pairs) -> FunctionArguments:
    """The arguments of a raster function; its own are kept as they are given, as text or images.

    Raises:
        ArgumentError: a name given twice, or a value of ours that is not allowed.
    """
    ours = {argument.name for argument in describe(FunctionArguments)}
    limits: list[tuple[str, object]] = []
    values: dict[str, str] = {}
    images: dict[str, tuple[Overlay, ...]] = {}
    for name, value in pairs.items() if isinstance(pairs, Mapping) else pairs:
        if name in values or name in images:
            raise ArgumentError(f'The argument "{name}" is given twice.')
        several = value if isinstance(value, list | tuple) else [value]
        if name in ours:
            limits.append((name, value))
        elif any(isinstance(one, np.ndarray | Overlay) for one in several):
            images[name] = tuple(_overlay(name, one) for one in several)
        else:
            values[name] = str(value)
    parsed = parse(FunctionArguments, limits, model_type="PythonRasterFunction")
    return dataclasses.replace(
        cast(FunctionArguments, parsed), values=tuple(values.items()), images=tuple(images.items())
    )


def _overlay(name: str, value: object) -> Overlay:
    if isinstance(value, np.ndarray):
        value = Overlay(pixels=value)
    if not isinstance(value, Overlay) or value.pixels.ndim != 3 or 0 in value.pixels.shape:
        raise ArgumentError(f'The argument "{name}": an image is an array (bands, height, width).')
    return value


def pixel_values(arguments: TilingArguments) -> dict[str, int | str | None]:
    """The values that change pixels, by name; of images their digests."""
    values = {
        argument.name: getattr(arguments, argument.name)
        for argument in describe(type(arguments))
        if argument.changes_pixels
    }
    if isinstance(arguments, FunctionArguments):
        values.update(arguments.values)
        for name, images in arguments.images:
            values[name] = ";".join(f"sha256:{image.digest}" for image in images)
    return values


def _value(argument: Argument, value: object) -> int | str:
    wrong = ArgumentError(
        f'-a {argument.name}={value} is not allowed: "{argument.name}" takes {argument.allowed}.'
    )
    text = str(value).strip()
    if argument.choices is not None:
        by_fold = {choice.casefold(): choice for choice in argument.choices}
        if text.casefold() not in by_fold:
            raise wrong
        return by_fold[text.casefold()]
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or len(text) > 9:
        raise wrong
    number = int(text)
    if argument.minimum is not None and number < argument.minimum:
        raise wrong
    return number
