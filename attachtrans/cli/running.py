"""What commands share that go through photos one by one: options, progress, report, summary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

import click

from attachtrans.cli.options import (
    DONE,
    REPORT,
    SOME_FAILED,
    Command,
    open_report,
    option,
    problem,
    with_options,
)

if TYPE_CHECKING:
    from attachtrans.console import Bar


_SHOWN = 20
"""Of reasons."""


class Told(Protocol):
    """What became of one photo."""

    @property
    def key(self) -> str: ...

    @property
    def status(self) -> str: ...

    @property
    def reason(self) -> str: ...

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as one line of a `--report` file holds them."""
        ...


class Result(NamedTuple):
    """How many photos have each status, and how often each reason was why one was skipped."""

    counts: Counter[str]
    skipped: Counter[str]


def reporting(what: str) -> Command:
    """The options of how a run is told; `what` a line of the report says."""

    def decorate(command: Command) -> Command:
        options: list[Command] = [
            option(
                REPORT, "--dry-run", is_flag=True, help="Say what would be done; write nothing."
            ),
            option(
                REPORT,
                "--report",
                type=click.Path(dir_okay=False, path_type=Path),
                metavar="FILE.jsonl",
                help=f"One line of JSON each: {what}.",
            ),
            option(REPORT, "-q", "--quiet", is_flag=True, help="No progress and no summary."),
        ]
        return with_options(command, options)

    return decorate


def go_through(run: Iterable[Told], bar: Bar, report: Path | None) -> Result:
    """Run to the end; tells failures as they come."""
    result = Result(Counter(), Counter())
    with ExitStack() as stack:
        stack.enter_context(bar)
        lines = stack.enter_context(open_report(report)) if report else None
        for one in run:
            result.counts[one.status] += 1
            bar.advance()
            if lines:
                lines.write(json.dumps(one.to_dict(), ensure_ascii=False) + "\n")
                lines.flush()
            if one.status == "skipped":
                result.skipped[one.reason] += 1
            if one.status == "failed":
                bar.write(problem(one.status, one.key, one.reason))
    return result


def conclude(
    ctx: click.Context, result: Result, target: str, notes: Sequence[str], *, quiet: bool
) -> NoReturn:
    """Print the summary and end with the exit code."""
    if not quiet:
        words = ", ".join(f"{count} {status}" for status, count in result.counts.items())
        click.echo(f"{words or 'nothing found'} -> {target}")
        for reason, count in result.skipped.most_common(_SHOWN):
            click.echo(f"  skipped {count}: {reason}")
        for note in notes:
            click.echo(f"  note: {note}")
    ctx.exit(SOME_FAILED if result.counts["failed"] else DONE)
