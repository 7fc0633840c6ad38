from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from attachtrans.errors import InferenceError
from attachtrans.infer import activations
from attachtrans.infer.activations import Activation, Home, Room, find_room, lodge
from attachtrans.models.translator import Region, Shape

CPU = torch.device("cpu")


@dataclass
class Part:
    """Of `size` bytes; only what `lodge` looks at."""

    size: int
    reads: tuple[int, ...]
    kept: bool = True

    @property
    def shape(self) -> Shape:
        return Shape(1, 1, self.size // 4)


# 1 -> 2 -> 3 (not kept) -> 4 (also reads 1) -> result
CHAIN = [
    Part(400, (0,)),
    Part(200, (1,)),
    Part(800, (2,), kept=False),
    Part(100, (1, 2)),
    Part(40, (4,)),
]


def room(device: int = 0, memory: int = 0, disk: int = 0) -> Room:
    free = {Home.DEVICE: device, Home.MEMORY: memory, Home.DISK: disk}
    return Room(free=free, folder=Path("/spill"))


def test_values_go_after_their_last_use():
    lodging = lodge(CHAIN, room(memory=700))
    assert lodging.homes == dict.fromkeys((1, 2, 4), Home.MEMORY)
    assert lodging.last_use[1] == lodging.last_use[2] == 4
    assert lodging.peak_bytes == {Home.DEVICE: 0, Home.MEMORY: 700, Home.DISK: 0}
    assert str(lodging) == "0.0 GB in memory"


def test_the_quickest_home_that_has_room():
    lodging = lodge(CHAIN, room(device=300, memory=400, disk=10_000))
    assert lodging.homes == {1: Home.MEMORY, 2: Home.DEVICE, 4: Home.DEVICE}
    lodging = lodge(CHAIN, room(device=0, memory=300, disk=10_000))
    assert lodging.homes == {1: Home.DISK, 2: Home.MEMORY, 4: Home.MEMORY}


def test_a_value_goes_before_the_next_one_comes():
    parts = [Part(400, (0,)), Part(400, (1,)), Part(400, (2,)), Part(40, (3,))]
    assert lodge(parts, room(memory=800)).peak_bytes[Home.MEMORY] == 800
    with pytest.raises(InferenceError):
        lodge(parts, room(memory=799))


def test_too_little_room_is_refused_with_figures():
    parts = [Part(4_000_000_000, (0,)), Part(40, (1,))]
    with pytest.raises(InferenceError) as caught:
        lodge(parts, room(memory=3_000_000_000, disk=1_000_000_000))
    for word in ("take 4.0 GB", "3.0 GB in memory, 1.0 GB on disk", "/spill", "TMPDIR", "blend"):
        assert word in str(caught.value)
    with pytest.raises(InferenceError, match="room for nothing"):
        lodge(parts, room())


@pytest.mark.parametrize("home", [Home.MEMORY, Home.DISK])
def test_what_was_written_is_read(home, tmp_path):
    value = Activation(Shape(3, 20, 30), home, tmp_path, CPU)
    pixels = torch.randn(1, 3, 20, 30)
    for rows in (range(7), range(7, 20)):
        for cols in (range(11), range(11, 30)):
            region = Region(rows, cols)
            value.write(region, pixels[..., *region.slices])
    part = Region(range(3, 12), range(5, 29))
    assert torch.equal(value.read(part), pixels[..., *part.slices])
    assert not list(tmp_path.iterdir())  # a file without a name: nothing is left by a crash


def test_space_on_disk_is_taken_at_once(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(activations.os, "posix_fallocate", full, raising=False)
    with pytest.raises(InferenceError, match=r"no file of 0\.0 GB .*No space left.*TMPDIR"):
        Activation(Shape(3, 20, 30), Home.DISK, tmp_path, CPU)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InferenceError, match="no file of"):
        Activation(Shape(3, 20, 30), Home.DISK, tmp_path / "nowhere", CPU)


def test_free_room_here(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    found = find_room(CPU)
    assert found.folder == tmp_path
    assert found.free[Home.DEVICE] == 0
    assert found.free[Home.DISK] > 0
    assert found.without_device().free == found.free


def test_memory_within_the_limits_of_a_container(tmp_path):
    meminfo, group = tmp_path / "meminfo", tmp_path / "group"
    meminfo.write_text("MemTotal: 2000 kB\nMemAvailable:    1000 kB\n")
    assert activations.free_memory(meminfo, group) == 1000 << 10
    group.mkdir()
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("600\n")
    assert activations.free_memory(meminfo, group) == 1000 << 10
    (group / "memory.max").write_text("1000\n")
    assert activations.free_memory(meminfo, group) == 400
    (group / "memory.current").write_text("1001\n")
    assert activations.free_memory(meminfo, group) == 0
    assert activations.free_memory(tmp_path / "none", group) == 0
