"""What torch's functions are as local operations; handlers have the functions' own signatures.

What is not listed at the end is not known to be local.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from attachtrans.models.kernels import (
    Convolution,
    Enlargement,
    Padding,
    Pair,
    Pooling,
    Sliding,
    TransposedConvolution,
)
from attachtrans.models.local import GlobalMean, Normalisation, Pointwise, Slot
from attachtrans.models.tracing import Layers, Traced, UntraceableError


def _pointwise(function: Callable[..., Tensor], args: Sequence[Any], kwargs: Any = None) -> Traced:
    """A function whose result at a place depends on that place, whatever its arguments."""
    inputs: list[Traced] = []
    channels = 1
    words: list[str] = []

    def slotted(argument: Any) -> Any:
        nonlocal channels
        if isinstance(argument, Traced):
            inputs.append(argument)
            channels = max(channels, argument.shape[1])
            words.append(f"<{len(inputs) - 1}>")
            return Slot(len(inputs) - 1)
        if isinstance(argument, Tensor):
            if argument.numel() > 1:
                if argument.ndim < 3 or argument.shape[-2:] != (1, 1) or argument.ndim > 4:
                    raise UntraceableError("adds or multiplies values that belong to places")
                channels = max(channels, argument.shape[-3])
            words.append("tensor")
            return argument
        words.append(repr(argument))
        return argument

    arguments = tuple(slotted(argument) for argument in args)
    keywords = {name: slotted(value) for name, value in (kwargs or {}).items()}
    if any(isinstance(value, Slot) for value in keywords.values()):
        raise UntraceableError("names its input")
    operation = Pointwise(
        label=f"{function.__name__}({', '.join(words)})",
        channels=channels,
        function=function,
        arguments=arguments,
        keywords=keywords,
    )
    return inputs[0].recorder.add(operation, *inputs)


def _elementwise(function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Traced:
    return _pointwise(function, args, kwargs)


def _activation(
    function: Callable[..., Tensor], x: Traced, *args: Any, inplace: bool = False, **kwargs: Any
) -> Traced:
    """One that can be done in place."""
    return (
        _moved(x, _pointwise(function, (x, *args), kwargs))
        if inplace
        else _pointwise(function, (x, *args), kwargs)
    )


def _prelu(x: Traced, weight: Tensor) -> Traced:
    operation = Pointwise(
        label="prelu", channels=x.shape[1], function=functional.prelu, arguments=(Slot(0), weight)
    )
    return x.recorder.add(operation, x)


def _moved(x: Traced, result: Traced) -> Traced:
    """`x` itself, which holds the result from now on."""
    if x.shared:
        raise UntraceableError("changes a part of a value in place")
    x.number = result.number
    return x


def _unchanged(x: Traced, *args: Any, **kwargs: Any) -> Traced:
    del args, kwargs
    return x


def _dropout(
    x: Traced,
    p: float = 0.5,
    training: bool = True,  # noqa: FBT001, FBT002 (torch's)
    inplace: bool = False,  # noqa: FBT001, FBT002 (torch's)
) -> Traced:
    del p, inplace
    if training:
        raise UntraceableError("draws at random (dropout in training mode)")
    return x


def _joined(tensors: Sequence[Any], dim: int = 0) -> Traced:
    values = [value for value in tensors if isinstance(value, Traced)]
    if dim not in (1, -3) or len(values) != len(tensors):
        raise UntraceableError("joins values along rows or columns, or with constants")
    operation = Pointwise(
        label="cat",
        channels=sum(value.shape[1] for value in values),
        function=torch.cat,
        arguments=([Slot(number) for number in range(len(values))], 1),
    )
    return values[0].recorder.add(operation, *values)


def _item(x: Traced, index: Any) -> Traced:
    index = index if isinstance(index, tuple) else (index,)
    if len(index) != 2 or index[0] != slice(None) or not isinstance(index[1], slice):
        raise UntraceableError("takes a part of the image apart")
    picked = range(x.shape[1])[index[1]]
    operation = Pointwise(
        label=f"channels {picked}",
        channels=len(picked),
        function=operator.getitem,
        arguments=(Slot(0), index),
    )
    x.shared = True
    result = x.recorder.add(operation, x)
    result.shared = True
    return result


def _selected(x: Traced, dim: int, index: Tensor) -> Traced:
    if dim not in (1, -3):
        raise UntraceableError("picks rows or columns")
    operation = Pointwise(
        label=f"channels {index.tolist()}",
        channels=len(index),
        function=torch.index_select,
        arguments=(Slot(0), 1, index),
    )
    return x.recorder.add(operation, x)


def _convolution(
    x: Traced,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Traced:
    kernel, dilations = _pair(tuple(weight.shape[2:])), _pair(dilation)
    if padding == "same":
        rows, cols = (d * (k - 1) for k, d in zip(kernel, dilations, strict=True))
        x = _padded(x, [cols // 2, cols - cols // 2, rows // 2, rows - rows // 2])
    padding = 0 if isinstance(padding, str) else padding
    sliding = Sliding(
        kernel=kernel, stride=_pair(stride), padding=_pair(padding), dilation=dilations
    )
    operation = Convolution(sliding=sliding, groups=groups, weight=weight, bias=bias)
    return x.recorder.add(operation, x)


def _transposed(  # noqa: PLR0913, PLR0917 (torch's)
    x: Traced,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Traced:
    sliding = Sliding(
        kernel=_pair(tuple(weight.shape[2:])),
        stride=_pair(stride),
        padding=_pair(padding),
        dilation=_pair(dilation),
    )
    operation = TransposedConvolution(
        sliding=sliding,
        output_padding=_pair(output_padding),
        groups=groups,
        weight=weight,
        bias=bias,
    )
    return x.recorder.add(operation, x)


def _padded(
    x: Traced, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Traced:
    sides = (*pad, *(0,) * (4 - len(pad)))
    modes = ("constant", "reflect", "replicate")
    if len(sides) != 4 or mode not in modes or (mode != "constant" and min(sides) < 0):
        raise UntraceableError(f"pads by {tuple(pad)} ({mode})")
    operation = Padding(
        rows=(sides[2], sides[3]), cols=(sides[0], sides[1]), mode=mode, fill=value or 0.0
    )
    return x.recorder.add(operation, x)


def _averaged(
    x: Traced,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,  # noqa: FBT001, FBT002 (torch's)
    count_include_pad: bool = True,  # noqa: FBT001, FBT002 (torch's)
    divisor_override: int | None = None,
) -> Traced:
    if ceil_mode or divisor_override is not None:
        raise UntraceableError("uses avg_pool2d with ceil_mode or divisor_override")
    sliding = Sliding(
        kernel=_pair(kernel_size), stride=_pair(stride or kernel_size), padding=_pair(padding)
    )
    operation = Pooling(sliding=sliding, largest=False, count_padding=count_include_pad)
    return x.recorder.add(operation, x)


def _largest(
    x: Traced,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,  # noqa: FBT001, FBT002 (torch's)
    return_indices: bool = False,  # noqa: FBT001, FBT002 (torch's)
) -> Traced:
    if ceil_mode or return_indices or _pair(dilation) != (1, 1):
        raise UntraceableError("uses max_pool2d with ceil_mode, indices or dilation")
    sliding = Sliding(
        kernel=_pair(kernel_size), stride=_pair(stride or kernel_size), padding=_pair(padding)
    )
    return x.recorder.add(Pooling(sliding=sliding, largest=True), x)


def _mean(x: Traced, dim: Any = None, keepdim: bool = False) -> Traced:  # noqa: FBT001, FBT002 (torch's)
    axes = {axis % 4 for axis in (dim if isinstance(dim, (tuple, list)) else ())}
    if axes != {2, 3} or not keepdim:
        raise UntraceableError("takes means other than of each channel over the image")
    return x.recorder.add(GlobalMean(), x)


def _pooled(x: Traced, output_size: Any) -> Traced:
    if _pair(output_size) != (1, 1):
        raise UntraceableError("pools the image to a fixed number of pixels")
    return x.recorder.add(GlobalMean(), x)


def _resized(
    x: Traced,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,  # noqa: FBT001 (torch's)
    recompute_scale_factor: bool | None = None,  # noqa: FBT001 (torch's)
    antialias: bool = False,  # noqa: FBT001, FBT002 (torch's)
) -> Traced:
    del align_corners, recompute_scale_factor, antialias
    factors = scale_factor if isinstance(scale_factor, tuple) else (scale_factor, scale_factor)
    if size is not None or mode != "nearest" or any(f is None or f % 1 or f < 1 for f in factors):
        raise UntraceableError(f"resizes ({mode}) to {size or scale_factor}")
    factor = _pair(tuple(int(f) for f in factors))
    return x.recorder.add(Enlargement(factor=factor, shuffle=False), x)


def _shuffled(x: Traced, upscale_factor: int) -> Traced:
    return x.recorder.add(Enlargement(factor=_pair(upscale_factor), shuffle=True), x)


def _instance_norm(  # noqa: PLR0913, PLR0917 (torch's)
    x: Traced,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,  # noqa: FBT001, FBT002 (torch's)
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Traced:
    return _batch_norm(x, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def _batch_norm(  # noqa: PLR0913, PLR0917 (torch's)
    x: Traced,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,  # noqa: FBT001, FBT002 (torch's)
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Traced:
    """By its own statistics in evaluation, else by those of the image, as a batch of one."""
    del momentum
    if training:
        operation = Normalisation(groups=None, epsilon=eps, weight=weight, bias=bias)
        return x.recorder.add(operation, x)
    fixed = Pointwise(
        label=f"batch_norm {eps}",
        channels=x.shape[1],
        function=functional.batch_norm,
        arguments=(Slot(0), running_mean, running_var, weight, bias, False, 0.0, eps),
    )
    return x.recorder.add(fixed, x)


def _group_norm(
    x: Traced,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Traced:
    operation = Normalisation(groups=num_groups, epsilon=eps, weight=weight, bias=bias)
    return x.recorder.add(operation, x)


def _pair(value: Any) -> Pair:
    rows, cols = (value, value) if isinstance(value, int) else value
    return int(rows), int(cols)


def _bound(handler: Callable[..., Traced], function: Callable[..., Any]) -> Callable[..., Traced]:
    return lambda *args, **kwargs: handler(function, *args, **kwargs)


LAYERS: Layers = {
    functional.conv2d: _convolution,
    functional.conv_transpose2d: _transposed,
    functional.pad: _padded,
    functional.avg_pool2d: _averaged,
    functional.max_pool2d: _largest,
    functional.adaptive_avg_pool2d: _pooled,
    functional.interpolate: _resized,
    functional.pixel_shuffle: _shuffled,
    functional.instance_norm: _instance_norm,
    functional.batch_norm: _batch_norm,
    functional.group_norm: _group_norm,
    functional.prelu: _prelu,
    functional.dropout: _dropout,
    functional.dropout2d: _dropout,
    torch.cat: _joined,
    torch.mean: _mean,
    Tensor.mean: _mean,
    torch.index_select: _selected,
    Tensor.index_select: _selected,
    Tensor.__getitem__: _item,
    Tensor.float: _unchanged,
    Tensor.contiguous: _unchanged,
    Tensor.__iadd__: lambda x, other: _moved(x, _elementwise(torch.add, x, other)),
    **{
        function: _bound(_activation, function)
        for function in (
            functional.relu,
            functional.leaky_relu,
            functional.elu,
            functional.silu,
            functional.relu6,
            functional.hardtanh,
        )
    },
    **{
        function: _bound(_elementwise, function)
        for function in (
            *(torch.relu, torch.tanh, torch.sigmoid, torch.clamp, torch.add, torch.sub, torch.mul),
            *(Tensor.tanh, Tensor.sigmoid, Tensor.clamp, Tensor.__add__, Tensor.__radd__),
            *(Tensor.__sub__, Tensor.__rsub__, Tensor.__mul__, Tensor.__rmul__, Tensor.__neg__),
            *(Tensor.__truediv__, Tensor.__rtruediv__, functional.gelu),
        )
    },
}
