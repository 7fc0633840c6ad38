"""Tiny diffusion nets that tests make themselves, written as ArcGIS writes SR3 models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attachtrans.models.sr3_unet import Block, Downsample, Layer, UNet, Upsample
from attachtrans.models.sr3_uvit import Sizes, UViT
from attachtrans.models.sr3_wavelet import Predictor, WaveletNet
from tests.models.nets import stats

UVIT_EDGE = 16


def unet(bands: int = 3, *, inside: int | None = None) -> UNet:
    """Two levels of 8 and 16 channels in 4 groups, attention at the lower one."""

    def layer(before: int, after: int, *, attends: bool = False) -> Layer:
        return Layer(before, after, level_width=8, groups=4, attends=attends)

    return UNet(
        level_width=8,
        downs=[
            nn.Conv2d(inside or 2 * bands, 8, 3, padding=1),
            layer(8, 8),
            Downsample(8),
            layer(8, 16, attends=True),
        ],
        mid=[layer(16, 16, attends=True), layer(16, 16)],
        ups=[
            layer(16 + 16, 16, attends=True),
            layer(16 + 8, 16, attends=True),
            Upsample(16),
            layer(16 + 8, 8),
            layer(8 + 8, 8),
        ],
        final_conv=Block(8, bands, 4),
        bands=bands,
    )


def uvit(bands: int = 3) -> UViT:
    """Tiles of 16 pixels, patches of 4, two blocks in each half."""
    sizes = Sizes(
        channels=bands, patch=4, patches=4, width=16, hidden=32, pairs=2, heads=4, qkv_bias=False
    )
    net = UViT(sizes, condition_first=True)
    nn.init.normal_(net.pos_embed)
    return net


def wavelet(bands: int = 3) -> WaveletNet:
    """The U-Net above on coefficients, and a predictor of three convolutions."""
    widths = [(4 * bands, 8), (8, 8), (8, 4 * bands)]
    return WaveletNet(unet(4 * bands), Predictor(widths))


def state_of(model_type: str, bands: int = 3) -> dict[str, Tensor]:
    """The checkpoint of a net with small random weights, schedule and filters included."""
    torch.manual_seed(7)
    if model_type == "SR3_Wavelet":
        state = dict(wavelet(bands).state_dict())
        state["xfm.h0_col"] = torch.ones(1, 1, 2, 1)
        state["ifm.g1_row"] = torch.ones(1, 1, 1, 2)
    else:
        net = unet(bands) if model_type == "SR3" else uvit(bands)
        state = {f"denoise_fn.{name}": value for name, value in net.state_dict().items()}
    # As long as the schedule that was set last, which need not be the training's.
    state["betas"] = torch.zeros(7)
    state["posterior_mean_coef2"] = torch.zeros(7)
    return state


def sr3(
    emd: Path,
    model_type: str = "SR3",
    *,
    bands: int = 3,
    kwargs: dict[str, Any] | None = None,
    **keys: Any,
) -> Path:
    """Write a model of `state_of` and return its .emd; ten steps of training.

    `kwargs` are put on top of Kwargs, `keys` on top of the definition.
    """
    weights = emd.with_suffix(".pth")
    torch.save(state_of(model_type, bands), weights)
    definition = {
        "Framework": "arcgis.learn.models._inferencing",
        "ModelConfiguration": "_superres",
        "InferenceFunction": "ArcGISSuperResolution.py",
        "ModelType": "SuperResolution",
        "ModelName": "SuperResolution",
        "ModelArch": model_type,
        "ModelFile": weights.name,
        "ImageHeight": UVIT_EDGE,
        "ImageWidth": UVIT_EDGE,
        "downsample_factor": 4,
        "n_channel": bands,
        "is_multispec": False,
        "image_stats": stats(bands, 0.0, 255.0),
        "image_stats2": stats(bands, 0.0, 255.0),
        "Kwargs": {
            "norm_groups": 4,
            "num_heads": 4,
            "n_timestep": 10,
            "linear_start": 1e-4,
            "linear_end": 0.2,
            **(kwargs or {}),
        },
        "ArcGISLearnVersion": "2.4.4",
        **keys,
    }
    emd.write_text(json.dumps(definition, indent=4), encoding="utf-8")
    return emd
