"""One contestant in a process of its own: `python -m benchmarks.contestant KIND JSON`.

Imports come first, then the clock starts. The last line on stdout is JSON: wall_s, cpu_s (user and
system, all threads), peak_mb (highest resident memory of the process), and for those that run a
plan computed_px (input pixels given to the net).
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from attachtrans.infer.engine import Engine
from attachtrans.infer.excerpts import excerpts
from attachtrans.infer.lanes import Lanes
from attachtrans.infer.precision import Caller
from attachtrans.models.load import load_model
from attachtrans.models.translator import Translator, TranslatorSpec
from attachtrans.types import Size

NAIVE_TILE, NAIVE_QUALITY = 512, 95
# Loaded before the clock starts, as other tools' imports are; the whole job only.
JOB_MODULES = ("attachtrans.pipeline", "attachtrans.tool.fitting", "attachtrans.image")
# A GPU tries half precision on the first calls of a net.
WARM_UPS = {"cuda": 4}
Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall and CPU seconds since it was made."""

    wall: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=time.process_time)

    def read(self) -> dict[str, Any]:
        """The seconds until now, of all threads."""
        cpu = time.process_time() - self.cpu
        return {"wall_s": time.perf_counter() - self.wall, "cpu_s": cpu}


@dataclass(slots=True)
class Tracer:
    """Stands in for a net: notes the batches it is given and computes nothing."""

    spec: TranslatorSpec
    device: torch.device
    batches: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, batch: Tensor, positions: Tensor | None = None) -> Tensor:
        """See `Translator`."""
        del positions
        self.batches.append(tuple(batch.shape))
        net = self.spec
        edges = (round((edge - 2 * net.margin_px) * net.scale) for edge in batch.shape[2:])
        # One value seen everywhere costs neither memory nor time.
        return torch.zeros((), device=self.device).expand(len(batch), net.out_bands, *edges)


def planned(net: Translator, settings: Settings) -> list[tuple[int, ...]]:
    """The batches (N, bands, height, width) that the engine makes of the photos, or the raster."""
    if "batches" in settings:
        return [tuple(batch) for batch in settings["batches"]]
    tracer = Tracer(net.spec, net.device)
    engine: Engine[int] = Engine(tracer, device=net.device, precision="fp32")
    if "raster" in settings:
        for number, part in enumerate(excerpts(engine.plan(Size(*settings["size"])), net.spec)):
            shape = net.spec.in_bands, part.window.height, part.window.width
            engine.submit(number, np.broadcast_to(np.uint8(0), shape), excerpt=part)
    else:
        for number, image in enumerate(arrays(settings)):
            engine.submit(number, image)
    engine.flush()
    return tracer.batches


def arrays(settings: Settings) -> list[np.ndarray]:
    """As many images (3, height, width) uint8 as there are photos: two, over and over."""
    width, height = settings["size"]
    rng = np.random.default_rng(0)
    two = [rng.integers(0, 256, (height, width, 3), np.uint8).transpose(2, 0, 1) for _ in "ab"]
    return [two[number % 2] for number in range(settings["count"])]


def computed(batches: list[tuple[int, ...]]) -> int:
    """Input pixels in all batches."""
    return sum(number * height * width for number, _, height, width in batches)


def settle(device: torch.device) -> None:
    """Wait for what the device was asked to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def translate(settings: Settings, **where: Any) -> dict[str, Any]:
    """The whole job on a GeoPackage, from the plan to the final check."""
    from attachtrans.tool.translate import plan_translation

    for module in JOB_MODULES:
        importlib.import_module(module)
    clock = Clock()
    work = plan_translation(
        settings["package"], settings["model"], device=settings["device"], **where
    )
    failed = [outcome for outcome in work if outcome.status.value != "translated"]
    result = clock.read()
    if failed:
        raise SystemExit(f"{len(failed)} photos were not translated: {failed[0].reason}")
    return result | {
        "stages_wall_s": dict(work.times["wall"]),
        "stages_cpu_s": dict(work.times["cpu"]),
    }


def overwrite(settings: Settings) -> dict[str, Any]:
    """Photos replaced in place, with backup and journal."""
    return translate(settings, overwrite_attachments=True)


def append(settings: Settings) -> dict[str, Any]:
    """Translated photos on new features of a new GeoPackage."""
    return translate(settings, output=Path(settings["package"]).with_name("appended.gpkg"))


def forward(settings: Settings) -> dict[str, Any]:
    """The net alone, on the batches of the job, from memory, in the engine's lanes."""
    net = load_model(settings["model"], device=settings["device"])
    return run_forward(net, settings, Lanes(net.device))


def forward_whole(settings: Settings) -> dict[str, Any]:
    """The same with all of torch's threads on one batch at a time."""
    net = load_model(settings["model"], device=settings["device"])
    return run_forward(net, settings, None)


def run_forward(net: Translator, settings: Settings, lanes: Lanes | None) -> dict[str, Any]:
    """Run every batch once; inputs are made before the clock starts, results are dropped."""
    batches = planned(net, settings)
    low, high = net.spec.in_range or (0.0, 255.0)
    layout = getattr(torch, settings.get("layout", "channels_last"))
    inputs = {
        shape: torch.rand(shape, device=net.device)
        .mul_(high - low)
        .add_(low)
        .contiguous(memory_format=layout)
        for shape in set(batches)
    }
    caller = Caller(net, net.device, "auto")

    @torch.inference_mode()
    def call(shape: tuple[int, ...]) -> None:
        caller(inputs[shape], torch.zeros((shape[0], 2), dtype=torch.int64, device=net.device))

    for shape in inputs:
        for _ in range(WARM_UPS.get(net.device.type, 1)):
            call(shape)
    settle(net.device)
    clock = Clock()
    if lanes is None:
        for shape in batches:
            call(shape)
    else:
        for future in [lanes.submit(call, shape) for shape in batches]:
            future.result()
    settle(net.device)
    return clock.read() | {"computed_px": computed(batches), "precision": caller.precision}


def engine(settings: Settings) -> dict[str, Any]:
    """The tile engine alone, on images in memory: cutting, the net, joining, rounding."""
    net = load_model(settings["model"], device=settings["device"])
    images = arrays(settings)
    work: Engine[int] = Engine(net, device=net.device)
    for _ in range(WARM_UPS.get(net.device.type, 1)):
        work.submit(-1, images[0])
        work.flush()
    clock = Clock()
    for number, image in enumerate(images):
        work.submit(number, image)
    work.flush()
    return clock.read() | {"precision": work.precision}


def naive(settings: Settings) -> dict[str, Any]:
    """The loop that most people write: Pillow, tiles of 512 without overlap, one after another."""
    net = load_model(settings["model"], device=settings["device"])
    paths = sorted(Path(settings["files"]).glob("*.jpg"))
    clock = Clock()
    for path in paths:
        image = np.asarray(Image.open(path).convert("RGB"))
        out = naive_translate(net, image)
        Image.fromarray(out).save(path.with_suffix(".naive"), "JPEG", quality=NAIVE_QUALITY)
    return clock.read()


@torch.inference_mode()
def naive_translate(net: Translator, image: np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8 -> the same, enlarged."""
    height, width, _ = image.shape
    scale = int(net.spec.scale)
    low, high = net.spec.out_range or (0.0, 255.0)
    out = np.zeros((height * scale, width * scale, 3), np.uint8)
    for top in range(0, height, NAIVE_TILE):
        for left in range(0, width, NAIVE_TILE):
            part = image[top : top + NAIVE_TILE, left : left + NAIVE_TILE]
            tile = torch.from_numpy(part.copy()).permute(2, 0, 1)[None].to(net.device)
            result = net(tile)[0].sub(low).mul(255 / (high - low)).clamp(0, 255).round().byte()
            rows = slice(top * scale, top * scale + result.shape[1])
            cols = slice(left * scale, left * scale + result.shape[2])
            out[rows, cols] = result.permute(1, 2, 0).cpu().numpy()
    return out


def codec(settings: Settings) -> dict[str, Any]:
    """A JPEG codec, see `benchmarks.codecs`."""
    from benchmarks.codecs import recode

    return recode(settings)


def net(settings: Settings) -> dict[str, Any]:
    """What a tile costs a net, see `benchmarks.nets`."""
    from benchmarks.nets import measure

    return measure(settings)


def raster(settings: Settings) -> dict[str, Any]:
    """The whole job on a raster, see `benchmarks.rasterwork`."""
    from benchmarks.rasterwork import translate

    return translate(settings)


def inspect(settings: Settings) -> dict[str, Any]:
    """What is wrong with results, see `benchmarks.rasterwork`."""
    from benchmarks.rasterwork import inspect

    return inspect(settings)


KINDS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "overwrite": overwrite,
    "append": append,
    "forward": forward,
    "forward_whole": forward_whole,
    "engine": engine,
    "naive": naive,
    "codec": codec,
    "net": net,
    "raster": raster,
    "inspect": inspect,
}


def peak_mb() -> float:
    """Highest resident memory of this process since it was started.

    Linux counts ru_maxrss on from the process that started this one, so its own file is asked.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    """Run what argv names."""
    kind, settings = sys.argv[1], json.loads(sys.argv[2])
    result = KINDS[kind](settings)
    if settings["device"].startswith("cuda"):
        result["peak_gpu_mb"] = torch.cuda.max_memory_allocated() / (1 << 20)
    result |= {"peak_mb": peak_mb(), "threads": torch.get_num_threads()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
