from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from attachtrans.errors import ModelError
from attachtrans.models.archive import open_archive
from attachtrans.models.package import FileRef

FILE = FileRef(path=Path("net.pt"))


def zipped(*entries: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return stream.getvalue()


def test_entries_by_their_name_in_the_folder():
    content = zipped(("net/data.pkl", b"abc"), ("net/data/0", b"12345"))
    with open_archive(content, FILE, what="archive") as archive:
        assert archive.sizes == {"data.pkl": 3, "data/0": 5}
        assert archive.read("data/0") == b"12345"
        with pytest.raises(ModelError, match=r"lacks the entry data\.json"):
            archive.read("data.json")
        with pytest.raises(ModelError, match="holds 5 bytes"):
            archive.read("data/0", limit_bytes=4)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"noise",
        zipped(),
        zipped(("a/x", b""), ("b/x", b"")),
        zipped(("a/x", b""))[:-5],
    ],
)
def test_what_pytorch_does_not_write(content):
    with (
        pytest.raises(ModelError, match="not a readable archive"),
        open_archive(content, FILE, what="archive"),
    ):
        pass


def test_a_bomb_is_refused_by_what_its_directory_says(monkeypatch):
    monkeypatch.setattr("attachtrans.models.archive.MAX_FILE_BYTES", 1000)
    with (
        pytest.raises(ModelError, match="would unpack to 2000 bytes"),
        open_archive(zipped(("a/x", bytes(2000))), FILE, what="archive"),
    ):
        pass


def test_a_damaged_entry_is_named():
    content = zipped(("a/x", b"abcdefgh" * 100))
    at = content.index(b"a/x") + 3
    damaged = content[:at] + b"\xff" * 4 + content[at + 4 :]
    with (
        open_archive(damaged, FILE, what="archive") as archive,
        pytest.raises(ModelError, match="entry x is damaged"),
    ):
        archive.read("x")
