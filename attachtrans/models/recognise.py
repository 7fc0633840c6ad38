"""What can be told of a model from its file of weights alone, without an .emd.

The type always where it is a type that attachtrans runs; the ranges of its values only for nets
whose authors fixed them. Files that hold their own graph (ONNX, TorchScript, ExportedProgram) are
told by their format; their values may mean anything, which `attachtrans model wrap` tries out.
"""

from __future__ import annotations

import posixpath
import zipfile
from typing import Any

from attachtrans.models.package import FileRef

WEIGHT_SUFFIXES = frozenset({".pt", ".pth", ".pt2", ".onnx", ".safetensors"})
"""Suffixes of files that may be weights, in lower case."""

_GRAPHS = {".onnx": "ONNX", ".pt2": "ExportedProgram"}


def recognise(file: FileRef) -> dict[str, Any] | None:
    """The keys of an .emd that `file` itself answers, None where its net is not known.

    Framework, ModelType and ModelFile (the file's name) always; InputRange and OutputRange where
    the type fixes them; for some types more, as `attachtrans.models.facts` lists them.

    Raises:
        UntrustedModelError: loading the weights would run code.
        ModelError: the weights cannot be read.
    """
    kind = _GRAPHS.get(file.suffix) or ("TorchScript" if _is_torchscript(file) else None)
    if kind is not None:
        return _keys(file, ModelType=kind)
    if file.suffix not in WEIGHT_SUFFIXES:
        return None
    # These load torch, which definitions do without.
    from attachtrans.models import junyanz, upscaler
    from attachtrans.models.checkpoint import read_checkpoint

    state = read_checkpoint(file)
    kind = junyanz.kind_of(state)
    if kind is not None:
        tile = junyanz.trained_tile(state)
        size = {} if tile is None else {"ImageHeight": tile, "ImageWidth": tile}
        return _keys(file, ModelType=kind, InputRange=[-1, 1], OutputRange=[-1, 1], **size)
    if upscaler.architecture_of(state) is not None:
        return _keys(file, ModelType="Upscaler", InputRange=[0, 1], OutputRange=[0, 1])
    return None


def _keys(file: FileRef, **known: object) -> dict[str, Any]:
    return {"Framework": "attachtrans", "ModelFile": file.name, **known}


def _is_torchscript(file: FileRef) -> bool:
    """Whether a PyTorch archive holds code, as TorchScript does and checkpoints do not."""
    if file.suffix not in {".pt", ".pth"}:
        return False
    with file.open() as stream:
        if not zipfile.is_zipfile(stream):
            return False
        try:
            with zipfile.ZipFile(stream) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, OSError, ValueError):
            return False
    return any(posixpath.basename(name) == "constants.pkl" for name in names)
