"""Esri attachments: a table <layer>__ATTACH, joined by GlobalID or by OBJECTID.

In a GeoPackage it is a convention that conversion leaves behind, not a registered extension: the
name and the columns are all there is. Only a foreign key is more, as attachtrans gives its outputs
and as relationship classes of geodatabases are read: it says which layer and which columns, however
the table is called. Columns by upgrade level: Esri's page "Upgrade attachments".
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from attachtrans.errors import LayoutError
from attachtrans.stores.geopackage import Column, Table, quote, same
from attachtrans.stores.layouts.base import (
    Findings,
    Inspection,
    LayoutName,
    Link,
    PhotoTable,
    Refusal,
    first_column,
    remaining,
)

_SUFFIX = "__attach"
_FOLLOWING = ("CONTENT_TYPE", "ATT_NAME", "DATA_SIZE")
_RELATIONS = ("REL_GLOBALID", "REL_OBJECTID")
_SHOWN = 20


class _Related(NamedTuple):
    """What a foreign key says: `column` of the attachments is `layer`.`layer_column`."""

    layer: str
    column: str
    layer_column: str


class EsriAttachments:
    """Tables whose name ends in __ATTACH, with a BLOB column and a REL_ column."""

    name = LayoutName.ATTACH

    def find(self, inspection: Inspection, taken: frozenset[str]) -> Findings:
        """Find attachment tables; joins that would hit wrong features are refused."""
        del taken  # it comes first
        found = Findings()
        for table in inspection.schema.tables:
            related = _related(inspection.connection, table)
            if related is None and not table.name.lower().endswith(_SUFFIX):
                continue
            data = _data_column(table)
            if data is None or table.key is None or not (related or _relations(table)):
                columns = ", ".join(column.name for column in table.columns)
                reason = (
                    "named like an attachment table, but without a BLOB column DATA or without "
                    f"REL_GLOBALID and REL_OBJECTID (it has {columns})"
                )
                found += Findings(hints=(_refusal(table, reason),))
                continue
            try:
                found += Findings(tables=(_read(inspection, table, data, related),))
            except LayoutError as error:
                found += Findings(refused=(_refusal(table, str(error)),))
        return found


def _refusal(table: Table, reason: str) -> Refusal:
    return Refusal(table=table.name, column=None, layout=LayoutName.ATTACH, reason=reason)


def _related(connection: sqlite3.Connection, table: Table) -> _Related | None:
    """The foreign key of a table of attachments, by which it hangs on its layer."""
    if table.is_view or not all(table.column(name) for name in ("DATA", "ATT_NAME")):
        return None
    rows = connection.execute(
        'SELECT "table", "from", "to" FROM pragma_foreign_key_list(?)', (table.name,)
    ).fetchall()
    keys = [_Related(*row) for row in rows if row[2] is not None]
    return keys[0] if len(keys) == 1 else None


def _read(
    inspection: Inspection, table: Table, data: Column, related: _Related | None
) -> PhotoTable:
    layer = table.name[: -len(_SUFFIX)] if related is None else related.layer
    link = _registered_link(table, inspection.schema.table(layer), related)
    registered = link is not None
    if link is None:
        link = _link(inspection.connection, table, inspection.schema.table(layer))
    used = tuple(first_column(table, (name,)) for name in _FOLLOWING)
    warnings: tuple[str, ...] = ()
    if link is None:
        how = "its layer is not in this file"
        warnings = (f"{table.name}: the layer {layer} is not in this file",)
    else:
        how = f"{link.photo_column} = {link.layer}.{link.layer_column}"
    return PhotoTable(
        layout=LayoutName.ATTACH,
        table=table.name,
        key=table.key or "rowid",
        data=data.name,
        content_type=used[0],
        name=used[1],
        size=used[2],
        links=() if link is None else (link,),
        extra=remaining(table, data.name, *used),
        reason=f"Esri attachment table{'' if registered else ' by name and columns'}; {how}",
        warnings=warnings,
        read_only=f"{table.name} is a view" if table.is_view else None,
    )


def _registered_link(table: Table, parent: Table | None, related: _Related | None) -> Link | None:
    """The join that a foreign key states, None where it states none that there is."""
    if related is None or parent is None or parent.key is None:
        return None
    here, there = table.column(related.column), parent.column(related.layer_column)
    if here is None or there is None:
        return None
    return Link(
        layer=parent.name,
        layer_key=parent.key,
        layer_column=there.name,
        photo_column=here.name,
        guid=here.holds_text,
    )


def _data_column(table: Table) -> Column | None:
    blobs = [column for column in table.columns if column.declared.startswith("BLOB")]
    named = [column for column in blobs if same(column.name, "DATA")]
    if named:
        return named[0]
    if table.is_view:  # expressions have no declared type
        return table.column("DATA")
    return blobs[0] if len(blobs) == 1 else None


def _relations(table: Table) -> bool:
    return any(table.column(name) for name in _RELATIONS)


def _link(connection: sqlite3.Connection, table: Table, parent: Table | None) -> Link | None:
    """The join to the layer, None when a GUID join has no layer; raises LayoutError if unsafe."""
    global_id, object_id = (first_column(table, (name,)) for name in _RELATIONS)
    if global_id is not None and (parent is None or parent.key is None):
        return None
    if parent is not None and parent.key is not None:
        target = first_column(parent, ("GLOBALID",))
        if global_id is not None and target is not None:
            return Link(
                layer=parent.name,
                layer_key=parent.key,
                layer_column=target,
                photo_column=global_id,
                guid=True,
            )
        target = first_column(parent, ("OBJECTID",))
        if object_id is not None and target is not None:
            _check_object_ids(connection, table, object_id, parent, target)
            return Link(
                layer=parent.name,
                layer_key=parent.key,
                layer_column=target,
                photo_column=object_id,
            )
    where = "there is no such layer" if parent is None else f"{parent.name} has no such column"
    if object_id is not None:
        message = (
            f"{table.name} refers to its features by OBJECTID but {where}; conversion has "
            "renumbered the features, so any join would hit wrong ones. Convert again so that "
            "OBJECTID or GlobalID is kept (ogr2ogr without -sql)"
        )
    else:
        message = f"{table.name} refers to its features by GlobalID but {where}"
    raise LayoutError(message)


def _check_object_ids(
    connection: sqlite3.Connection, table: Table, object_id: str, parent: Table, target: str
) -> None:
    rows = connection.execute(
        f"SELECT DISTINCT {quote(object_id)} FROM {quote(table.name)} "
        f"WHERE {quote(object_id)} IS NULL OR {quote(object_id)} NOT IN "
        f"(SELECT {quote(target)} FROM {quote(parent.name)} WHERE {quote(target)} IS NOT NULL) "
        f"ORDER BY 1"
    ).fetchall()
    if not rows:
        return
    shown = ", ".join(str(value) for (value,) in rows[:_SHOWN])
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    message = (
        f"{table.name} refers to features of {parent.name} that do not exist: OBJECTID {shown}"
        f"{more}. The features were probably renumbered by a conversion, then the other photos "
        "hang on wrong features too. Convert again with GlobalIDs, or delete these rows if they "
        "are only leftovers"
    )
    raise LayoutError(message)
