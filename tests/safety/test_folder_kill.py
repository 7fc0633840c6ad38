"""kill -9 while a folder is translated: a result is whole or not there, a photo is done once."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attachtrans.flow import Crew
from attachtrans.image import EncodeOptions, Limits
from attachtrans.journal import JobDescription, Journal
from attachtrans.pipeline import Pipeline
from attachtrans.roles import PhotoRules
from attachtrans.stores.base import PhotoSink
from attachtrans.stores.folder import FolderPhotos, open_folder
from attachtrans.stores.foldersink import (
    FolderOverwriteSink,
    FolderSink,
    prepare_results,
    results_journal,
)
from attachtrans.stores.overwrite import Safety
from tests.safety.test_kill import kill_after
from tests.safety.world import judge

_CONTEXT = multiprocessing.get_context("forkserver")
_PHOTOS = 8
_PAUSE_S = 0.02
_CENTRES = "1.0\n0.0\n0.0\n-1.0\n500000.5\n5399999.5\n"


@dataclass(frozen=True)
class Doubled:
    array: Any
    seam_ratio: float | None = None


class Doubling:
    """An engine that enlarges by two, slowly enough to be killed."""

    def submit(self, key: int, array: Any) -> Sequence[tuple[int, Doubled]]:
        time.sleep(_PAUSE_S)
        return [(key, Doubled(np.repeat(np.repeat(array, 2, axis=1), 2, axis=2)))]

    def flush(self) -> Sequence[tuple[int, Doubled]]:
        return ()


def run(root: Path, out: Path | None) -> None:
    """One run in a process of its own; out None: in place."""
    photos = open_folder(root)
    path = root.with_name(f"{root.name}.attachtrans")
    if out is not None:
        prepare_results(out, photos.folder)
        path = results_journal(out)
    journal = Journal(path)
    try:
        job = JobDescription(source="s", fingerprint="f", model="m", arguments="{}", version="0")
        journal.begin(job, again=False)
        sink = _sink(photos, out, journal)
        rules = PhotoRules(
            limits=Limits(), objection=lambda *_: None, options=lambda *_: EncodeOptions()
        )
        crew = Crew(decoders=1, encoders=1, budget_bytes=1 << 20, most_photos=2)
        list(Pipeline(photos, sink, [Doubling()], rules, crew=crew, stop=threading.Event()))
        sink.finish()
        sink.close()
    finally:
        journal.close()


def _sink(photos: FolderPhotos, out: Path | None, journal: Journal) -> PhotoSink:
    if out is None:
        safety = Safety(folder=photos.path.parent)
        return FolderOverwriteSink(photos, journal, safety, fingerprint="f")
    return FolderSink(photos, out, journal, fingerprint="f")


def started(work: Callable[[], None]) -> multiprocessing.process.BaseProcess:
    process = _CONTEXT.Process(target=work)
    process.start()
    return process


def finish(root: Path, out: Path | None) -> None:
    process = started(partial(run, root, out))
    process.join()
    assert process.exitcode == 0


def make(root: Path, *, placed: bool) -> None:
    rng = np.random.default_rng(1)
    for number in range(_PHOTOS):
        folder = root / f"day {number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        if placed:
            (folder / f"{number}.pgw").write_text(_CENTRES)


def files(folder: Path, *, strict: bool = False) -> dict[str, bytes]:
    """All but what journals and, unless strict, interrupted writes leave."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and (strict or ".attachtrans-tmp" not in path.name)
        if ".attachtrans" not in path.name.replace(".attachtrans-tmp", "")
    }


def results_under_fire(place: Path, rounds: int, seed: int) -> int:
    random_ = random.Random(seed)
    root, calm = place / "in", place / "calm"
    make(root, placed=True)
    before = files(root)
    finish(root, calm)
    expected = files(calm)
    assert len(expected) == 2 * _PHOTOS
    killed = 0
    for number in range(rounds):
        out = place / f"fire{number}"
        for _ in range(2):
            out.mkdir(exist_ok=True)
            process = started(partial(run, root, out))
            killed += kill_after(
                process, results_journal(out), random_.uniform(0, _PHOTOS * _PAUSE_S)
            )
            half = files(out)
            assert half.items() <= expected.items(), "a result is not whole"
            done = {key for key in half if key.endswith(".png")}
            assert {key.replace(".png", ".pgw") for key in done} <= half.keys()
        finish(root, out)
        assert files(out, strict=True) == expected
        assert files(root, strict=True) == before
    return killed


def overwrites_under_fire(place: Path, rounds: int, seed: int) -> int:
    random_ = random.Random(seed)
    killed = 0
    for number in range(rounds):
        root = place / f"fire{number}" / "in"
        make(root, placed=False)
        before = files(root)
        journal = root.with_name("in.attachtrans")
        for _ in range(2):
            process = started(partial(run, root, None))
            killed += kill_after(process, journal, random_.uniform(0, _PHOTOS * _PAUSE_S))
            assert set(judge(before, files(root)).values()) <= {"original", "once"}
        finish(root, None)
        assert set(judge(before, files(root, strict=True)).values()) == {"once"}
        assert files(root.with_name("in.bak")) == before
    return killed


def test_results_survive_kill(tmp_path: Path) -> None:
    results_under_fire(tmp_path, rounds=1, seed=3)


def test_overwriting_survives_kill(tmp_path: Path) -> None:
    overwrites_under_fire(tmp_path, rounds=1, seed=4)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_results_survive_many_kills(tmp_path: Path) -> None:
    assert results_under_fire(tmp_path, rounds=15, seed=5) > 10


@pytest.mark.long
@pytest.mark.timeout(900)
def test_overwriting_survives_many_kills(tmp_path: Path) -> None:
    assert overwrites_under_fire(tmp_path, rounds=15, seed=6) > 10
