"""`attachtrans translate` on rasters: options, summary, report, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine

from attachtrans import allocator
from attachtrans.cli.options import BAD_USAGE, COULD_NOT_RUN, DONE, SOME_FAILED
from tests.cli.inprocess import call
from tests.tool.rasters.making import NORTH_UP, in_memory, read, run, scene, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two rasters, of which one is damaged."""
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/good.tif", scene(3, 40, 50))
    write(tmp_path / "in/bad.tif", scene(3, 140, 150))
    whole = (tmp_path / "in/bad.tif").read_bytes()
    (tmp_path / "in/bad.tif").write_bytes(whole[: len(whole) // 3])
    return tmp_path


def test_a_raster_and_its_summary(x2: Path, tmp_path: Path) -> None:
    names = ["nir", "red", "green", "blue"]
    plain = {"photometric": "MINISBLACK"}  # else the fourth band would be taken for alpha
    source = write(tmp_path / "in.tif", scene(4, 40, 50), names=names, **plain)
    command = ["translate", source, "-m", x2, "-o", tmp_path / "out.tif", "--device", "cpu"]
    command += ["--bands", "red,green,blue", "--co", "COMPRESS=LZW", "--overviews"]
    done = call(*command)
    assert done.code == DONE
    assert done.out.splitlines()[0] == f"1 translated -> {tmp_path / 'out.tif'}"
    assert "photo" not in done.out
    assert "MP/s" in done.out
    assert np.array_equal(read(tmp_path / "out.tif"), in_memory(x2, read(source)[1:]))
    assert call(*command).out.startswith("1 already")


def test_large_pages_are_for_photos_whose_memory_does_not_add_up(
    x2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    raster = write(tmp_path / "in.tif", scene(3, 40, 50))
    Image.fromarray(scene(3, 40, 50).transpose(1, 2, 0)).save(tmp_path / "photo.jpg")
    for source in (raster, tmp_path / "photo.jpg"):
        monkeypatch.setattr(
            allocator, "use_large_pages", lambda name=source.name: asked.append(name)
        )
        out = tmp_path / f"{source.stem}-out.tif" if source == raster else tmp_path / "photos"
        done = call("translate", source, "-m", x2, "-o", out, "--device", "cpu", "--dry-run")
        assert done.code == DONE, done.err
    assert asked == ["photo.jpg"]


def test_each_raster_has_a_line_in_the_report(x2: Path, folder: Path) -> None:
    command = ["translate", folder / "in", "-m", x2, "-o", folder / "out", "--device", "cpu"]
    planned = call(*command, "--dry-run")
    assert planned.out.startswith("2 planned")
    assert not (folder / "out").exists()
    done = call(*command, "--report", folder / "report.jsonl")
    assert done.code == SOME_FAILED
    assert "failed: bad.tif: " in done.err
    assert [path.name for path in (folder / "out").iterdir()] == ["good.tif"]
    lines = [json.loads(line) for line in (folder / "report.jsonl").read_text().splitlines()]
    said = {line["key"]: (line["status"], line["size_in"], line["size_out"]) for line in lines}
    assert said["good.tif"] == ("translated", [50, 40], [100, 80])
    assert said["bad.tif"][0] == "failed"


def test_speed_is_told_of_rasters(x2: Path, folder: Path) -> None:
    write(folder / "in/bad.tif", scene(3, 30, 30))
    done = call("translate", folder / "in", "-m", x2, "-o", folder / "out", "--device", "cpu")
    assert " rasters/s, " in done.out


def test_a_mosaic_one_by_one_into_a_folder(x2: Path, folder: Path) -> None:
    write(folder / "in/bad.tif", scene(3, 40, 50), transform=NORTH_UP @ Affine.translation(50, 0))
    command = ["translate", folder / "in", "-m", x2, "--device", "cpu", "--mosaic"]
    done = call(*command, "-o", folder / "out", "--processing-mode", "separate")
    assert done.code == DONE, done.err
    assert {path.name for path in (folder / "out").iterdir()} == {"good.tif", "bad.tif"}
    done = call(*command, "-o", folder / "out.tif", "--processing-mode", "mosaicked")
    assert done.code == DONE, done.err
    with rasterio.open(folder / "out.tif") as data:
        assert data.shape == (80, 200)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--crs", "EPSG:999999"], BAD_USAGE, "cannot be read"),
        (["--extent", "0", "0", "10", "10"], BAD_USAGE, "does not touch the raster"),
        (["--bands", "1,2"], BAD_USAGE, "name 3 of"),
        (["--bands", "red,nir,blue"], BAD_USAGE, "has no band 'nir'"),
        (["--cell-size", "0"], BAD_USAGE, "a positive number"),
        (["--cell-size", "a"], BAD_USAGE, "is not a pixel size"),
        (["--driver", "NOPE"], BAD_USAGE, "no driver 'NOPE'"),
        (["--mask", "nothing.gpkg"], COULD_NOT_RUN, "there is no such file"),
        (["--processing-mode", "separate"], BAD_USAGE, "is one raster; leave it out"),
        (["--camera-height", "3"], BAD_USAGE, "concern photos"),
        (["--format", "png"], BAD_USAGE, "concerns photos"),
    ],
)
def test_what_cannot_be_done_is_said(
    x2: Path, tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    source = write(tmp_path / "in.tif", scene(3, 20, 20), names=["red", "green", "blue"])
    done = call("translate", source, "-m", x2, "-o", tmp_path / "out.tif", *options)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_complex_numbers_are_refused(x2: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.tif", scene(1, 20, 20, "float32").astype(np.complex64))
    done = call("translate", source, "-m", x2, "-o", tmp_path / "out.tif")
    assert done.code == BAD_USAGE
    assert "complex64 cannot be translated" in done.err


def test_a_format_that_would_clip_values_is_refused(x2: Path, tmp_path: Path) -> None:
    """Some JPEG libraries hold 12 bits, to which 16 would be cut; others hold 8."""
    source = write(tmp_path / "in.tif", scene(3, 20, 20, "uint16"))
    done = call("translate", source, "-m", x2, "-o", tmp_path / "out.jpg", "--driver", "JPEG")
    assert done.code == BAD_USAGE
    assert "JPEG cannot hold this raster" in done.err


def test_a_driver_makes_what_the_outputs_name_does_not_say(x2: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.tif", scene(3, 20, 20))
    command = ["translate", source, "-m", x2, "-o", tmp_path / "out.bsq", "--driver", "ENVI"]
    assert call(*command).code == DONE
    with rasterio.open(tmp_path / "out.bsq") as data:
        assert data.driver == "ENVI"


@pytest.mark.parametrize("space", ["map", "pixel"])
def test_what_a_run_left_at_its_very_end_is_tidied(x2: Path, tmp_path: Path, space: str) -> None:
    """Stopped after the result had its name, before what lay beside it was removed."""
    source = write(tmp_path / "in.tif", scene(3, 20, 20))
    options = {"space": space, "cell_size": (0.4, 0.4)}
    run(source, x2, tmp_path / "out.tif", **options)
    left = [".out.tif.attachtrans-job"]
    if space == "pixel":
        left += [".out.tif.pixels.tif", "..out.tif.pixels.tif.attachtrans-job"]
    for name in left:
        (tmp_path / name).touch()
    run(source, x2, tmp_path / "out.tif", dry_run=True, **options)
    assert len(list(tmp_path.iterdir())) == 2 + len(left)
    assert run(source, x2, tmp_path / "out.tif", **options).ok
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tif", "out.tif"]
