"""Which values a net takes and gives, found by trying them on a photo.

A file of weights does not say whether a photo's black and white are 0 and 1, -1 and 1 or 0 and 255
to its net, and a wrong range gives wrong photos without an error. Two things show it:

1. Nets for pictures that end in a sigmoid, a tanh or a clamp never leave their range, however
   large the values that go in. What stays within 0..1, -1..1 or 0..255 means just that.
2. A net that translates pictures keeps them recognisable when it gets the values that it was
   trained with. With others it saturates, sees black, or adds what nobody would want.

The second is a matter of degree: it decides only by a distance, and where two ranges give pictures
that differ and may both be meant, both are reported and none is guessed.

The distances below were set on 91 nets of known ranges: 7 published ones (super-resolution, low
light, radar) and 84 small ones trained for this (7 tasks from denoising to colouring, 12 pairs of
ranges and kinds of ends, 5 kinds of layers). With the synthetic photo none was told wrongly; 17,
nearly all of them without ends, remained ambiguous.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from attachtrans.models.translator import Translator, TranslatorSpec

Limits = tuple[float, float]

STANDARD: tuple[Limits, ...] = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
"""Ranges that nets for photos are trained with, the most usual first."""

_SIDE = 160
_GRID = 20
"""Pictures are compared as wholes on a grid of so many places along either axis."""
_EXTREMES = (30.0, 3000.0)
_WHITE = 0.004
"""About one level of 256: what is nearer to black or white than this is saturated."""

_UNRECOGNISABLE = 1.1
"""Score from which on nothing of the sample is seen in a picture, be it the best."""
_HOPELESS = 1.0
"""Score from which on a picture is no rival to a better one."""
_CLEAR = 0.15
"""Difference of scores that decides for nets that keep within a range."""
_FAITHFUL = 0.06
"""Score up to which a net gives the sample back: it enlarges, cleans or sharpens."""
_WINS = 0.6
"""Share of the blocks in which the better of two faithful pictures has to be nearer the truth."""
_ALIKE = 4.0 / 255
"""Root mean square difference up to which it matters little which of two pictures is meant."""
_SAME_SCORE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A photo as the net takes it, and what the net would give if it changed nothing.

    source      (in_bands, h, w) float32, 0..1
    reference   (out_bands, H, W) float32, 0..1
    """

    source: Tensor
    reference: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A pair of ranges, and the picture that the net makes of the sample with it.

    score       0: the sample itself comes back; from about 1 on nothing of it is to be recognised
    picture     (out_bands, H, W) float32, 0..1, clipped
    errors      (blocks,) root mean square difference from the reference, block by block
    """

    in_range: Limits
    out_range: Limits
    score: float
    picture: Tensor
    errors: Tensor

    def differs_by(self, other: Candidate) -> float:
        """Root mean square difference of the pictures, 0..1."""
        return float((self.picture - other.picture).square().mean().sqrt())


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What was found; `best` is to be used only when `certain`.

    bounds      (lowest, highest) value that the net gave for whatever went in
    bounded     the range that `bounds` stand for, None when the net's values have no end
    best        the likeliest ranges; None when the net gave no finite picture
    alike       ranges that give nearly the same picture as `best` (4 of 255 levels or less)
    rivals      ranges that give another picture and may as well be meant
    """

    sample: Sample
    bounds: Limits
    bounded: Limits | None
    best: Candidate | None
    alike: tuple[Candidate, ...]
    rivals: tuple[Candidate, ...]

    @property
    def recognisable(self) -> bool:
        """Whether the sample is recognised in the best picture."""
        return self.best is not None and self.best.score < _UNRECOGNISABLE

    @property
    def certain(self) -> bool:
        """Whether `best` is recognisable and nothing else may be meant."""
        return self.recognisable and not self.rivals


def guess_ranges(
    translator: Translator,
    photo: Tensor,
    *,
    in_ranges: Sequence[Limits] = STANDARD,
    out_ranges: Sequence[Limits] | None = None,
) -> Guess:
    """Try ranges on a photo.

    Args:
        translator: the net on the CPU; it is given float32 values in the ranges to be tried.
        photo: (3, H, W) float32, 0..1, at least some hundred pixels wide and high.
        in_ranges: what to try for the input.
        out_ranges: what to try for the output; None: the standard ones, of which bounds that
            the net shows leave only one.
    """
    sample = prepare_sample(photo, translator.spec)
    outputs = {limits: run_raw(translator, _spread(sample.source, limits)) for limits in in_ranges}
    bounds = _bounds([*outputs.values(), *_extremes(translator, sample)])
    bounded = _meaning(bounds)
    if out_ranges is None:
        out_ranges = STANDARD if bounded is None else (bounded,)
    found = [
        _candidate(sample, out, limits, out_range)
        for limits, out in outputs.items()
        if bool(out.isfinite().all())
        for out_range in out_ranges
    ]
    best = _preferred(found)
    enlarges = translator.spec.scale > 1
    others = [one for one in found if best is not None and one is not best]
    alike = tuple(o for o in others if best is not None and o.differs_by(best) <= _ALIKE)
    rivals = sorted(
        (o for o in others if best is not None and _is_rival(best, o, bounded, enlarges=enlarges)),
        key=lambda one: one.score,
    )
    return Guess(
        sample=sample,
        bounds=bounds,
        bounded=bounded,
        best=best,
        alike=alike,
        rivals=tuple(rivals),
    )


def prepare_sample(photo: Tensor, spec: TranslatorSpec) -> Sample:
    """A photo (3, H, W), 0..1, cut to a square or to the net's only size.

    Nets that enlarge get a reduced photo, so that the photo itself is what they should give. Nets
    of other than three bands get the mean of the three, or the three and their mean in turn.
    """
    if spec.fixed_size is not None:
        width, height = spec.fixed_size
    else:
        multiple = spec.multiple_of
        width = height = -(-max(_SIDE, spec.min_size) // multiple) * multiple
    crop = _centre(photo, height, width)
    larger = max(spec.scale, 1.0)
    large = _resized(crop, round(height * larger), round(width * larger))
    out_height, out_width = round(height * spec.scale), round(width * spec.scale)
    target = large if spec.scale >= 1 else _resized(large, out_height, out_width)
    cut = round(spec.margin_px * spec.scale)
    target = target[:, cut : out_height - cut, cut : out_width - cut]
    return Sample(
        source=_with_bands(_resized(large, height, width), spec.in_bands),
        reference=_with_bands(target, spec.out_bands),
    )


def run_raw(translator: Translator, values: Tensor) -> Tensor:
    """The net on one image (bands, H, W) in its own units -> (bands, h, w), in a batch it takes."""
    batch = values[None].expand(translator.spec.fixed_batch or 1, -1, -1, -1).contiguous()
    with torch.inference_mode():
        return translator(batch)[0].float()


def _centre(photo: Tensor, height: int, width: int) -> Tensor:
    """The largest window about the middle that is as wide as high as height : width."""
    _, rows, columns = photo.shape
    scale = min(rows / height, columns / width)
    h, w = max(round(height * scale), 1), max(round(width * scale), 1)
    top, left = (rows - h) // 2, (columns - w) // 2
    return photo[:, top : top + h, left : left + w]


def _resized(picture: Tensor, height: int, width: int) -> Tensor:
    if picture.shape[1:] == (height, width):
        return picture
    resized = functional.interpolate(
        picture[None], size=(height, width), mode="bilinear", antialias=True
    )
    return resized[0].clamp(0, 1)  # rounding may leave the range by a little


def _with_bands(picture: Tensor, bands: int) -> Tensor:
    mean = picture.mean(0, keepdim=True)
    if bands == 1:
        return mean
    return torch.cat([picture, mean]).repeat(-(-bands // 4), 1, 1)[:bands]


def _spread(values: Tensor, limits: Limits) -> Tensor:
    low, high = limits
    return values * (high - low) + low


def _extremes(translator: Translator, sample: Sample) -> Iterator[Tensor]:
    """What the net makes of values far beyond those of any photo."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(sample.source.shape, generator=generator) * 2 - 1
    for size in _EXTREMES:
        for values in (noise, sample.source, -sample.source):
            yield run_raw(translator, values * size)


def _bounds(outputs: Sequence[Tensor]) -> Limits:
    finite = [out for out in outputs if bool(out.isfinite().all())]
    if not finite:
        return float("-inf"), float("inf")
    return min(float(out.min()) for out in finite), max(float(out.max()) for out in finite)


def _meaning(bounds: Limits) -> Limits | None:
    """The standard range within which all values stayed."""
    low, high = bounds
    if low >= -1.001 and high <= 1.001:
        return (0.0, 1.0) if low >= -0.02 else (-1.0, 1.0)
    return (0.0, 255.0) if low >= -0.01 and 1.5 < high <= 255.5 else None


def _candidate(sample: Sample, out: Tensor, in_range: Limits, out_range: Limits) -> Candidate:
    low, high = out_range
    picture = ((out - low) / (high - low)).clamp(0, 1)
    shown, wanted = _comparable(picture, sample.reference)
    blocks = functional.adaptive_avg_pool2d((shown - wanted).square().mean(0, keepdim=True), _GRID)
    return Candidate(
        in_range=in_range,
        out_range=out_range,
        score=_score(shown, wanted),
        picture=picture,
        errors=blocks.flatten().sqrt(),
    )


def _score(shown: Tensor, wanted: Tensor) -> float:
    """How little of the sample is left: a sum of what goes wrong with wrong ranges.

    Light and colours that changed on the whole, black and white where there were none, structure
    that is lost on the whole and in detail, and contrast below half of what it was.
    """
    coarse, coarse_wanted = (functional.adaptive_avg_pool2d(x, _GRID) for x in (shown, wanted))
    shift = float((coarse - coarse_wanted).square().mean().sqrt())
    saturated = max(_saturated(shown) - _saturated(wanted), 0.0)
    lost = 2 - _correlation(coarse, coarse_wanted) - _correlation(shown, wanted)
    contrast = float(shown.std() / wanted.std().clamp(min=_WHITE))
    return shift + 0.5 * saturated + 0.5 * lost + max(0.0, 0.5 - contrast)


def _saturated(picture: Tensor) -> float:
    return float(((picture <= _WHITE) | (picture >= 1 - _WHITE)).float().mean())


def _correlation(one: Tensor, other: Tensor) -> float:
    a, b = one - one.mean(), other - other.mean()
    norm = float(a.norm() * b.norm())
    flat = float(a.square().mean()) < 1e-8
    return 0.0 if flat or norm == 0 else max(float((a * b).sum()) / norm, 0.0)


def _comparable(picture: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Both band by band where they have the same bands for sure, else their means."""
    if picture.shape[0] == reference.shape[0] == 3:
        return picture, reference
    return picture.mean(0, keepdim=True), reference.mean(0, keepdim=True)


def _preferred(found: Sequence[Candidate]) -> Candidate | None:
    """The best; of those that give nearly the same picture the most usual one."""
    if not found:
        return None
    top = min(found, key=lambda one: one.score)
    same = [
        one
        for one in found
        if one.differs_by(top) <= _ALIKE and one.score <= top.score + _SAME_SCORE
    ]
    return min(same, key=lambda one: (one.in_range != one.out_range, found.index(one)))


def _is_rival(best: Candidate, other: Candidate, bounded: Limits | None, *, enlarges: bool) -> bool:
    """Whether `other` gives another picture and may as well be meant.

    Values without end say nothing of themselves, so there the pictures must say it all: the net
    gives back the sample, and `other` does so visibly worse; or of the others nothing is to be
    recognised. Of a net that enlarges it is known what it should give, so there it is enough that
    `other` is worse nearly everywhere, be it by little.
    """
    if other.differs_by(best) <= _ALIKE:
        return False
    if bounded is not None:
        return other.score < best.score + _CLEAR
    if best.score < _FAITHFUL:
        wins = float((best.errors < other.errors).float().mean())
        return other.score < 2 * best.score + 0.03 and not (enlarges and wins >= _WINS)
    return other.score < _HOPELESS
