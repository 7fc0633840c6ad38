"""kill -9 at random moments: each photo is original or translated once, never lost, never twice.

The net enlarges by two, so a photo that was translated twice shows in its size.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.models.nets import bicubic_x2
from tests.safety.world import appended, contents, everything_else, geopackage_in, judge

LAYOUTS = {
    "esri_globalid.gpkg": "attach",
    "esri_objectid.gpkg": "attach",
    "related_media.gpkg": "media",
    "blob_column.gpkg": "blob",
    "qfield": "path",
    "mergin": "path",
    "odk": "path",
    "geotagged": "path",
}
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch", "attachtrans.tool.translate", "attachtrans.pipeline"])


def run(gpkg: Path, model: Path, output: Path | None, layout: str, geometry: str | None) -> None:
    """One run in a process of its own."""
    import torch

    from attachtrans.tool.translate import translate_pixels

    torch.set_num_threads(1)
    overwrite = output is None
    translate_pixels(
        gpkg,
        model,
        output,
        overwrite_attachments=overwrite,
        output_layout=layout,
        geometry=geometry,
        device="cpu",
    )


def start(
    gpkg: Path,
    model: Path,
    output: Path | None = None,
    layout: str = "attach",
    geometry: str | None = None,
) -> multiprocessing.Process:
    """Start a run: an overwrite, or an append in this output layout with these geometries."""
    process = _CONTEXT.Process(target=run, args=(gpkg, model, output, layout, geometry))
    process.start()
    return process


def journal_of(gpkg: Path) -> Path:
    """Where a run on this GeoPackage keeps its journal."""
    return gpkg.with_name(f"{gpkg.name}.attachtrans")


def kill_after(process: multiprocessing.Process, journal: Path, seconds: float) -> bool:
    """kill -9 some time after the work on the data has begun; whether it was still running."""
    _until_begun(process, journal)
    process.join(seconds)
    process.kill()  # does nothing to one that has just ended
    process.join()
    return process.exitcode == -signal.SIGKILL


def _until_begun(process: multiprocessing.Process, journal: Path) -> None:
    """Until the journal is opened: only from then on anything is written."""
    before = journal.stat().st_mtime_ns if journal.exists() else 0
    wal = journal.with_name(f"{journal.name}-wal")
    while process.is_alive() and not (
        wal.exists() or (journal.exists() and journal.stat().st_mtime_ns != before)
    ):
        time.sleep(0.002)


def duration(
    place: Path,
    model: Path,
    output: Path | None = None,
    layout: str = "attach",
    geometry: str | None = None,
) -> float:
    """How long an uninterrupted run writes."""
    gpkg = geopackage_in(place)
    process = start(gpkg, model, output, layout, geometry)
    _until_begun(process, journal_of(output or gpkg))
    begun = time.monotonic()
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - begun


def overwrite_under_fire(
    copy: Callable[[str], Path], name: str, rounds: int, seed: int, *, drop_wal: bool
) -> int:
    """Kill overwrites of fresh copies, check, then let each come to its end; how many died."""
    random_ = random.Random(seed)
    place = copy(name)
    model = bicubic_x2(place.parent / "bicubic.emd")
    before = contents(place)
    rest = everything_else(geopackage_in(place))
    whole = duration(place, model)
    after = judge(before, contents(place))
    translatable = {key for key, verdict in after.items() if verdict == "once"}
    assert translatable
    assert set(after.values()) <= {"original", "once"}, after
    killed = 0
    for _ in range(rounds):
        _clear(place)
        copy(name)
        for _ in range(random_.randint(1, 3)):
            gpkg = geopackage_in(place)
            killed += kill_after(
                start(gpkg, model), journal_of(gpkg), random_.uniform(0, 0.8 * whole)
            )
            if drop_wal:
                _drop_wal(place)
            verdicts = judge(before, contents(place))
            assert set(verdicts.values()) <= {"original", "once"}, verdicts
        process = start(geopackage_in(place), model)
        process.join()
        assert process.exitcode == 0
        verdicts = judge(before, contents(place))
        assert {key for key, verdict in verdicts.items() if verdict == "once"} == translatable
        assert set(verdicts.values()) <= {"original", "once"}, verdicts
        assert everything_else(geopackage_in(place)) == rest
    return killed


def _clear(place: Path) -> None:
    import shutil

    for path in place.parent.iterdir():
        if path.suffix in (".emd", ".pt"):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _drop_wal(place: Path) -> None:
    """Somebody copies the files that he knows and leaves the -wal files behind."""
    folder = place if place.is_dir() else place.parent
    for path in folder.rglob("*"):
        if path.name.endswith(("-wal", "-shm")):
            path.unlink()


# One of each layout; the long tests take all.
@pytest.mark.parametrize(
    "name",
    [
        "esri_objectid.gpkg",
        "qfield",
        pytest.param("related_media.gpkg", marks=pytest.mark.slow),
        pytest.param("blob_column.gpkg", marks=pytest.mark.slow),
    ],
)
def test_overwrite_survives_kill(name: str, fixture_copy: Callable[[str], Path]) -> None:
    overwrite_under_fire(fixture_copy, name, rounds=1, seed=7, drop_wal=name.startswith("r"))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("drop_wal", [False, True], ids=["all files", "without -wal"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_overwrite_survives_many_kills(
    name: str, fixture_copy: Callable[[str], Path], *, drop_wal: bool
) -> None:
    assert overwrite_under_fire(fixture_copy, name, rounds=13, seed=11, drop_wal=drop_wal) > 5


def append_under_fire(
    copy: Callable[[str], Path],
    name: str,
    layout: str,
    rounds: int,
    seed: int,
    *,
    geometry: str | None = None,
) -> int:
    """Kill appends, let each come to its end, compare with an undisturbed one; how many died."""
    random_ = random.Random(seed)
    place = copy(name)
    gpkg, folder = geopackage_in(place), place.parent
    model = bicubic_x2(folder / "bicubic.emd")
    before = contents(place)
    # The same name in another folder: SRC_FILE and the photos' folder are named after it.
    (folder / "calm").mkdir()
    calm = folder / "calm" / "out.gpkg"
    whole = duration(place, model, calm, layout, geometry)
    expected = appended(calm)
    assert len(expected) > 1
    killed = 0
    for number in range(rounds):
        (folder / f"fire{number}").mkdir()
        output = folder / f"fire{number}" / "out.gpkg"
        for _ in range(random_.randint(1, 3)):
            process = start(gpkg, model, output, layout, geometry)
            killed += kill_after(process, journal_of(output), random_.uniform(0, 0.8 * whole))
            if output.exists() and output.stat().st_size:
                half = appended(output)
                assert half.keys() <= expected.keys()
                files = {key: data for key, data in half.items() if key.startswith("file ")}
                assert files.items() <= expected.items(), "a photo's file is not whole"
        for _ in range(2):
            process = start(gpkg, model, output, layout, geometry)
            process.join()
            assert process.exitcode == 0
            assert appended(output, strict=True) == expected
        assert contents(place) == before
    return killed


OUTPUTS = ("attach", "media", "blob", "folder")


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("qfield", "media"),
        pytest.param("esri_objectid.gpkg", "blob", marks=pytest.mark.slow),
        pytest.param("mergin", "folder", marks=pytest.mark.slow),
    ],
)
def test_append_survives_kill(name: str, layout: str, fixture_copy: Callable[[str], Path]) -> None:
    append_under_fire(fixture_copy, name, layout, rounds=1, seed=5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layout", "geometry"),
    [
        ("esri_objectid.gpkg", "attach", "footprint"),
        pytest.param("odk", "folder", "both", marks=pytest.mark.long),
    ],
)
def test_footprints_survive_kill(
    name: str, layout: str, geometry: str, fixture_copy: Callable[[str], Path]
) -> None:
    append_under_fire(fixture_copy, name, layout, rounds=1, seed=6, geometry=geometry)


@pytest.mark.slow
def test_two_runs_at_once_place_each_photo_once(fixture_copy: Callable[[str], Path]) -> None:
    """The journal's lock keeps a second run on one output out; it may come when the first ended."""
    gpkg = fixture_copy("blob_column.gpkg")
    model = bicubic_x2(gpkg.parent / "bicubic.emd")
    (gpkg.parent / "out").mkdir()
    output = gpkg.parent / "out" / "out.gpkg"
    runs = [start(gpkg, model, output, "attach", "footprint") for _ in range(2)]
    for process in runs:
        process.join()
    assert 0 in {process.exitcode for process in runs}
    found = appended(output, strict=True)
    calm = gpkg.parent / "calm" / "out.gpkg"
    calm.parent.mkdir()
    duration(gpkg, model, calm, "attach", "footprint")
    assert found == appended(calm, strict=True)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("geometry", ["footprint", "both"])
@pytest.mark.parametrize("layout", OUTPUTS)
@pytest.mark.parametrize("name", ["esri_globalid.gpkg", "related_media.gpkg", "mergin"])
def test_footprints_survive_many_kills(
    name: str, layout: str, geometry: str, fixture_copy: Callable[[str], Path]
) -> None:
    killed = append_under_fire(fixture_copy, name, layout, rounds=7, seed=14, geometry=geometry)
    assert killed > 3


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("layout", OUTPUTS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_append_survives_many_kills(
    name: str, layout: str, fixture_copy: Callable[[str], Path]
) -> None:
    assert append_under_fire(fixture_copy, name, layout, rounds=7, seed=13) > 3
