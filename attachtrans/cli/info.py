"""`attachtrans info`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from attachtrans.cli.model import print_model
from attachtrans.cli.options import MODEL, TRUST_CODE, Grouped, choosing_places, option, pair
from attachtrans.errors import ArgumentError


@click.command(
    cls=Grouped,
    epilog="""
\b
Examples:
  attachtrans info trees.gpkg
  attachtrans info trees.gpkg --json | jq .places
  attachtrans info sr-x2
  attachtrans info night2day.dlpk -a direction=BtoA
""",
)
@click.argument("file")
@choosing_places
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
    """Say what FILE holds: photos of a GeoPackage (where, which layout and why), or a model."""
    if _is_model(file):
        print_model(file, arguments, trust_code=trust_code, as_json=as_json)
        return
    if arguments:
        raise ArgumentError(f"-a belongs to a model, and {file} is none.")
    from attachtrans.describe import inventory_lines
    from attachtrans.stores.catalog import inspect
    from attachtrans.stores.inventory import inventory

    path = Path(file)
    found = inventory(path, inspect(path, **options), deep=not quick)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False, default=str))
        return
    for line in inventory_lines(found):
        click.echo(line)


def _is_model(file: str) -> bool:
    from attachtrans.models.definition import builtin_names
    from attachtrans.models.recognise import WEIGHT_SUFFIXES

    if file in builtin_names() or file.startswith("{"):
        return True
    path = Path(file)
    if path.is_dir():
        return any(path.glob("*.emd")) or any(path.glob("*/*.emd"))
    return file.lower().endswith((".emd", ".json", ".dlpk", *WEIGHT_SUFFIXES))
