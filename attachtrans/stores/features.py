"""Results appended to a feature class: the sink behind --output.

Every selected feature of the source is in the output once for each model, with all attributes and
its geometry, and its translated photos hang on it. The output itself tells what is there: each row
bears its origin (SRC_FILE, SRC_LAYER, SRC_GLOBALID and SRC_FID, SRC_ATT with SRC_DIGEST) and the
model (MODEL_FP). So a run that was killed is completed by running it again, the same command adds
nothing, and another model adds features of its own.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from attachtrans.errors import ArgumentError, ImageError
from attachtrans.image import sniff
from attachtrans.journal import digest_of
from attachtrans.stores.base import Objection, PhotoSource
from attachtrans.stores.carry import Carrier, FeatureIndex, Origin, OutFeature, source_name
from attachtrans.stores.classes import plan_target, prepare, target_names
from attachtrans.stores.geopackage import quote, read_schema, reading
from attachtrans.stores.outfile import OutFile
from attachtrans.stores.outputclass import (
    OutputClass,
    Provenance,
    clean_key,
    describe,
    extra_columns,
    fitting_name,
    footprints_name,
    furnish_photos,
    photo_fields,
    refuse_own_layer,
)
from attachtrans.stores.outputs.base import Attachment, PhotoStore
from attachtrans.stores.photofeatures import (
    PLACING_FIELD,
    Footprinting,
    PhotoFeatures,
    PhotoKey,
    fitted,
    furnish_rows,
    photo_class,
    refuse_footprints,
)
from attachtrans.stores.photos import Photos
from attachtrans.stores.pixelcolumns import kept_note, pixel_columns, stored_sizes
from attachtrans.stores.schema import SRC_FID, SRC_GLOBALID, ClassPlan
from attachtrans.types import Draft, Item, Placement

_HEAD = 4096


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
        footprints: Footprinting | None = None,
    ) -> None:
        """Make or check the output classes and carry the selected features over.

        photos: the selected photos and features of `source`. footprints: of further classes
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
        with reading(photos.database) as connection, ExitStack() as stack:
            schema = read_schema(connection, source)
            self._extras = extra_columns(photos.database, schema, photos.tables, output.layout)
            stack.callback(self._extras.close)
            slots = photo_fields(output.layout, most_photos(photos))
            plans = [
                plan_target(connection, table, name, photos.tables, slots)
                for layer, name in names.items()
                if (table := schema.table(layer)) is not None
            ]
            self._out = OutFile(output.path)
            stack.callback(self._out.close)
            self._index = FeatureIndex(self._out)
            self._prepare(connection, plans, len(slots) // 3, footprints)
            for layer, target in self._targets.items():
                carrier = Carrier(photos.database, self._out, target.plan, self._origin)
                self._added["features"] += carrier.carry(fids[layer], self._index)
                describe(self._out, target.plan, self._origin, provenance)
            for rows in self._footprints.values():
                describe(self._out, rows.plan, self._origin, provenance)
            stack.pop_all()
        self._pixels = pixel_columns(
            f.name for t in self._targets.values() for f in t.plan.table.fields if f.source
        )

    def _prepare(
        self,
        source: sqlite3.Connection,
        plans: Sequence[ClassPlan],
        slots: int,
        footprints: Footprinting | None,
    ) -> None:
        """Make or check the classes; those that are there first, so that a misfit makes nothing."""
        steps = [(plan, partial(self._prepare_class, source, plan, slots)) for plan in plans]
        if footprints is not None:
            for plan in plans:
                crs = footprints.crs_of(plan.layer)
                name, extra = footprints_name(plan.table.name), (PLACING_FIELD,)
                beside = photo_class(name, crs, layer=plan.layer, extra=extra)
                make = partial(self._prepare_footprints, beside, footprints.placing)
                steps.append((beside, make))
        there = self._out.schema()
        for _, make in sorted(steps, key=lambda step: there.table(step[0].table.name) is None):
            make()

    def _prepare_class(self, source: sqlite3.Connection, plan: ClassPlan, slots: int) -> None:
        refuse_footprints(self._out.schema().table(plan.table.name))
        tables = [t for t in self._photos.tables if plan.layer in t.layers]
        furnish = partial(
            furnish_photos,
            output=self._output,
            origin=self._origin,
            extra=self._extras.fields(tables),
            slots=slots,
        )
        prepared, store = prepare(self._out, source, plan, furnish)
        self._targets[plan.layer] = _Target(plan=prepared, store=store)

    def _prepare_footprints(self, plan: ClassPlan, placing: str) -> None:
        plan = fitted(self._out.connection, self._out.schema().table(plan.table.name), plan)
        prepared, _ = prepare(self._out, None, plan, furnish_rows)
        self._footprints[plan.layer] = PhotoFeatures(prepared, self._origin, placing)

    def holds(self, item: Item, digest: str) -> bool:
        """See PhotoSink: every selected feature of the item has the result of this content."""
        key = clean_key(item.key)
        connection = self._out.connection
        with self._out.lock:
            features = self._features(item)
            held = bool(features) and all(
                self._targets[layer].store.holds(connection, feature, key, digest)
                for layer, there in features.items()
                for feature in there
            )
            if not held or not self._footprints:
                return held
            layer = next(iter(features))
            photo = PhotoKey(layer=layer, key=key)
            return self._footprints[layer].placed(connection, photo) is not None

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
        if self._pixels and len(set(stored_sizes(draft))) > 1:
            self._added["resized"] += 1

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
                features = self._features(item)
                for layer, there in features.items():
                    self._targets[layer].store.put(connection, there, attachment)
                if placement is not None and self._footprints and features:
                    photo = PhotoKey(layer=next(iter(features)), key=attachment.key)
                    feature = features[photo.layer][0]
                    self._put_footprint(connection, photo, feature, placement)
        except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError) as error:
            message = f"{item.key} does not fit into {self._output.path.name}: {error}"
            raise ImageError(message) from error

    def _put_footprint(
        self,
        connection: sqlite3.Connection,
        photo: PhotoKey,
        feature: OutFeature,
        placement: Placement,
    ) -> None:
        """The photo's row in the class of footprints, with the keys of its first feature."""
        table = self._targets[photo.layer].plan.table
        ((guid, fid),) = connection.execute(
            f"SELECT {SRC_GLOBALID}, {SRC_FID} FROM {quote(table.name)} "
            f"WHERE {quote(table.key)} = ?",
            (feature.fid,),
        ).fetchall()
        carried = {SRC_GLOBALID: guid, SRC_FID: fid}
        self._footprints[photo.layer].put(connection, photo, carried, placement)

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
        return (note, kept_note(self._pixels)) if self._added["resized"] else (note,)

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


def most_photos(photos: PhotoSource) -> int:
    """How many photos hang on the feature that has most of them; at least 1."""
    counts = Counter(feature for item in photos for feature in item.features)
    return max(counts.values(), default=1)
