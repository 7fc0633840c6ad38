"""The ranges of a net's values: as given, as its type has them, or as they show on a photo."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from attachtrans.errors import ModelError
from attachtrans.models.definition import ModelDefinition
from attachtrans.tool.wrap_sample import Pixels, as_rgb8, save_preview
from attachtrans.tool.wrap_wish import Wish

if TYPE_CHECKING:
    from torch import Tensor

    from attachtrans.models.guess import Candidate, Guess, Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """The ranges of a net's values, and how they are known.

    in_range, out_range     (low, high) or "raw"
    source  "given" by the user, fixed by the "type", or "tried" on the sample
    """

    in_range: Limits | Literal["raw"]
    out_range: Limits | Literal["raw"]
    source: Literal["given", "type", "tried"]
    reason: str


def find_ranges(wish: Wish, keys: Mapping[str, Any], sample: Pixels) -> Ranges:
    """The ranges of the net in a file.

    Args:
        wish: what the user knows.
        keys: the keys of the definition that are known; they hold ranges when the type has them.
        sample: the photo to try the net on.

    Raises:
        ModelError: they could not be told, or the net does not run; the message says what to state.
    """
    in_range, out_range = wish.in_range, wish.out_range
    if "InputRange" in keys:
        given = in_range is not None or out_range is not None
        return Ranges(
            in_range=in_range or _limits(keys["InputRange"]),
            out_range=out_range or _limits(keys["OutputRange"]),
            source="given" if given else "type",
            reason="as you say" if given else f"those of every {keys['ModelType']}",
        )
    if in_range is not None and out_range is not None:
        return Ranges(in_range=in_range, out_range=out_range, source="given", reason="as you say")
    guess = _guess(wish, keys, sample)
    best = guess.best
    if best is None or not guess.recognisable:
        raise ModelError(_nothing(wish, guess))
    if not guess.certain:
        raise ModelError(_ambiguous(wish, guess))
    return Ranges(
        in_range=best.in_range,
        out_range=best.out_range,
        source="tried",
        reason=_reason(guess, best),
    )


def _guess(wish: Wish, keys: Mapping[str, Any], sample: Pixels) -> Guess:
    import torch

    from attachtrans.models.guess import STANDARD, guess_ranges
    from attachtrans.models.load import load_model

    # Nothing is mapped and no reach is measured: the net is to be seen as it is.
    plain = {
        "ReceptiveField": "global",
        **keys,
        "ModelFile": str(wish.weights.absolute()),
        "InputRange": "raw",
        "OutputRange": "raw",
    }
    net = load_model(ModelDefinition.read(json.dumps(plain)), device="cpu", precision="fp32")
    given_in, given_out = wish.in_range, wish.out_range
    return guess_ranges(
        net,
        torch.from_numpy(sample).float() / 255,
        in_ranges=STANDARD if given_in is None or given_in == "raw" else (given_in,),
        out_ranges=None if given_out is None or given_out == "raw" else (given_out,),
    )


def _reason(guess: Guess, best: Candidate) -> str:
    if guess.bounded is not None:
        low, high = guess.bounds
        bounds = f"the net never leaves {low:.4g}..{high:.4g}, and "
    else:
        bounds = ""
    alike = ""
    if guess.alike:
        others = ", ".join(_pair(one) for one in guess.alike)
        levels = max(one.differs_by(best) for one in guess.alike) * 255
        alike = f" ({others} would change the result by {levels:.1f} of 255 levels)"
    return f"{bounds}the sample is recognised (score {best.score:.2f}, 0 = unchanged){alike}"


def _ambiguous(wish: Wish, guess: Guess) -> str:
    shown = [one for one in (guess.best, *guess.rivals[:3]) if one is not None]
    where = "look at them (--preview FILE.png)"
    if wish.preview is not None:
        panels = [("before", as_rgb8(_levels(guess.sample.reference)))]
        panels += [(_pair(one), as_rgb8(_levels(one.picture))) for one in shown]
        save_preview(wish.preview, panels)
        where = f"look at {wish.preview}"
    return (
        f"{wish.weights}: which values the net takes and gives is ambiguous: "
        f"{' or '.join(f'{_pair(one)} (score {one.score:.2f})' for one in shown)} give pictures "
        f"that may be meant. Nothing was written: {where}, try a photo of your own (--sample), or "
        "say which it is, for example --input-range 0,1 --output-range 0,1."
    )


def _nothing(wish: Wish, guess: Guess) -> str:
    best = guess.best
    tried = "no finite values" if best is None else f"best {_pair(best)}, score {best.score:.2f}"
    return (
        f"{wish.weights}: the sample is not recognised in what the net makes of it ({tried}), so "
        "its ranges cannot be told, and it may be no net that translates pictures. If it is one, "
        "state --input-range and --output-range (LOW,HIGH, or raw for values that are no pixels)."
    )


def _levels(picture: Tensor) -> Pixels:
    return np.asarray((picture * 255 + 0.5).numpy(), np.uint8)


def _pair(candidate: Candidate) -> str:
    return f"{in_words(candidate.in_range)} -> {in_words(candidate.out_range)}"


def in_words(limits: Limits | Literal["raw"]) -> str:
    """A range for people to read."""
    return "raw" if limits == "raw" else f"{limits[0]:g}..{limits[1]:g}"


def _limits(value: object) -> Limits | Literal["raw"]:
    if isinstance(value, list) and len(value) == 2:
        return float(value[0]), float(value[1])
    return "raw"
