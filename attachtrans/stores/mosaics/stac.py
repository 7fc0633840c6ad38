"""STAC items on this machine: one, a collection of items, a catalog with links, stac-geoparquet.

Sources: STAC 1.0 and 1.1 (github.com/radiantearth/stac-spec: item, catalog, collection, best
practices on asset roles); stac-geoparquet 1.0 (github.com/stac-utils/stac-geoparquet).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from pyproj import CRS

from attachtrans.errors import ArgumentError, LayoutError, SourceError
from attachtrans.stores.mosaics.base import Bounds, Contents, Entry, MosaicChoice
from attachtrans.stores.mosaics.footprints import RASTER, read_date
from attachtrans.stores.mosaics.listing import is_network
from attachtrans.stores.poses.base import numbers
from attachtrans.stores.poses.documents import read_json
from attachtrans.stores.resolve import is_remote

_HEAD = 1 << 20
_COLUMNS = ("id", "assets", "bbox", "datetime", "start_datetime")
_VISUAL, _DATA = "visual", "data"
_LEFT_OUT = frozenset({"thumbnail", "overview", "metadata"})
_RASTER_TYPES = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff", "application/x-hdf")
_MOST_LINKED = 1_000_000
_REMOTE_ITEM = "is an item on a network, and this release reads items on this machine only"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asset:
    """A file of an item."""

    key: str
    href: str
    roles: frozenset[str]
    media_type: str

    @property
    def is_raster(self) -> bool:
        """Whether it is the imagery itself, by what is said of it."""
        if self.roles & _LEFT_OUT:
            return False
        return self.media_type.startswith(_RASTER_TYPES) or (
            RASTER.search(self.href) is not None and "xml" not in self.media_type
        )


def is_stac(path: Path) -> bool:
    """Whether a JSON file is STAC, by its beginning."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return b'"stac_version"' in head or b'"assets"' in head


def is_stac_parquet(path: Path) -> bool:
    """Whether a Parquet file has the columns of STAC items, as far as pyarrow is there to ask."""
    if find_spec("pyarrow") is None:
        return False
    from pyarrow import ArrowException, parquet

    try:
        names = parquet.read_schema(path).names
    except (ArrowException, OSError, ValueError):
        return False
    return {"id", "assets"} <= set(names)


def read_stac(path: Path, choice: MosaicChoice) -> Contents:
    """The assets of the items of a JSON file, one per item.

    Raises:
        ArgumentError: it is not clear which asset of an item is meant.
        SourceError (LayoutError): it cannot be read, or holds no items.
    """
    return _contents((_entry(item, file, choice) for item, file in _items(path)), path)


def read_stac_parquet(path: Path, choice: MosaicChoice) -> Contents:
    """The assets of the items of a stac-geoparquet file, one per item.

    Raises:
        ArgumentError, SourceError: see `read_stac`; pyarrow is not there.
    """
    if find_spec("pyarrow") is None:
        raise SourceError(f"{path}: needs pyarrow: pip install 'attachtrans[parquet]'")
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as file:
            columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
            entries = [
                _entry(_as_item(row), path, choice)
                for batch in file.iter_batches(columns=columns)
                for row in batch.to_pylist()
            ]
    except (ArrowException, OSError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise SourceError(f"{path}: cannot be read as stac-geoparquet: {error}") from error
    return _contents(entries, path)


def _contents(entries: Iterable[Entry], path: Path) -> Contents:
    found = list(entries)
    if not found:
        raise LayoutError(f"{path}: holds no STAC items")
    return Contents(entries=found, crs=CRS.from_user_input("OGC:CRS84"))


def _as_item(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a Parquet file as an item of JSON; its assets have each other's keys as None."""
    box = row.get("bbox")
    if isinstance(box, dict):
        box = [box.get(name) for name in ("xmin", "ymin", "xmax", "ymax")]
    assets = {key: asset for key, asset in (row.get("assets") or {}).items() if asset}
    return {"id": row.get("id"), "bbox": box, "assets": assets, "properties": row}


def _items(path: Path) -> Iterator[tuple[Mapping[str, Any], Path]]:
    """(item, file that it is in), through the local links of catalogs, each file once."""
    waiting = [path]
    seen = {os.path.realpath(path)}
    while waiting:
        file = waiting.pop()
        value = read_json(file)
        listed = value.get("features") if isinstance(value, dict) else value
        if isinstance(listed, list):
            yield from ((item, file) for item in listed if _is_item(item))
        elif _is_item(value):
            yield cast("Mapping[str, Any]", value), file
        elif isinstance(value, dict):
            linked: list[Path] = []
            for href in _links(value):
                if is_network(href) or is_remote(href):
                    yield {"id": href, "problem": _REMOTE_ITEM}, file
                    continue
                target = Path(_absolute(href, file))
                if os.path.realpath(target) not in seen:
                    seen.add(os.path.realpath(target))
                    linked.append(target)
            if len(seen) > _MOST_LINKED:
                raise SourceError(f"{path}: links to more than {_MOST_LINKED} files")
            waiting.extend(reversed(linked))
        else:
            raise SourceError(f"{file}: is no STAC item, collection or catalog")


def _is_item(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.get("type") == "Feature"
        and isinstance(value.get("assets"), dict)
    )


def _links(value: Mapping[str, Any]) -> Iterator[str]:
    links = value.get("links")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and link.get("rel") in {"item", "items", "child"}:
            yield str(link.get("href", ""))


def _absolute(href: str, file: Path) -> str:
    """An address relative to the file that it is written in; %20 is a blank where that helps."""
    if is_network(href) or is_remote(href) or href.lower().startswith("file:"):
        return href
    here = Path(file).absolute().parent
    literal = here / href
    plain = here / unquote(href)
    return os.path.normpath(plain if plain.exists() and not literal.exists() else literal)


def _entry(item: Mapping[str, Any], file: Path, choice: MosaicChoice) -> Entry:
    name = str(item.get("id") or "item")
    if "problem" in item:
        return Entry(text=name, problem=str(item["problem"]))
    properties = item.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    date = read_date(properties.get("datetime")) or read_date(properties.get("start_datetime"))
    assets = list(_assets(item))
    asset = _chosen(assets, name, choice.asset)
    if asset is None:
        wanted = choice.asset or "raster"
        keys = ", ".join(asset.key for asset in assets) or "none"
        return Entry(
            text=f"{file}#{name}",
            date=date,
            label=name,
            problem=f"the item has no asset {wanted}; its assets: {keys}",
        )
    return Entry(
        text=_absolute(asset.href, file),
        bounds=_bounds(item.get("bbox")),
        date=date,
        label=name,
    )


def _assets(item: Mapping[str, Any]) -> Iterator[_Asset]:
    assets = item.get("assets")
    for key, value in assets.items() if isinstance(assets, dict) else ():
        if isinstance(value, dict) and value.get("href"):
            roles = value.get("roles")
            yield _Asset(
                key=str(key),
                href=str(value["href"]),
                roles=frozenset(map(str, roles if isinstance(roles, list) else ())),
                media_type=str(value.get("type") or "").lower(),
            )


def _chosen(assets: list[_Asset], item: str, wanted: str | None) -> _Asset | None:
    """The asset of an item that is meant, None where it has none like that.

    Raises:
        ArgumentError: several could be.
    """
    if wanted is None:
        rasters = [asset for asset in assets if asset.is_raster]
        tiers = [
            [asset for asset in rasters if asset.key == _VISUAL],
            [asset for asset in rasters if _VISUAL in asset.roles],
            [asset for asset in rasters if _DATA in asset.roles],
            rasters,
        ]
    else:
        tiers = [
            [asset for asset in assets if asset.key == wanted],
            [asset for asset in assets if wanted in asset.roles],
            [asset for asset in assets if asset.media_type.startswith(wanted.lower())],
        ]
    found = next((tier for tier in tiers if tier), [])
    if len(found) > 1:
        keys = ", ".join(asset.key for asset in found)
        raise ArgumentError(f"--asset: item {item} has several rasters ({keys}); name one of them")
    return found[0] if found else None


def _bounds(box: object) -> Bounds | None:
    """Without the heights of a box of six numbers."""
    values = numbers(box, 6) or numbers(box, 4)
    if values is None:
        return None
    half = len(values) // 2
    return values[0], values[1], values[half], values[half + 1]
