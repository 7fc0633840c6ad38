"""Where the results of a run go: the sink, its journal, and what marks say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from attachtrans import __version__
from attachtrans.errors import ArgumentError, AttachtransError
from attachtrans.journal import SUFFIX, JobDescription, Journal, now
from attachtrans.stores.backup import kept_stem
from attachtrans.stores.base import PhotoSink
from attachtrans.stores.classes import target_names
from attachtrans.stores.features import FeatureClassSink
from attachtrans.stores.folder import FolderPhotos
from attachtrans.stores.foldersink import (
    FolderOverwriteSink,
    FolderSink,
    prepare_results,
    results_journal,
)
from attachtrans.stores.geodatabase.append import GeodatabaseSink, drop_staging, open_staging
from attachtrans.stores.geodatabase.kinds import is_geodatabase
from attachtrans.stores.indexed import FolderIndex, FolderRowsSink, IndexedSink
from attachtrans.stores.outputclass import OutputClass, Provenance, refuse_own_layer
from attachtrans.stores.overwrite import OverwriteSink, secured
from attachtrans.stores.photoclass import PhotoClassSink, layers_of
from attachtrans.stores.photofeatures import Footprinting
from attachtrans.stores.photos import Photos
from attachtrans.tool.choices import ModelChoice, Writing
from attachtrans.tool.place.options import Placing


class Job(NamedTuple):
    """What goes where, by which model."""

    source: Path
    photos: Photos | FolderPhotos
    model: ModelChoice
    writing: Writing

    @property
    def journal_path(self) -> Path:
        """Of the journal: beside what is written, or in the work folder."""
        folder, target = self.writing.safety.folder, self.writing.target or self.source
        if isinstance(self.writing.output, Path):
            return results_journal(target, None if folder == target else folder)
        return folder / f"{kept_stem(target, folder)}{target.resolve().suffix}{SUFFIX}"

    @property
    def description(self) -> JobDescription:
        """For the journal."""
        fingerprint = self.model.fingerprint
        return JobDescription(
            source=str(self.source),
            fingerprint=secured(fingerprint) if self.writing.safety.secure else fingerprint,
            model=self.model.definition.name,
            arguments=json.dumps(self.model.shown),
            version=__version__,
        )

    @property
    def mark(self) -> str:
        """The line in ImageHistory: it begins with our name, by which a later run knows it."""
        shown = " ".join(f"{name}={value}" for name, value in self.model.shown.items())
        return (
            f"attachtrans {__version__} {now()} model={self.model.definition.name} "
            f"fingerprint={self.model.fingerprint[:16]} {shown}".rstrip()
        )

    def check(self) -> None:
        """Refuse what cannot be, before anything is loaded.

        Raises ArgumentError, OutputExistsError.
        """
        of_features = isinstance(self.photos, Photos)
        if self.writing.rows is not None and not (
            of_features or self.writing.geometry == "footprint"
        ):
            raise ArgumentError(
                f"--geometry {self.writing.geometry}: photos of a folder hang on no features, so "
                "their geometries can only be footprints"
            )
        if (index := self._index) is not None:
            index.path()
        self._check_placing()

    @property
    def _index(self) -> FolderIndex | None:
        """Of the folder that results go to."""
        output, kind = self.writing.output, self.writing.index
        if not isinstance(output, Path) or kind is None:
            return None
        return FolderIndex(folder=output, kind=kind)

    def _check_placing(self) -> None:
        """Refuse options that would have no effect. Raises ArgumentError."""
        writing, placing = self.writing, self.writing.placing
        if not writing.looks and placing != Placing():
            raise ArgumentError(
                "the options on poses, ground and orthos have no effect here: add --geometry "
                "footprint (or both), --ortho, --rpc, --cameras or --map-space, or leave them out"
            )
        if writing.space == "map" and placing.has_products:
            raise ArgumentError(
                "--ortho, --rpc and --cameras go with --pixel-space: in map space the results "
                "themselves are orthos"
            )
        if placing.rpc is None and (placing.undistort or placing.force_rpc):
            raise ArgumentError("--undistort and --force-rpc go with --rpc only")
        orthos = placing.ortho is not None or writing.space == "map"
        if not orthos and (placing.resolution is not None or placing.occlusion):
            raise ArgumentError("--resolution and --occlusion go with --ortho or --map-space only")
        if placing.ortho is None and placing.cog:
            raise ArgumentError("--cog goes with --ortho only")

    def prepare(self) -> None:
        """Make the folder of results. Raises ArgumentError, SinkError."""
        if isinstance(self.writing.output, Path):
            own = self.photos.folder if isinstance(self.photos, FolderPhotos) else None
            prepare_results(self.writing.output, own)

    def sink(
        self, journal: Journal, footprints: Footprinting, backed_up: Callable[[int, int], None]
    ) -> PhotoSink:
        """The sink of this job; footprints are made where they are wanted."""
        output, photos, fingerprint = self.writing.output, self.photos, self.model.fingerprint
        if isinstance(output, OutputClass):
            return self._class_sink(output, footprints)
        if (rows := self.writing.rows) is not None and (index := self._index) is not None:
            return IndexedSink(self._folder_sink(rows, journal, footprints), index)
        if isinstance(photos, FolderPhotos) and output is not None:
            return FolderSink(photos, output, journal, fingerprint=fingerprint)
        kind = FolderOverwriteSink if isinstance(photos, FolderPhotos) else OverwriteSink
        return kind(
            photos, journal, self.writing.safety, fingerprint=fingerprint, progress=backed_up
        )

    @property
    def _provenance(self) -> Provenance:
        return Provenance(
            model=self.model.definition.name,
            fingerprint=self.model.fingerprint,
            arguments=json.dumps(self.model.shown),
            version=__version__,
        )

    def _folder_sink(
        self, rows: OutputClass, journal: Journal, footprints: Footprinting
    ) -> PhotoSink:
        """What fills a folder and the rows behind its index."""
        if isinstance(self.photos, FolderPhotos):
            return FolderRowsSink(self.photos, journal, self._provenance, rows, footprints)
        return self._rows_sink(rows, footprints)

    def _class_sink(self, output: OutputClass, footprints: Footprinting) -> PhotoSink:
        if not is_geodatabase(output.path):
            return self._rows_sink(output, footprints)
        layers = layers_of(self.photos)
        if layers != ("",):
            refuse_own_layer(self.source, output, target_names(layers, output.layer))
        staging = open_staging(output.path)
        try:
            inner = self._rows_sink(replace(output, path=staging), footprints)
        except AttachtransError:  # nothing is computed yet
            drop_staging(staging)
            raise
        return GeodatabaseSink(inner, staging, output.path)

    def _rows_sink(self, output: OutputClass, footprints: Footprinting) -> PhotoSink:
        provenance = self._provenance
        geometry, photos = self.writing.geometry, self.photos
        if not isinstance(photos, Photos) or geometry == "footprint":
            return PhotoClassSink(self.source, photos, output, provenance, footprints)
        beside = footprints if geometry == "both" else None
        return FeatureClassSink(self.source, photos, output, provenance, footprints=beside)
