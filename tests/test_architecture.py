"""The rules of the house: who imports whom, how long things get, what `--help` costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "attachtrans"
MODULES = sorted(PACKAGE.rglob("*.py"))
VALUES = {"errors", "types"}

# Room (the first name below attachtrans) -> rooms or modules it may import besides itself.
MAY_IMPORT = {
    "errors": set(),
    "types": {"errors"},
    "flow": set(),
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


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every import, lazy and type-checking ones included; name may be ""."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((node.module or "", alias.name) for alias in node.names)


def inner_imports(path: Path) -> Iterator[str]:
    """Dotted names below attachtrans that a module imports."""
    for module, name in imports(path):
        top, _, rest = module.partition(".")
        if top == "attachtrans":
            yield rest or name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    room = room_of(name_of(path))
    if room not in MAY_IMPORT:
        return
    for module in inner_imports(path):
        allowed = MAY_IMPORT[room] | {room, "__version__"}
        assert any(f"{module}.".startswith(f"{prefix}.") for prefix in allowed), (
            f"{name_of(path)} imports attachtrans.{module}; {room} may import {sorted(allowed)}"
        )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_keeps_to_the_libraries_of_its_room(path: Path) -> None:
    never = FOREIGN_NEVER.get(room_of(name_of(path)), set())
    used = {module.partition(".")[0] for module, _ in imports(path)}
    assert not used & never


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_private_name_crosses_modules(path: Path) -> None:
    for module, name in imports(path):
        if module.partition(".")[0] == "attachtrans":
            parts = [*module.split("."), name]
            assert not [part for part in parts if part.startswith("_") and part != "__version__"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MODULE_LINES
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= FUNCTION_LINES, f"{node.name} has {lines} lines of code"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_assert_in_the_package(path: Path) -> None:
    assert not [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Assert)]


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
