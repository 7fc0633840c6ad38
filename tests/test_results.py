"""What calls give back: saved, read, gone with the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from attachtrans.errors import ArgumentError, OutputExistsError, SinkError, SourceError
from attachtrans.hosting import function
from attachtrans.report import Report
from attachtrans.results import FolderResult, RasterResult
from tests.tool.rasters.making import read, scene, write


def report(path: Path) -> Report:
    return Report(
        outcomes=(), source=path, output=str(path), model="", fingerprint="", arguments={}
    )


@pytest.fixture
def result(tmp_path: Path) -> RasterResult:
    path = write(tmp_path / "a.tif", scene(3, 20, 30))
    return RasterResult(path=path, report=report(path))


def test_a_raster_is_read_and_saved(result: RasterResult, tmp_path: Path) -> None:
    assert str(result) == str(result.path)
    assert np.array_equal(result.to_array(), scene(3, 20, 30))
    for name in ("b.tif", "b.png", "b.img"):
        result.save(tmp_path / name)
        assert np.array_equal(read(tmp_path / name), result.to_array())
        with pytest.raises(OutputExistsError, match="choose another name"):
            result.save(tmp_path / name)
    with pytest.raises(SinkError, match="make it first"):
        result.save(tmp_path / "none" / "b.tif")


def test_an_array_that_does_not_fit_is_refused(
    result: RasterResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in (1800, 1799):
        monkeypatch.setattr(function, "half_the_memory_bytes", lambda limit=limit: limit)
        if limit == 1800:
            assert result.to_array().nbytes == limit
            continue
        with pytest.raises(ArgumentError, match=r"3 bands of 30 x 20 pixels.*read windows"):
            result.to_array()


def test_a_raster_that_is_gone(result: RasterResult, tmp_path: Path) -> None:
    result.path.unlink()
    for use in (result.to_array, lambda: result.save(tmp_path / "b.tif")):
        with pytest.raises(SourceError, match=r"a\.tif"):
            use()


def test_folders_are_copied_whole(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "b.txt").write_text("b")
    result = FolderResult(path=tmp_path / "a", report=report(tmp_path / "a"))
    with pytest.raises(ArgumentError, match="not one raster"):
        result.to_array()
    with pytest.raises(ArgumentError, match="inside of"):
        result.save(tmp_path / "a" / "copy")
    result.save(tmp_path / "copy")
    assert (tmp_path / "copy" / "deep" / "b.txt").read_text() == "b"
    with pytest.raises(OutputExistsError):
        result.save(tmp_path / "copy")


@pytest.mark.slow
def test_temporary_rasters_go_with_the_process(tmp_path: Path) -> None:
    code = (
        "from attachtrans.parameters import Input, raster_output\n"
        "from attachtrans.tool.rasters.kinds import SourceKind\n"
        "source = Input('a.tif', None, SourceKind.FILE, 'a.tif')\n"
        "one, two = (raster_output(source, None, None, separate=False) for _ in '12')\n"
        "one.output.touch()\n"
        "assert one.output.exists() and not two.output.exists()\n"
        "print(one.output)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])},
    ).stdout.strip()
    assert Path(said).is_relative_to(tmp_path)
    assert not list(tmp_path.iterdir())
