"""Canonical graphs of the networks of genotypes (Liu et al. 2019, the authors' cnn/model.py and cnn/operations.py).

Cells are compiled first: which operations run, at which stride, what is added, what is concatenated. `none` is left
out, and so is what reads a node with nothing but `none`; such a node is zeros and only counts in the width of the
concatenation.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from cgir.builder import GraphBuilder
from cgir.graph import Attr, Shape
from frontends.spaces.cell_program import SUM, CellProgram, Instruction, flatten_sums

from .genotype import Cell, Genotype

NONE, SKIP = "none", "skip_connect"
STEM_MULTIPLIER = 3  # channels of the stem by those of the first cell


class PlacedCell(NamedTuple):
    """A cell at its place in the network.

    Attributes:
        program: what it computes.
        sources: the tensors it reads, 0 the stem, i the result of layer i, counted from 1.
        channels: of each of its nodes.
        halved: for each source, whether it is twice as large as the cell expects and is reduced.
    """

    program: CellProgram
    sources: tuple[int, ...]
    channels: int
    halved: tuple[bool, ...]


def reduction_layers(layers: int) -> tuple[int, ...]:
    """The layers that are reduction cells: at one and two thirds of the depth."""
    return tuple(sorted({layers // 3, 2 * layers // 3}))


def all_nodes(cell: Cell) -> tuple[int, ...]:
    """The nodes of a cell, as states."""
    return tuple(range(2, len(cell) // 2 + 2))


def loose_ends(cell: Cell) -> tuple[int, ...]:
    """The nodes, as states, that no other node of the cell reads."""
    read = {edge.source for edge in cell}
    return tuple(state for state in all_nodes(cell) if state not in read)


def compile_network(
    genotype: Genotype, concats: tuple[tuple[int, ...], tuple[int, ...]], channels: int, layers: int
) -> list[tuple[int, PlacedCell]] | None:
    """The cells that the last one needs, in order, each with its number, counted from 1.

    Args:
        genotype: both cells.
        concats: the states that each of them concatenates.
        channels: of the first layer.
        layers: number of cells.

    Returns:
        None if the network's output does not depend on its input.
    """
    cells: list[PlacedCell | None] = []
    reducing = reduction_layers(layers)
    for number in range(layers):
        reduces = number in reducing
        channels *= 2 if reduces else 1
        before = (max(number - 1, 0), number)
        alive = tuple(source == 0 or cells[source - 1] is not None for source in before)
        program = compile_cell(genotype[reduces], concats[reduces], reduces, alive)
        halved = (number - 1 in reducing, False)
        cells.append(
            program
            and PlacedCell(
                program,
                tuple(before[i] for i in program.inputs),
                channels,
                tuple(halved[i] for i in program.inputs),
            )
        )
    if cells[-1] is None:
        return None
    needed = {layers}
    for number in range(layers, 0, -1):
        cell = cells[number - 1]
        if number in needed and cell is not None:
            needed.update(cell.sources)
    return [(number, cell) for number, cell in enumerate(cells, 1) if cell is not None and number in needed]


@lru_cache(maxsize=4096)
def compile_cell(cell: Cell, concat: tuple[int, ...], reduces: bool, alive: tuple[bool, ...]) -> CellProgram | None:
    """The live part of a cell; None if all it concatenates is zeros.

    Args:
        cell: its pairs.
        concat: the states it concatenates.
        reduces: whether it is a reduction cell.
        alive: for each of its two inputs, whether it is not zeros.
    """
    instructions: list[Instruction] = []
    # the value of each state, None for zeros
    values: list[int | None] = [value if lives else None for value, lives in enumerate(alive)]
    for node in range(len(cell) // 2):
        terms: list[int] = []
        for op, source in cell[2 * node : 2 * node + 2]:
            value = values[source]
            if op == NONE or value is None:
                continue
            stride = 2 if reduces and source < 2 else 1
            if op != SKIP or stride == 2:
                instructions.append(Instruction(op, (value,), stride))
                value = len(instructions) + 1
            terms.append(value)
        if len(terms) == 2:
            instructions.append(Instruction(SUM, tuple(terms)))
            terms = [len(instructions) + 1]
        values.append(terms[0] if terms else None)
    results = tuple(value for value in (values[state] for state in concat) if value is not None)
    return flatten_sums(instructions, 2, results, len(concat)) if results else None


def module_names(genotype: Genotype, cells: list[tuple[int, PlacedCell]] | None, layers: int) -> dict[str, str]:
    """Names of the cells that `write_network` writes, and of their operations, by their module paths.

    Args:
        genotype: both cells.
        cells: as `compile_network` returns them.
        layers: number of cells.
    """
    names = {}
    for written, (number, cell) in enumerate(cells or ()):
        reduces = number - 1 in reduction_layers(layers)
        title = f"cell{number - 1}" + " (reduction)" * reduces
        names[f"cell{written}"] = title
        alive = tuple(i in cell.program.inputs for i in range(2))
        for k, name in enumerate(_operation_names(genotype[reduces], reduces, alive)):
            names[f"{title}.operation{k}"] = f"{title}.{name}"
    return names


def _operation_names(cell: Cell, reduces: bool, alive: tuple[bool, ...]) -> list[str]:
    """Of the operations that are instructions of `compile_cell`, in order: "edge 0->2: sep_conv_3x3"."""
    names, lives = [], list(alive)
    for node in range(len(cell) // 2):
        live = [edge for edge in cell[2 * node : 2 * node + 2] if edge.op != NONE and lives[edge.source]]
        lives.append(bool(live))
        run = (edge for edge in live if edge.op != SKIP or (reduces and edge.source < 2))
        names += [f"edge {edge.source}->{node + 2}: {edge.op}" for edge in run]
    return names


def write_network(
    build: GraphBuilder, cells: list[tuple[int, PlacedCell]] | None, image: Shape, channels: int, classes: int
) -> None:
    """The network: stem, cells, linear layer. Without cells, an input and an output that are not connected.

    Args:
        build: builder of the graph.
        cells: as `compile_network` returns them.
        image: channels, height, width.
        channels: of the first layer.
        classes: length of the logits.
    """
    x = build.input(image)
    if cells is None:
        build.add_node("Output", (), (classes,))
        return
    values = {0: build.subgraph(_stem, x, STEM_MULTIPLIER * channels)}
    for number, cell in cells:
        values[number] = build.subgraph(
            _cell, tuple(values[source] for source in cell.sources), cell.program, cell.channels, cell.halved
        )
    build.subgraph(_head, values[cells[-1][0]], classes)


def _stem(build: GraphBuilder, x: int, channels: int) -> int:
    return build.batch_norm(build.conv(x, channels, 3))


def _head(build: GraphBuilder, x: int, classes: int) -> int:
    return build.output(build.linear(build.global_avg_pool(x), classes))


def _cell(
    build: GraphBuilder, x: tuple[int, ...], program: CellProgram, channels: int, halved: tuple[bool, ...]
) -> int:
    values = [
        build.subgraph(_factorized_reduce if half else _relu_conv_bn, value, channels)
        for value, half in zip(x, halved, strict=True)
    ]
    for op, operands, stride in program.instructions:
        if op == SUM:
            values.append(build.add(*(values[operand] for operand in operands)))
        else:
            values.append(build.subgraph(_operation, values[operands[0]], op, stride))
    results = tuple(values[result] for result in program.results)
    if len(results) == program.width:
        return build.concat(*results)
    return build.add_node("Concat", results, (channels * program.width, *build.shape(results[0])[1:]))


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
    in_channels, height, width = build.shape(x)
    halves = [
        _conv(build, x, channels // 2, (1, 1), (2, 2), part=(in_channels, height - shift, width - shift))
        for shift in (0, 1)
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
    part: Shape | None = None,
) -> int:
    """A convolution without bias, padded so that the size stays at stride 1; `part` is the shape it reads of x."""
    in_channels, *size = part or build.shape(x)
    pads = [dilation * (k // 2) for k in kernel]
    out_size = [
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
        (channels, *out_size),
        ((channels, in_channels // groups, *kernel),),
        None if part is None else (part,),
        **attrs,
    )
