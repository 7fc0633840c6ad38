from __future__ import annotations

import zipfile
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest

from attachtrans.stores.catalog import detect
from attachtrans.stores.geopackage import read_schema, reading
from attachtrans.stores.layouts.qgis import Hints, read_hints
from attachtrans.stores.photos import open_photos
from tests.stores.gpkg import JPEG, Gpkg


def widget(
    column: str, storage: int = 1, root: str = "", expression: str = "", viewer: int = 1
) -> str:
    options = (
        f'<Option name="DocumentViewer" type="int" value="{viewer}"/>'
        f'<Option value="{storage}" type="int" name="RelativeStorage"/>'
        f'<Option name="DefaultRoot" type="QString" value={quoteattr(root)}/>'
    )
    if expression:
        options += (
            '<Option name="PropertyCollection" type="Map"><Option name="properties" type="Map">'
            '<Option name="propertyRootPath" type="Map"><Option name="active" type="bool" '
            f'value="true"/><Option name="expression" type="QString" value={quoteattr(expression)}'
            "/></Option></Option></Option>"
        )
    return (
        f'<field name={quoteattr(column)}><editWidget type="ExternalResource"><config>'
        f'<Option type="Map">{options}</Option></config></editWidget></field>'
    )


def project(
    *layers: tuple[str, str, str], relations: str = "", home: str = "", file: str = "./x.gpkg"
) -> str:
    """layers: (id, table, widgets)."""
    maps = "".join(
        f"<maplayer><id>{one}</id><datasource>{escape(file)}|layername={escape(table)}"
        f"</datasource><fieldConfiguration>{fields}</fieldConfiguration></maplayer>"
        for one, table, fields in layers
    )
    return (
        f'<qgis><homePath path="{home}"/><relations>{relations}</relations>'
        f"<projectlayers>{maps}</projectlayers></qgis>"
    )


def relation(child: str, column: str, parent: str, key: str) -> str:
    return (
        f'<relation referencingLayer="{child}" referencedLayer="{parent}">'
        f'<fieldRef referencingField="{column}" referencedField="{key}"/></relation>'
    )


def trees(folder: Path, *paths: str) -> Path:
    file = Gpkg(folder / "x.gpkg")
    file.layer("trees", "photo TEXT", [(n, None, p) for n, p in enumerate(paths, 1)])
    return file.done()


def save(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(JPEG + name.encode())


def hints(path: Path) -> Hints:
    with reading(path) as connection:
        return read_hints(connection, read_schema(connection, path))


def links(path: Path) -> dict[str, list[tuple[str, int]]]:
    photos = open_photos(path, detect(path))
    found = {item.key: [tuple(f) for f in item.features] for item in photos}
    photos.close()
    return found


def test_a_project_tells_the_columns_even_where_files_are_missing(tmp_path: Path) -> None:
    path = trees(tmp_path, "DCIM/1.jpg")
    (tmp_path / "p.qgs").write_text(project(("t", "trees", widget("photo"))), encoding="utf-8")
    (table,) = detect(path)
    assert "widget in p.qgs" in table.reason
    assert "none of its files" in table.warnings[0]


def test_a_zipped_project_above(tmp_path: Path) -> None:
    path = trees(tmp_path / "data", "DCIM/1.jpg")
    save(tmp_path, "DCIM/1.jpg")
    save(tmp_path / "data", "DCIM/1.jpg")
    text = project(("t", "trees", widget("photo")), file="./data/x.gpkg")
    with zipfile.ZipFile(tmp_path / "p.qgz", "w") as archive:
        archive.writestr("p.qgs", text)
    assert hints(path).homes == (tmp_path,)
    assert links(path) == {"DCIM/1.jpg": [("trees", 1)]}  # the project's comes first


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ({"root": "pics"}, "pics"),
        ({"root": "{home}/pics"}, "pics"),
        ({"expression": "@project_home || '/pics'"}, "pics"),
        ({"expression": "@project_folder + '/a' + '/b'"}, "a/b"),
        ({"expression": "@project_path||'/pics'"}, "pics"),
        ({"expression": "array_first(x)"}, None),
        ({"expression": "system('x')"}, None),
        ({"root": ""}, None),
    ],
)
def test_default_roots(tmp_path: Path, settings: dict[str, str], folder: str | None) -> None:
    path = trees(tmp_path, "1.jpg")
    settings = {key: value.replace("{home}", str(tmp_path)) for key, value in settings.items()}
    text = project(("t", "trees", widget("photo", storage=2, **settings)))
    (tmp_path / "p.qgs").write_text(text, encoding="utf-8")
    (found,) = hints(path).widgets
    assert found.root == (None if folder is None else tmp_path / folder)
    if folder is not None:
        save(tmp_path, f"{folder}/1.jpg", "1.jpg")
        assert list(links(path)) == [f"{folder}/1.jpg"]


def test_a_root_far_away_is_not_opened(tmp_path: Path) -> None:
    home = tmp_path / "a" / "b" / "c"
    save(tmp_path, "1.jpg")
    path = trees(home, "1.jpg")
    text = project(("t", "trees", widget("photo", storage=2, root=str(tmp_path))))
    (home / "p.qgs").write_text(text, encoding="utf-8")
    (table,) = detect(path)
    assert tmp_path not in table.folders
    assert links(path) == {"1.jpg": [("trees", 1)]}  # missing, not the one far away


def test_a_configured_home(tmp_path: Path) -> None:
    path = trees(tmp_path, "1.jpg")
    save(tmp_path, "deep/1.jpg")
    text = project(("t", "trees", widget("photo")), home="deep", file="../x.gpkg")
    (tmp_path / "p.qgs").write_text(text, encoding="utf-8")
    assert links(path) == {"deep/1.jpg": [("trees", 1)]}


def test_sound_and_film_widgets_are_no_photos(tmp_path: Path) -> None:
    path = trees(tmp_path, "1.wav")
    for viewer in (3, 4):
        text = project(("t", "trees", widget("photo", viewer=viewer)))
        (tmp_path / "p.qgs").write_text(text, encoding="utf-8")
        assert not hints(path).widgets[0].is_media
        with pytest.raises(OSError, match="no photos found"):
            detect(path)


def test_projects_of_other_files_say_nothing(tmp_path: Path) -> None:
    path = trees(tmp_path, "1.jpg")
    (tmp_path / "other.gpkg").touch()
    text = project(("t", "trees", widget("photo")), file="./other.gpkg")
    (tmp_path / "p.qgs").write_text(text, encoding="utf-8")
    assert hints(path) == Hints()
    renamed = project(("t", "trees", widget("photo")), file="./before.gpkg")
    (tmp_path / "p.qgs").write_text(renamed, encoding="utf-8")
    assert hints(path).widgets[0].column == "photo"


@pytest.mark.parametrize("content", [b"", b"<qgis x.gpkg", b"PK\3\4 x.gpkg"])
@pytest.mark.parametrize("name", ["p.qgs", "p.qgz"])
def test_a_broken_project_is_warned_of(tmp_path: Path, name: str, content: bytes) -> None:
    path = trees(tmp_path, "1.jpg")
    save(tmp_path, "1.jpg")
    (tmp_path / name).write_bytes(content)
    if not content and name == "p.qgs":
        assert hints(path).warnings == ()
        return
    (table,) = detect(path)
    assert name in table.warnings[0]


def test_styles_in_the_geopackage(tmp_path: Path) -> None:
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "photo TEXT", [(1, None, "1.jpg")])
    qml = f"<qgis><fieldConfiguration>{widget('photo')}</fieldConfiguration></qgis>"
    file.table(
        "layer_styles",
        "id INTEGER PRIMARY KEY, f_table_name TEXT, styleQML TEXT",
        [(1, "trees", qml), (2, "trees", "<broken"), (3, "gone", qml), (4, None, None)],
    )
    (table,) = detect(file.done())
    assert "layer_styles" in table.reason


def test_child_tables_by_relation(tmp_path: Path) -> None:
    save(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    file = Gpkg(tmp_path / "x.gpkg")
    file.layer("trees", "uuid TEXT", [(1, None, "{u1}"), (2, None, "{u2}")])
    file.table(
        "shots",
        "fid INTEGER PRIMARY KEY, tree TEXT, path TEXT",
        [(1, "{u2}", "1.jpg"), (2, "{u1}", "2.jpg"), (3, "{u0}", "3.jpg")],
        "attributes",
    )
    text = project(
        ("t", "trees", ""),
        ("s", "shots", widget("path")),
        relations=relation("s", "tree", "t", "uuid") + relation("s", "no", "t", "uuid"),
    )
    (tmp_path / "p.qgs").write_text(text, encoding="utf-8")
    assert links(file.done()) == {
        "1.jpg": [("trees", 2)],
        "2.jpg": [("trees", 1)],
        "3.jpg": [],
    }


def test_entities_do_not_explode(tmp_path: Path) -> None:
    path = trees(tmp_path, "1.jpg")
    save(tmp_path, "1.jpg")
    lines = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    text = f'<!DOCTYPE q [<!ENTITY e0 "x.gpkg">{lines}]><qgis>&e11;</qgis>'
    (tmp_path / "p.qgs").write_text(text, encoding="utf-8")
    assert "p.qgs" in hints(path).warnings[0]
