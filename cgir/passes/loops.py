"""Recognition of recurrent layers in loops over their cells."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product
from math import prod
from typing import NamedTuple

from cgir.graph import Attr, Graph, Node, Param, Shape, attributes
from cgir.ops import OPS

from .rewrite import origin, reads_parameter, rebuild

SKIPPED = ("movement", "identity", "source")


class Cell(NamedTuple):
    """A cell: the number of gates that its weights stack, and its operators in one iteration.

    Biases and activations are not among `ops`; `activations` are the defaults, with how often each is applied.
    """

    op: str
    gates: int
    ops: dict[str, int]
    activations: tuple[str, ...]
    applied: tuple[int, ...]


# Hochreiter and Schmidhuber 1997; Cho et al. 2014 with the reset after the product, as cuDNN, PyTorch and Keras have
# it; Elman 1990
CELLS = (
    Cell("LSTM", 4, {"MatMul": 2, "Mul": 3, "Add": 2}, ("sigmoid", "tanh"), (3, 2)),
    Cell("GRU", 3, {"MatMul": 2, "Mul": 3, "Add": 4, "Sub": 1}, ("sigmoid", "tanh"), (2, 1)),
    Cell("RNN", 1, {"MatMul": 2, "Add": 1}, ("tanh",), (1,)),
)
# names as in ONNX, in lower case
ACTIVATIONS = {
    "tanh": {"Tanh": 1}, "sigmoid": {"Sigmoid": 1}, "relu": {"ReLU": 1}, "elu": {"ELU": 1}, "selu": {"SELU": 1},
    "softplus": {"Softplus": 1}, "softsign": {"Softsign": 1}, "linear": {},
    "hardsigmoid": {"Add": 1, "ReLU6": 1, "Div": 1},
}  # fmt: skip


def _cell_with(counts: Counter[str]) -> tuple[Cell, dict[str, Attr]] | None:
    """The cell of which these are the operators in one iteration, and its activations if they are not the defaults."""
    for cell in CELLS:
        for names in product(ACTIVATIONS, repeat=len(cell.activations)):
            ops = Counter(cell.ops)
            for name, times in zip(names, cell.applied, strict=True):
                for op, count in ACTIVATIONS[name].items():
                    ops[op] += count * times
            if ops == counts:
                # an LSTM applies the last one to its cell state and to what it returns
                listed = (*names, names[-1]) if cell.op == "LSTM" else names
                return cell, {} if names == cell.activations else {"activations": listed}
    return None


class _CellInputs(NamedTuple):
    """Inputs of a cell in one iteration.

    Attributes:
        kernel: weight of the input.
        recurrent: weight of the state.
        biases: as vectors.
        sequence: node of which it reads one element an iteration.
        sequence_shape: (features, steps).
        states: nodes of the initial states, those of the layer's own zeros left out.
    """

    kernel: Param
    recurrent: Param
    biases: tuple[Param, ...]
    sequence: int
    sequence_shape: Shape
    states: tuple[int, ...]


def recognize_recurrent(graph: Graph) -> Graph:
    """Replace a `Loop` whose body is the cell of an LSTM, a GRU or a simple RNN by that layer.

    Two that run in opposite directions become one bidirectional layer.
    """
    if not any(node.op == "Loop" for node in graph.nodes):
        return graph
    nodes: list[Node | None] = list(graph.nodes)
    for index, node in enumerate(graph.nodes):
        if node.op != "Loop":
            continue
        body = _body(graph, index)
        layer = _layer(graph, index, body)
        live = {i for i in body if OPS[graph.nodes[i].op].category != "source" and graph.nodes[i].shape}
        if layer is None or any(reader not in body and reader != index for i in live for reader in graph.consumers[i]):
            continue
        nodes[index] = layer
        for i in live:
            nodes[i] = None
    # The rest of the body are counters; they depend on no input and are folded.
    return _both_directions(rebuild(graph, nodes))


def _body(graph: Graph, loop: int) -> list[int]:
    """The nodes of a loop's body: they stand right before it, under its path."""
    path = f"{graph.nodes[loop].name.partition('#')[0]}.body"
    body = []
    for index in range(loop - 1, -1, -1):
        module = graph.nodes[index].module
        if module == path or module.startswith(f"{path}."):
            body.append(index)
        elif graph.nodes[index].op != "Param":
            break
    return body


def _layer(graph: Graph, loop: int, body: list[int]) -> Node | None:
    """The recurrent layer that a loop computes, None if there is none."""
    node = graph.nodes[loop]
    counted = [i for i in body if OPS[graph.nodes[i].op].category not in SKIPPED and graph.nodes[i].shape]
    biases = [i for i in counted if graph.nodes[i].op == "Add" and _bias(graph, i) is not None]
    counts = Counter(graph.nodes[i].op for i in counted if i not in biases)
    found = _cell_with(counts)
    trips = node.attr("trips")
    if found is None or trips is None:
        return None
    cell, activations = found
    inputs = _cell_inputs(graph, cell, body, counted, sorted(biases))
    hidden = inputs.recurrent.shape[0] if inputs is not None else 0
    if (
        inputs is None
        or inputs.recurrent.shape[1] != cell.gates * hidden
        or inputs.kernel.shape[1] != cell.gates * hidden
    ):
        return None
    weights = [Param(p.id, (p.shape[1], p.shape[0])) for p in (inputs.kernel, inputs.recurrent)]
    reverse: dict[str, Attr] = {"reverse": True} if _origin_and_flips(graph, inputs.sequence)[1] % 2 else {}
    # one element for each round, also where the steps are the axis that a frontend takes for the batch
    sequence_shape = (inputs.sequence_shape[0], trips)
    return replace(
        node,
        op=cell.op,
        inputs=(inputs.sequence, *inputs.states),
        in_shapes=(sequence_shape, *((hidden, 1) for _ in inputs.states)),
        shape=(hidden, trips),
        params=(*weights, *inputs.biases),
        attrs=attributes({"hidden": hidden, "layers": 1, "bidirectional": False, **activations, **reverse}),
    )


def _bias(graph: Graph, index: int) -> Param | None:
    """The parameter that a sum adds to a computed tensor."""
    for source in graph.nodes[index].inputs:
        operand = graph.nodes[origin(graph, source)]
        if operand.op == "Param":
            return operand.params[0]
    return None


def _cell_inputs(
    graph: Graph, cell: Cell, body: list[int], counted: list[int], biases: list[int]
) -> _CellInputs | None:
    """The inputs of a cell: one product reads an element of the sequence, the other one the previous state."""
    inside = set(body)
    products = sorted(i for i in counted if graph.nodes[i].op == "MatMul")
    kernel = recurrent = None
    sequence = -1
    sequence_shape: Shape = ()
    hidden = -1
    for index in products:
        left, right = (_computed(graph, source) for source in graph.nodes[index].inputs)
        weight = graph.nodes[origin(graph, right)]
        if weight.op != "Param" or len(weight.shape) != 2:
            return None
        element = graph.nodes[left]
        source = _computed(graph, element.inputs[0]) if element.inputs else left
        if left in inside and element.op == "Slice" and source not in inside:
            kernel, sequence = Param(weight.params[0].id, weight.shape), source
            sequence_shape = element.in_shapes[0]
        else:
            recurrent = Param(weight.params[0].id, weight.shape)
            hidden = left
    if kernel is None or recurrent is None or len(sequence_shape) != 2:
        return None
    gated = {
        source
        for i in counted
        if graph.nodes[i].op == "Mul"
        for source in (_computed(graph, operand) for operand in graph.nodes[i].inputs)
        if source not in inside
    }
    states = _initial_states(graph, cell, hidden, gated)
    if states is None:
        return None
    return _CellInputs(kernel, recurrent, _bias_vectors(graph, biases), sequence, sequence_shape, states)


def _computed(graph: Graph, index: int) -> int:
    """The node that computed a tensor, skipping identities; first states of a loop read two nodes."""
    while graph.nodes[index].op == "Identity" and len(graph.nodes[index].inputs) == 1:
        index = graph.nodes[index].inputs[0]
    return index


def _initial_states(graph: Graph, cell: Cell, hidden: int, gated: set[int]) -> tuple[int, ...] | None:
    """The nodes of a layer's initial states, none if all are its own zeros; None where some are trained, or unclear.

    Args:
        graph: of the loop.
        cell: of the layer.
        hidden: the state that the recurrent product reads.
        gated: states that gates multiply: an LSTM's cell state, which one loop may have computed with the hidden one.
    """
    states = [hidden, *gated] if cell.op == "LSTM" else [hidden]
    if len(states) != (2 if cell.op == "LSTM" else 1) or (cell.op != "LSTM" and gated - {hidden}):
        return None
    # a state that depends on no input reads what makes it depend on one, and its value
    starts = {
        source: graph.nodes[source].inputs[1]
        for source in states
        if graph.nodes[source].op == "Identity" and len(graph.nodes[source].inputs) == 2
    }
    if any(reads_parameter(graph, start) for start in starts.values()):
        return None
    return () if len(starts) == len({*states}) else tuple(starts.get(source, source) for source in states)


def _bias_vectors(graph: Graph, biases: list[int]) -> tuple[Param, ...]:
    """The biases as vectors; one parameter of two rows is two of them."""
    params = [param for param in (_bias(graph, i) for i in biases) if param is not None]
    if len(params) == 2 and params[0] == params[1] and len(params[0].shape) == 2:
        return tuple(Param(params[0].id + part, (prod(params[0].shape) // 2,)) for part in (".input", ".recurrent"))
    return tuple(params)


def _both_directions(graph: Graph) -> Graph:
    """Merge two layers of one kind that read one sequence in opposite directions into a bidirectional layer."""
    nodes: list[Node | None] = list(graph.nodes)
    alias: dict[int, int] = {}
    layers = [
        i
        for i, node in enumerate(graph.nodes)
        if node.op in ("LSTM", "GRU", "RNN") and not node.attr("bidirectional") and len(node.inputs) == 1
    ]
    for first in layers:
        for second in layers:
            pair = graph.nodes[first], graph.nodes[second]
            if first >= second or nodes[first] is not pair[0] or nodes[second] is not pair[1]:
                continue
            steps = [_origin_and_flips(graph, node.inputs[0]) for node in pair]
            forward, backward = ({k: v for k, v in node.attrs if k != "reverse"} for node in pair)
            is_same_layer = (
                pair[0].kind._replace(attrs=()) == pair[1].kind._replace(attrs=())
                and forward == backward
                and steps[0][0] == steps[1][0]
            )
            if not is_same_layer or [flips for _, flips in steps] != [0, 1]:
                continue
            shape = (2 * pair[0].shape[0], *pair[0].shape[1:])
            attrs = attributes({**forward, "bidirectional": True})
            nodes[first] = replace(pair[0], shape=shape, params=pair[0].params + pair[1].params, attrs=attrs)
            nodes[second], alias[second] = None, first
            _drop_concat(graph, nodes, alias, first, second, shape)
    return rebuild(graph, nodes, alias)


def _origin_and_flips(graph: Graph, index: int) -> tuple[int, int]:
    """The node that computed a tensor, skipping movement, and the number of reversals skipped."""
    flips = 0
    while graph.nodes[index].inputs and OPS[graph.nodes[index].op].category in ("movement", "identity"):
        flips += graph.nodes[index].op == "Shuffle" and graph.nodes[index].in_shapes[0] == graph.nodes[index].shape
        index = graph.nodes[index].inputs[0]
    return index, flips


def _drop_concat(
    graph: Graph, nodes: list[Node | None], alias: dict[int, int], first: int, second: int, shape: Shape
) -> None:
    """Remove the concatenation of both directions: it is what the bidirectional layer returns."""
    for index, node in enumerate(graph.nodes):
        if node.op == "Concat" and node.shape == shape and [origin(graph, i) for i in node.inputs] == [first, second]:
            nodes[index], alias[index] = None, first
