"""What tiles cost a net that looks at whole images: blended, exact and untiled, side by side.

    python scripts/seams.py --model MODEL --photo PHOTO [--size 4000x3000] [--save FOLDER]

For each way: seconds, peak memory, the largest and the mean difference to the untiled result as
shares of the result's range, and the seam ratio over the blended tiles' borders (1 = nothing to see
there; what the untiled result has there is the photo's own). Each runs in a fresh process. Without
--untiled the exact result is what the others are compared with.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from attachtrans.infer.engine import Engine
from attachtrans.infer.seams import seam_ratio
from attachtrans.infer.tiling import Tiling
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.load import load_model
from attachtrans.types import Size


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--size", type=lambda text: Size(*map(int, text.split("x"))))
    parser.add_argument("--tile", type=int, help="tile_size of the blended result")
    parser.add_argument("--untiled", action="store_true", help="also in one piece (much memory)")
    parser.add_argument("--save", type=Path, help="folder for pictures")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def pixels(options: argparse.Namespace) -> np.ndarray:
    """The photo, (3, height, width) uint8, scaled to --size."""
    with Image.open(options.photo) as file:
        photo = ImageOps.exif_transpose(file).convert("RGB")
    if options.size:
        photo = photo.resize(options.size, Image.Resampling.BICUBIC)
    return np.asarray(photo).transpose(2, 0, 1)


def translate(options: argparse.Namespace) -> None:
    """One way, in this process: saves the result in net units and prints seconds and gigabytes."""
    torch.set_num_threads(options.threads)
    model = load_model(ModelDefinition.read(options.model), device="cpu")
    photo = pixels(options).astype(np.float32)
    if model.spec.in_range is not None:
        photo /= 255  # floats are 0..1
    whole = max(photo.shape) + model.spec.multiple_of
    engine = Engine[int](
        model,
        tile_size={"untiled": whole, "blend": options.tile}.get(options.way),
        seams="exact" if options.way == "exact" else "blend",
        device=model.device,
        on_staging=lambda _, staging: print(f"    {staging.lodging}", file=sys.stderr),
    )
    started = time.perf_counter()
    ((_, result),) = (*engine.submit(0, photo), *engine.flush())
    seconds = time.perf_counter() - started
    if isinstance(result, Exception):
        raise result
    np.save(options.result, result.array)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{seconds:9.1f} {peak:8.2f}", end="")


def compare(options: argparse.Namespace, folder: Path) -> None:
    """Run every way and print a line for each."""
    model = load_model(ModelDefinition.read(options.model), device="cpu")
    photo = pixels(options)
    plan = Tiling(tile_size=options.tile).plan(Size(photo.shape[2], photo.shape[1]), model.spec)
    print(f"{photo.shape[2]} x {photo.shape[1]}, tiles of {plan.tile.width} x {plan.tile.height}")
    print("              s  peak GB  max diff  mean diff  seam ratio")
    ways = ["untiled", "exact", "blend"] if options.untiled else ["exact", "blend"]
    truth: np.ndarray | None = None
    for way in ways:
        file = folder / f"{way}.npy"
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way, "--result", str(file)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        result = np.load(file)
        truth = result if truth is None else truth
        off = np.abs(result - truth) / np.ptp(truth)
        ratio = seam_ratio(result, plan) or 1.0
        print(f"{way:8}{done.stdout} {off.max():9.1e} {off.mean():10.1e} {ratio:11.3f}")
        if options.save:
            options.save.mkdir(parents=True, exist_ok=True)
            low, gain = truth.min(), 255 / np.ptp(truth)
            picture = ((result - low) * gain).clip(0, 255).astype(np.uint8)
            Image.fromarray(picture.transpose(1, 2, 0)).save(options.save / f"{way}.png")


def main() -> None:
    """See the module."""
    options = parse(sys.argv[1:])
    if options.way:
        translate(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(options, Path(folder))


if __name__ == "__main__":
    main()
