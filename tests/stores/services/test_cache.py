"""The cache on disk: whole answers or none, within its size, between processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from attachtrans.errors import SourceError
from attachtrans.stores.services.base import Answer
from attachtrans.stores.services.cache import Cache


def answer(data=b"abc", status=200):
    return Answer(url="u", status=status, media_type="image/png", data=data)


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_kept_is_found(tmp_path):
    cache = Cache(tmp_path / "new" / "cache", most_bytes=1000, days=1)
    assert cache.find("a", "u") is None
    cache.keep("a", answer(b"\n{}\nabc"))
    cache.keep("b", answer(b"", 404))
    assert cache.find("a", "u") == answer(b"\n{}\nabc")
    assert cache.find("b", "u") == answer(b"", 404)
    cache.forget("a")
    assert cache.find("a", "u") is None


@pytest.mark.parametrize("damage", [b"", b"{}", b"nonsense\nabc", None])
def test_damaged_files_are_not_answers(tmp_path, damage):
    cache = Cache(tmp_path, most_bytes=1000, days=1)
    cache.keep("a", answer())
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    assert cache.find("a", "u") is None


def test_old_answers_are_none(tmp_path, monkeypatch):
    cache = Cache(tmp_path, most_bytes=1000, days=2)
    cache.keep("a", answer())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1.9 * 86400)
    assert cache.find("a", "u") == answer()
    monkeypatch.setattr(time, "time", lambda: now + 2.1 * 86400)
    assert cache.find("a", "u") is None


def test_what_was_not_used_for_longest_goes_first_and_nothing_else(tmp_path):
    mine = tmp_path / "ab" / "photo.jpg"
    mine.parent.mkdir()
    mine.write_bytes(bytes(5000))
    left = tmp_path / "00" / "tmpx.part"  # of a killed process
    left.parent.mkdir()
    left.write_bytes(bytes(100))
    os.utime(left, (1, 1))
    cache = Cache(tmp_path, most_bytes=10_000, days=1)
    for number in range(30):
        cache.keep(str(number), answer(bytes(800)))
        for path in files(tmp_path):  # the clock of file systems is coarse
            status = path.stat()
            os.utime(path, ns=(status.st_atime_ns - 10**9, status.st_mtime_ns - 10**9))
        assert cache.find("0", "u") is not None  # used again and again
    ours = [path for path in files(tmp_path) if path != mine]
    assert sum(path.stat().st_size for path in ours) <= 10_000
    assert cache.find("29", "u") is not None
    assert cache.find("3", "u") is None
    assert mine.exists()
    assert not left.exists()


def test_a_cache_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SourceError, match="--cache"):
        Cache(tmp_path / "file" / "cache", most_bytes=1, days=1)


def test_a_full_disk_is_none(tmp_path, monkeypatch):
    cache = Cache(tmp_path, most_bytes=1000, days=1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    cache.keep("a", answer())
    assert cache.find("a", "u") is None
    assert files(tmp_path) == []


WRITER = """
import sys
from pathlib import Path
from attachtrans.stores.services.base import Answer
from attachtrans.stores.services.cache import Cache
cache = Cache(Path(sys.argv[1]), most_bytes=200_000, days=1)
while True:
    for number in range(40):
        data = bytes([number]) * 9000
        cache.keep(str(number), Answer(url="u", status=200, media_type="t", data=data))
"""


@pytest.mark.slow
def test_two_processes_and_a_kill_leave_whole_answers_only(tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
    cache = Cache(tmp_path, most_bytes=200_000, days=1)

    def whole_ones():
        found = [(number, cache.find(str(number), "u")) for number in range(40)]
        assert all(one.data == bytes([number]) * 9000 for number, one in found if one is not None)
        return any(one is not None for _, one in found)

    try:
        while not whole_ones():
            time.sleep(0.05)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            cache.keep("7", answer(bytes([7]) * 9000))
            whole_ones()
    finally:
        writer.kill()
        writer.wait()
    whole_ones()
    assert sum(path.stat().st_size for path in files(tmp_path)) < 2 * 200_000
