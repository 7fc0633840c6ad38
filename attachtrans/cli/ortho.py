"""`attachtrans ortho`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from attachtrans.cli.options import (
    BESIDE,
    OUTPUT,
    WHICH,
    Grouped,
    choice_of,
    choosing,
    choosing_files,
    option,
)
from attachtrans.cli.place_options import orthos, placing, placing_of
from attachtrans.cli.running import Result, conclude, go_through, reporting

_EXAMPLES = """
\b
Examples:
  One GeoTIFF per photo, over a surface model, without what it hides:
    attachtrans ortho drone/ -o orthos/ --dem dsm.tif --occlusion
  All photos in one cloud-optimised raster of 10 cm:
    attachtrans ortho drone/ --mosaic all.tif --dem dsm.tif --resolution 0.1 --cog
  Translated photos, with the cameras that `translate --cameras` wrote:
    attachtrans ortho sharp/ -o orthos/ --poses cameras/ --ground 132.5
"""


@click.command(cls=Grouped, epilog=_EXAMPLES)
@click.argument("source", type=click.Path(path_type=Path))
@option(
    OUTPUT,
    "-o",
    "--output",
    "folder",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for one GeoTIFF per photo; made if need be.",
)
@option(
    OUTPUT,
    "--mosaic",
    metavar="FILE.tif",
    type=click.Path(dir_okay=False, path_type=Path),
    help="One GeoTIFF of all photos.",
)
@option(
    OUTPUT,
    "--seam",
    type=click.Choice(["nearest", "sharpest"]),
    default="nearest",
    show_default=True,
    help="Of several photos that show a place, --mosaic takes that of the nearest camera, or the "
    "one with most pixels there.",
)
@option(OUTPUT, "--crs", metavar="CRS", help="Coordinate system (default: a metric one; of --dem).")
@choosing
@choosing_files
@placing
@orthos
@option(
    BESIDE,
    "--cameras",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="A .camera.json per photo, with all that is known of it.",
)
@option(
    WHICH,
    "--max-pixels",
    type=click.IntRange(1),
    default=500_000_000,
    show_default=True,
    help="Refuse larger photos.",
)
@reporting("key, status, reason")
@click.pass_context
def ortho(ctx: click.Context, /, report: Path | None, *, quiet: bool, **options: Any) -> None:
    """Rectify the photos of SOURCE to the map, each by itself or all in one raster.

    Sky, ground beyond --far and what the elevation model does not cover are transparent.
    """
    from attachtrans.console import Bar
    from attachtrans.tool.orthos import plan_orthos

    placed = placing_of(options)
    named = {
        name: options.pop(name)
        for name in ("source", "folder", "mosaic", "seam", "max_pixels", "dry_run")
    }
    run = plan_orthos(**named, placing=placed, choice=choice_of(options))
    bar = Bar(len(run), enabled=not quiet, task="ortho")
    run.watch = bar.mosaicked
    result = go_through(run, bar, report)
    conclude(ctx, result, _targets(named, result), run.notes, quiet=quiet)


def _targets(named: dict[str, Any], result: Result) -> str:
    if not (result.counts["written"] or result.counts["planned"]):
        return "nothing written"
    return " and ".join(str(named[n]) for n in ("folder", "mosaic") if named[n] is not None)
