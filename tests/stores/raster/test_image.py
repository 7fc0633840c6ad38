"""What a raster's fingerprint depends on."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from attachtrans.stores.raster import open_raster
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
