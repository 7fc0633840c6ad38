"""Train the built-in model sr-x2, or print how well the shipped weights do.

    python scripts/train_builtin.py               train, write the model, print the table
    python scripts/train_builtin.py --evaluate    print the table of the shipped weights

Every picture ships inside the wheels of scikit-image and scikit-learn: nothing is downloaded.
Licences are quoted from the docstrings of `skimage.data` and the README.txt beside
scikit-learn's pictures. The weights are made from public-domain, CC0 and "no known copyright
restrictions" pictures only; pictures under CC BY, or without a stated licence, are only looked at.

    picture      from          licence as stated there                     used for
    astronaut    scikit-image  public domain (NASA)                        training
    brick        scikit-image  CC0                                         training
    camera       scikit-image  CC0                                         training, validation
    coffee       scikit-image  CC0                                         training, validation
    coins        scikit-image  no known copyright restrictions             training
    grass        scikit-image  CC0                                         training
    hubble       scikit-image  public domain (NASA)                        training
    ihc          scikit-image  no known copyright restrictions             training
    retina       scikit-image  CC0                                         training
    rocket       scikit-image  public domain (SpaceX)                      training, validation
    chelsea      scikit-image  CC0                                         held out
    china        scikit-learn  CC BY 2.0, danielbuechele                   held out
    flower       scikit-learn  CC BY 2.0, vultilion                        held out
    gravel       scikit-image  CC0                                         held out
    motorcycle   scikit-image  none stated (Middlebury stereo 2014)        held out

The right quarter of the validation pictures is cut off before training; settings were chosen on
these crops. The held-out pictures were measured for the table and for nothing else.

What is learned: a picture is halved with Pillow's BICUBIC, which antialiases, and the net is to
restore it. Half of the patches pass through a JPEG on the way (quality 82..96, any chroma
subsampling), because field photos have: on the validation crops that gave 0.2 dB on JPEG input
and cost 0.1 dB on clean input.

What is measured: a picture is cropped to even sides and halved likewise; the result, rounded to
8 bits, is doubled by Pillow's BICUBIC and by the net, and both are rounded to 8 bits. PSNR of the
luma (ITU-R BT.601, studio swing 16..235, unrounded, peak 255) over the whole picture: no border
is shaved. The last column is the gain when the halved picture was stored as JPEG of quality 90.

Reproducible: seeds, thread count and order are fixed, and everything runs on the CPU; the same
machine writes the same bytes. Another processor or torch version rounds differently, which moves
the table by some hundredths of a dB.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from skimage import data
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from attachtrans.models import srnet

Picture = NDArray[np.uint8]  # (height, width, 3)

MODEL_FOLDER = Path(__file__).resolve().parents[1] / "attachtrans" / "models_builtin"
NAME = "sr-x2"

SEED = 20240229
THREADS = 1
STEPS = 16_000
BATCH = 16
PATCH_PX = 32  # in the halved picture
JPEG_QUALITIES = (82, 96)
JPEG_VERSIONS = 3
MEASURED_JPEG_QUALITY = 90
LEARNING_RATE = 1e-3
FINAL_LEARNING_RATE = 1e-6
CHARBONNIER_EPS = 1e-3
AVERAGE_DECAY = 0.999
REPORT_EVERY = 1000

TRAINING: dict[str, Callable[[], Any]] = {
    "astronaut": data.astronaut,
    "brick": data.brick,
    "camera": data.camera,
    "coffee": data.coffee,
    "coins": data.coins,
    "grass": data.grass,
    "hubble": data.hubble_deep_field,
    "ihc": data.immunohistochemistry,
    "retina": data.retina,
    "rocket": data.rocket,
}
VALIDATION = ("camera", "coffee", "rocket")
HELD_OUT: dict[str, Callable[[], Any]] = {
    "chelsea": data.chelsea,
    "china": lambda: load_sample_image("china.jpg"),
    "flower": lambda: load_sample_image("flower.jpg"),
    "gravel": data.gravel,
    "motorcycle": lambda: data.stereo_motorcycle()[0],
}
# A picture that was stored as a lossy JPEG, or is soft at full size, teaches sharpness only when
# it is reduced first.
SCALES = {"retina": (0.5, 0.35, 0.25), "rocket": (0.75, 0.5), "hubble": (0.75, 0.5)}
DEFAULT_SCALES = (1.0, 0.8, 0.65, 0.5)

DEFINITION: dict[str, Any] = {
    "Framework": "attachtrans",
    "ModelType": "SRNet",
    "ModelName": NAME,
    "ModelFile": f"{NAME}.safetensors",
    "Description": "Doubles the width and height of an RGB photo.",
    "ImageHeight": 512,
    "ImageWidth": 512,
    "InputRange": [0, 1],
    "OutputRange": [0, 1],
    "InputBands": srnet.BANDS,
    "OutputBands": srnet.BANDS,
    "Scale": srnet.SCALE,
    "Features": 32,
    "HiddenLayers": 4,
    "Licence": "Apache-2.0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A picture at one size, its half, and that half as JPEGs give it back."""

    sharp: Picture
    halved: Picture
    from_jpeg: tuple[Picture, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Luma PSNR in dB of one picture, and the net's gain over Pillow's bicubic."""

    picture: str
    bicubic_db: float
    net_db: float
    gain_from_jpeg_db: float

    @property
    def gain_db(self) -> float:
        """From an undamaged half."""
        return self.net_db - self.bicubic_db


@click.command(help="Train the built-in model sr-x2, or measure the shipped weights.")
@click.option("--evaluate", is_flag=True, help="Only print the table of the weights in the folder.")
@click.option("--steps", default=STEPS, show_default=True, help="Optimiser steps.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=MODEL_FOLDER,
    help="Folder of the .emd and the .safetensors. Default: inside the package.",
)
def main(*, evaluate: bool, steps: int, output: Path) -> None:
    """Train unless told to evaluate only, then print the table of the weights in `output`."""
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(mode=True)
    if not evaluate:
        net = train(steps)
        save(net, output, steps)
    click.echo(table(scores(load(output))))


def train(steps: int) -> srnet.SRNet:
    """Train from scratch; returns the net with the running mean of its weights."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    pictures = {name: as_rgb(read()) for name, read in TRAINING.items()}
    crops = {name: split(pictures[name])[1] for name in VALIDATION}
    pairs = training_pairs(pictures, rng)
    net = srnet.build(DEFINITION).train()
    start_as_bicubic(net)
    average = srnet.build(DEFINITION)
    average.load_state_dict(net.state_dict())
    optimiser = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, steps, eta_min=FINAL_LEARNING_RATE
    )
    started = time.monotonic()
    for step, (halved, sharp) in enumerate(batches(pairs, rng, steps), start=1):
        optimiser.zero_grad(set_to_none=True)
        difference = net(halved) - sharp
        torch.sqrt(difference.square() + CHARBONNIER_EPS**2).mean().backward()
        optimiser.step()
        schedule.step()
        move_towards(average, net, 1 - min(AVERAGE_DECAY, step / (step + 10)))
        if step % REPORT_EVERY == 0:
            mean = mean_score([score(name, crop, average) for name, crop in crops.items()])
            click.echo(
                f"step {step:6d}  {time.monotonic() - started:6.0f} s  validation crops"
                f" {mean.gain_db:+.3f} dB, from JPEG {mean.gain_from_jpeg_db:+.3f} dB"
            )
    return average


def training_pairs(pictures: dict[str, Picture], rng: np.random.Generator) -> list[list[Pair]]:
    """Per picture: pairs at the sizes of SCALES, without the validation crops."""
    groups = []
    for name, picture in pictures.items():
        part = split(picture)[0] if name in VALIDATION else picture
        group = []
        for scale in SCALES.get(name, DEFAULT_SCALES):
            height, width = (round(side * scale) // 2 * 2 for side in part.shape[:2])
            sharp = resize(part, (width, height), Image.Resampling.LANCZOS)
            halved = halve(sharp)
            from_jpeg = tuple(
                through_jpeg(
                    halved,
                    quality=int(rng.integers(*JPEG_QUALITIES, endpoint=True)),
                    subsampling=int(rng.integers(3)),
                )
                for _ in range(JPEG_VERSIONS)
            )
            group.append(Pair(sharp=sharp, halved=halved, from_jpeg=from_jpeg))
        groups.append(group)
    return groups


def batches(
    pairs: list[list[Pair]], rng: np.random.Generator, count: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `count` batches (N, 3, P, P) and (N, 3, 2 P, 2 P), float32 in 0..1."""
    for _ in range(count):
        patches = [augmented(*patch(pairs, rng), rng) for _ in range(BATCH)]
        halved, sharp = (np.stack(side) for side in zip(*patches, strict=True))
        yield as_batch(halved), as_batch(sharp)


def patch(pairs: list[list[Pair]], rng: np.random.Generator) -> tuple[Picture, Picture]:
    """A random patch of a random picture; of two candidates the one with more contrast."""
    group = pairs[rng.integers(len(pairs))]
    pair = group[rng.integers(len(group))]
    halved = pair.halved
    if rng.integers(2):
        halved = pair.from_jpeg[rng.integers(len(pair.from_jpeg))]
    candidates = []
    for _ in range(2):
        row, col = (int(rng.integers(side - PATCH_PX + 1)) for side in halved.shape[:2])
        small = halved[row : row + PATCH_PX, col : col + PATCH_PX]
        large = pair.sharp[2 * row : 2 * (row + PATCH_PX), 2 * col : 2 * (col + PATCH_PX)]
        candidates.append((float(large.std()), small, large))
    _, small, large = max(candidates, key=lambda candidate: candidate[0])
    return small, large


def augmented(
    halved: Picture, sharp: Picture, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The same turn, mirroring, order of bands and contrast for both; values become 0..1."""
    turns, mirrored, bands = int(rng.integers(4)), bool(rng.integers(2)), rng.permutation(3)
    gain = np.float32(rng.uniform(0.6, 1.0))
    offset = np.float32(rng.uniform(0.0, 1.0 - gain))

    def change(pixels: Picture) -> NDArray[np.float32]:
        turned = np.rot90(pixels, turns)
        turned = turned[:, ::-1] if mirrored else turned
        return turned[..., bands].astype(np.float32) * (gain / 255) + offset

    return change(halved), change(sharp)


def start_as_bicubic(net: srnet.SRNet) -> None:
    """Set the linear path to bicubic interpolation and the rest to add almost nothing."""
    # Keys (1981), a = -0.5, a quarter pixel before the centre; mirrored a quarter pixel behind it.
    taps = np.array([-0.0234375, 0.2265625, 0.8671875, -0.0703125, 0.0])
    phases = (taps, taps[::-1])
    kernel = torch.zeros_like(net.linear.weight)
    for band in range(srnet.BANDS):
        for row, down in enumerate(phases):
            for col, across in enumerate(phases):
                plane = torch.from_numpy(np.outer(down, across))
                kernel[srnet.SCALE**2 * band + srnet.SCALE * row + col, band] = plane
    with torch.no_grad():
        net.linear.weight.copy_(kernel)
        net.tail.weight.mul_(0.1)
        nn.init.zeros_(net.tail.get_parameter("bias"))
    for layer in (net.head, *net.hidden):
        nn.init.kaiming_normal_(layer.get_parameter("weight"), nonlinearity="relu")
        nn.init.zeros_(layer.get_parameter("bias"))


def move_towards(average: nn.Module, net: nn.Module, share: float) -> None:
    """Running mean of the weights: average += share * (net - average)."""
    with torch.no_grad():
        for mean, now in zip(average.parameters(), net.parameters(), strict=True):
            mean.lerp_(now, share)


def save(net: srnet.SRNet, folder: Path, steps: int) -> None:
    """Write the definition and the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    training = {
        "Script": "scripts/train_builtin.py",
        "Seed": SEED,
        "Steps": steps,
        "Pictures": sorted(TRAINING),
        "PicturesFrom": "scikit-image",
        "PictureLicences": "public domain, CC0 or no known copyright restrictions",
        "Degradation": "halved by Pillow BICUBIC (antialiased), half of it also as JPEG 82..96",
        "Versions": {name: version(name) for name in ("torch", "pillow", "scikit-image")},
    }
    definition = {**DEFINITION, "ReceptiveField": net.receptive_field_px, "Training": training}
    (folder / f"{NAME}.emd").write_text(json.dumps(definition, indent=2) + "\n", encoding="utf-8")
    state = {key: value.contiguous() for key, value in net.state_dict().items()}
    (folder / f"{NAME}.safetensors").write_bytes(safetensors_bytes(state))


def load(folder: Path) -> srnet.SRNet:
    """The net that a folder's definition and weights describe."""
    raw = json.loads((folder / f"{NAME}.emd").read_text(encoding="utf-8"))
    net = srnet.build(raw)
    net.load_state_dict(load_file(folder / raw["ModelFile"]))
    return net


def scores(net: srnet.SRNet) -> list[Score]:
    """Measure the held-out pictures."""
    return [score(name, as_rgb(read()), net) for name, read in HELD_OUT.items()]


def score(name: str, picture: Picture, net: srnet.SRNet) -> Score:
    """Halve one picture, double it both ways and compare with it."""
    sharp = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
    halved = halve(sharp)
    bicubic_db, net_db = both_psnr_db(halved, sharp, net)
    from_jpeg = both_psnr_db(
        through_jpeg(halved, quality=MEASURED_JPEG_QUALITY, subsampling=2), sharp, net
    )
    return Score(
        picture=name,
        bicubic_db=bicubic_db,
        net_db=net_db,
        gain_from_jpeg_db=from_jpeg[1] - from_jpeg[0],
    )


def both_psnr_db(halved: Picture, sharp: Picture, net: srnet.SRNet) -> tuple[float, float]:
    """How near Pillow's bicubic and the net come to `sharp`."""
    bicubic = resize(halved, (sharp.shape[1], sharp.shape[0]), Image.Resampling.BICUBIC)
    return psnr_db(bicubic, sharp), psnr_db(doubled(halved, net), sharp)


def mean_score(rows: list[Score]) -> Score:
    """The mean of each column."""
    return Score(
        picture="**mean**",
        bicubic_db=float(np.mean([row.bicubic_db for row in rows])),
        net_db=float(np.mean([row.net_db for row in rows])),
        gain_from_jpeg_db=float(np.mean([row.gain_from_jpeg_db for row in rows])),
    )


def doubled(picture: Picture, net: srnet.SRNet) -> Picture:
    """The net's answer to an 8-bit picture, rounded to 8 bits."""
    with torch.inference_mode():
        out = net(as_batch(picture[None].astype(np.float32) / np.float32(255)))[0]
    return np.asarray(out.mul(255).round().to(torch.uint8).permute(1, 2, 0))


def as_batch(pixels: NDArray[np.float32]) -> Tensor:
    """(N, H, W, 3) -> (N, 3, H, W), which is the channels-last layout without a copy."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def psnr_db(picture: Picture, truth: Picture) -> float:
    """Peak signal-to-noise ratio of the luma over the whole picture, in dB."""
    error = luma(picture) - luma(truth)
    return 10 * math.log10(255**2 / float(np.mean(error**2)))


def luma(picture: Picture) -> NDArray[np.float64]:
    """ITU-R BT.601 luma, 16..235."""
    weights = np.array([65.481, 128.553, 24.966]) / 255
    return np.asarray(picture @ weights + 16)


def table(rows: list[Score]) -> str:
    """Markdown: one line per picture and the mean."""
    lines = [
        "| picture | bicubic dB | sr-x2 dB | gain dB | gain from JPEG dB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.picture} | {row.bicubic_db:.2f} | {row.net_db:.2f} | {row.gain_db:+.2f}"
        f" | {row.gain_from_jpeg_db:+.2f} |"
        for row in (*rows, mean_score(rows))
    ]
    return "\n".join(lines)


def as_rgb(picture: NDArray[np.uint8]) -> Picture:
    """(height, width) or (height, width, 3) -> (height, width, 3)."""
    return np.asarray(Image.fromarray(picture).convert("RGB"))


def split(picture: Picture) -> tuple[Picture, Picture]:
    """The left three quarters and the right quarter."""
    col = picture.shape[1] * 3 // 4
    return picture[:, :col], picture[:, col:]


def halve(picture: Picture) -> Picture:
    """Half the size, by Pillow's bicubic."""
    size = (picture.shape[1] // 2, picture.shape[0] // 2)
    return resize(picture, size, Image.Resampling.BICUBIC)


def through_jpeg(picture: Picture, *, quality: int, subsampling: int) -> Picture:
    """Encode as JPEG and decode; subsampling is Pillow's 0 (4:4:4), 1 (4:2:2) or 2 (4:2:0)."""
    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(encoded))


def resize(picture: Picture, size: tuple[int, int], method: Image.Resampling) -> Picture:
    """Pillow's resize; size is (width, height)."""
    return np.asarray(Image.fromarray(picture).resize(size, method))


if __name__ == "__main__":
    main()
