"""The value ranges of the two domains of an ArcGIS image translation model.

CycleGAN, Pix2Pix and Pix2PixHD map pixels from the source domain's minimum..maximum to -1..1, and
the net's -1..1 to the target domain's, per band. The ranges are the band_min_values and
band_max_values of NormalizationStats (domain A) and NormalizationStats_b (domain B).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attachtrans.errors import ModelError
from attachtrans.models.definition import ModelDefinition
from attachtrans.models.facts import whole

BandRange = tuple[float, float]

Stats = tuple[BandRange, ...]

_EIGHT_BITS: BandRange = (0.0, 255.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """The bands of one domain of a definition.

    raster_bands    how many bands a raster of the domain has
    used            which of them (from 0) the net takes, in the net's order
    ranges          (minimum, maximum) of each used band
    """

    raster_bands: int
    used: tuple[int, ...]
    ranges: tuple[BandRange, ...]

    @property
    def span(self) -> BandRange:
        """(lowest minimum, highest maximum)."""
        return min(low for low, _ in self.ranges), max(high for _, high in self.ranges)


class Rescaled(nn.Module):
    """A generator in the units of its domains; the last band of a source with few is repeated.

    channels    of the net's input
    """

    low: Tensor
    gain: Tensor
    out_low: Tensor
    out_gain: Tensor
    bands: Tensor

    def __init__(self, net: nn.Module, *, channels: int, source: Domain, target: Domain) -> None:
        super().__init__()
        self.net = net
        missing = channels - len(source.used)
        ranges = source.ranges + source.ranges[-1:] * missing
        bands = torch.tensor(source.used + source.used[-1:] * missing)
        self.register_buffer("bands", bands)
        self.register_buffer("low", column([low for low, _ in ranges]))
        self.register_buffer("gain", column([2 / (high - low) for low, high in ranges]))
        self.register_buffer("out_low", column([low for low, _ in target.ranges]))
        self.register_buffer("out_gain", column([(high - low) / 2 for low, high in target.ranges]))

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, bands, H, W) in units of the source -> (N, bands, H, W) in units of the target."""
        x = (pixels.index_select(1, self.bands) - self.low) * self.gain - 1
        y: Tensor = self.net(x)
        return (y[:, : self.out_low.shape[1]].float() + 1) * self.out_gain + self.out_low


def domain_a(
    definition: ModelDefinition, channels: int, *, bands: int | None = None, extracts: bool = True
) -> Domain:
    """Domain A of a definition.

    Args:
        definition: of an ArcGIS image translation model.
        channels: of the net on this side.
        bands: of its rasters, None = as many as there are statistics.
        extracts: whether ExtractBands, where stated, picks bands and their statistics.

    Raises:
        ModelError: more bands than the net has channels, or ExtractBands names none that exist.
    """
    stats = definition.normalization.a
    extract = definition.raw.get("ExtractBands") if extracts else None
    if extract is None:
        return _domain(_first(bands, stats, channels), stats, channels)
    used = _extracted(extract, len(stats) if stats else None)
    return _domain(used, None if stats is None else tuple(stats[band] for band in used), channels)


def domain_b(definition: ModelDefinition, channels: int) -> Domain:
    """Domain B of a definition: its first n_channel bands.

    Raises:
        ModelError: more bands than the net has channels.
    """
    stats = definition.normalization.b
    bands = whole(definition.raw, "n_channel", minimum=1)
    return _domain(_first(bands, stats, channels), stats, channels)


def as_in_reference(definition: ModelDefinition, source: Domain, known: Stats | None) -> Domain:
    """A source as arcgis.learn takes it: its bands as they come, by the statistics of ExtractBands.

    There ExtractBands picks statistics and no bands, in both directions of a CycleGAN, and a raster
    of other bands than those is an error.

    Args:
        definition: of an ArcGIS image translation model.
        source: the domain that the net is given.
        known: its statistics.
    """
    extract, count = definition.raw.get("ExtractBands"), len(source.used)
    picked = () if extract is None else _extracted(extract, None)
    ranges = source.ranges
    if known and len(picked) == count and max(picked) < len(known):
        ranges = tuple(known[band] for band in picked)
    return Domain(raster_bands=count, used=tuple(range(count)), ranges=ranges)


def require_spread(source: Domain, name: str) -> None:
    """Refuse statistics by which values cannot be normalised.

    Raises:
        ModelError: the minimum of a band is not below its maximum.
    """
    for band, (low, high) in zip(source.used, source.ranges, strict=True):
        if not low < high:
            raise ModelError(
                f"{name}: the statistics of input band {band + 1} say that its minimum ({low}) "
                f"is not below its maximum ({high}), so its values cannot be normalised."
            )


def column(values: Sequence[float]) -> Tensor:
    """(1, C, 1, 1) float32, for arithmetic with (N, C, H, W)."""
    return torch.tensor(values, dtype=torch.float64).float().reshape(1, -1, 1, 1)


def _first(bands: int | None, stats: Stats | None, channels: int) -> tuple[int, ...]:
    """The stated number of bands, else one per statistic or channel."""
    return tuple(range(bands or min(len(stats or ()) or channels, channels)))


def _domain(used: tuple[int, ...], stats: Stats | None, channels: int) -> Domain:
    """A domain; without statistics its values are 0..255, the last one serves further bands."""
    if len(used) > channels:
        raise ModelError(
            f"The definition states {len(used)} bands, but the net has {channels} channels."
        )
    known = stats or (_EIGHT_BITS,)
    ranges = known[: len(used)] + known[-1:] * (len(used) - len(known))
    return Domain(raster_bands=max(used) + 1, used=used, ranges=ranges)


def _extracted(extract: object, known: int | None) -> tuple[int, ...]:
    entries = extract if isinstance(extract, list) else []
    used = tuple(
        band
        for band in entries
        if isinstance(band, int) and not isinstance(band, bool) and band >= 0
    )
    limit = 1 << 16 if known is None else known
    if not used or len(used) != len(entries) or max(used) >= limit:
        raise ModelError(
            f"ExtractBands of the model definition is {extract!r:.60}: it must be a list of band "
            f"numbers from 0 to {limit - 1}, or null."
        )
    return used
