"""`attachtrans translate`."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attachtrans import allocator
from attachtrans.cli.options import (
    DONE,
    FILES,
    INTERRUPTED,
    MODEL,
    OUTPUT,
    REPORT,
    SAFETY,
    SOME_FAILED,
    SPEED,
    TRUST_CODE,
    Grouped,
    choosing,
    choosing_files,
    open_report,
    option,
    pair,
    problem,
)
from attachtrans.cli.place_options import footprinting, placing, placing_of, products
from attachtrans.cli.raster_options import rastering, rasters_of

if TYPE_CHECKING:
    from attachtrans.tool.choices import Space

_TRANSLATE_EXAMPLES = """
\b
Examples:
  Into a new feature class, the photos stay as they are:
    attachtrans translate trees.gpkg --model sr-x2 --output sharp.gpkg:trees
  In place (originals are kept in trees.bak.gpkg; the same command goes on after a crash):
    attachtrans translate trees.gpkg --model sr-x2 --overwrite-attachments
  A CycleGAN from ArcGIS, 512 px tiles, only this year's photos of one layer:
    attachtrans translate trees.gpkg --model night2day.dlpk -a direction=BtoA -a tile_size=512 \\
      --layer trees --where "year = 2026" --output day.gpkg
  A folder of drone photos: sharper photos, their footprints on the map, and orthos:
    attachtrans translate drone/ --model sr-x2 --output sharp.gpkg:photos --dem dsm.tif \
      --ortho orthos/
  A satellite image, in bands 4, 3 and 2, and a mosaic of all images of a folder:
    attachtrans translate scene.tif --model night2day.dlpk --bands 4,3,2 --output day.tif
    attachtrans translate scenes/ --mosaic --model sr-x2 --output sharp.tif --overviews
  Tiles of a map on the internet, at an extent in degrees:
    attachtrans translate "https://tiles.example.org/{z}/{x}/{y}.jpg" --model sr-x2 \
      --extent 11.5 48.1 11.6 48.2 --extent-crs EPSG:4326 --cell-size 1 --output sharp.tif
  What would happen:
    attachtrans translate trees.gpkg --model sr-x2 --overwrite-attachments --dry-run
"""


@click.command(cls=Grouped, epilog=_TRANSLATE_EXAMPLES)
@click.argument("source")
@option(
    MODEL,
    "-m",
    "--model",
    required=True,
    help="Model definition (.emd, .dlpk, folder, JSON text) or built-in: sr-x2.",
)
@option(
    MODEL,
    "-a",
    "--argument",
    "arguments",
    type=pair,
    multiple=True,
    metavar="NAME=VALUE",
    help="Argument of the model (padding, batch_size, tile_size, direction ...).",
)
@option(
    OUTPUT,
    "-o",
    "--output",
    metavar="OUT.gpkg[:LAYER]|FOLDER|OUT.tif",
    help="Feature class to write or append to; a folder for photos and rasters of a folder; the "
    "result of a raster. The source stays as it is.",
)
@option(
    OUTPUT,
    "--geometry",
    type=click.Choice(["source", "footprint", "both"]),
    help="Of the output's features: the source's, one footprint per photo (the default for photos "
    "of a folder), or both in two layers.",
)
@option(
    OUTPUT,
    "--output-layout",
    type=click.Choice(["attach", "media", "blob", "folder"]),
    default="attach",
    show_default=True,
    help="How photos hang on the output's features.",
)
@option(
    OUTPUT,
    "--index",
    type=click.Choice(["geojson", "geoparquet", "none"]),
    help="Of an output folder: where its photos belong, with geometries and attributes (default: "
    "geojson for photos of a feature class, none for those of a folder).",
)
@option(OUTPUT, "--overwrite-attachments", is_flag=True, help="Replace the photos in place.")
@option(
    SAFETY,
    "--backup/--no-backup",
    default=True,
    show_default=True,
    help="Keep the originals when overwriting.",
)
@option(
    SAFETY,
    "--secure",
    is_flag=True,
    help="For anonymising: no trace of the originals stays (backup deleted at the end).",
)
@option(SAFETY, "--restart", is_flag=True, help="Bring the originals back first, then translate.")
@option(SAFETY, "--again", is_flag=True, help="Translate once more what is translated already.")
@option(SAFETY, "--vacuum", is_flag=True, help="Make the file smaller at the end.")
@option(
    SAFETY,
    "--work-dir",
    type=click.Path(path_type=Path),
    help="Folder for journal and backup (default: beside the data).",
)
@choosing
@choosing_files
@placing
@footprinting
@products
@rastering
@option(
    FILES,
    "--format",
    type=click.Choice(["jpeg", "png", "tiff", "webp"]),
    help="File format of results (default: each photo's own).",
)
@option(
    FILES,
    "--quality",
    type=click.IntRange(1, 100),
    help="JPEG/WebP quality of results (default: each photo's own).",
)
@option(
    FILES,
    "--max-pixels",
    type=click.IntRange(1),
    default=500_000_000,
    show_default=True,
    help="Refuse larger photos.",
)
@option(
    SPEED,
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:N, cuda:0,1 or mps.",
)
@option(
    SPEED,
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="Arithmetic of the net. auto: fp32, and on long runs (GPUs: at once) half precision where "
    "it proves faster and its results the same to 8 bits.",
)
@option(
    SPEED,
    "--compile",
    is_flag=True,
    help="Let torch compile the net first (minutes; for long runs; needs a C++ compiler).",
)
@option(
    MODEL,
    "--seed",
    type=click.IntRange(0),
    help="Noise of a diffusion net: the same seed gives the same result (as -a seed=N).",
)
@option(
    MODEL,
    "--scale",
    type=float,
    help="Enlargement by a super-resolution net that keeps the size (default: as trained).",
)
@option(
    MODEL,
    "--seams",
    type=click.Choice(["blend", "exact"]),
    default="blend",
    show_default=True,
    help="Overlapping tiles fade into each other, or statistics are taken over the whole photo, as "
    "if it were one tile (more memory; large photos may need disk).",
)
@option(MODEL, "--trust-code", is_flag=True, help=TRUST_CODE)
@option(
    MODEL,
    "--compat",
    type=click.Choice(["arcgis-2.4.4", "arcgis-2.4.2"]),
    help="Tiles, blocks and units as that release of arcgis.learn has them, up to its last cast: "
    "for comparing. Tiles are as trained, whatever tile_size says; ArcGIS types only.",
)
@option(
    MODEL,
    "--pixel-space/--map-space",
    "pixel_space",
    default=None,
    help="Run the net on the image's own rows and columns (the default for photos), or on the map "
    "(the default for rasters): a photo with a camera is rectified first.",
)
@option(REPORT, "--dry-run", is_flag=True, help="Say what would be done; write nothing.")
@option(
    REPORT,
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.jsonl",
    help="One line of JSON per attachment: key, status, reason, sizes, digests.",
)
@option(REPORT, "-q", "--quiet", is_flag=True, help="No progress and no summary.")
@click.pass_context
def translate(ctx: click.Context, /, report: Path | None, *, quiet: bool, **options: Any) -> None:
    """Translate the photos or the rasters of SOURCE with a deep-learning model.

    SOURCE is a feature class with photos (GeoPackage, geodatabase, Shapefile, GeoJSON ...: Esri
    attachments, OGC related media, columns with paths as QField, Mergin Maps and ODK have them,
    BLOB columns), a folder, a photo; a raster, a mosaic (VRT, tile index, footprints with paths,
    STAC), a service (XYZ, WMTS, WMS, ImageServer, MapServer); or a layer file of QGIS or ArcGIS
    Pro. Running the same command again goes on where a run was interrupted and never translates
    anything twice.
    """
    from attachtrans.console import Bar, Tally
    from attachtrans.tool.translate import plan_translation

    bbox = options.pop("bbox")
    pixel_space = options.pop("pixel_space")
    if (seed := options.pop("seed")) is not None:
        options["arguments"] = (*options["arguments"], ("seed", str(seed)))
    placed = placing_of(options)
    choice = rasters_of(options, placed.crs)
    spaces: dict[bool | None, Space | None] = {True: "pixel", False: "map", None: None}
    translation = plan_translation(
        **options,
        bbox=bbox or None,
        space=spaces[pixel_space],
        placing=placed,
        rasters=choice,
    )
    if translation.unit == "photos":
        allocator.use_large_pages()
    tally = Tally(translation.unit)
    with ExitStack() as stack:
        bar = stack.enter_context(Bar(len(translation), enabled=not quiet))
        translation.progress = bar
        lines = stack.enter_context(open_report(report)) if report else None
        outcomes = iter(translation)
        stack.callback(outcomes.close)
        try:
            for outcome in outcomes:
                tally.add(outcome)
                bar.advance()
                if lines:
                    lines.write(json.dumps(outcome.to_dict(), ensure_ascii=False) + "\n")
                    lines.flush()
                if outcome.status in ("failed", "refused"):
                    bar.write(problem(outcome.status, outcome.item.key, outcome.reason))
        except KeyboardInterrupt:
            stack.close()
            for line in tally.lines(translation.output, translation.notes):
                click.echo(line, err=True)
            click.echo(
                "interrupted; every photo and raster is either original or translated. "
                "Run the same command again to go on.",
                err=True,
            )
            ctx.exit(INTERRUPTED)
    if not quiet:
        for line in tally.lines(translation.output, translation.notes):
            click.echo(line)
    ctx.exit(DONE if tally.ok else SOME_FAILED)
