"""Calling a net in fp32, bf16 or fp16: which one, when nobody says."""

from __future__ import annotations

import threading
import time

import torch
from torch import Tensor

from attachtrans.errors import ArgumentError
from attachtrans.infer.warmup import Trial, bf16_pays
from attachtrans.models.translator import Translator

PRECISIONS = ("auto", "fp32", "bf16", "fp16")

# On the CPU a trial is for runs that are long: so many calls and seconds of them are over.
_LONG_CALLS = 50
_LONG_S = 10.0


class Caller:
    """A net at a precision: float32 in, float32 out.

    precision "auto" begins in fp32. On CUDA devices bf16 (from compute capability 8.0) or fp16
    (7.0) is tried at once, on the CPU bf16 once the run has proved long; it is gone over to when
    it is faster on this machine and its results differ by no more than rounding to 8 bits hides
    (`warmup`). A precision that was asked for is used without a trial. Several threads may call.
    Raises ArgumentError for an unknown name.
    """

    def __init__(self, translator: Translator, device: torch.device, precision: str) -> None:
        if precision not in PRECISIONS:
            raise ArgumentError(
                f"precision {precision!r} is unknown: use one of {', '.join(PRECISIONS)}"
            )
        self.precision = "fp32" if precision == "auto" else precision
        self._translator = translator
        self._device = device
        self._candidate = _candidate(device) if precision == "auto" else None
        self._trial = Trial(device, translator.spec.out_range)
        self._trying = threading.Lock()
        # What must be over before a trial begins.
        self._calls_left = _LONG_CALLS if device.type == "cpu" else 0
        self._seconds_left = _LONG_S if device.type == "cpu" else 0.0

    def __call__(self, batch: Tensor, positions: Tensor) -> Tensor:
        """(N, in_bands, H, W) and (N, 2) -> (N, out_bands, H', W') float32."""
        candidate = self._candidate
        # One thread tries at a time; the others go on meanwhile as before.
        if candidate is None or not self._trying.acquire(blocking=False):
            return self._in(self.precision, batch, positions)
        try:
            if self._calls_left > 0 or self._seconds_left > 0:
                return self._noted(batch, positions)
            return self._tried(candidate, batch, positions)
        finally:
            self._trying.release()

    def autocast(self, precision: str | None = None) -> torch.autocast:
        """A precision (None: the one in use) as a context, for calls that are made in parts."""
        dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
        dtype = dtypes.get(precision or self.precision)
        return torch.autocast(self._device.type, dtype, enabled=dtype is not None)

    def _in(self, precision: str, batch: Tensor, positions: Tensor) -> Tensor:
        with self.autocast(precision):
            return self._translator(batch, positions).float()

    def _noted(self, batch: Tensor, positions: Tensor) -> Tensor:
        started = time.perf_counter()
        result = self._in("fp32", batch, positions)
        self._calls_left -= 1
        self._seconds_left -= time.perf_counter() - started
        if self._calls_left <= 0 and self._seconds_left <= 0 and not bf16_pays(self._device):
            self._candidate = None
        return result

    def _tried(self, candidate: str, batch: Tensor, positions: Tensor) -> Tensor:
        result = self._trial(
            lambda: self._in("fp32", batch, positions),
            lambda: self._in(candidate, batch, positions),
        )
        if self._trial.verdict is not None:
            self._candidate = None
        if self._trial.verdict:
            self.precision = candidate
        return result


def _candidate(device: torch.device) -> str | None:
    """The half precision that may be worth a trial on a device."""
    if device.type == "cpu":
        return "bf16"
    if device.type != "cuda":
        return None
    major, _ = torch.cuda.get_device_capability(device)
    if major >= 8:  # Ampere, the first with bf16
        return "bf16"
    return "fp16" if major == 7 else None  # Volta and Turing
