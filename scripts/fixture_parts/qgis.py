"""QGIS project files and styles that say how a column's paths are meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from fixture_parts.geopackage import LAST_CHANGE, Table

Settings = Mapping[str, int | str]
Relation = tuple[str, str, str, str]  # child layer, its column, parent layer, its column


def widget(column: str, settings: Settings) -> str:
    """One column's attachment widget: DefaultRoot is taken as an expression, as QGIS allows."""
    root = str(settings.get("DefaultRoot", ""))
    options = [f'<Option name="RelativeStorage" type="int" value="{settings["RelativeStorage"]}"/>']
    if root:
        options.append(
            '<Option name="PropertyCollection" type="Map"><Option name="properties" type="Map">'
            '<Option name="propertyRootPath" type="Map"><Option name="active" type="bool" '
            f'value="true"/><Option name="expression" type="QString" value={quoteattr(root)}/>'
            '<Option name="type" type="int" value="3"/></Option></Option></Option>'
        )
    return (
        f'<field name={quoteattr(column)}><editWidget type="ExternalResource"><config>'
        '<Option type="Map"><Option name="DocumentViewer" type="int" value="1"/>'
        f"{''.join(options)}</Option></config></editWidget></field>"
    )


def widgets(columns: Mapping[str, Settings]) -> str:
    """The fieldConfiguration element of a layer."""
    fields = "".join(widget(column, settings) for column, settings in columns.items())
    return f"<fieldConfiguration>{fields}</fieldConfiguration>"


def project(
    package: str, layers: Mapping[str, Mapping[str, Settings]], relations: Sequence[Relation]
) -> str:
    """A .qgs file: layers of one GeoPackage, their attachment columns and relations."""
    maps = "\n".join(
        f'    <maplayer type="vector"><id>{escape(name)}_layer</id>'
        f"<datasource>./{escape(package)}|layername={escape(name)}</datasource>"
        f'<layername>{escape(name)}</layername><provider encoding="UTF-8">ogr</provider>'
        f"{widgets(columns)}</maplayer>"
        for name, columns in layers.items()
    )
    links = "\n".join(
        f"    <relation id={quoteattr(f'{child}_{parent}')} name={quoteattr(child)} "
        f"referencingLayer={quoteattr(f'{child}_layer')} "
        f'referencedLayer={quoteattr(f"{parent}_layer")} strength="Association">'
        f"<fieldRef referencingField={quoteattr(column)} referencedField={quoteattr(key)}/>"
        "</relation>"
        for child, column, parent, key in relations
    )
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis projectname="survey" version="3.40.6-Bratislava">\n  <homePath path=""/>\n'
        f"  <relations>\n{links}\n  </relations>\n"
        f"  <projectlayers>\n{maps}\n  </projectlayers>\n</qgis>\n"
    )


def attachment_style(layer: str, geometry: str, columns: Mapping[str, Settings]) -> Table:
    """QGIS's layer_styles table with the default style of one layer."""
    qml = (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>"
        f'<qgis version="3.40.6-Bratislava" styleCategories="Forms">{widgets(columns)}</qgis>'
    )
    return Table(
        name="layer_styles",
        key="id",
        columns={
            "f_table_catalog": "TEXT(256)",
            "f_table_schema": "TEXT(256)",
            "f_table_name": "TEXT(256)",
            "f_geometry_column": "TEXT(256)",
            "styleName": "TEXT(30)",
            "styleQML": "TEXT",
            "styleSLD": "TEXT",
            "useAsDefault": "BOOLEAN",
            "description": "TEXT",
            "owner": "TEXT(30)",
            "ui": "TEXT(30)",
            "update_time": "DATETIME",
        },
        rows=[
            (1, "", "", layer, geometry, layer, qml, "", 1, "", "", None, LAST_CHANGE),
        ],
    )
