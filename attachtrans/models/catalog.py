"""The model types: which are run, with what arguments and by what code, and which are not yet.

A new type is one module with a `build` function and one entry here. Nothing heavy is imported:
`info` and the checks of arguments read this table before torch is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from attachtrans.models.arguments import (
    CycleGANArguments,
    DiffusionArguments,
    FunctionArguments,
    TilingArguments,
)

COMPATIBILITIES = ("arcgis-2.4.4", "arcgis-2.4.2")
"""Releases of arcgis.learn that can be followed number by number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelType:
    """A model type that can be run.

    arguments   the class of its arguments
    builder     "module:function" of (definition, arguments, device, reference) -> LoadedModel
    summary     one line for `info`
    tile_is_trained     whether the result depends on the tile by design, so that the training
                size of the definition is the right tile size
    draws_noise whether the result depends on noise (diffusion)
    follows_releases    whether arcgis.learn runs it, by rules that changed from release to release
    enlarges    whether the net repairs photos that were enlarged before by the factor that it was
                trained for (`ModelDefinition.enlarge`)
    runs_code   whether it runs Python code that comes with the model
    """

    arguments: type[TilingArguments]
    builder: str
    summary: str
    tile_is_trained: bool = False
    draws_noise: bool = False
    follows_releases: bool = False
    enlarges: bool = False
    runs_code: bool = False


MODEL_TYPES: dict[str, ModelType] = {
    "CycleGAN": ModelType(
        arguments=CycleGANArguments,
        builder="attachtrans.models.cyclegan:build",
        summary="ArcGIS CycleGAN: unpaired image translation, both directions",
        tile_is_trained=True,
        follows_releases=True,
    ),
    "Pix2Pix": ModelType(
        arguments=TilingArguments,
        builder="attachtrans.models.pix2pix:build",
        summary="ArcGIS Pix2Pix: paired image translation",
        tile_is_trained=True,
        follows_releases=True,
    ),
    "Pix2PixHD": ModelType(
        arguments=TilingArguments,
        builder="attachtrans.models.pix2pixhd:build",
        summary="ArcGIS Pix2PixHD: paired image translation, pictures from label maps",
        tile_is_trained=True,
        follows_releases=True,
    ),
    "SuperResolution": ModelType(
        arguments=TilingArguments,
        builder="attachtrans.models.superresolution:build",
        summary="ArcGIS super-resolution (U-Net)",
        tile_is_trained=True,
        follows_releases=True,
        enlarges=True,
    ),
    "SR3": ModelType(
        arguments=DiffusionArguments,
        builder="attachtrans.models.sr3:build",
        summary="ArcGIS super-resolution by diffusion (SR3)",
        tile_is_trained=True,
        follows_releases=True,
        draws_noise=True,
        enlarges=True,
    ),
    "SR3_UViT": ModelType(
        arguments=DiffusionArguments,
        builder="attachtrans.models.sr3:build",
        summary="ArcGIS super-resolution by diffusion (SR3, transformer)",
        tile_is_trained=True,
        follows_releases=True,
        draws_noise=True,
        enlarges=True,
    ),
    "SR3_Wavelet": ModelType(
        arguments=DiffusionArguments,
        builder="attachtrans.models.sr3:build",
        summary="ArcGIS super-resolution by diffusion (SR3 on wavelets)",
        tile_is_trained=True,
        follows_releases=True,
        draws_noise=True,
        enlarges=True,
    ),
    "TorchScript": ModelType(
        arguments=TilingArguments,
        builder="attachtrans.models.torchscript:build",
        summary="TorchScript file, described by an .emd",
    ),
    "ExportedProgram": ModelType(
        arguments=TilingArguments,
        builder="attachtrans.models.exported:build",
        summary="exported program (.pt2 of torch.export.save), described by an .emd",
    ),
    "ONNX": ModelType(
        arguments=TilingArguments,
        builder="attachtrans.models.onnx:build",
        summary="ONNX file, described by an .emd",
    ),
    "ResnetGenerator": ModelType(
        arguments=TilingArguments,
        builder="attachtrans.models.junyanz:build",
        summary="CycleGAN or pix2pix generator (ResNet) of pytorch-CycleGAN-and-pix2pix",
        tile_is_trained=True,
    ),
    "UnetGenerator": ModelType(
        arguments=TilingArguments,
        builder="attachtrans.models.junyanz:build",
        summary="pix2pix generator (U-Net) of pytorch-CycleGAN-and-pix2pix",
        tile_is_trained=True,
    ),
    "Upscaler": ModelType(
        arguments=TilingArguments,
        builder="attachtrans.models.upscaler:build",
        summary="upscaler or restoration checkpoint (ESRGAN, SwinIR, SPAN, ...), by spandrel",
    ),
    "PythonRasterFunction": ModelType(
        arguments=FunctionArguments,
        builder="attachtrans.models.rasterfunction:build",
        summary="Python raster function: runs code of its own, with --trust-code only",
        runs_code=True,
    ),
    "SRNet": ModelType(
        arguments=TilingArguments,
        builder="attachtrans.models.superres:build",
        summary="built-in super-resolution net",
    ),
}

NOT_YET: dict[str, str] = {
    "WNet_cGAN": "ArcGIS WNet-cGAN",
    "ClimaX": "ArcGIS ClimaX",
}
"""Types that are recognised and refused by name."""
