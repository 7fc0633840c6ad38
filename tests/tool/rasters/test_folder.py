"""Folders of rasters and photos."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attachtrans.report import Status
from attachtrans.stores.raster import RasterImage
from tests.tool.rasters.making import in_memory, read, run, scene, write


def test_rasters_and_photos_of_a_folder_and_what_is_wrong_with_some(
    x2: Path, tmp_path: Path, fixtures_dir: Path
) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    arrays = {"a.tif": scene(3, 60, 50), "sub/b.tif": scene(3, 61, 50)}
    for name, array in arrays.items():
        write(folder / name, array)
    write(folder / "complex.tif", scene(1, 40, 40, "float32").astype("complex64"))
    cut = write(folder / "cut.tif", scene(3, 50, 50)).read_bytes()
    (folder / "cut.tif").write_bytes(cut[: len(cut) // 2])
    photo = min((fixtures_dir / "oblique" / "drone").glob("*.JPG"))
    shutil.copy(photo, folder / "photo.jpg")

    for expected in (Status.TRANSLATED, Status.ALREADY):  # the second time nothing is left to do
        report = run(folder, x2, tmp_path / "out")
        found = {outcome.item.key: outcome.status for outcome in report.outcomes}
        assert found == {
            "a.tif": expected,
            "sub/b.tif": expected,
            "photo.jpg": expected,
            "complex.tif": Status.FAILED,
            "cut.tif": Status.FAILED,
        }
    for name, array in arrays.items():
        assert np.array_equal(read(tmp_path / "out" / name), in_memory(x2, array))
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert {name for name in files if not name.startswith("results.")} == {
        "a.tif",
        "sub/b.tif",
        "photo.jpg",
    }


def test_what_nobody_foresaw_stops_one_raster_only(
    x2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        write(tmp_path / f"in/{name}.tif", scene(3, 30, 30))
    reads = RasterImage.read

    def read_all_but_a(self: RasterImage, *args: Any, **named: Any) -> Any:
        if self.path.stem == "a":
            raise RuntimeError("nobody foresaw this")
        return reads(self, *args, **named)

    monkeypatch.setattr(RasterImage, "read", read_all_but_a)
    failed, done = run(tmp_path / "in", x2, tmp_path / "out").outcomes
    assert failed.reason == "unexpected RuntimeError: nobody foresaw this"
    assert (failed.status, done.status) == (Status.FAILED, Status.TRANSLATED)
    assert "nobody foresaw" in caplog.text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.tif"]
