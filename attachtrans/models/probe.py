"""Measures what a definition does not say about a net, by running the net on small noise images.

Everything is deterministic: seeded noise, fixed sizes, and a budget counted in work, not in time,
so that the same net gives the same facts on every machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attachtrans.errors import ModelError
from attachtrans.models.facts import Range, StatedFacts
from attachtrans.models.reach import Sampler, measure_reach
from attachtrans.models.translator import TranslatorSpec

Forward = Callable[[Tensor], Tensor]
"""(N, bands, H, W) float32 on the CPU, in the net's units, to (N, bands, h, w); raises on sizes
that the net does not take."""

_BANDS = (3, 1, 4, 2)
_SIZES = (32, 64, 128, 256, 224, 512)
_MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 128)
_SMALL = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_RAW_RANGE = (0.0, 255.0)
_SAME = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How a net's output size follows from its input size: scale * (n - 2 * margin_px)."""

    scale: float
    margin_px: int
    multiple_of: int

    def output(self, size: int) -> float:
        """Output pixels along an axis of `size` input pixels."""
        return self.scale * (size - 2 * self.margin_px)

    def gives(self, height: int, width: int, out: tuple[int, int] | None) -> bool:
        """Whether `out` is the (height, width) that follows from the rule, and not empty."""
        if out is None or min(out) < 1:
            return False
        return out[0] == self.output(height) and out[1] == self.output(width)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Net:
    """A net under measurement; `outcome` is None where it does not run."""

    forward: Forward
    in_range: Range
    batch: int

    def noise(self, bands: int, height: int, width: int, seed: int = 0) -> Tensor:
        low, high = self.in_range
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(1, bands, height, width, generator=generator) * (high - low) + low

    def run(self, image: Tensor) -> Tensor:
        """The net on one image, in a batch of the size that it takes."""
        with torch.inference_mode():
            return self.forward(image.expand(self.batch, -1, -1, -1).contiguous())[:1].float()

    def outcome(self, bands: int, height: int, width: int) -> Tensor | None:
        try:
            out = self.run(self.noise(bands, height, width))
        except ModelError:
            raise
        except Exception:  # noqa: BLE001  # a net may raise anything on what it does not take
            return None
        return out if out.ndim == 4 else None

    def size(self, bands: int, height: int, width: int) -> tuple[int, int] | None:
        out = self.outcome(bands, height, width)
        return None if out is None else (int(out.shape[2]), int(out.shape[3]))


def complete_spec(facts: StatedFacts, forward: Forward, *, weights: int) -> TranslatorSpec:
    """The spec of a net: what its definition states, and measurements of the rest.

    What is stated is checked against the net as far as a run shows it, except ReceptiveField,
    which is believed.

    Args:
        facts: as stated.
        forward: the net on the CPU.
        weights: number of trained values, which bounds the work of the measurement of the reach.

    Raises:
        ModelError: the net runs on no size that was tried, or contradicts its definition; the
            message names the keys that help.
    """
    net = _Net(forward=forward, in_range=facts.in_range or _RAW_RANGE, batch=facts.fixed_batch or 1)
    bands, base = _find_input(net, facts)
    out_bands = _out_bands(net, bands, base)
    _require(facts.out_bands, out_bands, "OutputBands")
    geometry = _geometry(net, bands, base, facts)
    fixed = facts.fixed_size or (None if geometry else base)
    geometry = geometry or _fixed_geometry(net, bands, base, facts)
    _require(facts.scale, geometry.scale, "Scale")
    _require(facts.margin_px, geometry.margin_px, "Margin")
    spec = TranslatorSpec(
        in_bands=bands,
        out_bands=out_bands,
        in_range=facts.in_range,
        out_range=facts.out_range,
        scale=geometry.scale,
        multiple_of=geometry.multiple_of,
        min_size=facts.min_size or (1 if fixed else _min_size(net, bands, base[0], geometry)),
        fixed_size=fixed,
        fixed_batch=facts.fixed_batch or _fixed_batch(net, bands, base),
        margin_px=geometry.margin_px,
    )
    return dataclasses.replace(
        spec, receptive_field_px=_reach(facts, spec, Sampler(net.noise, net.run), weights)
    )


def _find_input(net: _Net, facts: StatedFacts) -> tuple[int, tuple[int, int]]:
    """(bands, (width, height)) of the first input that the net takes."""
    reason = "it gives no batch of images"
    for bands in (facts.in_bands,) if facts.in_bands else _BANDS:
        for width, height in _sizes(facts):
            try:
                if net.run(net.noise(bands, height, width)).ndim == 4:
                    return bands, (width, height)
            except ModelError:
                raise
            except Exception as error:  # noqa: BLE001  # a net may raise anything
                reason = str(error).strip().rpartition("\n")[2]
    raise ModelError(
        "The net runs on no image that was tried. State InputBands and FixedSize (or MultipleOf "
        f"and MinSize) in its model definition (.emd). The last failure: {reason:.300}"
    )


def _sizes(facts: StatedFacts) -> Iterator[tuple[int, int]]:
    if facts.fixed_size is not None:
        yield facts.fixed_size
        return
    multiple = facts.multiple_of or 1
    for size in _SIZES:
        fitting = -(-max(size, facts.min_size or 1) // multiple) * multiple
        yield fitting, fitting


def _out_bands(net: _Net, bands: int, base: tuple[int, int]) -> int:
    return net.run(net.noise(bands, base[1], base[0])).shape[1]


def _geometry(net: _Net, bands: int, base: tuple[int, int], facts: StatedFacts) -> Geometry | None:
    """The size rule, with the smallest multiple for which it holds; None for a fixed size."""
    if facts.fixed_size is not None:
        return None
    runs_elsewhere = False
    for multiple in (facts.multiple_of,) if facts.multiple_of else _MULTIPLES:
        steps = [base[0] + step * multiple for step in (1, 2, 3)]
        outs = [net.size(bands, base[0], base[0]), net.size(bands, steps[0], steps[1])]
        if outs[1] is None:
            continue
        outs.append(net.size(bands, steps[2], steps[0]))
        runs_elsewhere = True
        rule = _rule(base[0], multiple, [out for out in outs if out is not None])
        if rule is not None:
            return rule
    if runs_elsewhere:
        raise ModelError(
            "The net's output size follows its input size by no rule that was recognised. State "
            "FixedSize in its model definition (.emd), if it takes only one size."
        )
    return None


def _rule(base: int, multiple: int, outs: list[tuple[int, int]]) -> Geometry | None:
    """The rule behind the outputs for (base, base), (base + m, base + 2m), (base + 3m, base + m).

    m is `multiple`; sizes are (height, width).
    """
    if len(outs) != 3 or outs[0][0] != outs[0][1]:
        return None
    scale = (outs[1][1] - outs[0][0]) / (2 * multiple)
    if scale <= 0 or not (scale * multiple).is_integer():
        return None
    margin = (base - outs[0][0] / scale) / 2
    if margin < 0 or not margin.is_integer():
        return None
    rule = Geometry(scale=scale, margin_px=int(margin), multiple_of=multiple)
    holds = rule.gives(base + multiple, base + 2 * multiple, outs[1]) and rule.gives(
        base + 3 * multiple, base + multiple, outs[2]
    )
    return rule if holds else None


def _fixed_geometry(net: _Net, bands: int, base: tuple[int, int], facts: StatedFacts) -> Geometry:
    width, height = base
    out = net.size(bands, height, width)
    margin = facts.margin_px or 0
    scale = facts.scale or (out[1] / (width - 2 * margin) if out and width > 2 * margin else 0.0)
    rule = Geometry(scale=scale, margin_px=margin, multiple_of=1)
    if not rule.gives(height, width, out):
        raise ModelError(
            f"The net turns {width} x {height} pixels into {out[1] if out else 0} x "
            f"{out[0] if out else 0}, which is not Scale * (size - 2 * Margin): state both in its "
            "model definition (.emd)."
        )
    return rule


def _min_size(net: _Net, bands: int, base: int, rule: Geometry) -> int:
    """The smallest size that was tried and runs."""
    impossible = 2 * rule.margin_px // rule.multiple_of
    for step in _SMALL:
        size = (impossible + step) * rule.multiple_of
        if size >= base:
            break
        if rule.gives(size, size, net.size(bands, size, size)):
            return size
    return base


def _fixed_batch(net: _Net, bands: int, base: tuple[int, int]) -> int | None:
    """1 when the net takes no batch of two, or when the images of a batch affect each other."""
    images = torch.cat([net.noise(bands, base[1], base[0], seed) for seed in (0, 1)])
    try:
        with torch.inference_mode():
            both = net.forward(images).float()
    except Exception:  # noqa: BLE001  # a net may raise anything on what it does not take
        return 1
    if both.shape[0] != 2:
        return 1
    alone = net.run(images[1:])
    span = float(alone.max() - alone.min())
    return None if bool((both[1:] - alone).abs().max() <= _SAME * span) else 1


def _reach(facts: StatedFacts, spec: TranslatorSpec, sampler: Sampler, weights: int) -> int | None:
    stated = facts.receptive_field_px
    if stated == "global":
        return None
    if stated is None:
        return measure_reach(spec, sampler, weights=weights)
    if stated < spec.margin_px:
        raise ModelError(
            f"ReceptiveField is {stated} in the model definition: it includes the margin, which "
            f"is {spec.margin_px}."
        )
    return stated


def _require(stated: float | None, measured: float, key: str) -> None:
    if stated is not None and stated != measured:
        raise ModelError(
            f"{key} is {stated:g} in the model definition, but the net shows {measured:g}."
        )
