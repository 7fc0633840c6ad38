from __future__ import annotations

from pathlib import Path

from attachtrans.stores.catalog import detect
from attachtrans.stores.photos import open_photos
from tests.stores.gpkg import JPEG, Gpkg


def links(path: Path, **wish: object) -> list[list[tuple[str, int]]]:
    photos = open_photos(path, detect(path, **wish))
    found = [[tuple(f) for f in item.features] for item in photos]
    photos.close()
    return found


def test_declared_foreign_keys(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "code TEXT UNIQUE", [(1, None, "a"), (2, None, "b")])
    file.table(
        "images",
        "id INTEGER PRIMARY KEY, tree TEXT REFERENCES trees(code), image BLOB",
        [(1, "b", JPEG), (2, "b", JPEG), (3, None, JPEG)],
    )
    file.table(
        "more", "id INTEGER PRIMARY KEY, tree INTEGER REFERENCES trees, image BLOB", [(1, 2, JPEG)]
    )
    assert links(file.done()) == [[("trees", 2)], [("trees", 2)], [], [("trees", 2)]]


def test_foreign_keys_to_lists_of_values_are_no_parents(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.table("species", "fid INTEGER PRIMARY KEY, kind TEXT", [(1, "oak")], "attributes")
    columns = "fid INTEGER PRIMARY KEY, s INTEGER REFERENCES species(fid), pic BLOB"
    file.table("plants", columns, [(7, 1, JPEG)], "attributes")
    assert links(file.done()) == [[("plants", 7)]]


def test_qfield_notes_name_their_layer(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"{number}.jpg").write_bytes(JPEG + bytes([number]))
    file = Gpkg(tmp_path / "x.gpkg")
    for name in ("notes_point", "notes_line"):
        file.layer(name, "uuid TEXT", [(5, None, "{u}"), (6, None, "{v}")])
    file.table(
        "notes_attachments",
        "fid INTEGER PRIMARY KEY, note_layer TEXT, note_uuid TEXT, media TEXT",
        [
            (1, "notes_point", "{u}", "1.jpg"),
            (2, "notes_line", "{u}", "2.jpg"),
            (3, "gone", "{u}", "3.jpg"),
        ],
        "attributes",
    )
    path = file.done()
    (table,) = detect(path)
    assert table.layers == ("notes_point", "notes_line")
    assert links(path) == [[("notes_point", 5)], [("notes_line", 5)], []]
    assert links(path, layer="notes_line") == [[("notes_line", 5)]]


def test_a_table_without_any_tie_stands_for_itself(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.table("images", "image BLOB", [(JPEG,), (JPEG,)])
    assert links(file.done()) == [[("images", 1)], [("images", 2)]]
