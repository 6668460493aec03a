"""Write the networks of genotypes (Liu et al. 2019, the authors' cnn/model.py and cnn/operations.py) as canonical
graphs.

A cell is planned first: which operations run, at which stride, what is added, what is concatenated. `none` is left out,
and so is what reads a node with nothing but `none`; such a node is zeros and only counts in the width of the
concatenation.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from cgir.builder import GraphBuilder
from cgir.graph import Attr, Shape

from .genotype import Cell, Genotype

NONE, SKIP = "none", "skip_connect"
STEM_WIDTH = 3  # the stem has so many times the first cell's channels


class Step(NamedTuple):
    """An operation of a cell, or a "sum". Inputs are slots: the inputs the cell reads come first, then the result of
    each step.
    """

    op: str
    inputs: tuple[int, ...]
    stride: int = 1


class Plan(NamedTuple):
    """What a cell computes: of which of its two inputs, in which steps, and the slots of the live nodes among the
    `width` concatenated.
    """

    reads: tuple[int, ...]
    steps: tuple[Step, ...]
    result: tuple[int, ...]
    width: int


class Layer(NamedTuple):
    """A cell in its place. `sources` are the tensors it reads: 0 the stem, layer i is i + 1; `halved` where an input is
    twice as large as the other.
    """

    plan: Plan
    sources: tuple[int, ...]
    channels: int
    halved: tuple[bool, ...]


def reductions(layers: int) -> tuple[int, ...]:
    """The layers that are reduction cells: at one and two thirds of the depth."""
    return tuple(sorted({layers // 3, 2 * layers // 3}))


def all_nodes(cell: Cell) -> tuple[int, ...]:
    """The nodes of a cell, as states."""
    return tuple(range(2, len(cell) // 2 + 2))


def loose_ends(cell: Cell) -> tuple[int, ...]:
    """The nodes, as states, that no other node of the cell reads."""
    read = {edge.source for edge in cell}
    return tuple(state for state in all_nodes(cell) if state not in read)


def layers_of(
    genotype: Genotype, concats: tuple[tuple[int, ...], tuple[int, ...]], channels: int, layers: int
) -> list[tuple[int, Layer]] | None:
    """The cells that the last one needs, in order, each with its number; None if the network's output does not depend
    on its input.
    """
    planned: list[Layer | None] = []
    reducing = reductions(layers)
    for number in range(layers):
        reduces = number in reducing
        channels *= 2 if reduces else 1
        before = (max(number - 1, 0), number)
        alive = tuple(source == 0 or planned[source - 1] is not None for source in before)
        plan = plan_cell(genotype[reduces], concats[reduces], reduces, alive)
        halved = (number - 1 in reducing, False)
        planned.append(
            plan and Layer(plan, tuple(before[i] for i in plan.reads), channels, tuple(halved[i] for i in plan.reads))
        )
    if planned[-1] is None:
        return None
    needed = {layers}
    for number in range(layers, 0, -1):
        layer = planned[number - 1]
        if number in needed and layer is not None:
            needed.update(layer.sources)
    return [(number, layer) for number, layer in enumerate(planned, 1) if layer is not None and number in needed]


@lru_cache(maxsize=4096)
def plan_cell(cell: Cell, concat: tuple[int, ...], reduces: bool, alive: tuple[bool, ...]) -> Plan | None:
    """The live part of a cell whose inputs are alive or zeros; None if all it concatenates is zeros."""
    steps: list[Step] = []
    # where the value of each state is
    slots: list[int | None] = [slot if lives else None for slot, lives in enumerate(alive)]
    for node in range(len(cell) // 2):
        terms: list[int] = []
        for op, source in cell[2 * node : 2 * node + 2]:
            slot = slots[source]
            if op == NONE or slot is None:
                continue
            stride = 2 if reduces and source < 2 else 1
            if op != SKIP or stride == 2:
                steps.append(Step(op, (slot,), stride))
                slot = len(steps) + 1
            terms.append(slot)
        if len(terms) == 2:
            steps.append(Step("sum", tuple(terms)))
            terms = [len(steps) + 1]
        slots.append(terms[0] if terms else None)
    result = tuple(slot for slot in (slots[state] for state in concat) if slot is not None)
    return _compact(steps, result, len(concat)) if result else None


def _compact(steps: list[Step], result: tuple[int, ...], width: int) -> Plan:
    """Leave out inputs that nothing reads; sums that only another sum reads become part of it, as in canonical graphs."""
    uses = [slot for step in steps for slot in step.inputs] + list(result)
    summed = {slot for step in steps if step.op == "sum" for slot in step.inputs}
    inlined = {
        slot for slot, step in enumerate(steps, 2) if step.op == "sum" and slot in summed and uses.count(slot) == 1
    }
    reads = tuple(slot for slot in (0, 1) if slot in uses)
    kept = [slot for slot in range(2, len(steps) + 2) if slot not in inlined]
    place = {slot: new for new, slot in enumerate((*reads, *kept))}

    def expanded(slots: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(
            new for slot in slots for new in (expanded(steps[slot - 2].inputs) if slot in inlined else (place[slot],))
        )

    placed = tuple(steps[slot - 2]._replace(inputs=expanded(steps[slot - 2].inputs)) for slot in kept)
    return Plan(reads, placed, tuple(place[slot] for slot in result), width)


def write(
    build: GraphBuilder, layers: list[tuple[int, Layer]] | None, image: Shape, channels: int, classes: int
) -> None:
    """The network for images (C, H, W): stem, cells, linear layer. Without layers, an input and an output that are not
    connected.
    """
    x = build.input(image)
    if layers is None:
        build.add_node("Output", (), (classes,))
        return
    values = {0: build.subgraph(_stem, x, STEM_WIDTH * channels)}
    for number, layer in layers:
        values[number] = build.subgraph(
            _cell, tuple(values[source] for source in layer.sources), layer.plan, layer.channels, layer.halved
        )
    build.subgraph(_head, values[layers[-1][0]], classes)


def _stem(build: GraphBuilder, x: int, channels: int) -> int:
    return build.batch_norm(build.conv(x, channels, 3))


def _head(build: GraphBuilder, x: int, classes: int) -> int:
    return build.output(build.linear(build.global_avg_pool(x), classes))


def _cell(build: GraphBuilder, x: tuple[int, ...], plan: Plan, channels: int, halved: tuple[bool, ...]) -> int:
    values = [
        build.subgraph(_factorized_reduce if half else _relu_conv_bn, value, channels)
        for value, half in zip(x, halved, strict=True)
    ]
    for op, inputs, stride in plan.steps:
        if op == "sum":
            values.append(build.add(*(values[slot] for slot in inputs)))
        else:
            values.append(build.subgraph(_operation, values[inputs[0]], op, stride))
    result = tuple(values[slot] for slot in plan.result)
    if len(result) == plan.width:
        return build.concat(*result)
    return build.add_node("Concat", result, (channels * plan.width, *build.shape(result[0])[1:]))


def _operation(build: GraphBuilder, x: int, op: str, stride: int) -> int:
    channels, kernel = build.shape(x)[0], int(op[-1]) if op[-1].isdigit() else 0
    kind = op.rpartition("_")[0]
    if op == SKIP:
        return _factorized_reduce(build, x, channels)
    if kind == "max_pool":
        return build.max_pool(x, kernel, stride, kernel // 2)
    if kind == "avg_pool":
        return build.avg_pool(x, kernel, stride, kernel // 2, include_pad=False)
    if kind == "sep_conv":
        return _separable(build, _separable(build, x, kernel, stride), kernel)
    if kind == "dil_conv":
        return _separable(build, x, kernel, stride, dilation=2)
    if kind == "conv":
        return build.batch_norm(build.conv(build.relu(x), channels, kernel, stride))
    y = _conv(build, build.relu(x), channels, (1, kernel), (1, stride))
    return build.batch_norm(_conv(build, y, channels, (kernel, 1), (stride, 1)))


def _relu_conv_bn(build: GraphBuilder, x: int, channels: int) -> int:
    return build.batch_norm(build.conv(build.relu(x), channels, 1))


def _factorized_reduce(build: GraphBuilder, x: int, channels: int) -> int:
    """Half the size: two 1x1 convolutions of stride 2, the second on positions shifted by one."""
    x = build.relu(x)
    inner, height, width = build.shape(x)
    halves = [
        _conv(build, x, channels // 2, (1, 1), (2, 2), seen=(inner, height - shift, width - shift)) for shift in (0, 1)
    ]
    return build.batch_norm(build.concat(*halves))


def _separable(build: GraphBuilder, x: int, kernel: int, stride: int = 1, dilation: int = 1) -> int:
    """ReLU, depthwise and 1x1 convolution, BatchNorm."""
    channels = build.shape(x)[0]
    y = _conv(build, build.relu(x), channels, (kernel, kernel), (stride, stride), dilation, channels)
    return build.batch_norm(build.conv(y, channels, 1))


def _conv(
    build: GraphBuilder,
    x: int,
    channels: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: int = 1,
    groups: int = 1,
    seen: Shape | None = None,
) -> int:
    """A convolution without bias of any kernel, padded as much as keeps the size at stride 1; `seen` is the part of x
    it reads.
    """
    inner, *size = seen or build.shape(x)
    pads = [dilation * (k // 2) for k in kernel]
    outer = [
        (n + 2 * pad - dilation * (k - 1) - 1) // s + 1 for n, pad, k, s in zip(size, pads, kernel, stride, strict=True)
    ]
    attrs: dict[str, Attr] = {
        "kernel": kernel,
        "stride": stride,
        "padding": tuple((p, p) for p in pads),
        "dilation": (dilation, dilation),
        "groups": groups,
    }
    return build.add_node(
        "Conv",
        (x,),
        (channels, *outer),
        ((channels, inner // groups, *kernel),),
        None if seen is None else (seen,),
        **attrs,
    )
