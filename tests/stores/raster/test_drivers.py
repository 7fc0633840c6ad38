"""Rasters in any of GDAL's formats: what comes out, by rasterio and gdalinfo; what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError
from attachtrans.stores.raster import (
    RasterOptions,
    RasterSpec,
    RasterWriter,
    check_writable,
    driver_for,
    open_raster,
)
from attachtrans.types import Size

SIZE = Size(230, 170)
PLACE: dict[str, Any] = {
    "crs": CRS(32633),
    "transform": (0.5, 0.0, 400_000.0, 0.0, -0.5, 5_200_000.0),
}


def spec_of(**changes: Any) -> RasterSpec:
    facts: dict[str, Any] = {"size": SIZE, "bands": 1, "dtype": "uint8", **PLACE}
    return RasterSpec(**(facts | changes))


def noise(spec: RasterSpec) -> NDArray[Any]:
    shape = (spec.bands, spec.size.height, spec.size.width)
    return np.random.default_rng(0).integers(1, 127, shape).astype(spec.dtype)


def write(path: Path, spec: RasterSpec, options: RasterOptions) -> NDArray[Any]:
    array = noise(spec)
    with RasterWriter(path, spec, options) as writer:
        writer.write(array)
        if spec.masked:
            writer.write_mask(array[0] < 100)
    return array


def gdalinfo(path: Path) -> dict[str, Any]:
    """What the system's GDAL, another build than rasterio's, says."""
    tool = shutil.which("gdalinfo")
    if tool is None:
        pytest.skip("gdalinfo is not installed")
    done = subprocess.run([tool, "-json", path], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("driver", "ending", "facts", "beside"),
    [
        ("PNG", ".png", {"bands": 3, "masked": True}, {".png.aux.xml", ".png.msk"}),
        ("PNG", ".png", {"dtype": "uint16", "nodata": 0.0}, {".png.aux.xml"}),
        ("HFA", ".img", {"bands": 5, "dtype": "int16", "nodata": -1.0}, {".img.aux.xml"}),
        ("HFA", ".img", {"dtype": "float32", "nodata": float("nan")}, {".img.aux.xml"}),
        ("ENVI", ".dat", {"bands": 2, "dtype": "float64"}, {".dat.aux.xml", ".hdr"}),
        ("ENVI", ".bsq", {"bands": 3, "nodata": 0.0}, {".bsq.aux.xml", ".hdr"}),
        ("EHdr", ".bil", {"dtype": "float32", "nodata": -9999.0}, None),
        ("AAIGrid", ".asc", {"dtype": "float32", "nodata": -9999.0}, {".asc.aux.xml", ".prj"}),
    ],
)
def test_other_formats_come_out_whole(
    tmp_path: Path, driver: str, ending: str, facts: dict[str, Any], beside: set[str] | None
) -> None:
    path, spec = tmp_path / f"a{ending}", spec_of(names=("first",), tags={"MODEL": "m"}, **facts)
    array = write(path, spec, RasterOptions(driver=driver.lower()))
    with rasterio.open(path) as dataset:
        assert dataset.driver == driver
        np.testing.assert_array_equal(dataset.read(), array)
        assert tuple(dataset.transform)[:6] == pytest.approx(PLACE["transform"], abs=1e-9)
        assert CRS(dataset.crs.to_wkt()).to_epsg() == 32633
        np.testing.assert_equal(dataset.nodata, spec.nodata)
        assert dataset.descriptions[0] == "first"
        assert dataset.tags()["MODEL"] == "m"
        if spec.masked:
            np.testing.assert_array_equal(dataset.dataset_mask() > 0, array[0] < 100)
    found = {item.name for item in tmp_path.iterdir()}
    if beside is not None:
        assert found == {path.name, *(f"a{name}" for name in beside)}
    assert not [name for name in found if name.startswith(".")]


@pytest.mark.parametrize("driver", ["GTiff", "COG"])
def test_what_bands_mean_comes_out(tmp_path: Path, driver: str) -> None:
    """Colours beyond RGB, names, units, scaling, a NaN that is nodata: by another GDAL."""
    spec = spec_of(
        bands=5,
        dtype="float32",
        nodata=float("nan"),
        colours=("red", "green", "blue", "undefined", "undefined"),
        names=("R", "G", "B", "NIR", "é SWIR"),
        units=("W", None, None, None, "K"),
        scaling=((0.1, 5.0), (1.0, 0.0), (1.0, 0.0), (1.0, 0.0), (2.0, -273.15)),
        tags={"MODEL_FP": "abc", "TIFFTAG_SOFTWARE": "attachtrans"},
    )
    path = tmp_path / "a.tif"
    write(path, spec, RasterOptions(driver=driver))
    found = gdalinfo(path)
    bands = found["bands"]
    assert [band["colorInterpretation"] for band in bands][:4] == [
        "Red",
        "Green",
        "Blue",
        "Undefined",
    ]
    assert [band["description"] for band in bands] == ["R", "G", "B", "NIR", "é SWIR"]
    assert [band.get("unit", "") for band in bands] == ["W", "", "", "", "K"]
    assert (bands[0]["scale"], bands[0]["offset"]) == (0.1, 5.0)
    assert (bands[4]["scale"], bands[4]["offset"]) == (2.0, -273.15)
    assert {band["noDataValue"] for band in bands} == {"NaN"}
    assert found["metadata"][""]["MODEL_FP"] == "abc"
    assert found["metadata"][""]["TIFFTAG_SOFTWARE"] == "attachtrans"
    assert found["geoTransform"] == [400_000.0, 0.5, 0.0, 5_200_000.0, 0.0, -0.5]


@pytest.mark.parametrize("driver", ["GTiff", "COG", "HFA", "PNG", "ENVI", "JPEG"])
def test_overviews_are_inside_or_beside(tmp_path: Path, driver: str) -> None:
    path = tmp_path / "a.dat"
    array = write(path, spec_of(), RasterOptions(driver=driver, overviews=True, tile=64))
    with rasterio.open(path) as dataset:
        assert dataset.overviews(1) == [2, 4]
        half = dataset.read(1, out_shape=(85, 115))
    mean = array[0].reshape(85, 2, 115, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(half, mean, atol=1)
    assert not [item for item in tmp_path.iterdir() if item.name.startswith(".")]


@pytest.mark.parametrize(
    ("facts", "options", "text"),
    [
        ({}, {"driver": "Nonsense"}, "no driver 'Nonsense'"),
        ({}, {"driver": "SENTINEL2"}, "SENTINEL2 cannot hold"),
        ({}, {"driver": "VRT"}, "VRT cannot hold"),
        ({"bands": 3}, {"driver": "MBTiles"}, "MBTiles cannot hold"),
        ({"bands": 3}, {"driver": "NITF"}, "puts it elsewhere"),  # it rounds
        ({"bands": 3}, {"driver": "KMLSUPEROVERLAY"}, "KMLSUPEROVERLAY cannot hold"),
        ({"dtype": "float32"}, {"driver": "PNG"}, "data type Float32"),
        ({"bands": 5}, {"driver": "PNG"}, "PNG cannot hold.*5 bands"),
        ({"bands": 3}, {"driver": "AAIGrid"}, "AAIGrid cannot hold"),
        ({}, {"driver": "XYZ"}, "loses the coordinate system"),
        ({"bands": 3, "masked": True}, {"driver": "BMP"}, "which pixels have no data"),
        ({"nodata": 0.0}, {"driver": "JPEG"}, "smear nodata"),
        ({"nodata": 0.0}, {"driver": "JP2OpenJPEG"}, "smear nodata"),
        ({"size": Size(70_000, 10)}, {"driver": "JPEG"}, "65500 pixels"),
        ({}, {"creation": {"COMPRES": "LZW"}}, "creation option COMPRES"),
        ({}, {"creation": {"COMPRESS": "FOO"}}, "unexpected value for COMPRESS"),
        ({}, {"driver": "COG", "creation": {"BLOCKSIZ": "256"}}, "creation option BLOCKSIZ"),
        ({}, {"driver": "PNG", "creation": {"ZLEVEL": "77x"}}, "ZLEVEL"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_any_work(
    tmp_path: Path, facts: dict[str, Any], options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ArgumentError, match=text):
        check_writable(tmp_path / "a.x", spec_of(**facts), RasterOptions(**options))
    assert not list(tmp_path.iterdir())


def test_a_lossless_variant_is_accepted(tmp_path: Path) -> None:
    path, spec = tmp_path / "a.jp2", spec_of(bands=3, nodata=0.0)
    lossless = {"QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}
    array = write(path, spec, RasterOptions(driver="JP2OpenJPEG", creation=lossless))
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), array)


def test_creation_options_reach_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    creation = {"compress": "LERC_DEFLATE", "BLOCKXSIZE": "128", "blockysize": "128"}
    array = write(path, spec_of(dtype="float32"), RasterOptions(creation=creation))
    with rasterio.open(path) as dataset:
        assert dataset.block_shapes == [(128, 128)]
        assert dataset.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "LERC_DEFLATE"
        np.testing.assert_array_equal(dataset.read(), array)


def test_notes_on_the_old_file_go_with_it(tmp_path: Path) -> None:
    """Statistics and overviews of other pixels, which GDAL would believe."""
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")
    stale = [path.with_name(f"a.tif{ending}") for ending in (".aux.xml", ".ovr", ".msk")]
    for side in stale:
        side.write_bytes(b"old")
    (tmp_path / "a.tfw").write_bytes(b"not ours")
    with pytest.raises(KeyboardInterrupt), RasterWriter(path, spec_of()):
        raise KeyboardInterrupt
    assert all(side.exists() for side in stale)
    write(path, spec_of(), RasterOptions())
    assert {item.name for item in tmp_path.iterdir()} == {"a.tif", "a.tfw"}
    write(tmp_path / "a.png", spec_of(), RasterOptions(driver="PNG"))
    write(tmp_path / "a.png", spec_of(crs=None, transform=None), RasterOptions(driver="PNG"))
    with open_raster(tmp_path / "a.png") as image:
        assert image.crs is None, "the place of the file before"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    with pytest.raises(ArgumentError, match="is a folder"):
        RasterWriter(tmp_path / "a.tif", spec_of())


@pytest.mark.parametrize(
    ("name", "driver"),
    [("a.tif", "GTiff"), ("a.TIFF", "GTiff"), ("a.img", "HFA"), ("a.png", "PNG")],
)
def test_a_driver_by_the_ending(name: str, driver: str) -> None:
    assert driver_for(Path(name)) == driver


@pytest.mark.parametrize("name", ["a", "a.docx"])
def test_no_driver_by_an_unknown_ending(name: str) -> None:
    with pytest.raises(ArgumentError, match="--driver"):
        driver_for(Path(name))
