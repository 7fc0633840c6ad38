from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import SourceError
from attachtrans.stores.content import content_of, head_of_text, is_photo, is_repr, value_like
from tests.stores.gpkg import JPEG, PDF, PNG


def in_lines(text: str) -> str:
    return "\r\n".join(text[i : i + 76] for i in range(0, len(text), 76))


FORMS = {
    "base64": lambda data: base64.b64encode(data).decode(),
    "lines": lambda data: in_lines(base64.b64encode(data).decode()),
    "uri": lambda data: f"data:image/jpeg;base64,{base64.b64encode(data).decode()}",
    "repr": repr,
}


@pytest.mark.parametrize("form", FORMS)
@given(data=st.binary(min_size=1, max_size=400), other=st.binary(min_size=80, max_size=400))
def test_content_comes_back_and_goes_back_in_the_same_form(
    form: str, data: bytes, other: bytes
) -> None:
    stored = FORMS[form](data)
    assert content_of(stored) == data
    assert value_like(data, FORMS[form](other)) == stored
    assert data.startswith(head_of_text(stored[:60])[: len(data)])


@given(st.binary(max_size=300))
def test_blobs_are_themselves(data: bytes) -> None:
    assert content_of(data) == data
    assert value_like(data, b"old") == data


@given(st.binary(min_size=30, max_size=300), st.integers(3, 200))
def test_a_piece_of_repr_gives_the_beginning(data: bytes, cut: int) -> None:
    head = head_of_text(repr(data)[:cut])
    assert data.startswith(head)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("photo", [JPEG, PNG])
def test_a_beginning_tells_a_photo(form: str, photo: bytes) -> None:
    stored = FORMS[form](photo)
    assert is_photo(head_of_text(stored[:120]))
    assert is_repr(stored) == (form == "repr")


def test_the_media_type_of_an_address_follows() -> None:
    old = "data:image/png;charset=x;base64,AAAA"
    assert value_like(b"\1\2\3", old, "image/tiff") == "data:image/tiff;charset=x;base64,AQID"


def test_other_things_are_no_photos() -> None:
    assert not is_photo(PDF)
    assert not is_photo(b"")
    assert not is_photo(head_of_text("A remark of some length, with a comma."))


@pytest.mark.parametrize("value", [None, 5, 2.5, "no photo!", "b'\\x", "b'' + b''", "b\"'"])
def test_values_without_content_are_named(value: object) -> None:
    with pytest.raises(SourceError, match="holds"):
        content_of(value)
