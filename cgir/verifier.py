"""Graph verifier: every invariant, in one place.

All graphs: inputs stand before their consumers and number as many as `in_shapes`; operators are in the vocabulary;
shapes are tuples of non-negative integers, and have fewer than 2^63 elements; texts can be written as UTF-8, so hold no
half of a surrogate pair; attributes are sorted, hashable and fit for JSON; what an operator's
geometry needs is there and agrees with its shapes; a parameter has one shape; an Input has no inputs and an Output one
(none if the result does not depend on the graph's inputs). Canonical graphs ("module", "inference"): no source,
movement or identity operators, and every node lies on a path from an Input to an Output; only graphs made of nothing
but Inputs and Outputs may be disconnected.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import isnan, prod
from typing import Any

from .cost import kind_flops
from .errors import InvalidGraphError, one_line
from .graph import Graph, Node, NodeKind, Param, Shape
from .ops import OPS

LEVELS = ("raw", "module", "inference")
CONTRACTED = ("source", "movement", "identity")  # categories that canonical graphs do not contain
MAX_DEPTH = 8  # nesting of tuples in an attribute
MAX_ELEMENTS = 1 << 63  # of a tensor, which no machine can address; keeps costs within what floats can hold
_INTEGER = frozenset({int})
_RAW = Graph(())

REQUIRED = {
    "Conv": ("kernel", "stride", "padding", "dilation", "groups"),
    "ConvTranspose": ("kernel", "stride", "padding", "dilation", "groups", "output_padding"),
    "MaxPool": ("kernel", "stride", "padding", "dilation"),
    "AvgPool": ("kernel", "stride", "padding"),
    "MatMul": ("inner",),
    "GroupNorm": ("groups",),
    "LayerNorm": ("dims",),
    "LSTM": ("hidden", "layers", "bidirectional"),
    "GRU": ("hidden", "layers", "bidirectional"),
    "RNN": ("hidden", "layers", "bidirectional"),
    "Opaque": ("name",),
}


def verify(graph: Graph) -> None:
    """Check all invariants of the module's docstring.

    Raises:
        InvalidGraphError: for the first one broken; the message names the node's index, operator, name and module path.
    """
    if graph.level not in LEVELS:
        raise InvalidGraphError(f"graph {graph.name!r}: level is {graph.level!r}, expected one of {', '.join(LEVELS)}")
    if not isinstance(graph.name, str):
        raise InvalidGraphError(f"graph: its name must be a string, found {graph.name!r:.60}")
    param_shapes: dict[str, Shape] = {}
    for index, node in enumerate(graph.nodes):
        problem = next(_problems(graph, index, node), None) or _param_problem(node, param_shapes)
        if problem:
            raise InvalidGraphError(f"{_where(graph, index)}: {problem}")
    for node in graph.detached:
        # checked like a node of a raw graph that reads the first one
        stand_in = replace(node, inputs=(0,) * len(node.in_shapes)) if isinstance(node.in_shapes, tuple) else node
        problem = next(_problems(replace(graph, level="raw"), 1, stand_in), None)
        if problem:
            raise InvalidGraphError(f"graph {graph.name!r}, detached node {node.name!r} ({node.op}): {problem}")
    _check_texts(graph)
    if not any(node.op == "Output" for node in graph.nodes):
        raise InvalidGraphError(f"graph {graph.name!r} of {len(graph)} nodes has no Output node")
    if graph.level != "raw" and any(node.op not in ("Input", "Output") for node in graph.nodes):
        _check_connected(graph)


def kind_problem(kind: NodeKind) -> str | None:
    """What is wrong with nodes of a kind, wherever they stand in a raw graph; None: nothing."""
    params = tuple(Param(str(index), shape) for index, shape in enumerate(kind.param_shapes))
    node = Node(kind.op, (0,) * len(kind.in_shapes), kind.in_shapes, kind.shape, params, kind.attrs)
    return next(_problems(_RAW, 1, node), None)


def _check_texts(graph: Graph) -> None:
    """Raise InvalidGraphError where a name cannot be written as UTF-8; values of attributes are checked elsewhere."""
    nodes = (*graph.nodes, *graph.detached)
    names = [text for node in nodes for text in (node.name, node.module)]
    others = [text for node in nodes for text, _ in (*node.params, *node.attrs)]
    counts, gaps = [text for text, _ in graph.notes], [text for gap in graph.known_gaps for text in gap]
    for what, texts in (
        ("name", [graph.name]), ("name or module of a node", names), ("parameter or attribute", others),
        ("note", counts), ("known gap", gaps),
    ):  # fmt: skip
        if not _is_text(joined := "".join(texts)):
            wrong = next((text for text in texts if not _is_text(text)), joined)
            raise InvalidGraphError(
                f"graph {graph.name!r:.60}: {what} {wrong!r:.60} has half a surrogate pair, which no file can hold; "
                "rename it"
            )


def _is_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _where(graph: Graph, index: int) -> str:
    node = graph.nodes[index]
    return f"graph {graph.name!r}, node {index} ({node.op}, name {node.name!r}, module {node.module!r})"


def _problems(graph: Graph, index: int, node: Node) -> Iterator[str]:
    """What is wrong with a node, in the order in which later checks rely on earlier ones."""
    if not all(isinstance(text, str) for text in (node.op, node.name, node.module)):
        yield "op, name and module must be strings"
    if node.op not in OPS:
        yield f"operator {node.op!r} is not in the vocabulary of cgir.ops; use Opaque with attribute name={node.op!r}"
    if not isinstance(node.inputs, tuple) or not all(type(i) is int and 0 <= i < index for i in node.inputs):
        yield f"inputs {node.inputs!r} must be a tuple of indices of earlier nodes"
    if not isinstance(node.in_shapes, tuple) or len(node.in_shapes) != len(node.inputs):
        yield f"{len(node.inputs)} inputs need as many in_shapes, found {node.in_shapes!r}"
    for shape in (*node.in_shapes, node.shape):
        if not _is_shape(shape):
            yield f"shape {shape!r} must be a tuple of non-negative integers, with a product below 2^63"
    yield from _attribute_problems(node)
    if node.op == "Input" and node.inputs:
        yield f"an Input has no inputs, found {node.inputs}"
    if node.op == "Output" and len(node.inputs) > 1:
        yield f"an Output has one input, found {node.inputs}"
    is_first_state = node.op == "Identity" and node.params  # of a loop, which starts with a parameter
    if graph.level != "raw" and OPS[node.op].category in CONTRACTED and not is_first_state:
        yield (
            f"{OPS[node.op].category} operators do not occur in a canonical graph (level {graph.level!r}); "
            "run cgir.canonicalize"
        )
    yield from _param_type_problems(node)
    yield from _geometry_problems(node)
    if node.attrs or OPS[node.op].cost:
        yield from _cost_problems(node)


def _cost_problems(node: Node) -> Iterator[str]:
    given = any(name in ("flops", "trips") for name, _ in node.attrs)
    if not given and (OPS[node.op].cost is None or node.op in ("Conv", "ConvTranspose", "Linear")):
        return  # it has no cost, or its geometry is checked
    try:
        kind_flops(node.kind)
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        yield f"its FLOPs do not follow from its shapes and attributes ({one_line(error, 100)})"


def _is_shape(shape: Any) -> bool:
    if not isinstance(shape, tuple) or not _INTEGER.issuperset(map(type, shape)):
        return False
    return not shape or bool(min(shape) >= 0 and prod(shape) < MAX_ELEMENTS)


def _attribute_problems(node: Node) -> Iterator[str]:
    if not isinstance(node.attrs, tuple) or not all(
        isinstance(a, tuple) and len(a) == 2 and isinstance(a[0], str) for a in node.attrs
    ):
        yield f"attrs must be a tuple of (name, value) pairs, found {node.attrs!r}"
    names = [name for name, _ in node.attrs]
    if names != sorted(set(names)):
        yield f"attribute names must be sorted and different, found {names}; build them with cgir.graph.attributes"
    for name, value in node.attrs:
        if not _is_plain(value):
            kinds = f"a bool, int of 64 bits, float (not NaN), str or tuple of them, at most {MAX_DEPTH} deep"
            yield f"attribute {name}={value!r} must be {kinds}"
    missing = [name for name in REQUIRED.get(node.op, ()) if name not in names]
    if missing:
        yield f"attributes {missing} are missing, found {names}"


def _is_plain(value: Any, depth: int = 0) -> bool:
    if type(value) is tuple:
        return depth < MAX_DEPTH and all(_is_plain(item, depth + 1) for item in value)
    kind = type(value)
    if kind is int:
        return bool(-MAX_ELEMENTS <= value < 2 * MAX_ELEMENTS)  # of 64 bits, signed or not
    return _is_text(value) if kind is str else kind is bool or (kind is float and not isnan(value))


def _param_type_problems(node: Node) -> Iterator[str]:
    if not isinstance(node.params, tuple):
        yield f"params must be a tuple, found {node.params!r}"
    for param in node.params:
        if not (isinstance(param, tuple) and len(param) == 2 and isinstance(param[0], str) and _is_shape(param[1])):
            yield f"param {param!r} must be a Param of a string and a shape: non-negative integers, product below 2^63"


def _param_problem(node: Node, seen: dict[str, Shape]) -> str | None:
    for param in node.params:
        if seen.setdefault(param.id, param.shape) != param.shape:
            return f"parameter {param.id!r} has shape {param.shape}, but {seen[param.id]} at an earlier node"
    return None


def _geometry_problems(node: Node) -> Iterator[str]:
    if node.op in ("Conv", "ConvTranspose", "MaxPool", "AvgPool"):
        yield from _window_problems(node)
    if node.op in ("Conv", "ConvTranspose"):
        groups, in_channels, out_channels = node.attr("groups"), node.in_shapes[0][0], node.shape[0]
        if type(groups) is not int or groups < 1 or in_channels % groups or out_channels % groups:
            yield f"{in_channels} -> {out_channels} channels cannot be split into groups={groups!r}"
        channels = (out_channels, in_channels // groups) if node.op == "Conv" else (in_channels, out_channels // groups)
        yield from _weight_problems(node, channels + node.attr("kernel"), out_channels)
    if node.op == "Linear":
        if not node.in_shapes or not node.in_shapes[0] or not node.shape:
            yield f"needs an input and an output with a feature axis, found {node.in_shapes} -> {node.shape}"
        if node.shape[1:] != node.in_shapes[0][1:]:
            yield f"only the first (feature) axis may change, found {node.in_shapes[0]} -> {node.shape}"
        expected = (node.shape[0], node.in_shapes[0][0])
        transposed = node.params and node.params[0].shape == expected[::-1]  # tied to a layer that reads it straight
        yield from () if transposed else _weight_problems(node, expected, node.shape[0])


def _window_problems(node: Node) -> Iterator[str]:
    """Sliding windows: attributes have one entry per spatial dimension, and the output size follows from them."""
    kernel = node.attr("kernel")
    dims = len(kernel) if isinstance(kernel, tuple) else 0
    values = {"kernel": kernel, "stride": node.attr("stride"), "dilation": node.attr("dilation", (1,) * dims)}
    for name, value in values.items():
        if not (isinstance(value, tuple) and len(value) == dims > 0 and all(type(v) is int and v >= 1 for v in value)):
            yield f"{name}={value!r} must be a tuple of positive integers, one per spatial dimension"
    padding, extra = node.attr("padding"), node.attr("output_padding", (0,) * dims)
    if not (isinstance(padding, tuple) and len(padding) == dims and all(_is_integers(pair, 2) for pair in padding)):
        yield f"padding={padding!r} must be a pair (before, after) for each of {dims} spatial dimensions"
    if not _is_integers(extra, dims):
        yield f"output_padding={extra!r} must be {dims} integers"
    rank = len(node.shape)
    # axes between channels and space: windows, frames, heads
    if not node.in_shapes or len(node.in_shapes[0]) != rank or rank <= dims:
        yield (
            f"a {dims}-d window needs shapes of at least {dims + 1} axes (channels first, space last), "
            f"found {node.in_shapes} -> {node.shape}"
        )
    for axis in range(dims):
        size = node.in_shapes[0][rank - dims + axis]
        expected = _window_size(
            node.op,
            size,
            kernel[axis],
            values["stride"][axis],
            sum(padding[axis]),
            values["dilation"][axis],
            extra[axis],
        )
        # Pooling may round up, which lets one window start inside the padding.
        if node.shape[rank - dims + axis] not in (
            (expected, expected + 1) if node.op.endswith("Pool") else (expected,)
        ):
            yield (
                f"axis {rank - dims + axis}: size {size} gives {expected} by kernel, stride, padding and dilation, "
                f"found shape {node.shape}"
            )


def _window_size(op: str, size: int, kernel: int, stride: int, padding: int, dilation: int, extra: int) -> int:
    reach = dilation * (kernel - 1) + 1
    return (
        (size - 1) * stride - padding + reach + extra
        if op == "ConvTranspose"
        else (size + padding - reach) // stride + 1
    )


def _is_integers(value: Any, length: int) -> bool:
    return isinstance(value, tuple) and len(value) == length and all(type(v) is int for v in value)


def _weight_problems(node: Node, expected: Shape, features: int) -> Iterator[str]:
    """Problems of weight and bias, which have PyTorch's layout.

    Nodes whose weight is computed from other parameters have those instead, of any number and rank: not checked.
    """
    if len(node.inputs) != 1 or not node.params or len(node.params) > 2 or len(node.params[0].shape) != len(expected):
        return
    weight, *bias = (param.shape for param in node.params)
    if bias and bias != [(features,)]:
        return
    # the weight, or a larger one that it is a part of
    if all(full and size % full == 0 for size, full in zip(weight, expected, strict=True)):
        return
    if any(size not in (1, full) for size, full in zip(weight, expected, strict=True)):
        yield f"weight has shape {weight}, expected {expected} from the input, the output and the attributes"


def _check_connected(graph: Graph) -> None:
    needed = [False] * len(graph)
    for index in range(len(graph) - 1, -1, -1):
        node = graph.nodes[index]
        needed[index] = node.op == "Output" or needed[index]
        for source in node.inputs if needed[index] else ():
            needed[source] = True
    for index, is_needed in enumerate(needed):
        if not is_needed or index not in graph.reached:
            missing = "no Output depends on it" if index in graph.reached else "it does not depend on any Input"
            raise InvalidGraphError(
                f"{_where(graph, index)}: {missing}, so a canonical graph cannot contain it; run cgir.canonicalize"
            )
