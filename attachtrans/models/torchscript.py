"""TorchScript files: nets that were saved with their own code, in a language of tensors only.

Loading and running such a file executes TorchScript operators, never Python. Of those operators
only two touch files (aten::save and aten::from_file); a file whose code names one of them is
refused before it is loaded.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile

import torch
from torch import Tensor, nn

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.facts import read_facts, with_unbounded_reach
from attachtrans.models.module import NO_REFERENCE, ModuleTranslator, Reference
from attachtrans.models.package import FileRef
from attachtrans.models.probe import complete_spec
from attachtrans.models.weights import check_zip_size

_MAX_CODE_BYTES = 64 << 20
_WARPS = re.compile(rb"\b(?:grid_sample\w*|grid_sampler\w*|deform_conv2d)\b")
_FILE_OPERATORS = re.compile(rb"\b(?:torch|aten)\s*\.\s*(?:save|from_file)\b")


class Scripted(nn.Module):
    """A TorchScript module, run by the plain executor.

    The profiling executor would compile kernels anew for each shape of a tile; measured on the
    CPU it gained nothing on convolutional nets, and neither did freezing.
    """

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.script = script

    def forward(self, batch: Tensor) -> Tensor:
        """(N, bands, H, W) in the net's units -> the net's result."""
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # public, unlisted
            out = self.script(batch)
        if not isinstance(out, Tensor):
            raise ModelError(f"The net gives a {type(out).__name__}, not one tensor.")
        return out


def build(
    definition: ModelDefinition,
    arguments: TilingArguments,
    device: torch.device,
    reference: Reference = NO_REFERENCE,
) -> ModuleTranslator:
    """The net of a TorchScript file, with the facts of its definition or measured ones.

    Raises:
        UntrustedModelError: its code touches files.
        ModelError: it cannot be loaded, or contradicts its definition.
    """
    del arguments, reference  # the tiles' matter, and nothing to compare with
    if definition.model_file is None:
        raise ModelError(f"{definition.name} names no model file.")
    content = definition.model_file.read()
    code = _read_code(content, definition.model_file)
    if found := _FILE_OPERATORS.search(code):
        raise UntrustedModelError(
            f"{definition.model_file} calls {found.group().decode()}, which touches files: refused."
        )
    facts = read_facts(definition.raw)
    if _WARPS.search(code):
        facts = with_unbounded_reach(facts)
    net = _load(content, definition.model_file, torch.device("cpu"))
    weights = sum(parameter.numel() for parameter in net.parameters())
    spec = complete_spec(facts, net, weights=weights)
    if device.type != "cpu":
        # Loaded anew, because .to() leaves constants of traced code on their device.
        net = _load(content, definition.model_file, device)
    return ModuleTranslator(module=net, spec=spec, device=device)


def _load(content: bytes, file: FileRef, device: torch.device) -> Scripted:
    with warnings.catch_warnings():
        # Deprecated as an export format; the files people have remain.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            script: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]
                io.BytesIO(content), map_location=device
            )
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"{file} is not a readable TorchScript file: {error!s:.300}"
            ) from error
    for parameter in script.parameters():
        parameter.requires_grad = False
    return Scripted(script.eval().float())


def _read_code(content: bytes, file: FileRef) -> bytes:
    """The TorchScript source in a file."""
    check_zip_size(content, file)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = [info for info in archive.infolist() if "code/" in info.filename]
            if sum(info.file_size for info in infos) > _MAX_CODE_BYTES:
                raise ModelError(
                    f"{file} holds more than {_MAX_CODE_BYTES} bytes of code: refused."
                )
            return b"\n".join(archive.read(info) for info in infos)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ModelError(f"{file} is not a readable TorchScript file: {error}") from error
