"""Media of the OGC Related Tables Extension (OGC 18-000), read from gpkgext_relations itself.

GDAL names relations <base>_<related>_<type> and so merges some; the table is the truth.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from attachtrans.stores.geopackage import Schema, Table
from attachtrans.stores.layouts.base import (
    Findings,
    Inspection,
    LayoutName,
    Link,
    Mapping,
    PhotoTable,
    Refusal,
    first_column,
    remaining,
    size_column,
)

_NAMES = ("name", "file_name", "filename", "title")
_NOT_PHOTOS = ("nga_", "features_preview")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Relation:
    base: str
    base_column: str
    related: str
    related_column: str
    name: str
    mapping: str


class RelatedMedia:
    """Tables with `data` and `content_type` that gpkgext_relations relates to features."""

    name = LayoutName.MEDIA

    def find(self, inspection: Inspection, taken: frozenset[str]) -> Findings:
        """Find media tables, each with all its relations; symbols and previews are excluded."""
        schema = inspection.schema
        found = Findings()
        by_table: dict[str, list[_Relation]] = {}
        for relation in _relations(inspection.connection):
            table = schema.table(relation.related)
            if relation.related.lower() in taken or not _is_media(relation, table):
                continue
            if table is None or table.key is None:
                found += _excluded(relation, f"there is no table {relation.related}")
            else:
                by_table.setdefault(table.name, []).append(relation)
        for name, relations in by_table.items():
            table = schema.table(name)
            if table is not None:
                found += _read(inspection, table, relations)
        return found


def _relations(connection: sqlite3.Connection) -> list[_Relation]:
    exists = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE lower(name) = 'gpkgext_relations'"
    ).fetchone()
    if not exists:
        return []
    rows = connection.execute(
        "SELECT base_table_name, base_primary_column, related_table_name, related_primary_column, "
        "relation_name, mapping_table_name FROM gpkgext_relations ORDER BY rowid"
    )
    return [
        _Relation(
            base=base,
            base_column=base_column,
            related=related,
            related_column=related_column,
            name=name,
            mapping=mapping,
        )
        for base, base_column, related, related_column, name, mapping in rows
    ]


def _is_media(relation: _Relation, table: Table | None) -> bool:
    if relation.name.lower() == "media" or (table is not None and table.data_type == "media"):
        return True
    return (
        table is not None
        and table.geometry is None
        and table.column("data") is not None
        and table.column("content_type") is not None
    )


def _read(inspection: Inspection, table: Table, relations: Sequence[_Relation]) -> Findings:
    data = table.column("data") or next(
        (column for column in table.columns if column.declared.startswith("BLOB")), None
    )
    if data is None or table.key is None:
        return _excluded(relations[0], f"{table.name} has no BLOB column `data`")
    links: list[Link] = []
    left_out: list[Link] = []
    findings = Findings()
    for relation in relations:
        link, problem = _link(inspection.schema, relation, table)
        if link is None:
            findings += _excluded(relation, problem)
        elif problem and not inspection.wish.opts_in(table.name, data.name):
            left_out.append(link)
            findings += _excluded(relation, problem)
        else:
            links.append(link)
    if not links:
        return findings
    content_type = first_column(table, ("content_type",))
    name = first_column(table, _NAMES)
    size = size_column(inspection.connection, table, data.name)
    tables = ", ".join(link.mapping.table for link in links if link.mapping is not None)
    photo_table = PhotoTable(
        layout=LayoutName.MEDIA,
        table=table.name,
        key=table.key,
        data=data.name,
        content_type=content_type,
        name=name,
        size=size,
        links=tuple(links),
        excluded=tuple(left_out),
        extra=remaining(table, data.name, content_type, name, size),
        reason=f"OGC related media, registered in gpkgext_relations; mapped by {tables}",
        read_only=f"{table.name} is a view" if table.is_view else None,
    )
    return findings + Findings(tables=(photo_table,))


def _link(schema: Schema, relation: _Relation, table: Table) -> tuple[Link | None, str]:
    """The link and, where it is none of photos to features, why; (None, why) when it is broken."""
    base, mapping = schema.table(relation.base), schema.table(relation.mapping)
    related = table.column(relation.related_column)
    if base is None or base.key is None:
        problem = f"it belongs to {relation.base}, which is no table of features"
        return None, problem
    if mapping is None or not (mapping.column("base_id") and mapping.column("related_id")):
        problem = f"its mapping table {relation.mapping} is missing or has no base_id, related_id"
        return None, problem
    if related is None or base.column(relation.base_column) is None:
        problem = (
            f"gpkgext_relations names {relation.base}.{relation.base_column} and "
            f"{relation.related}.{relation.related_column}, which do not both exist"
        )
        return None, problem
    link = Link(
        layer=base.name,
        layer_key=base.key,
        layer_column=relation.base_column,
        photo_column=related.name,
        mapping=Mapping(table=mapping.name, base_id="base_id", related_id="related_id"),
    )
    names = (relation.base, relation.related, relation.mapping)
    if any(name.lower().startswith(_NOT_PHOTOS) for name in names):
        return link, "map symbols or previews by its name, not photos"
    if base.data_type != "features":
        return link, f"it belongs to {base.name}, which is not a feature layer"
    return link, ""


def _excluded(relation: _Relation, reason: str) -> Findings:
    refusal = Refusal(
        table=relation.related,
        column=None,
        layout=LayoutName.MEDIA,
        reason=f"related to {relation.base} by {relation.mapping}: {reason}",
    )
    return Findings(excluded=(refusal,))
