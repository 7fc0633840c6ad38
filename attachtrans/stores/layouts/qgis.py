"""What QGIS projects and styles say of a GeoPackage: which columns are paths, below which folder.

Sources: .qgs and .qgz project files, and the table layer_styles (format of QGIS 3: ExternalResource
widgets with DocumentViewer, RelativeStorage, DefaultRoot or the property propertyRootPath).
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from attachtrans.stores.geopackage import Schema, Table, same
from attachtrans.stores.layers.documents import parse_xml, project_bytes

_AUDIO, _VIDEO = 3, 4
_TO_DEFAULT_ROOT = 2
_HOME = re.compile(r"@project_(home|folder)|@project_path", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Widget:
    """An attachment widget: this column of a table holds paths.

    origin   the project file or layer_styles, to show
    root     the folder that paths are relative to, where it is another than the project's
    is_media False when the widget is set to show sound or film
    """

    table: str
    column: str
    origin: str
    root: Path | None
    is_media: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A 1-N relation of a project: child.child_column = parent.parent_column."""

    child: str
    child_column: str
    parent: str
    parent_column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """All that was found; homes are the folders of the projects that use the GeoPackage."""

    homes: tuple[Path, ...] = ()
    widgets: tuple[Widget, ...] = ()
    relations: tuple[Relation, ...] = ()
    warnings: tuple[str, ...] = ()

    def widget(self, table: str, column: str) -> Widget | None:
        """The widget of a column; a project's comes before a style's."""
        return next(
            (w for w in self.widgets if same(w.table, table) and same(w.column, column)), None
        )


def read_hints(connection: sqlite3.Connection, schema: Schema) -> Hints:
    """Read the projects in the GeoPackage's folder and in the one above, and its styles.

    Projects that do not name the GeoPackage are left out; broken ones give a warning.
    """
    folder = schema.path.absolute().parent
    homes: list[Path] = []
    widgets: list[Widget] = []
    relations: list[Relation] = []
    warnings: list[str] = []
    for place in dict.fromkeys((folder, folder.parent)):
        for path in sorted((*place.glob("*.qgs"), *place.glob("*.qgz"))):
            try:
                project = _Project(path, schema)
            except OSError as error:
                warnings.append(f"{path.name} is not a readable QGIS project: {error}")
                continue
            if project.tables:
                homes.append(project.home)
                widgets.extend(project.widgets())
                relations.extend(project.relations())
    widgets.extend(_style_widgets(connection, schema, homes[0] if homes else folder))
    return Hints(
        homes=tuple(dict.fromkeys(homes)),
        widgets=tuple(widgets),
        relations=tuple(dict.fromkeys(relations)),
        warnings=tuple(warnings),
    )


class _Project:
    """One project file; `tables` are its layers (id -> table) that lie in the GeoPackage."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        text = project_bytes(path)
        self.tables: Mapping[str, Table] = {}
        self._layers: list[tuple[ET.Element, Table]] = []
        # Parsing takes seconds for big projects: look first whether it can be about this file.
        if schema.path.name.encode() not in text and b"layername=" not in text:
            return
        self._root = parse_xml(path, text)
        home = self._root.find("homePath")
        configured = "" if home is None else home.get("path", "")
        self.home = Path(os.path.normpath(path.parent / configured))
        for layer in self._root.iter("maplayer"):
            table = _table_of(layer.findtext("datasource", ""), self.home, schema)
            if table is not None:
                self._layers.append((layer, table))
        self.tables = {layer.findtext("id", ""): table for layer, table in self._layers}

    def widgets(self) -> Iterator[Widget]:
        for layer, table in self._layers:
            yield from _widgets(layer, table, self._path.name, self.home)

    def relations(self) -> Iterator[Relation]:
        for relation in self._root.iter("relation"):
            child = self.tables.get(relation.get("referencingLayer", ""))
            parent = self.tables.get(relation.get("referencedLayer", ""))
            pair = relation.find("fieldRef")
            if child is None or parent is None or pair is None:
                continue
            child_column = child.column(pair.get("referencingField", ""))
            parent_column = parent.column(pair.get("referencedField", ""))
            if child_column is not None and parent_column is not None:
                yield Relation(
                    child=child.name,
                    child_column=child_column.name,
                    parent=parent.name,
                    parent_column=parent_column.name,
                )


def _table_of(source: str, home: Path, schema: Schema) -> Table | None:
    """The table that a layer's data source means, None when it lies in another file."""
    file, _, options = source.partition("|")
    layer = next(
        (o.partition("=")[2] for o in options.split("|") if o.lower().startswith("layername=")), ""
    )
    place = home / file.replace("\\", "/")
    if place.name.lower() != schema.path.name.lower() and (not layer or place.exists()):
        return None  # a file that was renamed since is known by its layers
    if not layer and len(schema.tables) == 1:
        return schema.tables[0]
    return schema.table(layer)


def _widgets(layer: ET.Element, table: Table, origin: str, home: Path) -> Iterator[Widget]:
    for field in layer.iterfind("fieldConfiguration/field"):
        editor = field.find("editWidget")
        column = table.column(field.get("name", ""))
        if column is None or editor is None or editor.get("type") != "ExternalResource":
            continue
        options = {option.get("name", ""): option for option in editor.iter("Option")}
        viewer = _value(options, "DocumentViewer")
        yield Widget(
            table=table.name,
            column=column.name,
            origin=origin,
            root=_root_folder(options, home),
            is_media=viewer not in (str(_AUDIO), str(_VIDEO)),
        )


def _value(options: Mapping[str, ET.Element], name: str) -> str:
    option = options.get(name)
    return "" if option is None else option.get("value", "")


def _root_folder(options: Mapping[str, ET.Element], home: Path) -> Path | None:
    """The folder of RelativeStorage 2: a fixed one, or a simple expression on the project's."""
    if _value(options, "RelativeStorage") != str(_TO_DEFAULT_ROOT):
        return None
    text = _value(options, "DefaultRoot")
    prepared = options.get("propertyRootPath")
    if prepared is not None:
        parts = {option.get("name", ""): option.get("value", "") for option in prepared}
        if parts.get("active") == "true":
            text = _evaluate(parts.get("expression", "") or parts.get("val", ""), home)
    if not text:
        return None
    return Path(os.path.normpath(home / text.replace("\\", "/")))


def _evaluate(expression: str, home: Path) -> str:
    """Joins (|| or +) of @project_home, @project_folder and quoted text; "" for anything else."""
    text = ""
    for part in re.split(r"\|\||\+", expression):
        term = part.strip()
        if _HOME.fullmatch(term):
            text += str(home)
        elif re.fullmatch(r"'[^']*'", term):
            text += term[1:-1]
        else:
            return ""
    return text


def _style_widgets(connection: sqlite3.Connection, schema: Schema, home: Path) -> Iterator[Widget]:
    columns = connection.execute("SELECT name FROM pragma_table_info('layer_styles')").fetchall()
    if not {("f_table_name",), ("styleQML",)} <= set(columns):
        return
    for name, text in connection.execute("SELECT f_table_name, styleQML FROM layer_styles"):
        table = schema.table(name or "")
        if table is None or not text:
            continue
        try:
            root = ET.fromstring(text)  # noqa: S314 - expat bounds the expansion of entities
        except (ET.ParseError, ValueError):
            continue  # a style that QGIS cannot read either
        yield from _widgets(root, table, "layer_styles", home)
