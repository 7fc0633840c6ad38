"""kill -9 while a raster is translated: the next run goes on, and ends as an undisturbed one does.

Blocks are small and a checkpoint follows each, so that a run can be hit anywhere.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tests.models.nets import bicubic_x2, cyclegan
from tests.safety.test_kill import kill_after
from tests.tool.rasters.making import UTM, scene, write

_CONTEXT = multiprocessing.get_context("forkserver")
_ALPHA = ["red", "green", "blue", "alpha"]


def run(source: Path, model: Path, output: Path, options: dict[str, Any]) -> None:
    """One run in a process of its own."""
    import torch

    from attachtrans.infer import excerpts
    from attachtrans.tool.rasters import run as running
    from tests.tool.rasters.making import run as translate

    torch.set_num_threads(1)
    excerpts._EXACT_PX = excerpts._PANEL_PX = 512
    excerpts._PANEL_TILES = 2
    running._CHECKPOINT_S = 0.0
    translate(source, model, output, arguments={"tile_size": 64}, **options)


def start(source: Path, model: Path, output: Path, options: dict[str, Any]) -> BaseProcess:
    process = _CONTEXT.Process(target=run, args=(source, model, output, options))
    process.start()
    return process


def finish(source: Path, model: Path, output: Path, options: dict[str, Any]) -> float:
    """An undisturbed run; how long it writes."""
    process = start(source, model, output, options)
    while process.is_alive() and not job_of(output, options).exists():
        time.sleep(0.002)
    begun = time.monotonic()
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - begun


def job_of(output: Path, options: dict[str, Any]) -> Path:
    """The side file of what is written first: in pixel space that is another raster."""
    first = f".{output.name}.pixels.tif" if "space" in options else output.name
    return output.with_name(f".{first}.attachtrans-job")


def content(path: Path) -> tuple[Any, ...]:
    """Pixels, masks and tags, and what places and describes them."""
    with rasterio.open(path) as data:
        masks = [data.dataset_mask(), *data.read_masks()]
        header = (data.tags(), data.descriptions, data.colorinterp, data.nodata, data.transform)
        levels = [data.overviews(band) for band in data.indexes]
        placed = (data.crs, [(p.col, p.row, p.x, p.y) for p in data.gcps[0]])
        return (data.read().tobytes(), *(mask.tobytes() for mask in masks), header, placed, levels)


def holed(path: Path, kind: str, side: int) -> Path:
    """A raster with a hole in it, which it tells in one of the ways that there are."""
    array = scene(3, side, side)
    valid = np.ones((side, side), bool)
    valid[side // 5 : side // 2, side // 4 : side // 3] = False
    if kind == "nodata":
        array[:, ~valid] = 0
        return write(path, array, nodata=0)
    if kind == "mask":
        return write(path, array, mask=valid)
    alpha = np.where(valid, 255, 0).astype(np.uint8)[None]
    colours = [rasterio.enums.ColorInterp[name] for name in _ALPHA]
    return write(path, np.concatenate([array, alpha]), colours=colours, alpha="YES")


def under_fire(
    place: Path, model: Path, kind: str, options: dict[str, Any], shots: tuple[int, int]
) -> int:
    """Rounds of so many kills each; how many hit a run that was still at work."""
    rounds, kills = shots
    random_ = random.Random(kind)
    source = holed(place / "in.tif", kind, 600)
    calm = place / "calm" / "out.tif"
    calm.parent.mkdir()
    duration = finish(source, model, calm, options)
    expected, killed = content(calm), 0
    for number in range(rounds):
        folder = place / f"fire{number}"
        folder.mkdir()
        output = folder / "out.tif"
        for _ in range(kills):
            process = start(source, model, output, options)
            killed += kill_after(process, job_of(output, options), random_.uniform(0, duration / 2))
            assert not output.exists() or content(output) == expected, "a result is not whole"
        finish(source, model, output, options)
        assert content(output) == expected
        assert [path.name for path in folder.iterdir()] == ["out.tif"], "something was left"
    return killed


def test_a_raster_survives_kill(tmp_path: Path) -> None:
    model = bicubic_x2(tmp_path / "x2.emd")
    under_fire(tmp_path, model, "mask", {}, (1, 1))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("net", "kind", "options"),
    [
        ("exact", "nodata", {}),
        ("blended", "mask", {}),
        ("exact", "alpha", {"cog": True}),
        ("exact", "mask", {"overviews": True, "creation": {"COMPRESS": "LZW"}}),
        ("exact", "nodata", {"space": "pixel", "crs": UTM, "cell_size": (0.3, 0.3)}),
    ],
)
def test_a_raster_survives_many_kills(
    tmp_path: Path, net: str, kind: str, options: dict[str, Any]
) -> None:
    model = (bicubic_x2 if net == "exact" else cyclegan)(tmp_path / "net.emd")
    assert under_fire(tmp_path, model, kind, options, (4, 3)) > 1
