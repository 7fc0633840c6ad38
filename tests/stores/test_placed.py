"""World files and what else lies beside pictures, as GDAL reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from pyproj import CRS

from attachtrans.errors import GeorefError
from attachtrans.geo.affine import PixelToMap
from attachtrans.stores.placed import (
    rescaled,
    sidecar_for,
    sidecars_of,
    world_ending,
    write_world_file,
)
from attachtrans.types import Size

AFFINE = PixelToMap(a=0.4, b=0.3, c=400_000.0, d=0.3, e=-0.4, f=5_200_000.0)
SIZE, LARGER = Size(20, 10), Size(80, 30)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif"])
def test_gdal_finds_the_world_file(tmp_path: Path, ending: str) -> None:
    image = tmp_path / f"a{ending}"
    Image.new("RGB", SIZE).save(image)
    written = write_world_file(image, AFFINE, CRS(32633))
    assert [path.name for path in written] == [f"a{world_ending(ending)}", "a.prj"]
    assert sidecars_of(image) == list(written)
    with rasterio.open(image) as dataset:
        found = tuple(dataset.transform)[:6]
    np.testing.assert_allclose(found, [getattr(AFFINE, name) for name in "abcdef"], rtol=1e-15)
    assert CRS.from_wkt((tmp_path / "a.prj").read_text()).to_epsg(min_confidence=20) == 32633


@pytest.mark.parametrize(
    ("sidecar", "result", "expected"),
    [
        ("a.jgw", "a.JPG", "a.jgw"),
        ("a.jpgw", "a.png", "a.pgw"),
        ("a.JGW", "a.tif", "a.tfw"),
        ("a.wld", "a.png", "a.wld"),
        ("a.prj", "a.jpg.tif", "a.jpg.prj"),
        ("a.jpg.aux.xml", "a.png", "a.png.aux.xml"),
    ],
)
def test_names_follow_the_result(sidecar: str, result: str, expected: str) -> None:
    found = sidecar_for(Path("in", sidecar), Path("in/a.jpg"), Path("out", result))
    assert found == Path("out", expected)


def test_an_rpc_in_an_aux_file_is_rescaled(tmp_path: Path) -> None:
    items = {"LINE_OFF": "4.5", "LINE_SCALE": "5", "SAMP_OFF": "9.5", "SAMP_SCALE": "10"}
    body = "".join(f'<MDI key="{key}">{text}</MDI>' for key, text in items.items())
    path = tmp_path / "a.jpg.aux.xml"
    path.write_text(f'<PAMDataset><Metadata domain="RPC">{body}</Metadata></PAMDataset>')
    text = rescaled(path, SIZE, LARGER).decode()
    for number in ("14.5", "15.0", "39.5", "40.0"):
        assert f">{number}</MDI>" in text


@pytest.mark.parametrize(
    "text",
    ["<PAMDataset>", "<PAMDataset><GeoTransform>1, 2</GeoTransform></PAMDataset>"],
)
def test_damaged_aux_files_are_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jpg.aux.xml"
    path.write_text(text)
    with pytest.raises(GeorefError, match="damaged"):
        rescaled(path, SIZE, LARGER)


def test_what_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg.aux.xml"
    with path.open("wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(GeorefError, match="4 MB"):
        rescaled(path, SIZE, LARGER)
