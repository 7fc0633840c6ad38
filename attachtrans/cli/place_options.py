"""Options of commands that place photos: poses, ground, footprints, orthos."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attachtrans.cli.options import (
    BESIDE,
    GROUND,
    OUTPUT,
    POSES,
    Command,
    existing,
    option,
    with_options,
)

if TYPE_CHECKING:
    from attachtrans.tool.place.options import Placing


def posing(command: Command) -> Command:
    """The options that say where photos were taken."""
    options: list[Command] = [
        option(
            POSES,
            "--poses",
            type=existing(),
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
            type=existing(dir_okay=False),
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
            type=existing(),
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
