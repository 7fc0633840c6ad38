# ruff: noqa: N802 - the names of the tool's page are kept
"""The signature of arcpy.ia's tool, so that a script moves over by changing an import.

    from attachtrans import ia                    # was: from arcpy import ia, env

    ia.env.processorType, ia.env.cellSize = "GPU", 0.5
    sharp = ia.TranslatePixelsUsingDeepLearning("scene.tif", "sr-x2.emd", "padding 64")
    sharp.save("sharp.tif")
    ia.TranslatePixelsUsingDeepLearning(
        "survey.gdb/trees", "night2day.dlpk", out_featureclass="day.gdb/trees"
    )

Names, order, string values and defaults are those of the tool's page. A single result that no
folder is named for is a temporary raster, as arcpy's: it lies in a folder of this process below the
system's for temporary files (TMPDIR moves that) and goes with the process, unless it is saved.
`attachtrans.translate_pixels` offers more.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from attachtrans.environments import (
    Environment,
    cores,
    device_of,
    extent_of,
    given,
    grid_of,
    raster_environment,
    threads_of,
)
from attachtrans.errors import ArgumentError, AttachtransError
from attachtrans.parameters import (
    Input,
    PathLike,
    Target,
    class_output,
    flag,
    input_of,
    named_in,
    one_of,
    pairs_of,
    raster_output,
)
from attachtrans.results import FeatureClassResult, FolderResult, RasterResult, Result

if TYPE_CHECKING:
    from pyproj import CRS

    from attachtrans.report import Report
    from attachtrans.tool.rasters.choice import RasterChoice

__all__ = [
    "Environment",
    "FeatureClassResult",
    "FolderResult",
    "RasterResult",
    "Result",
    "TranslatePixelsUsingDeepLearning",
    "env",
]


env = Environment()
"""The environments that the next call of a tool works in."""


def TranslatePixelsUsingDeepLearning(  # noqa: PLR0913, PLR0917 - the page's parameters
    in_raster: PathLike,
    in_model_definition: PathLike,
    arguments: str | Iterable[object] | Mapping[str, object] | None = None,
    processing_mode: str | None = "PROCESS_AS_MOSAICKED_IMAGE",
    out_translated_folder: PathLike | None = None,
    out_featureclass: PathLike | None = None,
    overwrite_attachments: str | bool | None = "NO_OVERWRITE",  # noqa: FBT001 - as arcpy takes it
    use_pixelspace: str | bool | None = "NO_PIXELSPACE",  # noqa: FBT001
) -> Result:
    """Run a trained model over a raster, many rasters, or the photos of a feature class.

    in_raster           a raster; a mosaic (VRT, GTI, a vector file of footprints with a column of
                        paths, STAC items); a folder; an image service, map server or tiled layer,
                        by its address; a feature class with photos ("survey.gpkg/main.trees",
                        "survey.gdb/trees", "trees.shp"); a layer file that leads to one of these
                        (.lyrx, .qlr, "project.qgz:layer"); or arcpy's object for one, which has a
                        `catalogPath` or a `dataSource`
    in_model_definition .emd, .dlpk, folder, JSON text or the name of a built-in model
    arguments           "padding 64;batch_size 4", pairs, or a dict
    processing_mode     of mosaics and image services: one raster, or with
                        "PROCESS_ITEMS_SEPARATELY" one for each
    out_translated_folder   for results of rasters. Where there are several, the default is
                        NAME_translated beside them, which a warning says; one is temporary
    out_featureclass    class that results of a feature class are appended to; needed with
                        NO_OVERWRITE
    overwrite_attachments   "OVERWRITE" (or True) replaces the photos where they are; a backup of
                        the originals stays beside the data
    use_pixelspace      "PIXELSPACE" (or True): on rows and columns. Rasters keep their control
                        points or RPC, rescaled, or are brought to the map where an environment asks
                        for cells, an extent or a coordinate system.
                        "NO_PIXELSPACE": in map space. Rasters with control points or an RPC, and
                        photos whose camera is known, are rectified first; a photo's result is then
                        a GeoTIFF, which OVERWRITE refuses, since an ortho would take the photo's
                        place. What has no place is processed on its own grid all the same

    Strings are taken in any case; None, "" and "#" mean the default. Rasters and photos of many
    that could not be translated are in the result's report, and in a warning.

    Returns a `RasterResult`, a `FolderResult` or a `FeatureClassResult`; see `Result`.

    Raises ArgumentError for a value or a combination that is not allowed, and what
    `attachtrans.translate_pixels` raises.
    """
    separate = one_of(
        "processing_mode", processing_mode, "PROCESS_AS_MOSAICKED_IMAGE", "PROCESS_ITEMS_SEPARATELY"
    ).endswith("SEPARATELY")
    overwrite = flag("overwrite_attachments", overwrite_attachments, "OVERWRITE", "NO_OVERWRITE")
    pixel_space = flag("use_pixelspace", use_pixelspace, "PIXELSPACE", "NO_PIXELSPACE")
    pairs = pairs_of(arguments)
    source = input_of(in_raster, overwrite=overwrite)

    from attachtrans.tool.place.options import Placing
    from attachtrans.tool.rasters.kinds import SourceKind
    from attachtrans.tool.translate import plan_translation

    if source.kind is SourceKind.FEATURES:
        target = Target(class_output(out_featureclass, out_translated_folder, overwrite=overwrite))
    else:
        target = raster_output(source, out_featureclass, out_translated_folder, separate=separate)
        if target.several and not given(out_translated_folder):
            warnings.warn(
                f"out_translated_folder is not given: results go to {target.output}", stacklevel=2
            )
    rasters = _raster_choice(source, target)
    device, count = device_of(env), threads_of(env)
    bbox, crs, resolution = None, None, None
    if rasters is None:
        bbox = _box(source)
        crs, resolution = grid_of(env, rectifies=not pixel_space and not overwrite)
    translation = plan_translation(
        source.path,
        in_model_definition,
        target.output,
        arguments=pairs,
        overwrite_attachments=overwrite,
        layer=source.layer,
        bbox=bbox,
        device=device,
        space="pixel" if pixel_space else "map",
        placing=Placing(crs=crs, resolution=resolution),
        rasters=rasters,
    )
    with cores(count, device):
        report = translation.report(list(translation))
    if not report.ok:
        warnings.warn(_problem(report), stacklevel=2)
    return _result(source, target, report)


def _result(source: Input, target: Target, report: Report) -> Result:
    from attachtrans.tool.rasters.kinds import SourceKind

    if target.several:
        return FolderResult(path=Path(report.output), report=report)
    if source.kind is not SourceKind.FEATURES:
        return RasterResult(path=Path(report.output), report=report)
    path = source.origin if target.output is None else named_in(target.output).path
    return FeatureClassResult(path=Path(path), report=report)


def _problem(report: Report) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in report.counts.items())
    first = next(one for one in report.outcomes if one.status in ("failed", "refused"))
    return (
        f"not everything was translated ({counts}; see the result's report). "
        f"{first.item.key}: {first.reason}"
    )


def _raster_choice(source: Input, target: Target) -> RasterChoice | None:
    """What the environments and the mode mean for rasters; None: there are photos only."""
    from attachtrans.stores.rasterfolder import sort_folder
    from attachtrans.tool.rasters.choice import RasterChoice
    from attachtrans.tool.rasters.kinds import SourceKind

    if source.kind is SourceKind.FEATURES:
        return None
    is_folder = source.kind is SourceKind.FOLDER
    choice = raster_environment(env, partial(_crs_of, source))
    if is_folder and choice != RasterChoice():
        files = sort_folder(Path(source.origin), leave_out=[Path(target.output or "")])
        if files.photos is not None and files.rasters:
            raise ArgumentError(
                f"{source.origin} holds rasters and photos, for which cell size, extent, mask, "
                "snap raster and coordinate system mean different things: leave these environments "
                "out, or give them a folder each"
            )
        if files.photos is not None:
            return None
    return replace(choice, mode="separate" if target.several and not is_folder else None)


def _crs_of(source: Input) -> CRS | None:
    """The coordinate system of what GDAL opens; None: not known."""
    from attachtrans.stores.raster import open_raster
    from attachtrans.tool.rasters.kinds import SourceKind

    if source.kind in (SourceKind.SERVICE, SourceKind.FOLDER):
        return None
    try:
        with open_raster(source.origin) as image:
            return image.crs
    except AttachtransError:
        return None


def _box(source: Input) -> tuple[float, float, float, float] | None:
    """The extent that chooses features."""
    from attachtrans.tool.rasters.kinds import SourceKind

    box = extent_of(env)
    if box is not None and source.kind is SourceKind.FOLDER:
        raise ArgumentError(
            "env.extent cannot be honoured: the photos of a folder hang on no features. Set "
            "env.extent = None"
        )
    return box
