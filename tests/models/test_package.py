from __future__ import annotations

import shutil
import stat
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import ModelError
from attachtrans.models.package import (
    FileRef,
    find_definition,
    find_definition_in_folder,
    package_files,
    resolve_model_file,
    unpack,
    unpacked_name,
)


def make_zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["m.emd", "M.EMD", "deep/er/m.Emd", "win\\dows\\m.emd"])
def test_finds_the_only_definition(tmp_path, name):
    path = make_zip(tmp_path / "p.dlpk", {name: b"{}", "x.pth": b"", "__MACOSX/._m.emd": b"x"})
    ref = find_definition(path)
    assert ref.member == name
    assert ref.name.lower() == "m.emd"
    assert ref.suffix == ".emd"
    assert ref.read() == b"{}"
    assert b"".join(ref.chunks()) == b"{}"


@pytest.mark.parametrize("names", [[], ["a.emd", "b.emd"], ["a.emd", "deep/A.EMD"]])
def test_not_exactly_one_definition_is_refused(tmp_path, names):
    path = make_zip(tmp_path / "p.dlpk", dict.fromkeys(["x.pth", *names], b""))
    with pytest.raises(ModelError, match="model definition"):
        find_definition(path)


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "..\\x", "C:\\x", "C:/x", "\\\\host\\x"]
)
def test_entries_that_point_outside_are_refused(tmp_path, name):
    path = make_zip(tmp_path / "p.dlpk", {"m.emd": b"{}", name: b"evil"})
    with pytest.raises(ModelError, match="outside the package"):
        find_definition(path)


def test_links_are_refused(tmp_path):
    path = tmp_path / "p.dlpk"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m.emd", "{}")
        link = zipfile.ZipInfo("weights.pth")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ModelError, match="link"):
        find_definition(path)


def test_a_huge_declared_size_is_refused_and_not_read(tmp_path):
    path = tmp_path / "p.dlpk"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m.emd", bytes(5000))
    ref = find_definition(path)
    with pytest.raises(ModelError, match="more than"):
        ref.read(limit_bytes=4999)
    assert ref.read(limit_bytes=5000) == bytes(5000)


def test_an_entry_longer_than_declared_is_not_read_beyond_that(tmp_path):
    path = make_zip(tmp_path / "p.dlpk", {"m.emd": bytes(100_000)})
    content = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        where = content.index(signature) + at
        content[where : where + 4] = (10).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    with pytest.raises(ModelError):
        find_definition(path).read()


def test_reading_takes_as_much_memory_as_there_is_to_read(tmp_path):
    (tmp_path / "net.pth").write_bytes(b"weights")
    tracemalloc.start()
    try:
        assert FileRef(path=tmp_path / "net.pth").read() == b"weights"
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 1 << 20


def test_weights_that_compress_well_are_fine(tmp_path):
    path = make_zip(tmp_path / "p.dlpk", {"m.emd": b"{}", "w.pth": bytes(1 << 20)})
    assert path.stat().st_size < 5000
    ref = resolve_model_file(find_definition(path), "w.pth")
    assert len(ref.read()) == ref.size_bytes == 1 << 20


@given(st.binary(max_size=300))
def test_noise_is_no_package(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("p") / "p.dlpk"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"ZIP|definition"):
        find_definition(path)


def test_a_damaged_entry_is_named(tmp_path):
    path = make_zip(tmp_path / "p.dlpk", {"m.emd": b"abcdefgh" * 50})
    content = path.read_bytes()
    packed = zlib.compress(b"abcdefgh" * 50)[2:-4]
    path.write_bytes(content.replace(packed[:8], bytes(8), 1))
    with pytest.raises(ModelError, match=r"m\.emd"):
        find_definition(path).read()


def test_encrypted_entries_are_refused(tmp_path):
    path = make_zip(tmp_path / "p.dlpk", {"m.emd": b"{}"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelError, match="encrypted"):
        find_definition(path)


@pytest.mark.parametrize(
    "model_file", ["../w.pth", "..\\..\\etc\\passwd", "/etc/passwd", "C:\\w.pth", "a/../../w.pth"]
)
def test_a_model_file_outside_the_package_is_refused(tmp_path, model_file):
    path = make_zip(tmp_path / "p.dlpk", {"m.emd": b"{}"})
    (tmp_path / "w.pth").write_bytes(b"beside")
    with pytest.raises(ModelError, match="outside the package"):
        resolve_model_file(find_definition(path), model_file)


@pytest.mark.parametrize(
    ("definition", "model_file", "entry"),
    [
        ("m.emd", ".\\w.pth", "w.pth"),
        ("m.emd", "W.PTH", "w.pth"),
        ("sub/m.emd", "w.pth", "sub/w.pth"),
        ("sub/m.emd", "..\\w.pth", "w.pth"),
        ("m.emd", "sub/w.pth", "sub\\w.pth"),
    ],
)
def test_model_files_inside_packages(tmp_path, definition, model_file, entry):
    path = make_zip(tmp_path / "p.dlpk", {definition: b"{}", entry: b"weights"})
    assert resolve_model_file(find_definition(path), model_file).read() == b"weights"


def test_a_missing_entry_is_named(tmp_path):
    path = make_zip(tmp_path / "p.dlpk", {"m.emd": b"{}"})
    with pytest.raises(ModelError, match=r"w\.pth"):
        resolve_model_file(find_definition(path), "w.pth")


@pytest.mark.parametrize("model_file", [".\\Sub\\w.pth", "sub/W.pth", "sub/../sub/w.pth"])
def test_model_files_beside_a_definition(tmp_path, model_file):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/w.pth").write_bytes(b"weights")
    definition = FileRef(path=tmp_path / "m.emd")
    assert resolve_model_file(definition, model_file).read() == b"weights"
    absolute = str(tmp_path / "sub/w.pth")
    assert resolve_model_file(definition, absolute).read() == b"weights"
    assert resolve_model_file(None, absolute).read() == b"weights"
    with pytest.raises(ModelError, match="absolute"):
        resolve_model_file(None, model_file)
    with pytest.raises(ModelError, match="does not exist"):
        resolve_model_file(definition, "sub/v.pth")


def test_the_only_definition_of_a_folder(tmp_path):
    with pytest.raises(ModelError, match="no model definition"):
        find_definition_in_folder(tmp_path)
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/deep.emd").write_text("{}")
    assert find_definition_in_folder(tmp_path).name == "deep.emd"
    (tmp_path / "top.EMD").write_text("{}")
    (tmp_path / "._top.emd").write_text("resource fork")
    assert find_definition_in_folder(tmp_path).name == "top.EMD"
    (tmp_path / "two.emd").write_text("{}")
    with pytest.raises(ModelError, match=r"top\.EMD"):
        find_definition_in_folder(tmp_path)


def test_a_missing_file_is_a_model_error(tmp_path):
    ref = FileRef(path=tmp_path / "w.pth")
    for read in (ref.read, lambda: list(ref.chunks()), lambda: ref.size_bytes):
        with pytest.raises(ModelError, match=r"w\.pth"):
            read()


def test_a_package_is_unpacked_for_code_to_read(tmp_path):
    package = tmp_path / "m.dlpk"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("m.emd", "{}")
        archive.writestr("code/", "")
        archive.writestr("code\\part/a.py", "x = 1")
    assert [ref.member for ref in package_files(package)] == ["code\\part/a.py", "m.emd"]
    (tmp_path / "out").mkdir()
    unpack(package, tmp_path / "out")
    assert (tmp_path / "out" / unpacked_name("code\\part/a.py")).read_text() == "x = 1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.dlpk", "out"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a.py", "a.py"), ("a", "a/b"), ("../a.py",), ("/a.py",)])
def test_what_cannot_be_unpacked_is_refused(tmp_path, names):
    package = tmp_path / "m.dlpk"
    with zipfile.ZipFile(package, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelError, match=r"cannot be unpacked|outside the package"):
        unpack(package, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.dlpk", "out"]


def test_what_is_larger_than_the_disk_is_not_unpacked(tmp_path, monkeypatch):
    package = tmp_path / "m.dlpk"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 20))
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1000))
    with pytest.raises(ModelError, match="TMPDIR"):
        unpack(package, tmp_path)
    assert not (tmp_path / "zeros").exists()


def test_names_that_no_disk_takes(tmp_path):
    definition = FileRef(path=tmp_path / "m.emd")
    for name in ("x" * 3000, "/" + "x" * 300, "a/" * 2500 + "x", "../" * 2000):
        with pytest.raises(ModelError, match="ModelFile"):
            resolve_model_file(definition, name)
