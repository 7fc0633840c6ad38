from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import ArgumentError, AttachtransError
from attachtrans.stores.poses.textfile import read_text_table

COLUMNS = ("name", "x", "y")
ROWS = (("a b.jpg", "1.5", "-2"), ("c.jpg", "3", "4e1"))


@pytest.mark.parametrize(
    "text",
    [
        "name,x,y\na b.jpg,1.5,-2\nc.jpg,3,4e1\n",
        "name;x;y\r\na b.jpg;1,5;-2\r\nc.jpg;3;4e1",
        "name\tx\ty\na b.jpg\t1.5\t-2\nc.jpg\t3\t4e1\n",
        "name|x|y\na b.jpg|1.5|-2\nc.jpg|3|4e1\n",
        '"name" "x"  "y"\n"a b.jpg"  1.5   -2\n"c.jpg" 3 4e1   \n',
        "'name' 'x' 'y'\n'a b.jpg' 1.5 -2\n'c.jpg' 3 4e1\n",
        "# CoordinateSystem: LOCAL\n#name,x,y\na b.jpg,1.5,-2\nc.jpg,3,4e1\n# Total error,1,2\n",
        "\ufeffname,x,y\n\na b.jpg,1.5,-2\nc.jpg,3,4e1\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_delimiters_quotes_comments_and_decimal_commas(tmp_path, text, encoding):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding=encoding)
    found = read_text_table(path)
    assert (found.columns, found.rows, found.named) == (COLUMNS, ROWS, True)


def test_letters_of_old_spreadsheets(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("name,x\nK\xf6ln.jpg,1\n".encode("cp1252"))
    assert read_text_table(path).rows == (("K\xf6ln.jpg", "1"),)


def test_a_table_without_header_gets_its_names_from_the_user(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("a b.jpg,1.5,-2\nc.jpg,3,4e1\n")
    bare = read_text_table(path)
    assert (bare.columns, bare.named) == (("column 1", "column 2", "column 3"), False)
    named = read_text_table(path, COLUMNS)
    assert (named.columns, named.rows, named.named) == (COLUMNS, ROWS, True)
    with pytest.raises(ArgumentError, match="--poses-columns names 2"):
        read_text_table(path, COLUMNS[:2])


def test_names_of_the_user_go_before_those_of_the_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\na b.jpg,1.5,-2\nc.jpg,3,4e1\n")
    found = read_text_table(path, COLUMNS)
    assert (found.columns, found.rows) == (COLUMNS, ROWS)


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n# comments\n"])
def test_no_rows(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(AttachtransError, match="no rows"):
        read_text_table(path)


def test_a_quote_that_does_not_end_is_an_error_not_a_hang(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('name,x\n"' + "1,2\n" * 200_000)
    with pytest.raises(AttachtransError, match="no table"):
        read_text_table(path)


@given(st.text(max_size=200))
def test_any_text_is_a_table_or_an_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "t.csv"
    path.write_text(text, encoding="utf-8")
    try:
        read_text_table(path)
    except AttachtransError:
        return
