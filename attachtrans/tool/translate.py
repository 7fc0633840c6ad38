"""`translate_pixels`: the tool. Checks what is asked for and prepares the run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import ParamSpec

from attachtrans.errors import ArgumentError
from attachtrans.models.arguments import Pairs
from attachtrans.report import Outcome, Report
from attachtrans.stores.folder import FolderPhotos
from attachtrans.stores.geodatabase.kinds import refuse_output
from attachtrans.stores.layouts.base import PhotoTable
from attachtrans.stores.outputclass import OutputClass
from attachtrans.stores.outputs import OutputLayout
from attachtrans.stores.overwrite import Safety
from attachtrans.stores.photoindex import IndexKind
from attachtrans.stores.photos import Photos
from attachtrans.tool.choices import (
    GEOMETRIES,
    Geometry,
    Running,
    Space,
    Writing,
    index_kind,
)
from attachtrans.tool.chosenmodel import choose_model
from attachtrans.tool.place.options import Placing
from attachtrans.tool.progress import Progress, Quiet
from attachtrans.tool.rasters.choice import RasterChoice
from attachtrans.tool.rasters.plan import Found, Request, find_rasters
from attachtrans.tool.rasters.run import RasterTranslation
from attachtrans.tool.sinks import Job
from attachtrans.tool.sources import Choice, is_feature_class, is_geopackage, open_source
from attachtrans.tool.together import Together, together
from attachtrans.tool.translation import Translation

PathLike = str | os.PathLike[str]
Run = Translation | RasterTranslation | Together

_OUTPUT = re.compile(
    r"(?P<path>.+\.(gpkg|gdb|geodatabase))(?::(?P<layer>.+))?", re.IGNORECASE | re.DOTALL
)
P = ParamSpec("P")


def parse_output(text: PathLike, layout: str) -> OutputClass | Path:
    """`OUT.gpkg` or `OUT.gpkg:layer` (and so with .gdb), else a folder.

    Raises ArgumentError for a name with the ending of a file, and for what a geodatabase cannot
    take.
    """
    found = _OUTPUT.fullmatch(os.fspath(text))
    if found:
        refuse_output(Path(found["path"]), layout)
        return OutputClass(
            path=Path(found["path"]), layer=found["layer"], layout=OutputLayout(layout)
        )
    path = Path(text)
    if path.suffix and not path.is_dir():
        message = (
            f"--output {text}: write a GeoPackage and maybe a layer, like out.gpkg:trees, or name "
            "a folder"
        )
        raise ArgumentError(message)
    return path


def plan_translation(  # noqa: PLR0913 - the tool's face: every option by name
    source: PathLike,
    model: PathLike,
    output: PathLike | None = None,
    *,
    arguments: Pairs | None = None,
    overwrite_attachments: bool = False,
    layout: str | None = None,
    layer: str | None = None,
    photo_column: str | None = None,
    base: PathLike | None = None,
    remap: Sequence[tuple[str, str]] = (),
    where: str | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    limit: int | None = None,
    output_layout: str = "attach",
    index: IndexKind | None = None,
    format: str | None = None,  # noqa: A002 - the option's name
    quality: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    seams: str = "blend",
    compat: str | None = None,
    trust_code: bool = False,
    compile: bool = False,  # noqa: A002 - the option's name
    scale: float | None = None,
    space: Space | None = None,
    patterns: Sequence[str] = (),
    geometry: Geometry | None = None,
    placing: Placing | None = None,
    rasters: RasterChoice | None = None,
    backup: bool = True,
    secure: bool = False,
    restart: bool = False,
    again: bool = False,
    vacuum: bool = False,
    work_dir: PathLike | None = None,
    max_pixels: int = 500_000_000,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Prepare a run over photos or rasters: check everything, write nothing.

    source      feature class with photos (attachments, related media, paths, BLOB columns), a
                folder, or one photo; a raster, a mosaic (VRT, tile index, footprints, STAC), a
                service; a layer file (.lyrx, .qlr, "project.qgz:layer") that leads to one of these
    model       .emd, .dlpk, folder, JSON text, or the name of a built-in model ("sr-x2")
    output      "OUT.gpkg" or "OUT.gpkg:layer" to append to, or a folder of files; needed unless
                overwriting. Of a raster, "OUT.tif"; a folder for several
    arguments   the model's arguments, e.g. {"padding": 64, "tile_size": 512}

    Which photos: layout ("attach", "media", "path", "blob"), layer, photo_column and base say
    where they hang, when detection should not decide; remap (old, new) beginnings of paths that
    moved; where (SQL), bbox (in the layer's CRS) and limit choose among them, patterns among the
    files of a folder.

    Where they lie: geometry is that of an output's features: "source" (the default, one feature
    per source feature), "footprint" (one per photo; the default for photos of a folder), "both"
    (footprints in a class <layer>_footprints). placing says where the photos were taken, what they
    look at, and what is written beside them (orthos, copies with an RPC, cameras). With space
    "map" a photo with a camera is rectified first and its result is a GeoTIFF; None is "pixel" for
    photos and "map" for rasters. Which pixels of rasters, on which grid: see `RasterChoice`.

    How they are written: overwrite_attachments replaces them in place, else output_layout
    ("attach", "media", "blob", "folder"), or in a folder with an index of where they belong:
    "geojson" (the default for photos of a feature class), "geoparquet" or "none"; format ("jpeg",
    "png", "tiff", "webp") and quality (1..100) default to each photo's own.

    How the net runs: device ("auto", "cpu", "cuda", "cuda:0,1", "mps"), precision ("auto",
    "fp32", "bf16", "fp16"), seams ("blend", or "exact": statistics are taken over the whole
    photo, as if it were one tile), space ("pixel", "map"), scale (how much a super-resolution net
    that keeps the size enlarges; default: what it was trained for), compat ("arcgis-2.4.4",
    "arcgis-2.4.2": as that release of arcgis.learn does it, up to its last cast: blocks of tiles
    of the training size that are not blended with each other; ArcGIS types only), compile (let
    torch compile the net for its tile size, which takes minutes).

    Safety of an overwrite: backup keeps the originals; secure leaves no trace of them at the end;
    restart brings them back first; again translates what was translated before; vacuum shrinks
    the file at the end; work_dir takes journal and backup (default: beside the data).

    Raises ArgumentError, SourceError (LayoutError), ModelError, SinkError.
    """
    given = _given(secure=secure, restart=restart, again=again, vacuum=vacuum, no_backup=not backup)
    request = Request(
        source=os.fspath(source),
        model=model,
        output=output,
        arguments=arguments or {},
        running=Running(
            devices=device,
            precision=precision,
            seams=seams,
            compat=compat,
            trust_code=trust_code,
            compiles=compile,
        ),
        scale=scale,
        space=space,
        chosen=Choice(
            layout=layout,
            layer=layer,
            photo_column=photo_column,
            base=None if base is None else Path(base),
            remap=tuple(remap),
            where=where,
            bbox=bbox,
            limit=limit,
            patterns=tuple(patterns),
        ),
        placing=placing or Placing(),
        choice=rasters or RasterChoice(),
        dry_run=dry_run,
        progress=progress or Quiet(),
    ).at_its_source()
    found = Found(None) if overwrite_attachments else find_rasters(request)
    if found.rasters is not None:
        output = found.rasters.job.output
        if found.photos is None:
            shape = {"--format": format, "--quality": quality, "--geometry": geometry}
            request.require_rasters(
                [*given, *(flag for flag, is_given in shape.items() if is_given)]
            )
            return found.rasters
    target = _target(output, output_layout, given, overwrites=overwrite_attachments)
    request.require_photos()
    path = request.path
    kind = index_kind(index, to_folder=isinstance(target, Path), of_features=is_feature_class(path))
    folder = _work_folder(work_dir, path, target)
    writing = Writing(
        output=target,
        safety=Safety(folder=folder, backup=backup, secure=secure, again=again),
        format=format,
        quality=quality,
        max_pixels=max_pixels,
        space=space or "pixel",
        restart=restart,
        vacuum=vacuum,
        geometry=_geometry(geometry, path, target, indexed=kind is not None),
        placing=request.placing,
        index=kind,
    )
    return together(found.rasters, _plan_photos(request, writing, found.photos))


def _plan_photos(
    request: Request, writing: Writing, photos: Photos | FolderPhotos | None
) -> Translation:
    """The run over photos; those of the source, unless they are there already."""
    path, output = request.path, writing.output
    model = choose_model(
        request.model,
        request.arguments,
        request.running,
        request.scale,
        _encoding(writing, request.scale),
    )
    tables: Sequence[PhotoTable] = ()
    if photos is None:
        results = (output.path, output.layer) if isinstance(output, OutputClass) else None
        photos, tables = open_source(path, request.chosen, results)
    if writing.vacuum and not is_geopackage(path):
        raise ArgumentError(f"--vacuum makes a GeoPackage smaller, and {path} is none")
    job = Job(source=path, photos=photos, model=model, writing=writing)
    job.check()
    warnings = [warning for table in tables for warning in table.warnings]
    return Translation(
        job=job,
        dry_run=request.dry_run,
        progress=request.progress,
        notes=[*warnings, *_sync_note(writing.safety.folder)],
    )


def _geometry(
    geometry: str | None, source: Path, target: OutputClass | Path | None, *, indexed: bool
) -> Geometry:
    """What the features of the output or its index are, by default the source's if it has any."""
    if not isinstance(target, OutputClass) and not indexed:
        if geometry is not None:
            message = f"--geometry {geometry} goes with --output OUT.gpkg or --index only"
            raise ArgumentError(message)
        return "source"
    if geometry == "both" and indexed:
        raise ArgumentError(
            "--geometry both makes two layers, and an index is one: choose source or footprint, or "
            "write to a GeoPackage with --output out.gpkg"
        )
    if geometry is None:
        return "source" if is_feature_class(source) else "footprint"
    for known in GEOMETRIES:
        if geometry == known:
            return known
    message = f"--geometry {geometry}: one of {', '.join(GEOMETRIES)} is allowed"
    raise ArgumentError(message)


def _given(**flags: bool) -> list[str]:
    """The flags that are given, as on the command line."""
    return [f"--{name.replace('_', '-')}" for name, is_given in flags.items() if is_given]


def _target(
    output: PathLike | None, layout: str, flags: Sequence[str], *, overwrites: bool
) -> OutputClass | Path | None:
    """Where results are appended, None: in place; `flags` make sense in place only."""
    if overwrites == (output is not None):
        message = (
            "say where results go: either --output OUT.gpkg:layer, which leaves the photos as "
            "they are, or --overwrite-attachments, which replaces them"
        )
        raise ArgumentError(message)
    if flags and not overwrites:
        message = f"{flags[0]} goes with --overwrite-attachments only"
        raise ArgumentError(message)
    return None if output is None else parse_output(output, layout)


def _work_folder(
    work_dir: PathLike | None, source: Path, target: OutputClass | Path | None
) -> Path:
    """Where journal and backup go: beside what is written, unless --work-dir names a folder."""
    if work_dir is None and isinstance(target, Path):
        return target  # it is made once all is checked
    written = target.path if isinstance(target, OutputClass) else target or source
    folder = Path(work_dir).resolve() if work_dir is not None else written.resolve().parent
    if not folder.is_dir():
        flag = "--output" if work_dir is None else "--work-dir"
        message = f"{flag}: there is no folder {folder}; make it first"
        raise ArgumentError(message)
    return folder


def _encoding(writing: Writing, scale: float | None) -> dict[str, object]:
    """What changes the results of photos, besides the model."""
    encoding: dict[str, object] = {
        "format": writing.format,
        "quality": writing.quality,
        "scale": scale,
    }
    if writing.space == "map" and writing.output is not None:
        # In place, only photos are translated for which map space is their own rows and columns.
        encoding |= {"space": writing.space, "grid": writing.placing.grid_fingerprint}
    return encoding


def _sync_note(folder: Path) -> list[str]:
    project = syncing_project(folder)
    if project is None:
        return []
    note = (
        f"{folder} belongs to the project {project.name}, whose sync may carry journal and backup "
        "along; --work-dir puts them elsewhere"
    )
    return [note]


def syncing_project(folder: Path) -> Path | None:
    """The Mergin Maps or QGIS (QField) project that a folder belongs to, if there is one."""
    for place in (folder, *folder.parents[:3]):
        if (place / ".mergin").is_dir() or (place / "mergin-config.json").is_file():
            return place
        projects = [*place.glob("*.qgs"), *place.glob("*.qgz")]
        if projects:
            return projects[0]
    return None


def _started(prepare: Callable[P, Run]) -> Callable[P, Iterator[Outcome]]:
    @wraps(prepare)
    def run(*args: P.args, **kwargs: P.kwargs) -> Iterator[Outcome]:
        return iter(prepare(*args, **kwargs))

    return run


def _finished(prepare: Callable[P, Run]) -> Callable[P, Report]:
    @wraps(prepare)
    def run(*args: P.args, **kwargs: P.kwargs) -> Report:
        translation = prepare(*args, **kwargs)
        return translation.report(list(translation))

    return run


iter_translate = _started(plan_translation)
"""`plan_translation`, run: yields an `Outcome` per attachment as it is committed."""

translate_pixels = _finished(plan_translation)
"""`plan_translation`, run to its end: gives the `Report`."""
