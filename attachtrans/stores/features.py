"""Results appended to a feature class: the sink behind --output.

Every selected feature of the source is in the output once for each model, with all attributes and
its geometry, and its translated photos hang on it. The output itself tells what is there: each row
bears its origin (SRC_FILE, SRC_LAYER, SRC_GLOBALID and SRC_FID, SRC_ATT with SRC_DIGEST) and the
model (MODEL_FP). So a run that was killed is completed by running it again, the same command adds
nothing, and another model adds features of its own.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pyproj import CRS

from attachtrans.errors import ArgumentError, ImageError
from attachtrans.image import Media, sniff
from attachtrans.journal import digest_of
from attachtrans.stores.base import Objection, PhotoSource
from attachtrans.stores.carry import Carrier, FeatureIndex, Origin, OutFeature, source_name
from attachtrans.stores.classes import plan_target, prepare, target_names
from attachtrans.stores.extras import ExtraColumns
from attachtrans.stores.filenames import ending_for, split_name
from attachtrans.stores.geopackage import Schema, read_schema, reading, same
from attachtrans.stores.layouts.base import PhotoTable
from attachtrans.stores.outfile import OutFile
from attachtrans.stores.outputs import OutputLayout
from attachtrans.stores.outputs.attach import OWN_NAMES as ATTACH_NAMES
from attachtrans.stores.outputs.attach import AttachStore
from attachtrans.stores.outputs.base import Attachment, PhotoStore
from attachtrans.stores.outputs.columns import ColumnStore, slot_fields
from attachtrans.stores.outputs.media import OWN_NAMES as MEDIA_NAMES
from attachtrans.stores.outputs.media import MediaStore
from attachtrans.stores.photofeatures import (
    PhotoFeatures,
    PhotoKey,
    furnish_rows,
    photo_class,
)
from attachtrans.stores.photos import Photos
from attachtrans.stores.registry import add_metadata
from attachtrans.stores.schema import (
    MODEL_FP,
    SRC_FID,
    SRC_FILE,
    SRC_LAYER,
    ClassPlan,
    Field,
    raise_differences,
)
from attachtrans.types import Draft, Item, Placement

_METADATA_STANDARD = "urn:attachtrans:provenance:1"
_HEAD = 4096
_NAME_LENGTH = 250  # what ATT_NAME holds


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputClass:
    """Where results are appended.

    path    a GeoPackage, made if it is not there; it may be the source
    layer   name of the feature class; None: the name of the source's layer
    """

    path: Path
    layer: str | None = None
    layout: OutputLayout = OutputLayout.ATTACH

    def __str__(self) -> str:
        return str(self.path) if self.layer is None else f"{self.path}:{self.layer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """By what results were made; `arguments` is JSON text, `fingerprint` tells jobs apart."""

    model: str
    fingerprint: str
    arguments: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """An output class and the store of its photos."""

    plan: ClassPlan
    store: PhotoStore


class FeatureClassSink:
    """A `PhotoSink` that appends features with their photos to a GeoPackage."""

    def __init__(
        self,
        source: Path,
        photos: Photos,
        output: OutputClass,
        provenance: Provenance,
        *,
        footprints: CRS | None = None,
    ) -> None:
        """Make or check the output classes and carry the selected features over.

        photos: the selected photos and features of `source`. footprints: CRS of further classes
        <name>_footprints with a feature per photo, None for none. Raises ArgumentError for names
        that cannot be, SchemaError when an existing class does not fit, BusyError, SinkError, and
        SourceError when the source cannot be read.
        """
        self._photos = photos
        self._output = output
        self._origin = Origin(file=source_name(source, output.path), model=provenance.fingerprint)
        self._targets: dict[str, _Target] = {}
        self._footprints: dict[str, PhotoFeatures] = {}
        self._added: Counter[str] = Counter()
        fids = _features_by_layer(photos)
        names = target_names(list(fids), output.layer)
        refuse_own_layer(source, output, names)
        with reading(source) as connection, ExitStack() as stack:
            schema = read_schema(connection, source)
            self._extras = extra_columns(source, schema, photos.tables, output.layout)
            stack.callback(self._extras.close)
            slots = photo_fields(photos, output.layout)
            plans = [
                plan_target(connection, table, name, photos.tables, slots)
                for layer, name in names.items()
                if (table := schema.table(layer)) is not None
            ]
            self._out = OutFile(output.path)
            stack.callback(self._out.close)
            self._index = FeatureIndex(self._out)
            self._prepare(connection, plans, slots)
            if footprints is not None:
                self._prepare_footprints(footprints)
            for layer, target in self._targets.items():
                carrier = Carrier(source, self._out, target.plan, self._origin)
                self._added["features"] += carrier.carry(fids[layer], self._index)
                describe(self._out, target.plan, self._origin, provenance)
            stack.pop_all()

    def _prepare(
        self, source: sqlite3.Connection, plans: Sequence[ClassPlan], slots: tuple[Field, ...]
    ) -> None:
        """Make or check the classes; those that are there first, so that a misfit makes nothing."""
        there = self._out.schema()
        for plan in sorted(plans, key=lambda p: there.table(p.table.name) is None):
            tables = [t for t in self._photos.tables if plan.layer in t.layers]
            furnish = partial(
                furnish_photos,
                output=self._output,
                origin=self._origin,
                extra=self._extras.fields(tables),
                slots=len(slots) // 3,
            )
            prepared, store = prepare(self._out, source, plan, furnish)
            self._targets[plan.layer] = _Target(plan=prepared, store=store)

    def _prepare_footprints(self, crs: CRS) -> None:
        for layer, target in self._targets.items():
            plan = photo_class(f"{target.plan.table.name}_footprints", crs, layer=layer)
            prepared, _ = prepare(self._out, None, plan, furnish_rows)
            self._footprints[layer] = PhotoFeatures(prepared, self._origin)

    def holds(self, item: Item, digest: str) -> bool:
        """See PhotoSink: every selected feature of the item has the result of this content."""
        key = clean_key(item.key)
        with self._out.lock:
            features = self._features(item)
            return bool(features) and all(
                self._targets[layer].store.holds(self._out.connection, feature, key, digest)
                for layer, there in features.items()
                for feature in there
            )

    def objection(self, item: Item, digest: str, marks: tuple[str, ...]) -> Objection | None:
        """See PhotoSink: a photo without a feature has no place in the output."""
        del digest, marks  # a result of another model may be appended to, on purpose
        with self._out.lock:
            if self._features(item):
                return None
        return Objection("it hangs on no feature, so there is none to append it to", by_rule=True)

    def keep(self, item: Item, data: bytes) -> None:
        """See PhotoSink: byte for byte, with its own name and type."""
        media_type = item.media_type or sniff(data[:_HEAD]).media_type
        self._put(item, self._attachment(item, digest_of(data), (item.name, media_type, data)))

    def commit(self, draft: Draft) -> None:
        """See PhotoSink: one transaction for all features that the photo hangs on."""
        name = fitting_name(draft)
        attachment = self._attachment(
            draft.item, draft.digest_in, (name, draft.media_type, draft.data)
        )
        self._put(draft.item, attachment, draft.placement)
        self._added["photos"] += 1

    def _attachment(self, item: Item, digest: str, content: tuple[str, str, bytes]) -> Attachment:
        # Read before the transaction: the source may be the same file, which is locked then.
        name, media_type, data = content
        return Attachment(
            key=clean_key(item.key),
            digest=digest,
            name=name,
            media_type=media_type,
            data=data,
            extra=self._extras.values(self._photos.place(item)),
        )

    def _put(self, item: Item, attachment: Attachment, placement: Placement | None = None) -> None:
        try:
            with self._out.transaction() as connection:
                for layer, features in self._features(item).items():
                    self._targets[layer].store.put(connection, features, attachment)
                if placement is not None:
                    self._put_footprint(connection, item, attachment.key, placement)
        except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError) as error:
            message = f"{item.key} does not fit into {self._output.path.name}: {error}"
            raise ImageError(message) from error

    def _put_footprint(
        self, connection: sqlite3.Connection, item: Item, key: str, placement: Placement
    ) -> None:
        """The photo's row in the class of footprints: of the first feature that it hangs on."""
        ref = next((one for one in item.features if one.layer in self._footprints), None)
        if ref is not None:
            carried: dict[str, object] = {SRC_FID: ref.fid}
            feature = PhotoKey(layer=ref.layer, key=key)
            self._footprints[ref.layer].put(connection, feature, carried, placement)

    def _features(self, item: Item) -> dict[str, list[OutFeature]]:
        """What the item's selected features became, by source layer."""
        found: dict[str, list[OutFeature]] = {}
        for ref in item.features:
            feature = self._index.get(ref) if ref.layer in self._targets else None
            if feature is not None:
                found.setdefault(ref.layer, []).append(feature)
        return found

    def finish(self) -> tuple[str, ...]:
        """See PhotoSink: check the file, say what is in it."""
        self._out.check()
        names = ", ".join(target.plan.table.name for target in self._targets.values())
        note = (
            f"{self._added['features']} features and {self._added['photos']} translated photos "
            f"were added to {names} in {self._output.path}"
        )
        return (note,)

    def close(self) -> None:
        """See PhotoSink."""
        self._extras.close()
        self._out.close()


def _features_by_layer(photos: Photos) -> dict[str, array[int]]:
    """The keys of the selected features. Raises ArgumentError when there is no layer at all."""
    found: dict[str, array[int]] = {
        layer: array("q") for table in photos.tables for layer in table.layers
    }
    if not found:
        message = (
            f"{photos.path}: the photos hang on no layer, so there are no features to append; "
            "use --overwrite-attachments, or take them out with attachtrans extract"
        )
        raise ArgumentError(message)
    for ref in photos.features():
        found[ref.layer].append(ref.fid)
    return found


def refuse_own_layer(source: Path, output: OutputClass, names: Mapping[str, str]) -> None:
    """Raises ArgumentError when an output class is a layer of the source itself."""
    if output.path.exists() and output.path.samefile(source):
        for layer, name in names.items():
            if same(layer, name):
                message = (
                    f"--output {output.path}: the layer {name} is the source itself; name another "
                    f"one (--output {output.path}:{name}_translated) or use "
                    "--overwrite-attachments"
                )
                raise ArgumentError(message)


def furnish_photos(
    connection: sqlite3.Connection,
    plan: ClassPlan,
    is_new: bool,  # noqa: FBT001 - as `classes.prepare` calls it
    *,
    output: OutputClass,
    origin: Origin,
    extra: tuple[Field, ...],
    slots: int,
) -> PhotoStore:
    """Make or check the tables of an output class's photos.

    slots: photos per feature, where they are in columns. Raises SchemaError.
    """
    store: PhotoStore
    match output.layout:
        case OutputLayout.ATTACH:
            store = AttachStore(plan=plan, extra=extra, model=origin.model)
        case OutputLayout.MEDIA:
            store = MediaStore(plan=plan, extra=extra, origin=origin)
        case OutputLayout.BLOB:
            store = ColumnStore(plan, origin, slots=slots)
        case OutputLayout.FOLDER:
            folder = output.path.with_name(f"{output.path.stem}_photos")
            store = ColumnStore(plan, origin, slots=slots, folder=folder)
    if is_new:
        store.create(connection)
    else:
        raise_differences(plan.table.name, store.differences(connection))
    return store


def describe(out: OutFile, plan: ClassPlan, origin: Origin, provenance: Provenance) -> None:
    """Metadata of a class: by which model, with which arguments, from which source."""
    text = json.dumps(
        {
            "software": "attachtrans",
            "version": provenance.version,
            "model": provenance.model,
            MODEL_FP: provenance.fingerprint,
            "arguments": json.loads(provenance.arguments),
            SRC_FILE: origin.file,
            SRC_LAYER: plan.layer,
        },
        ensure_ascii=False,
    )
    with out.transaction() as connection:
        add_metadata(connection, plan.table.name, _METADATA_STANDARD, text)


def extra_columns(
    source: Path, schema: Schema, tables: Sequence[PhotoTable], layout: OutputLayout
) -> ExtraColumns:
    """The further columns of photo tables, for the layouts that have a table of photos."""
    names = {OutputLayout.ATTACH: ATTACH_NAMES, OutputLayout.MEDIA: MEDIA_NAMES}
    tables = tables if layout in names else ()
    return ExtraColumns(source, schema, tables, names.get(layout, ()))


def photo_fields(photos: PhotoSource, layout: OutputLayout) -> tuple[Field, ...]:
    """The photo columns of a class: as many as the feature with most photos needs."""
    if layout not in (OutputLayout.BLOB, OutputLayout.FOLDER):
        return ()
    counts = Counter(feature for item in photos for feature in item.features)
    declared = "BLOB" if layout is OutputLayout.BLOB else "TEXT"
    return slot_fields(max(counts.values(), default=1), declared)


def fitting_name(draft: Draft) -> str:
    """The photo's name in the source, with an ending that fits the result; at most 250 long."""
    stem, own = split_name(draft.item.name)
    media = Media(media_type=draft.media_type, extension=draft.extension, is_image=True)
    ending = ending_for(media, own)
    return stem[: _NAME_LENGTH - len(ending)] + ending


def clean_key(key: str) -> str:
    """A key that SQLite stores: file names that are not UTF-8 are escaped."""
    return key.encode("utf-8", "backslashreplace").decode("utf-8")
