"""Model definitions as ArcGIS and users write them, and what malice makes of them, for fuzzing."""

from __future__ import annotations

import json
from typing import Any

STATS = {
    "band_min_values": [0, 0, 0],
    "band_max_values": [255, 255, 255],
    "band_mean_values": None,
    "scaled_min_values": None,
}
ARCGIS = {
    "Framework": "arcgis.learn.models._inferencing",
    "InferenceFunction": "ArcGISImageTranslation.py",
    "ModelFile": "w.pth",
    "ExtractBands": [0, 1, 2],
    "ImageHeight": 64,
    "ImageWidth": 64,
    "NormalizationStats": STATS,
    "NormalizationStats_b": STATS,
    "n_channel": 3,
    "n_channel_rev": 3,
    "n_intput_channel": 3,
    "is_multispec": False,
    "ArcGISLearnVersion": "2.4.4",
    "Kwargs": {},
}
OURS = {
    "Framework": "attachtrans",
    "ModelFile": "w.pth",
    "InputRange": [0, 1],
    "OutputRange": "raw",
    "InputBands": 3,
    "OutputBands": 3,
    "Scale": 2,
    "Margin": 0,
    "MultipleOf": 1,
    "MinSize": 1,
    "FixedSize": [64, 64],
    "FixedBatch": 1,
    "ReceptiveField": "global",
    "ModelFormat": "NCHW",
    "Inputs": {"strength": 0.5},
    "Output": "y",
}
DIFFUSION = {
    "inner_channel": 64,
    "norm_groups": 8,
    "channel_mults": [1, 2, 4],
    "res_blocks": 2,
    "schedule": "linear",
    "linear_start": 1e-6,
    "linear_end": 1e-2,
    "n_timestep": 1000,
    "patch_size": 16,
    "embed_dim": 768,
    "depth": 17,
    "num_heads": 12,
}
DEFINITIONS: tuple[dict[str, Any], ...] = (
    {**ARCGIS, "ModelName": "CycleGAN", "ModelType": "CycleGAN"},
    {**ARCGIS, "ModelName": "Pix2Pix", "ModelType": "Pix2Pix", "backbone": "resnet34"},
    {**ARCGIS, "ModelName": "Pix2PixHD", "label_nc": 3, "mask_map": [0, 1, 2], "n_gen_filters": 64},
    {**ARCGIS, "ModelName": "SuperResolution", "ModelArch": "UNet", "downsample_factor": 4},
    *(
        {
            **ARCGIS,
            "ModelName": "SuperResolution",
            "ModelArch": name,
            "Kwargs": DIFFUSION,
            "downsample_factor": 4,
            "image_stats": STATS,
            "image_stats2": STATS,
        }
        for name in ("SR3", "SR3_UViT", "SR3_Wavelet")
    ),
    *(
        {**OURS, "ModelType": name}
        for name in ("TorchScript", "ExportedProgram", "ONNX", "SRNet", "Upscaler")
    ),
    *({**OURS, "ModelType": name} for name in ("ResnetGenerator", "UnetGenerator")),
    {"Framework": "PyTorch", "InferenceFunction": "[functions]System\\x.py", "ModelFile": "w.pth"},
    {"ModelType": "WNet_cGAN", "ModelFile": "w.pth"},
)
NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 0.5, -0.0, 1e308, 1e-308, 10**12, -(10**12), 10**400),
    *(float("nan"), float("inf"), float("-inf"), 65536, 65537, 2**31, 2**63, 2**64),
    *("", "raw", "global", "CycleGAN", "SR3", "attachtrans", "x" * 10_000, "\ud800", "\x00", "🙂"),
    *("../../etc/passwd", "/dev/zero", "C:\\x", "\\\\host\\share", "nan", "1e999", "true"),
    *([], {}, [[]], [None], [1], [0, 1], [1, 0], ["a", "b"], [float("nan")] * 2, [1] * 100_000),
    *([1e308, -1e308], {"a": {}}, {"band_min_values": [1], "band_max_values": []}, [{}] * 3),
)
"""Values that readers trip over."""


def nested(depth: int) -> str:
    """JSON text that is nested so deep that recursive readers give up."""
    return '{"a":' * depth + "1" + "}" * depth


def text_of(definition: dict[str, Any]) -> str:
    """JSON text, NaN and Infinity as Python writes them, lone surrogates escaped."""
    return json.dumps(definition)
