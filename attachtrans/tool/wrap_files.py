"""Writing a model definition, alone or in a package with its weights."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attachtrans.errors import ArgumentError, ModelError, OutputExistsError, SinkError
from attachtrans.models.onnxfile import external_files
from attachtrans.models.package import FileRef

SUFFIXES = (".emd", ".dlpk")


def check_output(output: Path, *, overwrite: bool) -> None:
    """Raise unless `output` is a definition or a package that may be written.

    Raises:
        ArgumentError: another suffix, or a folder that is not there.
        OutputExistsError: it is there already and `overwrite` is not set.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise ArgumentError(
            f"--output {output}: name a definition (.emd) or a package with the weights (.dlpk)."
        )
    if not output.parent.is_dir():
        raise ArgumentError(f"--output {output}: the folder {output.parent} does not exist.")
    if output.exists() and not overwrite:
        raise OutputExistsError(f"{output} is there already: give --overwrite to replace it.")


def model_file_key(weights: Path, output: Path) -> str:
    """ModelFile of the definition at `output`.

    The weights' name in a package; relative where the weights lie in the folder of the .emd or
    below it, so that both can be moved together; else absolute.
    """
    if output.suffix.lower() == ".dlpk":
        return weights.name
    folder, target = output.parent.resolve(), weights.resolve()
    return target.relative_to(folder).as_posix() if target.is_relative_to(folder) else str(target)


@contextmanager
def writing(output: Path, definition: Mapping[str, Any], weights: Path) -> Iterator[Path]:
    """A temporary file beside `output` that takes its place when the block ends without an error.

    Raises:
        SinkError: it cannot be written.
    """
    suffix = output.suffix.lower()
    temporary = output.with_name(f".{output.stem}.{os.getpid()}{suffix}")
    text = json.dumps(definition, indent=4, ensure_ascii=False) + "\n"
    try:
        if suffix == ".dlpk":
            _write_package(temporary, f"{output.stem}.emd", text, weights)
        else:
            temporary.write_text(text, encoding="utf-8")
        yield temporary
        temporary.replace(output)
    except OSError as error:
        raise SinkError(f"{output} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_packable(weights: Path) -> None:
    """Raise when the weights cannot be run from inside a package.

    Raises:
        ModelError: an ONNX file that keeps its tensors in other files.
    """
    if weights.suffix.lower() != ".onnx":
        return
    others = external_files(FileRef(path=weights))
    if others:
        raise ModelError(
            f"{weights} keeps its tensors in {others[0].path.name}, which cannot be read from "
            "inside a package: write an .emd beside it, or save the ONNX file in one piece."
        )


def _write_package(package: Path, name: str, text: str, weights: Path) -> None:
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
        archive.write(weights, weights.name)
