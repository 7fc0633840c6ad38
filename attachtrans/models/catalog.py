"""The model types: which are run, with what arguments and by what code, and which are not yet.

A new type is one module with a `build` function and one entry here. Nothing heavy is imported:
`info` and the checks of arguments read this table before torch is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from attachtrans.models.arguments import CycleGANArguments, TilingArguments


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelType:
    """A model type that can be run.

    arguments   the class of its arguments
    builder     "module:function" of (definition, arguments, device, reference) -> LoadedModel
    summary     one line for `info`
    tile_is_trained     whether the result depends on the tile by design, so that the training
                size of the definition is the right tile size
    draws_noise whether the result depends on noise (diffusion)
    """

    arguments: type[TilingArguments]
    builder: str
    summary: str
    tile_is_trained: bool = False
    draws_noise: bool = False


MODEL_TYPES: dict[str, ModelType] = {
    "CycleGAN": ModelType(
        arguments=CycleGANArguments,
        builder="attachtrans.models.cyclegan:build",
        summary="ArcGIS CycleGAN: unpaired image translation, both directions",
        tile_is_trained=True,
    ),
    "TorchScript": ModelType(
        arguments=TilingArguments,
        builder="attachtrans.models.torchscript:build",
        summary="TorchScript file, described by an .emd",
    ),
    "ONNX": ModelType(
        arguments=TilingArguments,
        builder="attachtrans.models.onnx:build",
        summary="ONNX file, described by an .emd",
    ),
    "SRNet": ModelType(
        arguments=TilingArguments,
        builder="attachtrans.models.superres:build",
        summary="built-in super-resolution net",
    ),
}

NOT_YET: dict[str, str] = {
    "Pix2Pix": "ArcGIS Pix2Pix",
    "Pix2PixHD": "ArcGIS Pix2PixHD",
    "SuperResolution": "ArcGIS super-resolution (UNet)",
    "SR3": "ArcGIS super-resolution (SR3 diffusion)",
    "SR3_UViT": "ArcGIS super-resolution (SR3 diffusion, UViT)",
    "SR3_Wavelet": "ArcGIS super-resolution (SR3 diffusion, wavelet)",
    "WNet_cGAN": "ArcGIS WNet-cGAN",
    "ClimaX": "ArcGIS ClimaX",
}
"""Types that are recognised and refused by name."""
