from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from attachtrans.errors import InferenceError
from attachtrans.infer.engine import Engine
from attachtrans.infer.lanes import Lanes
from tests.infer.nets import CPU, Net, instance_norm_net, spec
from tests.infer.test_engine import OUT, fails_on, limited, picture, translate

THREADS = 3


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_lanes_have_a_thread_each_and_the_others_keep_theirs():
    lanes = Lanes(CPU)
    assert lanes.count == THREADS
    assert [lanes.submit(torch.get_num_threads).result() for _ in range(9)] == [1] * 9
    assert torch.get_num_threads() == THREADS
    assert lanes.run(torch.get_num_threads).result() == THREADS
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [THREADS]


def test_one_thread_needs_no_lanes():
    lanes = Lanes(CPU)
    assert (lanes.count, lanes.ahead) == (1, 0)
    assert lanes.submit(threading.current_thread).result() is threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        lanes.submit(lambda: 1 / 0).result()


@pytest.mark.usefixtures("three_threads")
def test_batches_run_side_by_side():
    together = threading.Barrier(THREADS, timeout=20)

    def wait(batch: torch.Tensor) -> torch.Tensor:
        together.wait()
        return batch

    arrays = [picture(64, 20), picture(64, 24), picture(40, 60)]
    for result, pixels in zip(translate(Net(wait, spec()), *arrays), arrays, strict=True):
        assert (result.array == pixels).all()


@pytest.mark.usefixtures("three_threads")
def test_last_tiles_are_run_by_all_threads():
    threads: list[int] = []

    def note(batch: torch.Tensor) -> torch.Tensor:
        threads.append(torch.get_num_threads())
        return batch

    translate(Net(note, spec()), picture(20, 20))
    assert threads == [THREADS]


def test_lanes_change_no_result():
    arrays = [picture(150, 90), picture(90, 90), picture(60, 170)]
    settings = {"tile_size": 32, "padding": 8}
    alone = translate(instance_norm_net(), *arrays, **settings)
    torch.set_num_threads(THREADS)
    try:
        for batch_size in (1, 2):
            beside = translate(instance_norm_net(), *arrays, **settings, batch_size=batch_size)
            for a, b in zip(alone, beside, strict=True):
                assert np.abs(a.array.astype(int) - b.array).max() <= 1
    finally:
        torch.set_num_threads(1)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("batch_size", [1, 4])
def test_faults_beside_good_photos(batch_size):
    arrays = [picture(50, 50) // 2 for _ in range(5)]
    arrays[2] = arrays[2].copy()
    arrays[2][0, :, 20] = 200
    seen: list[int] = []
    results = translate(
        fails_on(200, RuntimeError("odd tile")),
        *arrays,
        tile_size=24,
        padding=4,
        batch_size=batch_size,
        on_pixels=seen.append,
    )
    assert isinstance(results[2], InferenceError)
    for i in (0, 1, 3, 4):
        assert (results[i].array == arrays[i]).all()
    assert sum(seen) == 5 * 2500


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("pixels", [3 * 64 * 64, 40 * 40, 10])
def test_out_of_memory_in_lanes(pixels):
    seen: list[int] = []
    arrays = [picture(200, 130), picture(64, 64), picture(180, 64)]
    settings = {"tile_size": 64, "padding": 8, "batch_size": 4, "on_pixels": seen.append}
    for result, image in zip(
        translate(limited(pixels, OUT[0]), *arrays, **settings), arrays, strict=True
    ):
        if pixels == 10:
            assert isinstance(result, InferenceError)
        else:
            assert (result.array == image).all()
    assert sum(seen) == sum(image[0].size for image in arrays)


@pytest.mark.usefixtures("three_threads")
def test_stop_does_not_wait_for_the_rest():
    stop = threading.Event()

    def slow(batch: torch.Tensor) -> torch.Tensor:
        time.sleep(0.01)
        return batch

    engine = Engine[int](
        Net(slow, spec()),
        device=CPU,
        tile_size=16,
        padding=0,
        stop=stop,
        on_pixels=lambda _: stop.set(),
    )
    assert engine.submit(0, picture(160, 160)) == []
    assert engine.flush() == []


def test_each_gives_results_in_order_and_ends_when_stopped():
    lanes, stop = Lanes(torch.device("cpu")), threading.Event()
    assert list(lanes.each(lambda n: n * n, range(9), stop)) == [(n, n * n) for n in range(9)]
    seen = []
    for number, _ in lanes.each(lambda n: n, range(1000), stop):
        seen.append(number)
        stop.set()
    assert seen == [0]
