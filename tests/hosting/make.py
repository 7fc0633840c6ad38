"""Raster functions for tests: those in `functions`, and small ones that misbehave."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
import time
import zipfile
from pathlib import Path

FUNCTIONS = Path(__file__).parent / "functions"

# What every small function has; a test replaces what it is about.
DEFAULTS = {
    "init": "pass",
    "initialize": "pass",
    "parameters": 'return [{"name": "raster", "dataType": "raster"}]',
    "configuration": 'return {"tx": 32, "ty": 32}',
    "info": "return kwargs",
    "pixels": 'return {"output_pixels": blocks["raster_pixels"]}',
    "licence": 'return {"okToRun": True}',
}
_TEMPLATE = """
{top}
class Small:
    def __init__(self):
        {init}
    def initialize(self, **kwargs):
        {initialize}
    def getParameterInfo(self):
        {parameters}
    def getConfiguration(self, **scalars):
        {configuration}
    def updateRasterInfo(self, **kwargs):
        {info}
    def updatePixels(self, tlc, shape, props, **blocks):
        {pixels}
    def isLicensed(self, **product):
        {licence}
"""


def source(top: str = "", **bodies: str) -> str:
    """A script with the class Small, whose methods have these bodies."""
    indented = {
        name: textwrap.indent(textwrap.dedent(body).strip(), " " * 8).lstrip()
        for name, body in (DEFAULTS | bodies).items()
    }
    return _TEMPLATE.format(top=textwrap.dedent(top), **indented)


def small(folder: Path, top: str = "", *, keys: dict[str, object] | None = None, **bodies: str):
    """A folder with Small.py and Small.emd; gives the path of the definition."""
    folder.mkdir(exist_ok=True)
    (folder / "Small.py").write_text(source(top, **bodies))
    return definition(folder, "Small.py", keys)


def definition(folder: Path, script: str, keys: dict[str, object] | None = None) -> Path:
    """An .emd for a script in a folder."""
    path = folder / Path(script).with_suffix(".emd").name
    emd = {"Framework": "PyTorch", "ModelType": "ImageTranslation", "InferenceFunction": script}
    path.write_text(json.dumps(emd | (keys or {})))
    return path


def shipped(name: str, folder: Path) -> Path:
    """A copy of a function of `functions` with its definition, and the modules beside it."""
    folder.mkdir(exist_ok=True)
    for module in FUNCTIONS.glob("*.py"):
        shutil.copy(module, folder)
    return definition(folder, f"{name}.py")


def packed(emd: Path) -> Path:
    """A package (.dlpk) of everything that lies beside a definition."""
    package = emd.parent.parent / f"{emd.stem}.dlpk"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(emd.parent.iterdir()):
            archive.write(path, path.name)
    return package


def is_alive(pid: int) -> bool:
    """Whether a process is there; zombies are not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def gone(pid: int, within_s: float = 5) -> bool:
    """Whether a process ends in time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not is_alive(pid):
            return True
        time.sleep(0.02)
    return False
