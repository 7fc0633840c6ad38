"""Options of rasters, mosaics and services."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attachtrans.cli.options import RASTERS, Command, existing, option, pair, with_options

if TYPE_CHECKING:
    from attachtrans.tool.rasters.choice import RasterChoice


def gridding(command: Command) -> Command:
    """The options of which pixels are read, on which grid."""
    options: list[Command] = [
        option(
            RASTERS,
            "--bands",
            metavar="BAND,...",
            help="What the net gets, by number or name: 3,2,1 or red,green,blue (default: as the "
            "model says, else the first ones).",
        ),
        option(
            RASTERS,
            "--cell-size",
            type=cell_size,
            metavar="X[,Y]",
            help="Pixel size that the net sees, in units of the output's CRS (default: the "
            "raster's own; for a super-resolution net that keeps the size, finer by its factor).",
        ),
        option(
            RASTERS,
            "--extent",
            nargs=4,
            type=float,
            metavar="MINX MINY MAXX MAXY",
            help="Only this part, in the output's CRS or --extent-crs; needed for services.",
        ),
        option(RASTERS, "--extent-crs", metavar="CRS", help="Coordinate system of --extent."),
        option(
            RASTERS,
            "--snap-raster",
            "snap",
            type=existing(dir_okay=False),
            metavar="FILE",
            help="Raster whose cells the output's begin at.",
        ),
        option(
            RASTERS,
            "--mask",
            metavar="FILE[:LAYER]",
            help="Raster or polygons: only what lies inside is translated.",
        ),
        option(
            RASTERS,
            "--resampling",
            type=click.Choice(["nearest", "bilinear", "cubic"]),
            default="bilinear",
            show_default=True,
            help="Between pixels, where the grid is another one.",
        ),
    ]
    return with_options(command, options)


def collecting(command: Command) -> Command:
    """The options of collections and services."""
    options: list[Command] = [
        option(
            RASTERS,
            "--processing-mode",
            type=click.Choice(["mosaicked", "separate"]),
            help="Of a mosaic, a folder with --mosaic or an image service: all as one raster (the "
            "default), or one output per item.",
        ),
        option(RASTERS, "--mosaic", is_flag=True, help="The rasters of a folder are one mosaic."),
        option(
            RASTERS,
            "--overlap-order",
            "order",
            type=click.Choice(["date", "date-asc", "name", "name-desc", "list"]),
            help="Which raster is on top: the newest, the oldest, the last or first by name, the "
            "last listed (default: the newest where all have dates).",
        ),
        option(RASTERS, "--path-column", help="Column of footprints with the rasters' paths."),
        option(RASTERS, "--date-column", help="Column of footprints with the rasters' dates."),
        option(RASTERS, "--asset", help="Of STAC items: key, role or media type of the asset."),
        option(
            RASTERS,
            "--cache",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="FOLDER",
            help="Where tiles of services are kept (default: the user's cache folder).",
        ),
        option(RASTERS, "--rate", type=float, metavar="N", help="Requests a second to a service."),
        option(
            RASTERS,
            "--keep-blank",
            is_flag=True,
            help="Of a map service: the same tile in many places is no placeholder but data.",
        ),
    ]
    return with_options(command, options)


def storing(command: Command) -> Command:
    """The options of how a raster is stored."""
    options: list[Command] = [
        option(
            RASTERS,
            "--driver",
            help="Format of results, by GDAL's name (default: by the ending of --output; GTiff).",
        ),
        option(
            RASTERS,
            "--co",
            "creation",
            type=pair,
            multiple=True,
            metavar="NAME=VALUE",
            help="GDAL's creation option of that format, like COMPRESS=DEFLATE; repeatable.",
        ),
        option(RASTERS, "--overviews", is_flag=True, help="Add smaller copies for viewers."),
    ]
    return with_options(command, options)


def rastering(command: Command) -> Command:
    """The options of rasters."""
    return gridding(collecting(storing(command)))


def cell_size(text: str) -> tuple[float, float]:
    """X or X,Y, as click converts it."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in {1, 2}:
        message = f"{text} is not a pixel size like 0.5 or 0.5,0.25"
        raise click.BadParameter(message)
    return numbers[0], numbers[-1]


def rasters_of(options: dict[str, Any], crs: str | None) -> RasterChoice:
    """Takes what concerns rasters out of a command's options; the CRS is that of all outputs.

    Raises:
        ArgumentError: options that do not fit each other.
    """
    from attachtrans.tool.rasters.choice import RasterChoice

    options["creation"] = dict(options["creation"])
    options["extent"] = options["extent"] or None
    options["mode"] = options.pop("processing_mode")  # "mode" was that of footprints, taken out
    names = [field.name for field in fields(RasterChoice) if field.name in options]
    return RasterChoice(crs=crs, **{name: options.pop(name) for name in names})
