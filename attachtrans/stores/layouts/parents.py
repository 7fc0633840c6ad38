"""Which features the rows of a table without geometry belong to (1-N child tables)."""

from __future__ import annotations

from attachtrans.stores.geopackage import Column, Table, same
from attachtrans.stores.layouts.base import Inspection, Link, own_link

_NOTES = ("note_layer", "note_uuid")
_PARENT_IDS = ("uuid", "fid", "id")


def links_of(inspection: Inspection, table: Table) -> tuple[Link, ...]:
    """The links of a table's rows to features.

    A feature table's rows are features. Others belong to what their foreign keys, the relations
    of a QGIS project or QField's note_layer and note_uuid columns say; else the rows stand for
    themselves.
    """
    if table.geometry is not None or table.is_view:
        return (own_link(table),)
    return (
        _from_notes(inspection, table)
        or _from_relations(inspection, table)
        or _from_foreign_keys(inspection, table)
        or (own_link(table),)
    )


def _from_notes(inspection: Inspection, table: Table) -> tuple[Link, ...]:
    """QField's template: one table of attachments names its layer row by row."""
    layer_column, uuid_column = (table.column(name) for name in _NOTES)
    if layer_column is None or uuid_column is None:
        return ()
    named = inspection.distinct(table.name, layer_column.name)
    links = []
    for name in named:
        parent = inspection.schema.table(name)
        target = None if parent is None else _first(parent, _PARENT_IDS)
        if parent is not None and parent.key is not None and target is not None:
            links.append(
                Link(
                    layer=parent.name,
                    layer_key=parent.key,
                    layer_column=target.name,
                    photo_column=uuid_column.name,
                    only=(layer_column.name, name),
                )
            )
    return tuple(links)


def _from_relations(inspection: Inspection, table: Table) -> tuple[Link, ...]:
    links = []
    for relation in inspection.hints.relations:
        parent = inspection.schema.table(relation.parent)
        if same(relation.child, table.name) and parent is not None and parent.key is not None:
            links.append(
                Link(
                    layer=parent.name,
                    layer_key=parent.key,
                    layer_column=relation.parent_column,
                    photo_column=relation.child_column,
                )
            )
    return tuple(dict.fromkeys(links))


def _from_foreign_keys(inspection: Inspection, table: Table) -> tuple[Link, ...]:
    links = []
    for name, child_column, parent_column in inspection.connection.execute(
        'SELECT "table", "from", "to" FROM pragma_foreign_key_list(?) WHERE seq = 0', (table.name,)
    ):
        parent = inspection.schema.table(name)
        if parent is None or parent.key is None or parent.geometry is None:
            continue
        target = parent.key if parent_column is None else parent_column
        links.append(
            Link(
                layer=parent.name,
                layer_key=parent.key,
                layer_column=target,
                photo_column=child_column,
            )
        )
    return tuple(links)


def _first(table: Table, names: tuple[str, ...]) -> Column | None:
    found = (table.column(name) for name in names)
    return next((column for column in found if column is not None), None)
