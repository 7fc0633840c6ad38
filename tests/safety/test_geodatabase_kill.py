"""kill -9 while geodatabases are written: each photo is original or translated once, none is lost.

The net enlarges by two, so a photo that was translated twice shows in its size.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from attachtrans.stores.geodatabase.append import open_staging
from tests.models.nets import bicubic_x2
from tests.safety.test_kill import kill_after, start
from tests.safety.world import judge
from tests.stores.geodatabase import mobileworld
from tests.stores.geodatabase.test_appending import append
from tests.stores.geodatabase.world import everything_else, photos_in, rows, unzipped

Copy = Callable[[str], Path]
KINDS = {".gdb": "inspections.gdb.zip", ".geodatabase": "inspections.geodatabase"}
RESULTS = ("done", "done__ATTACH")
_CONTEXT = multiprocessing.get_context("forkserver")
IDS = "GDB_RowidGenerators"
_MADE_UP = ("GlobalID", "GLOBALID", "REL_GLOBALID", "OBJECTID", "ATTACHMENTID")


def fresh(copy: Copy, kind: str) -> Path:
    path = copy(KINDS[kind])
    return unzipped(path) if kind == ".gdb" else path


def cleared(path: Path) -> None:
    """Nothing of earlier runs in the folder, but the net."""
    for one in path.parent.iterdir():
        if one.suffix in (".emd", ".pt"):
            continue
        if one.is_dir():
            shutil.rmtree(one)
        else:
            one.unlink()


def overwrite_under_fire(copy: Copy, kind: str, rounds: int, seed: int) -> int:
    """Kill overwrites of fresh copies, check, then let each come to its end; how many died."""
    random_ = random.Random(seed)
    path = fresh(copy, kind)
    model = bicubic_x2(path.parent / "bicubic.emd")
    journal = path.with_name(f"{path.name}.attachtrans")
    before, rest = photos_in(path), everything_else(path)
    images = {key for key, data in before.items() if not data.startswith(b"%PDF")}
    killed = 0
    for _ in range(rounds):
        cleared(path)
        fresh(copy, kind)
        for _ in range(random_.randint(1, 3)):
            # Longer than a run takes, as it ends with a copy of everything.
            killed += kill_after(start(path, model), journal, random_.uniform(0, 2.5))
            verdicts = judge(before, photos_in(path))
            assert set(verdicts.values()) <= {"original", "once"}, verdicts
        process = start(path, model)
        process.join()
        assert process.exitcode == 0
        verdicts = judge(before, photos_in(path))
        assert {key for key, verdict in verdicts.items() if verdict == "once"} == images
        assert set(verdicts.values()) <= {"original", "once"}, verdicts
        assert everything_else(path) == rest
        (kept,) = [one for one in path.parent.iterdir() if ".bak" in one.name]
        assert photos_in(kept) == before
        assert not [one for one in path.parent.iterdir() if one.name.startswith(".")]
    return killed


def appended(path: Path) -> list[tuple[object, ...]]:
    """Every row of an output, without the ids that each run makes up."""
    if path.suffix == ".geodatabase":
        found = {name: mobileworld.table(path, name) for name in RESULTS}
    else:
        found = rows(path)
    return sorted(
        (table, *(repr(value) for name, value in row.items() if name not in _MADE_UP))
        for table, features in found.items()
        for row in features.values()
    )


def output_in(folder: Path, kind: str, source: Path) -> tuple[Path, Path]:
    """A geodatabase for results, which is there if it is a mobile one, and what --output names."""
    folder.mkdir()
    output = folder / f"out{kind}"
    if kind == ".gdb":
        return output, output
    shutil.copy(source, output)
    mobileworld.add_class(output, "done", ["name text(80)", "seen realdate"])
    return output, output.with_name(f"{output.name}:done")


def append_under_fire(copy: Copy, kind: str, rounds: int, seed: int) -> int:
    """Kill appends, let each come to its end, compare with an undisturbed one; how many died."""
    random_ = random.Random(seed)
    path = fresh(copy, kind)
    folder = path.parent
    model = bicubic_x2(folder / "bicubic.emd")
    before = photos_in(path)
    calm, name = output_in(folder / "calm", kind, path)
    process = start(path, model, name)
    process.join()
    assert process.exitcode == 0
    expected = appended(calm)
    assert len(expected) == {".gdb": 6 + 6, ".geodatabase": 4 + 5}[kind]
    killed = 0
    for number in range(rounds):
        output, name = output_in(folder / f"fire{number}", kind, path)
        rest = mobileworld.others(output, *RESULTS, IDS) if output.exists() else None
        journal = output.with_name(f"{output.name}.attachtrans")
        for _ in range(random_.randint(1, 3)):
            killed += kill_after(start(path, model, name), journal, random_.uniform(0, 2.5))
            if output.exists():
                assert appended(output) in ([], expected)
        for _ in range(2):
            process = start(path, model, name)
            process.join()
            assert process.exitcode == 0
            assert appended(output) == expected
        assert photos_in(path) == before
        assert [one.name for one in output.parent.iterdir()] == [output.name]
        if rest is not None:
            assert mobileworld.others(output, *RESULTS, IDS) == rest
            assert mobileworld.damage(output) == {"ok"}
    return killed


@pytest.mark.parametrize("kind", KINDS)
def test_overwriting_survives_kill(kind: str, fixture_copy: Copy) -> None:
    overwrite_under_fire(fixture_copy, kind, rounds=1, seed=3)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
def test_overwriting_survives_many_kills(kind: str, fixture_copy: Copy) -> None:
    assert overwrite_under_fire(fixture_copy, kind, rounds=10, seed=5) > 5


def put_in(output: Path, begun: Event) -> None:
    """What an interrupted run left goes into a geodatabase, in a process of its own."""
    begun.set()
    open_staging(output)


@pytest.mark.slow
def test_putting_results_into_a_mobile_geodatabase_survives_kill(fixture_copy: Copy) -> None:
    random_ = random.Random(11)
    path = fresh(fixture_copy, ".geodatabase")
    output, _ = output_in(path.parent / "out", ".geodatabase", path)
    append(path, output, "done", layer="assets", stop_after=4)
    interrupted = path.parent / "interrupted"
    shutil.copytree(output.parent, interrupted)
    rest = mobileworld.others(output, *RESULTS, IDS)
    begun = _CONTEXT.Event()
    process = _CONTEXT.Process(target=put_in, args=(output, begun))
    process.start()
    begun.wait(60)
    started = time.monotonic()
    process.join()
    most = time.monotonic() - started
    expected = appended(output)
    assert len(expected) == 4 + 5
    killed = 0
    for _ in range(4):
        shutil.rmtree(output.parent)
        shutil.copytree(interrupted, output.parent)
        begun = _CONTEXT.Event()
        process = _CONTEXT.Process(target=put_in, args=(output, begun))
        process.start()
        begun.wait(60)
        process.join(random_.uniform(0, most))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        assert appended(output) in ([], expected)
        assert mobileworld.others(output, *RESULTS, IDS) == rest
        open_staging(output)
        assert appended(output) == expected
        assert mobileworld.damage(output) == {"ok"}
        assert mobileworld.others(output, *RESULTS, IDS) == rest
    assert killed


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
def test_appending_survives_many_kills(kind: str, fixture_copy: Copy) -> None:
    assert append_under_fire(fixture_copy, kind, rounds=6, seed=7) > 2
