"""`attachtrans info`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from attachtrans.cli.options import Grouped, choosing_places


@click.command(
    cls=Grouped,
    epilog="""
\b
Examples:
  attachtrans info trees.gpkg
  attachtrans info trees.gpkg --json | jq .places
  attachtrans info sr-x2
""",
)
@click.argument("file")
@choosing_places
@click.option("--quick", is_flag=True, help="Do not read the photos' headers.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def info(file: str, *, quick: bool, as_json: bool, **options: Any) -> None:
    """Say what FILE holds: photos of a GeoPackage (where, which layout and why), or a model."""
    from dataclasses import asdict

    from attachtrans.describe import inventory_lines, model_lines

    if _is_model(file):
        from attachtrans.models.definition import ModelDefinition
        from attachtrans.models.info import model_info

        about = model_info(ModelDefinition.read(file))
        facts, lines = asdict(about), model_lines(about)
    else:
        from attachtrans.stores.catalog import inspect
        from attachtrans.stores.inventory import inventory

        path = Path(file)
        found = inventory(path, inspect(path, **options), deep=not quick)
        facts, lines = found.to_json(), inventory_lines(found)
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False, default=str))
    else:
        for line in lines:
            click.echo(line)


def _is_model(file: str) -> bool:
    from attachtrans.models.definition import builtin_names

    if file in builtin_names() or file.startswith("{"):
        return True
    path = Path(file)
    if path.is_dir():
        return any(path.glob("*.emd")) or any(path.glob("*/*.emd"))
    endings = (".emd", ".json", ".dlpk", ".onnx", ".pt", ".pth", ".safetensors")
    return file.lower().endswith(endings)
