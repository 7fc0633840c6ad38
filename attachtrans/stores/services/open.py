"""Services, opened on the grid that is asked for."""

from __future__ import annotations

from dataclasses import replace

from attachtrans.errors import ArgumentError
from attachtrans.geo.gridding import Gridding
from attachtrans.stores.services.address import recognise
from attachtrans.stores.services.arcgis import image_service, map_service
from attachtrans.stores.services.base import Access, Address, Service, ServiceKind
from attachtrans.stores.services.catalog import CatalogItem, catalog_items
from attachtrans.stores.services.client import Client
from attachtrans.stores.services.exports import ExportService, open_export
from attachtrans.stores.services.tiles import TileService, open_tiles
from attachtrans.stores.services.wms import wms_service
from attachtrans.stores.services.wmts import wmts_service
from attachtrans.stores.services.xyz import hosts_of, xyz_service


def open_service(
    source: str | Address,
    asked: Gridding,
    access: Access | None = None,
    *,
    item: CatalogItem | None = None,
) -> Service:
    """Open a service at an extent and a cell size; close its raster after use.

    Args:
        source: see `recognise`.
        asked: the grid; an extent is needed, and a cell size where the service has none.
        access: None: with what the environment holds.
        item: the one raster of an image service that is wanted (`items`).

    Raises:
        ArgumentError: no service, no such layer, no extent or cell size where one is needed, or
            the extra is not installed.
        SourceError: the server does not answer, or not with pictures; names the address.
    """
    address, client = _started(source, access)
    try:
        wish = asked if item is None else item.asked(asked)
        service = _described(address, wish, client, item)
        if isinstance(service, TileService):
            return open_tiles(service, wish, client)
        return open_export(service, wish, client)
    except BaseException:
        client.close()
        raise


def items(
    source: str | Address, asked: Gridding, access: Access | None = None
) -> tuple[CatalogItem, ...]:
    """The rasters of an image service's catalog that touch the extent, to be opened one by one.

    Raises:
        ArgumentError: no image service, or one without a catalog.
        SourceError: the server does not answer.
    """
    address, client = _started(source, access)
    try:
        if address.kind is not ServiceKind.ARCGIS_IMAGE:
            raise ArgumentError(
                f"{client.show(address.url)} is no ArcGIS image service: only those have rasters "
                "that can be processed separately"
            )
        return catalog_items(address, asked, client)
    finally:
        client.close()


def _started(source: str | Address, access: Access | None) -> tuple[Address, Client]:
    address = source if isinstance(source, Address) else recognise(source)
    if address is None:
        raise ArgumentError(
            f"{source} is no service: give a template with {{z}}, {{x}} and {{y}}, WMTS:..., "
            "WMS:..., or the address of an ImageServer or a MapServer"
        )
    known = Access.from_environment() if access is None else access
    home = hosts_of(address, known) if address.kind is ServiceKind.XYZ else (address.url,)
    return address, Client(known, home)


def _described(
    address: Address, asked: Gridding, client: Client, item: CatalogItem | None
) -> TileService | ExportService:
    if address.kind is ServiceKind.XYZ:
        return xyz_service(address, client)
    if address.kind is ServiceKind.WMTS:
        return wmts_service(address, asked, client)
    if address.kind is ServiceKind.WMS:
        return wms_service(address, asked, client)
    if address.kind is ServiceKind.ARCGIS_MAP:
        return map_service(address, client)
    service = image_service(address, asked, client, lock=None if item is None else item.number)
    if item is None or isinstance(service, TileService):
        return service
    return replace(
        service,
        address=replace(address, layer=str(item.number)),
        name=f"{service.name} {item.name}",
        bounds=item.extent,
        cell=item.cell or service.cell,
        origin=(item.extent[0], item.extent[3]),
    )
