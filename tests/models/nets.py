"""Tiny nets that tests make themselves, each written as a model that `load_model` reads."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attachtrans.models.cyclegan import generator


class BicubicX2(nn.Module):
    """Bicubic enlargement by two, 0..1 in and out; looks two pixels around its own place."""

    def forward(self, x: Tensor) -> Tensor:
        # What `interpolate` calls in the end: its own code takes a tenth of a second to script,
        # check and load, which most tests of the tool would pay.
        size = [2 * x.shape[2], 2 * x.shape[3]]
        return torch._C._nn.upsample_bicubic2d(x, size, align_corners=False).clamp(0.0, 1.0)


def write_torchscript(module: nn.Module, emd: Path, **keys: Any) -> Path:
    """Script `module` to a .ts.pt beside `emd`, write `emd` with `keys` on top of the least."""
    weights = emd.with_suffix(".ts.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module.eval()).save(str(weights))
    definition = {
        "Framework": "attachtrans",
        "ModelType": "TorchScript",
        "ModelFile": weights.name,
        "InputRange": [0, 1],
        "OutputRange": [0, 1],
        **keys,
    }
    emd.write_text(json.dumps(definition, indent=4), encoding="utf-8")
    return emd


def bicubic_x2(path: Path) -> Path:
    """Write a bicubic x2 TorchScript model and return its .emd.

    `path` is the .emd to write (any other suffix is replaced); the weights go beside it.
    """
    return write_torchscript(
        BicubicX2(),
        path.with_suffix(".emd"),
        InputBands=3,
        OutputBands=3,
        Scale=2,
        ReceptiveField=2,
    )


def cyclegan(
    emd: Path,
    *,
    bands_a: int = 3,
    bands_b: int = 3,
    features: int = 4,
    blocks: int = 1,
    **keys: Any,
) -> Path:
    """Write a CycleGAN with small random weights as ArcGIS does, and return its .emd.

    Domain A is 0..255, domain B is 0..255; `keys` are put on top of the definition.
    """
    channels = max(bands_a, bands_b)
    torch.manual_seed(7)
    nets = {name: generator(channels, features, blocks) for name in ("G_A", "G_B")}
    state = {
        f"{name}.{key}": value
        for name, net in nets.items()
        for key, value in net.state_dict().items()
    }
    state["D_A.0.weight"] = torch.zeros(1, channels, 4, 4)
    weights = emd.with_suffix(".pth")
    torch.save(state, weights)
    definition = {
        "Framework": "arcgis.learn.models._inferencing",
        "ModelConfiguration": "_cyclegan",
        "InferenceFunction": "ArcGISImageTranslation.py",
        "ModelType": "CycleGAN",
        "ModelName": "CycleGAN",
        "ModelFile": weights.name,
        "ImageHeight": 64,
        "ImageWidth": 64,
        "n_intput_channel": channels,
        "n_channel": bands_b,
        "n_channel_rev": bands_a,
        "NormalizationStats": stats(bands_a, 0.0, 255.0),
        "NormalizationStats_b": stats(bands_b, 0.0, 255.0),
        "ExtractBands": None,
        "ArcGISLearnVersion": "2.4.4",
        **keys,
    }
    emd.write_text(json.dumps(definition, indent=4), encoding="utf-8")
    return emd


def stats(bands: int, low: float, high: float) -> dict[str, list[float] | None]:
    """Statistics of one domain, the same for each band."""
    return {
        "band_min_values": [low] * bands,
        "band_max_values": [high] * bands,
        "band_mean_values": None,
        "scaled_min_values": None,
    }


def package(path: Path, *files: Path, folder: str = "") -> Path:
    """Write a .dlpk of some files, under `folder` inside it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, folder + file.name)
    return path
