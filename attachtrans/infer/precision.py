"""Calling a net in fp32, bf16 or fp16, and checking that half precision is good enough."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attachtrans.errors import ArgumentError
from attachtrans.models.translator import Translator

PRECISIONS = ("auto", "fp32", "bf16", "fp16")

# Half precision is compared with fp32 on so many tiles before it is trusted, and must reach this.
_TRIAL_TILES = 8
_LEAST_PSNR_DB = 45.0
# At most this share of values may be off by more than this many 255ths of the range.
_MOST_OFF = 0.005
_OFF_STEPS = 2.0


class Caller:
    """A net at a precision: float32 in, float32 out.

    precision "auto" is fp32 on the CPU and on MPS, bf16 on CUDA devices from compute capability
    8.0, fp16 from 7.0; the first tiles then run in fp32 as well, and fp32 stays if the two differ
    by more than rounding to 8 bits hides. A precision that was asked for is used without a trial.
    Raises ArgumentError for an unknown name.
    """

    def __init__(self, translator: Translator, device: torch.device, precision: str) -> None:
        if precision not in PRECISIONS:
            raise ArgumentError(
                f"precision {precision!r} is unknown: use one of {', '.join(PRECISIONS)}"
            )
        self._translator = translator
        self._device = device
        auto = precision == "auto"
        self.precision = _suited(device) if auto else precision
        self._trial = _TRIAL_TILES if auto and self.precision != "fp32" else 0

    def __call__(self, batch: Tensor, positions: Tensor) -> Tensor:
        """(N, in_bands, H, W) and (N, 2) -> (N, out_bands, H', W') float32."""
        if self.precision == "fp32":
            return self._translator(batch, positions).float()
        result = self._half(batch, positions)
        if self._trial > 0:
            full = self._translator(batch, positions).float()
            if not agree(result, full, self._translator.spec.out_range):
                self.precision = "fp32"
                return full
            self._trial -= len(batch)
        return result

    def autocast(self) -> torch.autocast:
        """The precision as a context, for calls that are made in parts."""
        if self.precision == "fp32":
            return torch.autocast(self._device.type, enabled=False)
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self._device.type, dtype)

    def _half(self, batch: Tensor, positions: Tensor) -> Tensor:
        with self.autocast():
            return self._translator(batch, positions).float()


def agree(half: Tensor, full: Tensor, out_range: tuple[float, float] | None) -> bool:
    """Whether half precision gives what full precision gives, as far as 8 bits show.

    PSNR of at least 45 dB and at most 0.5 % of values off by more than 2/255 of the range; the
    range is the net's own, or that of `full` when it has none. Values that are not finite in
    `half` alone fail; where `full` has them too, precision is not the reason.
    """
    known = torch.isfinite(full)
    if not bool(known.any()):
        return True
    full, half = full[known], half[known]
    low, high = out_range or (float(full.min()), float(full.max()))
    peak = high - low
    error = (half - full).abs_()
    if not bool(torch.isfinite(error).all()):
        return False
    mean_square = float(error.square().mean())
    if mean_square == 0:
        return True
    if peak == 0:
        return False
    psnr_db = 10 * math.log10(peak**2 / mean_square)
    off = float((error > _OFF_STEPS * peak / 255).float().mean())
    return psnr_db >= _LEAST_PSNR_DB and off <= _MOST_OFF


def _suited(device: torch.device) -> str:
    if device.type != "cuda":
        return "fp32"
    major, _ = torch.cuda.get_device_capability(device)
    if major >= 8:  # Ampere, the first with bf16
        return "bf16"
    return "fp16" if major == 7 else "fp32"  # Volta and Turing
