"""What `attachtrans info` prints: a GeoPackage's photos, or a model, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from attachtrans.infer.tiling import HALO_LIMIT_PX

if TYPE_CHECKING:
    from attachtrans.models.info import ModelInfo
    from attachtrans.stores.inventory import Inventory, PlaceFacts


def inventory_lines(found: Inventory) -> Iterator[str]:
    """Layers, then each place where photos hang with why it was taken, then what was not."""
    yield str(found.path)
    for layer in found.layers:
        where = f", {layer.geometry} in {layer.crs}" if layer.geometry else ""
        yield f"  {layer.kind} {layer.table}: {layer.rows} rows{where}"
    for place in found.places:
        yield from _place_lines(place)
    for title, refusals in (
        ("cannot be used", found.refused),
        ("left out (name it with --layer or --photo-column to take it)", found.excluded),
        ("may hold photos (name it with --photo-column)", found.hints),
    ):
        for refusal in refusals:
            column = f".{refusal.column}" if refusal.column else ""
            yield f"{title}: {refusal.table}{column} ({refusal.layout}): {refusal.reason}"
    if not found.places:
        yield "no photos found"


def _place_lines(place: PlaceFacts) -> Iterator[str]:
    yield f"photos in {place.table}.{place.column}: layout {place.layout}"
    yield f"  why: {place.reason}"
    if place.base is not None:
        yield f"  paths are resolved in {place.base}"
    if place.layers:
        without = f", {place.features_without} of them without" if place.features_without else ""
        yield f"  of {', '.join(place.layers)}: {place.features} features{without}"
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(place.formats.items()))
    yield f"  {place.attachments} attachments, {place.nbytes / 1e6:.1f} MB: {kinds or 'none'}"
    if place.smallest and place.largest:
        sizes = dict.fromkeys(f"{s.width} x {s.height}" for s in (place.smallest, place.largest))
        yield f"  {' to '.join(sizes)} px"
    yield (
        f"  {place.with_gps} with GPS, {place.with_heading} with a heading, "
        f"{place.turned} with an orientation to turn by"
    )
    yield from _oddities(place)


def _oddities(place: PlaceFacts) -> Iterator[str]:
    for reason, count in place.skipped.items():
        yield f"  not translated, {count}: {reason}"
    for count, what in (
        (place.shared, "shared by several features"),
        (place.empty, "empty (NULL, no path)"),
    ):
        if count:
            yield f"  {count} {what}"
    if place.orphan_count:
        yield f"  {place.orphan_count} without a feature: {_some(place.orphans)}"
    if place.missing_count:
        yield f"  {place.missing_count} missing: {_some(list(place.missing))}"
    for warning in place.warnings:
        yield f"  warning: {warning}"
    if place.read_only:
        yield f"  cannot be overwritten: {place.read_only}"


def _some(keys: list[str], shown: int = 5) -> str:
    return ", ".join(keys[:shown]) + (" ..." if len(keys) > shown else "")


def model_lines(info: ModelInfo) -> Iterator[str]:
    """Facts of a model and the arguments it takes."""
    yield f"{info.name}: {info.summary}"
    if info.description:
        yield f"  {info.description}"
    yield f"  file {info.file}"
    yield f"  {info.in_bands} bands -> {info.out_bands} bands, scale {info.scale:g}"
    yield f"  {info.parameters:,} parameters, licence: {info.licence or 'not stated'}"
    if info.receptive_field_px == "global" or info.receptive_field_px > HALO_LIMIT_PX:
        why = "instance norm, pooling or attention"
        if info.receptive_field_px != "global":
            why = f"a pixel sees {info.receptive_field_px} px around it"
        yield (
            f"  the result depends on the tile ({why}): overlapping tiles are blended, and the "
            "report gives the seam ratio"
        )
    else:
        yield (
            f"  an output pixel sees {info.receptive_field_px} px around its place: tiled and "
            "untiled results are the same"
        )
    if info.fixed_size:
        yield f"  takes tiles of {info.fixed_size[0]} x {info.fixed_size[1]} px only"
    yield f"  fingerprint {info.fingerprint}"
    yield "  arguments (-a NAME=VALUE):"
    for argument in info.arguments:
        default = "" if argument.default is None else f" [{argument.default}]"
        yield f"    {argument.name}{default}: {argument.allowed}. {argument.doc}"
