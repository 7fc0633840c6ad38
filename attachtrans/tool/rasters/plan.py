"""Which sources are rasters, and the run that translates them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.models.arguments import Pairs
from attachtrans.stores.folder import FolderPhotos
from attachtrans.stores.layers import LayerKind, read_layer
from attachtrans.stores.layers import recognise as is_layer_file
from attachtrans.stores.raster import RasterOptions, driver_for
from attachtrans.stores.raster.drivers import canonical, ending_of
from attachtrans.stores.rasterfolder import default_output, is_raster, sort_folder
from attachtrans.stores.services import Address, ServiceKind, redact
from attachtrans.stores.services import recognise as service_address
from attachtrans.tool.choices import Running, Space
from attachtrans.tool.chosenmodel import choose_model
from attachtrans.tool.place.options import Placing
from attachtrans.tool.progress import Progress
from attachtrans.tool.rasters.choice import RasterChoice
from attachtrans.tool.rasters.inputs import (
    RasterInputs,
    Search,
    of_collection,
    of_file,
    of_folder,
    of_service,
)
from attachtrans.tool.rasters.kinds import SourceKind, kind_of, name_of_tiles, path_to_call_by
from attachtrans.tool.rasters.run import RasterJob, RasterTranslation
from attachtrans.tool.sources import Choice

_NO_MAPS = {"GPKG", "VRT", "JPEG", "PNG", "WEBP", "GIF", "BMP", "OpenFileGDB"}
"""Drivers whose files are photos rather, or feature classes: their names make no raster of one."""
_OF_COLLECTIONS = ("--layer", "--where")
_ROOM_FOR_RASTERS = ("dem", "crs", "cog")
"""What of `Placing` concerns rasters, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `plan_translation` was asked for, as far as it concerns rasters.

    address     of a service
    layer_crs   that a layer file assigns to its raster
    """

    source: str
    model: str | os.PathLike[str]
    output: str | os.PathLike[str] | None
    arguments: Pairs
    running: Running
    scale: float | None
    space: Space | None
    chosen: Choice
    placing: Placing
    choice: RasterChoice
    dry_run: bool
    progress: Progress
    address: Address | None = None
    layer_crs: str | None = None

    @property
    def path(self) -> Path:
        """Of a source that is a file or a folder."""
        return Path(self.source)

    def at_its_source(self) -> Request:
        """The same, with what a layer file leads to in the place of its name.

        Raises:
            ArgumentError: no such layer, or several that could be meant.
            SourceError: it cannot be read.
        """
        if not is_layer_file(self.source):
            address = service_address(self.source)
            return self if address is None else replace(self, address=address)
        found = read_layer(self.source)
        layer = self.chosen.layer or found.sublayer
        both = [f"({text})" for text in (found.where, self.chosen.where) if text]
        bands = self.choice.bands
        if bands is None and found.bands is not None and found.kind is LayerKind.RASTER:
            bands = ",".join(map(str, found.bands))
        address = None
        if found.kind is LayerKind.SERVICE:
            address = Address(
                kind=ServiceKind(found.service or ""),
                url=found.source,
                layer=layer,
                options=dict(found.options),
                named=False,
            )
        return replace(
            self,
            source=found.source,
            chosen=replace(self.chosen, layer=layer, where=" AND ".join(both) or None),
            choice=replace(self.choice, bands=bands),
            address=address,
            layer_crs=found.crs if found.kind is LayerKind.RASTER else None,
        )

    def require_rasters(self, flags: Sequence[str], **options: object) -> None:
        """Raise ArgumentError where options of photos are given: flags, or options with a value."""
        tables = [flag for flag in self.chosen.given_for_tables() if flag not in _OF_COLLECTIONS]
        others = [f"--{name}" for name, value in options.items() if value is not None]
        if wrong := [*flags, *others, *tables]:
            raise ArgumentError(
                f"{wrong[0]} concerns photos, and {self.source} is read as a raster"
            )

    def require_photos(self) -> None:
        """Raise ArgumentError where raster options are given and the source is no raster."""
        plain = replace(RasterChoice(), bands=self.choice.bands)
        if self.choice != plain:
            raise ArgumentError(
                f"{self.source} is read as photos, which the options on rasters do not concern "
                "(--cell-size, --extent, --mask, --bands, --processing-mode, --co ...): leave them "
                "out, or name a raster for --output, like out.tif"
            )


class Found(NamedTuple):
    """What a source holds: rasters, or rasters and photos, of a folder; neither: see elsewhere."""

    rasters: RasterTranslation | None
    photos: FolderPhotos | None = None


def find_rasters(request: Request) -> Found:
    """The run over a source's rasters.

    Services, collections, rasters by what their header says, and folders of them whose results go
    to a folder. Of a picture that could be both a raster is meant when raster options are given.

    Raises:
        ArgumentError: options that do not fit the source, or each other.
        SourceError: it cannot be read.
    """
    source = request.source
    if request.address is not None:
        search = _search(request, Path("service"))
        return Found(_planned(request, of_service(request.address, search), search))
    path = Path(source)
    search = _search(request, path_to_call_by(source))
    kind = kind_of(source, search.collection())
    if kind in {SourceKind.NAMED, SourceKind.TILES}:
        tiles = kind is SourceKind.TILES
        named = name_of_tiles(path, request.chosen.layer) if tiles else source
        return Found(_planned(request, of_file(named, search), search))
    if kind is SourceKind.COLLECTION:
        return Found(_planned(request, of_collection(path, search), search))
    if kind is SourceKind.FOLDER:
        return _of_folder(request, search)
    if kind is SourceKind.FILE and not path.exists():
        raise SourceError(f"{source}: there is no such file or folder")
    if kind is SourceKind.FILE and _is_raster_file(path, request):
        _require_one_raster(request)
        return Found(_planned(request, of_file(source, search), search))
    return Found(None)


def _require_one_raster(request: Request) -> None:
    """Raise ArgumentError where options choose among rasters, of which there is one."""
    chosen = request.chosen
    given = {
        "--processing-mode separate": request.choice.mode == "separate",
        "--layer": chosen.layer is not None,
        "--where": chosen.where is not None,
        "--pattern": bool(chosen.patterns),
    }
    for flag, is_given in given.items():
        if is_given:
            raise ArgumentError(f"{flag}: {request.source} is one raster; leave it out")


def _is_raster_file(path: Path, request: Request) -> bool:
    return is_raster(path) or request.choice != RasterChoice() or _names_raster(request.output)


def _names_raster(output: str | os.PathLike[str] | None) -> bool:
    """Whether the output's name is that of a raster."""
    if output is None or not Path(output).suffix:
        return False
    try:
        return driver_for(Path(output)) not in _NO_MAPS
    except ArgumentError:
        return False


def _of_folder(request: Request, search: Search) -> Found:
    """A folder: its rasters for themselves, and its photos; into a folder only."""
    output = request.output
    if output is not None and Path(output).suffix and not Path(output).is_dir():
        if _names_raster(output):
            raise ArgumentError(
                f"--output {output}: each file of {request.source} gets a result of its own, so "
                "name a folder; or make one raster of its rasters with --mosaic"
            )
        return Found(None)  # a feature class of photos
    folder = Path(request.source)
    files = sort_folder(
        folder,
        patterns=request.chosen.patterns,
        limit=request.chosen.limit,
        leave_out=[search.output],
    )
    if not files.rasters:
        return Found(None)
    return Found(_planned(request, of_folder(files, search), search), files.photos)


def _search(request: Request, named: Path) -> Search:
    """Where results go, and which rasters are meant."""
    driver, output = request.choice.driver, request.output
    separate = request.choice.mode == "separate" or (named.is_dir() and not request.choice.mosaic)
    is_file = output is not None and Path(output).suffix and not Path(output).is_dir()
    ending = ".tif" if driver is None or is_file else ending_of(canonical(driver))
    if output is None:
        if not separate:
            folder = default_output(named)
            output = folder.with_name(folder.name + ending)
        else:
            output = default_output(named)
    elif not separate and not is_file:
        output = Path(output) / f"{named.stem or 'raster'}{ending}"
    return Search(
        choice=request.choice,
        output=Path(output),
        ending=ending,
        chosen=request.chosen,
    )


def _planned(request: Request, inputs: RasterInputs, search: Search) -> RasterTranslation:
    try:
        return _checked(request, inputs, search)
    except BaseException:
        inputs.close()
        raise


def _checked(request: Request, inputs: RasterInputs, search: Search) -> RasterTranslation:
    choice, output = request.choice, search.output
    _refuse_what_is_for_photos(request)
    if inputs.separate and output.suffix and not output.is_dir():
        raise ArgumentError(
            f"--output {output}: each raster gets a result of its own, so name a folder"
        )
    _require_other_file(request, output)
    if not inputs.separate and not output.parent.is_dir():
        raise ArgumentError(f"--output {output}: there is no folder {output.parent}; make it first")
    driver = choice.driver or ("GTiff" if inputs.separate else driver_for(output))
    options = RasterOptions(
        driver=canonical(driver),
        cog=choice.cog or request.placing.cog,
        compression="zstd",
        overviews=choice.overviews,
        creation=choice.creation,
    )
    space: Space = request.space or "map"
    encoding = {"resampling": choice.resampling} if choice.resampling != "bilinear" else {}
    model = choose_model(request.model, request.arguments, request.running, request.scale, encoding)
    notes = []
    if request.output is None:
        notes.append(f"no --output was named, so results go to {output}")
    return RasterTranslation(
        job=RasterJob(
            source=Path(redact(request.source) if request.address else request.source),
            inputs=inputs,
            model=model,
            choice=choice,
            output=output,
            options=options,
            space=space,
            dem=request.placing.dem,
            layer_crs=request.layer_crs,
        ),
        dry_run=request.dry_run,
        progress=request.progress,
        notes=notes,
    )


def _refuse_what_is_for_photos(request: Request) -> None:
    plain = Placing()
    for field in fields(Placing):
        if field.name in _ROOM_FOR_RASTERS:
            continue
        if getattr(request.placing, field.name) != getattr(plain, field.name):
            raise ArgumentError(
                "the options on poses, footprints and orthos concern photos: a raster says itself "
                "where it lies (of them only --dem, --crs and --cog go with rasters)"
            )


def _require_other_file(request: Request, output: Path) -> None:
    """Raise ArgumentError where a result would take the place of its source, or become one."""
    path = request.path
    if output.exists() and path.exists() and output.samefile(path):
        raise ArgumentError(f"--output {output} is the source itself: name another one")
    if request.choice.mosaic and output.resolve().is_relative_to(path.resolve()):
        raise ArgumentError(
            f"--output {output} lies in {path}, whose rasters make the mosaic, and would be one of "
            "them the next time: name another folder"
        )
