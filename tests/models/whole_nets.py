"""Small nets that look at whole images, and others that are run in parts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from attachtrans.models import cyclegan, dynamicunet, pix2pix, pix2pixhd
from attachtrans.models.module import ModuleTranslator, place
from attachtrans.models.translator import TranslatorSpec
from tests.models.arcgis_nets import SMALL, SMALL_HD, seeded

CPU = torch.device("cpu")


class Squeeze(nn.Module):
    """Weighs channels by their means over the image, and normalises groups of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1), nn.Sigmoid()
        )
        self.norm = nn.GroupNorm(2, 8)
        self.last = nn.Conv2d(8, 3, 3, padding=1, padding_mode="replicate")

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = functional.relu(self.norm(y * self.gate(y)))
        return self.last(y) + x.mean((2, 3), keepdim=True)


class InPlace(nn.Module):
    """Activations in place, which change what others see (as skips of some U-Nets do)."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 4, 4, stride=2, padding=1)
        self.below = nn.Sequential(
            nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(4, 4, 3, padding=1), nn.Dropout(0.5)
        )
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)
        self.slope = nn.PReLU(8)
        self.up = nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(x)
        y = torch.cat([y, self.below(y)], 1)
        y += 0.5
        y = self.slope(y)
        return self.up(self.norm(y))


HD_BATCH_NORM = pix2pixhd.HDPlan(
    bands=3,
    bands_out=3,
    features=4,
    halvings=2,
    blocks=1,
    enhancers=2,
    local_blocks=1,
    batch_norm=True,
)
UNET = dynamicunet.UNetPlan(
    encoder=SMALL, bands_out=3, batch_norm=False, attention=False, resized=False
)

NETS = {
    "cyclegan": (lambda: cyclegan.generator(3, 8, 2), 4, 8),
    "pix2pix": (lambda: pix2pix.UNet(3, 3, [4] * 8), 256, 256),
    "hd": (lambda: pix2pixhd.GlobalGenerator(SMALL_HD), 4, 8),
    "hd-local": (lambda: pix2pixhd.LocalEnhancer(SMALL_HD), 8, 16),
    "hd-batch-norm": (lambda: pix2pixhd.LocalEnhancer(HD_BATCH_NORM), 16, 32),
    "backbone": (lambda: dynamicunet.DynamicUNet(UNET), 32, 32),
    "squeeze": (Squeeze, 1, 4),
    "in-place": (InPlace, 2, 4),
}
"""(maker, multiple_of, min_size) by name; 3 bands in and out."""


def spec(**facts: object) -> TranslatorSpec:
    given = {"in_bands": 3, "out_bands": 3, "in_range": (-1.0, 1.0), "out_range": (-1.0, 1.0)}
    return TranslatorSpec(**{**given, **facts})  # type: ignore[arg-type]


def translator(name: str, device: torch.device = CPU) -> ModuleTranslator:
    """One of NETS with seeded weights."""
    maker, multiple_of, min_size = NETS[name]
    return place(seeded(maker()), spec(multiple_of=multiple_of, min_size=min_size), device)
