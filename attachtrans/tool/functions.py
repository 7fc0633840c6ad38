"""Raster functions before a run: their arguments checked, the images among these read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from attachtrans.errors import ArgumentError, ImageError
from attachtrans.hosting.parameters import Parameter
from attachtrans.models.arguments import FunctionArguments, Overlay
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.hosted import open_function, set_up


def settle(
    definition: ModelDefinition, arguments: FunctionArguments
) -> tuple[FunctionArguments, float]:
    """Run a function's code as far as it takes to check its arguments; the user trusts it.

    Gives the arguments with their images read, and the factor by which photos are to be enlarged
    before the function gets them.

    Raises:
        ArgumentError: an argument that the function does not take, or an image that cannot be read.
        ModelError: the code fails.
    """
    with closing(open_function(definition, arguments)) as function:
        rasters = {p.name: p for p in function.parameters if p.is_raster}
        ready = _with_images(arguments, rasters)
        return ready, set_up(function, definition, ready).enlarge


def _with_images(
    arguments: FunctionArguments, rasters: Mapping[str, Parameter]
) -> FunctionArguments:
    """The arguments, paths of images replaced by the images."""
    read = tuple(
        (name, tuple(_read(name, path) for path in _paths(value, rasters[name])))
        for name, value in arguments.values
        if name in rasters
    )
    others = tuple(pair for pair in arguments.values if pair[0] not in rasters)
    return dataclasses.replace(arguments, values=others, images=(*arguments.images, *read))


def _paths(value: str, parameter: Parameter) -> list[str]:
    if parameter.kind == "raster":
        return [value]
    return [path.strip() for path in value.split(";") if path.strip()]


def _read(name: str, path: str) -> Overlay:
    from attachtrans.image import Limits, decode

    try:
        photo = decode(Path(path).read_bytes(), Limits())
    except (OSError, ImageError) as error:
        raise ArgumentError(f"-a {name}={path}: the image cannot be read: {error}") from error
    return Overlay(pixels=photo.pixels, mask=photo.alpha)
