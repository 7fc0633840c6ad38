"""Functions whose workers fail: whom it costs what."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from attachtrans.errors import InferenceError, ModelError
from attachtrans.hosting.function import (
    Block,
    HostedFunction,
    Program,
    Raster,
    half_the_memory_bytes,
)
from attachtrans.hosting.rasters import RasterInfo
from tests.hosting.make import gone, small

INFO = RasterInfo(bands=1, pixel_type="u1", size=(4, 4), span=(4, 4))
BLOCK = Block(
    corner=(0, 0),
    shape=(4, 4),
    rasters={"raster": Raster(pixels=np.ones((1, 4, 4), "u1"), mask=np.ones((4, 4), "u1"))},
)


def hosted(folder, top="", *, timeout_s=60, stop=None, **bodies):
    emd = small(folder, top, **bodies)
    program = Program(
        script=emd.with_suffix(".py"),
        folders=(),
        model=str(emd),
        device=-1,
        product={"productName": "attachtrans"},
        timeout_s=timeout_s,
        memory_bytes=4 << 30,
    )
    function = HostedFunction(program, stop)
    function.configure({})
    return function


def photo(function):
    return function.image({"raster": INFO}, INFO)


# Crashes as long as the file "crash" lies beside the script.
CRASHES = """
    import os
    if os.path.exists(os.path.join(os.path.dirname(__file__), "crash")):
        os._exit(5)
    return {"output_pixels": blocks["raster_pixels"]}
"""


@pytest.mark.slow
def test_a_crash_costs_one_photo_and_the_next_gets_a_fresh_worker(tmp_path):
    function = hosted(tmp_path / "f", pixels=CRASHES)
    flag = tmp_path / "f" / "crash"
    for _ in range(4):  # never three in a row
        flag.touch()
        bad, pid = photo(function), function.pid
        for _ in range(2):
            with pytest.raises(InferenceError, match=r"Small.py failed: it ended with exit code 5"):
                function.translate(bad, BLOCK)
        flag.unlink()
        good = photo(function)
        assert np.array_equal(function.translate(good, BLOCK).pixels, np.ones((1, 4, 4)))
        assert function.pid != pid
    function.close()


def test_three_photos_in_a_row_are_enough(tmp_path):
    function = hosted(tmp_path / "f", pixels="import os; os._exit(5)")
    for _ in range(3):
        with pytest.raises(InferenceError, match="exit code 5"):
            function.translate(photo(function), BLOCK)
    with pytest.raises(ModelError, match="given up: its process failed on 3 photos in a row"):
        photo(function)


def test_scripts_that_raise_are_never_given_up(tmp_path):
    function = hosted(tmp_path / "f", pixels="raise ValueError('not this one')")
    for _ in range(5):
        with pytest.raises(InferenceError, match="not this one"):
            function.translate(photo(function), BLOCK)
    function.close()


def test_a_function_knows_which_photo_a_block_is_from(tmp_path):
    """Scripts keep what updateRasterInfo told them; blocks of two photos may come mixed."""
    function = hosted(
        tmp_path / "f",
        "import numpy as np",
        info="self.width = kwargs['raster_info']['extent'][2]; return kwargs",
        pixels="return {'output_pixels': np.full(shape, self.width, 'u1')}",
    )
    other = RasterInfo(bands=1, pixel_type="u1", size=(9, 9), span=(9, 9))
    first, second = photo(function), function.image({"raster": other}, other)
    seen = [function.translate(image, BLOCK).pixels.max() for image in (first, second, first)]
    assert seen == [4, 9, 4]
    function.close()


def test_a_slow_script_costs_its_photo(tmp_path):
    function = hosted(tmp_path / "f", timeout_s=0.5, pixels="while True: pass")
    image, pid = photo(function), function.pid
    with pytest.raises(InferenceError, match=r"longer than 0\.5 s"):
        function.translate(image, BLOCK)
    assert gone(pid)
    function.close()


def test_nothing_starts_once_stopped(tmp_path):
    stop = threading.Event()
    function = hosted(tmp_path / "f", stop=stop)
    pid = function.pid
    stop.set()
    assert gone(pid)
    with pytest.raises(InferenceError, match="stopped"):
        photo(function)


@pytest.mark.parametrize(
    ("bodies", "words"),
    [
        ({"init": "raise OSError('gone')"}, "OSError: gone"),
        ({"initialize": "import os; os._exit(1)"}, "cannot be loaded: it ended with exit code 1"),
        ({"licence": "return {'okToRun': False, 'message': 'Pro only'}"}, "to run here: Pro only"),
        ({"licence": "return {'okToRun': False}"}, "to run here: isLicensed says no"),
        ({"configuration": "raise KeyError('padding')"}, "cannot be configured: KeyError"),
        ({"configuration": "import os; os._exit(1)"}, "cannot be configured: it ended"),
    ],
)
def test_functions_that_cannot_start_say_why(tmp_path, bodies, words):
    with pytest.raises(ModelError, match=words):
        hosted(tmp_path / "f", **bodies)


def test_a_share_of_the_memory_is_the_default():
    assert half_the_memory_bytes() > 1 << 28
