"""Python raster functions (`InferenceFunction` of others) as translators.

The code runs in a process of its own (`attachtrans.hosting`), and only for users who trust it. The
function says what blocks it takes (tx, ty, padding) and what it gives (bands, type, cell size);
tiles are these blocks, so the engine neither blends nor batches. A smaller cell size means that
photos are enlarged before the function sees them: it gives as many pixels as it gets.

The first raster parameter is the photo, further ones are images that are laid over it, edge to
edge (the nearest pixel of theirs counts). Each comes with a mask, which is 1 but where the photo
is transparent. Where the function's own mask is 0, the photo keeps its pixels if the result has
its bands and data type, and becomes the function's NoData value, or 0, if not.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attachtrans.errors import ModelError
from attachtrans.hosting.function import Block, HostedImage, Raster
from attachtrans.hosting.rasters import RasterInfo
from attachtrans.hosting.statistics import statistics_of
from attachtrans.models.arguments import Argument, FunctionArguments, Overlay, TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.hosted import (
    COMPOSITE,
    CPU,
    Setup,
    open_function,
    pixel_kind,
    set_up,
    with_examples,
)
from attachtrans.models.module import NO_REFERENCE, Reference
from attachtrans.models.translator import TranslatorSpec

Pixels = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTranslator:
    """A raster function, for images of any kind; `adapted` gives the translator of one image.

    Called without, it takes each tile for an image of 8-bit pixels by itself.
    """

    setup: Setup
    spec: TranslatorSpec
    device: torch.device

    @property
    def parameters(self) -> int:
        """Number of trained values, which the code keeps to itself: 0."""
        return 0

    @property
    def own_arguments(self) -> tuple[Argument, ...]:
        """The arguments that the script declares."""
        return self.setup.own_arguments

    @property
    def enlarge(self) -> float:
        """By how much photos are to be enlarged before."""
        return self.setup.enlarge

    def adapted(self, image: Pixels, mask: Pixels | None, stop: threading.Event) -> PhotoTranslator:
        """See `AdaptiveTranslator`."""
        bands, height, width = image.shape
        self.setup.function.obey(stop)
        told = self.setup.image(
            bands, pixel_kind(image.dtype), (width, height), statistics_of(image, mask)
        )
        return PhotoTranslator(
            setup=self.setup,
            told=told,
            mask=None if mask is None else (mask != 0).astype(np.uint8),
            kind=pixel_kind(image.dtype),
            size=(width, height),
            spec=_spec(self.setup, bands, told.result),
            device=self.device,
        )

    def __call__(self, batch: Tensor, positions: Tensor | None = None) -> Tensor:
        """See `Translator`."""
        del positions  # each tile is an image by itself
        margin = self.spec.margin_px
        _, bands, height, width = batch.shape
        size = (width - 2 * margin, height - 2 * margin)
        photo = PhotoTranslator(
            setup=self.setup,
            told=self.setup.image(bands, "u1", size),
            mask=None,
            kind="u1",
            size=size,
            spec=self.spec,
            device=self.device,
        )
        corner = torch.tensor([[-margin, -margin]])
        return torch.cat([photo(tile[None], corner) for tile in batch])


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoTranslator:
    """A raster function that knows which photo its tiles are from.

    told    what was said of the photo, to and by the function
    mask    (height, width) u1, None = ones
    kind    the photo's type of pixels, as functions name it
    size    (width, height) of the photo, enlarged
    """

    setup: Setup
    told: HostedImage
    mask: NDArray[np.uint8] | None
    kind: str
    size: tuple[int, int]
    spec: TranslatorSpec
    device: torch.device

    def __call__(self, batch: Tensor, positions: Tensor | None = None) -> Tensor:
        """See `Translator`; positions are needed."""
        if positions is None:
            raise ModelError("A raster function has to know where its tiles lie: give positions.")
        places = [(int(col), int(row)) for col, row in positions.tolist()]
        tiles = [
            self._translate(tile, place)
            for tile, place in zip(batch.float().cpu().numpy(), places, strict=True)
        ]
        return torch.from_numpy(np.stack(tiles)).to(batch.device)

    def _translate(self, tile: Pixels, place: tuple[int, int]) -> NDArray[np.float32]:
        """One tile (bands, height, width) whose first pixel lies at `place` (col, row)."""
        padding = self.setup.configuration.padding
        height, width = tile.shape[1:]
        index = _Index(
            rows=_reflected(place[1], height, self.size[1]),
            cols=_reflected(place[0], width, self.size[0]),
            size=self.size,
        )
        pixels = _typed(tile, self.kind)
        cell_x, cell_y = self.told.result.cell_size
        block = Block(
            corner=((place[0] + padding) * cell_x, -(place[1] + padding) * cell_y),
            shape=(height - 2 * padding, width - 2 * padding),
            rasters=self._rasters(pixels, index),
        )
        result = self.setup.function.translate(self.told, block)
        inner = pixels[:, padding : height - padding, padding : width - padding]
        values = result.pixels.astype(np.float32)
        if not result.mask.all():
            kept = inner if self._replaces(inner) else self._no_data()
            values = np.where(result.mask != 0, values, kept).astype(np.float32)
        return values

    def _rasters(self, tile: Pixels, index: _Index) -> dict[str, Raster | tuple[Raster, ...]]:
        """What the function gets of a tile, by name of the parameter."""
        inputs = self.setup.inputs
        rasters: dict[str, Raster | tuple[Raster, ...]] = {}
        every: list[Raster] = []
        for parameter in inputs.parameters:
            own = [self._photo(tile, index)] if parameter is inputs.parameters[0] else []
            own += [index.cut_out(image) for image in inputs.images.get(parameter.name, ())]
            rasters[parameter.name] = own[0] if parameter.kind == "raster" else tuple(own)
            every += own
        if inputs.composite:
            rasters[COMPOSITE] = Raster(
                pixels=np.concatenate([raster.pixels for raster in every]),
                mask=np.minimum.reduce([raster.mask for raster in every]),
            )
        return rasters

    def _photo(self, tile: Pixels, index: _Index) -> Raster:
        configuration = self.setup.configuration
        if configuration.extract_bands is not None:
            last = len(tile) - 1  # bands that a photo lacks repeat its last one
            tile = tile[[min(band, last) for band in configuration.extract_bands]]
        full = (_range(self.kind) or (0, 1))[1]
        if configuration.data_range is not None and configuration.data_range != (0, full):
            low, high = configuration.data_range
            tile = tile.astype(np.float32) * np.float32((high - low) / full) + np.float32(low)
        mask = np.ones(tile.shape[1:], np.uint8) if self.mask is None else index.of(self.mask)
        return Raster(pixels=tile, mask=mask)

    def _replaces(self, inner: Pixels) -> bool:
        output = self.told.output
        return output.pixel_type == self.kind and output.bands == len(inner)

    def _no_data(self) -> np.float32:
        value = self.told.output.no_data
        return np.float32(value if value is not None and math.isfinite(value) else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """Which of a photo's pixels a tile has: rows and columns, and the photo's (width, height)."""

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    size: tuple[int, int]

    def of(self, plane: Pixels) -> Pixels:
        """The tile's part of something that is laid over the photo, (..., height, width)."""
        height, width = plane.shape[-2:]
        # The pixel of the plane that the middle of the photo's pixel falls into.
        rows = (2 * self.rows + 1) * height // (2 * self.size[1])
        cols = (2 * self.cols + 1) * width // (2 * self.size[0])
        return np.ascontiguousarray(plane[..., rows[:, None], cols[None, :]])

    def cut_out(self, image: Overlay) -> Raster:
        """The tile's part of an image that is laid over the photo."""
        pixels = self.of(image.pixels)
        shape = pixels.shape[1:]
        mask = np.ones(shape, np.uint8) if image.mask is None else self.of(image.mask != 0)
        kind = pixel_kind(pixels.dtype)
        return Raster(pixels=pixels.astype(kind, copy=False), mask=mask.astype(np.uint8))


def build(
    definition: ModelDefinition,
    arguments: TilingArguments,
    device: torch.device,
    reference: Reference = NO_REFERENCE,
) -> FunctionTranslator:
    """Start the code of a definition, which the user trusts, as a translator.

    Raises:
        ArgumentError: an argument that the function does not take, or one that is missing.
        ModelError: the code fails, or asks for what cannot be.
    """
    del reference  # nothing to compare with
    return _opened(definition, arguments, device, trial=False)


def try_out(definition: ModelDefinition, arguments: TilingArguments) -> FunctionTranslator:
    """As `build` on the CPU, with examples for what is required and not given: for `info`.

    Raises:
        ArgumentError: an argument that the function does not take.
        ModelError: the code fails, or asks for what cannot be.
    """
    return _opened(definition, arguments, torch.device("cpu"), trial=True)


def _opened(
    definition: ModelDefinition, arguments: TilingArguments, device: torch.device, *, trial: bool
) -> FunctionTranslator:
    if not isinstance(arguments, FunctionArguments):
        raise ModelError(f"{definition.name} needs the arguments of raster functions.")
    number = (device.index or 0) if device.type == "cuda" else CPU
    function = open_function(definition, arguments, number)
    try:
        if trial:
            arguments = with_examples(function, arguments)
        setup = set_up(function, definition, arguments)
    except BaseException:
        function.close()
        raise
    return FunctionTranslator(
        setup=setup, spec=_spec(setup, setup.in_bands, setup.output), device=device
    )


def _spec(setup: Setup, bands: int, output: RasterInfo) -> TranslatorSpec:
    """The facts for the tiler; the function does not look beyond its padding, by its own word."""
    configuration = setup.configuration
    padding, block = configuration.padding, configuration.block
    return TranslatorSpec(
        in_bands=bands,
        out_bands=output.bands,
        in_range=None,
        out_range=_range(output.pixel_type),
        min_size=2 * padding + 1,
        fixed_size=None if block is None else (block[0] + 2 * padding, block[1] + 2 * padding),
        fixed_batch=1,
        margin_px=padding,
        receptive_field_px=padding,
    )


def _range(kind: str) -> tuple[float, float] | None:
    """The values of a type of integers; None for floats."""
    if np.dtype(kind).kind == "f":
        return None
    limits = np.iinfo(kind)
    return float(limits.min), float(limits.max)


def _typed(tile: Pixels, kind: str) -> Pixels:
    """Floats as the type that the photo has, as which they came."""
    limits = _range(kind)
    if limits is None:
        return tile.astype(kind)
    return np.clip(np.rint(tile), *limits).astype(kind)


def _reflected(start: int, length: int, edge: int) -> NDArray[np.intp]:
    """Which pixels a stretch of a tile shows: beyond the photo's edge those on this side of it."""
    index = np.arange(start, start + length) % max(2 * (edge - 1), 1)
    return np.minimum(index, np.abs(2 * (edge - 1) - index)) if edge > 1 else np.zeros_like(index)
