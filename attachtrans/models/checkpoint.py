"""Checkpoints as people share them: a state dict, often inside another dictionary.

Training programs save their nets beside optimizers and notes, under names that have become custom
("params_ema" of BasicSR, "state_dict" of PyTorch Lightning), and with prefixes that wrappers left
behind ("module." of DataParallel, "_orig_mod." of torch.compile).
"""

from __future__ import annotations

from torch import Tensor

from attachtrans.errors import ModelError
from attachtrans.models.package import FileRef
from attachtrans.models.weights import load_container, tensors_of

_PLACES = (
    "params_ema",
    "params-ema",
    "params",
    "model_state_dict",
    "state_dict",
    "g_ema",
    "netG",
    "generator",
    "model",
    "net",
)
"""Where a state dict lies in a checkpoint; averaged weights are better than the last ones."""

_MAX_NESTING = 4
_PREFIXES = ("module.", "_orig_mod.", "netG.", "generator.")


def read_checkpoint(file: FileRef) -> dict[str, Tensor]:
    """The tensors of the net in a checkpoint by name, without prefixes that all of them share.

    Raises:
        UntrustedModelError: the file holds more than tensors and containers.
        ModelError: missing, damaged, too large, or no net of a known name in it.
    """
    container = load_container(file)
    for _ in range(_MAX_NESTING):
        container = _inner(container) or container
    nested = [str(name) for name, entry in container.items() if isinstance(entry, dict)]
    if nested:
        raise ModelError(
            f"{file} holds {len(nested)} dictionaries ({', '.join(nested)[:100]}), none under a "
            "name that is known to be the net: save the state dict of the net alone."
        )
    return _without_prefixes(tensors_of(container, file))


def _inner(container: dict[object, object]) -> dict[object, object] | None:
    """The dictionary that holds the net; None where that is `container` itself."""
    for place in _PLACES:
        entry = container.get(place)
        if isinstance(entry, dict) and entry:
            return entry
    if len(container) == 1:
        entry = next(iter(container.values()))
        return entry if isinstance(entry, dict) and entry else None
    return None


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    while shared := next((p for p in _PREFIXES if all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(shared): state[name] for name in state}
    return state
