"""What the commands share: option groups, exit codes, the options that choose photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from attachtrans.errors import ArgumentError

if TYPE_CHECKING:
    from attachtrans.tool.sources import Choice

DONE, SOME_FAILED, BAD_USAGE, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 3, 130

Command = Callable[..., Any]

MODEL, OUTPUT, SAFETY, WHERE, WHICH, POSES, GROUND, BESIDE, RASTERS, FILES, SPEED, REPORT = (
    "Model",
    "Where results go",
    "Safety of an overwrite",
    "Where photos hang (found by itself)",
    "Which photos",
    "Where photos were taken (read from them by itself)",
    "What they look at",
    "What is written beside the photos",
    "Rasters, mosaics and services",
    "How results are written",
    "Speed",
    "Running and reporting",
)

TRUST_CODE = (
    "Run the Python code that comes with the model (raster functions), in a process of its own "
    "with limits of time and memory. It may do whatever you may do: give this only for code of "
    "people you trust."
)


class _Option(click.Option):
    """An option that bears the heading that `--help` shows it under."""

    def __init__(self, *args: Any, heading: str = "", **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.heading = heading


class Grouped(click.Command):
    """A command whose help shows options under their headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, each heading once, in the order of declaration."""
        sections: dict[str, list[tuple[str, str]]] = {}
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        for one in sorted(options, key=lambda o: not getattr(o, "heading", "")):
            if record := one.get_help_record(ctx):
                heading = getattr(one, "heading", "") or "Help"
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def option(heading: str, *names: str, **attributes: Any) -> Command:
    """An option under a heading."""
    return click.option(*names, cls=_Option, heading=heading, **attributes)


def pair(text: str) -> tuple[str, str]:
    """NAME=VALUE, as click converts it."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        message = f"{text} is not NAME=VALUE"
        raise click.BadParameter(message)
    return name.strip(), value.strip()


def open_report(path: Path) -> TextIO:
    """The report, to be added to. Raises ArgumentError when it cannot be written."""
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        message = f"--report {path} cannot be written: {error.strerror}"
        raise ArgumentError(message) from error


def problem(status: str, key: str, reason: str) -> str:
    """A line about an attachment that is not as the user wished; it is named once."""
    name = key.rpartition("/")[2]
    for prefix in (f"{key}: ", f"{name}: ", f"{name} "):
        reason = reason.removeprefix(prefix)
    return "".join(c if c.isprintable() else "?" for c in f"{status}: {key}: {reason}")


def with_options(command: Command, options: list[Command]) -> Command:
    """A command with further options, in this order."""
    for one in reversed(options):
        command = one(command)
    return command


def choosing_places(command: Command) -> Command:
    """The options that say where photos hang."""
    options: list[Command] = [
        option(
            WHERE,
            "--layout",
            type=click.Choice(["attach", "media", "path", "blob"]),
            help="How photos hang on features, when detection should not decide.",
        ),
        option(WHERE, "--layer", help="Only photos of this layer (or photo table)."),
        option(
            WHERE,
            "--photo-column",
            help='Column with photos or paths ("column" or "table.column").',
        ),
        option(
            WHERE,
            "--base",
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder that path columns are resolved in.",
        ),
        option(
            WHERE,
            "--remap",
            type=pair,
            multiple=True,
            metavar="OLD=NEW",
            help="Beginning of paths that have moved; repeatable.",
        ),
    ]
    return with_options(command, options)


def choosing(command: Command) -> Command:
    """The options that say which photos are meant."""
    options: list[Command] = [
        option(WHICH, "--where", metavar="SQL", help="Condition on the features' columns."),
        option(
            WHICH,
            "--bbox",
            nargs=4,
            type=float,
            metavar="MINX MINY MAXX MAXY",
            help="Only features in this box, in the layer's CRS.",
        ),
        option(WHICH, "--limit", type=int, metavar="N", help="Only the first N photos."),
    ]
    return choosing_places(with_options(command, options))


def choosing_files(command: Command) -> Command:
    """The option that chooses files of a folder."""
    one = option(
        WHICH,
        "--pattern",
        "patterns",
        multiple=True,
        metavar="GLOB",
        help='Of a folder, only files like this ("*.JPG", "DCIM/*"); repeatable.',
    )
    return with_options(command, [one])


def existing(**attributes: Any) -> click.Path:
    """A file or folder that must be there, as click checks it."""
    return click.Path(exists=True, path_type=Path, **attributes)


def choice_of(options: dict[str, Any]) -> Choice:
    """Which photos a command's options mean."""
    from attachtrans.tool.sources import Choice

    return Choice(**options | {"bbox": options["bbox"] or None})
