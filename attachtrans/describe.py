"""What `attachtrans info` prints: photos and their poses, or a model, as lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from attachtrans.infer.tiling import HALO_LIMIT_PX

if TYPE_CHECKING:
    from attachtrans.models.info import ModelInfo
    from attachtrans.stores.inventory import Inventory, PlaceFacts
    from attachtrans.tool.posefile import FittedPhoto
    from attachtrans.tool.poses import PoseFacts, PoseSummary

_DEEP = " " * 8


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


def pose_summary_lines(summary: PoseSummary) -> Iterator[str]:
    """Where poses are from, what was assumed for them, what lacks."""
    yield f"poses of {summary.photos} photos, position + direction + lens:"
    for source, count in summary.sources.most_common():
        yield f"  {count} from: {source}"
    for text, count in summary.assumed.most_common():
        yield f"  assumed for {count}: {text}"
    for text, count in summary.lacking.most_common():
        yield f"  {count} without a {text}"
    for text in summary.warnings:
        yield f"  warning: {text}"
    for key, problem in summary.problems.items():
        yield f"  no pose: {problem if problem.startswith(key) else f'{key}: {problem}'}"


def pose_lines(facts: PoseFacts) -> Iterator[str]:
    """One photo's pose."""
    yield f"{facts.key}: {facts.size[0]} x {facts.size[1]} px"
    if facts.position is not None:
        x, y, z = facts.position
        digits = 7 if max(abs(x), abs(y)) <= 360.0 else 3
        height = "height not known" if z is None else f"height {z:.2f} m"
        yield f"  position     {x:.{digits}f}, {y:.{digits}f} in {facts.crs}, {height}"
    if facts.heading_deg is not None:
        yield (
            f"  looks to     heading {facts.heading_deg:.2f} from {facts.north} north, pitch "
            f"{facts.pitch_deg:.2f} (0 down, 90 level), roll {facts.roll_deg:.2f} degrees"
        )
    if facts.field_of_view_deg is not None:
        yield f"  lens         {facts.field_of_view_deg:.1f} degrees across"
    if facts.above_ground_m is not None:
        yield f"  above ground {facts.above_ground_m:.2f} m"
    for name, value in facts.accuracy.items():
        yield f"  accuracy     {name} {value:g}"
    if facts.time:
        yield f"  time         {facts.time}"
    yield f"  from         {facts.source or 'nothing'}"
    for text in facts.assumed:
        yield f"  assumed      {text}"
    for text in facts.lacks:
        yield f"  lacks        {text}"


def fit_lines(found: FittedPhoto) -> Iterator[str]:
    """A pose before and after a fit, and by how much each control point misses."""
    from attachtrans.tool.poses import facts_of

    for title, pose in (("before", found.before), ("after", found.fitted.pose)):
        first, *others = pose_lines(facts_of(found.photo.name, found.size, pose))
        yield f"{title}: {first}"
        yield from others
    yield f"  {'point':<16} {'col':>10} {'row':>10} {'right px':>9} {'down px':>9} {'left out':>9}"
    for point in found.fitted.points:
        flag = "  suspect" if point.suspect else ""
        right, down = (round(miss, 2) + 0.0 for miss in (point.right_px, point.down_px))
        yield (
            f"  {point.name:<16} {point.col:>10.2f} {point.row:>10.2f} {right:>9.2f} "
            f"{down:>9.2f} {point.left_out_px:>9.2f}{flag}"
        )
    yield f"{found.fitted.fit.rms_px:.2f} px rms -> {found.output or 'nothing written'}"
    for note in found.fitted.notes:
        yield f"  note: {note}"


def model_lines(info: ModelInfo) -> Iterator[str]:
    """Facts of a model and the arguments it takes."""
    yield from fact_lines(info)
    yield "  arguments (-a NAME=VALUE), each with its default:"
    for argument in info.arguments:
        default = "chosen for you" if argument.default is None else argument.default
        yield f"    {argument.name} [{default}]: {argument.allowed}"
        yield from textwrap.wrap(argument.doc, 90, initial_indent=_DEEP, subsequent_indent=_DEEP)


def fact_lines(info: ModelInfo) -> Iterator[str]:
    """Facts of a model, each with its name."""
    yield f"{info.name}: {info.summary}"
    if info.description:
        yield f"  {info.description}"
    for title, fact in _model_facts(info):
        yield f"  {title:<12} {fact}"


def _model_facts(info: ModelInfo) -> Iterator[tuple[str, str]]:
    yield "type", info.model_type
    yield "file", info.file
    if info.weights:
        yield "weights", f"{info.weights}, {info.weights_bytes / 1e6:.2f} MB"
    yield "parameters", f"{info.parameters:,}"
    yield "bands", f"{info.in_bands} -> {info.out_bands}"
    yield "values", f"{_values(info.in_range)} -> {_values(info.out_range)}"
    yield "scale", _scale(info)
    yield "tile", ", ".join(_tile(info))
    yield "looks", _reach(info)
    yield "seams", _seams(info)
    if info.draws_noise:
        yield "noise", "drawn for each place of the photo; -a seed=N draws another"
    yield "licence", info.licence or "not stated"
    yield "fingerprint", info.fingerprint


def _values(limits: tuple[float, float] | None) -> str:
    return "raw" if limits is None else f"{limits[0]:g}..{limits[1]:g}"


def _scale(info: ModelInfo) -> str:
    if info.enlarge is None:
        return "1, of photos that --scale enlarges before (the definition does not say by what)"
    before = f", of photos that are enlarged by {info.enlarge:g} before" * (info.enlarge != 1)
    return f"{info.scale:g}{before}"


def _tile(info: ModelInfo) -> Iterator[str]:
    if info.fixed_size:
        yield f"{info.fixed_size[0]} x {info.fixed_size[1]} px only"
    else:
        if info.tile_size:
            yield f"{info.tile_size} px in training"
        yield f"at least {info.min_size} px"
        if info.multiple_of > 1:
            yield f"multiples of {info.multiple_of}"
    if info.fixed_batch:
        yield f"{info.fixed_batch} at a time"
    if info.margin_px:
        yield f"{info.margin_px} px lost on each side, which neighbours make up for"


def _reach(info: ModelInfo) -> str:
    if info.receptive_field_px == "global":
        return "global: at the whole tile, or further than was measured"
    return f"{info.receptive_field_px} px around each pixel"


def _seams(info: ModelInfo) -> str:
    reach = info.receptive_field_px
    if reach != "global" and reach <= HALO_LIMIT_PX:
        return "none: tiled and untiled results are the same"
    exact = "--seams exact is offered"
    if not info.exact_seams:
        exact = f"no --seams exact: {info.no_exact_seams}"
    return f"overlapping tiles are blended, the report gives the seam ratio; {exact}"
