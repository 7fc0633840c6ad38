"""Which tables hold the attachments of which layers, by a geodatabase's relationship classes.

Format: the XML of DERelationshipClassInfo in GDB_Items.Definition, Esri's "XML Schema of the
Geodatabase". Both kinds of geodatabase have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from attachtrans.stores.geodatabase.tables import GdbTable

RELATIONSHIP_TYPE = "{B606A7E1-FA5B-439C-849C-6E9C2481537B}"
_SUFFIX, _BY_GUID, _BY_ID = "__attach", "rel_globalid", "rel_objectid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """`table`.`column` of attachments is equal to `layer`.`layer_column`."""

    table: str
    column: str
    layer: str
    layer_column: str


def attachment_relations(definitions: Iterable[str | None]) -> list[Relation]:
    """The relations of attachments among these definitions of relationship classes."""
    return [found for text in definitions if text and (found := _relation(text)) is not None]


def with_named(relations: Sequence[Relation], tables: Sequence[GdbTable]) -> list[Relation]:
    """These relations, and those of tables called <layer>__ATTACH that have none registered.

    Object ids are safe to join by: in a geodatabase nothing renumbers features.
    """
    known = {relation.table.lower() for relation in relations}
    layers = {table.name.lower(): table for table in tables}
    found = list(relations)
    for table in tables:
        layer = layers.get(table.name.lower().removesuffix(_SUFFIX))
        if layer is None or layer is table or table.name.lower() in known:
            continue
        for column in (_BY_GUID, _BY_ID):
            here = _column(table, column)
            there = _column(layer, "objectid" if column == _BY_ID else "globalid")
            if there is None and column == _BY_ID:
                there = layer.key
            if here and there:
                found.append(
                    Relation(table=table.name, column=here, layer=layer.name, layer_column=there)
                )
                break
    return found


def _column(table: GdbTable, name: str) -> str | None:
    return next((c.name for c in table.columns if c.name.lower() == name), None)


def _relation(text: str) -> Relation | None:
    try:
        root = ET.fromstring(text)  # noqa: S314 - expat bounds the expansion of entities
    except ET.ParseError:
        return None
    if root.findtext("IsAttachmentRelationship") != "true":
        return None
    keys = {
        (key.findtext("KeyRole") or "").removeprefix("esriRelKeyRole"): key.findtext(
            "ObjectKeyName"
        )
        for key in root.findall("OriginClassKeys/RelationshipClassKey")
    }
    layer = root.findtext("OriginClassNames/Name")
    table = root.findtext("DestinationClassNames/Name")
    column, layer_column = keys.get("OriginForeign"), keys.get("OriginPrimary")
    if not (layer and table and column and layer_column):
        return None
    return Relation(
        table=plain_name(table), column=column, layer=plain_name(layer), layer_column=layer_column
    )


def plain_name(name: str) -> str:
    """A class's name without the database that mobile geodatabases put before it ("main.")."""
    return name.rpartition(".")[2]
