"""What the commands share: option groups, exit codes, the options that choose photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from attachtrans.errors import ArgumentError

if TYPE_CHECKING:
    from attachtrans.tool.place.options import Placing
    from attachtrans.tool.rasters.choice import RasterChoice
    from attachtrans.tool.sources import Choice

DONE, SOME_FAILED, BAD_USAGE, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 3, 130

Command = Callable[..., Any]

MODEL, OUTPUT, SAFETY, WHERE, WHICH, POSES, GROUND, BESIDE, RASTERS, FILES, SPEED, REPORT = (
    "Model",
    "Where results go",
    "Safety of an overwrite",
    "Where photos hang (found by itself)",
    "Which photos",
    "Where photos were taken (read from them by itself)",
    "What they look at",
    "What is written beside the photos",
    "Rasters, mosaics and services",
    "How results are written",
    "Speed",
    "Running and reporting",
)

TRUST_CODE = (
    "Run the Python code that comes with the model (raster functions), in a process of its own "
    "with limits of time and memory. It may do whatever you may do: give this only for code of "
    "people you trust."
)


class _Option(click.Option):
    """An option that bears the heading that `--help` shows it under."""

    def __init__(self, *args: Any, heading: str = "", **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.heading = heading


class Grouped(click.Command):
    """A command whose help shows options under their headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, each heading once, in the order of declaration."""
        sections: dict[str, list[tuple[str, str]]] = {}
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        for one in sorted(options, key=lambda o: not getattr(o, "heading", "")):
            if record := one.get_help_record(ctx):
                heading = getattr(one, "heading", "") or "Help"
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def option(heading: str, *names: str, **attributes: Any) -> Command:
    """An option under a heading."""
    return click.option(*names, cls=_Option, heading=heading, **attributes)


def pair(text: str) -> tuple[str, str]:
    """NAME=VALUE, as click converts it."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        message = f"{text} is not NAME=VALUE"
        raise click.BadParameter(message)
    return name.strip(), value.strip()


def open_report(path: Path) -> TextIO:
    """The report, to be added to. Raises ArgumentError when it cannot be written."""
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        message = f"--report {path} cannot be written: {error.strerror}"
        raise ArgumentError(message) from error


def problem(status: str, key: str, reason: str) -> str:
    """A line about an attachment that is not as the user wished; it is named once."""
    name = key.rpartition("/")[2]
    for prefix in (f"{key}: ", f"{name}: ", f"{name} "):
        reason = reason.removeprefix(prefix)
    return "".join(c if c.isprintable() else "?" for c in f"{status}: {key}: {reason}")


def with_options(command: Command, options: list[Command]) -> Command:
    """A command with further options, in this order."""
    for one in reversed(options):
        command = one(command)
    return command


def choosing_places(command: Command) -> Command:
    """The options that say where photos hang."""
    options: list[Command] = [
        option(
            WHERE,
            "--layout",
            type=click.Choice(["attach", "media", "path", "blob"]),
            help="How photos hang on features, when detection should not decide.",
        ),
        option(WHERE, "--layer", help="Only photos of this layer (or photo table)."),
        option(
            WHERE,
            "--photo-column",
            help='Column with photos or paths ("column" or "table.column").',
        ),
        option(
            WHERE,
            "--base",
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder that path columns are resolved in.",
        ),
        option(
            WHERE,
            "--remap",
            type=pair,
            multiple=True,
            metavar="OLD=NEW",
            help="Beginning of paths that have moved; repeatable.",
        ),
    ]
    return with_options(command, options)


def choosing(command: Command) -> Command:
    """The options that say which photos are meant."""
    options: list[Command] = [
        option(WHICH, "--where", metavar="SQL", help="Condition on the features' columns."),
        option(
            WHICH,
            "--bbox",
            nargs=4,
            type=float,
            metavar="MINX MINY MAXX MAXY",
            help="Only features in this box, in the layer's CRS.",
        ),
        option(WHICH, "--limit", type=int, metavar="N", help="Only the first N photos."),
    ]
    return choosing_places(with_options(command, options))


def choosing_files(command: Command) -> Command:
    """The option that chooses files of a folder."""
    one = option(
        WHICH,
        "--pattern",
        "patterns",
        multiple=True,
        metavar="GLOB",
        help='Of a folder, only files like this ("*.JPG", "DCIM/*"); repeatable.',
    )
    return with_options(command, [one])


def _file(**attributes: Any) -> click.Path:
    return click.Path(exists=True, path_type=Path, **attributes)


def posing(command: Command) -> Command:
    """The options that say where photos were taken."""
    options: list[Command] = [
        option(
            POSES,
            "--poses",
            type=_file(),
            metavar="FILE",
            help="Table of poses: OpenSfM/ODM reconstruction, CSV, STAC, Mapillary, Esri oriented "
            "imagery or Frames; a folder that holds one.",
        ),
        option(POSES, "--poses-crs", metavar="CRS", help="Coordinate system of --poses."),
        option(
            POSES,
            "--poses-columns",
            "header",
            metavar="NAME,...",
            help="Columns of --poses, if it has no header: name,x,y,z,omega,phi,kappa.",
        ),
        option(
            POSES,
            "--pose",
            "pose",
            multiple=True,
            metavar="PART=COLUMN,...",
            help="Attribute columns with parts of a pose: heading=azimuth,pitch=tilt,hfov=fov.",
        ),
        option(
            POSES,
            "--camera",
            type=_file(dir_okay=False),
            metavar="FILE",
            help="The camera's inside, for all photos: .camera.json, or of OpenCV, OpenSfM, ODM, "
            "Metashape or Pix4D.",
        ),
        option(
            POSES,
            "--distortion-radius-unit",
            "radius_unit",
            type=click.Choice(["um", "mm", "focal"]),
            default="um",
            show_default=True,
            help="Of the radial distortion in Esri's tables, which do not say it: um, mm, or "
            "multiples of the focal length.",
        ),
    ]
    return with_options(command, options)


def placing(command: Command) -> Command:
    """The options that say where photos were taken and what they look at."""
    options: list[Command] = [
        option(
            GROUND,
            "--dem",
            type=_file(),
            metavar="FILE",
            help="Elevation or surface model that the photos show.",
        ),
        option(
            GROUND,
            "--ground",
            "ground_m",
            type=float,
            metavar="Z",
            help="Height of a level ground, metres.",
        ),
        option(
            GROUND,
            "--camera-height",
            "height_m",
            type=float,
            metavar="M",
            help="Height of the cameras above the ground under them.",
        ),
        option(
            GROUND,
            "--near",
            "near_m",
            type=float,
            metavar="M",
            help="Leave out ground nearer than this.",
        ),
        option(
            GROUND,
            "--far",
            "far_m",
            type=float,
            metavar="M",
            help="Leave out ground beyond this (default: 50 m from the ground, else 10 times the "
            "height).",
        ),
    ]
    return posing(with_options(command, options))


def footprinting(command: Command) -> Command:
    """The options of footprints."""
    options: list[Command] = [
        option(
            GROUND,
            "--footprint",
            "mode",
            type=click.Choice(["auto", "ground", "plane", "sector", "disc"]),
            default="auto",
            show_default=True,
            help="Exact on the ground, on a plane, a fan as Esri draws it, or a disc (panoramas).",
        ),
        option(
            GROUND,
            "--visible",
            is_flag=True,
            help="Leave out of footprints what hides behind the surface of --dem.",
        ),
        option(
            OUTPUT,
            "--crs",
            metavar="CRS",
            help="Coordinate system of footprints and orthos (default: the layer's, or WGS 84 for "
            "footprints and a metric one for orthos).",
        ),
    ]
    return with_options(command, options)


def orthos(command: Command) -> Command:
    """The options of rectified photos."""
    options: list[Command] = [
        option(
            BESIDE,
            "--resolution",
            type=float,
            metavar="UNITS",
            help="Pixel size of orthos in units of their CRS (default: what each photo offers).",
        ),
        option(
            BESIDE,
            "--occlusion",
            is_flag=True,
            help="Make transparent what hides behind the surface of --dem.",
        ),
        option(BESIDE, "--cog", is_flag=True, help="Orthos as cloud-optimised GeoTIFFs."),
    ]
    return with_options(command, options)


def products(command: Command) -> Command:
    """The options of what is written beside placed photos."""
    folder = click.Path(file_okay=False, path_type=Path)
    options: list[Command] = [
        option(
            BESIDE,
            "--ortho",
            type=folder,
            metavar="FOLDER",
            help="Rectify each photo to the map: GeoTIFFs with transparency.",
        ),
        option(
            BESIDE,
            "--rpc",
            type=folder,
            metavar="FOLDER",
            help="Copies as TIFF with an RPC, which GDAL and QGIS place without rectifying.",
        ),
        option(
            BESIDE,
            "--undistort",
            is_flag=True,
            help="Take the lens distortion out of --rpc copies: their RPC is then exact.",
        ),
        option(
            BESIDE, "--force-rpc", is_flag=True, help="Write RPCs that miss by more than a pixel."
        ),
        option(
            BESIDE,
            "--cameras",
            type=folder,
            metavar="FOLDER",
            help="A .camera.json per photo, with all that is known of it.",
        ),
    ]
    return orthos(with_options(command, options))


def rastering(command: Command) -> Command:
    """The options of rasters."""
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
            type=_file(dir_okay=False),
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
        option(
            RASTERS,
            "--processing-mode",
            "mode",
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
        option(
            RASTERS,
            "--cache",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="FOLDER",
            help="Where tiles of services are kept (default: the user's cache folder).",
        ),
        option(RASTERS, "--rate", type=float, metavar="N", help="Requests a second to a service."),
    ]
    return with_options(command, options)


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
    names = [field.name for field in fields(RasterChoice) if field.name in options]
    return RasterChoice(crs=crs, **{name: options.pop(name) for name in names})


def placing_of(options: dict[str, Any]) -> Placing:
    """Takes what concerns places out of a command's options.

    Raises:
        ArgumentError: options that do not fit each other.
    """
    from attachtrans.tool.place.options import Placing, pose_columns

    columns = pose_columns(options.pop("pose"))
    header = (options.pop("header") or "").split(",")
    options["header"] = tuple(name.strip() for name in header if name.strip())
    names = [field.name for field in fields(Placing) if field.name in options]
    return Placing(columns=columns, **{name: options.pop(name) for name in names})


def choice_of(options: dict[str, Any]) -> Choice:
    """Which photos a command's options mean."""
    from attachtrans.tool.sources import Choice

    return Choice(**options | {"bbox": options["bbox"] or None})
