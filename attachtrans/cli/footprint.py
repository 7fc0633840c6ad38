"""`attachtrans footprint`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attachtrans.cli.options import (
    OUTPUT,
    Grouped,
    choice_of,
    choosing,
    choosing_files,
    option,
)
from attachtrans.cli.place_options import footprinting, placing, placing_of
from attachtrans.cli.running import conclude, go_through, reporting

if TYPE_CHECKING:
    from attachtrans.tool.footprints import Footprints

_EXAMPLES = """
\b
Examples:
  Photos of a GeoPackage, on level ground, from their GPS and compass:
    attachtrans footprint trees.gpkg -o views.gpkg
  Drone photos over a surface model, with a picture of the map:
    attachtrans footprint drone/ -o views.gpkg:drone --dem dsm.tif --preview views.png
  A table of poses, without the photos:
    attachtrans footprint poses.csv -o views.geojson --poses-crs EPSG:32633 --ground 412
  A street camera, as Esri draws it:
    attachtrans footprint street.gpkg -o fans.gpkg --footprint sector --far 30
"""


@click.command(cls=Grouped, epilog=_EXAMPLES)
@click.argument("source", type=click.Path(path_type=Path))
@option(
    OUTPUT,
    "-o",
    "--output",
    required=True,
    metavar="FILE[:LAYER]",
    help="GeoPackage to write or append to (layer: footprints), or .geojson, .fgb, .parquet, .shp.",
)
@option(
    OUTPUT,
    "--preview",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PNG",
    help="A map of the footprints, over --dem as a relief (needs attachtrans[preview]).",
)
@choosing
@choosing_files
@placing
@footprinting
@reporting("key, status, reason, pose, footprint")
@click.pass_context
def footprint(ctx: click.Context, /, report: Path | None, *, quiet: bool, **options: Any) -> None:
    """Say where the photos of SOURCE lie on the map: a polygon each, with what it stands on.

    SOURCE is a GeoPackage with photos, a folder of photos, one photo, or a table of poses. Poses
    are read from the photos themselves (EXIF, DJI, GPano ...), from --poses, or from attributes.
    """
    from attachtrans.console import Bar
    from attachtrans.tool.footprints import plan_footprints

    placed = placing_of(options)
    run = plan_footprints(
        options.pop("source"),
        options.pop("output"),
        preview=options.pop("preview"),
        dry_run=options.pop("dry_run"),
        placing=placed,
        choice=choice_of(options),
    )
    with _telling(run):
        result = go_through(run, Bar(len(run), enabled=not quiet, task="footprint"), report)
    conclude(ctx, result, _target(run), run.notes, quiet=quiet)


@contextmanager
def _telling(run: Footprints) -> Iterator[None]:
    """Say of a run that is broken off whether anything was written."""
    try:
        yield
    except KeyboardInterrupt:
        if not run.written:
            click.echo("footprints are written after the last photo: nothing was written", err=True)
        raise


def _target(run: Footprints) -> str:
    if run.output is None or not run.written:
        return "nothing written"
    return str(run.output.path)
