"""Small seeded models in the layouts of ArcGIS, which tests write for themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attachtrans.models.dynamicunet import DynamicUNet, UNetPlan
from attachtrans.models.pix2pix import UNet
from attachtrans.models.pix2pixhd import GlobalGenerator, HDPlan, LocalEnhancer
from attachtrans.models.resnet import ResNetPlan
from tests.models.nets import stats

BACKBONES = {
    "resnet18": ResNetPlan(blocks=(2, 2, 2, 2), bottleneck=False),
    "resnet34": ResNetPlan(blocks=(3, 4, 6, 3), bottleneck=False),
    "resnet50": ResNetPlan(blocks=(3, 4, 6, 3), bottleneck=True),
    "resnet101": ResNetPlan(blocks=(3, 4, 23, 3), bottleneck=True),
    "resnet152": ResNetPlan(blocks=(3, 8, 36, 3), bottleneck=True),
    "resnext50_32x4d": ResNetPlan(blocks=(3, 4, 6, 3), bottleneck=True, groups=32, widening=2),
    "wide_resnet50_2": ResNetPlan(blocks=(3, 4, 6, 3), bottleneck=True, widening=2),
}
"""The published sizes, by the names that ArcGIS gives them."""

SMALL = ResNetPlan(blocks=(1, 1, 1, 1), bottleneck=False, stem=4)
SMALL_HD = HDPlan(
    bands=3,
    bands_out=3,
    features=4,
    halvings=2,
    blocks=1,
    enhancers=1,
    local_blocks=1,
    batch_norm=False,
)


def seeded(net: nn.Module) -> nn.Module:
    """The net with random weights and random statistics of its batch norms, the same each time."""
    generator = torch.Generator().manual_seed(5)
    for name, tensor in net.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0, generator=generator)
        elif tensor.is_floating_point():
            spread = (tensor[0].numel() if tensor.ndim > 1 else 100) ** -0.5
            tensor.normal_(0.0, spread, generator=generator)
    return net.eval()


def normed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a DynamicUNet as it is saved: with weight norm and spectral norm."""
    batch_norm = "layers.3.0.2.weight" in state
    saved = {}
    for name, tensor in state.items():
        stem, _, part = name.rpartition(".")
        decoder = part == "weight" and tensor.ndim >= 3 and not name.startswith("layers.0.")
        if decoder and tensor.ndim == 3:
            u, v = (tensor.new_full((size,), size**-0.5) for size in tensor.shape[:2])
            saved |= {f"{stem}.weight_u": u, f"{stem}.weight_v": v}
            saved[f"{stem}.weight_orig"] = tensor
        elif decoder and (not batch_norm or f"{stem}.bias" in state):
            saved[f"{stem}.weight_g"] = tensor.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1) * 1.5
            saved[f"{stem}.weight_v"] = tensor
        else:
            saved[name] = tensor
    return saved


def pix2pix(emd: Path, *, bands: int = 3, bands_out: int = 3, **keys: Any) -> Path:
    """Write a Pix2Pix with the default generator, four features on each level."""
    net = seeded(UNet(bands, bands_out, [4] * 8))
    return _translation(emd, net.state_dict(), (bands, bands_out), ModelType="Pix2Pix", **keys)


def pix2pix_resnet(emd: Path, encoder: ResNetPlan = SMALL, *, bands_out: int = 3) -> Path:
    """Write a Pix2Pix with a backbone."""
    net = seeded(DynamicUNet(UNetPlan(encoder=encoder, bands_out=bands_out, batch_norm=True)))
    sizes = (encoder.bands, bands_out)
    return _translation(emd, normed(net.state_dict()), sizes, ModelType="Pix2Pix")


def pix2pix_hd(emd: Path, plan: HDPlan = SMALL_HD, **keys: Any) -> Path:
    """Write a Pix2PixHD."""
    net = seeded((LocalEnhancer if plan.enhancers else GlobalGenerator)(plan))
    sizes = (plan.bands, plan.bands_out)
    return _translation(emd, net.state_dict(), sizes, ModelType="Pix2PixHD", **keys)


def super_resolution(
    emd: Path,
    encoder: ResNetPlan = SMALL,
    *,
    attention: bool = False,
    resized: bool = False,
    **keys: Any,
) -> Path:
    """Write a SuperResolution with ModelArch UNet."""
    plan = UNetPlan(
        encoder=encoder,
        bands_out=encoder.bands,
        batch_norm=False,
        attention=attention,
        resized=resized,
    )
    definition = {
        "ModelType": "SuperResolution",
        "ModelArch": "UNet",
        "InferenceFunction": "ArcGISSuperResolution.py",
        "downsample_factor": 4,
        "n_channel": encoder.bands,
        "is_multispec": False,
    }
    return _write(emd, normed(seeded(DynamicUNet(plan)).state_dict()), {**definition, **keys})


def _translation(emd: Path, state: dict[str, Tensor], sizes: tuple[int, int], **keys: Any) -> Path:
    whole = {f"G.{name}": tensor for name, tensor in state.items()}
    whole["D.model.0.weight"] = torch.zeros(1, sum(sizes), 4, 4)
    definition = {
        "InferenceFunction": "ArcGISImageTranslation.py",
        "n_intput_channel": sizes[0],
        "n_channel": sizes[1],
        "NormalizationStats": stats(sizes[0], 0.0, 255.0),
        "NormalizationStats_b": stats(sizes[1], 0.0, 255.0),
        "ExtractBands": None,
    }
    return _write(emd, whole, {**definition, **keys})


def _write(emd: Path, state: dict[str, Tensor], keys: dict[str, Any]) -> Path:
    torch.save(state, emd.with_suffix(".pth"))
    definition = {
        "Framework": "arcgis.learn.models._inferencing",
        "ModelName": keys["ModelType"],
        "ModelFile": emd.with_suffix(".pth").name,
        "ImageHeight": 256,
        "ImageWidth": 256,
        "ArcGISLearnVersion": "2.4.4",
        **keys,
    }
    emd.write_text(json.dumps(definition, indent=4), encoding="utf-8")
    return emd


def listed(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a published key listing, without memory."""
    keys = json.loads(path.read_text(encoding="utf-8"))["keys"]
    return {
        name.removeprefix(prefix): torch.empty(shape, dtype=getattr(torch, dtype), device="meta")
        for name, (dtype, shape) in keys.items()
        if name.startswith(prefix)
    }


def reach_of(
    net: nn.Module, bands: int, period: int, length: int, *, height: int | None = None
) -> int:
    """How far outputs look, found by spoiling one input pixel per phase of the net's strides.

    NaN passes whatever the weights are.
    """
    height = height or period
    pixels = torch.zeros(period, bands, height, length)
    middle = length // 2 // period * period
    for phase in range(period):
        pixels[phase, :, height // 2, middle + phase] = torch.nan
    with torch.inference_mode():
        spoiled = net(pixels).isnan().any(dim=1).any(dim=1)
    places = [torch.nonzero(row).flatten() - middle - phase for phase, row in enumerate(spoiled)]
    assert not spoiled[:, 0].any()
    assert not spoiled[:, -1].any()
    return max(int(place.abs().max()) for place in places)
