# ruff: noqa: N802 - the names of the tool's page are kept
"""The signature of arcpy.ia's tool, so that a script moves over by changing an import.

    from attachtrans import ia                    # was: from arcpy import ia, env

    ia.env.processorType = "GPU"
    result = ia.TranslatePixelsUsingDeepLearning(
        "survey.gpkg/main.trees", "night2day.dlpk", "padding 64;batch_size 4",
        out_featureclass="day.gpkg/main.trees",
    )
    result.save("copy.gpkg")

Names, order, string values and defaults are those of the tool's page. What this release does not do
(rasters, folders, services, file geodatabases) is refused by name; `attachtrans.translate_pixels`
offers more.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from attachtrans.environments import (
    Environment,
    cores,
    device_of,
    extent_of,
    given,
    grid_of,
    threads_of,
)
from attachtrans.errors import ArgumentError, OutputExistsError, SinkError

if TYPE_CHECKING:
    from attachtrans.report import Report

PathLike = str | os.PathLike[str]

_GEOPACKAGE = re.compile(r"(?P<path>.*?\.gpkg)(?:[/\\:](?P<layer>.+))?", re.IGNORECASE | re.DOTALL)
_SCHEMA = re.compile(r"main\.", re.IGNORECASE)
_SUPPORTED = (
    "This release takes feature classes with photos in a GeoPackage, such as survey.gpkg or "
    "survey.gpkg/main.trees"
)
_RASTERS = {
    *(".tif", ".tiff", ".jpg", ".jpeg", ".png", ".img", ".jp2", ".crf", ".mrf", ".vrt", ".nc"),
    *(".grd", ".asc", ".bil", ".sid", ".ecw", ".ntf"),
}
_DATABASES = {
    ".gdb": "a file geodatabase",
    ".geodatabase": "a mobile geodatabase",
    ".sde": "an enterprise geodatabase",
    ".shp": "a shapefile",
}


env = Environment()
"""The environments that the next call of a tool works in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a call gives back; as text it is the feature class, "OUT.gpkg:layer" where known.

    path    the GeoPackage that holds the results
    report  what became of each photo
    """

    path: Path
    report: Report

    def __str__(self) -> str:
        return self.report.output

    def save(self, path: PathLike) -> None:
        """Copy the GeoPackage with the results to another path, all of its layers.

        Raises:
            OutputExistsError: something is there already.
            ArgumentError: not a .gpkg, or photos that are files beside the GeoPackage.
            SinkError: the copy cannot be written.
        """
        from attachtrans.stores.backup import BlobBackup
        from attachtrans.stores.catalog import inspect
        from attachtrans.stores.layouts.base import LayoutName

        target = Path(path)
        if target.suffix.lower() != ".gpkg":
            raise ArgumentError(f"save({target}): the result is a GeoPackage; name it .gpkg")
        if target.exists():
            raise OutputExistsError(f"save({target}): it is there already; choose another name")
        if any(table.layout is LayoutName.PATH for table in inspect(self.path).tables):
            raise ArgumentError(
                f"save({target}): photos of {self.path} are files beside it, which a copy of the "
                "GeoPackage would leave behind; copy the folder"
            )
        try:
            BlobBackup.make(self.path, target).close()
        except SinkError as error:
            raise SinkError(f"save({target}): {error.__cause__ or error}") from error


class _FeatureClass(NamedTuple):
    path: Path
    layer: str | None


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
    """Run a trained model over the photos of a feature class.

    in_raster           a GeoPackage, or a layer in it: "survey.gpkg", "survey.gpkg/main.trees"
    in_model_definition .emd, .dlpk, folder, JSON text or the name of a built-in model
    arguments           "padding 64;batch_size 4", pairs, or a dict
    processing_mode     concerns mosaic datasets and image services only
    out_translated_folder   concerns folders and mosaic datasets only
    out_featureclass    class that results are appended to; needed with NO_OVERWRITE
    overwrite_attachments   "OVERWRITE" (or True) replaces the photos where they are; a backup of
                        the originals stays beside the data
    use_pixelspace      "PIXELSPACE" (or True): photos are processed on their own rows and columns.
                        "NO_PIXELSPACE": in map space. A photo whose camera is known is rectified
                        to the map first, and its result is a GeoTIFF; OVERWRITE refuses it, since
                        an ortho would take the photo's place. A photo whose place is not known is
                        processed on its own grid all the same

    Strings are taken in any case; None, "" and "#" mean the default. Photos that could not be
    translated are in the result's report, and in a warning.

    Raises ArgumentError for a value or a combination that is not allowed or not supported, and what
    `attachtrans.translate_pixels` raises.
    """
    _one_of(
        "processing_mode", processing_mode, "PROCESS_AS_MOSAICKED_IMAGE", "PROCESS_ITEMS_SEPARATELY"
    )
    overwrite = _flag("overwrite_attachments", overwrite_attachments, "OVERWRITE", "NO_OVERWRITE")
    pixel_space = _flag("use_pixelspace", use_pixelspace, "PIXELSPACE", "NO_PIXELSPACE")
    source = _input(in_raster)
    output = _output(out_featureclass, out_translated_folder, overwrite=overwrite)
    pairs = _pairs(arguments)
    device, bbox = device_of(env), extent_of(env)
    rectifies = not pixel_space and not overwrite
    crs, resolution = grid_of(env, rectifies=rectifies)

    from attachtrans.tool.place.options import Placing
    from attachtrans.tool.translate import translate_pixels

    with cores(threads_of(env), device):
        report = translate_pixels(
            source.path,
            in_model_definition,
            output,
            arguments=pairs,
            overwrite_attachments=overwrite,
            layer=source.layer,
            bbox=bbox,
            device=device,
            space="pixel" if pixel_space else "map",
            placing=Placing(crs=crs, resolution=resolution),
        )
    if not report.ok:
        warnings.warn(_problem(report), stacklevel=2)
    return Result(path=source.path if output is None else _parse(output).path, report=report)


def _problem(report: Report) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in report.counts.items())
    first = next(one for one in report.outcomes if one.status in ("failed", "refused"))
    return (
        f"not all photos were translated ({counts}; see the result's report). "
        f"{first.item.key}: {first.reason}"
    )


def _one_of(name: str, value: object, default: str, *others: str) -> str:
    if not given(value):
        return default
    text = str(value).strip().upper()
    if text not in (default, *others):
        allowed = " or ".join((default, *others))
        raise ArgumentError(f"{name}={value!r}: it must be {allowed}")
    return text


def _flag(name: str, value: object, yes: str, no: str) -> bool:
    """A parameter that is a Boolean in the dialog and a keyword in scripts."""
    if isinstance(value, bool):
        return value
    text = _one_of(name, value, no, yes, "TRUE", "FALSE")
    return text in (yes, "TRUE")


def _input(value: object) -> _FeatureClass:
    if not isinstance(value, str | os.PathLike):
        raise ArgumentError(f"in_raster is {value!r:.80}. {_SUPPORTED}")
    text = os.fspath(value)
    if re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE):
        raise ArgumentError(
            f"in_raster {text}: image services, map servers and tiled layers are not supported "
            f"yet. {_SUPPORTED}"
        )
    if _GEOPACKAGE.fullmatch(text):
        return _parse(text)
    parts = [Path(part).suffix.lower() for part in Path(text).parts]
    kind = next((name for ending, name in _DATABASES.items() if ending in parts), None)
    if kind is not None:
        kind += "; it can be converted with ogr2ogr -f GPKG"
    elif Path(text).is_dir():
        kind = "a folder"
    elif Path(text).suffix.lower() in _RASTERS:
        kind = "a raster"
    else:
        kind = "no GeoPackage (names of layers in a map are known to ArcGIS Pro only)"
    raise ArgumentError(f"in_raster {text} is {kind}, which is not supported yet. {_SUPPORTED}")


def _parse(text: PathLike) -> _FeatureClass:
    """The GeoPackage and the layer in "a.gpkg", "a.gpkg/main.trees" or "a.gpkg:trees"."""
    found = _GEOPACKAGE.fullmatch(os.fspath(text))
    if found is None:
        raise ArgumentError(f"{os.fspath(text)} is no GeoPackage, with or without a layer")
    layer = found["layer"]
    return _FeatureClass(
        Path(found["path"]), None if layer is None else _SCHEMA.sub("", layer.rstrip("/\\"), 1)
    )


def _output(value: PathLike | None, folder: PathLike | None, *, overwrite: bool) -> str | None:
    """The class to append to, as `translate_pixels` takes it; None when overwriting."""
    if given(folder):
        raise ArgumentError(
            "out_translated_folder is for folders of images and mosaic datasets; for a feature "
            "class, name out_featureclass or use OVERWRITE"
        )
    if overwrite:
        if given(value):
            raise ArgumentError(
                "out_featureclass goes with NO_OVERWRITE: OVERWRITE puts the results in the place "
                "of the photos of in_raster"
            )
        return None
    if value is None or not given(value):
        raise ArgumentError(
            "out_featureclass is required for a feature class of images with NO_OVERWRITE; give "
            "it, or overwrite_attachments='OVERWRITE' to replace the photos"
        )
    text = os.fspath(value)
    if not _GEOPACKAGE.fullmatch(text):
        raise ArgumentError(
            f"out_featureclass {text}: only GeoPackages can be written, like out.gpkg/trees"
        )
    path, layer = _parse(text)
    return str(path) if layer is None else f"{path}:{layer}"


def _pairs(arguments: str | Iterable[object] | Mapping[str, object] | None) -> dict[str, object]:
    """The model's arguments by name, without those that have no value."""
    if arguments is None:
        return {}
    pairs: dict[str, object] = {}
    rows = arguments.split(";") if isinstance(arguments, str) else arguments
    for row in rows.items() if isinstance(rows, Mapping) else rows:
        pair = row.strip().split(None, 1) if isinstance(row, str) else row
        if not pair:
            continue
        if not isinstance(pair, list | tuple) or len(pair) > 2:
            raise ArgumentError(
                f"arguments: {row!r} is not a name with a value; write 'padding 64;batch_size 4', "
                "[['padding', 64], ['batch_size', 4]] or a dict"
            )
        name, value = (str(pair[0]), pair[1] if len(pair) > 1 else None)
        if isinstance(value, str):
            value = value.strip().strip("'\"")
        if name in pairs:
            raise ArgumentError(f"arguments: {name!r} is given twice")
        if given(value):
            pairs[name] = value
    return pairs
