"""Rasters through a net, one after the other: opened, prepared, translated, written."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from attachtrans.errors import (
    AttachtransError,
    BusyError,
    InferenceError,
    ModelError,
    NoMemoryError,
    OutputExistsError,
    SinkError,
)
from attachtrans.flow import StageTimes
from attachtrans.geo.frame import read_crs
from attachtrans.geo.gridding import Gridding
from attachtrans.geo.view import Georef
from attachtrans.report import Outcome, Report, Status
from attachtrans.stores.raster import (
    Raster,
    RasterImage,
    RasterOptions,
    ResumableWriter,
    bounded_cache,
    open_raster,
    tidy,
)
from attachtrans.stores.raster.gridded import placed
from attachtrans.stores.rasterfolder import make_folder_for
from attachtrans.tool.choices import ModelChoice, Space
from attachtrans.tool.progress import Metered, Progress
from attachtrans.tool.rasters.carryback import job_on_map, warp
from attachtrans.tool.rasters.choice import RasterChoice
from attachtrans.tool.rasters.ground import on_dem
from attachtrans.tool.rasters.inputs import RasterInput, RasterInputs
from attachtrans.tool.rasters.prepare import JOB_TAG, Prepared, View, look_at
from attachtrans.types import Item, Size

if TYPE_CHECKING:
    from attachtrans.tool.engines import LoadedModel
    from attachtrans.tool.rasters.engine import RasterEngines

_LOG = logging.getLogger(__name__)
# How long work may take that a crash undoes.
_CHECKPOINT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterJob:
    """What is made of which rasters.

    output   the file or the folder that is written
    options  how results are stored
    dem      ground under rasters with an RPC; None: its mean height
    layer_crs   of a raster whose file does not say its own
    """

    source: Path
    inputs: RasterInputs
    model: ModelChoice
    choice: RasterChoice
    output: Path
    options: RasterOptions
    space: Space
    dem: Path | None = None
    layer_crs: str | None = None


@dataclass(slots=True)
class RasterTranslation:
    """A prepared run; iterate over it once to make it happen, an `Outcome` per raster.

    Closing the iterator early stops the run: what is complete stays, and the raster that was being
    written is gone on with by the next run. `notes` is what the user should know.
    """

    job: RasterJob
    dry_run: bool
    progress: Progress
    notes: list[str] = field(default_factory=list)
    times: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many rasters it will look at."""
        return len(self.job.inputs)

    @property
    def unit(self) -> str:
        """What it looks at, many of them."""
        return "rasters"

    @property
    def output(self) -> str:
        """What will be written, in words."""
        return str(self.job.output)

    def __iter__(self) -> Generator[Outcome, None, None]:
        """Run; raises what stops every raster, or the only one."""
        with ExitStack() as stack:
            stack.callback(self.job.inputs.close)
            run = _Run(self, stack)
            for one in self.job.inputs:
                yield run.outcome(one)
            self.notes.extend(run.notes)
            self.notes.extend(note for note in self.job.inputs.notes if note not in self.notes)

    def report(self, outcomes: Iterator[Outcome] | list[Outcome]) -> Report:
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


class _Run:
    """What the rasters of a run share: the loaded net, the times, the switch that stops it."""

    def __init__(self, translation: RasterTranslation, stack: ExitStack) -> None:
        self._translation, self._job = translation, translation.job
        self._progress = Metered(translation.progress)
        self._stop = threading.Event()
        stack.callback(self._stop.set)
        self._gridding = self._job.choice.gridding()
        self._loaded: LoadedModel | None = None
        self._engines: RasterEngines | None = None
        self._times = StageTimes()
        translation.times = {"wall": self._times.wall, "cpu": self._times.cpu}
        self._notes: list[str] = []

    @property
    def notes(self) -> Iterator[str]:
        yield from self._notes
        if self._loaded is not None:
            yield from self._loaded.notes

    def outcome(self, one: RasterInput) -> Outcome:
        """Translate one raster; of several a bad one is no reason to stop."""
        started = time.perf_counter()
        item = Item(key=one.key, name=one.target.name, media_type="", nbytes=None, features=())
        status, reason, sizes = Status.TRANSLATED, "", None
        try:
            if one.problem:
                status, reason = Status.FAILED, one.problem
            else:
                status, sizes = self._one(one)
        except (ModelError, BusyError, SinkError) as error:
            if not (self._job.inputs.separate and isinstance(error, OutputExistsError)):
                raise
            status, reason = Status.REFUSED, str(error)
        except AttachtransError as error:
            if not self._job.inputs.separate:
                raise
            status, reason = Status.FAILED, str(error)
        except Exception as error:
            if not self._job.inputs.separate:
                raise
            # As photos: what nobody foresaw goes to the log as well.
            status, reason = Status.FAILED, f"unexpected {type(error).__name__}: {error}"
            _LOG.exception("%s", one.key)
        return Outcome(
            item=item,
            status=status,
            reason=reason,
            seconds=time.perf_counter() - started,
            size_in=sizes[0] if sizes else None,
            size_out=sizes[1] if sizes else None,
        )

    def _one(self, one: RasterInput) -> tuple[Status, tuple[Size, Size]]:
        with ExitStack() as stack:
            view = self._view(one, stack)
            engines = self._ready()
            prepared = engines.prepared(view, self._job.choice, self._job.model)
            sizes = (view.raster.size, prepared.spec.size)
            carried = self._is_carried
            job = job_on_map(prepared, self._gridding) if carried else prepared.job
            if self._is_done(one.target, job):
                if not self._translation.dry_run:
                    tidy(one.target)
                    self._tidy_step(one.target)
                return Status.ALREADY, sizes
            if self._translation.dry_run:
                return Status.PLANNED, sizes
            with bounded_cache(_cache_bytes(view, engines.rows(prepared))):
                self._write(one, prepared, engines)
        return Status.TRANSLATED, sizes

    def _view(self, one: RasterInput, stack: ExitStack) -> View:
        """Open a raster, on the grid that it is translated on."""
        from attachtrans.models.pix2pixhd import takes_labels

        job, asked = self._job, self._gridding
        raster = one.open()
        stack.callback(raster.close)
        if job.inputs.gridded:
            asked = Gridding(resampling=asked.resampling)
        view = look_at(
            raster,
            job.choice,
            job.space,
            1.0 if job.choice.cell_size is not None else job.model.enlarge,
            gridding=asked,
            georef=self._place(raster, stack),
            numbers=takes_labels(job.model.definition),
        )
        stack.callback(view.raster.close)
        return view

    def _place(self, raster: Raster, stack: ExitStack) -> Georef | None:
        """Where a raster's pixels lie, None: it does not say."""
        if not isinstance(raster, RasterImage):
            known = raster.transform is not None and raster.crs is not None
            return placed(raster) if known else None
        dem, notes = self._job.dem, self._notes
        on_ground = None if dem is None else on_dem(raster, dem, stack, notes)
        system, said = self._gridding.crs if raster.rpc else None, self._job.layer_crs
        if said is not None and raster.crs is None and not raster.rpc:
            system = read_crs(said)
        return on_ground or raster.georef(crs=system)

    def _ready(self) -> RasterEngines:
        """The net, loaded when the first raster needs it."""
        from attachtrans.tool.engines import load_engines
        from attachtrans.tool.rasters.engine import RasterEngines

        if self._engines is None:
            self._loaded = load_engines(self._job.model, self._progress, self._stop)
            self._engines = RasterEngines(self._loaded)
        return self._engines

    def _is_done(self, target: Path, job: str) -> bool:
        """Whether the result is there; raises OutputExistsError when something else is."""
        if not target.exists():
            return False
        try:
            with open_raster(target) as image:
                if image.tags.get(JOB_TAG) == job:
                    return True
        except AttachtransError:  # no raster at all
            pass
        raise OutputExistsError(
            f"{target} is there and is no result of this raster by this model with these "
            "arguments; it stays as it is. Name another --output"
        )

    def _write(self, one: RasterInput, prepared: Prepared, engines: RasterEngines) -> None:
        job = self._job
        if job.inputs.separate:
            job.output.mkdir(parents=True, exist_ok=True)
            make_folder_for(one.target, job.output)
        carried = self._is_carried
        target = _step_before(one.target) if carried else one.target
        options = RasterOptions() if carried else job.options
        engines.require_tiles(prepared, options)
        if not (carried and target.exists() and self._is_done(target, prepared.job)):
            self._translate(target, prepared, engines, options)
        if carried:
            warp(target, one.target, prepared, self._gridding, job.options)
            self._tidy_step(one.target)

    def _translate(
        self, target: Path, prepared: Prepared, engines: RasterEngines, options: RasterOptions
    ) -> None:
        """Write a raster's result; with smaller tiles, from its beginning, when memory runs out."""
        while True:
            try:
                with ResumableWriter(
                    target, prepared.spec, options, job=prepared.resume_key
                ) as writer:
                    if writer.note:
                        self._notes.append(writer.note)
                    self._fill(writer, prepared, engines)
                    return
            except NoMemoryError:
                less = engines.prepared(prepared.view, self._job.choice, self._job.model)
                if less.plan is None or less.plan == prepared.plan:
                    raise
                prepared = less
            note = (
                f"memory ran out: {prepared.view.raster.name} is cut into tiles of "
                f"{max(less.plan.tile)} pixels (-a tile_size=N begins with such)"
            )
            self._notes.append(note)
            self._progress.told(note)

    @property
    def _is_carried(self) -> bool:
        """Whether results in pixel space are brought to the map."""
        return self._job.space == "pixel" and self._gridding.changes

    def _tidy_step(self, target: Path) -> None:
        if self._is_carried:
            step = _step_before(target)
            tidy(step)
            step.unlink(missing_ok=True)

    def _fill(self, writer: ResumableWriter, prepared: Prepared, engines: RasterEngines) -> None:
        """Write every block, with a checkpoint now and then and when it is interrupted."""
        from attachtrans.windowed import Reading, WindowedRun

        progress, view = self._progress, prepared.view
        excerpts = engines.excerpts(prepared, writer.done)
        progress.planned(sum(part.source.width * part.source.height for part in excerpts))
        run = WindowedRun(
            Reading(
                raster=view.raster,
                bands=prepared.bands,
                alpha=view.alpha,
                masked=view.masked,
                reach=engines.reach(prepared),
                objection=engines.objection,
            ),
            engines.windows(prepared),
            writer,
            engines.excerpts(prepared, writer.done),
            writers=engines.writers,
            stop=self._stop,
            on_pixels=progress.computed,
        )
        done, last = writer.done, time.monotonic()
        try:
            for done in run:
                if time.monotonic() - last > _CHECKPOINT_S:
                    writer.checkpoint(done)
                    last = time.monotonic()
            writer.checkpoint(done)  # completing it may take long: overviews, other formats
        except InferenceError as error:
            if done > writer.done:
                writer.checkpoint(done)
            progress.settle()
            raise type(error)(f"{error} {writer.kept}".rstrip()) from error
        except BaseException as error:
            if done > writer.done:
                with suppress(SinkError):  # the disk is full: the last checkpoint has to do
                    writer.checkpoint(done)
            if isinstance(error, AttachtransError):  # else the run ends where it is
                progress.settle()
            raise
        finally:
            for name, seconds in run.times.wall.items():
                self._times.wall[name] = self._times.wall.get(name, 0.0) + seconds
            for name, seconds in run.times.cpu.items():
                self._times.cpu[name] = self._times.cpu.get(name, 0.0) + seconds


def _cache_bytes(view: View, rows: int) -> int:
    """Of GDAL's cache, for blocks of so many rows: bands of a window are read one by one.

    A file in strips would be decoded anew for every block of a row, if one strip were too many.
    """
    image = view.image
    if image is None:
        return 0
    across, down = image.block
    if across < image.size.width:
        pixels = (rows + across) * (rows + down)
    else:
        pixels = (rows + 2 * down) * image.size.width
    return pixels * (image.bands * image.dtype.itemsize + image.has_mask)


def _step_before(target: Path) -> Path:
    """Where a result in pixel space lies until it is brought to the map."""
    return target.with_name(f".{target.name}.pixels{os.extsep}tif")
