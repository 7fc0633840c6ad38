"""A raster function that is hosted: its worker, kept alive, and the calls as values.

One function has one worker. A worker that crashes, hangs or runs out of memory costs the photo that
it was busy with; the next photo gets a fresh one. After three photos in a row it is given up.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attachtrans.errors import InferenceError, ModelError
from attachtrans.hosting.parameters import Parameter, read_parameters
from attachtrans.hosting.process import ScriptError, WorkerError, WorkerProcess
from attachtrans.hosting.rasters import Configuration, OutputInfo, RasterInfo

_LEAST_OPENING_S = 600.0
_MOST_CRASHES = 3
_LARGEST_VALUE_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is to be run, and what it may use.

    script      the Python file
    folders     where it may find modules besides its own folder
    model       path of the model definition, or its JSON text
    device      -1 for the CPU, or the number of a GPU
    product     what `isLicensed` is told: productName, version
    timeout_s   longest time for a block; loading may take ten minutes at least
    memory_bytes    most memory of the worker
    """

    script: Path
    folders: tuple[str, ...]
    model: str
    device: int
    product: Mapping[str, str]
    timeout_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """A raster of a block, padding included: pixels (bands, rows, cols), mask (rows, cols) u1."""

    pixels: NDArray[Any]
    mask: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block that is wanted: its top-left corner in the photo, its (rows, cols), its inputs.

    corner      (x, y), padding left out
    rasters     by name of the parameter, in its order; a tuple where the parameter takes several
    """

    corner: tuple[float, float]
    shape: tuple[int, int]
    rasters: Mapping[str, Raster | tuple[Raster, ...]]


@dataclass(eq=False, slots=True, kw_only=True)
class HostedImage:
    """One photo for a function: what the function was told of it, and what it said.

    infos   of the rasters, by name of the parameter; a tuple where the parameter takes several
    fault   why no more blocks of it are computed
    """

    serial: int
    infos: Mapping[str, RasterInfo | tuple[RasterInfo, ...]]
    prefilled: RasterInfo
    output: OutputInfo = field(init=False)
    result: RasterInfo = field(init=False)
    fault: InferenceError | None = None


class HostedFunction:
    """A function in its worker; safe in threads, which take turns."""

    def __init__(self, program: Program, stop: threading.Event | None = None) -> None:
        """Start the worker, load the script, and ask for its parameters.

        Args:
            program: what to run.
            stop: once set, the worker is ended whatever it is doing.

        Raises:
            ModelError: the script cannot be loaded, does not want to run, or declares nonsense.
        """
        self._program = program
        self._stop = stop or threading.Event()
        self._lock = threading.RLock()
        self._worker: WorkerProcess | None = None
        self._scalars: dict[str, str] = {}
        self._informed: HostedImage | None = None
        self._serial = 0
        self._crashed_at = 0
        self._crashes = 0
        self.parameters: tuple[Parameter, ...] = ()
        try:
            self._ready()
        except (ScriptError, WorkerError) as error:
            raise ModelError(f"{self._name} cannot be loaded: {error}.") from error

    @property
    def _name(self) -> str:
        return f"The raster function {self._program.script.name}"

    @property
    def pid(self) -> int | None:
        """The number of the worker's process, None when it has none."""
        return None if self._worker is None else self._worker.pid

    def close(self) -> None:
        """End the worker."""
        with self._lock:
            if self._worker is not None:
                self._worker.close()
            self._worker = None

    def obey(self, stop: threading.Event) -> None:
        """End the worker as soon as `stop` is set, from now on."""
        self._stop = stop
        if self._worker is not None:
            self._worker.obey(stop)

    def configure(self, scalars: Mapping[str, str]) -> Configuration:
        """`getConfiguration` for these values of the parameters; `model` and `device` are added.

        Raises:
            ModelError: the script fails, or asks for what cannot be.
        """
        with self._lock:
            ours = {"model": self._program.model, "device": str(self._program.device)}
            fixed = {p.name: ours[p.name] for p in self.parameters if not p.is_free}
            self._scalars = {**scalars, **fixed}
            try:
                answer = self._ready().ask(
                    "configure", {"scalars": self._scalars}, timeout_s=self._program.timeout_s
                )
            except (ScriptError, WorkerError) as error:
                raise ModelError(f"{self._name} cannot be configured: {error}.") from error
            return Configuration.read(answer.header.get("configuration"))

    def image(
        self, infos: Mapping[str, RasterInfo | tuple[RasterInfo, ...]], prefilled: RasterInfo
    ) -> HostedImage:
        """Tell the function of a photo (`updateRasterInfo`).

        Args:
            infos: of the rasters, by name of their parameter.
            prefilled: the output as it would be if the function changed nothing.

        Raises:
            InferenceError: the script fails on it, or says of the output what cannot be.
            ModelError: its worker crashed too often.
        """
        with self._lock:
            if self._crashes >= _MOST_CRASHES:
                raise ModelError(
                    f"{self._name} was given up: its process failed on {self._crashes} photos in a "
                    "row. The reports of these say how."
                )
            self._serial += 1
            image = HostedImage(serial=self._serial, infos=infos, prefilled=prefilled)
            self._inform(image)
            return image

    def translate(self, image: HostedImage, block: Block) -> Raster:
        """`updatePixels`: a block's pixels (bands, rows, cols), and where they count.

        The mask is 0 where the function has no result; it has as many bands as the pixels.

        Raises:
            InferenceError: the script fails on this photo.
        """
        with self._lock:
            if image.fault is not None:
                raise image.fault
            if self._informed is not image:
                self._inform(image)
            shape = (image.output.bands, *block.shape)
            names, arrays = _packed(block.rasters)
            request = {
                "tlc": block.corner,
                "shape": shape,
                "props": image.result.props(),
                "rasters": names,
            }
            limit = int(np.prod(shape)) * (_LARGEST_VALUE_BYTES + 1)
            answer = self._ask(image, "translate", request, arrays, limit)
            pixels = _shaped(answer.get("output_pixels"), shape)
            mask = answer.get("output_mask")
            if mask is None:
                mask = np.ones((1, 1, 1), np.uint8)
            return Raster(pixels=pixels, mask=_shaped(mask, shape))

    def _inform(self, image: HostedImage) -> None:
        prefilled = image.prefilled
        request = {
            "scalars": self._scalars,
            "infos": {f"{name}_info": _info(info) for name, info in image.infos.items()},
            "output": prefilled.to_json(),
        }
        answer = self._ask(image, "inform", request, {}, 0)
        try:
            image.output = OutputInfo.read(answer.get("output"), prefilled)
        except ModelError as error:
            image.fault = InferenceError(f"{self._name} failed: {error}")
            raise image.fault from error
        width, height = (max(1, round(edge * image.output.enlarge)) for edge in prefilled.size)
        image.result = RasterInfo(
            bands=image.output.bands,
            pixel_type=image.output.pixel_type,
            size=(width, height),
            span=prefilled.span,
            no_data=image.output.no_data,
        )
        self._informed = image

    def _ask(
        self,
        image: HostedImage,
        verb: str,
        request: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        limit_bytes: int,
    ) -> dict[str, Any]:
        """Ask about a photo; the answer's values and arrays. What fails is the photo's fault."""
        try:
            answer = self._ready().ask(
                verb,
                request,
                arrays,
                timeout_s=self._program.timeout_s,
                limit_bytes=limit_bytes,
            )
        except (ScriptError, WorkerError, ModelError) as error:
            if not isinstance(error, ScriptError):
                self._count_crash(image)
            image.fault = InferenceError(f"{self._name} failed: {error}")
            raise image.fault from error
        return {**answer.header, **answer.arrays}

    def _count_crash(self, image: HostedImage) -> None:
        in_a_row = image.serial - self._crashed_at <= 1
        self._crashes = self._crashes + 1 if in_a_row else 1
        self._crashed_at = image.serial

    def _ready(self) -> WorkerProcess:
        """The worker, with the script loaded and configured."""
        if self._worker is not None and self._worker.alive:
            return self._worker
        self.close()
        self._informed = None
        if self._stop.is_set():
            raise WorkerError("it was stopped")
        worker = WorkerProcess()
        worker.obey(self._stop)
        try:
            self._open(worker)
        except BaseException:
            worker.close()
            raise
        self._worker = worker
        return worker

    def _open(self, worker: WorkerProcess) -> None:
        program = self._program
        request = {
            "script": str(program.script),
            "folders": program.folders,
            "model": program.model,
            "device": program.device,
            "product": dict(program.product),
            "memory_bytes": program.memory_bytes,
        }
        patience = max(_LEAST_OPENING_S, program.timeout_s)
        answer = worker.ask("open", request, timeout_s=patience)
        if refusal := answer.header.get("refusal"):
            raise ModelError(f"{self._name} does not want to run here: {refusal!s:.400}")
        self.parameters = read_parameters(answer.header.get("parameters"))
        if self._scalars:
            worker.ask("configure", {"scalars": self._scalars}, timeout_s=program.timeout_s)


def half_the_memory_bytes() -> int:
    """Half of this machine's memory; 8 GiB where it cannot be asked."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # not on Windows
        return 8 << 30


def _info(info: RasterInfo | Sequence[RasterInfo]) -> Any:
    return info.to_json() if isinstance(info, RasterInfo) else [each.to_json() for each in info]


def _packed(
    rasters: Mapping[str, Raster | tuple[Raster, ...]],
) -> tuple[dict[str, str | list[str]], dict[str, NDArray[Any]]]:
    """The names of the rasters of each parameter, and the arrays under these names."""
    names: dict[str, str | list[str]] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for name, entry in rasters.items():
        several = (entry,) if isinstance(entry, Raster) else entry
        parts = [f"{name}.{number}" for number in range(len(several))]
        names[name] = parts[0] if isinstance(entry, Raster) else parts
        for part, raster in zip(parts, several, strict=True):
            arrays[f"{part}.pixels"], arrays[f"{part}.mask"] = raster.pixels, raster.mask
    return names, arrays


def _shaped(array: object, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array of a worker as (bands, rows, cols); masks may have one band.

    Raises:
        InferenceError: it is missing, or has another shape.
    """
    if isinstance(array, np.ndarray):
        try:
            return np.broadcast_to(array, shape)
        except ValueError:
            pass
    raise InferenceError("The raster function gave no block of the size that was asked for.")
