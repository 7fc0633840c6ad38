"""TorchScript files: nets that were saved with their own code, in a language of tensors.

That code is a program, and PyTorch runs whatever operators it names, some of which read and write
files. So a file is taken apart before PyTorch sees it: its code may only call operators that
compute (`attachtrans.models.scriptcode`), its pickles may only hold tensors that fit their records
(`attachtrans.models.scriptdata`), and what was checked is put into a new archive, with nothing
else of the old one. That archive is compiled, and the compiled program is checked once more,
operator by operator, before its first run.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.archive import Archive, open_archive
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.facts import read_facts, read_inputs, with_unbounded_reach
from attachtrans.models.module import NO_REFERENCE, ModuleTranslator, Reference
from attachtrans.models.operators import is_computation
from attachtrans.models.package import FileRef
from attachtrans.models.probe import complete_spec
from attachtrans.models.scriptcode import check_code
from attachtrans.models.scriptdata import check_pickle

_MAX_CODE_BYTES = 16 << 20
_MAX_PICKLE_BYTES = 64 << 20
_WARPS = re.compile(r"\btorch\.(?:grid_sample\w*|affine_grid_generator)\(")
_KEPT = ("version", ".data/version", "byteorder")
_PICKLES = ("data", "constants")


class Scripted(nn.Module):
    """A TorchScript module, run by the plain executor.

    The profiling executor would compile kernels anew for each shape of a tile; measured on the
    CPU it gained nothing on convolutional nets, and neither did freezing.

    others  the values of its inputs besides the image, by name
    """

    def __init__(self, script: torch.jit.ScriptModule, others: dict[str, object]) -> None:
        super().__init__()
        self.script = script
        self.others = others

    def forward(self, batch: Tensor) -> Tensor:
        """(N, bands, H, W) in the net's units -> the net's result, the first image if several."""
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # public, unlisted
            out = self.script(batch, **self.others)
        return first_image(out)


def first_image(out: object) -> Tensor:
    """The first tensor of four dimensions among the results of a net.

    Raises:
        ModelError: there is none.
    """
    results = out if isinstance(out, list | tuple) else [out]
    images = [result for result in results if isinstance(result, Tensor) and result.ndim == 4]
    if not images:
        raise ModelError(f"The net gives no batch of images, but {type(out).__name__}.")
    return images[0]


def build(
    definition: ModelDefinition,
    arguments: TilingArguments,
    device: torch.device,
    reference: Reference = NO_REFERENCE,
) -> ModuleTranslator:
    """The net of a TorchScript file, with the facts of its definition or measured ones.

    Raises:
        UntrustedModelError: its program does more than compute.
        ModelError: it cannot be loaded, or contradicts its definition.
    """
    del arguments, reference  # the tiles' matter, and nothing to compare with
    if definition.model_file is None:
        raise ModelError(f"{definition.name} names no model file.")
    file = definition.model_file
    content, warps = checked_archive(file.read(), file)
    facts = read_facts(definition.raw)
    if warps:
        facts = with_unbounded_reach(facts)
    inputs = read_inputs(definition.raw)
    net = _load(content, file, torch.device("cpu"), inputs)
    weights = sum(parameter.numel() for parameter in net.parameters())
    spec = complete_spec(facts, net, weights=weights)
    if device.type != "cpu":
        # Loaded anew, because .to() leaves constants of traced code on their device.
        net = _load(content, file, device, inputs)
    return ModuleTranslator(module=net, spec=spec, device=device)


def checked_archive(content: bytes, file: FileRef) -> tuple[bytes, bool]:
    """A TorchScript archive of nothing but checked parts, and whether its code moves pixels.

    Raises:
        UntrustedModelError: its code or its pickles do more than compute and hold tensors.
        ModelError: it is damaged, too large, or not a TorchScript archive.
    """
    with open_archive(content, file, what="TorchScript file") as archive:
        if "constants.pkl" not in archive.sizes:
            raise ModelError(f"{file} is no TorchScript file: it holds tensors without a program.")
        sources = dict(_sources(archive))
        try:
            printed, classes = check_code(sources)
            parts = {f"{_path(name)}.py": text.encode() for name, text in printed.items()}
            for stem in _PICKLES:
                pickled = archive.read(f"{stem}.pkl", limit_bytes=_MAX_PICKLE_BYTES)
                check_pickle(pickled, dict(_records(archive, stem)), classes)
                parts[f"{stem}.pkl"] = pickled
        except UntrustedModelError as error:
            raise UntrustedModelError(
                f"{file} holds {error}: it may do more than compute, so it is refused."
            ) from error
        except ModelError as error:
            raise ModelError(f"{file} is not a readable TorchScript file: {error}") from error
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as fresh:
            for name, part in parts.items():
                fresh.writestr(f"net/{name}", part)
            for name in archive.sizes:
                if name in _KEPT or name.startswith(tuple(f"{stem}/" for stem in _PICKLES)):
                    fresh.writestr(f"net/{name}", archive.read(name))
    return stream.getvalue(), any(_WARPS.search(text) for text in printed.values())


def _path(name: str) -> str:
    return "code/" + name.replace(".", "/")


def _sources(archive: Archive) -> Iterator[tuple[str, str]]:
    """Dotted name and text of each file of code."""
    names = [name for name in archive.sizes if name.startswith("code/") and name.endswith(".py")]
    size = sum(archive.sizes[name] for name in names)
    if size > _MAX_CODE_BYTES:
        raise ModelError(
            f"{archive.file} holds {size} bytes of code, more than {_MAX_CODE_BYTES}: refused."
        )
    for name in names:
        dotted = name.removeprefix("code/").removesuffix(".py").replace("/", ".")
        try:
            yield dotted, archive.read(name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ModelError(f"{archive.file}: the entry {name} is no text: {error}") from error


def _records(archive: Archive, stem: str) -> Iterator[tuple[str, int]]:
    """Key and length of the records that the pickle `stem` may name."""
    for name, size in archive.sizes.items():
        folder, _, key = name.partition("/")
        if folder == stem and key and "/" not in key:
            yield key, size


def _load(
    content: bytes, file: FileRef, device: torch.device, inputs: Mapping[str, tuple[float, ...]]
) -> Scripted:
    with warnings.catch_warnings():
        # Deprecated as an export format; the files people have remain.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            script: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]
                io.BytesIO(content), map_location=device
            )
            graph = script.inlined_graph
        except (RuntimeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"{file} is not a readable TorchScript file: {error!s:.300}"
            ) from error
    for kind in _kinds(graph):
        namespace, _, name = kind.partition("::")
        if not is_computation(namespace, name):
            raise UntrustedModelError(
                f"{file} uses the operator {kind}, which may do more than compute: refused."
            )
    for parameter in script.parameters():
        parameter.requires_grad = False
    return Scripted(script.eval().float(), _others(script, file, device, inputs))


def _others(
    script: Any, file: FileRef, device: torch.device, inputs: Mapping[str, tuple[float, ...]]
) -> dict[str, object]:
    """Values for the inputs besides the image, which is the first."""
    _, _, *taken = script.forward.schema.arguments  # the first is the net itself
    kinds = {argument.name: str(argument.type) for argument in taken}
    needed = [argument.name for argument in taken if not argument.has_default_value()]
    for name in (*inputs, *needed):
        if name not in kinds or name not in inputs:
            raise ModelError(
                f"{file} takes the inputs {', '.join(kinds) or 'none'} besides the image: state "
                f'each in the model definition (.emd), for example "Inputs": {{"{name}": 0.5}}.'
            )
    return {name: _as_kind(values, kinds[name], device) for name, values in inputs.items()}


def _as_kind(values: tuple[float, ...], kind: str, device: torch.device) -> object:
    """Stated numbers as the type that a program declares."""
    if kind == "Tensor":
        return torch.tensor(values[0] if len(values) == 1 else values, device=device)
    number: type = {"int": int, "bool": bool}.get(
        kind.removeprefix("List[").removesuffix("]"), float
    )
    numbers = [number(value) for value in values]
    return numbers if kind.startswith("List") else numbers[0]


def _kinds(block: Any) -> Iterator[str]:
    """The operators of a compiled program, those inside its branches and loops included.

    Calls of methods and functions are not among them where the graph is inlined, so one that
    remains is refused like any other operator that is not listed.
    """
    for node in block.nodes():
        yield node.kind()
        for inner in node.blocks():
            yield from _kinds(inner)
