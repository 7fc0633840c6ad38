"""The source code of a TorchScript archive, checked and written anew before PyTorch compiles it.

What torch.jit.save writes is a small part of Python: classes of attributes and methods, in which
every operation is a call such as `torch.add(x, 1)`. Code is accepted if Python parses it, if it
consists of those few kinds of statements, and if all that it calls is listed in
`attachtrans.models.operators` or defined in the archive. It is then printed from the parsed tree,
so that PyTorch's own parser sees exactly what was checked.

Format: torch/csrc/jit/serialization/python_print.cpp and import_source.cpp.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.operators import is_computation

_STATEMENTS = (
    *(ast.Module, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg),
    *(ast.Assign, ast.AnnAssign, ast.Return, ast.If, ast.For, ast.While, ast.Expr, ast.Pass),
)
_EXPRESSIONS = (
    *(ast.Name, ast.Attribute, ast.Call, ast.keyword, ast.Constant, ast.Subscript, ast.Slice),
    *(ast.List, ast.Tuple, ast.Dict, ast.UnaryOp, ast.USub, ast.Load, ast.Store),
)
_CONSTANTS = (str, bool, int, float, type(None))
_BASES = {"Module", "NamedTuple", "Interface", "ModuleInterface"}
_CLASS_NAMES = {"__parameters__", "__buffers__", "__annotations__"}
_CALLS = {
    *("annotate", "unchecked_cast", "uninitialized", "getattr", "isinstance"),
    *("int", "float", "bool", "str", "range", "len"),
}
"""Functions that are called by their bare names; all of them are part of the language."""
_ROOTS = {"torch", "ops", "CONSTANTS", "__torch__"}
_LOADERS = {"__setstate__", "__getstate__"}
"""Methods that PyTorch runs while it loads."""


def check_code(sources: Mapping[str, str]) -> tuple[dict[str, str], frozenset[str]]:
    """The code of an archive as it may be compiled, and the full names of its classes.

    Args:
        sources: the text of each file by its dotted name, such as "__torch__.torch.nn.conv".

    Returns:
        the same files, printed anew; the names of the classes that they define.

    Raises:
        UntrustedModelError: it calls what does more than compute, or is not such code at all.
        ModelError: it cannot be parsed.
    """
    trees = {name: _parse(text, name) for name, text in sources.items()}
    names = _Names(trees)
    try:
        for name, tree in trees.items():
            _Checker(names, name).visit(tree)
        printed = {name: ast.unparse(tree) + "\n" for name, tree in trees.items()}
    except RecursionError as error:
        raise ModelError("code that is nested too deeply") from error
    return printed, frozenset(names.classes)


def _parse(text: str, name: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in strings
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ModelError(f"code that cannot be parsed: {name}, {error!s:.200}") from error


class _Names:
    """What the archive itself defines: classes and functions by full name, and attributes."""

    def __init__(self, trees: Mapping[str, ast.Module]) -> None:
        self.classes: set[str] = set()
        self.functions: set[str] = set()
        self.attributes: set[str] = set()
        for name, tree in trees.items():
            for statement in tree.body:
                if isinstance(statement, ast.ClassDef):
                    self.classes.add(f"{name}.{statement.name}")
                    self.attributes.update(_attributes(statement))
                elif isinstance(statement, ast.FunctionDef):
                    self.functions.add(f"{name}.{statement.name}")


def _attributes(definition: ast.ClassDef) -> Iterator[str]:
    for statement in definition.body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(value=str(name)))]):
                # __annotations__["0"] = ...: an attribute whose name is no identifier
                yield name


class _Checker(ast.NodeVisitor):
    """Visits a file of code and refuses the first thing that it should not hold."""

    def __init__(self, names: _Names, file: str) -> None:
        self._names = names
        self._file = file
        self._functions: set[str] = set()

    def _refuse(self, what: str, node: ast.AST) -> UntrustedModelError:
        line = getattr(node, "lineno", 0)
        return UntrustedModelError(f"{what} (line {line} of {self._file})")

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, _STATEMENTS + _EXPRESSIONS):
            raise self._refuse(f"{type(node).__name__}, which torch.jit.save never writes", node)
        super().visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases = {base.id if isinstance(base, ast.Name) else "" for base in node.bases}
        if node.decorator_list or node.keywords or not bases <= _BASES:
            raise self._refuse(f"the class {node.name} with foreign bases", node)
        for statement in node.body:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else None
            named = target.value if isinstance(target, ast.Subscript) else target
            if target and not (isinstance(named, ast.Name) and named.id in _CLASS_NAMES):
                raise self._refuse(f"an odd assignment in the class {node.name}", statement)
            self.visit(statement)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name in _LOADERS or node.decorator_list:
            raise self._refuse(f"the method {node.name}, which runs while it is loaded", node)
        self._functions = _local_functions(node)
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        if node.arg in _ROOTS:
            raise self._refuse(f"another meaning of {node.arg}", node)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        # Alone, these could be kept under another name, whose attributes nobody checks.
        if node.id in _ROOTS:
            raise self._refuse(f"{node.id} without what is taken of it", node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, _CONSTANTS):
            raise self._refuse(f"the constant {node.value!r:.60}", node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = _chain(node)
        if chain and chain[0] in _ROOTS:
            self._check_global(chain, node)
            return
        self._check_attribute(node.attr, node)
        self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Name(id="getattr"):
                self._check_getattr(node)
            case ast.Name(id=name) if name not in _CALLS | self._functions:
                raise self._refuse(f"a call of {name}", node)
            case ast.Name() | ast.Attribute():
                pass
            case _:
                raise self._refuse("a call of what is no name", node)
        self.generic_visit(node)

    def _check_getattr(self, node: ast.Call) -> None:
        match node.args:
            case [_, ast.Constant(value=str(name))]:
                self._check_attribute(name, node)
            case _:
                raise self._refuse("getattr without a plain name", node)

    def _check_attribute(self, name: str, node: ast.AST) -> None:
        """Of any other value only what the archive's own classes declare may be taken.

        A tensor would offer each operator of PyTorch as a method: `x.save("file")`.
        """
        if name not in self._names.attributes:
            raise self._refuse(f"the operator or attribute {name}", node)

    def _check_global(self, chain: list[str], node: ast.AST) -> None:
        dotted = ".".join(chain)
        match chain:
            case ["torch", name]:
                allowed = is_computation("aten", name)
            case ["ops", namespace, name]:
                allowed = is_computation(namespace, name)
            case ["CONSTANTS", name]:
                allowed = name.startswith("c") and name[1:].isdecimal()
            case ["__torch__", *_]:
                # PyTorch looks among its built-in classes of C++ first.
                built_in = dotted.startswith("__torch__.torch.classes")
                allowed = not built_in and dotted in self._names.classes | self._names.functions
            case _:
                allowed = False
        if not allowed:
            raise self._refuse(dotted, node)


def _local_functions(definition: ast.FunctionDef) -> set[str]:
    """Local names that stand for functions of the archive, as in `_0 = __torch__.a.f`."""
    functions: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(definition):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Attribute() as value):
                (functions if _chain(value)[:1] == ["__torch__"] else others).add(name)
            case ast.Assign(targets=targets):
                others.update(
                    inner.id
                    for target in targets
                    for inner in ast.walk(target)
                    if isinstance(inner, ast.Name)
                )
            case ast.arg(arg=name) | ast.For(target=ast.Name(id=name)):
                others.add(name)
            case _:
                pass
    return functions - others


def _chain(node: ast.Attribute) -> list[str]:
    """["torch", "add"] for torch.add; empty for an attribute of anything but a name."""
    names: list[str] = []
    inner: ast.expr = node
    while isinstance(inner, ast.Attribute):
        names.append(inner.attr)
        inner = inner.value
    return [inner.id, *reversed(names)] if isinstance(inner, ast.Name) else []
