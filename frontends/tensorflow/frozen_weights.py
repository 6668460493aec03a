"""Weights of a frozen graph: its floating-point constants with axes, except the statistics of normalisation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import prod

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import function_pb2

from .graph_def import FLOATING, VARIABLE_OPS, NodeDef, Program, data_inputs, get_attribute, source_of
from .loop_analysis import invariant_variables

PASSING_OPS = frozenset(("Identity", "Reshape", "Squeeze", "ExpandDims", "Cast", "StopGradient", "Enter"))
WEIGHTED_OPS = frozenset(
    (
        "BatchMatMulV2",
        "BiasAdd",
        "Conv2D",
        "Conv2DBackpropInput",
        "Conv3D",
        "Conv3DBackpropInputV2",
        "DepthwiseConv2dNative",
        "Einsum",
        "GatherV2",
        "MatMul",
    )
)


def weight_names(nodes: Iterable[NodeDef], functions: Mapping[str, function_pb2.FunctionDef]) -> set[str]:
    """Names of the constants that are weights.

    Args:
        nodes: of the graph or function.
        functions: of the model.
    """
    by_name, readers = _indexed(nodes)
    names = set()
    for node in by_name.values():
        if node.op == "Const" and get_attribute(node, "dtype") in FLOATING:
            size = _size(node)
            is_kernel = bool(size) and _feeds_layer(by_name, readers, node.name)
            fillers = "zeros" if is_kernel else "zeros|ones"
            if (is_kernel or prod(size) > 1) and not _is_filled(node, fillers):
                names.add(node.name)
    return names - _statistics(by_name, readers) - _loop_starts(by_name, functions) - _norm_fillers(by_name)


def weights_are_constants(program: Program) -> bool:
    """Whether a model that has no variable is a frozen one: a constant feeds a layer, in its graph or a function."""
    if any(tensor.variable is not None for tensor in program.captures.values()) or any(
        node.op in VARIABLE_OPS for node in program.nodes
    ):
        return False
    for nodes in (program.nodes, *(function.node_def for function in program.functions.values())):
        by_name, readers = _indexed(nodes)
        for node in by_name.values():
            is_weight = node.op == "Const" and get_attribute(node, "dtype") in FLOATING and _size(node)
            if is_weight and _feeds_layer(by_name, readers, node.name):
                return True
    return False


def _indexed(nodes: Iterable[NodeDef]) -> tuple[dict[str, NodeDef], dict[str, list[NodeDef]]]:
    """Nodes by name, and the nodes that read each."""
    by_name = {node.name: node for node in nodes}
    readers: dict[str, list[NodeDef]] = {}
    for node in by_name.values():
        for source in _sources(node):
            readers.setdefault(source, []).append(node)
    return by_name, readers


def _size(node: NodeDef) -> list[int]:
    """The size of a Const."""
    return [dim.size for dim in get_attribute(node, "value").tensor_shape.dim]


def _feeds_layer(by_name: dict[str, NodeDef], readers: dict[str, list[NodeDef]], name: str) -> bool:
    """Whether a constant of one element is a layer's weight and not a setting."""
    stack, visited = [name], {name}
    while stack:
        for reader in readers.get(stack.pop(), ()):
            adds_bias = reader.op in ("Add", "AddV2") and any(
                by_name[source].op in WEIGHTED_OPS for source in _sources(reader) if source in by_name
            )
            if reader.op in WEIGHTED_OPS or adds_bias:
                return True
            if reader.op in PASSING_OPS and reader.name not in visited:
                visited.add(reader.name)
                stack.append(reader.name)
    return False


def _sources(node: NodeDef) -> list[str]:
    """Names of the nodes that a node reads."""
    return [source_of(ref) for ref in data_inputs(node)]


def _loop_starts(by_name: dict[str, NodeDef], functions: Mapping[str, function_pb2.FunctionDef]) -> set[str]:
    """Names of the constants of one repeated number that loops start from and change, such as zeros."""
    starts: set[str] = set()
    for node in by_name.values():
        if node.op in ("While", "StatelessWhile"):
            invariant = invariant_variables(functions, get_attribute(node, "body").name)
            origins = [_origin(by_name, source) for source in _sources(node)]
            starts.update(name for slot, name in enumerate(origins) if slot not in invariant)
    return {name for name in starts if _is_constant(by_name, name) and _is_uniform(by_name[name])}


def _norm_fillers(by_name: dict[str, NodeDef]) -> set[str]:
    """Names of the ones and zeros that stand for the scale and shift that a fused norm does not have."""
    names: set[str] = set()
    for node in by_name.values():
        if node.op.startswith("FusedBatchNorm"):
            names.update(_origin(by_name, source) for source in _sources(node)[1:3])
    return {name for name in names if _is_constant(by_name, name) and _is_filled(by_name[name], "Const")}


def _is_filled(node: NodeDef, functions: str) -> bool:
    """Whether a Const is what tf.zeros, tf.ones_like ... made: by the name that they give, and what it holds."""
    made = re.fullmatch(rf"({functions})(_like)?(_\d+)?", node.name.rpartition("/")[2])
    return made is not None and _is_uniform(node)


def _is_uniform(node: NodeDef) -> bool:
    """Whether all elements of a Const are equal; files may hold one element for all."""
    proto = get_attribute(node, "value")
    if proto.tensor_content:
        elements = np.frombuffer(proto.tensor_content, tf.as_dtype(proto.dtype).as_numpy_dtype)
        return bool((elements == elements[:1]).all())
    return len(set(proto.float_val) | set(proto.double_val) | set(proto.half_val)) <= 1


def _statistics(by_name: dict[str, NodeDef], readers: dict[str, list[NodeDef]]) -> set[str]:
    """Names of the means and variances of batch normalisation.

    Variances are read by a root, after a number is added; means are multiplied by that root and subtracted, or
    subtracted before.
    """
    statistics: set[str] = set()
    scales: set[str] = set()
    for node in by_name.values():
        if node.op not in ("Rsqrt", "Sqrt") or not _sources(node):
            continue
        total = by_name.get(_origin(by_name, _sources(node)[0]))
        variances = (
            [_origin(by_name, source) for source in _sources(total)]
            if total is not None and total.op in ("Add", "AddV2")
            else []
        )
        variances = [name for name in variances if name in by_name and by_name[name].op == "Const"]
        if len(variances) == 2:
            statistics.update(variances)
            scales.add(node.name)
            scales.update(reader.name for reader in readers.get(node.name, ()) if reader.op in ("Mul", "RealDiv"))
    for scale in scales:
        for product in readers.get(scale, ()):
            if product.op in ("Mul", "RealDiv"):
                statistics |= _means(by_name, readers, product, scale)
    return statistics | _normalised_inputs(by_name)


def _normalised_inputs(by_name: dict[str, NodeDef]) -> set[str]:
    """Names of the mean and the deviation in `(x - mean) / deviation`, with which inputs are normalised."""
    names: set[str] = set()
    for node in by_name.values():
        if node.op not in ("RealDiv", "Div") or len(_sources(node)) < 2:
            continue
        centred = by_name.get(_origin(by_name, _sources(node)[0]))
        if centred is not None and centred.op == "Sub":
            deviation = _origin(by_name, _sources(node)[1])
            while deviation in by_name and by_name[deviation].op in ("Sqrt", "Maximum"):
                deviation = _origin(by_name, _sources(by_name[deviation])[0])
            pair = {deviation, _origin(by_name, _sources(centred)[1])}
            names |= pair if all(_is_constant(by_name, name) for name in pair) else set()
    return names


def _is_constant(by_name: dict[str, NodeDef], name: str) -> bool:
    return name in by_name and by_name[name].op == "Const"


def _means(by_name: dict[str, NodeDef], readers: dict[str, list[NodeDef]], product: NodeDef, scale: str) -> set[str]:
    """The mean in `beta - mean * scale`, or in `(x - mean) * scale`."""
    operands = [_origin(by_name, source) for source in _sources(product) if source != scale]
    if not operands or operands[0] not in by_name:
        return set()
    node = by_name[operands[0]]
    subtractions = [
        reader
        for reader in readers.get(product.name, ())
        if reader.op == "Neg" or (reader.op == "Sub" and _sources(reader)[1] == product.name)
    ]
    if node.op == "Const":
        return {node.name} if subtractions else set()
    if node.op == "Sub":
        mean = _origin(by_name, _sources(node)[1])
        return {mean} if mean in by_name and by_name[mean].op == "Const" else set()
    return set()


def _origin(by_name: dict[str, NodeDef], name: str) -> str:
    """The node that a tensor comes from, identities and reshapes skipped."""
    for _ in range(len(by_name)):
        node = by_name.get(name)
        if node is None or node.op not in PASSING_OPS or not _sources(node):
            break
        name = _sources(node)[0]
    return name
