"""Files replaced as a whole, hard links, and where a file lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from attachtrans.stores import durable


def test_replacing_keeps_time_and_mode_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "photo 1.jpg"
    path.write_bytes(b"old")
    path.chmod(0o640)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    durable.replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mtime == 1_600_000_000
    assert path.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["photo 1.jpg"]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        durable.replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_backup_by_link_survives_replacing(tmp_path: Path) -> None:
    path, kept = tmp_path / "photo.jpg", tmp_path / "bak" / "photo.jpg"
    path.write_bytes(b"old")
    durable.link_or_copy(path, kept)
    assert kept.samefile(path)
    durable.replace_file(path, b"new")
    assert kept.read_bytes() == b"old"
    durable.link_or_copy(path, kept)
    assert kept.read_bytes() == b"old", "the first backup is never rewritten"


def test_a_backup_on_another_device_is_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    path, kept = tmp_path / "photo.jpg", tmp_path / "bak" / "photo.jpg"
    path.write_bytes(b"old")
    durable.link_or_copy(path, kept)
    assert kept.read_bytes() == b"old"
    assert not kept.samefile(path)


def test_link_over_gives_a_second_name(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jpg", tmp_path / "b.jpg"
    first.write_bytes(b"new")
    second.write_bytes(b"old")
    durable.link_over(first, second)
    assert second.samefile(first)
    assert second.read_bytes() == b"new"


def test_a_network_file_system_is_known_by_its_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = f"/dev/a / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: mounts)
    assert durable.is_on_network(tmp_path / "photos.gpkg")
    assert not durable.is_on_network(Path("/elsewhere.gpkg"))
