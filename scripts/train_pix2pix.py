"""Train a small Pix2Pix that colours grey pictures, in minutes: something to look at seams with.

    python scripts/train_pix2pix.py FOLDER [--steps 800]

Writes FOLDER/colours.emd and colours.pth, as ArcGIS saves them. The pictures are those of
scikit-image and scikit-learn; the net is too small, and they are too few, for more than a try.
Isola et al. 2017 (arXiv 1611.07004): U-Net, PatchGAN, least squares, 100 times the L1 distance.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from skimage import data
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch.nn import functional

from attachtrans.models.pix2pix import UNet

FEATURES = (24, 48, 96, 96, 96, 96, 96, 96)
TILE = 256
BATCH = 1  # as published: instance norm then sees one picture


def pictures() -> list[Tensor]:
    """(3, height, width) in -1..1, those that are in colour and come with the packages."""
    colour = [data.astronaut(), data.coffee(), data.chelsea()]
    colour += [load_sample_image("china.jpg"), load_sample_image("flower.jpg")]
    return [torch.from_numpy(np.array(p)).permute(2, 0, 1).float() / 127.5 - 1 for p in colour]


def batch(rng: np.random.Generator, of: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(grey, colour), each (BATCH, 3, TILE, TILE) in -1..1: pieces, mirrored or not."""
    pieces = []
    for _ in range(BATCH):
        picture = of[rng.integers(len(of))]
        top, left = (int(rng.integers(size - TILE + 1)) for size in picture.shape[1:])
        piece = picture[:, top : top + TILE, left : left + TILE]
        pieces.append(piece.flip(2) if rng.random() < 0.5 else piece)
    colour = torch.stack(pieces)
    return luma(colour), colour


def luma(colour: Tensor) -> Tensor:
    """Three equal bands."""
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (colour * weights).sum(1, keepdim=True).expand_as(colour)


def critic() -> nn.Sequential:
    """Says for each patch of 70 pixels whether it is real: (N, 6, H, W) -> (N, 1, h, w)."""
    layers: list[nn.Module] = [nn.Conv2d(6, 24, 4, 2, 1), nn.LeakyReLU(0.2)]
    for inside, out in ((24, 48), (48, 96)):
        layers += [nn.Conv2d(inside, out, 4, 2, 1), nn.InstanceNorm2d(out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(96, 1, 4, 1, 1))


def train(steps: int) -> UNet:
    """The generator after so many steps."""
    torch.set_num_threads(1)  # more wait for each other, in layers as small as these
    torch.manual_seed(0)
    rng, seen = np.random.default_rng(0), pictures()
    net, judge = UNet(3, 3, FEATURES), critic()
    ours = torch.optim.Adam(net.parameters(), lr=4e-4, betas=(0.5, 0.999))
    theirs = torch.optim.Adam(judge.parameters(), lr=2e-4, betas=(0.5, 0.999))
    started = time.perf_counter()
    for step in range(1, steps + 1):
        grey, colour = batch(rng, seen)
        made = net(grey)
        real = judge(torch.cat([grey, colour], 1))
        false = judge(torch.cat([grey, made.detach()], 1))
        theirs.zero_grad()
        ((real - 1).square().mean() + false.square().mean()).backward()
        theirs.step()
        distance = functional.l1_loss(made, colour)
        ours.zero_grad()
        liked = judge(torch.cat([grey, made], 1))
        ((liked - 1).square().mean() + 100 * distance).backward()
        ours.step()
        if step % 50 == 0:
            seconds = time.perf_counter() - started
            print(f"step {step}: L1 {distance.item():.3f}, {seconds:.0f} s", flush=True)
    return net


def save(net: UNet, folder: Path) -> None:
    """The weights and an .emd beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {f"G.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save(state, folder / "colours.pth")
    stats = {"band_min_values": [0.0] * 3, "band_max_values": [255.0] * 3}
    definition = {
        "Framework": "arcgis.learn.models._inferencing",
        "ModelType": "Pix2Pix",
        "ModelFile": "colours.pth",
        "InferenceFunction": "ArcGISImageTranslation.py",
        "ImageHeight": TILE,
        "ImageWidth": TILE,
        "ExtractBands": None,
        "n_intput_channel": 3,
        "n_channel": 3,
        "NormalizationStats": stats,
        "NormalizationStats_b": stats,
    }
    (folder / "colours.emd").write_text(json.dumps(definition, indent=1), encoding="utf-8")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=800)
    options = parser.parse_args()
    save(train(options.steps), options.folder)


if __name__ == "__main__":
    main()
