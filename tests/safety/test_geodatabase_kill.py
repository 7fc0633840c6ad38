"""kill -9 while geodatabases are written: each photo is original or translated once, none is lost.

The net enlarges by two, so a photo that was translated twice shows in its size.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.models.nets import bicubic_x2
from tests.safety.test_kill import kill_after, start
from tests.safety.world import judge
from tests.stores.geodatabase.world import everything_else, photos_in, rows, unzipped

Copy = Callable[[str], Path]
KINDS = {".gdb": "inspections.gdb.zip", ".geodatabase": "inspections.geodatabase"}
_MADE_UP = ("GlobalID", "GLOBALID", "REL_GLOBALID")


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
    return sorted(
        (table, *(repr(value) for name, value in row.items() if name not in _MADE_UP))
        for table, features in rows(path).items()
        for row in features.values()
    )


def append_under_fire(copy: Copy, rounds: int, seed: int) -> int:
    """Kill appends, let each come to its end, compare with an undisturbed one; how many died."""
    random_ = random.Random(seed)
    path = fresh(copy, ".gdb")
    folder = path.parent
    model = bicubic_x2(folder / "bicubic.emd")
    before = photos_in(path)
    (folder / "calm").mkdir()
    calm = folder / "calm" / "out.gdb"
    process = start(path, model, calm)
    process.join()
    assert process.exitcode == 0
    expected = appended(calm)
    assert len(expected) == 6 + 6
    killed = 0
    for number in range(rounds):
        output = folder / f"fire{number}" / "out.gdb"
        output.parent.mkdir()
        journal = output.with_name("out.gdb.attachtrans")
        for _ in range(random_.randint(1, 3)):
            killed += kill_after(start(path, model, output), journal, random_.uniform(0, 2.5))
            if output.exists():
                half = appended(output)
                assert not [row for row in half if row not in expected]
        for _ in range(2):
            process = start(path, model, output)
            process.join()
            assert process.exitcode == 0
            assert appended(output) == expected
        assert photos_in(path) == before
        assert [one.name for one in output.parent.iterdir()] == ["out.gdb"]
    return killed


@pytest.mark.parametrize("kind", KINDS)
def test_overwriting_survives_kill(kind: str, fixture_copy: Copy) -> None:
    overwrite_under_fire(fixture_copy, kind, rounds=1, seed=3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
def test_overwriting_survives_many_kills(kind: str, fixture_copy: Copy) -> None:
    assert overwrite_under_fire(fixture_copy, kind, rounds=10, seed=5) > 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_appending_survives_many_kills(fixture_copy: Copy) -> None:
    assert append_under_fire(fixture_copy, rounds=4, seed=7) > 2
