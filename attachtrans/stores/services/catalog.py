"""The rasters of an image service's catalog, for processing them separately."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pyproj import CRS

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.geo.gridding import Bounds, Gridding, moved_bounds
from attachtrans.stores.services.arcgis import ask, crs_of_esri, esri_reference
from attachtrans.stores.services.base import Address
from attachtrans.stores.services.client import Client

_AT_A_TIME = 50
_PRIMARY = 1
"""Category of rasters that are no overviews of others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CatalogItem:
    """One raster of an image service.

    number  its OBJECTID
    extent  in `crs`
    cell    side of its pixels in `crs`, None where it is not said
    """

    number: int
    name: str
    extent: Bounds
    crs: CRS
    cell: float | None

    def asked(self, asked: Gridding) -> Gridding:
        """The same wishes on this raster only: its extent, as far as the one that is asked for.

        Raises:
            ArgumentError: that extent lies beside it.
        """
        extent = self.extent
        if asked.extent is not None:
            system = asked.extent_crs or asked.crs or self.crs
            wanted = moved_bounds(asked.extent, system, self.crs)
            west, south = max(extent[0], wanted[0]), max(extent[1], wanted[1])
            east, north = min(extent[2], wanted[2]), min(extent[3], wanted[3])
            if west >= east or south >= north:
                raise ArgumentError(f"--extent {asked.extent} lies beside {self.name}")
            extent = (west, south, east, north)
        return replace(asked, extent=extent, extent_crs=self.crs)


def catalog_items(address: Address, asked: Gridding, client: Client) -> tuple[CatalogItem, ...]:
    """The rasters that touch the extent that is asked for, all where none is; by number.

    Raises:
        ArgumentError: the service has no catalog.
        SourceError: it does not answer, or says nothing of where they lie.
    """
    info = ask(client, address.url)
    name = client.show(address.url)
    if "catalog" not in str(info.get("capabilities") or "").lower():
        raise ArgumentError(
            f"{name} has no catalog of rasters to process separately: process it as one mosaic"
        )
    where = _where(info)
    if asked.extent is not None:
        extent = info.get("extent") or {}
        crs = asked.extent_crs or asked.crs or crs_of_esri(extent.get("spatialReference"), name)
        where["geometry"] = ",".join(map(repr, asked.extent))
        where["geometryType"] = "esriGeometryEnvelope"
        where["inSR"] = esri_reference(crs)
        where["spatialRel"] = "esriSpatialRelIntersects"
    url = f"{address.url}/query"
    # Numbers come all at once, whatever a server gives in one answer.
    numbers = ask(client, url, {**where, "returnIdsOnly": "true"}).get("objectIds") or ()
    ordered = sorted(numbers)
    return tuple(
        item
        for start in range(0, len(ordered), _AT_A_TIME)
        for item in _page(client, url, ordered[start : start + _AT_A_TIME], name)
    )


def _where(info: Mapping[str, Any]) -> dict[str, str]:
    fields = {str(field.get("name")).lower() for field in info.get("fields") or ()}
    return {"where": f"Category={_PRIMARY}" if "category" in fields else "1=1"}


def _page(client: Client, url: str, numbers: list[int], name: str) -> Iterator[CatalogItem]:
    answer = ask(
        client,
        url,
        {
            "objectIds": ",".join(map(str, numbers)),
            "outFields": "*",
            "returnGeometry": "true",
        },
    )
    crs = crs_of_esri(answer.get("spatialReference"), name)
    key = str(answer.get("objectIdFieldName") or "OBJECTID")
    for feature in answer.get("features") or ():
        attributes = {str(field).lower(): value for field, value in feature["attributes"].items()}
        number = int(attributes[key.lower()])
        cell = attributes.get("lowps")
        yield CatalogItem(
            number=number,
            name=str(attributes.get("name") or number),
            extent=_bounds(feature.get("geometry") or {}, f"{name}, raster {number}"),
            crs=crs,
            cell=float(cell) if cell else None,
        )


def _bounds(geometry: Mapping[str, Any], where: str) -> Bounds:
    points = [point for ring in geometry.get("rings") or () for point in ring]
    if not points:
        raise SourceError(f"{where}: it does not say where it lies")
    xs, ys = [float(point[0]) for point in points], [float(point[1]) for point in points]
    return min(xs), min(ys), max(xs), max(ys)
