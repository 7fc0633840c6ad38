"""`attachtrans pose fit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from attachtrans.cli.options import (
    GROUND,
    OUTPUT,
    REPORT,
    Grouped,
    option,
)
from attachtrans.cli.place_options import placing_of, posing

_POINTS = "Control points"
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def pose() -> None:
    """Put the pose of a photo right."""


@pose.command(
    cls=Grouped,
    short_help="Fit a photo's pose to ground control points.",
    epilog="""
\b
Examples:
  attachtrans pose fit IMG_0001.jpg --gcps points.csv
  attachtrans pose fit IMG_0001.jpg --gcps gcp_list.txt --free rotation
  attachtrans pose fit beach.jpg --gcps beach.points --dem dem.tif --free rotation,position,focal
""",
)
@click.argument("photo", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@option(
    _POINTS,
    "--gcps",
    "points",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="csv (name, x, y, z, col, row; image), gcp_list.txt of ODM, or .points of QGIS.",
)
@option(_POINTS, "--gcps-crs", "points_crs", metavar="CRS", help="Coordinate system of --gcps.")
@option(
    _POINTS,
    "--gcps-centre",
    "centre",
    is_flag=True,
    help="Pixels of a csv count from the centre of the first one (default: its outer corner).",
)
@option(
    _POINTS,
    "--free",
    default="rotation,position",
    show_default=True,
    metavar="PARTS",
    help="What may change: rotation, position, focal. Hold the position of an RTK drone.",
)
@option(
    _POINTS,
    "--sigma-px",
    type=click.FloatRange(0.0, min_open=True),
    metavar="PX",
    help="How well points are measured in the photo (default: estimated).",
)
@posing
@option(
    GROUND,
    "--dem",
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE",
    help="Elevation model for points without heights.",
)
@option(GROUND, "--ground", "ground_m", type=float, metavar="Z", help="Height of such points.")
@option(
    OUTPUT,
    "-o",
    "--output",
    type=_FILE,
    metavar="FILE",
    help="The pose (default: PHOTO.camera.json, where every command finds it).",
)
@option(OUTPUT, "--overwrite", is_flag=True, help="Replace the file.")
@option(REPORT, "--dry-run", is_flag=True, help="Say what fits; write nothing.")
@option(REPORT, "--json", "as_json", is_flag=True, help="As JSON.")
def fit(*, as_json: bool, **options: Any) -> None:
    """Fit the pose of PHOTO to ground control points: 3 or more, 4 without a pose to begin with.

    Prints by how much each point misses, and which one does not agree with the others.
    """
    from attachtrans.describe import fit_lines
    from attachtrans.tool.posefile import fit_photo

    placing = placing_of(options)
    free = [part.strip() for part in options.pop("free").split(",") if part.strip()]
    found = fit_photo(**options, free=free, placing=placing)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
        return
    for line in fit_lines(found):
        click.echo(line)
