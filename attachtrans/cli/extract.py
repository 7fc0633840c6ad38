"""`attachtrans extract`."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from attachtrans.cli.options import (
    DONE,
    OUTPUT,
    REPORT,
    SOME_FAILED,
    WHICH,
    Grouped,
    choosing,
    open_report,
    option,
    problem,
)

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
@option(REPORT, "--dry-run", is_flag=True, help="Say what would be done; write nothing.")
@option(
    REPORT,
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.jsonl",
    help="One line of JSON per attachment: key, status, reason, file, digest.",
)
@option(REPORT, "-q", "--quiet", is_flag=True, help="No progress and no summary.")
@click.pass_context
def extract(ctx: click.Context, /, report: Path | None, *, quiet: bool, **options: Any) -> None:
    """Write the photos and other attachments of SOURCE, a GeoPackage, to files.

    Files are byte for byte as stored. What is there already is left alone, so the same command
    goes on where it was interrupted.
    """
    from collections import Counter

    from attachtrans.console import Bar
    from attachtrans.tool.extract import plan_extraction

    extraction = plan_extraction(**options | {"bbox": options["bbox"] or None})
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        bar = stack.enter_context(Bar(len(extraction), enabled=not quiet, task="extract"))
        lines = stack.enter_context(open_report(report)) if report else None
        for file in extraction:
            counts[file.status] += 1
            bar.advance()
            if lines:
                lines.write(json.dumps(file.to_dict(), ensure_ascii=False) + "\n")
            if file.status == "failed":
                bar.write(problem(file.status, file.item.key, file.reason))
    if not quiet:
        words = ", ".join(f"{count} {status}" for status, count in counts.items())
        click.echo(f"{words or 'no attachments'} -> {options['folder']}")
        for note in extraction.notes:
            click.echo(f"  note: {note}")
    ctx.exit(SOME_FAILED if counts["failed"] else DONE)
