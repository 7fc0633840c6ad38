"""One prepared run over photos: loads the net, opens the sink, goes through."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from attachtrans.errors import SourceError
from attachtrans.journal import Journal, digest_of
from attachtrans.report import Outcome, Report, Status
from attachtrans.stores.held import held
from attachtrans.stores.overwrite import restore_originals
from attachtrans.stores.replace import vacuum as vacuum_file
from attachtrans.tool.place.open import footprinting, open_placer
from attachtrans.tool.place.placer import Placer
from attachtrans.tool.progress import Progress
from attachtrans.tool.sinks import Job
from attachtrans.types import Item

if TYPE_CHECKING:
    from attachtrans.models.translator import TranslatorSpec
    from attachtrans.roles import PhotoRules
    from attachtrans.tool.engines import LoadedModel


@dataclass(slots=True, kw_only=True)
class Placeless:
    """Counts the photos of a run that were translated but not placed, or not looked at.

    products  whether something was to be written beside the photos
    """

    products: bool
    count: int = 0
    first: str = ""
    already: int = 0

    def add(self, outcome: Outcome) -> None:
        """Look at one outcome."""
        self.already += outcome.status is Status.ALREADY
        if outcome.status is Status.TRANSLATED and outcome.reason:
            self.count += 1
            self.first = self.first or f"{outcome.item.key}: {outcome.reason}"

    @property
    def notes(self) -> Iterator[str]:
        """What the user should know of them."""
        if self.count:
            yield f"{self.count} photos were translated but not placed on the map. {self.first}"
        if self.products and self.already:
            yield (
                f"nothing was written beside {self.already} photos that were translated before; "
                "attachtrans ortho makes orthos of results"
            )


@dataclass(slots=True)
class Translation:
    """One prepared run; iterate over it once to make it happen, an `Outcome` per attachment.

    Closing the iterator early stops the run; what was committed stays. `times` has the seconds
    of each stage once the run has begun, `notes` what the user should know.
    """

    job: Job
    dry_run: bool
    progress: Progress
    notes: list[str] = field(default_factory=list)
    times: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many attachments it will look at."""
        return len(self.job.photos)

    @property
    def unit(self) -> str:
        """What it looks at, many of them."""
        return "photos"

    @property
    def output(self) -> str:
        """What will be written, in words."""
        target = self.job.writing.output
        return str(self.job.source if target is None else target)

    def __iter__(self) -> Generator[Outcome, None, None]:
        """Run; raises what stops every photo."""
        with ExitStack() as stack:
            stack.callback(self.job.photos.close)
            yield from self._preview() if self.dry_run else self._run(stack)

    def _run(self, stack: ExitStack) -> Iterator[Outcome]:
        from attachtrans.flow import Crew
        from attachtrans.pipeline import Pipeline

        stop = threading.Event()
        job, photos = self.job, self.job.photos
        footprints = footprinting(job)
        placer = open_placer(job, footprints, stack) if job.writing.looks else None
        loaded, rules = self._load(stop, placer)
        job.prepare()
        if placer is not None:
            placer.products.prepare(stack)
        journal = Journal(job.journal_path)
        stack.callback(journal.close)
        if job.writing.restart:
            count = restore_originals(photos, journal, job.writing.safety)
            self.notes.append(f"{count} originals were restored from the backup")
        journal.begin(job.description, again=job.writing.safety.again)
        sink = job.sink(journal, footprints, self.progress.backed_up)
        stack.callback(sink.close)
        devices, on_gpu = len(loaded.devices), loaded.on_gpu
        hands = max(1, min(8, (os.cpu_count() or 1) // 3)) if on_gpu else 1
        crew = Crew(
            decoders=hands,
            encoders=hands,
            budget_bytes=_budget(devices),
            most_photos=self._most_photos(devices, on_gpu=on_gpu),
        )
        pipeline = Pipeline(photos, sink, loaded.engines, rules, crew=crew, stop=stop)
        self.times = {"wall": pipeline.times.wall, "cpu": pipeline.times.cpu}
        placeless = Placeless(products=job.writing.placing.has_products)
        for outcome in pipeline:
            placeless.add(outcome)
            yield outcome
        self.notes.extend(loaded.notes)
        if placer is not None:
            self.notes.extend((*placer.notes, *placeless.notes))
        photos.close()
        self.notes.extend(sink.finish())
        sink.close()
        if job.writing.output is not None:
            journal.discard_if_empty()
        if job.writing.vacuum:
            self.notes.append(vacuum_file(job.source))

    def _most_photos(self, devices: int, *, on_gpu: bool) -> int:
        """How many photos may be in flight, however small they are."""
        if self.job.writing.space == "map":
            return 2 * devices  # an ortho may be many times as large as its photo
        return 32 * devices if on_gpu else 8

    def _load(self, stop: threading.Event, placer: Placer | None) -> tuple[LoadedModel, PhotoRules]:
        """Engines and photo rules. Everything heavy is imported here."""
        from attachtrans.image import EncodeOptions, Limits
        from attachtrans.models.pix2pixhd import takes_labels
        from attachtrans.roles import PhotoRules
        from attachtrans.tool.engines import load_engines
        from attachtrans.tool.fitting import Fitting

        loaded = load_engines(self.job.model, self.progress, stop)
        spec, overwrite = loaded.spec, self.job.writing.output is None
        fitting = Fitting(
            spec=spec,
            labels=takes_labels(self.job.model.definition),
            overwrite=overwrite,
            asked=EncodeOptions(format=self.job.writing.format, quality=self.job.writing.quality),
        )
        rules = PhotoRules(
            limits=Limits(max_pixels=self.job.writing.max_pixels),
            objection=fitting.objection,
            options=fitting.options,
            history=self.job.mark if overwrite else None,
            anonymise=self.job.writing.safety.secure,
            enlarge=self.job.model.enlarge,
            growth=self._growth(spec),
            look=placer.look if placer is not None else None,
        )
        return loaded, rules

    def _growth(self, spec: TranslatorSpec) -> float:
        """Bytes of enlarged photo and result per byte of photo."""
        bands = max(1.0, spec.out_bands / max(spec.in_bands, 1))
        enlarged = self.job.model.enlarge**2
        return enlarged * spec.scale**2 * bands + (enlarged if enlarged > 1 else 0)

    def _preview(self) -> Iterator[Outcome]:
        """What a run would do, from headers and the journal; nothing is written or computed."""
        from attachtrans.image import probe

        with ExitStack() as stack:
            holds = self._held(stack)
            for item in self.job.photos:
                try:
                    data = self.job.photos.read(item)
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
        rows = self.job.writing.rows
        if rows is not None:
            writing = self.job.writing
            placing = writing.placing.footprints_fingerprint if writing.footprints else None
            there = held(rows.path, self.job.model.fingerprint, placing)
            return lambda item, digest: there.has(item.key, digest)
        path = self.job.journal_path
        if not path.exists() or self.job.writing.safety.again or self.job.writing.restart:
            return lambda _item, _digest: False
        journal = Journal(path)
        stack.callback(journal.close)
        journal.look_at(self.job.description.fingerprint)
        folder = self.job.writing.target
        if folder is None:
            return lambda _item, digest: journal.is_done(digest)

        def there_already(item: Item, digest: str) -> bool:
            result = journal.result(item.key, digest)
            return result is not None and (folder / result[0]).is_file()

        return there_already

    def report(self, outcomes: Iterable[Outcome]) -> Report:
        """The report of these outcomes of this run."""
        return Report(
            outcomes=tuple(outcomes),
            source=self.job.source,
            output=self.output,
            model=self.job.model.definition.name,
            fingerprint=self.job.model.fingerprint,
            arguments=self.job.model.shown,
            notes=tuple(self.notes),
        )


def _budget(devices: int) -> int:
    """Bytes of photos in flight: a GiB per device, less where memory is short."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return devices << 30
    return max(64 << 20, min(devices << 30, free // 4))
