"""A net of every ArcGIS type, of the size that training makes by default, with random weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attachtrans.models.cyclegan import generator
from attachtrans.models.dynamicunet import DynamicUNet, UNetPlan
from attachtrans.models.pix2pix import UNet
from attachtrans.models.pix2pixhd import GlobalGenerator, HDPlan, LocalEnhancer
from attachtrans.models.resnet import ResNetPlan
from attachtrans.models.sr3_unet import Block, Downsample, Layer, Upsample
from attachtrans.models.sr3_unet import UNet as SR3Net
from attachtrans.models.sr3_uvit import Sizes, UViT

RESNET34 = ResNetPlan(blocks=(3, 4, 6, 3), bottleneck=False)
WAVELET_BANDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A net and the tile it is trained on.

    make    builds it, weights as the layers draw them
    edge    of a tile, in pixels
    latent  channels and edge of what a diffusion net denoises in each step; None: no diffusion
    """

    make: Callable[[], nn.Module]
    edge: int = 256
    latent: tuple[int, int] | None = None

    def inputs(self, batch: int, device: torch.device) -> tuple[Tensor, ...]:
        """What the net is called with, for `batch` tiles; random values in -1..1."""
        bands, edge = self.latent or (3, self.edge)
        generator = torch.Generator().manual_seed(1)
        count = 1 if self.latent is None else 2
        pictures = torch.rand((count, batch, bands, edge, edge), generator=generator) * 2 - 1
        laid_out = tuple(
            picture.to(device).contiguous(memory_format=torch.channels_last) for picture in pictures
        )
        return laid_out if self.latent is None else (*laid_out, torch.full((1, 1), 0.5).to(device))


def seeded(kind: Kind, device: torch.device) -> nn.Module:
    """The net of a kind on a device, the same at every call."""
    torch.manual_seed(0)
    net = kind.make().eval().requires_grad_(False)
    for name, tensor in net.named_parameters():
        if name.endswith(("pos_embed", "gamma")):  # these start as nothing
            nn.init.normal_(tensor, std=0.02)
    return net.to(device)


def unet_of_sr3(
    *,
    bands: int,
    width: int,
    groups: int,
    multiples: Sequence[int],
    blocks: int,
    attends_at: int | None,
) -> SR3Net:
    """The net of an SR3; `attends_at` is the level with attention, from 0, None without any."""

    def layer(inside: int, outside: int, *, attends: bool) -> Layer:
        return Layer(inside, outside, level_width=width, groups=groups, attends=attends)

    downs: list[nn.Module] = [nn.Conv2d(2 * bands, width, 3, padding=1)]
    skips, now = [width], width
    for level, multiple in enumerate(multiples):
        for _ in range(blocks):
            downs.append(layer(now, width * multiple, attends=level == attends_at))
            now = width * multiple
            skips.append(now)
        if level + 1 < len(multiples):
            downs.append(Downsample(now))
            skips.append(now)
    mid: list[nn.Module] = [
        layer(now, now, attends=attends_at is not None),
        layer(now, now, attends=False),
    ]
    ups: list[nn.Module] = []
    for level, multiple in reversed(list(enumerate(multiples))):
        for _ in range(blocks + 1):
            both = now + skips.pop()
            now = width * multiple
            ups.append(layer(both, now, attends=level == attends_at))
        if level:
            ups.append(Upsample(now))
    return SR3Net(
        level_width=width,
        downs=downs,
        mid=mid,
        ups=ups,
        final_conv=Block(now, bands, groups),
        bands=bands,
    )


def _hd(*, local: bool) -> nn.Module:
    plan = HDPlan(
        bands=3,
        bands_out=3,
        features=64,
        halvings=4,
        blocks=9,
        enhancers=int(local),
        local_blocks=3,
        batch_norm=False,
    )
    return LocalEnhancer(plan) if local else GlobalGenerator(plan)


def _backbone(*, batch_norm: bool) -> nn.Module:
    plan = UNetPlan(encoder=RESNET34, bands_out=3, batch_norm=batch_norm, attention=not batch_norm)
    return DynamicUNet(plan)


def _uvit() -> nn.Module:
    sizes = Sizes(
        channels=3,
        patch=16,
        patches=8,
        width=768,
        hidden=3072,
        pairs=8,
        heads=12,
        qkv_bias=False,
    )
    return UViT(sizes, condition_first=True)


ZOO: dict[str, Kind] = {
    "CycleGAN, 9 blocks": Kind(make=lambda: generator(3, 64, 9)),
    "Pix2Pix, U-Net": Kind(make=lambda: UNet(3, 3, [64, 128, 256, *[512] * 5])),
    "Pix2Pix, resnet34": Kind(make=lambda: _backbone(batch_norm=True)),
    "Pix2PixHD, global": Kind(make=lambda: _hd(local=False)),
    "Pix2PixHD, local": Kind(make=lambda: _hd(local=True)),
    "SuperResolution, resnet34": Kind(make=lambda: _backbone(batch_norm=False)),
    "SR3, per step": Kind(
        make=lambda: unet_of_sr3(
            bands=3, width=48, groups=12, multiples=(1, 2, 4, 4, 8, 8), blocks=2, attends_at=5
        ),
        latent=(3, 256),
    ),
    "SR3_UViT, per step": Kind(make=_uvit, edge=128, latent=(3, 128)),
    "SR3_Wavelet, per step": Kind(
        make=lambda: unet_of_sr3(
            bands=WAVELET_BANDS,
            width=48,
            groups=12,
            multiples=(1, 2, 2, 4),
            blocks=2,
            attends_at=None,
        ),
        latent=(WAVELET_BANDS, 128),
    ),
}
"""By the names of the table. One call of a diffusion net is one of its steps."""
