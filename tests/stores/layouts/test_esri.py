from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attachtrans.errors import LayoutError
from attachtrans.stores.catalog import detect, inspect
from attachtrans.stores.photos import open_photos
from tests.stores.gpkg import Gpkg, attachment

A, B = "{6F1F0E6E-0000-4000-8000-00000000000A}", "{6F1F0E6E-0000-4000-8000-00000000000B}"


def links(path: Path, **wish: object) -> dict[str, tuple[tuple[str, int], ...]]:
    photos = open_photos(path, detect(path, **wish))
    found = {item.key: tuple(map(tuple, item.features)) for item in photos}
    photos.close()
    return found


def test_global_ids(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "GlobalID TEXT", [(1, None, A), (2, None, B), (3, None, None)])
    rows = [attachment(10, A), attachment(11, A), attachment(13, B), attachment(90, "{none}")]
    file.attach("trees", "REL_GLOBALID TEXT", [*rows, attachment(95, None)])
    path = file.done()
    (table,) = detect(path)
    assert (table.layout, table.id, table.key) == ("attach", "trees__ATTACH.DATA", "ATTACHMENTID")
    assert (table.content_type, table.name, table.size) == (
        "CONTENT_TYPE",
        "ATT_NAME",
        "DATA_SIZE",
    )
    assert links(path) == {
        "trees__ATTACH.DATA/10": (("trees", 1),),
        "trees__ATTACH.DATA/11": (("trees", 1),),
        "trees__ATTACH.DATA/13": (("trees", 2),),
        "trees__ATTACH.DATA/90": (),
        "trees__ATTACH.DATA/95": (),
    }


@settings(max_examples=25)
@given(
    st.uuids(version=4),
    st.sampled_from([str, lambda u: f"{{{u}}}", lambda u: u.hex[:0] + str(u)]),
    st.booleans(),
    st.booleans(),
)
def test_guids_are_compared_without_braces_and_case(
    tmp_path_factory: pytest.TempPathFactory, number: uuid.UUID, form, upper: bool, swap: bool
) -> None:
    plain = form(number).upper() if upper else form(number)
    other = f"{{{str(number).upper()}}}"
    first, second = (plain, other) if swap else (other, plain)
    file = Gpkg(tmp_path_factory.mktemp("guid") / "x.gpkg")
    file.layer("trees", "GLOBALID TEXT", [(7, None, first)])
    file.attach("trees", "REL_GLOBALID TEXT", [attachment(1, second)])
    assert links(file.done()) == {"trees__ATTACH.DATA/1": (("trees", 7),)}


def test_ogr2ogr_keeps_objectid_as_key(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.table(
        "trees", "OBJECTID INTEGER PRIMARY KEY, SHAPE POINT", [(3, None), (8, None)], "features"
    )
    file.attach("trees", "REL_OBJECTID INTEGER", [attachment(1, 8), attachment(2, 3)])
    assert list(links(file.done()).values()) == [(("trees", 8),), (("trees", 3),)]


def test_qgis_export_has_objectid_as_a_column(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "OBJECTID INTEGER", [(1, None, 8), (2, None, 3)])
    file.table(
        "trees__ATTACH",
        "fid INTEGER PRIMARY KEY, ATTACHMENTID INTEGER, REL_OBJECTID INTEGER, DATA BLOB",
        [(1, 50, 8, b"x"), (2, 51, 3, b"y")],
        "attributes",
    )
    path = file.done()
    (table,) = detect(path)
    assert (table.key, table.extra) == ("fid", ("ATTACHMENTID", "REL_OBJECTID"))
    assert (table.name, table.size, table.content_type) == (None, None, None)
    assert list(links(path).values()) == [(("trees", 1),), (("trees", 2),)]


def test_renumbered_features_are_refused_whatever_is_asked(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "name TEXT", [(1, None, "a")])
    file.attach("trees", "REL_OBJECTID INTEGER", [attachment(1, 8)])
    path = file.done()
    for wish in ({}, {"layout": "attach"}, {"layer": "trees"}, {"photo_column": "DATA"}):
        with pytest.raises(LayoutError, match="renumbered"):
            detect(path, **wish)


def test_orphans_of_objectid_are_refused_by_name(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "OBJECTID INTEGER", [(n, None, n) for n in range(1, 4)])
    rows = [attachment(n, link) for n, link in enumerate([1, 2, 77, 99, 99], 1)]
    file.attach("trees", "REL_OBJECTID INTEGER", rows)
    path = file.done()
    with pytest.raises(LayoutError, match=r"OBJECTID 77, 99\."):
        detect(path, layout="attach")
    assert inspect(path).refused[0].table == "trees__ATTACH"


def test_a_refused_table_does_not_stop_what_was_asked_for(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "name TEXT")
    file.attach("trees", "REL_OBJECTID INTEGER", [attachment(1, 8)])
    file.layer("poles", "GlobalID TEXT", [(1, None, A)])
    file.attach("poles", "REL_GLOBALID TEXT", [attachment(1, A)])
    path = file.done()
    with pytest.raises(LayoutError):
        detect(path)
    assert [table.table for table in detect(path, layer="poles")] == ["poles__ATTACH"]


def test_the_global_id_is_preferred_and_may_lack_its_layer(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("a", "GlobalID TEXT, OBJECTID INTEGER", [(1, None, A, 5)])
    file.attach(
        "a", "REL_OBJECTID INTEGER, REL_GLOBALID TEXT", [(1, 99, A, "image/jpeg", "p.jpg", 1, b"x")]
    )
    file.attach("gone", "REL_GLOBALID TEXT", [attachment(1, A)])
    path = file.done()
    first, second = detect(path)
    assert first.links[0].photo_column == "REL_GLOBALID"
    assert second.links == ()
    assert "gone" in second.warnings[0]
    assert list(links(path).values()) == [(("a", 1),), ()]


def test_upgrade_levels_and_cases(tmp_path: Path) -> None:
    more = (
        "GLOBALID TEXT, KEYWORDS TEXT, EXIFINFO BLOB, ATT_TITLE TEXT, ATT_ALT_TEXT TEXT, "
        "ATT_CAPTION TEXT, ATT_CREDIT TEXT, custom TEXT"
    )
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("Trees", "globalid TEXT", [(1, None, A)])
    file.attach("TREES", "rel_globalid TEXT", [(*attachment(1, A), *[None] * 8)], more)
    path = file.done()
    (table,) = detect(path)
    assert table.data == "DATA"
    assert table.extra == (
        "rel_globalid",
        "GLOBALID",
        "KEYWORDS",
        "EXIFINFO",
        "ATT_TITLE",
        "ATT_ALT_TEXT",
        "ATT_CAPTION",
        "ATT_CREDIT",
        "custom",
    )
    assert list(links(path).values()) == [(("Trees", 1),)]


def test_a_name_alone_is_not_enough(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.table("a__ATTACH", "id INTEGER PRIMARY KEY, REL_GLOBALID TEXT, note TEXT", [(1, A, "x")])
    file.table("b__ATTACH", "id INTEGER PRIMARY KEY, DATA BLOB", [(1, b"x")])
    path = file.done()
    with pytest.raises(LayoutError, match="a__ATTACH: named like an attachment table"):
        detect(path)


def test_triggers_of_others_are_warned_of(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "GlobalID TEXT", [(1, None, A)])
    file.attach("trees", "REL_GLOBALID TEXT", [attachment(1, A)])
    file.sql("CREATE TABLE audit (a)")
    file.sql(
        "CREATE TRIGGER watch AFTER UPDATE ON trees__ATTACH BEGIN INSERT INTO audit VALUES (1); END"
    )
    file.sql("CREATE TRIGGER once AFTER INSERT ON trees__ATTACH BEGIN UPDATE audit SET a = 1; END")
    (table,) = detect(file.done())
    (warning,) = table.warnings
    assert "watch" in warning
    assert "once" not in warning


def test_real_files(shared: Path) -> None:
    path = shared / "data" / "geopackage" / "made" / "attach_ogr2ogr310.gpkg"
    assert links(path) == {
        "inspections__ATTACH.DATA/1": (("inspections", 2),),
        "inspections__ATTACH.DATA/2": (("inspections", 3),),
        "inspections__ATTACH.DATA/3": (("inspections", 3),),
    }
