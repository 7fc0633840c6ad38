"""`attachtrans info`."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attachtrans.cli.model import print_model
from attachtrans.cli.options import (
    MODEL,
    TRUST_CODE,
    Grouped,
    choosing_files,
    choosing_places,
    option,
    pair,
)
from attachtrans.cli.place_options import placing_of, posing
from attachtrans.errors import ArgumentError

if TYPE_CHECKING:
    from attachtrans.tool.place.options import Placing
    from attachtrans.tool.sources import Choice


@click.command(
    cls=Grouped,
    epilog="""
\b
Examples:
  attachtrans info trees.gpkg
  attachtrans info trees.gpkg --json | jq .places
  attachtrans info drone/ --poses reconstruction.json
  attachtrans info IMG_0001.jpg
  attachtrans info sr-x2
  attachtrans info night2day.dlpk -a direction=BtoA
""",
)
@click.argument("file")
@choosing_places
@choosing_files
@posing
@option(
    MODEL,
    "-a",
    "--argument",
    "arguments",
    type=pair,
    multiple=True,
    metavar="NAME=VALUE",
    help="Argument of the model that FILE is; its facts may depend on it (direction).",
)
@option(MODEL, "--trust-code", is_flag=True, help=TRUST_CODE)
@click.option("--quick", is_flag=True, help="Do not read the photos' headers.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def info(
    file: str,
    arguments: tuple[tuple[str, str], ...],
    *,
    trust_code: bool,
    quick: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Say what FILE holds: photos (where, which layout and why, whose poses), or a model.

    FILE is a GeoPackage or another vector file (shapefile, GeoJSON, FlatGeobuf, GeoParquet), a
    folder of photos, one photo, or a model.
    """
    if _is_model(file):
        print_model(file, arguments, trust_code=trust_code, as_json=as_json)
        return
    if arguments:
        raise ArgumentError(f"-a belongs to a model, and {file} is none.")
    placing = placing_of(options)
    patterns = options.pop("patterns")
    if _has_features(Path(file)):
        _print_feature_class(Path(file), options, placing, quick=quick, as_json=as_json)
    else:
        from attachtrans.tool.sources import Choice

        _print_files(Path(file), Choice(**options, patterns=patterns), placing, as_json=as_json)


def _print_feature_class(
    path: Path, options: dict[str, Any], placing: Placing, *, quick: bool, as_json: bool
) -> None:
    from attachtrans.describe import inventory_lines, pose_summary_lines
    from attachtrans.stores.catalog import inspect
    from attachtrans.stores.inventory import inventory
    from attachtrans.stores.photos import open_photos
    from attachtrans.tool.poses import PoseSummary, pose_facts
    from attachtrans.tool.sources import readable

    source = readable(path)
    findings = inspect(source, **options)
    found, summary = inventory(source, findings, deep=not quick), PoseSummary()
    if not quick and findings.tables:
        with closing(open_photos(source, findings.tables)) as photos:
            for _ in pose_facts(photos, placing, summary):
                pass
    if as_json:
        content = found.to_json() | {"poses": summary.to_json()}
        click.echo(json.dumps(content, indent=2, ensure_ascii=False, default=str))
        return
    for line in inventory_lines(found):
        click.echo(line)
    if summary.photos or summary.problems:
        for line in pose_summary_lines(summary):
            click.echo(line)


def _print_files(path: Path, choice: Choice, placing: Placing, *, as_json: bool) -> None:
    from attachtrans.describe import pose_lines, pose_summary_lines
    from attachtrans.tool.poses import photo_facts

    photos, summary = photo_facts(path, choice, placing)
    if as_json:
        content = {
            "path": str(path),
            "photos": [facts.to_json() for facts in photos],
            "poses": summary.to_json(),
        }
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    for facts in photos:
        for line in pose_lines(facts):
            click.echo(line)
    for line in pose_summary_lines(summary):
        click.echo(line)


def _has_features(path: Path) -> bool:
    from attachtrans.tool.sources import is_feature_class

    return path.suffix.lower() == ".gpkg" or is_feature_class(path)


def _is_model(file: str) -> bool:
    from attachtrans.models.definition import builtin_names
    from attachtrans.models.recognise import WEIGHT_SUFFIXES

    if file in builtin_names() or file.startswith("{"):
        return True
    path = Path(file)
    if path.is_dir():
        return any(path.glob("*.emd")) or any(path.glob("*/*.emd"))
    return file.lower().endswith((".emd", ".json", ".dlpk", *WEIGHT_SUFFIXES))
