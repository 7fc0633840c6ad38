"""ONNX files, run by onnxruntime (the extra `attachtrans[onnx]`).

An ONNX graph is made of standard operators, so running one runs no code of the file's own; custom
operators would need a library, and none is loaded. Data files beside the graph are read only from
the model's folder (`attachtrans.models.onnxfile`).
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attachtrans.errors import ModelError
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.facts import read_facts, with_unbounded_reach
from attachtrans.models.module import NO_REFERENCE, Reference, as_float
from attachtrans.models.onnxfile import count_weights, external_files
from attachtrans.models.onnxports import Port, read_port, with_port
from attachtrans.models.package import FileRef
from attachtrans.models.probe import complete_spec
from attachtrans.models.translator import TranslatorSpec

_WARPS = (b"GridSample", b"DeformConv")
_FATAL = 4
"""Log level: probing makes sessions fail on purpose, and real errors are raised anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxTranslator:
    """An ONNX graph as a translator."""

    session: Any
    port: Port
    spec: TranslatorSpec
    device: torch.device
    parameters: int

    def __call__(self, batch: Tensor, positions: Tensor | None = None) -> Tensor:
        """See `Translator`. A uint8 batch is taken as 8-bit pixels, whatever the range."""
        del positions
        values = as_float(batch, self.spec.in_range)
        return _run(self.session, self.port, values)


def build(
    definition: ModelDefinition,
    arguments: TilingArguments,
    device: torch.device,
    reference: Reference = NO_REFERENCE,
) -> OnnxTranslator:
    """The net of an ONNX file, with the facts of its definition, its graph, or measured ones.

    Raises:
        ModelError: onnxruntime is missing or cannot use the device, or the file cannot be loaded
            or contradicts its definition.
    """
    del arguments, reference  # the tiles' matter, and nothing to compare with
    if definition.model_file is None:
        raise ModelError(f"{definition.name} names no model file.")
    external_files(definition.model_file)
    session = _session(definition.model_file, torch.device("cpu"))
    port = read_port(session, definition.raw, name=definition.name)
    facts = with_port(read_facts(definition.raw), port)
    if any(operator in definition.model_file.read() for operator in _WARPS):
        facts = with_unbounded_reach(facts)
    weights = count_weights(definition.model_file)
    spec = complete_spec(facts, functools.partial(_run, session, port), weights=weights)
    if device.type != "cpu":
        session = _session(definition.model_file, device)
    return OnnxTranslator(session=session, port=port, spec=spec, device=device, parameters=weights)


def _session(file: FileRef, device: torch.device) -> Any:
    """An onnxruntime session for a device.

    Raises:
        ModelError: onnxruntime is missing, has no such device, or does not load the file.
    """
    try:
        ort = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ModelError(
            "ONNX models need onnxruntime: pip install attachtrans[onnx] (or onnxruntime-gpu for "
            "--device cuda)."
        ) from error
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Idle threads that spin would take the CPU from the photo codecs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = str(file.path) if file.member is None else file.read()
    try:
        return ort.InferenceSession(source, options, providers=_providers(ort, device))
    except Exception as error:  # onnxruntime's errors share no base below Exception
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{file} is not an ONNX file that onnxruntime runs: {error}") from error


def _providers(ort: Any, device: torch.device) -> list[Any]:
    if device.type == "cpu":
        return ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in ort.get_available_providers():
        cuda = ("CUDAExecutionProvider", {"device_id": device.index or 0})
        return [cuda, "CPUExecutionProvider"]
    raise ModelError(
        f"onnxruntime cannot use the device {device.type} here: install onnxruntime-gpu for CUDA, "
        "or give --device cpu."
    )


def _run(session: Any, port: Port, batch: Tensor) -> Tensor:
    """(N, bands, H, W) float32 on any device -> the graph's image, there, as NCHW float32."""
    (result,) = session.run([port.output], port.feed(batch))
    return port.take(result).to(batch.device)
