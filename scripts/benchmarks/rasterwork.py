"""What contestants of the raster jobs do: the whole job, and a look at what others wrote."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
import torch

from attachtrans.models.load import load_model
from benchmarks.contestant import Clock

# Loaded before the clock starts, as other tools' imports are.
MODULES = ("attachtrans.windowed", "attachtrans.tool.rasters.engine", "tifffile")
TOLERANCE = 2  # levels by which rounding, and blending of equals, may differ
Settings = Mapping[str, Any]


def translate(settings: Settings) -> dict[str, Any]:
    """A raster from the plan to the finished file: "raster", "result", perhaps "extent"."""
    from attachtrans.tool.rasters.choice import RasterChoice
    from attachtrans.tool.translate import plan_translation

    for module in MODULES:
        importlib.import_module(module)
    extent = settings.get("extent")
    choice = RasterChoice(extent=tuple(extent)) if extent else None
    clock = Clock()
    work = plan_translation(
        settings["raster"],
        settings["model"],
        output=settings["result"],
        device=settings["device"],
        rasters=choice,
    )
    (outcome,) = work
    result = clock.read()
    if outcome.status.value != "translated":
        raise SystemExit(f"{settings['raster']} was not translated: {outcome.reason}")
    return result | {
        "stages_wall_s": dict(work.times["wall"]),
        "stages_cpu_s": dict(work.times["cpu"]),
    }


@torch.inference_mode()
def inspect(settings: Settings) -> dict[str, Any]:
    """The "results" (by name) of "raster" against one pass of the net over the whole of it."""
    clock = Clock()
    net = load_model(settings["model"], device=settings["device"])
    scale = int(net.spec.scale)
    with rasterio.open(settings["raster"]) as source:
        values, transform, crs = source.read(), source.transform, source.crs
        valid = source.dataset_mask() > 0
    low, high = net.spec.in_range or (0.0, 255.0)
    batch = torch.from_numpy(values)[None].float() / 255 * (high - low) + low
    low, high = net.spec.out_range or (0.0, 255.0)
    out = (net(batch.to(net.device))[0].cpu() - low) / (high - low) * 255
    expected = out.round().clamp(0, 255).numpy()
    # What lies next to nodata depends on what a net is shown of it.
    near = np.ones((2 * (net.spec.receptive_field_px or 0) + 1,) * 2, np.uint8)
    inner = cv2.erode(valid.astype(np.uint8), near, borderValue=1).astype(bool)
    valid, inner = (np.kron(one, np.ones((scale, scale), bool)) for one in (valid, inner))
    place = transform @ rasterio.Affine.scale(1 / scale)
    found = {}
    for name, path in settings["results"].items():
        with rasterio.open(Path(path)) as result:
            off = np.abs(result.read().astype(np.float32) - expected).max(axis=0) * inner
            found[name] = {
                "levels": float(off.max()),
                "off": float((off > TOLERANCE).sum() / inner.sum()),
                "placed": result.transform.almost_equals(place, 1e-9) and result.crs == crs,
                "mask": float(((result.dataset_mask() > 0) != valid).mean()),
            }
    return clock.read() | {"found": found}
