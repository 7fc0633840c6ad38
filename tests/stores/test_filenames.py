from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.image.sniff import sniff
from attachtrans.stores.filenames import UniqueNames, ending_for, safe_stem, split_name


@given(st.text(max_size=300))
def test_a_stem_is_one_safe_name(text):
    stem = safe_stem(text)
    assert stem
    assert not re.search(r'[<>:"/\\|?*\x00-\x1f]', stem)
    assert len(stem.encode()) <= 121
    assert stem[0] not in " ."
    assert stem[-1] not in " ."
    assert safe_stem(stem) == stem


@pytest.mark.parametrize("word", ["CON", "nul", "com1", "LPT9", "aux.txt"])
def test_reserved_words(word):
    assert safe_stem(word) == f"_{word}"


@given(st.lists(st.sampled_from(["a", "A", "a_2", "a_3", "\u00e9", "e\u0301", "b"]), max_size=30))
def test_names_are_unique_on_every_file_system(names):
    unique = UniqueNames()
    given = [unique.take(name) for name in names]
    assert len({name.casefold() for name in given}) == len(given)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.JPG", ("a", ".JPG")),
        ("C:\\x\\a.b.jpg", ("a.b", ".jpg")),
        ("../a", ("a", "")),
        (".jpg", (".jpg", "")),
        ("v1.2 final version", ("v1.2 final version", "")),
        ("", ("", "")),
    ],
)
def test_split(name, expected):
    assert split_name(name) == expected


@pytest.mark.parametrize(
    ("head", "own", "expected"),
    [
        (b"\xff\xd8\xff\xe0", ".JPEG", ".JPEG"),
        (b"\xff\xd8\xff\xe0", ".png", ".jpg"),
        (b"\xff\xd8\xff\xe0", "", ".jpg"),
        (b"PK\x03\x04", ".docx", ".docx"),
        (b"%PDF-1.4", ".jpg", ".pdf"),
        (b"a,b", ".csv", ".csv"),
        (b"a,b", "", ".bin"),
    ],
)
def test_endings(head, own, expected):
    assert ending_for(sniff(head), own) == expected
