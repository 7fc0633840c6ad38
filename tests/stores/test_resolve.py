from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attachtrans.stores.resolve import Resolver, looks_like_path

FILES = (
    "DCIM/1.jpg",
    "DCIM/2.jpg",
    "DCIM/Smith, John; north|side.jpg",
    "DCIM/100% #1.jpg",
    "Bäume/Eiche.JPG",
    "a.jpg",
    "noext",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outer") / "home"
    for name in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (folder.parent / "outside.jpg").write_bytes(b"secret")
    (folder / "leak.jpg").symlink_to(folder.parent / "outside.jpg")
    (folder / "alias.jpg").symlink_to(folder / "DCIM" / "1.jpg")
    (folder / "up").symlink_to(folder.parent)
    os.mkfifo(folder / "pipe.jpg")
    return folder


def names(home: Path, value: str, **options: object) -> list[str | None]:
    found = Resolver([home], **options).resolve(value)
    return [None if f.path is None else f.path.relative_to(home).as_posix() for f in found]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("DCIM/1.jpg", "DCIM/1.jpg"),
        ("./DCIM//1.jpg", "DCIM/1.jpg"),
        ("DCIM/../DCIM/1.jpg", "DCIM/1.jpg"),
        ("DCIM\\1.jpg", "DCIM/1.jpg"),
        ("  'DCIM/1.jpg' ", "DCIM/1.jpg"),
        ('["DCIM/1.jpg"]', "DCIM/1.jpg"),
        ("[DCIM/1.jpg]", "DCIM/1.jpg"),
        ("{DCIM/1.jpg}", "DCIM/1.jpg"),
        ("dcim/1.JPG", "DCIM/1.jpg"),
        (unicodedata.normalize("NFD", "bäume/eiche.jpg"), "Bäume/Eiche.JPG"),
        ("DCIM/Smith, John; north|side.jpg", "DCIM/Smith, John; north|side.jpg"),
        ("alias.jpg", "DCIM/1.jpg"),
        ("noext", "noext"),
        ("/sdcard/project/DCIM/1.jpg", "DCIM/1.jpg"),
        ("C:\\Users\\me\\project\\DCIM\\2.jpg", "DCIM/2.jpg"),
        ("/mnt/old/Eiche.jpg", "Bäume/Eiche.JPG"),
        ("DCIM/100% #1.jpg", "DCIM/100% #1.jpg"),
    ],
)
def test_spellings_of_one_path(home: Path, value: str, expected: str) -> None:
    assert names(home, value) == [expected]


def test_file_addresses(home: Path) -> None:
    for path in ("DCIM/1.jpg", "DCIM/100% #1.jpg", "Bäume/Eiche.JPG"):
        assert names(home, (home / path).as_uri()) == [path]
    assert names(home, f"file://localhost{home}/a.jpg") == ["a.jpg"]
    assert names(home, "file:///C:/old/DCIM/1.jpg") == ["DCIM/1.jpg"]


@pytest.mark.parametrize(
    "value",
    [
        "DCIM/1.jpg;DCIM/2.jpg",
        "DCIM/1.jpg, DCIM/2.jpg",
        "DCIM/1.jpg|DCIM/2.jpg",
        "DCIM/1.jpg\nDCIM/2.jpg\n",
        '["DCIM/1.jpg", "DCIM/2.jpg"]',
        "['DCIM/1.jpg', 'DCIM/2.jpg']",
        "[DCIM/1.jpg,DCIM/2.jpg]",
        '"DCIM/1.jpg";"DCIM/2.jpg"',
    ],
)
def test_lists(home: Path, value: str) -> None:
    assert names(home, value) == ["DCIM/1.jpg", "DCIM/2.jpg"]


def test_lists_with_names_that_hold_separators(home: Path) -> None:
    odd = "DCIM/Smith, John; north|side.jpg"
    assert names(home, json.dumps([odd, "a.jpg"])) == [odd, "a.jpg"]
    assert names(home, "DCIM/missing, here.jpg") == [None]
    assert names(home, "x.jpg, DCIM/1.jpg") == [None, "DCIM/1.jpg"]
    assert names(home, "x.jpg;y.jpg") == [None, None]
    assert names(home, "An oak, old") == [None]
    assert names(home, "[]") == []


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([name for name in FILES if not set(name) & set(";,|")]), min_size=1),
    st.sampled_from([";", ",", "|", "\n", " ; ", "json"]),
)
def test_any_list_is_split_into_its_parts(home: Path, parts: list[str], separator: str) -> None:
    text = json.dumps(parts) if separator == "json" else separator.join(parts)
    assert names(home, text) == parts


@pytest.mark.parametrize(
    "value",
    [
        "../outside.jpg",
        "DCIM/../../outside.jpg",
        "..\\outside.jpg",
        "leak.jpg",
        "LEAK.jpg",
        "up/outside.jpg",
        "{outer}/outside.jpg",
        "file://{outer}/outside.jpg",
    ],
)
def test_nothing_outside_is_reached(home: Path, value: str) -> None:
    (found,) = Resolver([home]).resolve(value.replace("{outer}", str(home.parent)))
    assert found.path is None
    assert "outside" in (found.problem or "")
    assert "--base" in (found.problem or "")


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(["..", ".", "DCIM", "up", "leak.jpg", "outside.jpg", "", "1.jpg", "~"]),
        max_size=6,
    ),
    st.sampled_from(["/", "\\"]),
)
def test_no_mixture_of_steps_leads_out(home: Path, steps: list[str], separator: str) -> None:
    for found in Resolver([home]).resolve(separator.join(steps)):
        assert found.path is None or found.path.resolve().is_relative_to(home)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("https://example.org/1.jpg", "web address"),
        ("s3://bucket/1.jpg", "web address"),
        ("DCIM", "not a file"),
        ("pipe.jpg", "not a file"),
        ("gone.jpg", "is not in"),
        ("/mnt/old/gone.jpg", "is gone"),
        ("a\0b.jpg", "not a path"),
        ("x" * 5000, "is not in"),
    ],
)
def test_what_is_no_file_says_why(home: Path, value: str, says: str) -> None:
    (found,) = Resolver([home]).resolve(value)
    assert found.path is None
    assert says in (found.problem or "")


def test_a_dead_path_whose_name_several_files_have_is_not_guessed(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").touch()
    (found,) = Resolver([tmp_path]).resolve("/old/c/1.jpg")
    assert "2 files" in (found.problem or "")
    assert "--remap" in (found.problem or "")
    (found,) = Resolver([tmp_path]).resolve("/old/b/1.jpg")
    assert found.path == tmp_path / "b" / "1.jpg"
    (found,) = Resolver([tmp_path], remap=(("/old/c", "a"),)).resolve("/old/c/1.jpg")
    assert found.path == tmp_path / "a" / "1.jpg"


def test_remap(home: Path) -> None:
    remap = (("D:\\Photos", "DCIM"), ("/sd", ""))
    assert names(home, "d:\\photos\\1.jpg", remap=remap) == ["DCIM/1.jpg"]
    assert names(home, "/sd/a.jpg", remap=remap) == ["a.jpg"]
    assert names(home, "/sdx/a.jpg", remap=(("/sd", "DCIM"),)) == ["a.jpg"]  # by its name
    (found,) = Resolver([home], remap=(("/sd", ".."),)).resolve("/sd/outside.jpg")
    assert found.path is None


def test_names_that_differ_by_case_only_are_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "A.jpg").touch()
    (tmp_path / "a.JPG").touch()
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("needs a file system that tells case apart")
    assert names(tmp_path, "a.jpg") == [None]
    assert names(tmp_path, "A.jpg") == ["A.jpg"]


def test_folders_are_tried_in_order(tmp_path: Path) -> None:
    for name in ("first/1.jpg", "second/1.jpg", "second/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    resolver = Resolver([tmp_path / "first", tmp_path / "second"])
    found = [resolver.resolve(name)[0] for name in ("1.jpg", "2.jpg")]
    assert [f.folder and f.folder.name for f in found] == ["first", "second"]


def test_fulcrum_ids_are_names_without_ending(tmp_path: Path) -> None:
    one = "0a1b2c3d-0000-4000-8000-00000000000a"
    (tmp_path / f"{one}.jpg").touch()
    other = one.replace("a", "f")
    assert names(tmp_path, f"{one.upper()},{other}") == [f"{one}.jpg", None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.jpg", True),
        ("x/y z.3gp", True),
        ('["a.png", "b.png"]', True),
        ("12.25", False),
        ("", False),
        ("oak", False),
        ("The end.", False),
        ("DCIM/.hidden", False),
    ],
)
def test_what_looks_like_a_path(text: str, expected: bool) -> None:
    assert looks_like_path(text) == expected
