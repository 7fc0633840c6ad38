"""What malloc says of itself after it was told something (glibc's malloc_info)."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

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


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
@pytest.mark.parametrize(("how", "most"), [("shared", 2), ("apart", 64)])
def test_threads_share_arenas_once_they_are_told(tmp_path: Path, how: str, most: int) -> None:
    said = tmp_path / "malloc.xml"
    command = [sys.executable, "-c", textwrap.dedent(_SCRIPT), how, said]
    subprocess.run(command, check=True)
    arenas = said.read_text().count("<heap nr=")
    assert (arenas <= most) if how == "shared" else (2 < arenas <= most)
