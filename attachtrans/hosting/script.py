"""A raster function as the worker sees it: a class in a script, and its calls.

The calls are those of the Python raster function protocol, with its argument names and types. What
they return is brought to plain JSON and arrays here; the other side checks it.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attachtrans.hosting.wire import pixel_type

Blocks = NDArray[Any] | tuple[NDArray[Any], ...]
"""The block of a raster, or those of a parameter that takes several rasters."""

_ESSENTIAL = "updatePixels"
_OUTPUT = ("bandCount", "pixelType", "cellSize", "extent", "noData")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which block is wanted.

    tlc     (x, y) of its top-left corner, padding left out
    shape   (bands, rows, cols) of the result
    props   of the whole output raster
    """

    tlc: tuple[float, ...]
    shape: tuple[int, ...]
    props: dict[str, Any]


def load_function(script: Path, folders: Sequence[str]) -> Any:
    """The raster function of a script: an instance of its class.

    The class has the name of the file, or is the only one with `updatePixels`. The script may
    import what lies beside it.

    Raises:
        LookupError: there is no such class, or there are several.
    """
    sys.path[:0] = list(dict.fromkeys([str(script.parent), *folders]))
    module = _run(script)
    found: Any = getattr(module, script.stem, None)
    if not hasattr(found, _ESSENTIAL):
        classes = [kind for kind in vars(module).values() if _is_function(kind)]
        own = [kind for kind in classes if kind.__module__ == module.__name__] or classes
        if len(own) != 1:
            names = ", ".join(kind.__name__ for kind in own) or "none"
            raise LookupError(
                f"{script.name} must hold one class with {_ESSENTIAL}, or one that is named "
                f"{script.stem}; found: {names}"
            )
        found = own[0]
    return found()


def _run(script: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        raise LookupError(f"{script.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = module
    spec.loader.exec_module(module)
    return module


def _is_function(kind: object) -> bool:
    return inspect.isclass(kind) and callable(getattr(kind, _ESSENTIAL, None))


class Script:
    """The calls of the protocol; those that a class leaves out have the defaults of the protocol.

    What a script returns of the wrong kind raises TypeError or ValueError.
    """

    def __init__(self, function: Any) -> None:
        self._function = function

    def is_licensed(self, product: Mapping[str, str]) -> str | None:
        """Why the script does not want to run in this product, None when it does."""
        answer = self._call("isLicensed", {}, **product)
        if answer.get("okToRun", True):
            return None
        return str(answer.get("message") or "isLicensed says no")

    def initialize(self, model: str, device: int) -> None:
        """Load the model; `device` is -1 for the CPU, else a GPU's number."""
        if hasattr(self._function, "initialize"):
            self._function.initialize(model=model, device=device)

    def parameters(self) -> list[dict[str, Any]]:
        """The parameters, as `getParameterInfo` lists them."""
        return [_plain(dict(row)) for row in self._function.getParameterInfo()]

    def configuration(self, scalars: Mapping[str, str]) -> dict[str, Any]:
        """`getConfiguration`."""
        answer = self._call("getConfiguration", {}, **scalars)
        return {key: _plain(value) for key, value in answer.items()}

    def update_raster_info(
        self, scalars: Mapping[str, str], infos: Mapping[str, Any], output: Mapping[str, Any]
    ) -> dict[str, Any]:
        """`updateRasterInfo`: what it makes of the prefilled output, as far as it matters.

        infos has an info per raster, or a list of them for a parameter that takes several.
        """
        asked = {name: _infos(info) for name, info in infos.items()}
        asked["output_info"] = with_tuples(output)
        answer = self._call("updateRasterInfo", asked, **scalars, **asked)
        info = answer["output_info"]
        result = {key: _plain(info[key]) for key in _OUTPUT if key in info}
        result["pixelType"] = pixel_type(np.dtype(info["pixelType"]))
        return result

    def update_key_metadata(self) -> None:
        """`updateKeyMetadata` for the whole output, which has none to begin with."""
        self._call("updateKeyMetadata", {}, (), -1)

    def update_pixels(
        self, place: Place, pixels: Mapping[str, Blocks], masks: Mapping[str, Blocks]
    ) -> dict[str, NDArray[Any]]:
        """`updatePixels`: the block's pixels, and its mask if the script gives one.

        pixels, masks   by name of the raster, padding included
        """
        wanted = set(pixels)
        if hasattr(self._function, "selectRasters"):
            chosen = self._function.selectRasters(place.tlc, place.shape, place.props)
            wanted = {chosen} if isinstance(chosen, str) else set(chosen)
        blocks = {f"{name}_pixels": block for name, block in pixels.items() if name in wanted}
        blocks |= {f"{name}_mask": mask for name, mask in masks.items() if name in wanted}
        answer = self._function.updatePixels(place.tlc, place.shape, place.props, **blocks)
        if not isinstance(answer, Mapping) or "output_pixels" not in answer:
            raise TypeError("updatePixels must return a dict with output_pixels")
        result = {"output_pixels": _array(answer["output_pixels"])}
        if answer.get("output_mask") is not None:
            result["output_mask"] = (_array(answer["output_mask"]) != 0).astype(np.uint8)
        for name, array in result.items():
            if array.shape not in {place.shape, place.shape[-array.ndim :]}:
                raise ValueError(
                    f"{name} has the shape {array.shape} where {place.shape} was asked for"
                )
        return result

    def _call(
        self, name: str, default: Mapping[str, Any], *given: Any, **named: Any
    ) -> Mapping[str, Any]:
        method = getattr(self._function, name, None)
        answer = default if method is None else method(*given, **named)
        if not isinstance(answer, Mapping):
            raise TypeError(f"{name} must return a dict, not {type(answer).__name__}")
        return answer


def _infos(info: Any) -> Any:
    """An info with tuples where JSON has lists, or a tuple of such infos."""
    if isinstance(info, list):
        return tuple(with_tuples(each) for each in info)
    return with_tuples(info)


def with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """A dict with tuples where JSON has lists, as scripts expect extents and cell sizes."""
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }


def _array(value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f" and array.dtype.itemsize == 2:
        return array.astype(np.float32)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        return array.astype(np.float64)
    return array


def _plain(value: Any) -> Any:
    """A value of a script as JSON has it; text for what JSON has no word for."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(entry) for entry in value]
    return str(value)
