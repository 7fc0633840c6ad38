"""The command line: parse, call, print. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from attachtrans import __version__
from attachtrans.errors import ArgumentError, AttachtransError

DONE, SOME_FAILED, BAD_USAGE, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 3, 130

_EXAMPLES = """
\b
Examples:
  attachtrans info photos.gpkg
  attachtrans translate photos.gpkg --model sr-x2 --output sharp.gpkg:photos
  attachtrans translate photos.gpkg --model sr-x2 --overwrite-attachments
  attachtrans extract photos.gpkg -o photos/
"""

_TRANSLATE_EXAMPLES = """
\b
Examples:
  Into a new feature class, the photos stay as they are:
    attachtrans translate trees.gpkg --model sr-x2 --output sharp.gpkg:trees
  In place (originals are kept in trees.bak.gpkg; the same command goes on after a crash):
    attachtrans translate trees.gpkg --model sr-x2 --overwrite-attachments
  A CycleGAN from ArcGIS, 512 px tiles, only this year's photos of one layer:
    attachtrans translate trees.gpkg --model night2day.dlpk -a direction=BtoA -a tile_size=512 \\
      --layer trees --where "year = 2026" --output day.gpkg
  What would happen:
    attachtrans translate trees.gpkg --model sr-x2 --overwrite-attachments --dry-run
"""

_EXTRACT_EXAMPLES = """
\b
Examples:
  attachtrans extract trees.gpkg -o photos/
  Folders per plot, numbered photos, an index in the layer's own coordinates:
    attachtrans extract trees.gpkg -o photos/ --name "{plot}/{species}_{n}" --index geoparquet
"""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.ClickException as error:
        error.show()
        code = BAD_USAGE
    except ArgumentError as error:
        click.echo(f"attachtrans: {error}", err=True)
        code = BAD_USAGE
    except AttachtransError as error:
        click.echo(f"attachtrans: {error}", err=True)
        code = COULD_NOT_RUN
    except (click.Abort, KeyboardInterrupt):
        click.echo("attachtrans: interrupted", err=True)
        code = INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        code = DONE
    sys.exit(code)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EXAMPLES,
)
@click.version_option(__version__, prog_name="attachtrans")
@click.option("-v", "--verbose", count=True, help="Say more on stderr (-vv: everything).")
def cli(verbose: int) -> None:
    """Translate the photos attached to geographic features with deep learning, and lose nothing."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


_Command = Callable[..., Any]

_MODEL, _OUTPUT, _SAFETY, _WHERE, _WHICH, _FILES, _SPEED, _REPORT = (
    "Model",
    "Where results go",
    "Safety of an overwrite",
    "Where photos hang (found by itself)",
    "Which photos",
    "How results are written",
    "Speed",
    "Running and reporting",
)


class _Option(click.Option):
    """An option that bears the heading that `--help` shows it under."""

    def __init__(self, *args: Any, heading: str = "", **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.heading = heading


class _Grouped(click.Command):
    """A command whose help shows options under their headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, each heading once, in the order of declaration."""
        sections: dict[str, list[tuple[str, str]]] = {}
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        for option in sorted(options, key=lambda o: not getattr(o, "heading", "")):
            if record := option.get_help_record(ctx):
                heading = getattr(option, "heading", "") or "Help"
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def _option(heading: str, *names: str, **attributes: Any) -> _Command:
    return click.option(*names, cls=_Option, heading=heading, **attributes)


def _pair(text: str) -> tuple[str, str]:
    """NAME=VALUE, as click converts it."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        message = f"{text} is not NAME=VALUE"
        raise click.BadParameter(message)
    return name.strip(), value.strip()


def _with(command: _Command, options: list[_Command]) -> _Command:
    for option in reversed(options):
        command = option(command)
    return command


def _choosing_places(command: _Command) -> _Command:
    """The options that say where photos hang."""
    options: list[_Command] = [
        _option(
            _WHERE,
            "--layout",
            type=click.Choice(["attach", "media", "path", "blob"]),
            help="How photos hang on features, when detection should not decide.",
        ),
        _option(_WHERE, "--layer", help="Only photos of this layer (or photo table)."),
        _option(
            _WHERE,
            "--photo-column",
            help='Column with photos or paths ("column" or "table.column").',
        ),
        _option(
            _WHERE,
            "--base",
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder that path columns are resolved in.",
        ),
        _option(
            _WHERE,
            "--remap",
            type=_pair,
            multiple=True,
            metavar="OLD=NEW",
            help="Beginning of paths that have moved; repeatable.",
        ),
    ]
    return _with(command, options)


def _choosing(command: _Command) -> _Command:
    """The options that say which photos are meant."""
    options: list[_Command] = [
        _option(_WHICH, "--where", metavar="SQL", help="Condition on the features' columns."),
        _option(
            _WHICH,
            "--bbox",
            nargs=4,
            type=float,
            metavar="MINX MINY MAXX MAXY",
            help="Only features in this box, in the layer's CRS.",
        ),
        _option(_WHICH, "--limit", type=int, metavar="N", help="Only the first N photos."),
    ]
    return _choosing_places(_with(command, options))


@cli.command(cls=_Grouped, epilog=_TRANSLATE_EXAMPLES)
@click.argument("source", type=click.Path(path_type=Path))
@_option(
    _MODEL,
    "-m",
    "--model",
    required=True,
    help="Model definition (.emd, .dlpk, folder, JSON text) or built-in: sr-x2.",
)
@_option(
    _MODEL,
    "-a",
    "--argument",
    "arguments",
    type=_pair,
    multiple=True,
    metavar="NAME=VALUE",
    help="Argument of the model (padding, batch_size, tile_size, direction ...).",
)
@_option(
    _OUTPUT,
    "-o",
    "--output",
    metavar="OUT.gpkg[:LAYER]",
    help="Feature class to write or append to; the source stays as it is.",
)
@_option(
    _OUTPUT,
    "--output-layout",
    type=click.Choice(["attach", "media", "blob", "folder"]),
    default="attach",
    show_default=True,
    help="How photos hang on the output's features.",
)
@_option(_OUTPUT, "--overwrite-attachments", is_flag=True, help="Replace the photos in place.")
@_option(
    _SAFETY,
    "--backup/--no-backup",
    default=True,
    show_default=True,
    help="Keep the originals when overwriting.",
)
@_option(
    _SAFETY,
    "--secure",
    is_flag=True,
    help="For anonymising: no trace of the originals stays (backup deleted at the end).",
)
@_option(_SAFETY, "--restart", is_flag=True, help="Bring the originals back first, then translate.")
@_option(_SAFETY, "--again", is_flag=True, help="Translate once more what is translated already.")
@_option(_SAFETY, "--vacuum", is_flag=True, help="Make the file smaller at the end.")
@_option(
    _SAFETY,
    "--work-dir",
    type=click.Path(path_type=Path),
    help="Folder for journal and backup (default: beside the data).",
)
@_choosing
@_option(
    _FILES,
    "--format",
    type=click.Choice(["jpeg", "png", "tiff", "webp"]),
    help="File format of results (default: each photo's own).",
)
@_option(
    _FILES,
    "--quality",
    type=click.IntRange(1, 100),
    help="JPEG/WebP quality of results (default: each photo's own).",
)
@_option(
    _FILES,
    "--max-pixels",
    type=click.IntRange(1),
    default=500_000_000,
    show_default=True,
    help="Refuse larger photos.",
)
@_option(
    _SPEED,
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:N, cuda:0,1 or mps.",
)
@_option(
    _SPEED,
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="Arithmetic of the net.",
)
@_option(
    _MODEL,
    "--seams",
    type=click.Choice(["blend"]),
    default="blend",
    show_default=True,
    help="How overlapping tiles are joined.",
)
@_option(
    _MODEL,
    "--pixel-space/--map-space",
    "pixel_space",
    default=True,
    show_default=True,
    help="Run the net on the photo's own rows and columns, or rectified to the map.",
)
@_option(_REPORT, "--dry-run", is_flag=True, help="Say what would be done; write nothing.")
@_option(
    _REPORT,
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.jsonl",
    help="One line of JSON per attachment: key, status, reason, sizes, digests.",
)
@_option(_REPORT, "-q", "--quiet", is_flag=True, help="No progress and no summary.")
@click.pass_context
def translate(ctx: click.Context, /, report: Path | None, *, quiet: bool, **options: Any) -> None:
    """Translate the photos of SOURCE, a GeoPackage, with a deep-learning model.

    SOURCE may hold Esri attachments, OGC related media, columns with paths (QField, Mergin Maps,
    ODK, geotagged photos) or BLOB columns; only images are touched. Running the same command again
    goes on where a run was interrupted and never translates a photo twice.
    """
    from attachtrans.console import Bar, Tally
    from attachtrans.tool.translate import plan_translation

    bbox = options.pop("bbox")
    pixel_space = options.pop("pixel_space")
    translation = plan_translation(
        **options, bbox=bbox or None, space="pixel" if pixel_space else "map"
    )
    tally = Tally()
    with ExitStack() as stack:
        bar = stack.enter_context(Bar(len(translation), enabled=not quiet))
        translation.progress = bar
        lines = stack.enter_context(report.open("a", encoding="utf-8")) if report else None
        outcomes = iter(translation)
        stack.callback(outcomes.close)
        try:
            for outcome in outcomes:
                tally.add(outcome)
                bar.advance()
                if lines:
                    lines.write(json.dumps(outcome.to_dict(), ensure_ascii=False) + "\n")
                    lines.flush()
                if outcome.status in ("failed", "refused"):
                    bar.write(f"{outcome.status}: {outcome.item.key}: {outcome.reason}")
        except KeyboardInterrupt:
            stack.close()
            for line in tally.lines(translation.output, translation.notes):
                click.echo(line, err=True)
            click.echo(
                "interrupted; every photo is either original or translated. "
                "Run the same command again to go on.",
                err=True,
            )
            ctx.exit(INTERRUPTED)
    if not quiet:
        for line in tally.lines(translation.output, translation.notes):
            click.echo(line)
    ctx.exit(DONE if tally.ok else SOME_FAILED)


@cli.command(
    cls=_Grouped,
    epilog="""
\b
Examples:
  attachtrans info trees.gpkg
  attachtrans info trees.gpkg --json | jq .places
  attachtrans info sr-x2
""",
)
@click.argument("file")
@_choosing_places
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

    endings = (".emd", ".dlpk", ".onnx", ".pt", ".pth", ".safetensors")
    return file in builtin_names() or file.lower().endswith(endings) or file.startswith("{")


@cli.command(cls=_Grouped, epilog=_EXTRACT_EXAMPLES)
@click.argument("source", type=click.Path(path_type=Path))
@_option(
    _OUTPUT,
    "-o",
    "--output",
    "folder",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Folder for the files; made if need be.",
)
@_option(
    _OUTPUT,
    "--name",
    "name_by",
    metavar="TEMPLATE",
    help="File names from columns of the feature and {fid}, {layer}, {n} (number on its feature), "
    '{stem} (own name); "/" makes folders.',
)
@_option(
    _OUTPUT,
    "--index",
    type=click.Choice(["geojson", "geoparquet", "none"]),
    default="geojson",
    show_default=True,
    help="Index of the files with geometry and attributes.",
)
@_choosing
@_option(_WHICH, "--only-images", is_flag=True, help="Leave out what is no image by its content.")
@_option(_REPORT, "--dry-run", is_flag=True, help="Say what would be done; write nothing.")
@_option(
    _REPORT,
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.jsonl",
    help="One line of JSON per attachment: key, status, reason, file, digest.",
)
@_option(_REPORT, "-q", "--quiet", is_flag=True, help="No progress and no summary.")
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
        lines = stack.enter_context(report.open("a", encoding="utf-8")) if report else None
        for file in extraction:
            counts[file.status] += 1
            bar.advance()
            if lines:
                lines.write(json.dumps(file.to_dict(), ensure_ascii=False) + "\n")
            if file.status == "failed":
                bar.write(f"failed: {file.item.key}: {file.reason}")
    if not quiet:
        words = ", ".join(f"{count} {status}" for status, count in counts.items())
        click.echo(f"{words or 'no attachments'} -> {options['folder']}")
        for note in extraction.notes:
            click.echo(f"  note: {note}")
    ctx.exit(SOME_FAILED if counts["failed"] else DONE)


if __name__ == "__main__":
    main()
