"""Where the results of a run go: the sink, its journal, and what marks say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pyproj import CRS

from attachtrans import __version__
from attachtrans.errors import ArgumentError
from attachtrans.journal import SUFFIX, JobDescription, Journal, now
from attachtrans.stores.backup import kept_stem
from attachtrans.stores.base import PhotoSink
from attachtrans.stores.features import FeatureClassSink, OutputClass, Provenance
from attachtrans.stores.folder import FolderPhotos
from attachtrans.stores.foldersink import (
    FolderOverwriteSink,
    FolderSink,
    prepare_results,
    results_journal,
)
from attachtrans.stores.overwrite import OverwriteSink, secured
from attachtrans.stores.photoclass import PhotoClassSink
from attachtrans.stores.photos import Photos
from attachtrans.tool.choices import ModelChoice, Writing

_WGS84 = CRS.from_epsg(4326)


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
        """Refuse what cannot be, before anything is loaded. Raises ArgumentError."""
        output, of_features = self.writing.output, isinstance(self.photos, Photos)
        if isinstance(output, Path) and of_features:
            raise ArgumentError(
                f"--output {output}: photos of a feature class go into one; name a GeoPackage, "
                "like out.gpkg:trees (attachtrans extract writes photos to files)"
            )
        if (
            isinstance(output, OutputClass)
            and not of_features
            and self.writing.geometry != "footprint"
        ):
            raise ArgumentError(
                f"--geometry {self.writing.geometry}: photos of a folder hang on no features, so "
                "their geometries can only be footprints"
            )

    def prepare(self) -> None:
        """Make the folder of results. Raises ArgumentError, SinkError."""
        if isinstance(self.writing.output, Path) and isinstance(self.photos, FolderPhotos):
            prepare_results(self.photos, self.writing.output)

    def sink(
        self, journal: Journal, crs: CRS | None, backed_up: Callable[[int, int], None]
    ) -> PhotoSink:
        """The sink of this job; crs is that of footprints, None where none are wanted."""
        output, photos, fingerprint = self.writing.output, self.photos, self.model.fingerprint
        if isinstance(output, OutputClass):
            return self._class_sink(output, crs)
        if isinstance(photos, FolderPhotos) and output is not None:
            return FolderSink(photos, output, journal, fingerprint=fingerprint)
        kind = FolderOverwriteSink if isinstance(photos, FolderPhotos) else OverwriteSink
        return kind(
            photos, journal, self.writing.safety, fingerprint=fingerprint, progress=backed_up
        )

    def _class_sink(self, output: OutputClass, crs: CRS | None) -> PhotoSink:
        provenance = Provenance(
            model=self.model.definition.name,
            fingerprint=self.model.fingerprint,
            arguments=json.dumps(self.model.shown),
            version=__version__,
        )
        geometry, photos = self.writing.geometry, self.photos
        if isinstance(photos, Photos) and (geometry != "footprint" or crs is None):
            footprints = crs if geometry == "both" else None
            return FeatureClassSink(self.source, photos, output, provenance, footprints=footprints)
        return PhotoClassSink(self.source, photos, output, provenance, crs or _WGS84)
