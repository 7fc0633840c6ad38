"""`attachtrans extract`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from attachtrans.cli.options import (
    OUTPUT,
    WHICH,
    Grouped,
    choosing,
    option,
)
from attachtrans.cli.running import conclude, go_through, reporting

_EXTRACT_EXAMPLES = """
\b
Examples:
  attachtrans extract trees.gpkg -o photos/
  Folders per plot, numbered photos, an index in the layer's own coordinates:
    attachtrans extract trees.gpkg -o photos/ --name "{plot}/{species}_{n}" --index geoparquet
"""


@click.command(cls=Grouped, epilog=_EXTRACT_EXAMPLES)
@click.argument("source", type=click.Path(path_type=Path))
@option(
    OUTPUT,
    "-o",
    "--output",
    "folder",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder for the files; made if need be.",
)
@option(
    OUTPUT,
    "--name",
    "name_by",
    metavar="TEMPLATE",
    help="File names from columns of the feature and {fid}, {layer}, {n} (number on its feature), "
    '{stem} (own name); "/" makes folders.',
)
@option(
    OUTPUT,
    "--index",
    type=click.Choice(["geojson", "geoparquet", "none"]),
    default="geojson",
    show_default=True,
    help="Index of the files with geometry and attributes.",
)
@choosing
@option(WHICH, "--only-images", is_flag=True, help="Leave out what is no image by its content.")
@reporting("key, status, reason, file, digest")
@click.pass_context
def extract(ctx: click.Context, /, report: Path | None, *, quiet: bool, **options: Any) -> None:
    """Write the photos and other attachments of SOURCE, a GeoPackage, to files.

    Files are byte for byte as stored. What is there already is left alone, so the same command
    goes on where it was interrupted.
    """
    from attachtrans.console import Bar
    from attachtrans.tool.extract import plan_extraction

    extraction = plan_extraction(**options | {"bbox": options["bbox"] or None})
    bar = Bar(len(extraction), enabled=not quiet, task="extract")
    counts = go_through(extraction, bar, report)
    conclude(ctx, counts, str(options["folder"]), extraction.notes, quiet=quiet)
