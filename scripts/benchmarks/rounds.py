"""Interleaved rounds of contestants, and what they come to."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Run = Mapping[str, Any]


class NotHereError(Exception):
    """A contestant that is not installed, or that failed; the text is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Something to measure: `prepare` runs before each round and is not timed."""

    name: str
    run: Callable[[], Run]
    prepare: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a contestant came to over its rounds; `runs` has everything it printed."""

    name: str
    runs: tuple[Run, ...]

    def least(self, key: str) -> float:
        """The smallest value: what the machine can do when it is left alone."""
        return float(min(run[key] for run in self.runs))

    def middle(self, key: str) -> float:
        """The median."""
        return float(statistics.median(run[key] for run in self.runs))


def race(
    contestants: Sequence[Contestant], repeat: int, say: Callable[[str], None]
) -> dict[str, Figures]:
    """Run all contestants one after another, `repeat` times: A B C A B C.

    What is not here is left out after its first round, with a line that says why.
    """
    runs: dict[str, list[Run]] = {contestant.name: [] for contestant in contestants}
    missing: set[str] = set()
    for number in range(1, repeat + 1):
        for contestant in contestants:
            if contestant.name in missing:
                continue
            contestant.prepare()
            load = os.getloadavg()[0]
            try:
                run = dict(contestant.run())
            except NotHereError as reason:
                missing.add(contestant.name)
                say(f"{contestant.name} is left out: {reason}")
                continue
            run["load"] = load
            runs[contestant.name].append(run)
            say(
                f"round {number}/{repeat}  {contestant.name}: {run['wall_s']:.1f} s wall, "
                f"{run['cpu_s']:.1f} s CPU, load {load:.1f}"
            )
    return {name: Figures(name=name, runs=tuple(found)) for name, found in runs.items() if found}


def in_process(kind: str, settings: Mapping[str, Any]) -> Run:
    """Run one of `benchmarks.contestant` in a fresh process.

    Raises NotHereError when it fails, with the last line of what it said.
    """
    command = [sys.executable, "-m", "benchmarks.contestant", kind, json.dumps(settings)]
    return last_json(command, {})


def program(command: Sequence[str]) -> Run:
    """Run a program to its end: wall seconds, CPU seconds of all its threads, peak memory.

    Raises NotHereError when it cannot be started or fails, with the last line of what it said.
    """
    # Installed programs have their bytecode compiled beforehand.
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=kept
            )
        except OSError as error:
            raise NotHereError(str(error)) from error
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            raise NotHereError(lines[-1] if lines else f"exit code {process.returncode}")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return {
        "wall_s": wall,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / unit,
    }


def last_json(
    command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None
) -> Run:
    """Run a command and read the last line of its stdout that is a JSON object.

    Raises NotHereError when there is none, or when it cannot be started.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=os.environ | environment,
        )
    except OSError as error:
        raise NotHereError(str(error)) from error
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotHereError(said[-1] if said else f"exit code {done.returncode}")
    found: Run = json.loads(lines[-1])
    return found


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; floats get three significant digits."""
    cells = [[shown(value) for value in row] for row in rows]
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shown(value: object) -> str:
    """A number as a reader wants it."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
