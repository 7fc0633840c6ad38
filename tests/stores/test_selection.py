from __future__ import annotations

from pathlib import Path

import pytest

from attachtrans.errors import ArgumentError
from attachtrans.stores.catalog import detect
from attachtrans.stores.photos import open_photos
from attachtrans.stores.selection import Selection
from tests.stores.gpkg import JPEG, Gpkg, attachment, point


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Four trees at (n, 10 n); tree 4 has no geometry; 1 photo each, 2 for tree 3, 1 orphan."""
    file = Gpkg(tmp_path / "x.gpkg")
    rows = [(n, point(n, 10 * n), n * 2, f"g{n}", "it's") for n in (1, 2, 3)]
    file.layer(
        "trees", 'age INTEGER, GlobalID TEXT, "odd ""name" TEXT', [*rows, (4, None, 8, "g4", None)]
    )
    links = [attachment(n, f"g{n}") for n in (1, 2, 3, 4)]
    file.attach("trees", "REL_GLOBALID TEXT", [*links, attachment(5, "g3"), attachment(6, "gone")])
    return file.done()


def rows(path: Path, **conditions: object) -> tuple[list[int], list[int]]:
    """(row of every item, fid of every selected feature)."""
    photos = open_photos(path, detect(path), Selection(**conditions))
    found = [photos.place(item).row for item in photos]
    assert len(photos) == len(found)
    fids = [feature.fid for feature in photos.features()]
    photos.close()
    return found, fids


def test_no_condition_takes_orphans_too(path: Path) -> None:
    assert rows(path) == ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("age > 4", [3, 4, 5]),
        ("age > 4 OR age = 2", [1, 3, 4, 5]),
        ("\"odd \"\"name\" = 'it''s'", [1, 2, 3, 5]),
        ("age = 2 -- a remark", [1]),
        ("geom IS NULL", [4]),
        ("GlobalID LIKE 'g%' AND fid IN (SELECT 2)", [2]),
        ("0", []),
    ],
)
def test_where(path: Path, where: str, expected: list[int]) -> None:
    assert rows(path, where=where)[0] == expected


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [
        ((0, 0, 2, 20), [1, 2]),
        ((2, 20, 2, 20), [2]),
        ((2.1, 0, 2.9, 99), []),
        ((-1e9, -1e9, 1e9, 1e9), [1, 2, 3, 5]),
    ],
)
def test_bbox(path: Path, bbox: tuple[float, ...], expected: list[int]) -> None:
    found, fids = rows(path, bbox=bbox)
    assert found == expected
    assert fids == sorted({3 if row == 5 else row for row in expected})


def test_both_and_limit(path: Path) -> None:
    assert rows(path, where="age < 7", bbox=(1.5, 0, 9, 99)) == ([2, 3, 5], [2, 3])
    assert rows(path, limit=2) == ([1, 2], [1, 2])
    assert rows(path, where="age > 2", limit=1) == ([2], [2])
    assert rows(path, limit=99)[0] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("height > 3", "no such column: height"),
        ("age >", "syntax error"),
        ('"heigth" = 3', "no column"),
        ('age = "young"', "single quotes"),
        ("1); DROP TABLE trees; --", "not a condition"),
        ("1) UNION SELECT 1 WHERE (1", "not a condition"),
        ("load_extension('x')", "not a condition"),
        ("\0", "not a condition"),
    ],
)
def test_bad_conditions_are_named_with_the_columns(path: Path, where: str, says: str) -> None:
    before = path.read_bytes()
    with pytest.raises(ArgumentError, match=says) as raised:
        rows(path, where=where)
    assert "--where" in str(raised.value)
    assert "GlobalID" in str(raised.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "conditions",
    [
        {"where": "  "},
        {"limit": 0},
        {"limit": -1},
        {"bbox": (1, 0, 0, 1)},
        {"bbox": (0, 0, float("nan"), 1)},
        {"bbox": (0, 0, float("inf"), 1)},
    ],
)
def test_values_that_cannot_be_meant(conditions: dict[str, object]) -> None:
    (name,) = conditions
    with pytest.raises(ArgumentError, match=f"--{name}"):
        Selection(**conditions)


def test_conditions_need_features(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.attach("gone", "REL_GLOBALID TEXT", [attachment(1, "x")])
    with pytest.raises(ArgumentError, match="no layer"):
        rows(file.done(), where="1")
    file = Gpkg(tmp_path / "y.gpkg")
    file.table("shots", "pic BLOB", [(JPEG,)])
    path = file.done()
    assert rows(path, where="1") == ([1], [1])
    with pytest.raises(ArgumentError, match="no geometry"):
        rows(path, bbox=(0, 0, 1, 1))
