"""A net as a graph of local operations: its forward pass is followed by a stand-in for the image.

The stand-in (`Traced`) takes part in torch's functions in place of a tensor (`__torch_function__`)
and notes what is done to it. Only what is known to be local, or local but for moments, is taken:
anything else, and any look at values, ends the attempt with a reason. Two image sizes must give the
same graph, so that no size is built into it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

import torch
from torch import Tensor, nn

from attachtrans.errors import AttachtransError
from attachtrans.models.local import Operation, Pointwise, Slot
from attachtrans.models.translator import Shape
from attachtrans.types import Size


class UntraceableError(AttachtransError):
    """A net does what no local operation can do; the message is a clause."""


@dataclass(frozen=True, slots=True)
class Node:
    """An operation and the numbers of its inputs: 0 is the image, n the nth node's output."""

    operation: Operation
    inputs: tuple[int, ...]


Graph = tuple[Node, ...]
"""In the order of computation; the last node gives the result."""

Layers = Mapping[Callable[..., Any], Callable[..., "Traced"]]
"""What notes a function of torch, called as that is, with stand-ins among its arguments."""


def trace(
    module: nn.Module, bands: int, sizes: tuple[Size, Size], layers: Layers
) -> tuple[Graph, Shape]:
    """The graph of a net, and the shape of its result for the first of two sizes that it takes.

    Raises:
        UntraceableError: the net has no such graph.
    """
    graphs = []
    for size in sizes:
        recorder = Recorder(Shape(bands, size.height, size.width), layers)
        graphs.append((recorder.follow(module), recorder.shapes[-1]))
    if graphs[0][0] != graphs[1][0]:
        raise UntraceableError("it does something else at every image size")
    return graphs[0]


def place_by_place(
    function: Callable[[Tensor], Tensor], x: Tensor | Traced, *, channels: int, label: str
) -> Tensor:
    """`function(x)`, promised to give `channels` values at each place from those of x there only.

    For functions that look at values, which cannot be followed.
    """
    if isinstance(x, Traced):
        operation = Pointwise(
            label=label, channels=channels, function=function, arguments=(Slot(0),)
        )
        return cast("Tensor", x.recorder.add(operation, x))
    return function(x)


class Traced:
    """Stands for a value of the net while its forward pass is followed.

    number  of the value; what is done in place moves it on
    shared  other stand-ins show the same memory, so that nothing may be done in place
    """

    def __init__(self, recorder: Recorder, number: int) -> None:
        self.recorder = recorder
        self.number = number
        self.shared = False

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        named = kwargs or {}
        x = _stand_in([*args, *named.values()])
        if x is None or function not in x.recorder.layers:
            name = getattr(function, "__name__", function)
            raise UntraceableError(f"uses {name}, which is not known to look at few pixels only")
        return x.recorder.layers[function](*args, **named)

    @property
    def shape(self) -> torch.Size:
        """(1, channels, height, width)."""
        return torch.Size((1, *self.recorder.shapes[self.number]))

    def size(self, dim: int | None = None) -> Any:
        """As of a tensor."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """As of a tensor."""
        return 4

    def __bool__(self) -> bool:
        raise UntraceableError("decides by the values it sees")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(Tensor, name, None)
        if not callable(method):
            raise UntraceableError(f"asks for {name}")
        return lambda *args, **kwargs: self.__torch_function__(method, (), (self, *args), kwargs)


def _operator(name: str) -> Callable[..., Any]:
    def call(self: Traced, *others: Any) -> Any:
        return self.__torch_function__(getattr(Tensor, name), (), (self, *others))

    return call


for _name in (
    *("__add__", "__radd__", "__iadd__", "__sub__", "__rsub__", "__mul__", "__rmul__"),
    *("__truediv__", "__rtruediv__", "__neg__", "__getitem__"),
):
    setattr(Traced, _name, _operator(_name))


class Recorder:
    """The nodes so far, and the shape of every value."""

    def __init__(self, image: Shape, layers: Layers) -> None:
        self.layers = layers
        self.nodes: list[Node] = []
        self.shapes = [image]

    @torch.inference_mode()
    def follow(self, module: nn.Module) -> Graph:
        """The graph of a net.

        Raises:
            UntraceableError: it has none.
        """
        try:
            out = module(Traced(self, 0))
        except UntraceableError as error:
            raise UntraceableError(f"{_culprit(error, module)} {error}") from error
        except Exception as error:  # the net's own code, which expects a tensor
            raise UntraceableError(
                f"{_culprit(error, module)} cannot be followed ({type(error).__name__}: {error})"
            ) from error
        if not isinstance(out, Traced) or out.number == 0:
            raise UntraceableError("it does not give one image for one image")
        if out.number != len(self.nodes):
            self._copy(out)  # the result is to be the last
        return tuple(self.nodes)

    def add(self, operation: Operation, *inputs: Traced) -> Traced:
        """Note an operation; gives its result.

        Raises:
            UntraceableError: it does not fit its inputs.
        """
        if operation.takes_moments and inputs[0].number == 0:
            inputs = (self._copy(inputs[0]),)  # moments are taken of what is computed
        numbers = tuple(value.number for value in inputs)
        try:
            shape = operation.shape(*(self.shapes[number] for number in numbers))
        except AttachtransError as error:
            raise UntraceableError(str(error)) from error
        self.nodes.append(Node(operation, numbers))
        self.shapes.append(shape)
        return Traced(self, len(self.nodes))

    def _copy(self, x: Traced) -> Traced:
        channels = self.shapes[x.number].channels
        same = Pointwise(
            label="copy", channels=channels, function=torch.clone, arguments=(Slot(0),)
        )
        return self.add(same, x)


def _stand_in(arguments: Sequence[Any]) -> Traced | None:
    """The first stand-in among the arguments of a function."""
    for argument in arguments:
        found = _stand_in(argument) if isinstance(argument, (list, tuple)) else argument
        if isinstance(found, Traced):
            return found
    return None


def _culprit(error: Exception, module: nn.Module) -> str:
    """The innermost module of the net's own that was at work."""
    name = type(module).__name__
    at: TracebackType | None = error.__traceback__
    while at is not None:
        owner = at.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and not type(owner).__module__.startswith("torch."):
            name = type(owner).__name__
        at = at.tb_next
    return f"its part {name}"
