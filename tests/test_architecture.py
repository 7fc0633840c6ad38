"""The rules of the house: who imports whom, how long things get, what `--help` costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "attachtrans"
MODULES = sorted(PACKAGE.rglob("*.py"))
VALUES = {"errors", "types"}

# Room (the first name below attachtrans) -> rooms or modules it may import besides itself.
MAY_IMPORT = {
    "errors": set(),
    "types": {"errors"},
    "flow": set(),
    "allocator": set(),
    "report": VALUES,
    "journal": VALUES,
    "image": VALUES,
    "geo": VALUES,
    "hosting": VALUES,
    "models": VALUES | {"hosting"},
    "infer": VALUES | {"models.translator"},
    "stores": VALUES | {"image", "geo", "journal"},
    "roles": VALUES | {"image"},
    "pipeline": VALUES
    | {"flow", "image", "stores.base", "infer", "geo", "journal", "report", "roles"},
    "windowed": VALUES | {"flow", "stores.raster", "infer", "roles"},
}
FOREIGN_NEVER = {
    "geo": {"torch", "rasterio", "fiona", "sqlite3"},
    "image": {"torch", "rasterio", "fiona", "sqlite3"},
    "stores": {"torch"},
    "models": {"rasterio", "fiona", "sqlite3"},
    "infer": {"rasterio", "fiona", "sqlite3"},
    "hosting": {"torch", "rasterio", "fiona", "sqlite3", "cv2"},
}
HEAVY = ("torch", "rasterio", "geopandas", "fiona", "cv2", "pyogrio")
MODULE_LINES = 450
FUNCTION_LINES = 60


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")


def room_of(module: str) -> str:
    return module.partition(".")[0]


class Facts(NamedTuple):
    """What the rules look at in a module; its tree is not kept: a million nodes slow all tests."""

    lines: int
    imports: list[tuple[str, str]]  # (module, name), lazy ones included; name may be ""
    functions: dict[str, int]  # lines of code, docstrings left out
    asserts: list[int]  # their lines


@cache
def facts() -> dict[str, Facts]:
    """By module."""
    return {name_of(path): facts_of(path.read_text(encoding="utf-8")) for path in MODULES}


def facts_of(source: str) -> Facts:
    found = Facts(len(source.splitlines()), [], {}, [])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.imports.extend((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found.imports.extend((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            found.functions[f"{node.name}:{node.lineno}"] = lines
        elif isinstance(node, ast.Assert):
            found.asserts.append(node.lineno)
    return found


def inner_imports(module: str) -> Iterator[str]:
    """Dotted names below attachtrans that a module imports."""
    for imported, name in facts()[module].imports:
        top, _, rest = imported.partition(".")
        if top == "attachtrans":
            yield rest or name


def test_no_import_is_relative() -> None:
    wrong = {
        f"{module} imports {imported}"
        for module, about in facts().items()
        for imported, _ in about.imports
        if imported.startswith(".")
    }
    assert not wrong


def test_modules_import_only_what_their_room_may() -> None:
    wrong = []
    for module in facts():
        room = room_of(module)
        if room not in MAY_IMPORT:
            continue
        allowed = MAY_IMPORT[room] | {room, "__version__"}
        wrong += [
            f"{module} imports attachtrans.{inner}; {room} may import {sorted(allowed)}"
            for inner in inner_imports(module)
            if not any(f"{inner}.".startswith(f"{prefix}.") for prefix in allowed)
        ]
    assert not wrong


def test_modules_keep_to_the_libraries_of_their_room() -> None:
    wrong = {
        f"{module} imports {imported}"
        for module, about in facts().items()
        for imported, _ in about.imports
        if imported.partition(".")[0] in FOREIGN_NEVER.get(room_of(module), set())
    }
    assert not wrong


def test_no_private_name_crosses_modules() -> None:
    wrong = {
        f"{module} imports {imported}.{name}"
        for module, about in facts().items()
        for imported, name in about.imports
        if imported.partition(".")[0] == "attachtrans"
        for part in (*imported.split("."), name)
        if part.startswith("_") and part != "__version__"
    }
    assert not wrong


def test_modules_and_functions_stay_short() -> None:
    assert not {
        module: about.lines for module, about in facts().items() if about.lines > MODULE_LINES
    }
    assert not {
        f"{module}.{function}": lines
        for module, about in facts().items()
        for function, lines in about.functions.items()
        if lines > FUNCTION_LINES
    }


def test_no_assert_in_the_package() -> None:
    assert not {module: about.asserts for module, about in facts().items() if about.asserts}


@pytest.mark.parametrize("arguments", [["--help"], ["translate", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from attachtrans.cli import main\n"
        f"sys.argv = ['attachtrans', *{arguments!r}]\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
