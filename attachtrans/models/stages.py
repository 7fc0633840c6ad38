"""A net's graph cut into parts, each of which is computed over the whole image before the next.

Cut is where statistics are taken, before every layer that is costly (so that none is computed
twice), and where several layers go on from a sum of values (so that the summands can go). All else
is computed on the way, for each region of a part. Cheap first layers are the exception: keeping
what they give would take more memory than all the rest, so they are computed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from attachtrans.models.layers import LAYERS
from attachtrans.models.local import Patch
from attachtrans.models.tracing import Graph, Node, UntraceableError, trace
from attachtrans.models.translator import Moments, Read, Region, Shape, TranslatorSpec
from attachtrans.types import Size

AGAIN = 0.05
"""At most this share of a net's work may be done again to save memory, for each layer."""
_BYTES = 4
"""Of a float32."""
_TEMPORARIES = 2
"""Layers hold their input once more while they work (fills, other memory layouts)."""


def with_stages(spec: TranslatorSpec, module: nn.Module) -> TranslatorSpec:
    """The spec with the stages of its net, or with the reason why there are none."""
    step = spec.multiple_of
    least = -(-max(spec.min_size, 8 * spec.margin_px, 16) // step) * step
    sizes = Size(least, least + step), Size(least + 3 * step, least + 2 * step)
    try:
        graph, shape = trace(module, spec.in_bands, sizes, LAYERS)
    except UntraceableError as error:
        return replace(spec, no_stages=str(error))
    width, height = (int((side - 2 * spec.margin_px) * spec.scale) for side in sizes[0])
    if shape != (spec.out_bands, height, width):
        return replace(spec, no_stages=f"it gives {tuple(shape)} for {tuple(sizes[0])} pixels")
    return replace(spec, stages=GraphStages(graph=graph, bands=spec.in_bands))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GraphStages:
    """`Stages` of a graph."""

    graph: Graph = field(repr=False)
    bands: int

    def parts(self, size: Size) -> Sequence[GraphPart]:
        """See `Stages`."""
        shapes = [Shape(self.bands, size.height, size.width)]
        for node in self.graph:
            shapes.append(node.operation.shape(*(shapes[number] for number in node.inputs)))
        cuts = _Cuts.of(self.graph, shapes)
        ends = sorted(cuts.kept | cuts.counted)
        numbers = {0: 0} | {end: number for number, end in enumerate(ends, start=1)}
        return [
            GraphPart(
                graph=self.graph,
                shapes=tuple(shapes),
                steps=cuts.chain(end),
                numbers=numbers,
                kept=end in cuts.kept,
                counted=end in cuts.counted,
                reads=tuple(numbers[source] for source in cuts.sources(end)),
            )
            for end in ends
        ]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GraphPart:
    """`Part` of a graph.

    shapes      of the image and of every node's output
    steps       the nodes that are computed, in order; the last one is the part's value
    numbers     the number of the value that a node's output is, where it is one
    """

    graph: Graph = field(repr=False)
    shapes: tuple[Shape, ...]
    steps: tuple[int, ...]
    numbers: Mapping[int, int]
    kept: bool
    counted: bool
    reads: tuple[int, ...]

    @property
    def shape(self) -> Shape:
        """See `Part`."""
        return self.shapes[self.steps[-1]]

    @property
    def work(self) -> float:
        """See `Part`."""
        return sum(_work(self.graph[step - 1], self.shapes[step]) for step in self.steps)

    def scratch_bytes(self, region: Region) -> int:
        """See `Part`."""
        regions = self._regions(region)
        values = sum(self.shapes[number].channels * part.pixels for number, part in regions.items())
        return values * _BYTES * _TEMPORARIES

    def compute(self, region: Region, read: Read, moments: Mapping[int, Moments]) -> Tensor:
        """See `Part`."""
        regions = self._regions(region)
        last_use = {source: step for step in self.steps for source in self.graph[step - 1].inputs}
        patches: dict[int, Patch] = {}
        for number, part in regions.items():
            if number not in self.steps:
                values = read(self.numbers[number], part)
                patches[number] = Patch(values=values, region=part, shape=self.shapes[number])
        for step in self.steps:
            node = self.graph[step - 1]
            known = moments[self.numbers[node.inputs[0]]] if node.operation.takes_moments else None
            values = node.operation.compute(
                regions[step], [patches.get(source) for source in node.inputs], known
            )
            for source in node.inputs:
                if last_use[source] == step:
                    patches.pop(source, None)
            patches[step] = Patch(values=values, region=regions[step], shape=self.shapes[step])
        return patches[self.steps[-1]].values

    def _regions(self, region: Region) -> dict[int, Region]:
        """The region of every value that this region of the part's value is made of."""
        regions = {self.steps[-1]: region}
        for step in reversed(self.steps):
            node = self.graph[step - 1]
            shapes = [self.shapes[source] for source in node.inputs]
            wanted = node.operation.needs(regions[step], *shapes)
            for source, part in zip(node.inputs, wanted, strict=True):
                if part is not None:
                    before = regions.get(source)
                    regions[source] = part if before is None else _around(before, part)
        return regions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cuts:
    """Which outputs of a graph's nodes are kept, and which are counted.

    inputs, users   of every node, those whose values (not only their moments) are needed
    """

    graph: Graph = field(repr=False)
    shapes: Sequence[Shape]
    kept: set[int]
    counted: set[int]
    inputs: Mapping[int, Sequence[int]]
    users: Mapping[int, Sequence[int]]

    @classmethod
    def of(cls, graph: Graph, shapes: Sequence[Shape]) -> _Cuts:
        counted = {node.inputs[0] for node in graph if node.operation.takes_moments}
        inputs = {}
        users: dict[int, list[int]] = {number: [] for number in range(len(shapes))}
        for number, node in enumerate(graph, start=1):
            of_inputs = [shapes[source] for source in node.inputs]
            needs = node.operation.needs(shapes[number].region, *of_inputs)
            inputs[number] = [
                source for source, need in zip(node.inputs, needs, strict=True) if need is not None
            ]
            for source in set(node.inputs):
                users[source].append(number)
        cuts = cls(
            graph=graph,
            shapes=shapes,
            kept={len(graph)} | {i for of_node in inputs.values() for i in of_node if i in counted},
            counted=counted,
            inputs=inputs,
            users=users,
        )
        while wanted := cuts._missing():
            cuts.kept.update(wanted)
        cuts._spare()
        return cuts

    def chain(self, end: int) -> tuple[int, ...]:
        """The nodes from what is kept to this one, in order."""
        found: set[int] = set()
        waiting = [end]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting += [i for i in self.inputs[node] if i not in self.kept and i > 0]
        return tuple(sorted(found))

    def sources(self, end: int) -> tuple[int, ...]:
        """What is kept (or the image) that the chain of a node begins with."""
        chain = self.chain(end)
        return tuple(sorted({i for node in chain for i in self.inputs[node]} - set(chain)))

    def _costly(self, node: int) -> list[int]:
        """The layers with weights in the chain of a node."""
        return [step for step in self.chain(node) if self.graph[step - 1].operation.multiplies]

    def _missing(self) -> set[int]:
        """What is to be kept besides, as far as can be seen now."""
        found: set[int] = set()
        for node in self.inputs:
            costly = self._costly(node)
            if node in costly:
                found.update(costly[:-1])
            sources = self.sources(node)
            shared = len(self.users[node]) > 1 and (costly or len(sources) > 1)
            # A sum takes less memory than what is added up, which can go then.
            less = 2 * _size(self.shapes[node]) <= sum(_size(self.shapes[i]) for i in sources)
            if shared or (len(sources) > 1 and less):
                found.add(node)
        return found - self.kept

    def _spare(self) -> None:
        """Do not keep large values that are cheap to compute again from smaller ones."""
        work = [0.0, *map(_work, self.graph, self.shapes[1:])]
        large = max(_size(self.shapes[node]) for node in self.kept) / 2
        for node in sorted(self.counted - {len(self.graph)}):
            chain = self.chain(node)
            made_of = sum(_size(self.shapes[source]) for source in self.sources(node) if source)
            if (
                sum(work[step] for step in chain) <= AGAIN * sum(work)
                and _size(self.shapes[node]) > max(large, made_of)
                and len(self._costly(node)) <= 1
                and self._feeds_one(node)
            ):
                self.kept.remove(node)

    def _feeds_one(self, node: int) -> bool:
        """Whether one costly layer alone goes on from here, the next thing that is kept."""
        while len(self.users[node]) == 1:
            (node,) = self.users[node]
            costly = self.graph[node - 1].operation.multiplies > 0
            if costly or node in self.kept:
                return costly
        return False


def _work(node: Node, shape: Shape) -> float:
    """Multiply-adds, about: those of weights, and one for each value."""
    return shape.region.pixels * (node.operation.multiplies + shape.channels)


def _size(shape: Shape) -> int:
    return shape.channels * shape.region.pixels


def _around(a: Region, b: Region) -> Region:
    """The smallest region that holds both."""
    rows, cols = (
        range(min(one.start, two.start), max(one.stop, two.stop))
        for one, two in zip(a, b, strict=True)
    )
    return Region(rows, cols)
