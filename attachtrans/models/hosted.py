"""From a definition with a script to a function that runs: its files, its arguments, its rasters.

Everything here starts the code of the model, so callers have asked for the user's trust before.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attachtrans import __version__
from attachtrans.errors import ArgumentError, InferenceError, ModelError
from attachtrans.hosting.function import (
    HostedFunction,
    HostedImage,
    Program,
    half_the_memory_bytes,
)
from attachtrans.hosting.parameters import Parameter, scalars
from attachtrans.hosting.rasters import Configuration, RasterInfo
from attachtrans.hosting.statistics import BandStatistics
from attachtrans.hosting.wire import WireError, pixel_type
from attachtrans.models.arguments import Argument, FunctionArguments, Overlay
from attachtrans.models.definition import ModelDefinition, canonical_json
from attachtrans.models.package import unpack, unpacked_name
from attachtrans.models.scripts import find_script

CPU = -1
"""The device of functions that are to have no GPU."""

COMPOSITE = "compositeraster"
"""The name of the raster that holds all others (`compositeRasters`)."""

_USUAL_BANDS, _USUAL_SIZE = 3, (256, 256)
"""The photo that a function is told of before there is one."""
_LARGEST_CHANGE = 16

Infos = Mapping[str, RasterInfo | tuple[RasterInfo, ...]]


def open_function(
    definition: ModelDefinition, arguments: FunctionArguments, device: int = CPU
) -> HostedFunction:
    """Start the function of a definition; a package is unpacked for as long as it lives.

    Args:
        definition: one with a script.
        arguments: for what the code may use.
        device: `CPU`, or the number of a GPU.

    Raises:
        ModelError: the files cannot be read, or the code fails.
    """
    script, file = find_script(definition.file, definition.raw), definition.file
    folder: Path | None = None
    try:
        place, model = script.path.resolve(), None if file is None else file.path.resolve()
        if script.member is not None and file is not None and file.member is not None:
            folder = Path(tempfile.mkdtemp(prefix="attachtrans-function-"))
            unpack(script.path, folder)
            place, model = (folder / unpacked_name(name) for name in (script.member, file.member))
        memory = arguments.code_memory
        program = Program(
            script=place,
            folders=() if model is None else (str(model.parent),),
            model=canonical_json(definition.raw).decode() if model is None else str(model),
            device=device,
            product={"productName": "attachtrans", "version": __version__},
            timeout_s=float(arguments.code_timeout),
            memory_bytes=memory << 30 if memory else half_the_memory_bytes(),
        )
        function = HostedFunction(program)
    except BaseException:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if folder is not None:
        weakref.finalize(function, shutil.rmtree, folder, ignore_errors=True)
    return function


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a function's raster parameters get.

    parameters  those that get something, in the order of declaration; the first gets the photo
    images      the further rasters, by name of their parameter. One that takes several may be the
                first: these then come after the photo
    composite   whether all come once more as one raster, their bands one behind the other
    """

    parameters: tuple[Parameter, ...]
    images: Mapping[str, tuple[Overlay, ...]]
    composite: bool

    def infos(self, photo: RasterInfo) -> Infos:
        """The infos of all rasters, by name of their parameter."""
        infos: dict[str, RasterInfo | tuple[RasterInfo, ...]] = {}
        every: list[RasterInfo] = []
        for parameter in self.parameters:
            own = [photo] if parameter is self.parameters[0] else []
            own += [_laid_over(photo, image) for image in self.images.get(parameter.name, ())]
            infos[parameter.name] = own[0] if parameter.kind == "raster" else tuple(own)
            every += own
        if self.composite:
            types = [np.dtype(info.pixel_type) for info in every]
            infos[COMPOSITE] = dataclasses.replace(
                photo,
                bands=sum(info.bands for info in every),
                pixel_type=pixel_type(np.result_type(*types)),
                statistics=_joined(every),
            )
        return infos


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A function whose parameters have their values.

    enlarge     by how much photos are to be enlarged before the function gets them
    in_bands    bands of a usual photo, which is of 8 bits: three, or what the function needs
    output      what it gives for that
    """

    function: HostedFunction
    configuration: Configuration
    inputs: Inputs
    enlarge: float
    in_bands: int
    output: RasterInfo

    @property
    def own_arguments(self) -> tuple[Argument, ...]:
        """The arguments that the script declares, as `info` shows them."""
        return tuple(
            Argument(
                name=parameter.name,
                type=str,
                default=parameter.default,
                doc=parameter.description,
                choices=parameter.domain,
                takes=parameter.takes,
            )
            for parameter in self.function.parameters
            if parameter.is_free and parameter != self.inputs.parameters[0]
        )

    def image(
        self,
        bands: int,
        kind: str,
        size: tuple[int, int],
        statistics: tuple[BandStatistics, ...] = (),
    ) -> HostedImage:
        """Tell the function of a photo of a type `kind` that has this size once it is enlarged.

        Raises:
            InferenceError: the function fails on it, or wants another enlargement.
            ModelError: the function was given up.
        """
        before = (max(1, round(size[0] / self.enlarge)), max(1, round(size[1] / self.enlarge)))
        photo = RasterInfo(
            bands=bands, pixel_type=kind, size=before, span=before, statistics=statistics
        )
        image = self.function.image(self.inputs.infos(photo), photo)
        if not math.isclose(image.output.enlarge, self.enlarge, rel_tol=1e-6):
            raise InferenceError(
                "The raster function gives this photo another cell size than a usual one "
                f"(enlargement {image.output.enlarge:g} instead of {self.enlarge:g})."
            )
        return image


def set_up(
    function: HostedFunction, definition: ModelDefinition, arguments: FunctionArguments
) -> Setup:
    """Check the arguments against what the script declares, and configure it.

    Raises:
        ArgumentError: an argument that it does not take, or one that is missing.
        ModelError: the script fails, or asks for what cannot be.
    """
    rasters = {p.name: p for p in function.parameters if p.is_raster}
    for name, value in arguments.values:
        if name in rasters:
            raise ArgumentError(
                f'The argument "{name}" takes images, and "{value}" was not read: give an array '
                "(bands, height, width) here."
            )
    given = _accepted(arguments, rasters)
    configuration = function.configure(scalars(function.parameters, arguments.values))
    inputs = Inputs(
        parameters=given, images=dict(arguments.images), composite=configuration.composite
    )
    least = max(configuration.extract_bands or (0,)) + 1
    photo = RasterInfo(
        bands=max(definition.bands or _USUAL_BANDS, least),
        pixel_type="u1",
        size=configuration.block or _USUAL_SIZE,
        span=configuration.block or _USUAL_SIZE,
    )
    try:
        image = function.image(inputs.infos(photo), photo)
    except InferenceError as error:
        raise ModelError(str(error)) from error
    enlarge = image.output.enlarge
    if not 1 / _LARGEST_CHANGE <= enlarge <= _LARGEST_CHANGE:
        raise ModelError(
            f"{definition.name} enlarges by {enlarge:g}: {_LARGEST_CHANGE} is the most, up or down."
        )
    return Setup(
        function=function,
        configuration=configuration,
        inputs=inputs,
        enlarge=enlarge,
        in_bands=photo.bands,
        output=image.result,
    )


def with_examples(function: HostedFunction, arguments: FunctionArguments) -> FunctionArguments:
    """The arguments, and something for what is required and missing: to ask, not to run.

    Images become a black pixel each, given or not.
    """
    first = next(p for p in function.parameters if p.is_raster)
    black = Overlay(pixels=np.zeros((_USUAL_BANDS, 1, 1), np.uint8))
    missing = [p for p in function.parameters if p.required and p.is_free and p is not first]
    rasters = {p.name for p in function.parameters if p.is_raster}
    values = {name: value for name, value in arguments.values if name not in rasters}
    examples = {
        p.name: p.example
        for p in missing
        if not p.is_raster and p.default is None and p.name not in values
    }
    return dataclasses.replace(
        arguments,
        values=tuple({**examples, **values}.items()),
        images=tuple((p.name, (black,)) for p in missing if p.is_raster),
    )


def _accepted(
    arguments: FunctionArguments, rasters: Mapping[str, Parameter]
) -> tuple[Parameter, ...]:
    """The raster parameters that get something, the photo's first."""
    first = next(iter(rasters.values()))
    images = dict(arguments.images)
    for name, given in images.items():
        if name not in rasters or (rasters[name] is first and first.kind == "raster"):
            others = ", ".join(n for n, p in rasters.items() if p is not first) or "none"
            raise ArgumentError(
                f'This function takes no image for "{name}". Images besides the photo: {others}.'
            )
        if rasters[name].kind == "raster" and len(given) > 1:
            raise ArgumentError(f'The argument "{name}" takes one image, not {len(given)}.')
    for name, parameter in rasters.items():
        if parameter.required and parameter is not first and name not in images:
            raise ArgumentError(
                f'This function needs the image "{name}": -a {name}=FILE. {parameter.description}'
            )
    return tuple(p for name, p in rasters.items() if p is first or name in images)


def _joined(rasters: Sequence[RasterInfo]) -> tuple[BandStatistics, ...]:
    """The statistics of all bands one behind the other, none where any raster lacks them."""
    if not all(info.statistics for info in rasters):
        return ()
    return tuple(one for info in rasters for one in info.statistics)


def _laid_over(photo: RasterInfo, image: Overlay) -> RasterInfo:
    bands, height, width = image.pixels.shape
    return RasterInfo(
        bands=bands,
        pixel_type=pixel_kind(image.pixels.dtype),
        size=(width, height),
        span=photo.span,
    )


def pixel_kind(dtype: np.dtype[Any]) -> str:
    """The name that functions have for a data type.

    Raises:
        ArgumentError: they have none.
    """
    try:
        return "f4" if dtype == np.float16 else pixel_type(dtype)
    except WireError as error:
        raise ArgumentError(f"Raster functions take no pixels of the type {dtype.name}.") from error
