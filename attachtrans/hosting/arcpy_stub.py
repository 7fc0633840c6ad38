"""What scripts get when they `import arcpy`: its environments, and a clear refusal of all else."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_OFFERED = "attachtrans offers arcpy.env.processorType and arcpy.env.gpuId, and nothing else of it"


class Environment:
    """`arcpy.env`: where a script asks, or says, on what it runs."""

    def __init__(self, processor_type: str, gpu_id: int | str) -> None:
        object.__setattr__(self, "processorType", processor_type)
        object.__setattr__(self, "gpuId", gpu_id)

    def __setattr__(self, name: str, value: object) -> None:
        """Set one of the two; what is set decides nothing here."""
        if name not in vars(self):
            raise AttributeError(f"arcpy.env.{name} was set: {_OFFERED}")
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"arcpy.env.{name} was asked for: {_OFFERED}")


class _Arcpy(ModuleType):
    """The stand-in for the package."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"arcpy.{name} was asked for: {_OFFERED}")


class _NoSubmodules(MetaPathFinder):
    """Explains why `import arcpy.sa` finds nothing."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """See `MetaPathFinder`; modules of others are left to others."""
        del path, target
        if fullname.startswith("arcpy."):
            raise ModuleNotFoundError(f"{fullname} was asked for: {_OFFERED}", name=fullname)
        return None


def install(device: int) -> None:
    """Make `import arcpy` give the stand-in; `device` is -1 for the CPU, else a GPU's number."""
    module = _Arcpy("arcpy", "A stand-in for arcpy: " + _OFFERED)
    on_gpu = device >= 0
    env = Environment("GPU" if on_gpu else "CPU", device if on_gpu else "")
    vars(module).update(env=env, __path__=[])  # with a path, submodules are looked for
    sys.modules["arcpy"] = module
    sys.meta_path.insert(0, _NoSubmodules())
