"""Real rasters: an aerial photo that lies turned, and a satellite scene with an RPC."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, RPCTransformer

from tests.tool.rasters.making import Pixels, in_memory, read, run, write

_TESTS = "data/geo/orthority/tests/data"
_PART = (24.385, -33.70, 24.393, -33.693)
"""Of the satellite scene, in degrees."""


@pytest.fixture(scope="module")
def aerial(shared: Path) -> Path:
    return shared / _TESTS / "ngi/3324c_2015_1004_05_0182_RGB.tif"


@pytest.fixture(scope="module")
def satellite(shared: Path) -> Path:
    return shared / _TESTS / "rpc/qb2_basic1b.tif"


def test_a_turned_aerial_photo_with_nodata(x2: Path, aerial: Path, tmp_path: Path) -> None:
    run(aerial, x2, tmp_path / "out.tif")
    with rasterio.open(aerial) as before, rasterio.open(tmp_path / "out.tif") as after:
        assert after.crs == before.crs
        for col, row in ((0, 0), (640, 0), (0, 1152), (640, 1152)):
            assert np.allclose(
                before.transform @ (col, row),
                after.transform @ (2 * col, 2 * row),
                rtol=0,
                atol=1e-9,
            )
        holes = before.dataset_mask() == 0
        assert np.array_equal(after.dataset_mask() == 0, np.kron(holes, np.ones((2, 2), bool)))


@pytest.mark.slow
def test_a_satellite_scene_keeps_its_rpc_in_pixel_space(
    x2: Path, satellite: Path, tmp_path: Path
) -> None:
    run(satellite, x2, tmp_path / "out.tif", space="pixel")
    assert np.array_equal(read(tmp_path / "out.tif"), in_memory(x2, read(satellite)))
    with rasterio.open(satellite) as before, rasterio.open(tmp_path / "out.tif") as after:
        first, second = RPCTransformer(before.rpcs), RPCTransformer(after.rpcs)
        for row, col in ((100, 200), (1400, 30), (725, 425)):  # of pixels, counted from centres
            there = first.xy(row, col, zs=700, offset="ul")
            assert np.allclose(
                there, second.xy(2 * row + 0.5, 2 * col + 0.5, zs=700, offset="ul"), atol=1e-9
            )
        assert [(p.col, p.row, p.x, p.y, p.z) for p in after.gcps[0]] == [
            (2 * p.col, 2 * p.row, p.x, p.y, p.z) for p in before.gcps[0]
        ]


def seen(satellite: Path, result: Path, height: float) -> tuple[Pixels, Pixels]:
    """Pixels of a result on the map, and those of the scene that GDAL finds there."""
    with rasterio.open(result) as data:
        rows, cols = (
            axis.ravel() for axis in np.mgrid[9 : data.height - 9 : 5, 9 : data.width - 9 : 5]
        )
        x, y = data.transform @ np.stack([cols + 0.5, rows + 0.5])
        values = data.read(1)[rows, cols].astype(float)
    with rasterio.open(satellite) as data:
        found = RPCTransformer(data.rpcs).rowcol(x, y, zs=np.full(len(x), height), op=np.rint)
        there = data.read(1)[np.array(found[0], int), np.array(found[1], int)]
    return values, there.astype(float)


@pytest.mark.parametrize("above", [None, 0.0, 300.0])
def test_a_satellite_scene_on_the_map(
    above: float | None, x2: Path, satellite: Path, tmp_path: Path
) -> None:
    """Without an elevation model at the RPC's mean height, else on the model's."""
    with rasterio.open(satellite) as data:
        height = data.rpcs.height_off
    dem = None
    if above is not None:
        height += above
        heights = np.full((1, 30, 30), height, np.float32)
        place = Affine(0.01, 0, 24.25, 0, -0.01, -33.55)
        dem = write(tmp_path / "dem.tif", heights, crs="EPSG:4979", transform=place)
    run(
        satellite,
        x2,
        tmp_path / "out.tif",
        extent=_PART,
        extent_crs="EPSG:4326",
        crs="EPSG:4326",
        **placing(dem),
    )
    values, there = seen(satellite, tmp_path / "out.tif", height)
    assert np.corrcoef(values, there)[0, 1] > 0.9
    elsewhere = seen(satellite, tmp_path / "out.tif", height + 300)[1]
    assert np.corrcoef(values, elsewhere)[0, 1] < np.corrcoef(values, there)[0, 1] - 0.1


def placing(dem: Path | None) -> dict[str, object]:
    from attachtrans.tool.place.options import Placing

    return {"placing": Placing(dem=dem)}
