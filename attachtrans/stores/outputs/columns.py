"""Photos in columns of their features: as BLOBs, or as paths of files in a folder.

A feature has as many columns as the feature with most photos needs: photo, photo_2, photo_3 ...
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from attachtrans.errors import ArgumentError, SinkError
from attachtrans.journal import digest_of
from attachtrans.stores.carry import Origin, OutFeature
from attachtrans.stores.durable import replace_file
from attachtrans.stores.filenames import safe_stem, split_name
from attachtrans.stores.geopackage import quote
from attachtrans.stores.outputs.base import Attachment
from attachtrans.stores.registry import touch
from attachtrans.stores.schema import SRC_ATT, SRC_DIGEST, ClassPlan, Field

_MOST = 100


def slot_fields(slots: int, declared: str) -> tuple[Field, ...]:
    """The columns of a class for `slots` photos per feature.

    The small ones come first: SQLite reads a row from its beginning. Raises ArgumentError when
    they would be too many.
    """
    if slots > _MOST:
        message = (
            f"a feature has {slots} photos, which is too many for columns; use --output-layout "
            "attach or media (for photos in a folder: --geometry footprint)"
        )
        raise ArgumentError(message)
    keys = [
        field
        for slot in range(1, slots + 1)
        for field in (
            Field(name=_name(SRC_ATT, slot), declared="TEXT"),
            Field(name=_name(SRC_DIGEST, slot), declared="TEXT(64)"),
        )
    ]
    photos = [Field(name=_name("photo", slot), declared=declared) for slot in range(1, slots + 1)]
    return (*keys, *photos)


def _name(base: str, slot: int) -> str:
    return base if slot == 1 else f"{base}_{slot}"


class ColumnStore:
    """A `PhotoStore` in columns of the feature table."""

    def __init__(
        self,
        plan: ClassPlan,
        origin: Origin,
        *,
        slots: int,
        home: Path = Path(),
        folder: Path | None = None,
    ) -> None:
        """Plan for `slots` photos per feature; more columns are added when they are needed.

        folder: where files go, relative to `home`, the output's folder, as their paths in the
        columns are; None keeps the photos in the columns.
        """
        self._plan = plan
        self._origin = origin
        self._slots = slots
        self._home = home
        self._folder = folder

    @property
    def _type(self) -> str:
        return "BLOB" if self._folder is None else "TEXT"

    def create(self, connection: sqlite3.Connection) -> None:
        """See PhotoStore: the columns were made with the feature table."""

    def differences(self, connection: sqlite3.Connection) -> list[str]:
        """See PhotoStore."""
        table = self._plan.table.name
        rows = connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,))
        there = dict(rows.fetchall())
        found = [
            f"{table} has no column {field.name} ({field.declared})"
            for field in slot_fields(1, self._type)
            if field.name not in there
        ]
        if not found and there["photo"] != self._type:
            found.append(f"{table}.photo is {there['photo']}, {self._type} is needed")
        self._slots = 1
        while _name("photo", self._slots + 1) in there:
            self._slots += 1
        return found

    def _add_slot(self, connection: sqlite3.Connection) -> None:
        for field in slot_fields(self._slots + 1, self._type):
            if field.name.endswith(f"_{self._slots + 1}"):
                connection.execute(
                    f"ALTER TABLE {quote(self._plan.table.name)} ADD COLUMN {quote(field.name)} "
                    f"{field.declared}"
                )
        self._slots += 1

    def _keys(
        self, connection: sqlite3.Connection, feature: OutFeature
    ) -> list[tuple[str | None, str | None]]:
        """(SRC_ATT, SRC_DIGEST) of a feature's slots."""
        names = [_name(n, i) for i in range(1, self._slots + 1) for n in (SRC_ATT, SRC_DIGEST)]
        table = self._plan.table
        rows = connection.execute(
            f"SELECT {', '.join(map(quote, names))} FROM {quote(table.name)} "
            f"WHERE {quote(table.key)} = ?",
            (feature.fid,),
        ).fetchall()
        values = rows[0] if rows else ()
        return list(zip(values[::2], values[1::2], strict=True))

    def holds(
        self, connection: sqlite3.Connection, feature: OutFeature, key: str, digest: str
    ) -> bool:
        """See PhotoStore; a file that is gone is not held."""
        slots = self._keys(connection, feature)
        if (key, digest) not in slots:
            return False
        if self._folder is None:
            return True
        column = _name("photo", slots.index((key, digest)) + 1)
        table = self._plan.table
        rows = connection.execute(
            f"SELECT {quote(column)} FROM {quote(table.name)} WHERE {quote(table.key)} = ?",
            (feature.fid,),
        ).fetchall()
        return bool(rows[0][0]) and (self._home / rows[0][0]).is_file()

    def put(
        self,
        connection: sqlite3.Connection,
        features: Sequence[OutFeature],
        attachment: Attachment,
    ) -> None:
        """See PhotoStore. A file is complete before any feature names it."""
        value = attachment.data if self._folder is None else self._write(self._folder, attachment)
        table = self._plan.table
        for feature in features:
            slots = self._keys(connection, feature)
            keys = [key for key, _ in slots]
            if (attachment.key, attachment.digest) in slots and self._folder is None:
                continue
            if attachment.key not in keys and None not in keys:
                self._add_slot(connection)
                keys.append(None)
            wanted = attachment.key if attachment.key in keys else None
            slot = keys.index(wanted) + 1
            row = {
                _name("photo", slot): value,
                _name(SRC_ATT, slot): attachment.key,
                _name(SRC_DIGEST, slot): attachment.digest,
            }
            assignments = ", ".join(f"{quote(name)} = ?" for name in row)
            connection.execute(
                f"UPDATE {quote(table.name)} SET {assignments} WHERE {quote(table.key)} = ?",
                (*row.values(), feature.fid),
            )
        touch(connection, table.name)

    def _write(self, folder: Path, attachment: Attachment) -> str:
        identity = f"{self._origin.file}\n{attachment.key}\n{self._origin.model}"
        mark = digest_of(identity.encode("utf-8"))[:10]
        stem, ending = split_name(attachment.name)
        # The same name each time, and no other's.
        path = folder / f"{safe_stem(stem)}_{mark}{ending}"
        try:
            (self._home / folder).mkdir(exist_ok=True)
            replace_file(self._home / path, attachment.data)
        except OSError as error:
            message = f"{self._home / path} cannot be written: {error}"
            raise SinkError(message) from error
        return path.as_posix()
