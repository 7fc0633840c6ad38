"""What malloc does after it was told something, by its own account and by the system's."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from attachtrans import allocator

_SCRIPT = """
    import ctypes, sys, threading
    from attachtrans import allocator

    if sys.argv[1] == "shared":
        allocator.share_arenas()
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    begun, ended = threading.Barrier(9), threading.Barrier(9)

    def work():
        begun.wait()
        libc.malloc(ctypes.c_size_t(1000))
        ended.wait()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    begun.wait()
    ended.wait()
    libc.fopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
    libc.malloc_info(0, file)
    libc.fclose(file)
"""


_FAULTS = """
    import resource, sys
    from attachtrans import allocator

    if sys.argv[1] == "kept":
        allocator.keep_freed()
    b"x" * 24_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        arrays = [b"x" * 24_000_000 for _ in range(4)]
        del arrays
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
_PAGES = 4 * 24_000_000 // 4096
"""Of the arrays of one round."""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
@pytest.mark.parametrize(("how", "most"), [("shared", 1), ("apart", 64)])
def test_threads_share_arenas_once_they_are_told(tmp_path: Path, how: str, most: int) -> None:
    said = tmp_path / "malloc.xml"
    command = [sys.executable, "-c", textwrap.dedent(_SCRIPT), how, said]
    subprocess.run(command, check=True)
    arenas = said.read_text().count("<heap nr=")
    assert (arenas <= most) if how == "shared" else (1 < arenas <= most)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_pages_of_large_arrays_are_kept_once_malloc_is_told() -> None:
    faults = {
        how: int(subprocess.check_output([sys.executable, "-c", textwrap.dedent(_FAULTS), how]))
        for how in ("kept", "as it comes")
    }
    assert faults["kept"] < 2 * _PAGES  # the first round's alone, in a process that reuses them
    assert faults["as it comes"] > 3 * _PAGES


@pytest.mark.parametrize("said", [None, "0"])
def test_large_pages_are_asked_for_unless_the_environment_speaks(
    said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    if said is not None:
        monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", said)
    allocator.use_large_pages()
    assert os.environ.pop("THP_MEM_ALLOC_ENABLE") == (said or "1")
