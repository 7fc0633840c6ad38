"""Rasters that servers draw: XYZ and TMS tiles, WMTS, WMS, ArcGIS image and map services.

    recognise(source)                   which service a source names, None for none
    open_service(source, asked, access) its pixels at an extent and a cell size
    items(source, asked, access)        the rasters of an image service, one by one

GDAL reads most of these, too. It does not keep to a rate, tell placeholders from imagery or say
what a server said, and its URLs with tokens come up in messages; so the requests are made here.
"""

from attachtrans.stores.services.address import recognise, redact
from attachtrans.stores.services.base import Access, Address, Service, ServiceKind, default_cache
from attachtrans.stores.services.catalog import CatalogItem
from attachtrans.stores.services.open import items, open_service

__all__ = [
    "Access",
    "Address",
    "CatalogItem",
    "Service",
    "ServiceKind",
    "default_cache",
    "items",
    "open_service",
    "recognise",
    "redact",
]
