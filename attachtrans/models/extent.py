"""How far the outputs of a chain of convolutions look, computed from kernels and strides.

For nets whose layers all look at a bounded neighbourhood (batch norm in evaluation mode looks at
nothing but its own place). `attachtrans.models.reach` measures the same of nets that are not ours.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Which input pixels a value at place i of a layer depends on, along an axis.

    They are step * i - before .. step * i + after, all in input pixels; step is a power of two.
    """

    before: int = 0
    after: int = 0
    step: int = 1

    @property
    def reach_px(self) -> int:
        """The larger of both sides, in input pixels."""
        return max(self.before, self.after)

    def convolved(self, kernel: int, *, times: int = 1) -> Extent:
        """After `times` convolutions of an odd kernel, padded by half of it."""
        more = times * (kernel // 2) * self.step
        return dataclasses.replace(self, before=self.before + more, after=self.after + more)

    def halved(self, kernel: int) -> Extent:
        """After a convolution or pooling of stride 2 and an odd kernel, padded by half of it."""
        return dataclasses.replace(self.convolved(kernel), step=2 * self.step)

    def doubled(self) -> Extent:
        """After a nearest or pixel-shuffle enlargement by two: place i comes from place i // 2."""
        step = self.step // 2
        return Extent(before=self.before + step, after=self.after, step=step)

    def doubled_by_convolution(self) -> Extent:
        """After a transposed convolution: kernel 3, stride 2, padding 1, output padding 1."""
        step = self.step // 2
        return Extent(before=self.before + step, after=self.after + step, step=step)

    def with_previous(self) -> Extent:
        """After a mean of each place and the one before it."""
        return dataclasses.replace(self, before=self.before + self.step)

    def joined(self, other: Extent) -> Extent:
        """Of values that depend on both, which are of one step."""
        return Extent(
            before=max(self.before, other.before),
            after=max(self.after, other.after),
            step=self.step,
        )
