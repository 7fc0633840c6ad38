"""Which devices a run uses: `auto`, `cpu`, `cuda`, `cuda:1`, `cuda:0,1`, `mps`."""

from __future__ import annotations

import torch

from attachtrans.errors import ArgumentError
from attachtrans.types import Size

# What fills a GPU, about: pixels per call of a net, but no more tiles than this.
_GPU_PIXELS = 4 << 20
_GPU_TILES = 16


def select_devices(text: str) -> tuple[torch.device, ...]:
    """The devices that `--device` names, in order; `auto` is every GPU there is, else the CPU.

    Raises ArgumentError when a device is not there; never falls back in silence.
    """
    name, _, numbers = text.strip().lower().partition(":")
    if name == "auto" and not numbers:
        if torch.cuda.is_available():
            return _cuda("")
        return (torch.device("mps" if torch.backends.mps.is_available() else "cpu"),)
    if name == "cpu" and not numbers:
        return (torch.device("cpu"),)
    if name == "mps" and not numbers:
        if not torch.backends.mps.is_available():
            message = "--device mps: this machine has no Metal GPU; use --device cpu"
            raise ArgumentError(message)
        return (torch.device("mps"),)
    if name == "cuda":
        return _cuda(numbers or "0")
    message = f"--device {text} is not one of auto, cpu, cuda, cuda:N, cuda:0,1, mps"
    raise ArgumentError(message)


def tiles_per_call(device: torch.device, tile: Size) -> int:
    """How many tiles to give a net at a time, when nobody says; memory may allow fewer.

    On a CPU one: convolutions gain nothing from more, and nets with large weights 1 to 12 %
    (measured).
    """
    if device.type != "cuda":
        return 1
    return max(1, min(_GPU_TILES, _GPU_PIXELS // (tile.width * tile.height)))


def _cuda(numbers: str) -> tuple[torch.device, ...]:
    """CUDA devices by a comma-separated list; "" means all."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        message = (
            "--device cuda: torch sees no CUDA GPU here (no card, no driver, or a CPU build of "
            "torch); use --device cpu or install a CUDA build of torch"
        )
        raise ArgumentError(message)
    if not numbers:
        return tuple(torch.device("cuda", index) for index in range(count))
    try:
        indices = [int(number) for number in numbers.split(",")]
    except ValueError:
        message = f"--device cuda:{numbers}: write GPU numbers like cuda:0 or cuda:0,1"
        raise ArgumentError(message) from None
    if bad := [index for index in indices if not 0 <= index < count]:
        message = f"--device cuda:{numbers}: there is no GPU {bad[0]}; this machine has {count}"
        raise ArgumentError(message)
    return tuple(torch.device("cuda", index) for index in dict.fromkeys(indices))
