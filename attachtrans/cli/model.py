"""`attachtrans model info` and `attachtrans model wrap`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attachtrans.cli.options import MODEL, OUTPUT, REPORT, TRUST_CODE, Grouped, option, pair

if TYPE_CHECKING:
    from attachtrans.tool.wrap import Wrapped

Pairs = tuple[tuple[str, str], ...]
Range = tuple[float, float] | str

_KNOWN = "What is known of the net (the rest is found out)"
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def model() -> None:
    """Look at a model, or make one of a file of weights."""


@model.command(
    "info",
    cls=Grouped,
    short_help="Say what a model is and takes.",
    epilog="""
\b
Examples:
  attachtrans model info sr-x2
  attachtrans model info night2day.dlpk -a direction=BtoA
  attachtrans model info night2day.dlpk --json | jq .arguments
""",
)
@click.argument("definition", metavar="MODEL")
@option(
    MODEL,
    "-a",
    "--argument",
    "arguments",
    type=pair,
    multiple=True,
    metavar="NAME=VALUE",
    help="Argument of the model; its facts may depend on it (direction).",
)
@option(MODEL, "--trust-code", is_flag=True, help=TRUST_CODE)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def model_info(definition: str, arguments: Pairs, *, trust_code: bool, as_json: bool) -> None:
    """Say what MODEL is: bands, values, scale, tile, reach, arguments, licence, fingerprint.

    MODEL is a definition (.emd), a package (.dlpk), a folder that holds a definition, JSON text,
    a file of weights with an .emd beside it, or the name of a built-in model.
    """
    print_model(definition, arguments, trust_code=trust_code, as_json=as_json)


def _range(text: str) -> Range:
    """LOW,HIGH or raw, as click converts it."""
    if text.strip().lower() == "raw":
        return "raw"
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = 0.0
    if not -math.inf < low < high < math.inf:
        message = f"{text} is neither LOW,HIGH (as 0,1 or -1,1 or 0,255) nor raw"
        raise click.BadParameter(message)
    return low, high


def _key(text: str) -> tuple[str, Any]:
    """NAME=VALUE of a definition, the value in JSON or plain text, as click converts it."""
    name, value = pair(text)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


@model.command(
    "wrap",
    cls=Grouped,
    short_help="Make a model of a file of weights.",
    epilog="""
\b
Examples:
  A definition beside the weights, then the photos:
    attachtrans model wrap x2.onnx -o x2.emd --licence MIT
    attachtrans translate trees.gpkg --model x2.emd --output sharp.gpkg
  One file with everything, and a look at what the net does with a photo of yours:
    attachtrans model wrap night.ts.pt -o night.dlpk --sample tree.jpg --preview look.png
  When the ranges cannot be told, or values are no pixels (radar, temperatures):
    attachtrans model wrap x.onnx -o x.emd --input-range 0,255 --output-range 0,1
    attachtrans model wrap sar.onnx -o sar.emd --input-range raw --output-range raw
  A net with a second input, which stays the same:
    attachtrans model wrap d.onnx -o d.emd --key Inputs='{"strength": 0.5}'
""",
)
@click.argument("weights", type=_FILE)
@option(
    OUTPUT,
    "-o",
    "--output",
    type=_FILE,
    required=True,
    metavar="NAME.emd|NAME.dlpk",
    help="Definition that refers to the weights, or package that holds them.",
)
@option(OUTPUT, "--overwrite", is_flag=True, help="Replace files that are there.")
@option(
    OUTPUT,
    "--preview",
    type=_FILE,
    metavar="FILE.png",
    help="Save the sample before and after the net; with all candidates when it is ambiguous.",
)
@option(
    _KNOWN,
    "--sample",
    type=_FILE,
    metavar="PHOTO",
    help="Photo to try the net on, of the kind it is for (default: a synthetic one).",
)
@option(
    _KNOWN,
    "--input-range",
    "in_range",
    type=_range,
    metavar="LOW,HIGH|raw",
    help="Values that black and white have for the net; raw: whatever the photo holds.",
)
@option(
    _KNOWN,
    "--output-range",
    "out_range",
    type=_range,
    metavar="LOW,HIGH|raw",
    help="Values of the net that mean black and white; raw: they are no pixels.",
)
@option(_KNOWN, "--type", "model_type", metavar="TYPE", help="Model type, instead of the file's.")
@option(
    _KNOWN,
    "--key",
    "stated",
    type=_key,
    multiple=True,
    metavar="NAME=VALUE",
    help="Key of the definition to state (FixedSize, InputBands, Inputs ...), as JSON; repeatable.",
)
@option(_KNOWN, "--licence", help="Licence line, for info.")
@option(_KNOWN, "--description", help="What the net does, for info.")
@option(REPORT, "--dry-run", is_flag=True, help="Find out and say; write nothing but the preview.")
@option(REPORT, "--json", "as_json", is_flag=True, help="As JSON.")
def model_wrap(
    *,
    stated: Pairs,
    licence: str | None,
    description: str | None,
    as_json: bool,
    **wishes: Any,
) -> None:
    """Make a model of WEIGHTS: find out what the net takes and gives, write it down, try it.

    WEIGHTS is an ONNX file, TorchScript, an exported program (.pt2), or a checkpoint of a net that
    is known (upscalers, generators of pytorch-CycleGAN-and-pix2pix). The ranges of the values are
    found by trying the net on a photo; when two would do, nothing is written and you are asked.
    """
    from attachtrans.tool.wrap import wrap_model
    from attachtrans.tool.wrap_wish import Wish

    texts = {"Licence": licence, "Description": description}
    wrapped = wrap_model(
        Wish(
            stated=dict(stated),
            texts={key: text for key, text in texts.items() if text},
            **wishes,
        )
    )
    if as_json:
        click.echo(json.dumps(wrapped.to_json(), indent=2, ensure_ascii=False))
    else:
        _print_wrapped(wrapped)


def _print_wrapped(wrapped: Wrapped) -> None:
    from attachtrans.describe import fact_lines

    for line in fact_lines(wrapped.info):
        click.echo(line)
    click.echo(f"ranges of values: {wrapped.ranges.reason}")
    for note in wrapped.notes:
        click.echo(f"note: {note}")
    if wrapped.output is None:
        click.echo("dry run: nothing was written; the definition would be")
        click.echo(json.dumps(wrapped.definition, indent=4, ensure_ascii=False))
    else:
        click.echo(f"wrote {wrapped.output}, read it back and ran it on the sample")


def print_model(definition: str, arguments: Pairs, *, trust_code: bool, as_json: bool) -> None:
    """Print the facts of a model, as text or as JSON."""
    from attachtrans.describe import model_lines
    from attachtrans.models.definition import ModelDefinition
    from attachtrans.models.info import model_info as read_info

    about = read_info(ModelDefinition.read(definition), arguments, trust_code=trust_code)
    if as_json:
        click.echo(json.dumps(about.to_json(), indent=2, ensure_ascii=False))
        return
    for line in model_lines(about):
        click.echo(line)
