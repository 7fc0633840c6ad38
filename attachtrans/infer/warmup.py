"""Finding out on a net's first tiles whether half precision pays: by the clock, and by its results.

Processors and nets differ too much to tell from their names. (Measured: bf16 halves the time of
convolutions on a CPU with AVX512-BF16, and takes 7 times as long on one with AVX2 only.)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from attachtrans.infer.faults import out_of_memory

# So many tiles are computed both ways, in at least so many calls after the first, which prepares.
_TILES = 8
_CALLS = 2
# What the clock must show, beyond its noise, for results that are not quite those of fp32.
_LEAST_GAIN = 1.2
_LEAST_PSNR_DB = 45.0
# At most this share of values may be off by more than this many 255ths of the range.
_MOST_OFF = 0.005
_OFF_STEPS = 2.0
# Of the convolution that tells whether a trial is worth its time.
_PROBE_CHANNELS, _PROBE_EDGE = 64, 64


class Trial:
    """A net in fp32 and in half precision side by side, until it is known which to go on with.

    verdict     whether half precision is good enough and faster; None while that is not known
    """

    def __init__(self, device: torch.device, out_range: tuple[float, float] | None) -> None:
        self.verdict: bool | None = None
        self._device = device
        self._out_range = out_range
        self._tiles = self._calls = 0
        self._full_s = self._half_s = 0.0

    def __call__(self, full: Callable[[], Tensor], half: Callable[[], Tensor]) -> Tensor:
        """Run both on the same tiles, (N, bands, H, W), and give what `full` gives.

        What `half` raises is a verdict too, unless memory ran out.
        """
        exact, full_s = self._timed(full)
        try:
            rough, half_s = self._timed(half)
        except Exception as error:
            if out_of_memory(error):
                raise
            self.verdict = False
            return exact
        if not agree(rough, exact, self._out_range):
            self.verdict = False
            return exact
        if self._calls:
            self._full_s += full_s
            self._half_s += half_s
        self._calls += 1
        self._tiles += len(exact)
        if self._tiles >= _TILES and self._calls > _CALLS:
            self.verdict = self._full_s >= _LEAST_GAIN * self._half_s
        return exact

    def _timed(self, call: Callable[[], Tensor]) -> tuple[Tensor, float]:
        self._settle()
        started = time.perf_counter()
        result = call()
        self._settle()
        return result, time.perf_counter() - started

    def _settle(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def agree(half: Tensor, full: Tensor, out_range: tuple[float, float] | None) -> bool:
    """Whether half precision gives what full precision gives, as far as 8 bits show.

    PSNR of at least 45 dB and at most 0.5 % of values off by more than 2/255 of the range; the
    range is the net's own, or that of `full` when it has none. Values that are not finite in
    `half` alone fail; where `full` has them too, precision is not the reason.
    """
    known = torch.isfinite(full)
    if not bool(known.all()):  # picking values out takes ten times their memory
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


def bf16_pays(device: torch.device) -> bool:
    """Whether a small convolution is faster in bf16 here; a few milliseconds.

    A whole tile would cost seconds on processors that have to imitate bf16.
    """
    shape = (1, _PROBE_CHANNELS, _PROBE_EDGE, _PROBE_EDGE)
    pixels = torch.ones(shape, device=device).contiguous(memory_format=torch.channels_last)
    kernel = torch.ones(_PROBE_CHANNELS, _PROBE_CHANNELS, 3, 3, device=device)
    seconds = {torch.float32: math.inf, torch.bfloat16: math.inf}
    for _ in range(4):
        for dtype, least in seconds.items():
            x, weight = pixels.to(dtype), kernel.to(dtype)
            started = time.perf_counter()
            functional.conv2d(x, weight, padding=1)
            seconds[dtype] = min(least, time.perf_counter() - started)
    return seconds[torch.float32] > _LEAST_GAIN * seconds[torch.bfloat16]
