"""Where the values of a net lie while it runs in stages: on the device, in memory or on disk.

What is needed is known before anything is computed: each value is as large as it is, and goes as
soon as the last part that reads it is done. Files have no name, so they vanish with the process,
however it ends.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attachtrans.errors import InferenceError
from attachtrans.models.translator import Part, Region, Shape

_BYTES = 4
"""Of a float32."""
_SHARE = 0.7
"""Of free memory that is taken; the rest is for tiles, photos and others."""
_SHARE_OF_DISK = 0.9
_LARGE_FILES = Path("/var/tmp")  # noqa: S108 (the system's folder for these; files are unnamed)


class Home(StrEnum):
    """Where a value lies, the quickest first."""

    DEVICE = "on the device"
    MEMORY = "in memory"
    DISK = "on disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Bytes that may be used in each home, and the folder of files."""

    free: Mapping[Home, int]
    folder: Path

    def without_device(self) -> Room:
        """The same, but nothing is kept on the device."""
        return Room(free={**self.free, Home.DEVICE: 0}, folder=self.folder)


def find_room(device: torch.device) -> Room:
    """What is free now. The folder is TMPDIR when that is set, else /var/tmp where it exists."""
    named = "TMPDIR" in os.environ or not os.access(_LARGE_FILES, os.W_OK)
    folder = Path(tempfile.gettempdir()) if named else _LARGE_FILES
    on_device = 0
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        on_device = torch.cuda.mem_get_info(device)[0] + unused
    return Room(
        free={
            Home.DEVICE: int(on_device * _SHARE),
            Home.MEMORY: int(free_memory() * _SHARE),
            Home.DISK: int(shutil.disk_usage(folder).free * _SHARE_OF_DISK),
        },
        folder=folder,
    )


def free_memory(meminfo: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory for a taker; 0 where the system does not say (files are cached there too)."""
    try:
        lines = dict(line.split(":") for line in meminfo.read_text(encoding="ascii").splitlines())
        free = int(lines["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return 0
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no limit
        return free
    return max(min(free, limit - used), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lodging:
    """Where each kept value of some parts lies, and until when.

    homes       of the values, by number
    last_use    number of the part after which a value goes
    peak_bytes  the most that is in use at once, of each home
    """

    homes: Mapping[int, Home]
    last_use: Mapping[int, int]
    peak_bytes: Mapping[Home, int]

    def __str__(self) -> str:
        """How much is kept where."""
        used = [f"{_gigabytes(peak)} {home}" for home, peak in self.peak_bytes.items() if peak]
        return ", ".join(used) or "nothing"


def lodge(parts: Sequence[Part], room: Room) -> Lodging:
    """Give every value the quickest home that has room for it.

    Raises InferenceError when all are full.
    """
    last_use = {
        source: number for number, part in enumerate(parts, start=1) for source in part.reads
    }
    homes: dict[int, Home] = {}
    used = dict.fromkeys(Home, 0)
    peak = dict(used)
    for number, part in enumerate(parts[:-1], start=1):
        nbytes = nbytes_of(part.shape)
        if part.kept:
            for home in Home:
                if used[home] + nbytes <= room.free[home]:
                    break
            else:
                raise InferenceError(_too_little(parts, room))
            homes[number] = home
            used[home] += nbytes
            peak[home] = max(peak[home], used[home])
        for other, home in homes.items():
            if last_use[other] == number:
                used[home] -= nbytes_of(parts[other - 1].shape)
    return Lodging(homes=homes, last_use=last_use, peak_bytes=peak)


def _too_little(parts: Sequence[Part], room: Room) -> str:
    most = dict.fromkeys(Home, 0) | {Home.DISK: 1 << 62}
    need = lodge(parts, Room(free=most, folder=room.folder)).peak_bytes[Home.DISK]
    free = ", ".join(f"{_gigabytes(room.free[home])} {home}" for home in Home if room.free[home])
    return (
        f"--seams exact: the net's values for the whole photo take {_gigabytes(need)}, but there "
        f"is only room for {free or 'nothing'} ({room.folder}): let TMPDIR name a folder with more "
        "room, or use --seams blend"
    )


def nbytes_of(shape: Shape) -> int:
    """Of a value."""
    return math.prod(shape) * _BYTES


def _gigabytes(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB"


class Activation:
    """A value of the whole image, at its home; bands of a pixel lie together.

    Regions can be read and written by several threads, where they do not overlap.
    """

    def __init__(self, shape: Shape, home: Home, folder: Path, device: torch.device) -> None:
        size = (shape.height, shape.width, shape.channels)
        self._device = device
        if home is Home.DISK:
            self._pixels = torch.from_numpy(_file_backed(size, folder))
        else:
            at = device if home is Home.DEVICE else "cpu"
            self._pixels = torch.empty(size, device=at)

    def read(self, region: Region) -> Tensor:
        """(1, channels, rows, cols) on the device; not to be written to."""
        part = self._pixels[region.slices[0], region.slices[1]]
        return part.to(self._device).permute(2, 0, 1)[None]

    def write(self, region: Region, values: Tensor) -> None:
        """Put (1, channels, rows, cols) in."""
        part = self._pixels[region.slices[0], region.slices[1]]
        part.copy_(values[0].permute(1, 2, 0))


def _file_backed(
    shape: tuple[int, int, int], folder: Path
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """An array in a file without a name, whose space is taken now: later it would be a crash."""
    nbytes = math.prod(shape) * _BYTES
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, nbytes)
            else:
                file.truncate(nbytes)
            return np.memmap(file, dtype=np.float32, mode="r+", shape=shape)
    except OSError as error:
        raise InferenceError(
            f"--seams exact: no file of {_gigabytes(nbytes)} can be made in {folder} ({error}): "
            "let TMPDIR name another folder, or use --seams blend"
        ) from error
