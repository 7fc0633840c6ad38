"""Copies between host and device that wait for nothing.

On CUDA they have streams of their own, so that they run while the stream of the net computes; a
copy that is not told otherwise waits until all that was asked of the device before is done.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def bring(values: Tensor, device: torch.device) -> Tensor:
    """To the device, beside what it computes; what it is asked for after this sees them.

    On CUDA memory that is not pinned is first copied to some that is.
    """
    if device.type != "cuda":
        return values.to(device)
    stream, computing = _stream(device, "in"), torch.cuda.current_stream(device)
    with torch.cuda.stream(stream):
        there = values.pin_memory().to(device, non_blocking=True)
    computing.wait_stream(stream)
    there.record_stream(computing)
    return there


class Parcel:
    """A result on its way to the host, beside what the device goes on to compute."""

    def __init__(self, values: Tensor, total: Tensor) -> None:
        """Send an array and a single number (0-d), both of the same device."""
        self._event: torch.Event | None = None
        if values.device.type != "cuda":
            self._values, self._total = values.cpu(), total.cpu()
            return
        stream = _stream(values.device, "out")
        stream.wait_stream(torch.cuda.current_stream(values.device))
        with torch.cuda.stream(stream):
            self._values, self._total = _sent(values), _sent(total)
        self._event = torch.Event(values.device)
        self._event.record(stream)
        for tensor in (values, total):
            tensor.record_stream(stream)

    def arrived(self) -> bool:
        """Whether `open` would return at once."""
        return self._event is None or self._event.query()

    def open(self) -> tuple[Tensor, float]:
        """Both, on the host; waits for them to arrive."""
        if self._event is not None:
            self._event.synchronize()
        return self._values, float(self._total)


def _sent(values: Tensor) -> Tensor:
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return host.copy_(values, non_blocking=True)


@cache
def _stream(device: torch.device, direction: str) -> torch.cuda.Stream:
    """One for each way ("in", "out"): both can be used at once."""
    del direction
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch has no hints here
