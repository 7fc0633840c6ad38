"""Rasters that go on after a crash: rasterio, kills at every moment, and full disks as judges."""

from __future__ import annotations

import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import CRS

from attachtrans.errors import ArgumentError, BusyError, SinkError
from attachtrans.stores.raster import RasterOptions, RasterSpec, RasterWriter, ResumableWriter
from attachtrans.types import Size, Window

SIZE = Size(330, 270)
OPTIONS = RasterOptions(compression="zstd", tile=64)


def spec_of(**changes: Any) -> RasterSpec:
    facts: dict[str, Any] = {
        "size": SIZE,
        "bands": 3,
        "dtype": "uint8",
        "crs": CRS(32633),
        "transform": (0.5, 0.0, 400_000.0, 0.0, -0.5, 5_200_000.0),
        "names": ("a", None, "c"),
        "tags": {"MODEL_FP": "abc", "TIFFTAG_SOFTWARE": "attachtrans"},
    }
    return RasterSpec(**(facts | changes))


def pixels(spec: RasterSpec) -> NDArray[Any]:
    rows, cols = np.mgrid[: spec.size.height, : spec.size.width]
    planes = [(rows * (band + 2) + cols * 3) % 251 for band in range(spec.bands)]
    return np.stack(planes).astype(spec.dtype)


def known(size: Size) -> NDArray[np.bool_]:
    """A mask with empty, full and mixed tiles."""
    rows, cols = np.mgrid[: size.height, : size.width]
    found: NDArray[np.bool_] = (rows - 130) ** 2 + (cols - 160) ** 2 < 110**2
    return found


def blocks(size: Size, width: int = 128, height: int = 64) -> list[Window]:
    return [
        Window(
            col=col,
            row=row,
            width=min(width, size.width - col),
            height=min(height, size.height - row),
        )
        for row in range(0, size.height, height)
        for col in range(0, size.width, width)
    ]


def write_blocks(writer: RasterWriter, todo: list[Window]) -> None:
    array, mask = pixels(writer.spec), known(writer.spec.size)
    for window in todo:
        writer.write(array[(slice(None), *window.slices)], window)
        if writer.spec.masked:
            writer.write_mask(mask[window.slices], window)


def interrupted(path: Path, spec: RasterSpec, options: RasterOptions, *, job: str = "job") -> None:
    """A run that writes nine blocks and dies after its last checkpoint, which had six."""
    writer = ResumableWriter(path, spec, options, job=job)
    todo = blocks(spec.size)
    write_blocks(writer, todo[:4])
    writer.checkpoint(4)
    write_blocks(writer, todo[4:6])
    writer.checkpoint(6)
    write_blocks(writer, todo[6:9])
    writer.abort()


def resumed(path: Path, spec: RasterSpec, options: RasterOptions) -> ResumableWriter:
    """The same job until its end."""
    with ResumableWriter(path, spec, options, job="job") as writer:
        write_blocks(writer, blocks(spec.size)[writer.done :])
    return writer


def facts(path: Path) -> dict[str, Any]:
    with rasterio.open(path) as dataset:
        return {
            "profile": {**dataset.profile, "nodata": str(dataset.nodata)},
            "tags": dataset.tags(),
            "names": dataset.descriptions,
            "colours": dataset.colorinterp,
            "overviews": dataset.overviews(1),
            "flags": dataset.mask_flag_enums,
        }


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "zstd": ({}, {}),
    "mask": ({"masked": True}, {}),
    "mask and overviews": ({"masked": True}, {"overviews": True}),
    "cog": ({"masked": True}, {"driver": "COG"}),
    "deflate": ({"dtype": "int16", "nodata": -1.0}, {"compression": "deflate"}),
    "floats": ({"dtype": "float32", "nodata": float("nan"), "masked": True}, {}),
    "lzw": ({"dtype": "uint16"}, {"compression": "lzw"}),
    "plain": ({"masked": True}, {"compression": "none"}),
    "jpeg": ({"masked": True}, {"compression": "jpeg"}),
    "bigtiff": ({"masked": True}, {"creation": {"BIGTIFF": "YES"}}),
    "big endian": ({"dtype": "uint16"}, {"creation": {"ENDIANNESS": "BIG"}}),
    "planes": ({"masked": True}, {"creation": {"INTERLEAVE": "BAND"}}),
    "lerc": ({"dtype": "float32"}, {"creation": {"COMPRESS": "LERC_ZSTD"}}),
    "tiles by --co": ({}, {"creation": {"BLOCKXSIZE": "32", "BLOCKYSIZE": "32"}}),
    "one tile": ({"size": Size(50, 40), "masked": True}, {}),
    "png": ({"masked": True}, {"driver": "PNG"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_raster_is_the_uninterrupted_one(tmp_path: Path, case: str) -> None:
    facts_of_spec, of_options = CASES[case]
    spec, options = spec_of(**facts_of_spec), replace(OPTIONS, **of_options)
    plain, path = tmp_path / "plain.tif", tmp_path / "resumed.tif"
    with RasterWriter(plain, spec, options) as writer:
        write_blocks(writer, blocks(spec.size))
    if spec.size == SIZE:
        interrupted(path, spec, options)
        assert not path.exists()
    writer = resumed(path, spec, options)
    if spec.size == SIZE:
        assert writer.note == "resumed.tif: goes on after block 6"
    assert facts(path) == facts(plain)
    with rasterio.open(path) as made, rasterio.open(plain) as wanted:
        np.testing.assert_array_equal(made.read(), wanted.read())
        np.testing.assert_array_equal(made.dataset_mask(), wanted.dataset_mask())
        if options.compression != "jpeg":
            np.testing.assert_array_equal(made.read(), pixels(spec))
        if spec.masked:
            np.testing.assert_array_equal(made.dataset_mask() > 0, known(spec.size))
    sides = [".png", ".msk", ".xml"] if case == "png" else []
    left = {item.name for item in tmp_path.iterdir() if item.suffix not in sides}
    assert left == {"plain.tif", "resumed.tif"}


SCRIPT = """
    import os, sys, time
    from pathlib import Path
    from tests.stores.raster.test_resumable import *
    path = Path(sys.argv[1])
    spec, options = spec_of(masked=True), replace(OPTIONS, overviews=True)
    todo = blocks(spec.size)
    kills = 0
    while not path.exists() and kills < 100:
        child = os.fork()
        if child == 0:
            with ResumableWriter(path, spec, options, job="job") as writer:
                for number in range(writer.done, len(todo)):
                    write_blocks(writer, todo[number : number + 1])
                    if number % 2 == 0:
                        writer.checkpoint(number + 1)
            os._exit(0)
        time.sleep(0.02 * (kills + 1))
        os.kill(child, 9)
        os.waitpid(child, 0)
        kills += 1
    print(kills)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(tmp_path: Path) -> None:
    """SIGKILL after some milliseconds, again and again, until a run gets through."""
    path, spec = tmp_path / "a.tif", spec_of(masked=True)
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 3
    if (tmp_path / ".a.tif.attachtrans-job").exists():  # killed between the name and the end
        resumed(path, spec, replace(OPTIONS, overviews=True))
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels(spec))
        np.testing.assert_array_equal(dataset.dataset_mask() > 0, known(SIZE))
        assert dataset.overviews(1) == [2, 4, 8]


@pytest.mark.slow
@settings(max_examples=8)
@given(
    cut=st.integers(0, 11),
    junk=st.binary(max_size=300),
    smear=st.booleans(),
)
def test_whatever_came_after_the_checkpoint_is_forgotten(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes, *, smear: bool
) -> None:
    """Half-written tiles at the end, and a header that was half-way to its final state."""
    path, spec = tmp_path_factory.mktemp("crash") / "a.tif", spec_of(masked=True)
    writer = ResumableWriter(path, spec, OPTIONS, job="job")
    todo = blocks(SIZE)
    write_blocks(writer, todo[:cut])
    writer.checkpoint(cut)
    writer.abort()
    partial = path.with_name(".a.tif.attachtrans-part")
    if cut:
        with partial.open("r+b") as file:
            if smear:
                file.write(b"\xff" * 700)
            file.seek(0, 2)
            file.write(junk)
    else:
        assert not list(path.parent.iterdir())
    assert resumed(path, spec, OPTIONS).note == (f"a.tif: goes on after block {cut}" if cut else "")
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels(spec))
        np.testing.assert_array_equal(dataset.dataset_mask() > 0, known(SIZE))


def test_another_job_begins_anew_and_says_so(tmp_path: Path) -> None:
    path, spec = tmp_path / "a.tif", spec_of()
    interrupted(path, spec, OPTIONS, job="other model")
    writer = resumed(path, spec, OPTIONS)
    assert "begun anew" in writer.note
    assert "another job" in writer.note
    interrupted(path, spec, replace(OPTIONS, compression="deflate"))
    assert "another job" in resumed(path, spec, OPTIONS).note
    interrupted(path, spec, OPTIONS)
    later = replace(spec, tags={"TIME": "later"})
    assert resumed(path, later, replace(OPTIONS, threads=2)).note.endswith("after block 6")
    with rasterio.open(path) as dataset:
        assert "MODEL_FP" in dataset.tags(), "those of the run that began it"


def test_a_damaged_rest_is_not_gone_on_with(tmp_path: Path) -> None:
    path, spec = tmp_path / "a.tif", spec_of()
    partial = tmp_path / ".a.tif.attachtrans-part"
    interrupted(path, spec, OPTIONS)
    partial.write_bytes(partial.read_bytes()[:3000])
    assert "damaged" in resumed(path, spec, OPTIONS).note
    interrupted(path, spec, OPTIONS)
    partial.unlink()
    assert "damaged" in resumed(path, spec, OPTIONS).note
    (tmp_path / ".a.tif.attachtrans-job").write_bytes(b"something else" * 100)
    with pytest.raises(SinkError, match="Remove it"):
        ResumableWriter(path, spec, OPTIONS, job="job")
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels(spec))


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    path, spec = tmp_path / "a.tif", spec_of()
    writer = ResumableWriter(path, spec, OPTIONS, job="job")
    todo = blocks(SIZE)
    write_blocks(writer, todo[:5])
    writer.checkpoint(5)
    with pytest.raises(BusyError, match=r"another run is writing .*a\.tif"):
        ResumableWriter(path, spec, OPTIONS, job="job")
    script = f"""
        from pathlib import Path
        from attachtrans.stores.raster.checkpoint import Checkpoints
        Checkpoints(Path({str(tmp_path / ".a.tif.attachtrans-job")!r}), Path("a.tif"))
    """
    second = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert "BusyError: another run is writing a.tif" in second.stderr
    write_blocks(writer, todo[5:])
    writer.finish()
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels(spec))
    assert [item.name for item in tmp_path.iterdir()] == ["a.tif"]


def test_an_error_keeps_what_the_last_checkpoint_had(tmp_path: Path) -> None:
    path, spec = tmp_path / "a.tif", spec_of()
    path.write_bytes(b"old")
    todo = blocks(SIZE)
    writer = ResumableWriter(path, spec, OPTIONS, job="job")
    with pytest.raises(KeyboardInterrupt), writer:
        broken_off(writer, todo)
    assert "first 3 blocks are kept" in writer.kept
    with pytest.raises(SinkError, match="given up"):
        writer.checkpoint(4)
    with pytest.raises(SinkError, match="given up"):
        write_blocks(writer, todo[4:5])
    with pytest.raises(SinkError, match="given up"):
        writer.finish()
    assert path.read_bytes() == b"old"
    writer = ResumableWriter(path, spec, OPTIONS, job="job")
    assert writer.done == 3
    writer.abort(keep=False)
    assert [item.name for item in tmp_path.iterdir()] == ["a.tif"]
    assert path.read_bytes() == b"old"


def broken_off(writer: ResumableWriter, todo: list[Window]) -> None:
    write_blocks(writer, todo[:3])
    writer.checkpoint(3)
    write_blocks(writer, todo[3:4])
    raise KeyboardInterrupt


def test_blocks_left_out_or_cut_through_tiles_are_refused(tmp_path: Path) -> None:
    path, spec = tmp_path / "a.tif", spec_of(masked=True)
    with pytest.raises(ArgumentError, match="whole tiles of 64"):
        ResumableWriter(path, spec, OPTIONS, job="job").write(
            pixels(spec)[:, :60], Window(col=0, row=0, width=330, height=60)
        )
    with (
        pytest.raises(ArgumentError, match=r"30 tiles of a\.tif were never written"),
        ResumableWriter(path, spec, OPTIONS, job="job") as writer,
    ):
        writer.write(pixels(spec))
    with pytest.raises(ArgumentError, match="in square tiles"):
        ResumableWriter(path, spec, replace(OPTIONS, creation={"TILED": "NO"}), job="job")
    assert not list(tmp_path.iterdir())


def test_several_threads_write_at_once(tmp_path: Path) -> None:
    path, spec = tmp_path / "a.tif", spec_of(masked=True)
    with (
        ResumableWriter(path, spec, OPTIONS, job="job") as writer,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(lambda window: write_blocks(writer, [window]), blocks(SIZE)))
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels(spec))
        np.testing.assert_array_equal(dataset.dataset_mask() > 0, known(SIZE))


@pytest.fixture
def limited() -> Iterator[Any]:
    """Sets how long files may get, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(nbytes: int | None) -> None:
        most = before[0] if nbytes is None else nbytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))

    yield limit
    limit(None)
    signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("driver", ["GTiff", "COG", "ENVI"])
def test_a_full_disk_costs_no_more_than_the_last_blocks(
    tmp_path: Path, limited: Any, driver: str
) -> None:
    path, spec = tmp_path / "a.tif", spec_of(dtype="uint16")
    options = replace(OPTIONS, driver=driver, overviews=driver != "ENVI", compression="none")
    todo = blocks(SIZE)
    with ResumableWriter(path, spec, options, job="job") as writer:
        write_blocks(writer, todo)
    whole = path.stat().st_size
    for item in tmp_path.iterdir():
        item.unlink()
    kept: list[tuple[int, str]] = []
    done = 0
    for share in (0.05, 0.3, 0.55, 0.75, 0.8, 0.9, 0.99, 2.0):
        limited(max(int(whole * share), 60_000))
        try:
            writer = ResumableWriter(path, spec, options, job="job")
            assert writer.done == done
            for number in range(done, len(todo)):
                write_blocks(writer, todo[number : number + 1])
                writer.checkpoint(number + 1)
            writer.finish()
        except SinkError as error:
            done = writer.done
            assert not path.exists()
            kept.append((done, str(error)))
        finally:
            limited(None)
        if path.exists():
            break
    assert len(kept) >= 3
    assert all(f"first {number} blocks are kept" in text for number, text in kept if number)
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels(spec))
    assert not [item for item in tmp_path.iterdir() if item.name.startswith(".")]


def test_a_checkpoint_of_a_huge_raster_is_quick(tmp_path: Path) -> None:
    """100,000 x 100,000: the side file gets the new tiles only."""
    path, spec = tmp_path / "a.tif", spec_of(size=Size(100_000, 100_000), masked=True)
    writer = ResumableWriter(path, spec, replace(OPTIONS, tile=512), job="job")
    block = np.zeros((3, 512, 512), np.uint8)
    for number in range(4):
        writer.write(block, Window(col=512 * number, row=0, width=512, height=512))
        writer.checkpoint(number + 1)
    writer.abort()
    side = tmp_path / ".a.tif.attachtrans-job"
    with sqlite3.connect(side) as connection:
        assert connection.execute("SELECT count(*) FROM tile").fetchone() == (4,)
    connection.close()
    writer = ResumableWriter(path, spec, replace(OPTIONS, tile=512), job="job")
    assert writer.done == 4
    writer.abort()
