from __future__ import annotations

import subprocess
import sys

import pytest


def run(script, device=-1):
    program = f"from attachtrans.hosting import arcpy_stub\narcpy_stub.install({device})\n{script}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


def test_scripts_find_where_they_run():
    ask = "import arcpy; from arcpy import env; print(env.processorType, arcpy.env.gpuId)"
    assert run(ask).stdout == "CPU \n"
    assert run(ask, 1).stdout == "GPU 1\n"
    assert run("import arcpy; arcpy.env.processorType = 'GPU'; arcpy.env.gpuId = 0").returncode == 0


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import arcpy; arcpy.GetInstallInfo()", "arcpy.GetInstallInfo was asked for"),
        ("import arcpy; arcpy.env.workspace", "arcpy.env.workspace was asked for"),
        ("import arcpy; arcpy.env.workspace = 1", "arcpy.env.workspace was set"),
        ("import arcpy.sa", "arcpy.sa was asked for"),
        ("from arcpy.ia import Raster", "arcpy.ia was asked for"),
        ("from arcpy import Raster", "Raster"),
    ],
)
def test_all_else_is_refused_by_name(script, words):
    done = run(script)
    assert done.returncode == 1
    assert words in done.stderr


def test_scripts_can_do_without_what_is_missing():
    script = """
import arcpy
try:
    import arcpy.sa
except ImportError:
    print(hasattr(arcpy, "da"), getattr(arcpy, "mp", None))
"""
    assert run(script).stdout == "False None\n"
