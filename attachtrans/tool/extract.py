"""`extract_photos`: the attachments of any layout as files, with an index of where they belong."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from attachtrans.errors import ArgumentError, SinkError, SourceError
from attachtrans.image.sniff import UNKNOWN, sniff
from attachtrans.stores.attributes import Feature, FeatureReader
from attachtrans.stores.catalog import detect
from attachtrans.stores.durable import digest_of_file, replace_file
from attachtrans.stores.filenames import UniqueNames, ending_for, safe_stem, split_name
from attachtrans.stores.photoindex import (
    Columns,
    IndexEntry,
    IndexKind,
    index_path,
    render_index,
)
from attachtrans.stores.photos import Photos, open_photos
from attachtrans.stores.selection import Selection
from attachtrans.stores.srs import Srs
from attachtrans.tool.sources import readable
from attachtrans.types import FeatureRef, Item

PathLike = str | os.PathLike[str]
P = ParamSpec("P")

_STEM = "photos"
_COLUMNS = Columns(
    own=("file", "attachment", "media_type", "layer", "fid", "key", "digest"),
    declared={"fid": "INTEGER"},
)
"""Of the index: what the source calls a photo, where it hangs, the SHA-256 of its file."""
_HEAD_BYTES = 4096
_FIELD = re.compile(r"\{([^{}]*)\}")
_BUILT_IN_FIELDS = ("fid", "layer", "n", "stem")
_NO_FEATURE = "no_feature"


class FileStatus(StrEnum):
    """What became of one attachment.

    WRITTEN  its file was written by this run
    PRESENT  its file was there with the same content
    PLANNED  its file would be written (dry run)
    SKIPPED  not an image, and only images were asked for
    FAILED   it cannot be read, or a different file is in its place
    """

    WRITTEN = "written"
    PRESENT = "present"
    PLANNED = "planned"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedFile:
    """What became of one attachment.

    file    path below the folder with "/", "" where there is none
    digest  SHA-256 in hex of the content
    """

    item: Item
    status: FileStatus
    reason: str = ""
    file: str = ""
    media_type: str = ""
    nbytes: int | None = None
    digest: str | None = None

    @property
    def key(self) -> str:
        """Of the attachment."""
        return self.item.key

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "key": self.key,
            "name": self.item.name,
            "features": [[ref.layer, ref.fid] for ref in self.item.features],
            "status": str(self.status),
            "reason": self.reason,
            "file": self.file,
            "media_type": self.media_type,
            "nbytes": self.nbytes,
            "digest": self.digest,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionReport:
    """All files of a run, and where the index is (None: there is none)."""

    files: tuple[ExtractedFile, ...]
    source: Path
    folder: Path
    index: Path | None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.counts[FileStatus.FAILED]

    @property
    def counts(self) -> Counter[FileStatus]:
        """How many attachments have each status."""
        return Counter(file.status for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameTemplate:
    """File names from attributes, e.g. "{plot}/{species}_{n}"; "/" makes folders.

    A field is a column of the feature's layer, or fid, layer, n (number of the photo on its
    feature, from 1) or stem (the photo's own name without ending); columns come first.
    """

    text: str

    def check(self, columns: Mapping[str, Sequence[str]]) -> None:
        """Raise ArgumentError for a field that a layer lacks; columns are those of each layer."""
        if set(_FIELD.sub("", self.text)) & set("{}") or not self.text.strip("/ "):
            raise ArgumentError(
                f"--name {self.text}: write text with columns in braces, like {{plot}}_{{n}}"
            )
        for name in _FIELD.findall(self.text):
            for layer, known in columns.items():
                if name not in (*_BUILT_IN_FIELDS, *known):
                    raise ArgumentError(
                        f"--name {self.text}: {layer} has no column {name!r}. There are "
                        f"{', '.join(known)}, and always {', '.join(_BUILT_IN_FIELDS)}"
                    )

    def fill(self, values: Mapping[str, object]) -> str:
        """The path without ending, each part of it a safe name."""
        parts = [part for part in self.text.split("/") if part.strip()]
        filled = [
            _FIELD.sub(lambda found: _shown(values.get(found.group(1))), part) for part in parts
        ]
        return "/".join(safe_stem(part) for part in filled)


def _shown(value: object) -> str:
    return "" if value is None else str(value)


@dataclass(slots=True)
class Extraction:
    """One prepared run; iterate over it once to make it happen, an `ExtractedFile` per attachment.

    The index is written after the last file; a run that is broken off leaves none, and the same
    call goes on where it stopped.
    """

    source: Path
    folder: Path
    photos: Photos
    template: NameTemplate | None
    index: Path | None
    index_kind: IndexKind
    only_images: bool
    dry_run: bool
    notes: list[str] = field(default_factory=list)
    _names: UniqueNames = field(default_factory=UniqueNames)
    _numbers: Counter[FeatureRef] = field(default_factory=Counter)
    _features: dict[FeatureRef, Feature | None] = field(default_factory=dict)
    _entries: list[IndexEntry] = field(default_factory=list)

    def __len__(self) -> int:
        """How many attachments it will look at."""
        return len(self.photos)

    def __iter__(self) -> Generator[ExtractedFile, None, None]:
        """Run; raises SinkError when nothing more can be written."""
        with ExitStack() as stack:
            stack.callback(self.photos.close)
            reader = FeatureReader(self.photos.database, self.photos.tables)
            stack.callback(reader.close)
            if self.index is not None:
                self._names.take(_STEM)
            for item in self.photos:
                yield self._extract(item, self._stem(item, reader), reader)
            systems = {layer: reader.srs(layer) for layer in reader.layers}
        if self.index is not None and not self.dry_run:
            self._write_index(self.index, systems)

    def _stem(self, item: Item, reader: FeatureReader) -> str:
        """The item's path without ending.

        It follows from the items before it alone, not from what can be read of them, so a second
        run gives the same names.
        """
        layers, own = reader.layers, split_name(item.name)[0]
        first = item.features[0] if item.features else None
        if self.template is not None and first is not None:
            self._numbers[first] += 1
            built_in = {
                "fid": first.fid,
                "layer": first.layer,
                "n": self._numbers[first],
                "stem": own,
            }
            feature = self._feature(first, reader)
            return self._names.take(
                self.template.fill(built_in | dict(feature.attributes if feature else {}))
            )
        name = safe_stem(own)
        if len(layers) > 1:
            name = f"{safe_stem(first.layer) if first else _NO_FEATURE}/{name}"
        return self._names.take(name)

    def _feature(self, ref: FeatureRef, reader: FeatureReader) -> Feature | None:
        if ref not in self._features:
            self._features[ref] = reader.read(ref)
        return self._features[ref]

    def _extract(self, item: Item, stem: str, reader: FeatureReader) -> ExtractedFile:
        try:
            data = self.photos.read(item)
        except SourceError as error:
            return ExtractedFile(item=item, status=FileStatus.FAILED, reason=str(error))
        media = sniff(data[:_HEAD_BYTES])
        media_type = item.media_type if media is UNKNOWN and item.media_type else media.media_type
        if self.only_images and not media.is_image:
            reason = f"is not an image ({media_type})"
            return ExtractedFile(item=item, status=FileStatus.SKIPPED, reason=reason)
        file = stem + ending_for(media, split_name(item.name)[1])
        digest = hashlib.sha256(data).hexdigest()
        status, reason = self._store(file, data, digest)
        if self.index is not None and status is not FileStatus.FAILED:
            self._enter(item, file, media_type, digest, reader)
        return ExtractedFile(
            item=item,
            status=status,
            reason=reason,
            file=file,
            media_type=media_type,
            nbytes=len(data),
            digest=digest,
        )

    def _store(self, file: str, data: bytes, digest: str) -> tuple[FileStatus, str]:
        target = self.folder.joinpath(*file.split("/"))
        if not target.parent.resolve().is_relative_to(self.folder.resolve()):
            return FileStatus.FAILED, f"{target.parent} is a link that leads out of {self.folder}"
        if target.exists():
            if target.is_file() and digest_of_file(target) == digest:
                return FileStatus.PRESENT, ""
            return FileStatus.FAILED, f"{target} is there with other content; use another folder"
        if self.dry_run:
            return FileStatus.PLANNED, ""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, data)
        except OSError as error:
            raise SinkError(
                f"{target} cannot be written: {error}. What was written so far is complete; put "
                "this right and run the same command again: it goes on where it stopped."
            ) from error
        return FileStatus.WRITTEN, ""

    def _enter(
        self, item: Item, file: str, media_type: str, digest: str, reader: FeatureReader
    ) -> None:
        for ref in item.features or (None,):
            own = {
                "file": file,
                "attachment": item.name,
                "media_type": media_type,
                "layer": ref.layer if ref else None,
                "fid": ref.fid if ref else None,
                "key": item.key,
                "digest": digest,
            }
            feature = self._feature(ref, reader) if ref else None
            self._entries.append(
                IndexEntry(own=own, layer=ref.layer if ref else None, feature=feature)
            )

    def _write_index(self, path: Path, systems: Mapping[str, Srs | None]) -> None:
        content, notes = render_index(self.index_kind, _COLUMNS, self._entries, systems)
        self.notes.extend(notes)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(path, content)
        except OSError as error:
            raise SinkError(f"{path} cannot be written: {error}") from error

    def report(self, files: Iterable[ExtractedFile]) -> ExtractionReport:
        """The report of these files of this run."""
        return ExtractionReport(
            files=tuple(files),
            source=self.source,
            folder=self.folder,
            index=None if self.dry_run else self.index,
            notes=tuple(self.notes),
        )


def plan_extraction(  # noqa: PLR0913 - the tool's face: every option by name
    source: PathLike,
    folder: PathLike,
    *,
    layout: str | None = None,
    layer: str | None = None,
    photo_column: str | None = None,
    base: PathLike | None = None,
    remap: Sequence[tuple[str, str]] = (),
    where: str | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    limit: int | None = None,
    name_by: str | None = None,
    index: IndexKind = "geojson",
    only_images: bool = False,
    dry_run: bool = False,
) -> Extraction:
    """Prepare the extraction of a feature class's attachments: check everything, write nothing.

    Every attachment, image or not, becomes one file in `folder`, byte for byte as stored; a photo
    that several features share becomes one file. Files are named after the attachment (made safe
    and unique, with the ending that the content asks for), in a folder per layer when there are
    several; name_by is a template instead (see `NameTemplate`). A file that is there with the same
    content is left alone, one with other content is never replaced.

    index       "geojson" (photos.geojson, WGS 84), "geoparquet" (photos.parquet, the layer's
                coordinate system) or "none": a row per photo and feature with the feature's
                geometry and attributes, file, attachment, media_type, layer, fid, key and digest
                (SHA-256). It lists the photos of this run
    only_images leave out what is not an image by its content
    Others      as for `plan_translation`

    Raises ArgumentError, SourceError (LayoutError), OutputExistsError.
    """
    path, target = Path(source), Path(folder)
    if target.exists() and not target.is_dir():
        raise ArgumentError(f"--output {target} is a file; name a folder")
    readable_source = readable(path)
    tables = detect(
        readable_source,
        layout=layout,
        layer=layer,
        photo_column=photo_column,
        base=None if base is None else Path(base),
        remap=tuple(remap),
    )
    photos = open_photos(readable_source, tables, Selection(where=where, bbox=bbox, limit=limit))
    return Extraction(
        source=path,
        folder=target,
        index=index_path(target, index, _STEM, _COLUMNS.own),
        photos=photos,
        template=None if name_by is None else _template(name_by, photos),
        index_kind=index,
        only_images=only_images,
        dry_run=dry_run,
        notes=[warning for table in tables for warning in table.warnings],
    )


def _template(text: str, photos: Photos) -> NameTemplate:
    template = NameTemplate(text=text)
    reader = FeatureReader(photos.database, photos.tables)
    try:
        template.check({name: reader.columns(name) for name in reader.layers})
    finally:
        reader.close()
    return template


def _finished(prepare: Callable[P, Extraction]) -> Callable[P, ExtractionReport]:
    @wraps(prepare)
    def run(*args: P.args, **kwargs: P.kwargs) -> ExtractionReport:
        extraction = prepare(*args, **kwargs)
        return extraction.report(list(extraction))

    return run


extract_photos = _finished(plan_extraction)
"""`plan_extraction`, run to its end: gives the `ExtractionReport`."""
