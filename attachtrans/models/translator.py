"""What the engine knows of a net: a `TranslatorSpec` and a call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatorSpec:
    """The facts a tiler needs. Sizes are in input pixels.

    in_bands, out_bands   bands the net takes and gives
    in_range    (low, high) that a data type's full scale is mapped to before the call, e.g.
                (0, 255): 8-bit photos go in as they are, 16-bit ones are divided by 257, floats
                are taken as 0..1 and multiplied by 255. None: values go in raw, whatever the type
                (ArcGIS types with statistics, SAR amplitudes)
    out_range   (low, high) of the values the call gives, None when unbounded
    scale       output pixels per input pixel along an axis; not necessarily an integer
    multiple_of width and height of a tile must be multiples of this
    min_size    smallest width and height of a tile
    fixed_size  the only (width, height) of a tile that the net takes, None = any
    fixed_batch the only batch size that the net takes, None = any
    margin_px   input pixels lost on each side: output = scale * (n - 2 * margin_px)
    receptive_field_px  how far, in input pixels, an output pixel sees beyond its own place (the
                exact halo on one side, margin_px included); None = unbounded or depends on the
                tile (instance norm, global pooling, attention)
    stages      how a net with whole-image statistics is run in parts; None = not offered
    """

    in_bands: int
    out_bands: int
    in_range: tuple[float, float] | None
    out_range: tuple[float, float] | None
    scale: float = 1.0
    multiple_of: int = 1
    min_size: int = 1
    fixed_size: tuple[int, int] | None = None
    fixed_batch: int | None = None
    margin_px: int = 0
    receptive_field_px: int | None = None
    stages: Sequence[object] | None = None


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
