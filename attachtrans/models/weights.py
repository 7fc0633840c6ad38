"""Weights from files, without running any code that is in them.

PyTorch checkpoints are pickles, which can run anything when they are loaded; they are read by
`torch.load(weights_only=True)`, which knows tensors and containers only. safetensors files hold
nothing but tensors (https://github.com/huggingface/safetensors).
"""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.package import MAX_FILE_BYTES, FileRef, check_beginning

_PICKLE = b"\x80"
"""First byte of a bare pickle (protocol 2 and later)."""


class _Unread:
    """Stands where an optimizer's state holds a numpy number, such as a learning rate.

    Nobody needs it, so what numpy would make of the file's bytes is not made.
    """

    def __init__(self, *_args: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


_NUMPY_NUMBERS: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
    (_Unread, name)
    for name in ("numpy.dtype", "numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar")
]


def load_state_dict(file: FileRef) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU.

    A checkpoint that was saved with its optimizer ({"model": ..., "opt": ...}) gives its model.

    Raises:
        UntrustedModelError: the file holds more than tensors and containers.
        ModelError: missing, damaged, too large, or no state dict.
    """
    loaded = load_container(file)
    if set(loaded) == {"model", "opt"} and isinstance(loaded["model"], dict):
        loaded = loaded["model"]
    return tensors_of(loaded, file)


def load_container(file: FileRef) -> dict[object, object]:
    """What a checkpoint holds at its top, on the CPU: tensors by name, or more such containers.

    Raises:
        UntrustedModelError: the file holds more than tensors and containers.
        ModelError: missing, damaged, too large, or nothing by name.
    """
    check_beginning(file)
    content = file.read()
    loaded: object
    if file.suffix == ".safetensors":
        try:
            loaded = load_safetensors(content)
        except SafetensorError as error:
            raise ModelError(f"{file} is not a readable safetensors file: {error}") from error
    else:
        loaded = _load_pickle(content, file)
    if not isinstance(loaded, dict) or not loaded:
        raise ModelError(f"{file} holds no state dict (tensors by name).")
    return loaded


def tensors_of(container: Mapping[object, object], file: FileRef) -> dict[str, Tensor]:
    """A container of `file` as a state dict: ordinary tensors by name and nothing else.

    Raises:
        ModelError: an entry is something else, or a tensor that claims more than it weighs.
    """
    state = {
        name: value
        for name, value in container.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if len(state) != len(container) or not state:
        odd = next((name for name in container if name not in state), None)
        raise ModelError(f"{file} is no state dict: the entry {odd!r:.60} is not a tensor.")
    return _sound(state, file)


def part_of(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }


def shape_of(state: Mapping[str, Tensor], name: str, *, dimensions: int) -> tuple[int, ...]:
    """The shape of a tensor from which the size of a net is read.

    Raises:
        ModelError: it is missing, has another number of dimensions, or is empty.
    """
    tensor = state.get(name)
    if tensor is None or tensor.ndim != dimensions or not tensor.numel():
        found = "is missing" if tensor is None else f"has the shape {tuple(tensor.shape)}"
        raise ModelError(
            f"{name} {found} in the weights: they are not of this type of net, or damaged."
        )
    return tuple(tensor.shape)


def fill(module: nn.Module, state: dict[str, Tensor], *, what: str) -> nn.Module:
    """Put `state` into `module`, all of it and nothing else; float32, frozen, evaluation mode.

    `module` may be on the meta device: it then takes the tensors of `state` as they are.

    Raises:
        ModelError: names or shapes do not fit; `what` names the weights in the message.
    """
    for name, own in module.state_dict().items():
        tensor = state.get(name, own)
        if own.is_floating_point() and not tensor.is_floating_point():
            raise ModelError(f"{what} do not fit the net: {name} holds {tensor.dtype}, not floats.")
    try:
        # Copying keeps the memory format that a net chose for its weights; meta has no memory.
        on_meta = any(parameter.is_meta for parameter in module.parameters())
        module.load_state_dict(state, strict=True, assign=on_meta)
    except RuntimeError as error:
        raise ModelError(f"{what} do not fit the net: {str(error)[:600]}") from error
    return module.float().eval().requires_grad_(requires_grad=False)


def check_zip_size(content: bytes, file: FileRef) -> None:
    """Refuse a PyTorch archive whose entries would unpack to more than is ever read.

    Raises:
        ModelError: they would, or the archive is damaged.
    """
    stream = io.BytesIO(content)
    if not zipfile.is_zipfile(stream):
        return
    try:
        with zipfile.ZipFile(stream) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, ValueError) as error:
        raise ModelError(f"{file} is damaged: {error}") from error
    if unpacked > MAX_FILE_BYTES:
        raise ModelError(
            f"{file} would unpack to {unpacked} bytes, more than {MAX_FILE_BYTES}: refused."
        )


def _sound(state: dict[str, Tensor], file: FileRef) -> dict[str, Tensor]:
    """Refuse tensors that are not what they weigh: views of one number that claim terabytes."""
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise ModelError(
                f"{file}: the entry {name!r:.60} is not an ordinary tensor of numbers."
            )
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if claimed > MAX_FILE_BYTES:
        raise ModelError(
            f"{file} claims {claimed} bytes of weights, more than {MAX_FILE_BYTES}: refused."
        )
    return state


def _load_pickle(content: bytes, file: FileRef) -> object:
    check_zip_size(content, file)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_NUMPY_NUMBERS):
            # Warnings about old pickle protocols help nobody: such files load or raise.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch names what it refused, e.g. "Unsupported global: GLOBAL os.system ...", or, for
        # other protocols than its own, only the number of the instruction.
        refused = [line.strip() for line in str(error).splitlines() if "nsupported" in line]
        if refused and (content[:1] == _PICKLE or "operand" not in refused[0]):
            raise UntrustedModelError(
                f"{file} holds more than weights, and loading it would run code: refused "
                f"({refused[0]:.200}). Save the model's state dict instead."
            ) from error
        raise ModelError(f"{file} is not a readable PyTorch checkpoint: {error}") from error
    except (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(f"{file} is not a readable PyTorch checkpoint: {error!s:.300}") from error
