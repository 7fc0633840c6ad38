"""What nets cost: parameters, work, time and memory of a tile, in fp32 and in half precision.

The nets of `benchmarks.zoo`, and models by name or path. Needs torch and numpy only, besides what
a model's own type needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from attachtrans.infer.devices import tiles_per_call
from attachtrans.infer.lanes import Lanes
from attachtrans.infer.tiling import Tiling
from attachtrans.infer.warmup import agree
from attachtrans.models.load import load_model
from attachtrans.types import Size
from benchmarks.zoo import ZOO, seeded

COLUMNS = (
    "net",
    "parameters, M",
    "tile",
    "GFLOP a tile",
    "ms a tile, fp32",
    "TFLOP/s",
    "ms a tile, bf16",
    "gain",
    "MB a tile, peak",
    "tiles in 8 GiB",
)
MODEL_TILE = 256
_LARGE = Size(1 << 15, 1 << 15)
_MEMORY_MB = 8 << 10
_BASE_MB = 1 << 10  # torch and its libraries, a photo, what others hold
_TURNS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """Something to measure.

    call        the net
    inputs      what to call it with, for so many tiles
    parameters  how many trained values
    edge        of a tile, in pixels
    """

    call: Callable[..., Tensor]
    inputs: Callable[[int], tuple[Tensor, ...]]
    parameters: int
    edge: int


def opened(name: str, device: torch.device) -> Net:
    """A net of the zoo by its name there, else a model."""
    if name in ZOO:
        kind, module = ZOO[name], seeded(ZOO[name], device)
        return Net(
            call=module,
            inputs=lambda batch: kind.inputs(batch, device),
            parameters=sum(tensor.numel() for tensor in module.parameters()),
            edge=kind.edge,
        )
    model = load_model(name, device=device)
    spec = model.spec
    fixed = None if spec.fixed_size else MODEL_TILE
    tile = Tiling(tile_size=fixed, padding=0).plan(_LARGE, spec).tile
    low, high = spec.in_range or (0.0, 255.0)

    def pictures(batch: int) -> tuple[Tensor, ...]:
        shape = (batch, spec.in_bands, tile.height, tile.width)
        values = torch.rand(shape, generator=torch.Generator().manual_seed(1))
        return ((values * (high - low) + low).to(device, memory_format=torch.channels_last),)

    return Net(
        call=model, inputs=pictures, parameters=getattr(model, "parameters", 0), edge=tile.width
    )


@torch.inference_mode()
def measure(settings: Mapping[str, Any]) -> dict[str, Any]:
    """One net, as the contestant's settings say: "model", "device", "count" tiles to time."""
    started = time.perf_counter(), time.process_time()
    device = torch.device(settings["device"])
    net = opened(settings["model"], device)
    memory = tile_mb(net, device)
    one = net.inputs(1)
    with FlopCounterMode(display=False) as counter:
        full = net.call(*one).float()
    with torch.autocast(device.type, torch.bfloat16):
        half = net.call(*one).float()
    result: dict[str, Any] = {
        "parameters": net.parameters,
        "edge": net.edge,
        "flop": counter.get_total_flops(),
        "agrees": agree(half, full, None),
        "tile_mb": memory,
        "fp32_ms": float("inf"),
        "bf16_ms": float("inf"),
    }
    for _ in range(_TURNS):
        for name, is_half in (("fp32_ms", False), ("bf16_ms", True)):
            took = tile_ms(net, device, settings["count"], half=is_half)
            result[name] = min(result[name], took)
    wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    return result | {"wall_s": wall, "cpu_s": cpu}


def tile_ms(net: Net, device: torch.device, tiles: int, *, half: bool) -> float:
    """Milliseconds of a tile in the batches and lanes that the engine uses."""
    lanes = Lanes(device)
    batch = tiles_per_call(device, Size(net.edge, net.edge))
    inputs = net.inputs(batch)

    @torch.inference_mode()
    def call() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            net.call(*inputs)

    def run(calls: int) -> float:
        settle(device)
        started = time.perf_counter()
        for future in [lanes.submit(call) for _ in range(calls)]:
            future.result()
        settle(device)
        return time.perf_counter() - started

    run(lanes.count)
    calls = -(-max(tiles // batch, 1) // lanes.count) * lanes.count
    return run(calls) / (calls * batch) * 1000


def tile_mb(net: Net, device: torch.device) -> float:
    """Memory that a second tile in a batch adds to the peak; for a net that has not run yet."""
    peaks = []
    for batch in (1, 2):
        inputs = net.inputs(batch)
        forget_peak(device)
        net.call(*inputs)
        settle(device)
        peaks.append(peak_mb(device))
    return max(peaks[1] - peaks[0], 1.0)


def settle(device: torch.device) -> None:
    """Wait for what the device was asked to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_peak(device: torch.device) -> None:
    """Let the peak of memory begin anew."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb(device: torch.device) -> float:
    """Most memory in use since `forget_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / (1 << 20)
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(":", 1) for line in lines)["VmHWM"].split()[0]) / 1024


def row(name: str, run: Mapping[str, Any], least: Callable[[str], float]) -> tuple[object, ...]:
    """A net's line of the table; `least` gives the smallest value over the rounds."""
    fp32, bf16 = least("fp32_ms"), least("bf16_ms")
    weights_mb = run["parameters"] * 4 / (1 << 20)
    fitting = int((_MEMORY_MB - _BASE_MB - weights_mb) / least("tile_mb"))
    flop = run["flop"]
    return (
        name,
        run["parameters"] / 1e6,
        run["edge"],
        flop / 1e9 if flop else "",
        fp32,
        flop / fp32 / 1e9 if flop else "",
        bf16,
        fp32 / bf16,
        least("tile_mb"),
        max(fitting, 0),
    )
