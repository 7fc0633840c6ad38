"""The bytes of photos in tables, read where they are."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from threading import Lock
from typing import Protocol

from attachtrans.errors import SourceError
from attachtrans.stores.content import content_of
from attachtrans.stores.geopackage import connect, quote, read_blob
from attachtrans.stores.layouts.base import PhotoTable


class Contents(Protocol):
    """Photos of one file by table and row; thread-safe."""

    def read(self, table: PhotoTable, row: int, nbytes: int | None) -> bytes:
        """The encoded content as stored now, or its first bytes. Raises SourceError."""
        ...

    def length(self, table: PhotoTable) -> str:
        """SQL for the length of a row's content, in the database that rows are listed in."""
        ...

    def close(self) -> None:
        """Let go of the file; a later read opens it again."""
        ...


class TableContents:
    """Photos in tables of SQLite; one connection serves all threads in turn.

    Reading opens the file on first use. No lock is held between reads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None

    def read(self, table: PhotoTable, row: int, nbytes: int | None) -> bytes:
        """See Contents; base64 and b'...' text is decoded."""
        with self._lock:
            try:
                return self._read(table, row, nbytes)
            except (sqlite3.Error, OverflowError) as error:
                message = f"cannot be read: {error}"
                raise SourceError(message) from error

    def _read(self, table: PhotoTable, row: int, nbytes: int | None) -> bytes:
        if self._connection is None:
            self._connection = connect(self._path)
        connection = self._connection
        sql = (
            f"SELECT typeof({quote(table.data)}) FROM {quote(table.table)} "
            f"WHERE {quote(table.key)} = ?"
        )
        kind = connection.execute(sql, (row,)).fetchone()
        if kind is None:
            message = "the row is gone"
            raise SourceError(message)
        if kind[0] == "blob" and table.read_only is None:
            return read_blob(connection, table.table, table.data, row, nbytes)
        sql = sql.replace("typeof(", "(", 1)
        (value,) = connection.execute(sql, (row,)).fetchone()
        return content_of(value)[:nbytes]

    def length(self, table: PhotoTable) -> str:
        """See Contents."""
        data = quote(table.data)
        return f"CASE typeof({data}) WHEN 'blob' THEN length({data}) END"

    def close(self) -> None:
        """See Contents."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
