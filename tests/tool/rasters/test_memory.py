"""Peak memory depends on the net and the block, not on how wide, high or large a raster is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

SQUARE, WIDE, HIGH = (2000, 2000), (12000, 800), (800, 12000)
ROWS = 400
GROWTH = 1.15
PEAK = """
import sys
from pathlib import Path
from attachtrans.tool.translate import plan_translation
for _ in plan_translation(*sys.argv[1:3], sys.argv[3], device="cpu"): pass
lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(lines["VmHWM"].split()[0]))
"""
STORED = {
    "tiles, nodata": {"tiled": True, "blockxsize": 256, "blockysize": 256, "nodata": 0},
    "strips, mask": {"blockysize": 8},
}


def written(path: Path, size: tuple[int, int], kind: str) -> Path:
    """Noise with holes."""
    width, height = size
    values = np.random.default_rng(0).integers(1, 256, (3, ROWS, width), np.uint8)
    valid = np.ones((ROWS, width), bool)
    valid[100:150, ::3] = False
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32633"}
    place = {"transform": (0.5, 0, 5e5, 0, -0.5, 5e6), "compress": "zstd"}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", width=width, height=height, **profile, **place, **STORED[kind]
        ) as out,
    ):
        for row in range(0, height, ROWS):
            window = Window(0, row, width, ROWS)
            out.write(values * valid, window=window)
            if kind == "strips, mask":
                out.write_mask(valid, window=window)
    return path


def peak_kb(raster: Path, model: Path) -> int:
    """Highest resident memory of a process that translates it."""
    out = raster.with_name("out.tif")
    out.unlink(missing_ok=True)
    # A process counts on from the one that started it: a small shell comes between.
    command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", PEAK]
    done = subprocess.run(
        [*command, str(raster), str(model), str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("kind", STORED)
def test_long_rasters_take_the_memory_of_a_square_one(tmp_path: Path, x2: Path, kind: str) -> None:
    square, wide, high = (
        peak_kb(written(tmp_path / "raster.tif", size, kind), x2) for size in (SQUARE, WIDE, HIGH)
    )
    assert wide < GROWTH * square
    assert high < GROWTH * square
