"""A chosen model, loaded on each device, with the engine that runs it there.

This imports torch: whoever needs it imports it when a run begins.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from attachtrans import allocator
from attachtrans.errors import ArgumentError
from attachtrans.infer.adaptive import AdaptiveEngine
from attachtrans.infer.blockwise import BlockEngine, reference_rule
from attachtrans.infer.compiling import Compiled
from attachtrans.infer.devices import select_devices
from attachtrans.infer.engine import Engine
from attachtrans.infer.staged import Staging
from attachtrans.models.load import load_model
from attachtrans.models.translator import AdaptiveTranslator, Translator, TranslatorSpec
from attachtrans.roles import PhotoEngine
from attachtrans.tool.choices import ModelChoice, Running
from attachtrans.tool.progress import Progress
from attachtrans.types import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """Engines, one per device, and what their net is.

    running     as it was asked for
    """

    engines: list[PhotoEngine]
    spec: TranslatorSpec
    devices: tuple[torch.device, ...]
    running: Running
    stagings: _Stagings

    @property
    def on_gpu(self) -> bool:
        """Whether any device is not the CPU."""
        return any(device.type != "cpu" for device in self.devices)

    @property
    def notes(self) -> Iterator[str]:
        """What the user should know after a run."""
        yield from self.stagings.notes
        engines = [engine for engine in self.engines if isinstance(engine, Engine)]
        chosen = {engine.precision for engine in engines} - {"fp32"}
        if chosen and self.running.precision == "auto":
            yield (
                f"the net was computed in {' and '.join(sorted(chosen))} once that had proved "
                "faster, and equal to fp32 as far as 8 bits show; --precision fp32 prevents it"
            )


@dataclass(slots=True)
class _Stagings:
    """Says what the first image of each size keeps where, before it is run in stages."""

    progress: Progress
    notes: list[str] = field(default_factory=list)

    def tell(self, size: Size, staging: Staging) -> None:
        note = f"exact seams: a photo of {size.width} x {size.height} px keeps {staging.lodging}"
        if note not in self.notes:
            self.notes.append(note)
            self.progress.told(note)


def load_engines(model: ModelChoice, progress: Progress, stop: threading.Event) -> LoadedModel:
    """Load the net on every device that was asked for.

    Raises:
        ArgumentError: devices, tiles or seams that there cannot be.
        ModelError: the weights do not fit.
    """
    allocator.keep_freed()
    allocator.share_arenas()  # before there are threads that decode, compute and write
    running = model.running
    devices = select_devices(running.devices)
    translators = [
        load_model(
            model.definition,
            arguments=model.arguments,
            device=device,
            precision="auto" if running.compat is None else running.precision,
            compat=running.compat,
            trust_code=running.trust_code,
        )
        for device in devices
    ]
    stagings = _Stagings(progress)
    return LoadedModel(
        engines=[_engine(model, one, progress, stop, stagings) for one in translators],
        spec=translators[0].spec,
        devices=devices,
        running=running,
        stagings=stagings,
    )


def _engine(
    model: ModelChoice,
    translator: Translator,
    progress: Progress,
    stop: threading.Event,
    stagings: _Stagings,
) -> PhotoEngine:
    """What brings images through the net, on the net's device."""
    arguments, running = model.arguments, model.running
    if isinstance(translator, AdaptiveTranslator):
        if running.seams != "blend":
            raise ArgumentError(
                f"--seams {running.seams}: raster functions choose their tiles themselves; "
                "leave --seams out"
            )
        return AdaptiveEngine[int](translator, on_pixels=progress.computed, stop=stop)
    if running.compiles:
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
            on_pixels=progress.computed,
            stop=stop,
            seams=running.seams,
            on_staging=stagings.tell,
        )
    return BlockEngine[int](
        translator,
        reference_rule(
            tile=model.definition.tile_size,
            padding=arguments.padding,
            batch_size=arguments.batch_size,
        ),
        on_pixels=progress.computed,
        stop=stop,
        precision="fp32" if running.precision == "auto" else running.precision,
    )
