"""Photos by the OGC Related Tables Extension: a media table and a mapping table.

Format: OGC 18-000. A photo of several features is stored once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from attachtrans.stores.carry import Origin, OutFeature, insert
from attachtrans.stores.geopackage import quote
from attachtrans.stores.outputs.base import Attachment
from attachtrans.stores.registry import (
    Extension,
    add_contents,
    add_extension,
    forget_count,
    has_table,
    touch,
)
from attachtrans.stores.schema import (
    MODEL_FP,
    SRC_ATT,
    SRC_DIGEST,
    SRC_FILE,
    ClassPlan,
    Field,
    TableSpec,
    differences,
    key_field,
)

_RELATIONS = """
    CREATE TABLE IF NOT EXISTS gpkgext_relations (
        id INTEGER PRIMARY KEY AUTOINCREMENT, base_table_name TEXT NOT NULL,
        base_primary_column TEXT NOT NULL DEFAULT 'id', related_table_name TEXT NOT NULL,
        related_primary_column TEXT NOT NULL DEFAULT 'id', relation_name TEXT NOT NULL,
        mapping_table_name TEXT NOT NULL UNIQUE)
"""
_DEFINITION = "http://www.geopackage.org/18-000.html"
_FIXED = (
    key_field("id"),
    Field(name="data", declared="BLOB", constraint="NOT NULL"),
    Field(name="content_type", declared="TEXT", constraint="NOT NULL"),
    Field(name="name", declared="TEXT"),
)
_OWN = (
    Field(name=SRC_FILE, declared="TEXT"),
    Field(name=SRC_ATT, declared="TEXT"),
    Field(name=SRC_DIGEST, declared="TEXT(64)"),
    Field(name=MODEL_FP, declared="TEXT"),
)
# A key of the source's features would be taken for one of the output's.
OWN_NAMES = (*(field.name for field in (*_FIXED, *_OWN)), "REL_GLOBALID", "REL_OBJECTID")


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaStore:
    """A `PhotoStore` of media related to features; `extra` are columns carried along."""

    plan: ClassPlan
    extra: tuple[Field, ...]
    origin: Origin

    @property
    def spec(self) -> TableSpec:
        """The media table."""
        name = f"{self.plan.table.name}_media"
        return TableSpec(name=name, key="id", fields=(*_FIXED, *self.extra, *_OWN))

    @property
    def mapping(self) -> TableSpec:
        """The mapping table, named as GDAL names it."""
        name = f"{self.plan.table.name}_{self.spec.name}"
        columns = (
            Field(name="base_id", declared="INTEGER", constraint="NOT NULL"),
            Field(name="related_id", declared="INTEGER", constraint="NOT NULL"),
        )
        return TableSpec(name=name, key="id", fields=(key_field("id"), *columns))

    def create(self, connection: sqlite3.Connection) -> None:
        """See PhotoStore."""
        media, mapping = self.spec, self.mapping
        media.create(connection)
        connection.execute(
            f"CREATE INDEX {quote(f'idx_{media.name}_source')} ON {quote(media.name)} "
            f"({SRC_ATT}, {SRC_FILE}, {MODEL_FP}, {SRC_DIGEST})"
        )
        add_contents(connection, media.name, "attributes", 0, "")
        mapping.create(connection)
        connection.execute(
            f"CREATE INDEX {quote(f'idx_{mapping.name}')} ON {quote(mapping.name)} "
            "(base_id, related_id)"
        )
        about = f"Which features of {self.plan.table.name} have which media"
        add_contents(connection, mapping.name, "attributes", 0, about)
        connection.execute(_RELATIONS)
        connection.execute(
            "INSERT INTO gpkgext_relations (base_table_name, base_primary_column, "
            "related_table_name, related_primary_column, relation_name, mapping_table_name) "
            "VALUES (?, ?, ?, 'id', 'media', ?)",
            (self.plan.table.name, self.plan.table.key, media.name, mapping.name),
        )
        name = _extension_name(connection)
        for table in ("gpkgext_relations", mapping.name):
            extension = Extension(table=table, column=None, name=name, definition=_DEFINITION)
            add_extension(connection, extension)

    def differences(self, connection: sqlite3.Connection) -> list[str]:
        """See PhotoStore."""
        return differences(connection, self.spec) + differences(connection, self.mapping)

    def holds(
        self, connection: sqlite3.Connection, feature: OutFeature, key: str, digest: str
    ) -> bool:
        """See PhotoStore."""
        query = (
            f"SELECT 1 FROM {quote(self.spec.name)} m JOIN {quote(self.mapping.name)} p "
            f"ON p.related_id = m.id WHERE m.{SRC_ATT} = ? AND m.{SRC_FILE} = ? "
            f"AND m.{MODEL_FP} = ? AND m.{SRC_DIGEST} = ? AND p.base_id = ?"
        )
        values = (key, self.origin.file, self.origin.model, digest, feature.fid)
        return bool(connection.execute(query, values).fetchall())

    def put(
        self,
        connection: sqlite3.Connection,
        features: Sequence[OutFeature],
        attachment: Attachment,
    ) -> None:
        """See PhotoStore: one media row, mapped to each feature."""
        row = self._row(connection, attachment)
        mapping = quote(self.mapping.name)
        for feature in features:
            connection.execute(
                f"INSERT INTO {mapping} (base_id, related_id) SELECT ?1, ?2 WHERE NOT EXISTS "
                f"(SELECT 1 FROM {mapping} WHERE base_id = ?1 AND related_id = ?2)",
                (feature.fid, row),
            )
        for name in (self.spec.name, self.mapping.name):
            touch(connection, name)
            forget_count(connection, name)

    def _row(self, connection: sqlite3.Connection, attachment: Attachment) -> int:
        """The media row of this attachment with its present content."""
        table = quote(self.spec.name)
        known = connection.execute(
            f"SELECT id, {SRC_DIGEST} FROM {table} WHERE {SRC_ATT} = ? AND {SRC_FILE} = ? "
            f"AND {MODEL_FP} = ?",
            (attachment.key, self.origin.file, self.origin.model),
        ).fetchall()
        content = {
            "data": attachment.data,
            "content_type": attachment.media_type,
            "name": attachment.name,
            **attachment.extra,
            SRC_DIGEST: attachment.digest,
        }
        if not known:
            key = {
                SRC_FILE: self.origin.file,
                SRC_ATT: attachment.key,
                MODEL_FP: self.origin.model,
            }
            return insert(connection, self.spec.name, content | key)
        row, digest = known[0]
        if digest != attachment.digest:
            assignments = ", ".join(f"{quote(name)} = ?" for name in content)
            connection.execute(
                f"UPDATE {table} SET {assignments} WHERE id = ?", (*content.values(), row)
            )
        return int(row)


def _extension_name(connection: sqlite3.Connection) -> str:
    """The extension's name as the file spells it: "related_tables" is legal as well."""
    if has_table(connection, "gpkg_extensions"):
        rows = connection.execute(
            "SELECT extension_name FROM gpkg_extensions WHERE lower(table_name) = "
            "'gpkgext_relations'"
        ).fetchall()
        if rows:
            return str(rows[0][0])
    return "gpkg_related_tables"
