"""What a definition of an SR3 model says, and the steps that follow from it and the arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attachtrans.errors import ArgumentError, ModelError
from attachtrans.models.arguments import DiffusionArguments
from attachtrans.models.facts import number_list, whole
from attachtrans.models.sampling import Step, all_times, ddim, ddpm, spaced_times
from attachtrans.models.schedules import MAX_STEPS, SCHEDULES, Schedule, kept

_DDIM_STEPS = 200
"""Steps of the reference when nobody says."""

_GROUPS = {"SR3": 8, "SR3_UViT": 8, "SR3_Wavelet": 12}
_HEADS = 12

_SIZES = {
    "inner_channel": 4096,
    "norm_groups": 4096,
    "res_blocks": 64,
    "patch_size": 1024,
    "embed_dim": 16_384,
    "depth": 512,
    "num_heads": 1024,
    "n_timestep": MAX_STEPS,
}
"""Sizes that Kwargs may state, with the largest that makes sense. Most are read from the weights,
which must be there anyway; a definition that asks for more than any machine holds is damaged."""

_MOST_CHANNELS = 16_384

BandRange = tuple[float, float]

EIGHT_BITS: BandRange = (0.0, 255.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the weights do not show.

    schedule    of the training
    source      (minimum, maximum) per input band; None: 0..255
    target      (minimum, maximum) per output band; None: 0..255
    multispectral   whether input is in the units of `source`, not those of photos
    """

    norm_groups: int
    num_heads: int
    schedule: Schedule
    source: tuple[BandRange, ...] | None
    target: tuple[BandRange, ...] | None
    multispectral: bool


def read_facts(raw: Mapping[str, Any], model_type: str) -> Facts:
    """The facts of a parsed definition of the type SR3, SR3_UViT or SR3_Wavelet.

    Absent keys have the values of the first releases, whatever the release that wrote it.

    Raises:
        ModelError: a value is none that its key takes, or absurdly large.
    """
    kwargs = raw.get("Kwargs")
    if kwargs is None:
        kwargs = {}
    if not isinstance(kwargs, dict):
        raise ModelError(f"Kwargs of the model definition is {kwargs!r:.60}: it must be an object.")
    sizes = {key: _size(kwargs, key) for key in _SIZES}
    _require_sensible_width(kwargs.get("channel_mults"), sizes["inner_channel"])
    return Facts(
        norm_groups=sizes["norm_groups"] or _GROUPS[model_type],
        num_heads=sizes["num_heads"] or _HEADS,
        schedule=_schedule(kwargs, sizes["n_timestep"] or 1000),
        source=_ranges(raw, "image_stats"),
        target=_ranges(raw, "image_stats2"),
        multispectral=bool(raw.get("is_multispec")),
    )


def plan_steps(
    facts: Facts, arguments: DiffusionArguments, *, compat: str | None, full_variance: bool
) -> tuple[Step, ...]:
    """The steps from noise to picture.

    Ours: `n_timestep` evenly spread steps of the schedule, the training's unless another is asked
    for. arcgis-2.4.2: for ddpm a schedule of `n_timestep` steps instead. arcgis-2.4.4: for ddim a
    schedule of `n_timestep` steps, and all of the training's for ddpm. Neither heeds `schedule`.

    full_variance   see `sampling.ddpm`

    Raises:
        ArgumentError: `n_timestep` is more than the schedule has.
    """
    trained = facts.schedule
    is_ddim = arguments.sampling_type == "ddim"
    asked = arguments.n_timestep
    if asked is not None and asked > (MAX_STEPS if compat else trained.steps):
        limit = MAX_STEPS if compat else trained.steps
        raise ArgumentError(
            f"-a n_timestep={asked} is not allowed: this model takes at most {limit} steps."
        )
    if compat is None:
        name, steps = arguments.schedule or trained.name, trained.steps
        count = asked or (min(_DDIM_STEPS, steps) if is_ddim else steps)
    else:
        name, count = trained.name, asked or _DDIM_STEPS
        shortens = is_ddim == (compat == "arcgis-2.4.4")
        steps = count if shortens else trained.steps
        if not is_ddim:
            count = steps
    left = kept(Schedule(name=name, steps=steps, start=trained.start, end=trained.end))
    times = all_times(steps) if count == steps else spaced_times(steps, count)
    return ddim(left, times) if is_ddim else ddpm(left, times, full_variance=full_variance)


def _schedule(kwargs: Mapping[str, Any], steps: int) -> Schedule:
    stated = {key: value for key, value in kwargs.items() if value is not None}
    name = stated.get("schedule", "linear")
    if name not in SCHEDULES:
        raise _wrong("schedule", name, f"one of {', '.join(SCHEDULES)}")
    start, end = (
        number_list([stated.get(key, default)], f"Kwargs.{key}")[0]
        for key, default in (("linear_start", 1e-6), ("linear_end", 1e-2))
    )
    if not 0 <= start <= 1 or not 0 < end <= 1:
        raise _wrong("linear_start, linear_end", [start, end], "numbers from 0 to 1")
    return Schedule(name=name, steps=steps, start=start, end=end)


def _size(kwargs: Mapping[str, Any], key: str) -> int | None:
    try:
        size = whole(kwargs, key, minimum=1)
    except ModelError as error:
        raise ModelError(f"Kwargs: {error}") from error
    if size is not None and size > _SIZES[key]:
        raise _wrong(key, size, f"a whole number from 1 to {_SIZES[key]}")
    return size


def _require_sensible_width(mults: object, inner: int | None) -> None:
    if mults is None:
        return
    factors = number_list(mults, "Kwargs.channel_mults")
    if not 0 < len(factors) <= 16 or not 0 < max(factors) * (inner or 1) <= _MOST_CHANNELS:
        raise _wrong("channel_mults", mults, f"factors that give at most {_MOST_CHANNELS} channels")


def _ranges(raw: Mapping[str, Any], key: str) -> tuple[BandRange, ...] | None:
    """(minimum, maximum) per band; None where there are none."""
    stats = raw.get(key)
    if stats is None:
        return None
    if not isinstance(stats, dict):
        raise ModelError(
            f"{key} of the model definition is {stats!r:.60}: it must be an object with "
            "band_min_values and band_max_values."
        )
    low, high = stats.get("band_min_values"), stats.get("band_max_values")
    if low is None and high is None:
        return None
    lows = number_list(low, f"{key}.band_min_values")
    highs = number_list(high, f"{key}.band_max_values")
    if not lows or len(lows) != len(highs):
        raise ModelError(
            f"{key} of the model definition has {len(lows)} band_min_values and {len(highs)} "
            "band_max_values: there must be one of each per band."
        )
    for number, (least, most) in enumerate(zip(lows, highs, strict=True), start=1):
        if not least < most:
            raise ModelError(
                f"{key} of the model definition: the minimum ({least}) of band {number} is not "
                f"below its maximum ({most}), so its values cannot be normalised."
            )
    return tuple(zip(lows, highs, strict=True))


def _wrong(key: str, value: object, allowed: str) -> ModelError:
    return ModelError(
        f"Kwargs.{key} of the model definition is {value!r:.60}: it must be {allowed}."
    )
