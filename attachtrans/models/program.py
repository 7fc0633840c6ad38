"""The graph of an exported program, turned into steps that are run one after the other.

The graph is a list of calls of PyTorch operators on named values. Each operator must be listed in
`attachtrans.models.operators`; sizes that were symbols when the net was exported are plain numbers
here, because the steps run on real tensors. Shapes and guards that the file states are not used.

Format: torch/_export/serde/schema.py.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.exportedfile import dtype_of
from attachtrans.models.operators import is_computation

_MAX_STEPS = 200_000
_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_KEYWORD = 2
_NUMBERS: dict[str, Callable[..., object]] = {
    **{
        f"_operator.{name}": getattr(operator, name)
        for name in (
            *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "neg", "pos"),
            *("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_", "getitem"),
        )
    },
    **{f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "trunc", "sqrt")},
    "torch.sym_float": float,
    "torch.sym_int": int,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_not": operator.not_,
}
"""What is computed of sizes."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value that an earlier step made."""

    name: str


class _HereType:
    """Stands for the device that the net runs on."""


_HERE = _HereType()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call.

    operator    the operator's name, for messages
    outputs     where the parts of the result go: a name, a list of names, or None for nowhere
    unused      names of values that no later step reads
    """

    operator: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[str | list[str | None] | None, ...]
    unused: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Steps from the named inputs to the named results."""

    steps: tuple[Step, ...]
    results: tuple[str, ...]

    def run(self, values: dict[str, Any], device: torch.device) -> list[Any]:
        """The results for the inputs `values`, which are dropped as soon as nothing needs them."""
        for step in self.steps:
            args = [_resolve(arg, values, device) for arg in step.args]
            kwargs = {key: _resolve(arg, values, device) for key, arg in step.kwargs.items()}
            result = step.function(*args, **kwargs)
            parts = result if len(step.outputs) > 1 else [result][: len(step.outputs)]
            for name, part in zip(step.outputs, parts, strict=True):
                _bind(name, part, values)
            for name in step.unused:
                values.pop(name, None)
        return [values[name] for name in self.results]


def read_program(
    graph: Mapping[str, Any], results: Sequence[str], fixed: frozenset[str]
) -> Program:
    """The steps of a graph.

    Args:
        graph: its JSON object.
        results: names of the values that are wanted.
        fixed: names of the inputs that are weights, which no step may change.

    Raises:
        UntrustedModelError: an operator does more than compute.
        ModelError: the graph is damaged, or holds what is not supported.
    """
    nodes = graph["nodes"]
    if len(nodes) > _MAX_STEPS:
        raise ModelError(f"The exported program has {len(nodes)} steps, more than {_MAX_STEPS}.")
    needed = set(results) | fixed
    steps: list[Step] = []
    for node in reversed(nodes):
        step = _step(node, fixed)
        read = set(_names((step.args, tuple(step.kwargs.values()))))
        written = {name for out in step.outputs for name in _flat(out)}
        last = (read | written) - needed
        needed |= read
        steps.append(dataclasses.replace(step, unused=tuple(sorted(last))))
    return Program(steps=tuple(reversed(steps)), results=tuple(results))


def _step(node: Mapping[str, Any], fixed: frozenset[str]) -> Step:
    target = node["target"]
    function = _function(target)
    args = tuple(_argument(entry["arg"]) for entry in node["inputs"] if not _is_keyword(entry))
    kwargs = {e["name"]: _argument(e["arg"]) for e in node["inputs"] if _is_keyword(e)}
    changed = args[0] if args else kwargs.get("self")
    in_place = target.removeprefix("torch.ops.aten.").partition(".")[0].endswith("_")
    if in_place and isinstance(changed, Value) and changed.name in fixed:
        raise ModelError(
            f"The exported program changes its own weights ({target}): call .eval() of the net "
            "before torch.export.export."
        )
    return Step(
        operator=target,
        function=function,
        args=args,
        kwargs=kwargs,
        outputs=tuple(_output(entry) for entry in node["outputs"]),
        unused=(),
    )


def _is_keyword(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("kind") == _KEYWORD)


def _function(target: str) -> Callable[..., Any]:
    if target in _NUMBERS:
        return _NUMBERS[target]
    match target.split("."):
        case ["torch", "ops", "aten", name, overload] if is_computation("aten", name):
            packet = getattr(torch.ops.aten, name, None)
            if packet is not None and overload in packet.overloads():
                function: Callable[..., Any] = getattr(packet, overload)
                return function
            raise ModelError(f"This PyTorch has no operator {target}: it is too old, or too new.")
        case _:
            raise UntrustedModelError(
                f"The exported program uses the operator {target:.200}, which may do more than "
                "compute: refused."
            )


def _argument(arg: Mapping[str, Any]) -> Any:
    """An argument as it is, or the values that stand in its place."""
    ((kind, value),) = arg.items()
    reader = _READERS.get(kind)
    if reader is None:
        raise ModelError(f"The exported program has the argument {kind:.60}, which is not run.")
    return reader(value)


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ModelError(f"The exported program has {value!r:.60} in the place of {kind.__name__}.")
    return value


def _float(value: Any) -> float:
    if value in ("Infinity", "-Infinity", "NaN"):
        return float(value)
    if type(value) not in (int, float):
        raise ModelError(f"The exported program has {value!r:.60} in the place of a number.")
    return float(value)


def _symbol(value: Mapping[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    if kind == "as_name":
        return Value(_typed(inner, str))
    return _argument({kind: inner})


def _value(value: Mapping[str, Any]) -> Value:
    return Value(_typed(value["name"], str))


def _known(table: Mapping[int, Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not int or value not in table:
            raise ModelError(f"The exported program has the unknown layout {value!r:.60}.")
        return table[value]

    return read


def _each(reader: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    return lambda entries: [reader(entry) for entry in _typed(entries, list)]


def _plain(kind: type) -> Callable[[Any], Any]:
    return lambda value: _typed(value, kind)


_READERS: dict[str, Callable[[Any], Any]] = {
    "as_none": lambda _: None,
    "as_int": _plain(int),
    "as_ints": _each(_plain(int)),
    "as_bool": _plain(bool),
    "as_bools": _each(_plain(bool)),
    "as_string": _plain(str),
    "as_float": _float,
    "as_floats": _each(_float),
    "as_tensor": _value,
    "as_tensors": _each(_value),
    "as_optional_tensor": _argument,
    "as_optional_tensors": _each(_argument),
    "as_sym_int": _symbol,
    "as_sym_ints": _each(_symbol),
    "as_sym_float": _symbol,
    "as_sym_floats": _each(_symbol),
    "as_sym_bool": _symbol,
    "as_sym_bools": _each(_symbol),
    "as_scalar_type": dtype_of,
    "as_memory_format": _known(_MEMORY_FORMATS),
    "as_layout": _known({7: torch.strided}),
    "as_device": lambda _: _HERE,
}


def _output(entry: Mapping[str, Any]) -> str | list[str | None] | None:
    """Names for the parts of a result."""
    out = _argument(entry)
    if isinstance(out, Value):
        return out.name
    if isinstance(out, list):
        return [part.name if isinstance(part, Value) else None for part in out]
    return None


def _flat(out: str | list[str | None] | None) -> Iterator[str]:
    names = out if isinstance(out, list) else [out]
    yield from (name for name in names if name is not None)


def _names(args: Any) -> Iterator[str]:
    if isinstance(args, Value):
        yield args.name
    elif isinstance(args, list | tuple):
        for arg in args:
            yield from _names(arg)


def _resolve(arg: Any, values: Mapping[str, Any], device: torch.device) -> Any:
    if isinstance(arg, Value):
        return values[arg.name]
    if isinstance(arg, list):
        return [_resolve(entry, values, device) for entry in arg]
    return device if arg is _HERE else arg


def _bind(name: str | list[str | None] | None, part: Any, values: dict[str, Any]) -> None:
    if isinstance(name, str):
        values[name] = part
    elif name is not None:
        for inner, entry in zip(name, part, strict=True):
            _bind(inner, entry, values)
