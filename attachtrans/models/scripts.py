"""The Python script of a model definition: where it lies, what belongs to it, what it imports.

Nothing is run here.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attachtrans.errors import ModelError
from attachtrans.models.package import MAX_DEPTH, FileRef, package_files, resolve_model_file

_MAX_SCRIPT_BYTES = 4 << 20
_MAX_MODULES = 2000
_BUILT_IN = "[functions]"
"""How the paths of scripts begin that come with ArcGIS Pro and lie in no package."""


def find_script(file: FileRef | None, raw: Mapping[str, Any]) -> FileRef:
    """The script that `InferenceFunction` of a definition names.

    Raises:
        ModelError: it is missing, or points out of its package.
    """
    name = raw.get("InferenceFunction")
    if not isinstance(name, str) or name.lower().startswith(_BUILT_IN):
        raise ModelError(f"InferenceFunction {name!r:.100} is no file that comes with the model.")
    try:
        return resolve_model_file(file, name)
    except ModelError as error:
        raise ModelError(f"InferenceFunction {name!r:.100}: {error}") from error


def code_files(file: FileRef | None, raw: Mapping[str, Any]) -> Iterator[FileRef]:
    """What a script may read: all of its package.

    Of a script that lies in a folder: itself, the modules below that, and the model file.

    Raises:
        ModelError: the script is missing, or its folder holds too many modules to be a model's.
    """
    script = find_script(file, raw)
    if script.member is not None:
        yield from package_files(script.path)
        return
    yield from sorted(_modules(script.path.parent), key=lambda ref: ref.path)
    name = raw.get("ModelFile")
    if isinstance(name, str) and name:
        weights = resolve_model_file(file, name)
        if weights.path.suffix.lower() != ".py":
            yield weights


def imports_arcgis(script: FileRef) -> bool:
    """Whether a script cannot do without arcgis (ArcGIS API for Python).

    Imports that the script itself gets over (`try: ... except ImportError:`) do not count.

    Raises:
        ModelError: the script cannot be read.
    """
    source = script.read(limit_bytes=_MAX_SCRIPT_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
            return any(_names_arcgis(node) for node in _inevitable(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False  # running it will say what is wrong


def _modules(folder: Path) -> Iterator[FileRef]:
    count = 0
    for root, folders, files in os.walk(folder):
        if len(Path(root).relative_to(folder).parts) >= MAX_DEPTH:
            folders.clear()
        for name in files:
            if name.endswith(".py"):
                yield FileRef(path=Path(root, name))
                count += 1
        if count > _MAX_MODULES:
            raise ModelError(
                f"{folder} holds more than {_MAX_MODULES} Python files, which all belong to the "
                "raster function in it: put the function into a folder of its own."
            )


def _inevitable(node: ast.AST) -> Iterator[ast.AST]:
    """A node and those below it, without what is tried and may fail."""
    yield node
    tried = node.body if isinstance(node, ast.Try) and _forgives(node) else []
    for child in ast.iter_child_nodes(node):
        if child not in tried:
            yield from _inevitable(child)


def _forgives(node: ast.Try) -> bool:
    """Whether a failing import in the body of a `try` is caught."""
    forgiving = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
    for handler in node.handlers:
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if any(kind is None or getattr(kind, "id", "") in forgiving for kind in kinds):
            return True
    return False


def _names_arcgis(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
        names = [node.module or ""]
    else:
        return False
    return any(name.partition(".")[0] == "arcgis" for name in names)
