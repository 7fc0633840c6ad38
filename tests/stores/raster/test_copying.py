"""Copies of finished rasters, against GDAL's own reading of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint

from attachtrans.errors import ArgumentError, SinkError, SourceError
from attachtrans.stores.raster.copying import copy_raster
from tests.tool.rasters.making import scene, write

MASK = np.tile(np.array([0, 255], np.uint8), (20, 15))
KINDS = {
    "plain": {},
    "nodata": {"nodata": 7},
    "mask": {"mask": MASK},
    "named": {"names": ("red", "near infrared", "x"), "tags": {"SENSOR": "a"}},
}


def facts(path: Path) -> tuple[object, ...]:
    with rasterio.open(path) as data:
        corner = (data.crs.to_epsg(), tuple(data.transform))
        return (*corner, data.nodata, data.read().tolist(), data.dataset_mask().tolist())


@pytest.mark.parametrize("ending", [".tif", ".img"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_the_same_raster(tmp_path: Path, kind: str, ending: str) -> None:
    source = write(tmp_path / "a.tif", scene(3, 20, 30), **KINDS[kind])
    target = tmp_path / f"b{ending}"
    copy_raster(source, target)
    assert facts(target) == facts(source)
    if kind == "named":
        with rasterio.open(target) as data:
            assert data.descriptions == KINDS[kind]["names"]
            assert data.tags()["SENSOR"] == "a"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_control_points_go_along(tmp_path: Path) -> None:
    points = [GroundControlPoint(row=r, col=c, x=c, y=-r) for r, c in ((0, 0), (0, 30), (20, 0))]
    source = write(tmp_path / "a.tif", scene(1, 20, 30), transform=None, gcps=points)
    copy_raster(source, tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif") as data:
        assert [(p.row, p.col, p.x, p.y) for p in data.gcps[0]] == [
            (p.row, p.col, p.x, p.y) for p in points
        ]


@pytest.mark.parametrize(
    ("name", "dtype", "words"),
    [
        ("b.xyzzy", "uint8", "no raster format"),
        ("b.png", "float32", "PNG cannot hold this raster"),
    ],
)
def test_formats_that_cannot(tmp_path: Path, name: str, dtype: str, words: str) -> None:
    source = write(tmp_path / "a.tif", scene(3, 20, 30, dtype))
    with pytest.raises(ArgumentError, match=words):
        copy_raster(source, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        copy_raster(tmp_path / "none.tif", tmp_path / "b.tif")
    source = write(tmp_path / "a.tif", scene(1, 20, 30))
    with pytest.raises(SinkError, match="cannot be written"):
        copy_raster(source, tmp_path / "none" / "b.tif")
