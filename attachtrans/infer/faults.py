"""What went wrong with one image, in words that help."""

from __future__ import annotations

import torch

from attachtrans.errors import AttachtransError, InferenceError, NoMemoryError


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: devices have a type for it, torch's CPU allocator only says so."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "not enough memory" in text or "can't allocate memory" in text
    )


def failure(error: Exception) -> InferenceError:
    """The error to report for an image on which the net raised `error`, which is its cause."""
    if isinstance(error, InferenceError):
        return error
    if out_of_memory(error):
        result: InferenceError = NoMemoryError(
            f"out of memory, with small tiles too ({error}): try --device cpu"
        )
    elif isinstance(error, AttachtransError):
        result = InferenceError(str(error))
    else:
        result = InferenceError(f"the net failed: {type(error).__name__}: {error}")
    result.__cause__ = error
    return result


def not_finite(precision: str) -> InferenceError:
    """The error for a result that holds NaN or infinite values."""
    if precision == "fp32":
        advice = "the photo holds such values, or the model's statistics are wrong"
    else:
        advice = f"it ran in {precision}: try --precision fp32"
    return InferenceError(f"the net gave NaN or infinite values ({advice})")
