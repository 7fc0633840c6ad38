"""Rasters read and written: rasterio, tifffile and gdalinfo as judges; full disks and kills."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import MaskFlags

from attachtrans.errors import ArgumentError, GeorefError, SinkError, SourceError
from attachtrans.geo.ground import FlatGround
from attachtrans.geo.view import Gcps, Grid, Rpc
from attachtrans.stores.raster import (
    RasterImage,
    RasterOptions,
    RasterSpec,
    RasterWriter,
    open_raster,
)
from attachtrans.types import Size, Window

SIZE = Size(330, 270)
UTM = CRS(32633)
TRANSFORM = (0.5, 0.0, 400_000.0, 0.0, -0.5, 5_200_000.0)


def noise(bands: int, dtype: str, size: Size = SIZE) -> NDArray[Any]:
    rng = np.random.default_rng(bands)
    shape = (bands, size.height, size.width)
    if dtype.startswith("float"):
        return rng.normal(0, 1e3, shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -(2**40)), min(info.max, 2**40), shape).astype(dtype)


def strips(size: Size, height: int = 64) -> Iterator[Window]:
    for row in range(0, size.height, height):
        yield Window(col=0, row=row, width=size.width, height=min(height, size.height - row))


def write(path: Path, array: NDArray[Any], spec: RasterSpec, options: RasterOptions) -> None:
    with RasterWriter(path, spec, options) as writer:
        for window in strips(spec.size):
            writer.write(array[(slice(None), *window.slices)], window)


@pytest.mark.parametrize("cog", [False, True], ids=["gtiff", "cog"])
@pytest.mark.parametrize(
    ("bands", "dtype", "compression"),
    [
        (1, "uint8", "deflate"),
        (3, "uint8", "zstd"),
        (4, "uint8", "lzw"),
        (2, "uint16", "none"),
        (5, "int16", "deflate"),
        (1, "float32", "zstd"),
        (3, "float64", "deflate"),
        (1, "int64", "deflate"),
    ],
)
def test_what_is_written_is_read_by_rasterio(
    tmp_path: Path, bands: int, dtype: str, compression: Any, *, cog: bool
) -> None:
    path, array = tmp_path / "a b.tif", noise(bands, dtype)
    spec = RasterSpec(
        size=SIZE,
        bands=bands,
        dtype=dtype,
        crs=UTM,
        transform=TRANSFORM,
        names=tuple(f"band {i}" for i in range(bands)),
        tags={
            "TIFFTAG_SOFTWARE": "attachtrans",
            "MODEL_FP": "abc",
            "TIFFTAG_IMAGEDESCRIPTION": "é",
        },
    )
    write(path, array, spec, RasterOptions(compression=compression, tile=64, cog=cog))
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), array)
        assert tuple(dataset.transform)[:6] == TRANSFORM
        assert CRS(dataset.crs.to_wkt()) == UTM
        assert dataset.descriptions == spec.names
        assert tuple(kind.name for kind in dataset.colorinterp)[:1] in {
            ("gray",),
            ("red",),
            ("undefined",),
        }
        assert {**dataset.tags(), **spec.tags} == dataset.tags()
        assert dataset.block_shapes[0] == (64, 64)
        assert dataset.overviews(1) == ([2, 4, 8] if cog else [])
    assert [item.name for item in tmp_path.iterdir()] == ["a b.tif"]


def test_the_readers_words_are_the_files_own(tmp_path: Path) -> None:
    path, array = tmp_path / "a.tif", noise(4, "uint8")
    spec = RasterSpec(size=SIZE, bands=4, dtype="uint8", crs=UTM, transform=TRANSFORM)
    write(path, array, spec, RasterOptions())
    with open_raster(path) as image:
        assert (image.size, image.bands, image.dtype) == (SIZE, 4, np.uint8)
        assert image.colours == ("red", "green", "blue", "alpha")
        assert image.nodata is None
        window = Window(col=300, row=200, width=30, height=70)
        np.testing.assert_array_equal(image.read(window), array[:, 200:270, 300:330])
        np.testing.assert_array_equal(image.read_mask(window), array[3, 200:270, 300:330])
        with pytest.raises(ArgumentError, match="reaches out"):
            image.read(Window(col=301, row=0, width=30, height=1))


@pytest.mark.parametrize("cog", [False, True], ids=["gtiff", "cog"])
@pytest.mark.parametrize("compression", ["deflate", "jpeg"])
def test_a_mask_lies_inside_the_file(tmp_path: Path, compression: Any, *, cog: bool) -> None:
    path = tmp_path / "a.tif"
    rows, cols = np.mgrid[: SIZE.height, : SIZE.width]
    array = np.stack([rows % 256, cols % 200, (rows + cols) // 3]).astype("uint8")
    mask = (rows - 130) ** 2 + (cols - 160) ** 2 < 110**2
    spec = RasterSpec(size=SIZE, bands=3, dtype="uint8", transform=TRANSFORM, masked=True)
    options = RasterOptions(compression=compression, quality=95, tile=64, cog=cog, overviews=True)
    with RasterWriter(path, spec, options) as writer:
        writer.write(array)
        for window in strips(SIZE):
            writer.write_mask(mask[window.slices], window)
    with rasterio.open(path) as dataset:
        assert dataset.mask_flag_enums[0] == [MaskFlags.per_dataset]
        np.testing.assert_array_equal(dataset.dataset_mask(), np.where(mask, 255, 0))
        limit = 0 if compression == "deflate" else 3.0
        assert np.abs(dataset.read().astype(float) - array)[:, mask].mean() <= limit
    with rasterio.open(path, overview_level=0) as half:
        np.testing.assert_array_equal(half.read_masks(1).shape, (135, 165))
        assert 0.2 < (half.read_masks(1) > 0).mean() < 0.6
    assert [item.name for item in tmp_path.iterdir()] == ["a.tif"]


def test_nodata_is_what_nobody_wrote(tmp_path: Path) -> None:
    path, array = tmp_path / "a.tif", noise(1, "float32")
    spec = RasterSpec(size=SIZE, bands=1, dtype="float32", nodata=-9999.0, transform=TRANSFORM)
    with RasterWriter(path, spec, RasterOptions(tile=64)) as writer:
        window = Window(col=50, row=40, width=100, height=90)
        writer.write(array[(slice(None), *window.slices)], window)
    with open_raster(path) as image:
        assert image.nodata == -9999.0
        known = image.read_mask() > 0
        assert known[40:130, 50:150].all()
        assert known.sum() == 9000


def test_the_header_of_a_cog_comes_first(tmp_path: Path) -> None:
    """The rules of validate_cloud_optimized_geotiff: order of directories and of data."""
    path, size = tmp_path / "a.tif", Size(1100, 700)
    spec = RasterSpec(size=size, bands=3, dtype="uint8", crs=UTM, transform=TRANSFORM)
    write(path, noise(3, "uint8", size), spec, RasterOptions(cog=True, tile=256))
    with tifffile.TiffFile(path) as file:
        pages = [page.aspage() for page in file.pages]
        assert [page.shape[:2] for page in pages] == [
            (700, 1100),
            (350, 550),
            (175, 275),
            (87, 137),
        ]
        assert all(page.is_tiled for page in pages)
        offsets = [page.offset for page in pages]
        assert offsets == sorted(offsets)
        first_data = [min(page.dataoffsets) for page in pages]
        assert min(first_data) > max(offsets)
        assert first_data == sorted(first_data, reverse=True), "overviews lie before the image"


def gdalinfo(path: Path) -> dict[str, Any]:
    """What the system's GDAL, another build than rasterio's, says."""
    tool = shutil.which("gdalinfo")
    if tool is None:
        pytest.skip("gdalinfo is not installed")
    done = subprocess.run([tool, "-json", path], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


RPC = {
    "LINE_OFF": "134.5",
    "SAMP_OFF": "164.5",
    "LAT_OFF": "46.9",
    "LONG_OFF": "13.7",
    "HEIGHT_OFF": "500",
    "LINE_SCALE": "135",
    "SAMP_SCALE": "165",
    "LAT_SCALE": "0.01",
    "LONG_SCALE": "0.01",
    "HEIGHT_SCALE": "100",
    "LINE_NUM_COEFF": " ".join(["0", "0", "-1", "0.1", *["0"] * 16]),
    "LINE_DEN_COEFF": " ".join(["1", *["0"] * 19]),
    "SAMP_NUM_COEFF": " ".join(["0", "1", "0", "0.2", *["0"] * 16]),
    "SAMP_DEN_COEFF": " ".join(["1", *["0"] * 19]),
}
GCPS = [(0.0, 0.0, 13.0, 47.0, 5.0), (330.0, 0.0, 13.3, 47.0, 6.0), (0.0, 270.0, 13.0, 46.8, 7.0)]


@pytest.mark.parametrize("cog", [False, True], ids=["gtiff", "cog"])
def test_rpcs_are_kept(tmp_path: Path, *, cog: bool) -> None:
    path = tmp_path / "a.tif"
    spec = RasterSpec(size=SIZE, bands=3, dtype="uint8", rpc=RPC)
    write(path, noise(3, "uint8"), spec, RasterOptions(cog=cog))
    found = gdalinfo(path)["metadata"]["RPC"]
    for name, text in RPC.items():
        assert [float(v) for v in found[name].split()] == [float(v) for v in text.split()]
    with open_raster(path) as image:
        georef = image.georef()
        assert isinstance(georef, Rpc)
        assert isinstance(georef.ground, FlatGround)
        assert georef.ground.z == 500.0
        middle = georef.pixel_to_map(np.array([[165.0], [135.0]]))
    np.testing.assert_allclose(middle[:, 0], [13.7, 46.9], rtol=0, atol=1e-9)


@pytest.mark.parametrize("cog", [False, True], ids=["gtiff", "cog"])
def test_control_points_are_kept(tmp_path: Path, *, cog: bool) -> None:
    path = tmp_path / "a.tif"
    spec = RasterSpec(size=SIZE, bands=1, dtype="uint16", crs=CRS(4326), gcps=GCPS)
    write(path, noise(1, "uint16"), spec, RasterOptions(cog=cog))
    found = gdalinfo(path)["gcps"]["gcpList"]
    assert [(g["pixel"], g["line"], g["x"], g["y"], g["z"]) for g in found] == GCPS
    with open_raster(path) as image:
        georef = image.georef()
        assert isinstance(georef, Gcps)
        assert georef.crs == CRS(4326)
        corner = georef.pixel_to_map(np.array([[330.0], [0.0]]))
    np.testing.assert_allclose(corner[:, 0], [13.3, 47.0], rtol=0, atol=1e-9)


def test_a_turned_grid_is_kept(tmp_path: Path) -> None:
    path, turned = tmp_path / "a.tif", (0.4, 0.3, 4e5, 0.3, -0.4, 5.2e6)
    spec = RasterSpec(size=SIZE, bands=1, dtype="uint8", crs=UTM, transform=turned)
    write(path, noise(1, "uint8"), spec, RasterOptions(cog=True))
    assert gdalinfo(path)["geoTransform"] == [4e5, 0.4, 0.3, 5.2e6, 0.3, -0.4]
    with open_raster(path) as image:
        georef = image.georef()
    assert isinstance(georef, Grid)
    np.testing.assert_allclose(
        georef.pixel_to_map(np.array([[10.0], [20.0]]))[:, 0], [4e5 + 10, 5.2e6 - 5]
    )


def test_what_has_no_place_has_no_georef(tmp_path: Path) -> None:
    plain, placed = tmp_path / "plain.tif", tmp_path / "placed.tif"
    write(plain, noise(1, "uint8"), RasterSpec(size=SIZE, bands=1, dtype="uint8"), RasterOptions())
    spec = RasterSpec(size=SIZE, bands=1, dtype="uint8", transform=TRANSFORM)
    write(placed, noise(1, "uint8"), spec, RasterOptions())
    with open_raster(plain) as image:
        assert image.transform is None
        assert image.georef() is None
        assert image.georef(crs=UTM) is None
    with open_raster(placed) as image:
        assert image.georef() is None
        assert isinstance(image.georef(crs=UTM), Grid)


def test_a_damaged_rpc_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    spec = RasterSpec(size=SIZE, bands=1, dtype="uint8", rpc={**RPC, "LAT_SCALE": "0"})
    write(path, noise(1, "uint8"), spec, RasterOptions())
    with open_raster(path) as image, pytest.raises(GeorefError, match="LAT_SCALE"):
        image.georef()


def test_real_scenes_say_where_they_lie(shared: Path) -> None:
    folder = shared / "data/geo/orthority/tests/data"
    with open_raster(folder / "rpc/qb2_basic1b.tif") as image:
        assert isinstance(image, RasterImage)
        assert isinstance(image.georef(), Rpc)
    with open_raster(folder / "ngi/dem.tif") as image:
        assert isinstance(image.georef(), Grid)


@pytest.mark.parametrize(
    ("spec", "options", "text"),
    [
        ({"bands": 0}, {}, "0 bands"),
        ({"dtype": "complex64"}, {}, "complex64"),
        ({"dtype": "float16"}, {}, "float16"),
        ({"bands": 3, "colours": ("red",)}, {}, "1 colours for 3 bands"),
        ({}, {"tile": 100}, "tiles of 100"),
        ({}, {"compression": "jpeg"}, "JPEG of uint8 in 1 bands"),
        ({"bands": 3, "nodata": 0.0}, {"compression": "jpeg"}, "nodata"),
        ({"gcps": GCPS, "transform": TRANSFORM}, {}, "ground control points"),
    ],
)
def test_what_no_file_can_hold_is_refused(
    tmp_path: Path, spec: dict[str, Any], options: dict[str, Any], text: str
) -> None:
    full: dict[str, Any] = {"size": SIZE, "bands": 1, "dtype": "uint8", **spec}
    with pytest.raises(ArgumentError, match=text):
        RasterWriter(tmp_path / "a.tif", RasterSpec(**full), RasterOptions(**options))
    assert not list(tmp_path.iterdir())


def test_wrong_arrays_are_refused_and_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")
    spec = RasterSpec(size=SIZE, bands=1, dtype="uint8")
    with pytest.raises(ArgumentError, match="uint16"), RasterWriter(path, spec) as writer:
        writer.write(noise(1, "uint16"))
    with pytest.raises(ArgumentError, match="without one"), RasterWriter(path, spec) as writer:
        writer.write_mask(noise(1, "uint8")[0])
    with pytest.raises(KeyboardInterrupt), RasterWriter(path, spec) as writer:
        writer.write(noise(1, "uint8"), interrupted())
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.tif"]


def interrupted() -> Window:
    raise KeyboardInterrupt


def test_no_folder_no_file(tmp_path: Path) -> None:
    spec = RasterSpec(size=SIZE, bands=1, dtype="uint8")
    with pytest.raises(SinkError, match="cannot be written"):
        RasterWriter(tmp_path / "none" / "a.tif", spec)
    with pytest.raises(SourceError, match="cannot be opened"):
        open_raster(tmp_path / "a.tif")


@pytest.mark.parametrize("cog", [False, True], ids=["gtiff", "cog"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, *, cog: bool) -> None:
    """GDAL does not report every failed write on closing: each limit gives a whole file or none."""
    path, size = tmp_path / "a.tif", Size(700, 500)
    array = noise(3, "uint8", size)
    spec = RasterSpec(size=size, bands=3, dtype="uint8", transform=TRANSFORM)
    options = RasterOptions(tile=128, overviews=True, cog=cog)
    write(path, array, spec, options)
    whole = path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    failures = 0
    try:
        for share in (0.001, 0.3, 0.6, 0.74, 0.76, 0.78, 0.8, 0.9, 0.97, 0.999, 1.0):
            path.unlink(missing_ok=True)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * whole), before[1]))
            try:
                write(path, array, spec, options)
            except SinkError:
                failures += 1
                assert not list(tmp_path.iterdir())
            else:
                with rasterio.open(path) as dataset:
                    np.testing.assert_array_equal(dataset.read(), array)
                    assert dataset.overviews(1) == [2, 4, 8]
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
    finally:
        signal.signal(signal.SIGXFSZ, ignored)
    assert failures >= 8


def test_a_killed_writer_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    script = f"""
        import os, signal
        import numpy as np
        from pathlib import Path
        from attachtrans.stores.raster import RasterSpec, RasterWriter
        from attachtrans.types import Size, Window
        spec = RasterSpec(size=Size(600, 600), bands=1, dtype="uint8")
        writer = RasterWriter(Path({str(tmp_path / "a.tif")!r}), spec)
        writer.write(np.ones((1, 512, 600), "uint8"), Window(col=0, row=0, width=600, height=512))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert [item.name for item in tmp_path.iterdir()] == [".a.tif.attachtrans-tmp"]
    spec = RasterSpec(size=SIZE, bands=1, dtype="uint8")
    write(tmp_path / "a.tif", noise(1, "uint8"), spec, RasterOptions())
    assert [item.name for item in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.long
def test_memory_does_not_grow_with_the_raster(tmp_path: Path) -> None:
    """A COG of 20,000 x 20,000, 400 MB of it: the process stays below 400 MB."""
    script = f"""
        import resource
        import numpy as np
        from pathlib import Path
        from attachtrans.stores.raster import RasterOptions, RasterSpec, RasterWriter
        from attachtrans.types import Size, Window
        spec = RasterSpec(size=Size(20_000, 20_000), bands=1, dtype="uint8")
        path = Path({str(tmp_path / "a.tif")!r})
        with RasterWriter(path, spec, RasterOptions(cog=True)) as writer:
            for row in range(0, 20_000, 512):
                high = min(512, 20_000 - row)
                block = np.full((1, high, 20_000), row % 251, "uint8")
                writer.write(block, Window(col=0, row=row, width=20_000, height=high))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    environment = {"GDAL_CACHEMAX": "64", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert int(done.stdout) < 400_000
