"""Coordinate reference systems as GeoPackages list them: read in one file, found in another.

Numbers (srs_id) mean nothing outside their file, except -1, 0 and 4326, so systems are the same
when authority and code are, or where there is no authority, when the definitions are.

Format: OGC 12-128r15 clause 1.1.2 and annex F.10 (WKT for CRS).
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from attachtrans.stores.registry import Extension, add_extension, has_table

UNDEFINED = "undefined"
_FIRST_FREE = 100_000
_WGS84_WKT2 = (
    'GEOGCRS["WGS 84",DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",6378137,298.257223563,'
    'LENGTHUNIT["metre",1]]],PRIMEM["Greenwich",0,ANGLEUNIT["degree",0.0174532925199433]],'
    'CS[ellipsoidal,2],AXIS["geodetic latitude (Lat)",north,ORDER[1],'
    'ANGLEUNIT["degree",0.0174532925199433]],AXIS["geodetic longitude (Lon)",east,ORDER[2],'
    'ANGLEUNIT["degree",0.0174532925199433]],ID["EPSG",4326]]'
)
_NO_AUTHORITY = frozenset({"none", "custom", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Srs:
    """A row of gpkg_spatial_ref_sys; definition is WKT 1, wkt2 and epoch come by extensions."""

    name: str
    srs_id: int
    organization: str
    code: int
    definition: str
    description: str | None
    wkt2: str
    epoch: float | None

    @property
    def label(self) -> str:
        """How to name it to a user: "EPSG:25832 (ETRS89 / UTM zone 32N)"."""
        return f"{self.organization}:{self.code} ({self.name})"

    @property
    def needs_wkt2(self) -> bool:
        """Whether its WKT 1 definition alone would not do."""
        no_wkt1 = self.definition == UNDEFINED and self.wkt2 != UNDEFINED
        return no_wkt1 or self.epoch is not None

    def same_as(self, other: Srs) -> bool:
        """Whether coordinates in one are coordinates in the other."""
        if self.epoch != other.epoch:
            return False
        if self.srs_id in (-1, 0) or other.srs_id in (-1, 0):
            return self.srs_id == other.srs_id
        if self.organization.lower() not in _NO_AUTHORITY:
            mine = (self.organization.lower(), self.code)
            if mine == (other.organization.lower(), other.code):
                return True
        if self.definition != UNDEFINED:
            return self.definition == other.definition
        return self.wkt2 != UNDEFINED and self.wkt2 == other.wkt2


def read_all_srs(connection: sqlite3.Connection) -> list[Srs]:
    """All systems that a file lists."""
    names = _columns(connection)
    wkt2 = "definition_12_063" if "definition_12_063" in names else f"'{UNDEFINED}'"
    epoch = "epoch" if "epoch" in names else "NULL"
    rows = connection.execute(
        "SELECT srs_name, srs_id, organization, organization_coordsys_id, definition, description, "
        f"{wkt2}, {epoch} FROM gpkg_spatial_ref_sys"
    ).fetchall()
    return [
        Srs(
            name=row[0],
            srs_id=row[1],
            organization=row[2] or "NONE",
            code=row[3],
            definition=row[4] or UNDEFINED,
            description=row[5],
            wkt2=row[6] or UNDEFINED,
            epoch=row[7],
        )
        for row in rows
    ]


def ensure_srs(connection: sqlite3.Connection, srs: Srs) -> int:
    """The number of a system in this file, which is added when it is not listed."""
    listed = read_all_srs(connection)
    for known in listed:
        if srs.same_as(known):
            return known.srs_id
    taken = {known.srs_id for known in listed}
    number = srs.srs_id if srs.srs_id not in taken else max(_FIRST_FREE, *taken) + 1
    if srs.needs_wkt2:
        _add_wkt2(connection, epoch=srs.epoch is not None)
    columns = {
        "srs_name": srs.name,
        "srs_id": number,
        "organization": srs.organization,
        "organization_coordsys_id": srs.code,
        "definition": srs.definition,
        "description": srs.description,
    }
    names = _columns(connection)
    if "definition_12_063" in names:
        columns["definition_12_063"] = srs.wkt2
    if "epoch" in names:
        columns["epoch"] = srs.epoch
    marks = ", ".join("?" * len(columns))
    connection.execute(
        f"INSERT INTO gpkg_spatial_ref_sys ({', '.join(columns)}) VALUES ({marks})",
        tuple(columns.values()),
    )
    return number


def _columns(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT name FROM pragma_table_info('gpkg_spatial_ref_sys')")
    return {name.lower() for (name,) in rows.fetchall()}


def _add_wkt2(connection: sqlite3.Connection, *, epoch: bool) -> None:
    """Let the file's list hold WKT 2, and epochs of dynamic systems, by registered extensions."""
    table = "gpkg_spatial_ref_sys"
    names = _columns(connection)
    if "definition_12_063" not in names:
        connection.execute(
            f"ALTER TABLE {table} ADD COLUMN definition_12_063 TEXT NOT NULL DEFAULT ''"
        )
        connection.execute(
            f"UPDATE {table} SET definition_12_063 = CASE WHEN srs_id = 4326 THEN ? ELSE ? END",
            (_WGS84_WKT2, UNDEFINED),
        )
    if epoch and "epoch" not in names:
        connection.execute(f"ALTER TABLE {table} ADD COLUMN epoch DOUBLE")
        if has_table(connection, "gpkg_extensions"):  # the newer extension replaces the older
            connection.execute("DELETE FROM gpkg_extensions WHERE extension_name = 'gpkg_crs_wkt'")
    name = "gpkg_crs_wkt_1_1" if epoch or "epoch" in names else "gpkg_crs_wkt"
    columns = ("definition_12_063", "epoch") if name.endswith("1_1") else ("definition_12_063",)
    for column in columns:
        extension = Extension(
            table=table,
            column=column,
            name=name,
            definition="http://www.geopackage.org/spec/#extension_crs_wkt",
        )
        add_extension(connection, extension)
