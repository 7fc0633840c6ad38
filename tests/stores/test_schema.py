from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import SchemaError
from attachtrans.stores.schema import carried_names, legal_type

from .appending import append, rows, value
from .gpkg import Gpkg, attachment, point

OWN = ["SRC_FILE", "MODEL_FP"]
LEGAL = {
    *("BOOLEAN", "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "INTEGER", "FLOAT", "DOUBLE", "REAL"),
    *("TEXT", "BLOB", "DATE", "DATETIME"),
}


@pytest.mark.parametrize(
    ("declared", "legal"),
    [
        ("MEDIUMINT", "MEDIUMINT"),
        ("INT", "INT"),
        ("text ( 255 )", "TEXT(255)"),
        ("BLOB(7)", "BLOB(7)"),
        ("VARCHAR(20)", "TEXT(20)"),
        ("CHARACTER VARYING(20)", "TEXT(20)"),
        ("UUID", "TEXT"),
        ("BIGINT", "INTEGER"),
        ("UNSIGNED BIG INT", "INTEGER"),
        ("TIMESTAMP", "DATETIME"),
        ("NUMERIC(10,2)", "DOUBLE"),
        ("DOUBLE PRECISION", "DOUBLE"),
        ("", "TEXT"),
        ("JSON", "TEXT"),
        ("INT GENERATED ALWAYS", "INT"),
    ],
)
def test_types_become_those_of_the_standard(declared: str, legal: str) -> None:
    assert legal_type(declared) == legal


@given(st.text(max_size=30))
def test_every_declaration_becomes_a_legal_type(declared: str) -> None:
    assert legal_type(declared).partition("(")[0] in LEGAL


def test_names_of_the_output_push_the_sources_aside() -> None:
    columns = ["name", "src_file", "SRC_SRC_FILE", "MODEL_FP", "SRC_SRC_MODEL_FP"]
    assert carried_names(columns, OWN) == {
        "name": "name",
        "src_file": "SRC_src_file",
        "SRC_SRC_FILE": "SRC_SRC_SRC_FILE",
        "MODEL_FP": "SRC_MODEL_FP",
        "SRC_SRC_MODEL_FP": "SRC_SRC_MODEL_FP",
    }


@given(
    st.lists(
        st.builds(
            lambda times, name: "SRC_" * times + name,
            st.integers(0, 4),
            st.sampled_from(["FILE", "file", "MODEL_FP", "model_fp", "x", "SRC"]),
        ),
        unique_by=str.lower,
    )
)
def test_names_stay_unique(columns: list[str]) -> None:
    found = carried_names(columns, OWN)
    assert list(found) == columns
    taken = [name.lower() for name in (*found.values(), *OWN)]
    assert len(set(taken)) == len(taken)


def trees(path: Path, columns: str = "GlobalID TEXT, age INTEGER", kind: str = "POINT") -> Path:
    gpkg = Gpkg(path)
    gpkg.table("trees", f"fid INTEGER PRIMARY KEY, geom {kind}, {columns}", (), "features")
    gpkg.sql("INSERT INTO trees (fid, geom, GlobalID) VALUES (1, ?, '{A}')", (point(1, 1),))
    gpkg.sql(
        "INSERT INTO gpkg_geometry_columns VALUES ('trees', 'geom', ?, 4326, 0, 0)",
        (kind,),
    )
    gpkg.attach("trees", "REL_GLOBALID TEXT", [attachment(1, "{A}")])
    return gpkg.done()


@pytest.mark.parametrize(
    ("columns", "kind", "reason"),
    [
        ("GlobalID TEXT, age INTEGER, note TEXT(9)", "POINT", r"no column note \(TEXT\(9\)\)"),
        ("GlobalID TEXT, age TEXT", "POINT", "age is INTEGER, the source has TEXT"),
        ("GlobalID TEXT, age INTEGER", "LINESTRING", "holds POINT, trees holds LINESTRING"),
    ],
)
def test_a_class_that_does_not_fit_is_left_alone_and_the_difference_named(
    columns: str, kind: str, reason: str, tmp_path: Path
) -> None:
    output = tmp_path / "out.gpkg"
    append(trees(tmp_path / "first.gpkg"), output)
    before = output.read_bytes()
    with pytest.raises(SchemaError, match=reason):
        append(trees(tmp_path / "second.gpkg", columns, kind), output)
    assert output.read_bytes() == before


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ("GlobalID TEXT", "POINT"),
        ("AGE SMALLINT, GLOBALID TEXT", "POINT"),
    ],
)
def test_a_class_that_fits_is_used_whatever_its_order_and_width(
    columns: str, kind: str, tmp_path: Path
) -> None:
    output = tmp_path / "out.gpkg"
    append(trees(tmp_path / "first.gpkg"), output)
    append(trees(tmp_path / "second.gpkg", columns, kind), output)
    assert rows(output, "SELECT SRC_FILE FROM trees") == [("first.gpkg",), ("second.gpkg",)]


def test_further_columns_of_the_class_are_left_to_their_defaults(tmp_path: Path) -> None:
    output, source = tmp_path / "out.gpkg", trees(tmp_path / "first.gpkg")
    append(source, output)
    connection = sqlite3.connect(output)
    connection.execute("ALTER TABLE trees ADD checked TEXT NOT NULL DEFAULT 'no'")
    connection.execute("ALTER TABLE trees ADD note TEXT")
    connection.close()
    append(source, output, model="fp2")
    assert rows(output, "SELECT checked, note FROM trees") == [("no", None)] * 2


def test_a_class_of_others_is_not_appended_to(tmp_path: Path) -> None:
    output = trees(tmp_path / "out.gpkg")
    with pytest.raises(SchemaError, match="trees was not made by attachtrans"):
        append(trees(tmp_path / "in.gpkg"), output)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("attach", "blob", "no column SRC_ATT"),
        ("blob", "attach", "trees__ATTACH has no column"),
        ("blob", "folder", "photo is BLOB, TEXT is needed"),
        ("media", "attach", "trees__ATTACH has no column"),
    ],
)
def test_another_layout_than_before_is_refused(
    first: str, second: str, reason: str, tmp_path: Path
) -> None:
    source, output = trees(tmp_path / "in.gpkg"), tmp_path / "out.gpkg"
    append(source, output, first)
    with pytest.raises(SchemaError, match=reason):
        append(source, output, second)


def test_a_view_is_not_appended_to(tmp_path: Path) -> None:
    source, output = trees(tmp_path / "in.gpkg"), trees(tmp_path / "out.gpkg")
    connection = sqlite3.connect(output)
    connection.execute("CREATE VIEW seen AS SELECT * FROM trees")
    connection.close()
    with pytest.raises(SchemaError, match="seen is a view"):
        append(source, output, to="seen")


def test_remains_of_a_class_are_named_and_nothing_is_made(tmp_path: Path) -> None:
    source, output = trees(tmp_path / "in.gpkg"), trees(tmp_path / "out.gpkg")
    connection = sqlite3.connect(output)
    connection.execute("CREATE TABLE new__ATTACH (x)")
    connection.close()
    with pytest.raises(SchemaError, match="no layer new but remains of one"):
        append(source, output, to="new")
    assert value(output, "SELECT count(*) FROM sqlite_master WHERE name = 'new'") == 0
