"""Coordinate systems of GeoPackages as pyproj knows them, and the other way."""

from __future__ import annotations

from pyproj import CRS
from pyproj.enums import WktVersion
from pyproj.exceptions import CRSError

from attachtrans.stores.srs import UNDEFINED, Srs

_CUSTOM_SRS_ID = 100_000


def crs_of(srs: Srs | None) -> CRS | None:
    """The system to compute with; None where the file says undefined or nothing known."""
    if srs is None or srs.srs_id in (-1, 0):
        return None
    if srs.organization.lower() not in ("none", "custom"):
        try:
            return CRS.from_authority(srs.organization, srs.code)
        except CRSError:
            pass  # a code that only its makers know: the definition has it in full
    for definition in (srs.wkt2, srs.definition):
        try:
            return CRS.from_wkt(definition)
        except CRSError:
            continue
    return None


def srs_of(crs: CRS) -> Srs:
    """A row for gpkg_spatial_ref_sys; its number is the EPSG code where there is one."""
    authority = crs.to_authority(min_confidence=100)
    organization, code = authority or ("NONE", str(_CUSTOM_SRS_ID))
    number = int(code) if code.isdecimal() else _CUSTOM_SRS_ID
    try:
        wkt1: str = crs.to_wkt(WktVersion.WKT1_GDAL)
    except CRSError:
        wkt1 = UNDEFINED
    return Srs(
        name=crs.name,
        srs_id=number,
        organization=organization if code.isdecimal() else "NONE",
        code=number,
        definition=wkt1 or UNDEFINED,
        description=None,
        wkt2=crs.to_wkt(WktVersion.WKT2_2019),
        epoch=None,
    )
