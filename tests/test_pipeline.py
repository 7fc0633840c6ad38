"""The pipeline: order, memory in flight, one bad photo, what ends a run, and stopping early."""

from __future__ import annotations

import dataclasses
import io
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from attachtrans.errors import ChangedError, InferenceError, SinkError, SourceError
from attachtrans.flow import Crew
from attachtrans.image import EncodeOptions, Limits
from attachtrans.pipeline import THREAD_NAME, Pipeline
from attachtrans.report import Outcome, Status
from attachtrans.roles import PhotoRules
from attachtrans.stores.base import Objection
from attachtrans.types import Draft, Item


def jpeg(width: int = 64, height: int = 48, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def grey(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height), 90).save(file, "PNG")
    return file.getvalue()


@dataclass
class Photos:
    """A source in memory; counts what is read."""

    contents: dict[str, bytes | Exception]
    read_keys: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.contents)

    def __iter__(self) -> Iterator[Item]:
        for key in self.contents:
            yield Item(key=key, name=key, media_type="", nbytes=None, features=())

    def read(self, item: Item) -> bytes:
        self.read_keys.append(item.key)
        content = self.contents[item.key]
        if isinstance(content, Exception):
            raise content
        return content

    def close(self) -> None:
        pass


@dataclass
class Store:
    """A sink in memory."""

    committed: dict[str, Draft] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    fail_with: dict[str, Exception] = field(default_factory=dict)
    thread: int | None = None

    def holds(self, item: Item, digest: str) -> bool:
        del digest
        return item.key in self.done

    def objection(self, item: Item, digest: str, marks: tuple[str, ...]) -> Objection | None:
        del digest, marks
        return Objection("no") if item.key in self.refused else None

    def keep(self, item: Item, data: bytes) -> None:
        self.kept[item.key] = data

    def commit(self, draft: Draft) -> None:
        self.thread = threading.get_ident()
        if draft.item.key in self.fail_with:
            raise self.fail_with[draft.item.key]
        self.committed[draft.item.key] = draft

    def finish(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        pass


@dataclass
class Result:
    array: np.ndarray[Any, Any]
    seam_ratio: float | None = None


class Doubler:
    """An engine that repeats pixels; holds two photos back as a batching engine does."""

    def __init__(self, *, held: int = 2, slow: float = 0.0) -> None:
        self.waiting: list[tuple[int, Any]] = []
        self.held = held
        self.slow = slow
        self.failing: dict[int, Exception] = {}

    def submit(self, key: int, array: Any) -> list[tuple[int, Any]]:
        time.sleep(self.slow)
        result = self.failing.get(key) or Result(array.repeat(2, axis=1).repeat(2, axis=2))
        self.waiting.append((key, result))
        out = self.waiting[: -self.held] if self.held else self.waiting
        self.waiting = self.waiting[-self.held :] if self.held else []
        return list(reversed(out))

    def flush(self) -> list[tuple[int, Any]]:
        out, self.waiting = self.waiting, []
        return list(reversed(out))


RULES = PhotoRules(
    limits=Limits(), objection=lambda *_: None, options=lambda *_: EncodeOptions(), growth=4.0
)


def pipeline(photos: Photos, store: Store, *engines: Doubler, crew: Crew | None = None) -> Pipeline:
    return Pipeline(
        photos,
        store,
        engines or (Doubler(),),
        RULES,
        crew=crew or Crew(decoders=3, encoders=2),
        stop=threading.Event(),
    )


def our_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def by_key(outcomes: list[Outcome]) -> dict[str, Status]:
    return {outcome.item.key: outcome.status for outcome in outcomes}


def test_outcomes_come_in_the_order_of_the_source() -> None:
    photos = Photos({f"p{i}": jpeg(16 + 7 * (i % 5), seed=i) for i in range(40)})
    store = Store()
    outcomes = list(pipeline(photos, store, Doubler(), Doubler(held=0)))
    assert [outcome.item.key for outcome in outcomes] == list(photos.contents)
    assert {outcome.status for outcome in outcomes} == {Status.TRANSLATED}
    assert store.thread == threading.get_ident(), "the caller commits"
    for outcome in outcomes:
        assert outcome.size_in
        assert outcome.size_out == (outcome.size_in.width * 2, outcome.size_in.height * 2)


def test_one_bad_photo_does_not_end_the_run() -> None:
    broken = jpeg()[:-300]
    photos = Photos(
        {
            "good": jpeg(seed=1),
            "missing": SourceError("is gone"),
            "broken": broken,
            "pdf": b"%PDF-1.7 something",
            "net": jpeg(seed=2),
            "refused": jpeg(seed=3),
            "done": jpeg(seed=4),
            "changed": jpeg(seed=5),
            "last": jpeg(seed=6),
        }
    )
    store = Store(done={"done"}, refused={"refused"})
    store.fail_with["changed"] = ChangedError("edited")
    engine = Doubler()
    engine.failing[4] = InferenceError("NaN")
    outcomes = list(pipeline(photos, store, engine))
    assert by_key(outcomes) == {
        "good": Status.TRANSLATED,
        "missing": Status.FAILED,
        "broken": Status.SKIPPED,
        "pdf": Status.SKIPPED,
        "net": Status.FAILED,
        "refused": Status.REFUSED,
        "done": Status.ALREADY,
        "changed": Status.REFUSED,
        "last": Status.TRANSLATED,
    }
    assert store.kept == {"broken": broken, "pdf": b"%PDF-1.7 something"}
    assert all(outcome.reason for outcome in outcomes if outcome.status in ("failed", "skipped"))


def test_a_full_disk_ends_the_run() -> None:
    photos = Photos({f"p{i}": jpeg(seed=i) for i in range(10)})
    store = Store(fail_with={"p3": SinkError("disk is full")})
    seen = []
    with pytest.raises(SinkError, match="full"):
        seen.extend(pipeline(photos, store))
    assert list(store.committed) == ["p0", "p1", "p2"]
    assert not our_threads()


def test_a_broken_device_ends_the_run() -> None:
    class Broken(Doubler):
        def submit(self, key: int, array: Any) -> list[tuple[int, Any]]:
            raise RuntimeError("CUDA error: unspecified launch failure")

    with pytest.raises(RuntimeError, match="CUDA"):
        list(pipeline(Photos({"p": jpeg()}), Store(), Broken()))
    assert not our_threads()


def test_stopping_early_leaves_no_thread_and_commits_nothing_more() -> None:
    photos = Photos({f"p{i}": jpeg(seed=i) for i in range(50)})
    store = Store()
    outcomes = iter(pipeline(photos, store, Doubler(slow=0.005)))
    for _ in range(3):
        next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert len(store.committed) == 3
    assert not our_threads()


def test_what_is_in_flight_is_bounded_by_bytes() -> None:
    photos = Photos({f"p{i}": jpeg(400, 300, seed=i) for i in range(30)})
    one = 400 * 300 * 3 * 5
    crew = Crew(decoders=4, encoders=1, budget_bytes=3 * one)
    ahead = 0
    for number, _ in enumerate(pipeline(photos, Store(), Doubler(held=1), crew=crew), 1):
        ahead = max(ahead, len(photos.read_keys) - number)
    # One more is read before it is known how large it is.
    assert ahead <= 4


def test_a_photo_larger_than_the_budget_goes_alone() -> None:
    photos = Photos({f"p{i}": jpeg(200, 200, seed=i) for i in range(5)})
    outcomes = list(pipeline(photos, Store(), crew=Crew(decoders=2, budget_bytes=1)))
    assert {outcome.status for outcome in outcomes} == {Status.TRANSLATED}


def test_an_empty_source_is_no_problem() -> None:
    assert list(pipeline(Photos({}), Store())) == []


def test_photos_are_enlarged_before_the_net() -> None:
    rules = dataclasses.replace(RULES, enlarge=1.5)
    photos = Photos({"colour": jpeg(64, 48), "grey": grey(64, 48)})
    store = Store()
    run = Pipeline(photos, store, [Doubler()], rules, crew=Crew(), stop=threading.Event())
    assert [outcome.size_out for outcome in run] == [(192, 144), (192, 144)]


def test_stage_times_are_kept() -> None:
    run = pipeline(Photos({"p": jpeg()}), Store())
    list(run)
    assert {"read", "decode", "infer", "encode", "commit"} <= set(run.times.wall)
