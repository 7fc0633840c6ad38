"""Small GeoPackages for tests, by plain SQL: only the tables that a GeoPackage must have."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from attachtrans.stores.geopackage import quote


def picture(colour: int = 0, kind: str = "JPEG", size: tuple[int, int] = (8, 6)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, (colour % 256, 90, 200)).save(buffer, kind)
    return buffer.getvalue()


JPEG = picture()
PNG = picture(kind="PNG")
PDF = b"%PDF-1.7\n%nothing\n"


def point(x: float, y: float) -> bytes:
    """A point as GeoPackage stores it, without an envelope."""
    return b"GP\0\1" + struct.pack("<i", 4326) + struct.pack("<BIdd", 1, 1, x, y)


class Gpkg:
    """A file that is written statement by statement; `done` closes it and gives its path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.executescript(
            """
            PRAGMA synchronous = OFF;
            PRAGMA application_id = 1196444487;
            PRAGMA user_version = 10300;
            BEGIN;
            CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT, srs_id INTEGER PRIMARY KEY,
                organization TEXT, organization_coordsys_id INTEGER, definition TEXT,
                description TEXT);
            INSERT INTO gpkg_spatial_ref_sys VALUES ('WGS 84', 4326, 'EPSG', 4326, '', NULL);
            CREATE TABLE gpkg_contents (table_name TEXT PRIMARY KEY, data_type TEXT,
                identifier TEXT, description TEXT, last_change DATETIME, min_x DOUBLE,
                min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER);
            CREATE TABLE gpkg_geometry_columns (table_name TEXT PRIMARY KEY, column_name TEXT,
                geometry_type_name TEXT, srs_id INTEGER, z TINYINT, m TINYINT);
            COMMIT;
            """
        )

    def sql(self, statement: str, parameters: Sequence[object] = ()) -> None:
        self.connection.execute(statement, parameters)

    def table(
        self, name: str, columns: str, rows: Iterable[Sequence[object]] = (), kind: str = ""
    ) -> None:
        """A table; kind registers it in gpkg_contents."""
        self.sql(f"CREATE TABLE {quote(name)} ({columns})")
        self.insert(name, rows)
        if kind:
            self.sql(
                "INSERT INTO gpkg_contents (table_name, data_type) VALUES (?, ?)", (name, kind)
            )

    def insert(self, name: str, rows: Iterable[Sequence[object]]) -> None:
        for row in rows:
            marks = ", ".join("?" * len(row))
            self.sql(f"INSERT INTO {quote(name)} VALUES ({marks})", tuple(row))

    def layer(self, name: str, columns: str = "", rows: Iterable[Sequence[object]] = ()) -> None:
        """A point layer: fid, geom, then the columns."""
        more = f", {columns}" if columns else ""
        self.table(name, f"fid INTEGER PRIMARY KEY, geom POINT{more}", rows, "features")
        self.sql(
            "INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', 'POINT', 4326, 0, 0)", (name,)
        )

    def attach(
        self,
        layer: str,
        key: str,
        rows: Iterable[Sequence[object]],
        more: str = "",
    ) -> None:
        """An attachment table; rows are (id, link, type, name, size, data, more...)."""
        extra = f", {more}" if more else ""
        columns = (
            f"ATTACHMENTID INTEGER PRIMARY KEY, {key}, CONTENT_TYPE TEXT(150), "
            f"ATT_NAME TEXT(250), DATA_SIZE MEDIUMINT, DATA BLOB{extra}"
        )
        self.table(f"{layer}__ATTACH", columns, rows, "attributes")

    def relations(self, *rows: tuple[str, str, str, str, str, str]) -> None:
        self.sql(
            "CREATE TABLE gpkgext_relations (id INTEGER PRIMARY KEY, base_table_name TEXT, "
            "base_primary_column TEXT, related_table_name TEXT, related_primary_column TEXT, "
            "relation_name TEXT, mapping_table_name TEXT UNIQUE)"
        )
        for number, row in enumerate(rows, 1):
            self.sql("INSERT INTO gpkgext_relations VALUES (?, ?, ?, ?, ?, ?, ?)", (number, *row))

    def done(self) -> Path:
        self.connection.close()
        return self.path


def attachment(
    number: int, link: object, data: bytes | None = JPEG, name: str = "Photo1.jpg"
) -> tuple[object, ...]:
    return number, link, "image/jpeg", name, None if data is None else len(data), data
