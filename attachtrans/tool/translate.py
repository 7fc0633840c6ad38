"""`translate_pixels`: the tool. Checks what is asked for, picks source, net, sink and pipeline."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol

from attachtrans import __version__
from attachtrans.errors import ArgumentError, SourceError
from attachtrans.journal import SUFFIX, JobDescription, Journal, digest_of, now
from attachtrans.models.arguments import Pairs, TilingArguments, pixel_values
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.job import job_fingerprint, resolve_arguments
from attachtrans.report import Outcome, Report, Status
from attachtrans.stores.base import PhotoSink
from attachtrans.stores.catalog import detect
from attachtrans.stores.features import (
    FeatureClassSink,
    OutputClass,
    Provenance,
)
from attachtrans.stores.held import held_digests
from attachtrans.stores.layouts.base import PhotoTable
from attachtrans.stores.outputs import OutputLayout
from attachtrans.stores.overwrite import OverwriteSink, Safety, restore_originals
from attachtrans.stores.photos import Photos, open_photos
from attachtrans.stores.replace import vacuum as vacuum_file
from attachtrans.stores.selection import Selection
from attachtrans.types import Item

if TYPE_CHECKING:
    import torch

    from attachtrans.pipeline import PhotoEngine, PhotoRules

PathLike = str | os.PathLike[str]
Space = Literal["pixel", "map"]

_OUTPUT = re.compile(r"(?P<path>.+\.gpkg)(?::(?P<layer>.+))?", re.IGNORECASE | re.DOTALL)
P = ParamSpec("P")


class Progress(Protocol):
    """What a run tells while it works; called from several threads."""

    def backed_up(self, done: int, total: int) -> None:
        """Pages of the backup that are written, and pages in all."""
        ...

    def computed(self, pixels: int) -> None:
        """So many more input pixels went through the net."""
        ...


class _Quiet:
    def backed_up(self, done: int, total: int) -> None:
        pass

    def computed(self, pixels: int) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    definition: ModelDefinition
    arguments: TilingArguments
    shown: dict[str, Any]
    fingerprint: str
    devices: str
    precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writing:
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
    model: _Model
    writing: _Writing
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
        return str(target) if target else str(self.source)

    def __iter__(self) -> Generator[Outcome, None, None]:
        """Run; raises what stops every photo."""
        with ExitStack() as stack:
            stack.callback(self.photos.close)
            yield from self._preview() if self.dry_run else self._run(stack)

    def _run(self, stack: ExitStack) -> Iterator[Outcome]:
        from attachtrans.pipeline import Crew, Pipeline

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
        crew = Crew(decoders=hands, encoders=hands, budget_bytes=_budget(len(devices)))
        pipeline = Pipeline(self.photos, sink, engines, rules, crew=crew, stop=stop)
        self.times = {"wall": pipeline.times.wall, "cpu": pipeline.times.cpu}
        yield from pipeline
        self.photos.close()
        self.notes.extend(sink.finish())
        if self.writing.output is not None:
            journal.finish()
        sink.close()
        if self.writing.vacuum:
            self.notes.append(vacuum_file(self.source))

    def _load(
        self, stop: threading.Event
    ) -> tuple[list[PhotoEngine], PhotoRules, tuple[torch.device, ...]]:
        """Engines (one per device), photo rules, devices. Everything heavy is imported here."""
        from attachtrans.image import EncodeOptions, Limits
        from attachtrans.infer.devices import select_devices
        from attachtrans.infer.engine import Engine
        from attachtrans.models.load import load_model
        from attachtrans.pipeline import PhotoRules
        from attachtrans.tool.fitting import Fitting

        arguments, devices = self.model.arguments, select_devices(self.model.devices)
        translators = [
            load_model(self.model.definition, arguments=arguments, device=str(device))
            for device in devices
        ]
        engines: list[PhotoEngine] = [
            Engine[int](
                translator,
                tile_size=arguments.tile_size,
                padding=arguments.padding,
                batch_size=arguments.batch_size,
                device=device,
                precision=self.model.precision,
                on_pixels=self.progress.computed,
                stop=stop,
            )
            for translator, device in zip(translators, devices, strict=True)
        ]
        spec, overwrite = translators[0].spec, self.writing.output is None
        fitting = Fitting(
            spec=spec,
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
            growth=spec.scale**2 * max(1.0, spec.out_bands / max(spec.in_bands, 1)),
        )
        return engines, rules, devices

    def _journal_path(self) -> Path:
        target = (self.writing.output.path if self.writing.output else self.source).resolve()
        folder = self.writing.safety.folder
        if folder == target.parent:
            return target.with_name(target.name + SUFFIX)
        # Files of the same name from several folders may share one work folder.
        place = digest_of(str(target).encode())[:8]
        return folder / f"{target.stem}-{place}{target.suffix}{SUFFIX}"

    def _job(self) -> JobDescription:
        return JobDescription(
            source=str(self.source),
            fingerprint=self.model.fingerprint,
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
                self.photos, journal, self.writing.safety, progress=self.progress.backed_up
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
        journal.look_at(self.model.fingerprint)
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


def parse_output(text: PathLike, layout: str) -> OutputClass:
    """`OUT.gpkg` or `OUT.gpkg:layer`. Raises ArgumentError for anything else."""
    found = _OUTPUT.fullmatch(os.fspath(text))
    if not found:
        message = f"--output {text}: write a GeoPackage and maybe a layer, like out.gpkg:trees"
        raise ArgumentError(message)
    return OutputClass(path=Path(found["path"]), layer=found["layer"], layout=OutputLayout(layout))


def plan_translation(  # noqa: PLR0913 - the tool's face: every option by name
    source: PathLike,
    model: PathLike,
    output: PathLike | None = None,
    *,
    arguments: Pairs | None = None,
    overwrite_attachments: bool = False,
    layout: str | None = None,
    layer: str | None = None,
    photo_column: str | None = None,
    base: PathLike | None = None,
    remap: Sequence[tuple[str, str]] = (),
    where: str | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    limit: int | None = None,
    output_layout: str = "attach",
    format: str | None = None,  # noqa: A002 - the option's name
    quality: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    seams: str = "blend",
    space: Space = "pixel",
    backup: bool = True,
    secure: bool = False,
    restart: bool = False,
    again: bool = False,
    vacuum: bool = False,
    work_dir: PathLike | None = None,
    max_pixels: int = 500_000_000,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Translation:
    """Prepare a run over the photos of a GeoPackage: check everything, write nothing.

    source      GeoPackage with photos (attachments, related media, paths, BLOB columns)
    model       .emd, .dlpk, folder, JSON text, or the name of a built-in model ("sr-x2")
    output      "OUT.gpkg" or "OUT.gpkg:layer" to append to; needed unless overwriting
    arguments   the model's arguments, e.g. {"padding": 64, "tile_size": 512}

    Which photos: layout ("attach", "media", "path", "blob"), layer, photo_column and base say
    where they hang, when detection should not decide; remap (old, new) beginnings of paths that
    moved; where (SQL), bbox (in the layer's CRS) and limit choose among them.

    How they are written: overwrite_attachments replaces them in place, else output_layout
    ("attach", "media", "blob", "folder"); format ("jpeg", "png", "tiff", "webp") and quality
    (1..100) default to each photo's own.

    How the net runs: device ("auto", "cpu", "cuda", "cuda:0,1", "mps"), precision ("auto",
    "fp32", "bf16", "fp16"), seams ("blend"), space ("pixel", "map").

    Safety of an overwrite: backup keeps the originals; secure leaves no trace of them at the end;
    restart brings them back first; again translates what was translated before; vacuum shrinks
    the file at the end; work_dir takes journal and backup (default: beside the data).

    Raises ArgumentError, SourceError (LayoutError), ModelError, SinkError.
    """
    path = Path(source)
    if overwrite_attachments == (output is not None):
        message = (
            "say where results go: either --output OUT.gpkg:layer, which leaves the photos as "
            "they are, or --overwrite-attachments, which replaces them"
        )
        raise ArgumentError(message)
    needs_overwrite = {
        "--secure": secure,
        "--restart": restart,
        "--again": again,
        "--vacuum": vacuum,
        "--no-backup": not backup,
    }
    if not overwrite_attachments and (
        wrong := [n for n, given in needs_overwrite.items() if given]
    ):
        message = f"{wrong[0]} goes with --overwrite-attachments only"
        raise ArgumentError(message)
    if seams not in ("blend", "exact"):
        message = f"--seams {seams}: choose blend"
        raise ArgumentError(message)
    if work_dir is not None and not Path(work_dir).is_dir():
        message = f"--work-dir {work_dir}: there is no such folder"
        raise ArgumentError(message)
    definition = ModelDefinition.read(model)
    typed = resolve_arguments(definition, arguments or {})
    tables = detect(
        path,
        layout=layout,
        layer=layer,
        photo_column=photo_column,
        base=None if base is None else Path(base),
        remap=tuple(remap),
    )
    target = None if output is None else parse_output(output, output_layout)
    written = (target.path if target else path).resolve()
    folder = Path(work_dir).resolve() if work_dir else written.parent
    writing = _Writing(
        output=target,
        safety=Safety(folder=folder, backup=backup, secure=secure, again=again),
        format=format,
        quality=quality,
        max_pixels=max_pixels,
        space=space,
        restart=restart,
        vacuum=vacuum,
    )
    shown = {name: value for name, value in pixel_values(typed).items() if value is not None}
    fingerprint = _fingerprint(job_fingerprint(definition, typed), writing)
    notes = [warning for table in tables for warning in table.warnings]
    return Translation(
        source=path,
        tables=tables,
        photos=open_photos(path, tables, Selection(where=where, bbox=bbox, limit=limit)),
        model=_Model(
            definition=definition,
            arguments=typed,
            shown=shown,
            fingerprint=fingerprint,
            devices=device,
            precision=precision,
        ),
        writing=writing,
        dry_run=dry_run,
        progress=progress or _Quiet(),
        notes=notes,
    )


def _fingerprint(model: str, writing: _Writing) -> str:
    """The job's fingerprint: model and arguments, and how results are encoded if that was asked."""
    asked = {"format": writing.format, "quality": writing.quality}
    if not any(asked.values()):
        return model
    return digest_of(f"{model} {json.dumps(asked)}".encode())


def _started(prepare: Callable[P, Translation]) -> Callable[P, Iterator[Outcome]]:
    @wraps(prepare)
    def run(*args: P.args, **kwargs: P.kwargs) -> Iterator[Outcome]:
        return iter(prepare(*args, **kwargs))

    return run


def _finished(prepare: Callable[P, Translation]) -> Callable[P, Report]:
    @wraps(prepare)
    def run(*args: P.args, **kwargs: P.kwargs) -> Report:
        translation = prepare(*args, **kwargs)
        return translation.report(list(translation))

    return run


iter_translate = _started(plan_translation)
"""`plan_translation`, run: yields an `Outcome` per attachment as it is committed."""

translate_pixels = _finished(plan_translation)
"""`plan_translation`, run to its end: gives the `Report`."""
