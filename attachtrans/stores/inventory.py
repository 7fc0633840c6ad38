"""What `attachtrans info` tells of a GeoPackage: layers, photos, and what is odd about them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from attachtrans.errors import SourceError
from attachtrans.image import Probe, probe
from attachtrans.stores.geopackage import Table, quote, read_schema, reading
from attachtrans.stores.layouts.base import Findings, LayoutName, PhotoTable, Refusal
from attachtrans.stores.photos import Photos, open_photos
from attachtrans.stores.vectortable import VectorTable, paths_of
from attachtrans.types import FeatureRef, Item, Size

_DEEP_HEAD = 256 << 10
_QUICK_HEAD = 4 << 10
_LISTED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """One layer or table. geometry and crs (such as "EPSG:25832") are None without a geometry."""

    table: str
    kind: str
    geometry: str | None
    crs: str | None
    rows: int


@dataclass(slots=True, kw_only=True)
class PlaceFacts:
    """One place where photos hang; counts are of attachments unless said otherwise.

    Not frozen: it is filled while the photos are looked at.

    formats      by media type of the content
    skipped      images that are not translated, by reason (deep only)
    not_images   attachments of other kinds
    empty        rows with nothing in them: NULL, no path, no bytes
    missing      attachments that cannot be read: the first keys with the reason
    orphans      attachments without a feature: how many, and the first keys
    shared       attachments with several features
    smallest, largest  (width, height) in pixels, upright, by area (deep only)
    with_gps, with_heading, turned  by EXIF (deep only); turned = its orientation is not 1
    features     features of the layers, and how many of them have no attachment here
    """

    layout: str
    table: str
    column: str
    layers: tuple[str, ...]
    reason: str
    base: Path | None
    read_only: str | None
    warnings: tuple[str, ...]
    attachments: int = 0
    images: int = 0
    not_images: int = 0
    nbytes: int = 0
    formats: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    smallest: Size | None = None
    largest: Size | None = None
    with_gps: int = 0
    with_heading: int = 0
    turned: int = 0
    empty: int = 0
    missing_count: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    orphan_count: int = 0
    orphans: list[str] = field(default_factory=list)
    shared: int = 0
    features: int = 0
    features_without: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All that is found in one file. attachments counts what several places share once."""

    path: Path
    layers: tuple[LayerFacts, ...]
    places: tuple[PlaceFacts, ...]
    attachments: int
    refused: tuple[Refusal, ...]
    excluded: tuple[Refusal, ...]
    hints: tuple[Refusal, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and text, ready for json.dump."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def inventory(source: Path | VectorTable, findings: Findings, *, deep: bool = True) -> Inventory:
    """Count and look into the photos of what `catalog.inspect` has found.

    deep: read the headers of all photos (up to 256 KiB each) for sizes, GPS and what is skipped;
    else only enough to tell what they are. Nothing is decoded. Raises SourceError.
    """
    path, database = paths_of(source)
    with reading(database) as connection:
        schema = read_schema(connection, path)
        layers = tuple(_layer_facts(connection, table) for table in schema.tables if table.columns)
        empty = [_empty_rows(connection, table) for table in findings.tables]
    places = tuple(
        _place_facts(source, table, nothing, deep=deep)
        for table, nothing in zip(findings.tables, empty, strict=True)
    )
    total = open_photos(source, findings.tables)
    total.close()
    return Inventory(
        path=path,
        layers=layers,
        places=places,
        attachments=len(total),
        refused=findings.refused,
        excluded=findings.excluded,
        hints=findings.hints,
    )


def _layer_facts(connection: sqlite3.Connection, table: Table) -> LayerFacts:
    (rows,) = connection.execute(f"SELECT count(*) FROM {quote(table.name)}").fetchone()
    crs = None
    if table.geometry is not None:
        found = connection.execute(
            "SELECT organization, organization_coordsys_id, srs_name FROM gpkg_spatial_ref_sys "
            "WHERE srs_id = ?",
            (table.geometry.srs_id,),
        ).fetchone()
        if found is None:
            crs = f"srs_id {table.geometry.srs_id}, which is not defined"
        else:
            crs = f"{found[0]}:{found[1]}" if found[1] and found[1] > 0 else found[2]
    return LayerFacts(
        table=table.name,
        kind="view" if table.is_view else table.data_type or "table",
        geometry=None if table.geometry is None else table.geometry.type_name,
        crs=crs,
        rows=rows,
    )


def _empty_rows(connection: sqlite3.Connection, table: PhotoTable) -> int:
    data = quote(table.data)
    nothing = f"{data} IS NULL" + (f" OR {data} = ''" if table.layout is LayoutName.PATH else "")
    (count,) = connection.execute(
        f"SELECT count(*) FROM {quote(table.table)} WHERE {nothing}"
    ).fetchone()
    return int(count)


def _place_facts(
    source: Path | VectorTable, table: PhotoTable, empty: int, *, deep: bool
) -> PlaceFacts:
    facts = PlaceFacts(
        layout=table.layout,
        table=table.table,
        column=table.data,
        layers=table.layers,
        reason=table.reason,
        base=table.base,
        read_only=table.read_only,
        warnings=table.warnings,
        empty=empty,
    )
    photos = open_photos(source, [table])
    try:
        used: set[FeatureRef] = set()
        for item in photos:
            _count(facts, item)
            used.update(item.features)
            try:
                found = _probe(photos, item, deep=deep)
            except SourceError as error:
                facts.missing_count += 1
                if len(facts.missing) < _LISTED:
                    facts.missing[item.key] = str(error)
            else:
                _look(facts, found, deep=deep)
        facts.features = sum(1 for _ in photos.features())
        facts.features_without = facts.features - len(used)
    finally:
        photos.close()
    return facts


def _probe(photos: Photos, item: Item, *, deep: bool) -> Probe:
    head = photos.read_head(item, _DEEP_HEAD if deep else _QUICK_HEAD)
    found = probe(head)
    if deep and found.media.is_image and found.size is None and len(head) == _DEEP_HEAD:
        return probe(photos.read(item))  # TIFF keeps its header at the end
    return found


def _count(facts: PlaceFacts, item: Item) -> None:
    facts.attachments += 1
    facts.nbytes += item.nbytes or 0
    facts.empty += item.nbytes == 0
    facts.shared += len(item.features) > 1
    if not item.features:
        facts.orphan_count += 1
        if len(facts.orphans) < _LISTED:
            facts.orphans.append(item.key)


def _look(facts: PlaceFacts, found: Probe, *, deep: bool) -> None:
    kind = found.media.media_type
    facts.formats[kind] = facts.formats.get(kind, 0) + 1
    if not found.media.is_image:
        facts.not_images += 1
        return
    facts.images += 1
    if not deep:
        return
    if found.skip is not None:
        facts.skipped[found.skip] = facts.skipped.get(found.skip, 0) + 1
    facts.with_gps += found.has_gps
    facts.with_heading += found.heading_deg is not None
    facts.turned += found.orientation != 1
    if found.size is not None:
        sizes = [size for size in (facts.smallest, facts.largest, found.size) if size is not None]
        facts.smallest = min(sizes, key=_area)
        facts.largest = max(sizes, key=_area)


def _area(size: Size) -> int:
    return size.width * size.height


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
