"""Killed runs, runs at once, others at work in the output: every photo arrives exactly once."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from attachtrans.errors import BusyError
from attachtrans.stores import outfile

from .appending import MARK, append, findings, photos_of, value
from .gpkg import Gpkg, attachment, picture, point

REPOSITORY = Path(__file__).resolve().parents[2]
FEATURES, PHOTOS = 300, 40

CHILD = """
import sys
from pathlib import Path
from tests.stores.appending import append
append(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], to=sys.argv[4])
"""


def field_work(path: Path) -> Path:
    """More features than go into one batch; photos of several pages, some shared by name."""
    gpkg = Gpkg(path)
    gpkg.sql("BEGIN")
    features = [(n, point(n, -n), f"{{{n:036}}}") for n in range(1, FEATURES + 1)]
    gpkg.layer("trees", "GlobalID TEXT", features)
    photos = [
        attachment(n, f"{{{n % 7 + 1:036}}}", picture(n) + bytes(9000))
        for n in range(1, PHOTOS + 1)
    ]
    gpkg.attach("trees", "REL_GLOBALID TEXT", photos)
    gpkg.sql("COMMIT")
    return gpkg.done()


def expected() -> dict[tuple[object, ...], int]:
    return {
        (n % 7 + 1, "fp1", f"trees__ATTACH.DATA/{n}", picture(n) + bytes(9000) + MARK): 1
        for n in range(1, PHOTOS + 1)
    }


def start(source: Path, output: Path, layout: str, layer: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, source, output, layout, layer],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
    )


def check(output: Path, layout: str, layer: str) -> None:
    assert value(output, "PRAGMA integrity_check") == "ok"
    assert value(output, f"SELECT count(*) FROM {layer}") == FEATURES
    assert photos_of(output, layout, layer) == expected()


def kill_at_random_moments(
    tmp_path: Path, layout: str, rounds: int, seed: int, *, same_file: bool
) -> None:
    """Start, kill, look, and at last let one run end; moments are spread over a run's length."""
    moments = random.Random(seed)
    source = field_work(tmp_path / "in.gpkg")
    output, layer = (source, "result") if same_file else (tmp_path / "out.gpkg", "trees")
    for _ in range(rounds):
        child = start(source, output, layout, layer)
        # Imports take most of the time; what matters comes after the output has been opened.
        beginning = time.monotonic()
        while child.poll() is None and time.monotonic() < beginning + 20:
            journal = output.with_name(output.name + "-journal")
            if journal.exists():
                break
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.5))
        child.kill()
        _, errors = child.communicate()
        assert child.returncode in (0, -signal.SIGKILL), errors.decode()
        if output.exists() and output.stat().st_size:
            assert value(output, "PRAGMA integrity_check") == "ok"
    append(source, output, layout, to=layer)
    check(output, layout, layer)
    assert append(source, output, layout, to=layer) == {"already": PHOTOS}


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["attach", "folder"])
def test_a_killed_run_is_completed_by_the_next(layout: str, tmp_path: Path) -> None:
    kill_at_random_moments(tmp_path, layout, 2, 1, same_file=layout == "attach")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("same_file", [False, True])
@pytest.mark.parametrize("layout", ["attach", "media", "blob", "folder"])
def test_many_killed_runs_are_completed_by_the_next(
    layout: str, same_file: bool, tmp_path: Path
) -> None:
    for seed in range(5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        kill_at_random_moments(folder, layout, 5, seed, same_file=same_file)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["attach", pytest.param("media", marks=pytest.mark.slow)])
def test_two_runs_at_once_add_everything_once(layout: str, tmp_path: Path) -> None:
    source, output = field_work(tmp_path / "in.gpkg"), tmp_path / "out.gpkg"
    children = [start(source, output, layout, "trees") for _ in range(2)]
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors.decode()
    check(output, layout, "trees")


@pytest.mark.slow
def test_a_reader_does_not_disturb_and_a_writer_is_waited_for(tmp_path: Path) -> None:
    source, output = field_work(tmp_path / "in.gpkg"), tmp_path / "out.gpkg"
    append(source, output, stop_after=5)
    child = start(source, output, "attach", "trees")
    reader = sqlite3.connect(output, timeout=30)
    while child.poll() is None:
        assert reader.execute("SELECT count(*) FROM trees").fetchall() == [(FEATURES,)]
        reader.execute("BEGIN IMMEDIATE")
        reader.execute("UPDATE trees__ATTACH SET CONTENT_TYPE = CONTENT_TYPE")
        reader.commit()
        time.sleep(0.02)
    reader.close()
    assert child.returncode == 0
    child.communicate()
    check(output, "attach", "trees")


def test_an_output_that_stays_locked_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = field_work(tmp_path / "in.gpkg"), tmp_path / "out.gpkg"
    append(source, output, stop_after=1)
    monkeypatch.setattr(outfile, "_PATIENCE_S", 0.1)
    editor = sqlite3.connect(output, isolation_level=None)
    editor.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError, match="locked by another program"):
        append(source, output)
    editor.execute("ROLLBACK")
    editor.close()
    append(source, output)
    assert findings(output) == []


def test_an_empty_file_that_a_killed_run_left_is_filled(tmp_path: Path) -> None:
    source, output = field_work(tmp_path / "in.gpkg"), tmp_path / "out.gpkg"
    output.touch()
    append(source, output)
    check(output, "attach", "trees")
