"""Workers that behave and workers that do not, as seen from outside."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from attachtrans.hosting.process import ScriptError, WorkerError, WorkerProcess
from tests.hosting.make import gone, is_alive, small

GIB = 1 << 30


@pytest.fixture
def worker():
    process = WorkerProcess()
    yield process
    process.close()


def opened(worker, folder, top="", *, memory_bytes=4 * GIB, **bodies):
    """Give the worker a small function; its parameters."""
    emd = small(folder, top, **bodies)
    request = {
        "script": str(emd.with_suffix(".py")),
        "folders": [str(emd.parent)],
        "model": str(emd),
        "device": -1,
        "product": {"productName": "attachtrans"},
        "memory_bytes": memory_bytes,
    }
    return worker.ask("open", request, timeout_s=60).header


def translate(worker, timeout_s=60, limit_bytes=1 << 20):
    block = np.full((3, 4, 4), 7, np.uint8)
    request = {
        "tlc": (0, 0),
        "shape": block.shape,
        "props": {"pixelType": "u1"},
        "rasters": {"raster": "r"},
    }
    arrays = {"r.pixels": block, "r.mask": np.ones((4, 4), np.uint8)}
    return worker.ask("translate", request, arrays, timeout_s=timeout_s, limit_bytes=limit_bytes)


def test_blocks_go_there_and_back(worker, tmp_path):
    assert opened(worker, tmp_path / "f")["parameters"] == [
        {"name": "raster", "dataType": "raster"}
    ]
    result = translate(worker).arrays["output_pixels"]
    assert result.dtype == np.uint8
    assert np.array_equal(result, np.full((3, 4, 4), 7))


def test_what_a_script_raises_is_told_and_the_worker_lives_on(worker, tmp_path):
    opened(worker, tmp_path / "f", pixels="raise ValueError('no such colour')")
    for _ in range(2):
        with pytest.raises(ScriptError, match=r"ValueError: no such colour \(Small.py, line \d+\)"):
            translate(worker)
    assert worker.alive


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        ("return {'output_pixels': np.zeros((3, 5, 4))}", r"\(3, 5, 4\) where \(3, 4, 4\)"),
        ("return {'output_pixels': np.zeros(())}", r"the shape \(\) where"),
        ("return {'output_pixels': np.zeros(shape, complex)}", "complex128"),
        ("return {'output_pixels': np.full(shape, 'a')}", "none of u1"),
        ("return {'output_pixels': None}", "none of u1|the shape"),
        ("return {'output_mask': 1}", "must return a dict with output_pixels"),
        ("return None", "must return a dict with output_pixels"),
        ("return blocks['raster']", "KeyError: 'raster'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("input()", "EOFError"),
    ],
)
def test_wrong_results_are_told(worker, tmp_path, pixels, words):
    opened(worker, tmp_path / "f", "import numpy as np", pixels=pixels)
    with pytest.raises(ScriptError, match=words):
        translate(worker)
    assert worker.alive


def test_results_of_other_types_are_taken_as_numbers(worker, tmp_path):
    for number, expression in enumerate(
        ("np.ones(shape, bool)", "np.ones(shape, 'i8')", "np.ones(shape, 'f2')", "np.ones(shape)")
    ):
        script = f"return {{'output_pixels': {expression}, 'output_mask': np.ones(shape[1:])}}"
        opened(worker, tmp_path / str(number), "import numpy as np", pixels=script)
        arrays = translate(worker).arrays
        assert np.array_equal(arrays["output_pixels"], np.ones((3, 4, 4)))
        assert arrays["output_mask"].dtype == np.uint8


def test_what_a_script_prints_never_gets_into_the_way(worker, tmp_path, capfd, caplog):
    noise = """
        import os, sys, subprocess
        print("from print")
        sys.stderr.write("from stderr\\n")
        os.write(1, b"from the file descriptor\\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"])
        return {"output_pixels": blocks["raster_pixels"]}
    """
    with caplog.at_level("INFO", "attachtrans.hosting.process"):
        opened(worker, tmp_path / "f", "print('at import')", pixels=noise)
        assert translate(worker).arrays["output_pixels"].size
        worker.close()
    assert capfd.readouterr() == ("", "")
    for words in ("at import", "print", "stderr", "the file descriptor", "a child"):
        assert words in caplog.text


def test_a_slow_script_is_ended(worker, tmp_path):
    opened(worker, tmp_path / "f", pixels="print('now it hangs')\nwhile True: pass")
    begin = time.monotonic()
    with pytest.raises(WorkerError, match=r"longer than 0\.3 s; it printed last: now it hangs"):
        translate(worker, timeout_s=0.3)
    assert time.monotonic() - begin < 10
    assert not worker.alive
    assert gone(worker.pid)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        ("import os; os._exit(7)", "exit code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed .SIGSEGV"),
        ("import ctypes; ctypes.string_at(0)", "crashed .SIGSEGV"),
        ("import os; os.abort()", "crashed .SIGABRT"),
        ("import os; os.closerange(3, 99)", "it closed its channel|exit code"),
        ("import os; os.write(4, b'x' * 99)", "it sent a header of 2021161080 bytes"),
    ],
)
def test_crashes_are_told(worker, tmp_path, pixels, words):
    opened(worker, tmp_path / "f", pixels=pixels)
    with pytest.raises(WorkerError, match=words):
        translate(worker)
    assert not worker.alive


def test_answers_beyond_the_limit_end_the_worker(worker, tmp_path):
    opened(worker, tmp_path / "f")
    with pytest.raises(WorkerError, match="arrays of more than 10 bytes"):
        translate(worker, limit_bytes=10)
    assert not worker.alive


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts mapped memory")
def test_a_script_that_takes_all_memory_is_stopped_by_its_limit(worker, tmp_path):
    opened(
        worker,
        tmp_path / "f",
        "import numpy as np",
        memory_bytes=GIB // 2,
        pixels="self.hog = [np.ones(1 << 24) for _ in range(1000)]",
    )
    with pytest.raises(ScriptError, match="MemoryError"):
        translate(worker)


def test_the_environment_holds_no_secrets(worker, tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_PASSWORD", "x")
    monkeypatch.setenv("PYTHONSTARTUP", "x")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    fresh = WorkerProcess()
    names = "import os; raise ValueError(sorted(os.environ))"
    with pytest.raises(ScriptError) as caught:
        opened(fresh, tmp_path / "f", initialize=names)
    fresh.close()
    assert "OMP_NUM_THREADS" in str(caught.value)
    assert "PASSWORD" not in str(caught.value)
    assert "PYTHON" not in str(caught.value)


def test_stopping_ends_a_request(worker, tmp_path):
    opened(worker, tmp_path / "f", pixels="while True: pass")
    stop = threading.Event()
    worker.obey(stop)
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(WorkerError, match="it was stopped"):
        translate(worker)


def test_children_of_a_script_end_with_it(worker, tmp_path):
    child = """
        import subprocess, sys
        sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"])
        raise ValueError(sleeper.pid)
    """
    with pytest.raises(ScriptError) as caught:
        opened(worker, tmp_path / "f", initialize=child)
    pid = int(str(caught.value).split()[1])
    assert is_alive(pid)
    worker.close()
    assert gone(pid)


def test_a_worker_ends_with_its_object(tmp_path):
    worker = WorkerProcess()
    opened(worker, tmp_path / "f")
    pid = worker.pid
    assert is_alive(pid)
    del worker
    gc.collect()
    assert gone(pid)


@pytest.mark.slow
@pytest.mark.parametrize("busy", [False, True])
def test_a_worker_ends_with_attachtrans_even_when_that_is_killed(tmp_path, busy):
    """Nobody is left who could end it: the end of its input does."""
    body = "while True: pass" if busy else "pass"
    emd = small(tmp_path / "f", initialize=f"print('started', flush=True)\n{body}")
    program = f"""
import sys, time
from attachtrans.hosting.process import WorkerProcess
worker = WorkerProcess()
print(worker.pid, flush=True)
worker.ask("open", {{"script": {str(emd.with_suffix(".py"))!r}, "folders": [], "model": "",
    "device": -1, "product": {{}}, "memory_bytes": {GIB}}}, timeout_s=60)
print("opened", flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    pid = int(parent.stdout.readline())
    if busy:
        time.sleep(1)
    else:
        assert parent.stdout.readline() == "opened\n"
    assert is_alive(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(pid)
