"""Weight norm and spectral norm in a checkpoint, folded into plain weights.

Both are ways to train: `X.weight_g`, `X.weight_v` (Salimans and Kingma 2016, arXiv 1602.07868)
stand for one weight g * v / |v|, with |v| taken over each output channel; `X.weight_orig`,
`X.weight_u`, `X.weight_v` (Miyato et al. 2018, arXiv 1802.05957) for orig / (u . W v), W being
orig as a matrix of one row per output channel. Folded once, they cost nothing per tile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from attachtrans.errors import ModelError


def fold_norms(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with every normed weight as `X.weight`; all other entries as they are.

    Raises:
        ModelError: a part of a normed weight is missing or of a shape that does not fit.
    """
    folded = dict(state)
    parts: tuple[str, ...]
    for name in state:
        stem, _, part = name.rpartition("weight_")
        if part == "g":
            parts, fold = ("g", "v"), _of_weight_norm
        elif part == "orig":
            parts, fold = ("orig", "u", "v"), _of_spectral_norm
        else:
            continue
        try:
            tensors = [folded.pop(f"{stem}weight_{each}") for each in parts]
            folded[f"{stem}weight"] = fold(tensors)
        except (KeyError, RuntimeError, IndexError) as error:
            raise ModelError(
                f"The weights hold {name}, but not {' and '.join(parts[1:])} of it in shapes that "
                f"belong together: {error!s:.200}"
            ) from error
    return folded


def _of_weight_norm(parts: Sequence[Tensor]) -> Tensor:
    """(out, 1, ...) and (out, in, ...) -> (out, in, ...)."""
    g, v = parts
    length = torch.linalg.vector_norm(v.flatten(1), dim=1)
    weight: Tensor = v * (g / length.reshape(g.shape))
    return weight


def _of_spectral_norm(parts: Sequence[Tensor]) -> Tensor:
    """(out, in, ...), (out), (in * ...) -> (out, in, ...)."""
    original, u, v = parts
    return original / u.dot(original.flatten(1).mv(v))
