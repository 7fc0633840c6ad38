"""The parameters of the tool's page: what their values mean.

Environments are in `attachtrans.environments`, results in `attachtrans.results`.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from attachtrans.environments import given, path_in
from attachtrans.errors import ArgumentError, SourceError

if TYPE_CHECKING:
    from attachtrans.tool.rasters.kinds import SourceKind

PathLike = str | os.PathLike[str]

_DATABASE = re.compile(
    r"(?P<path>.*?\.(?:gpkg|geodatabase|gdb(?:\.zip)?))(?:[/\\:](?P<layer>.+))?",
    re.IGNORECASE | re.DOTALL,
)
_IN_DATASET = re.compile(r"\.gdb[/\\][^/\\]+[/\\][^/\\]", re.IGNORECASE)
_SCHEMA = re.compile(r"main\.", re.IGNORECASE)


class Named(NamedTuple):
    """A file, or a layer of a database: "survey.gpkg/main.trees"."""

    path: str
    layer: str | None


class Input(NamedTuple):
    """What `in_raster` means.

    path, layer     as `plan_translation` takes them
    kind            of what it is, or leads to where it is a layer file
    origin          the name of that
    """

    path: str
    layer: str | None
    kind: SourceKind
    origin: str


class Target(NamedTuple):
    """Where results go: output as `plan_translation` takes it, a folder where they are several."""

    output: str | Path | None
    several: bool = False


def one_of(name: str, value: object, default: str, *others: str) -> str:
    """A keyword in any case. Raises ArgumentError for any other word."""
    if not given(value):
        return default
    text = str(value).strip().upper()
    if text not in (default, *others):
        allowed = " or ".join((default, *others))
        raise ArgumentError(f"{name}={value!r}: it must be {allowed}")
    return text


def flag(name: str, value: object, yes: str, no: str) -> bool:
    """A parameter that is a Boolean in the dialog and a keyword in scripts."""
    if isinstance(value, bool):
        return value
    text = one_of(name, value, no, yes, "TRUE", "FALSE")
    return text in (yes, "TRUE")


def input_of(value: object, *, overwrite: bool) -> Input:
    """What `in_raster` means; photos of a feature class are meant where they are overwritten.

    Raises:
        ArgumentError: nothing that is read here, or that could be overwritten.
        SourceError: there is no such file, or a layer file cannot be read.
    """
    from attachtrans.tool.rasters.kinds import SourceKind, kind_behind
    from attachtrans.tool.sources import is_feature_class

    text = path_in(value)
    if not text:
        raise ArgumentError(f"in_raster is {value!r:.80}: give the path or the address of it")
    if ".sde" in (Path(part).suffix.lower() for part in re.split(r"[/\\]", text)):
        raise ArgumentError(
            f"in_raster {text}: an enterprise geodatabase is reached by Esri's software only; copy "
            "the feature class to a file geodatabase or a GeoPackage"
        )
    path, layer = named_in(text)
    kind, origin = kind_behind(path, layer)
    if kind is SourceKind.FEATURES and layer is not None:
        _require_class(Path(origin), layer)
    if kind is SourceKind.NAMED and "://" in origin:
        raise ArgumentError(
            f"in_raster {text}: not the address of an image service (.../ImageServer), a map "
            "server (.../MapServer, maybe with /LAYER), tiles ({z}/{x}/{y}), a WMTS or a WMS"
        )
    if kind is SourceKind.FILE and not Path(origin).is_file():
        if Path(origin).suffix:
            raise SourceError(f"in_raster {origin}: there is no such file")
        raise ArgumentError(
            f"in_raster {text}: there is no such file or folder. Names of layers in a map are "
            "known to ArcGIS Pro only: save the layer as a layer file (.lyrx) and name that"
        )
    if overwrite:
        if not is_feature_class(Path(origin)):
            raise ArgumentError(
                f"overwrite_attachments: OVERWRITE replaces photos of a feature class, and "
                f"{origin} is {kind}"
            )
        kind = SourceKind.FEATURES  # its column of paths names photos then, no rasters
    return Input(path, layer, kind, origin)


def _require_class(path: Path, layer: str) -> None:
    """Raise ArgumentError where a file geodatabase has no such table: a raster, maybe."""
    import fiona
    from fiona.errors import FionaError

    if path.suffix.lower() != ".gdb" or not path.is_dir():
        return
    try:
        names = fiona.listlayers(path)
    except (FionaError, OSError, ValueError):
        return  # who reads its feature classes says what is wrong
    if layer.casefold() not in map(str.casefold, names):
        raise ArgumentError(
            f"in_raster {path}: there is no feature class {layer}; there are {', '.join(names)}. "
            "Rasters in a file geodatabase are read by Esri's software only: export them as GeoTIFF"
        )


def named_in(text: PathLike) -> Named:
    """The file and the layer in "a.gpkg", "a.gpkg/main.trees", "a.gdb/dataset/trees", "a.gpkg:t".

    A layer of None where none is named, or it is no database.
    """
    found = _DATABASE.fullmatch(os.fspath(text))
    if found is None or found["layer"] is None:
        return Named(os.fspath(text) if found is None else found["path"], None)
    layer = found["layer"].rstrip("/\\")
    if not found["path"].lower().endswith(".gpkg"):
        layer = re.split(r"[/\\]", layer)[-1]  # without its feature dataset
    return Named(found["path"], _SCHEMA.sub("", layer, count=1))


def class_output(value: PathLike | None, folder: PathLike | None, *, overwrite: bool) -> str | None:
    """The class to append to, as `plan_translation` takes it; None when overwriting.

    Raises ArgumentError where it is missing, too much or no class that can be written.
    """
    if given(folder):
        raise ArgumentError(
            "out_translated_folder is for rasters, mosaics and folders; for a feature class, name "
            "out_featureclass or use OVERWRITE"
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
    path, layer = named_in(value)
    if _IN_DATASET.search(os.fspath(value)):
        raise ArgumentError(
            f"out_featureclass {os.fspath(value)}: classes are not written into feature datasets; "
            f"name {path}/{layer}"
        )
    if not path.lower().endswith((".gpkg", ".gdb", ".geodatabase")):
        raise ArgumentError(
            f"out_featureclass {os.fspath(value)}: only GeoPackages and geodatabases can be "
            "written, like out.gpkg/trees"
        )
    return path if layer is None else f"{path}:{layer}"


def raster_output(
    source: Input, out_class: PathLike | None, folder: PathLike | None, *, separate: bool
) -> Target:
    """A folder for several results, a file or its folder for one: named, usual or temporary.

    The folder of one result is made.

    Raises:
        ArgumentError: a class or a folder that does not go with it.
        SinkError: the folder cannot be made.
    """
    from attachtrans.stores.rasterfolder import default_output, make_folder_for
    from attachtrans.tool.rasters.kinds import SourceKind as Kind

    kind = source.kind
    if given(out_class):
        raise ArgumentError(
            f"out_featureclass is for feature classes with photos, and {source.origin} is {kind}; "
            "results of rasters go to out_translated_folder"
        )
    several = kind is Kind.FOLDER or (separate and kind in (Kind.COLLECTION, Kind.SERVICE))
    if folder is not None and given(folder):
        place = Path(folder)
        if place.suffix and not place.is_dir():
            raise ArgumentError(
                f"out_translated_folder {place}: there is no such folder, and its name is that of "
                "a file; make it first if it is meant"
            )
    elif several:
        place = default_output(Path("service" if kind is Kind.SERVICE else source.origin))
    else:
        place = Path(tempfile.mkdtemp(dir=_scratch()))
    if not several:
        make_folder_for(place / "result", place)
    if kind is Kind.FILE:  # by this name a picture is a raster, too
        return Target(place / f"{Path(source.origin).stem}.tif")
    return Target(place, several)


@cache
def _scratch() -> Path:
    """The folder of this process for temporary rasters."""
    folder = Path(tempfile.mkdtemp(prefix="attachtrans-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def pairs_of(arguments: str | Iterable[object] | Mapping[str, object] | None) -> dict[str, object]:
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
