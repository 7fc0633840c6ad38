"""Nets compiled by torch (`--compile`): for one shape of batches, since each shape takes its time.

Measured on a CPU with AVX-512, fp32, against the same net as it is: Pix2Pix U-Net 1.7 times as
fast, CycleGAN 1.1, diffusion nets 1.0; nets with a resnet backbone do not compile (torch 2.13).
It takes ten seconds to two minutes. So nobody gets it unasked.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attachtrans.errors import ArgumentError, InferenceError
from attachtrans.infer.devices import tiles_per_call
from attachtrans.infer.lanes import Lanes
from attachtrans.infer.tiling import Tiling
from attachtrans.infer.warmup import agree
from attachtrans.models.translator import CompilableTranslator, Translator, TranslatorSpec
from attachtrans.types import Size

# Larger than any tile, so that the plan's tile is the one of large photos.
_LARGE = Size(1 << 15, 1 << 15)
_EIGHT_BITS = (0.0, 255.0)


class Compiled:
    """A net that torch has compiled for one shape of batches; others run as they are.

    A `Translator`. Compiling happens at once, and its result is compared with the net's.

    tile_size, batch_size   as for `Engine`; without a tile size photos of different sizes have
                different tiles, so it is required unless the net's is fixed

    Raises ArgumentError for a net that cannot be compiled or without a tile size, InferenceError
    when torch fails to compile it or the results differ by more than rounding to 8 bits hides.
    """

    def __init__(
        self, translator: Translator, *, tile_size: int | None, batch_size: int | None
    ) -> None:
        spec, device = translator.spec, translator.device
        if not isinstance(translator, CompilableTranslator):
            raise ArgumentError(
                "--compile: torch cannot compile this net, or it gains nothing (ONNX and "
                "TorchScript files bring their own compiler, diffusion nets are no faster): "
                "leave --compile out"
            )
        if tile_size is None and spec.fixed_size is None:
            raise ArgumentError(
                "--compile: a net is compiled for one size of tiles; say which, for example "
                "-a tile_size=512"
            )
        tile = Tiling(tile_size=tile_size).plan(_LARGE, spec).tile
        batch = spec.fixed_batch or batch_size or tiles_per_call(device, tile)
        self._shape = (batch, spec.in_bands, tile.height, tile.width)
        self._plain = translator
        self._fast = translator.compiled()
        # Compiled code keeps the number of threads it was made for, and lanes do nearly all work.
        self._threads = Lanes(device).submit(self._try).result()

    @property
    def spec(self) -> TranslatorSpec:
        """The spec of the net."""
        return self._plain.spec

    @property
    def device(self) -> torch.device:
        """The device of the net."""
        return self._plain.device

    def __call__(self, batch: Tensor, positions: Tensor | None = None) -> Tensor:
        """See `Translator`."""
        suits = batch.shape == self._shape and torch.get_num_threads() == self._threads
        return (self._fast if suits else self._plain)(batch, positions)

    @torch.inference_mode()
    def _try(self) -> int:
        """Compile and compare; gives the number of threads it was compiled for."""
        from torch._inductor import config  # seconds and 130 MB, for who compiles only

        low, high = self.spec.in_range or _EIGHT_BITS
        noise = torch.rand(self._shape, generator=torch.Generator().manual_seed(0))
        batch = (noise * (high - low) + low).to(self.device, memory_format=torch.channels_last)
        exact = self._plain(batch)
        try:
            # Nearly all there is to gain lies in weights that are laid out once and for all. (As
            # an option of torch.compile this has no effect: measured with torch 2.13.)
            with config.patch(freezing=True):
                found = self._fast(batch)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise InferenceError(
                f"--compile: torch could not compile this net ({type(error).__name__}: "
                f"{reason:.200}). If it is a C++ compiler that is missing, install one such as "
                "g++; else leave --compile out"
            ) from error
        if not agree(found, exact, self.spec.out_range):
            raise InferenceError(
                "--compile: the compiled net gives other results than the net itself: leave "
                "--compile out"
            )
        return torch.get_num_threads()
