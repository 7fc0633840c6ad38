"""What a raster's fingerprint depends on, and what says which of its pixels are data."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from attachtrans.stores.raster import open_raster
from attachtrans.stores.raster.validity import valid_values
from tests.stores.raster.making import make_file


def fingerprint(path: Path | str) -> str:
    with open_raster(path) as image:
        return image.fingerprint()


def test_a_file_is_the_same_by_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_file(tmp_path / "a.tif", np.zeros((1, 4, 4), np.uint8))
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    first = fingerprint(path)
    assert fingerprint("a.tif") == fingerprint(tmp_path / "link" / "a.tif") == first
    os.utime(path, (1, 1))
    assert fingerprint(path) != first
    assert fingerprint(make_file(tmp_path / "b.tif", np.zeros((1, 4, 4), np.uint8))) != first


def test_of_a_file_in_an_archive(tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.tif", np.zeros((1, 4, 4), np.uint8))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "in/a.tif")
    name = f"/vsizip/{tmp_path}/a.zip/in/a.tif"
    first = fingerprint(name)
    assert fingerprint(name) == first
    os.utime(tmp_path / "a.zip", (1, 1))
    assert fingerprint(name) != first


@pytest.mark.parametrize(
    ("dtype", "nodata", "masked", "alpha", "expected"),
    [
        ("uint8", 0, False, False, True),
        ("int16", -32768, False, False, True),
        ("uint8", None, False, False, False),
        ("uint8", 0, True, False, False),
        ("uint8", 0, False, True, False),
        ("float32", 0, False, False, False),
    ],
)
def test_where_nodata_says_it_all_the_mask_knows_nothing_more(
    dtype: str, nodata: float | None, masked: bool, alpha: bool, expected: bool, tmp_path: Path
) -> None:
    path, bands = tmp_path / "some.tif", 4 if alpha else 3
    values = np.random.default_rng(2).integers(0, 3, (bands, 40, 50)).astype(dtype)
    if nodata is not None:
        values[values == 1] = nodata
        values[:, :9] = nodata
    shape = {"count": bands, "height": 40, "width": 50, "dtype": dtype, "nodata": nodata}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            **shape,
            transform=Affine.scale(2),
            photometric="RGB",
            **({"alpha": "YES"} if alpha else {}),
        ) as out,
    ):
        out.write(values)
        if masked:
            out.write_mask(np.eye(40, 50, dtype=bool))
    with open_raster(path) as image:
        assert image.says_by_value is expected
        if expected:
            found = [
                valid_values(values, nodata=image.nodata, mask=mask)
                for mask in (None, image.read_mask())
            ]
            np.testing.assert_array_equal(*found)
