"""One prepared run over the photos of a GeoPackage: loads the net, opens the sink, goes through."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from attachtrans import __version__
from attachtrans.errors import ArgumentError, SourceError
from attachtrans.journal import SUFFIX, JobDescription, Journal, digest_of, now
from attachtrans.models.arguments import TilingArguments
from attachtrans.models.definition import ModelDefinition
from attachtrans.report import Outcome, Report, Status
from attachtrans.stores.backup import kept_stem
from attachtrans.stores.base import PhotoSink
from attachtrans.stores.features import FeatureClassSink, OutputClass, Provenance
from attachtrans.stores.held import held_digests
from attachtrans.stores.layouts.base import PhotoTable
from attachtrans.stores.overwrite import OverwriteSink, Safety, restore_originals, secured
from attachtrans.stores.photos import Photos
from attachtrans.stores.replace import vacuum as vacuum_file
from attachtrans.types import Item, Size

if TYPE_CHECKING:
    import torch

    from attachtrans.infer.staged import Staging
    from attachtrans.models.translator import Translator, TranslatorSpec
    from attachtrans.roles import PhotoEngine, PhotoRules

Space = Literal["pixel", "map"]


class Progress(Protocol):
    """What a run tells while it works; called from several threads."""

    def backed_up(self, done: int, total: int) -> None:
        """Pages of the backup that are written, and pages in all."""
        ...

    def computed(self, pixels: int) -> None:
        """So many more input pixels went through the net."""
        ...

    def told(self, text: str) -> None:
        """What the user should know now, on a line."""
        ...


class Quiet:
    """Progress for nobody."""

    def backed_up(self, done: int, total: int) -> None:
        """See `Progress`."""

    def computed(self, pixels: int) -> None:
        """See `Progress`."""

    def told(self, text: str) -> None:
        """See `Progress`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How the net runs: devices, precision, seams and compat as on the command line.

    compat      the release of arcgis.learn that is followed up to its last cast, None = ours
    trust_code  whether Python code that comes with the model may run
    compiles    whether torch compiles the net before the run
    """

    devices: str
    precision: str
    seams: str
    compat: str | None
    trust_code: bool
    compiles: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model, with its typed arguments; `shown` are those that were given or set.

    fingerprint  of the job: model, arguments that change pixels, how results are encoded
    running     how the net runs
    enlarge     factor by which photos are enlarged before the net sees them
    """

    definition: ModelDefinition
    arguments: TilingArguments
    shown: dict[str, Any]
    fingerprint: str
    running: Running
    enlarge: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """Where and how results are written; output None: in the photos' place."""

    output: OutputClass | None
    safety: Safety
    format: str | None
    quality: int | None
    max_pixels: int
    space: Space
    restart: bool
    vacuum: bool


@dataclass(slots=True)
class Translation:
    """One prepared run; iterate over it once to make it happen, an `Outcome` per attachment.

    Closing the iterator early stops the run; what was committed stays. `times` has the seconds
    of each stage once the run has begun, `notes` what the user should know.
    """

    source: Path
    tables: Sequence[PhotoTable]
    photos: Photos
    model: ModelChoice
    writing: Writing
    dry_run: bool
    progress: Progress
    notes: list[str] = field(default_factory=list)
    times: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many attachments it will look at."""
        return len(self.photos)

    @property
    def output(self) -> str:
        """What will be written, in words."""
        target = self.writing.output
        if target is None:
            return str(self.source)
        return f"{target.path}:{target.layer}" if target.layer else str(target.path)

    def __iter__(self) -> Generator[Outcome, None, None]:
        """Run; raises what stops every photo."""
        with ExitStack() as stack:
            stack.callback(self.photos.close)
            yield from self._preview() if self.dry_run else self._run(stack)

    def _run(self, stack: ExitStack) -> Iterator[Outcome]:
        from attachtrans.flow import Crew
        from attachtrans.pipeline import Pipeline

        stop = threading.Event()
        engines, rules, devices = self._load(stop)
        journal = Journal(self._journal_path())
        stack.callback(journal.close)
        if self.writing.restart:
            count = restore_originals(self.photos, journal, self.writing.safety)
            self.notes.append(f"{count} originals were restored from the backup")
        journal.begin(self._job(), again=self.writing.safety.again)
        sink = self._sink(journal)
        stack.callback(sink.close)
        on_gpu = any(device.type != "cpu" for device in devices)
        hands = max(1, min(8, (os.cpu_count() or 1) // 3)) if on_gpu else 1
        crew = Crew(
            decoders=hands,
            encoders=hands,
            budget_bytes=_budget(len(devices)),
            most_photos=32 * len(devices) if on_gpu else 8,
        )
        pipeline = Pipeline(self.photos, sink, engines, rules, crew=crew, stop=stop)
        self.times = {"wall": pipeline.times.wall, "cpu": pipeline.times.cpu}
        yield from pipeline
        self._tell_precision(engines)
        self.photos.close()
        self.notes.extend(sink.finish())
        sink.close()
        if self.writing.output is not None:
            journal.discard_if_empty()
        if self.writing.vacuum:
            self.notes.append(vacuum_file(self.source))

    def _load(
        self, stop: threading.Event
    ) -> tuple[list[PhotoEngine], PhotoRules, tuple[torch.device, ...]]:
        """Engines (one per device), photo rules, devices. Everything heavy is imported here."""
        from attachtrans.image import EncodeOptions, Limits
        from attachtrans.infer.devices import select_devices
        from attachtrans.models.load import load_model
        from attachtrans.models.pix2pixhd import takes_labels
        from attachtrans.roles import PhotoRules
        from attachtrans.tool.fitting import Fitting

        running = self.model.running
        devices = select_devices(running.devices)
        translators = [
            load_model(
                self.model.definition,
                arguments=self.model.arguments,
                device=device,
                precision="auto" if running.compat is None else running.precision,
                compat=running.compat,
                trust_code=running.trust_code,
            )
            for device in devices
        ]
        engines = [self._engine(translator, stop) for translator in translators]
        spec, overwrite = translators[0].spec, self.writing.output is None
        fitting = Fitting(
            spec=spec,
            labels=takes_labels(self.model.definition),
            overwrite=overwrite,
            map_space=self.writing.space == "map",
            asked=EncodeOptions(format=self.writing.format, quality=self.writing.quality),
        )
        rules = PhotoRules(
            limits=Limits(max_pixels=self.writing.max_pixels),
            objection=fitting.objection,
            options=fitting.options,
            history=self._mark() if overwrite else None,
            anonymise=self.writing.safety.secure,
            enlarge=self.model.enlarge,
            growth=self._growth(spec),
        )
        return engines, rules, devices

    def _engine(self, translator: Translator, stop: threading.Event) -> PhotoEngine:
        """What brings photos through the net, on the net's device."""
        from attachtrans.infer.adaptive import AdaptiveEngine
        from attachtrans.infer.blockwise import BlockEngine, reference_rule
        from attachtrans.infer.engine import Engine
        from attachtrans.models.translator import AdaptiveTranslator

        arguments, running = self.model.arguments, self.model.running
        if isinstance(translator, AdaptiveTranslator):
            if running.seams != "blend":
                raise ArgumentError(
                    f"--seams {running.seams}: raster functions choose their tiles themselves; "
                    "leave --seams out"
                )
            return AdaptiveEngine[int](translator, on_pixels=self.progress.computed, stop=stop)
        if running.compiles:
            from attachtrans.infer.compiling import Compiled

            translator = Compiled(
                translator, tile_size=arguments.tile_size, batch_size=arguments.batch_size
            )
        if running.compat is None:
            return Engine[int](
                translator,
                tile_size=arguments.tile_size,
                padding=arguments.padding,
                batch_size=arguments.batch_size,
                device=translator.device,
                precision=running.precision,
                on_pixels=self.progress.computed,
                stop=stop,
                seams=running.seams,
                on_staging=self._tell_staging,
            )
        return BlockEngine[int](
            translator,
            reference_rule(
                tile=self.model.definition.tile_size,
                padding=arguments.padding,
                batch_size=arguments.batch_size,
            ),
            on_pixels=self.progress.computed,
            stop=stop,
            precision="fp32" if running.precision == "auto" else running.precision,
        )

    def _tell_precision(self, engines: Sequence[PhotoEngine]) -> None:
        """Say when half precision was chosen for the net, which nobody asked for."""
        from attachtrans.infer.engine import Engine

        chosen = {engine.precision for engine in engines if isinstance(engine, Engine)} - {"fp32"}
        if chosen and self.model.running.precision == "auto":
            self.notes.append(
                f"the net was computed in {' and '.join(sorted(chosen))} once that had proved "
                "faster, and equal to fp32 as far as 8 bits show; --precision fp32 prevents it"
            )

    def _tell_staging(self, size: Size, staging: Staging) -> None:
        """Say what the first photo of each size keeps where, before it is run in stages."""
        note = f"exact seams: a photo of {size.width} x {size.height} px keeps {staging.lodging}"
        if note not in self.notes:
            self.notes.append(note)
            self.progress.told(note)

    def _growth(self, spec: TranslatorSpec) -> float:
        """Bytes of enlarged photo and result per byte of photo."""
        bands = max(1.0, spec.out_bands / max(spec.in_bands, 1))
        enlarged = self.model.enlarge**2
        return enlarged * spec.scale**2 * bands + (enlarged if enlarged > 1 else 0)

    def _journal_path(self) -> Path:
        target = self.writing.output.path if self.writing.output else self.source
        folder = self.writing.safety.folder
        return folder / f"{kept_stem(target, folder)}{target.resolve().suffix}{SUFFIX}"

    def _job(self) -> JobDescription:
        return JobDescription(
            source=str(self.source),
            fingerprint=secured(self.model.fingerprint)
            if self.writing.safety.secure
            else self.model.fingerprint,
            model=self.model.definition.name,
            arguments=json.dumps(self.model.shown),
            version=__version__,
        )

    def _mark(self) -> str:
        """The line in ImageHistory: it begins with our name, by which a later run knows it."""
        shown = " ".join(f"{name}={value}" for name, value in self.model.shown.items())
        return (
            f"attachtrans {__version__} {now()} model={self.model.definition.name} "
            f"fingerprint={self.model.fingerprint[:16]} {shown}".rstrip()
        )

    def _sink(self, journal: Journal) -> PhotoSink:
        if self.writing.output is None:
            return OverwriteSink(
                self.photos,
                journal,
                self.writing.safety,
                fingerprint=self.model.fingerprint,
                progress=self.progress.backed_up,
            )
        provenance = Provenance(
            model=self.model.definition.name,
            fingerprint=self.model.fingerprint,
            arguments=json.dumps(self.model.shown),
            version=__version__,
        )
        return FeatureClassSink(self.source, self.photos, self.writing.output, provenance)

    def _preview(self) -> Iterator[Outcome]:
        """What a run would do, from headers and the journal; nothing is written or computed."""
        from attachtrans.image import probe

        with ExitStack() as stack:
            holds = self._held(stack)
            for item in self.photos:
                try:
                    data = self.photos.read(item)
                except SourceError as error:
                    yield Outcome(item=item, status=Status.FAILED, reason=str(error))
                    continue
                found, digest = probe(data), digest_of(data)
                if found.skip:
                    status = Status.SKIPPED
                else:
                    status = Status.ALREADY if holds(item, digest) else Status.PLANNED
                yield Outcome(
                    item=item,
                    status=status,
                    reason=found.skip or "",
                    size_in=found.size,
                    digest_in=digest,
                )

    def _held(self, stack: ExitStack) -> Callable[[Item, str], bool]:
        """How a dry run asks whether an item is done already."""
        if self.writing.output is not None:
            held = held_digests(self.writing.output.path, self.model.fingerprint)
            return lambda _item, digest: digest in held
        path = self._journal_path()
        if not path.exists() or self.writing.safety.again or self.writing.restart:
            return lambda _item, _digest: False
        journal = Journal(path)
        stack.callback(journal.close)
        journal.look_at(self._job().fingerprint)
        return lambda _item, digest: journal.is_done(digest)

    def report(self, outcomes: Iterable[Outcome]) -> Report:
        """The report of these outcomes of this run."""
        return Report(
            outcomes=tuple(outcomes),
            source=self.source,
            output=self.output,
            model=self.model.definition.name,
            fingerprint=self.model.fingerprint,
            arguments=self.model.shown,
            notes=tuple(self.notes),
        )


def _budget(devices: int) -> int:
    """Bytes of photos in flight: a GiB per device, less where memory is short."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return devices << 30
    return max(64 << 20, min(devices << 30, free // 4))
