"""What the engine knows of a net: a `TranslatorSpec` and a call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from numpy.typing import NDArray
from torch import Tensor

from attachtrans.types import Size


class Region(NamedTuple):
    """A rectangle of whole pixels of some value of a net."""

    rows: range
    cols: range

    @property
    def slices(self) -> tuple[slice, slice]:
        """(rows, cols), for indexing the last two axes of a tensor."""
        return slice(self.rows.start, self.rows.stop), slice(self.cols.start, self.cols.stop)

    @property
    def pixels(self) -> int:
        """How many there are."""
        return len(self.rows) * len(self.cols)


class Shape(NamedTuple):
    """Of a value that a net computes of one whole image."""

    channels: int
    height: int
    width: int

    @property
    def region(self) -> Region:
        """All of it."""
        return Region(range(self.height), range(self.width))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Mean and biased variance of each channel over a whole image: (C,) float32, on the device."""

    mean: Tensor
    variance: Tensor


Read = Callable[[int, Region], Tensor]
"""read(number, region) -> (1, C, rows, cols) of that value, not to be written to."""


class Part(Protocol):
    """A local part of a net at one image size: it gives one value, any region of it at a time.

    Values are numbered: 0 is the image in source units, n the value of the nth part.

    shape       of its value
    kept        whether later parts read its value
    counted     whether later parts need the moments of its value
    reads       numbers of the values that it reads, all of which are kept
    work        multiply-adds, about, for all of it
    """

    @property
    def shape(self) -> Shape: ...

    @property
    def kept(self) -> bool: ...

    @property
    def counted(self) -> bool: ...

    @property
    def reads(self) -> tuple[int, ...]: ...

    @property
    def work(self) -> float: ...

    def scratch_bytes(self, region: Region) -> int:
        """Memory that computing this region takes for a while, about."""
        ...

    def compute(self, region: Region, read: Read, moments: Mapping[int, Moments]) -> Tensor:
        """(1, channels, rows, cols) float32 of its value.

        moments     of every counted value, by number
        """
        ...


class Stages(Protocol):
    """How a net is run over a whole image in local parts, with statistics of all of it between."""

    def parts(self, size: Size) -> Sequence[Part]:
        """In the order in which they are to be run; the last one gives the net's result.

        size    of the image, with what is filled in to suit the net
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatorSpec:
    """The facts a tiler needs. Sizes are in input pixels.

    in_bands, out_bands   bands the net takes and gives
    in_range    (low, high) that a data type's full scale is mapped to before the call, e.g.
                (0, 255): 8-bit photos go in as they are, 16-bit ones are divided by 257, floats
                are taken as 0..1 and multiplied by 255. None: values go in raw, whatever the type
                (ArcGIS types with statistics, SAR amplitudes)
    out_range   (low, high) of the values the call gives, None when unbounded
    usual_range (low, high) that values without bounds lie about: an integer type that holds both
                is kept, and clips what goes beyond it; None = nobody knows
    scale       output pixels per input pixel along an axis; not necessarily an integer
    multiple_of width and height of a tile must be multiples of this
    min_size    smallest width and height of a tile
    fixed_size  the only (width, height) of a tile that the net takes, None = any
    fixed_batch the only batch size that the net takes, None = any
    margin_px   input pixels lost on each side: output = scale * (n - 2 * margin_px)
    receptive_field_px  how far, in input pixels, an output pixel sees beyond its own place (the
                exact halo on one side, margin_px included); None = unbounded or depends on the
                tile (instance norm, global pooling, attention)
    stages      how the net is run over a whole image with statistics of all of it; None = it
                cannot be, for the reason in `no_stages`
    no_stages   why there are none, as a clause
    """

    in_bands: int
    out_bands: int
    in_range: tuple[float, float] | None
    out_range: tuple[float, float] | None
    usual_range: tuple[float, float] | None = None
    scale: float = 1.0
    multiple_of: int = 1
    min_size: int = 1
    fixed_size: tuple[int, int] | None = None
    fixed_batch: int | None = None
    margin_px: int = 0
    receptive_field_px: int | None = None
    stages: Stages | None = field(default=None, compare=False, repr=False)
    no_stages: str = field(default="what happens inside it is not known", compare=False)


class Translator(Protocol):
    """A net with its normalisation: raw source units in, target units out.

    `translator(batch)` takes (N, in_bands, H, W) float32 or uint8 on the translator's device and
    gives (N, out_bands, scale * (H - 2 margin), scale * (W - 2 margin)) float32. `positions`
    (N, 2) int64 are the tiles' (col, row) in the full image, for noise that belongs to places.
    """

    @property
    def spec(self) -> TranslatorSpec: ...

    @property
    def device(self) -> torch.device: ...

    def __call__(self, batch: Tensor, positions: Tensor | None = None) -> Tensor: ...


@runtime_checkable
class StepwiseTranslator(Translator, Protocol):
    """A translator that turns noise into a picture in steps (diffusion), which others may make.

    `translator(batch, positions)` is `begin`, `advance` for each number below `step_count`, and
    `finish`. Between them the latents of neighbouring tiles can be blended, progress be shown and
    the work be given up. All are tensors on the translator's device; N tiles at a time, positions
    as for a call.

    step_count      how many steps there are
    latent_step     pixels per value of a latent along an axis; divides `spec.multiple_of`
    """

    @property
    def step_count(self) -> int: ...

    @property
    def latent_step(self) -> int: ...

    def condition(self, batch: Tensor) -> Tensor:
        """What the net is told: (N, in_bands, H, W) in source units -> the latents' shape."""
        ...

    def begin(self, condition: Tensor, positions: Tensor) -> Tensor:
        """Noise to start from, (N, channels, H / latent_step, W / latent_step) float32."""
        ...

    def advance(self, number: int, latent: Tensor, condition: Tensor, positions: Tensor) -> Tensor:
        """The latents after step `number` (from 0), from those before it."""
        ...

    def finish(self, latent: Tensor, condition: Tensor) -> Tensor:
        """What the call gives, from the last latents."""
        ...


@runtime_checkable
class CompilableTranslator(Translator, Protocol):
    """A translator whose net torch may be able to compile."""

    def compiled(self) -> Translator:
        """The same net, which torch compiles when it is first called; the weights are shared."""
        ...


@runtime_checkable
class AdaptiveTranslator(Translator, Protocol):
    """A translator whose facts depend on the image, and which wants to know where it is opaque."""

    def adapted(
        self, image: NDArray[Any], mask: NDArray[Any] | None, stop: threading.Event
    ) -> Translator:
        """The translator of one image, to be called with tiles of that image and their positions.

        image   (bands, height, width), as it was submitted
        mask    (height, width), 0 where the image is transparent; None where it has no alpha
        stop    once it is set, calls may end with an error

        Raises InferenceError when this image cannot be translated, ModelError when no image can.
        """
        ...
