"""Photos in Esri's form: one table <layer>__ATTACH, joined by GlobalID.

GDAL 3.7 and QGIS 3.30 and newer see the one-to-many relation by the foreign key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from attachtrans.stores.carry import OutFeature, insert, new_guid
from attachtrans.stores.geopackage import quote
from attachtrans.stores.outputs.base import Attachment
from attachtrans.stores.registry import add_contents, forget_count, touch
from attachtrans.stores.schema import (
    GUID,
    MODEL_FP,
    SRC_ATT,
    SRC_DIGEST,
    ClassPlan,
    Field,
    TableSpec,
    differences,
    guid_field,
    key_field,
)

_FIXED = (
    key_field("ATTACHMENTID"),
    Field(name="REL_GLOBALID", declared="TEXT(38)"),
    Field(name="CONTENT_TYPE", declared="TEXT(150)", constraint="NOT NULL"),
    Field(name="ATT_NAME", declared="TEXT(250)", constraint="NOT NULL"),
    Field(name="DATA_SIZE", declared="MEDIUMINT", constraint="NOT NULL"),
    Field(name="DATA", declared="BLOB"),
    guid_field("GLOBALID"),
)
_OWN = (
    Field(name=SRC_ATT, declared="TEXT"),
    Field(name=SRC_DIGEST, declared="TEXT(64)"),
    Field(name=MODEL_FP, declared="TEXT"),
)
# A key of the source's features would be taken for one of the output's.
OWN_NAMES = (*(field.name for field in (*_FIXED, *_OWN)), "REL_GLOBALID", "REL_OBJECTID")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachStore:
    """A `PhotoStore` in the form <layer>__ATTACH; `extra` are columns carried along."""

    plan: ClassPlan
    extra: tuple[Field, ...]
    model: str

    @property
    def spec(self) -> TableSpec:
        """The attachment table."""
        parent = f"REFERENCES {quote(self.plan.table.name)}({quote(GUID)})"
        relation = Field(name="REL_GLOBALID", declared="TEXT(38)", constraint=f"NOT NULL {parent}")
        fixed = (_FIXED[0], relation, *_FIXED[2:])
        name = f"{self.plan.table.name}__ATTACH"
        return TableSpec(name=name, key="ATTACHMENTID", fields=(*fixed, *self.extra, *_OWN))

    def create(self, connection: sqlite3.Connection) -> None:
        """See PhotoStore."""
        spec = self.spec
        spec.create(connection)
        # Holds all that is asked for, so that no photo is read to know that it is there.
        connection.execute(
            f"CREATE INDEX {quote(f'idx_{spec.name}_source')} ON {quote(spec.name)} "
            f"(REL_GLOBALID, {SRC_ATT}, {SRC_DIGEST})"
        )
        add_contents(connection, spec.name, "attributes", 0, "")

    def differences(self, connection: sqlite3.Connection) -> list[str]:
        """See PhotoStore."""
        return differences(connection, self.spec)

    def holds(
        self, connection: sqlite3.Connection, feature: OutFeature, key: str, digest: str
    ) -> bool:
        """See PhotoStore."""
        query = (
            f"SELECT 1 FROM {quote(self.spec.name)} WHERE REL_GLOBALID = ? AND {SRC_ATT} = ? "
            f"AND {SRC_DIGEST} = ?"
        )
        return bool(connection.execute(query, (feature.guid, key, digest)).fetchall())

    def put(
        self,
        connection: sqlite3.Connection,
        features: Sequence[OutFeature],
        attachment: Attachment,
    ) -> None:
        """See PhotoStore: a row for each feature."""
        table = quote(self.spec.name)
        content = {
            "CONTENT_TYPE": attachment.media_type,
            "ATT_NAME": attachment.name,
            "DATA_SIZE": len(attachment.data),
            "DATA": attachment.data,
            **attachment.extra,
            SRC_DIGEST: attachment.digest,
        }
        for feature in features:
            if self.holds(connection, feature, attachment.key, attachment.digest):
                continue
            assignments = ", ".join(f"{quote(name)} = ?" for name in content)
            updated = connection.execute(
                f"UPDATE {table} SET {assignments} WHERE REL_GLOBALID = ? AND {SRC_ATT} = ?",
                (*content.values(), feature.guid, attachment.key),
            ).rowcount
            if not updated:
                row = {
                    "REL_GLOBALID": feature.guid,
                    **content,
                    "GLOBALID": new_guid(),
                    SRC_ATT: attachment.key,
                    MODEL_FP: self.model,
                }
                insert(connection, self.spec.name, row)
        touch(connection, self.spec.name)
        forget_count(connection, self.spec.name)
