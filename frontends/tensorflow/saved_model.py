"""TensorFlow models in files: SavedModel folders and frozen graphs. Only the graph is read; the folder's variables are
never opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow.core.framework import graph_pb2, tensor_shape_pb2, variable_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from cgir import TraceError
from cgir.errors import one_line

from .graph_def import FLOATING, Entry, Program, Variable, attr, data_inputs, functions_of, source_of

LARGEST = 2**31 - 1  # bytes; protocol buffers cannot be larger


def saved_model(folder: Path, name: str) -> Program:
    """The serving signature of a SavedModel folder, or its only one.

    Raises:
        TraceError: the file is damaged, or there are several signatures and none is called serving_default.
    """
    path = folder / "saved_model.pb"
    model = _parsed(saved_model_pb2.SavedModel(), path, "a SavedModel")
    if not model.meta_graphs:
        raise TraceError(f"{path}: holds no graph; is it a SavedModel? a frozen graph must have another name")
    graphs = [graph for graph in model.meta_graphs if "serve" in graph.meta_info_def.tags] or list(model.meta_graphs)
    graph = graphs[0]
    signature = graph.signature_def[pick(list(graph.signature_def), str(folder))]
    inputs = [
        Entry(key, source_of(info.name), _shape(info.tensor_shape), info.dtype)
        for key, info in sorted(signature.inputs.items())
    ]
    outputs = [
        (f"output.{key}" if len(signature.outputs) > 1 else "output", info.name)
        for key, info in sorted(signature.outputs.items())
    ]
    functions = functions_of(graph.graph_def)
    return Program(graph.graph_def.node, functions, inputs, outputs, _handles(graph), name=name or folder.name)


def pick(signatures: list[str], where: str) -> str:
    """The signature to follow.

    Raises:
        TraceError: there is none, or several without a serving_default.
    """
    usable = [key for key in signatures if not key.startswith("__saved_model")]
    if "serving_default" in usable:
        return "serving_default"
    if len(usable) == 1:
        return usable[0]
    if not usable:
        raise TraceError(
            f"{where}: the SavedModel has no signature; save it with signatures=..., or trace one of its functions"
        )
    raise TraceError(
        f"{where}: none of the signatures {sorted(usable)} is called serving_default; load the model and trace model.signatures[...]"
    )


def frozen_file(path: Path, name: str) -> Program:
    """A frozen graph in a .pb file.

    Raises:
        TraceError: the file is damaged, or holds something else.
    """
    return frozen(_parsed(graph_pb2.GraphDef(), path, "a frozen GraphDef"), name or path.stem, str(path))


def frozen(graph: graph_pb2.GraphDef, name: str, where: str) -> Program:
    """A GraphDef whose inputs are the placeholders that something reads, and whose outputs are the nodes nobody reads.

    Raises:
        TraceError: it has no nodes, or no result.
    """
    if not graph.node:
        raise TraceError(f"{where}: the graph has no nodes")
    read = {source_of(ref) for node in graph.node for ref in data_inputs(node)}
    quiet = ("NoOp", "Assert", "Const", "Placeholder", "Print", "PrintV2", "VarHandleOp", "Exit", "Switch", "Merge")
    inputs = [
        Entry(node.name, node.name, _shape(attr(node, "shape")), int(attr(node, "dtype")))
        for node in graph.node
        if node.op == "Placeholder" and node.name in read
    ]
    found = [node.name for node in graph.node if node.name not in read and node.op not in quiet]
    if not found:
        raise TraceError(
            f"{where}: no node of the graph is a result, every one is read by another; a graph with cycles cannot run"
        )
    outputs = [(f"output.{node}" if len(found) > 1 else "output", node) for node in found]
    functions = functions_of(graph)
    return Program(graph.node, functions, inputs, outputs, frozen=True, name=name)


def _parsed(message: Any, path: Path, what: str) -> Any:
    try:
        if path.stat().st_size > LARGEST:
            raise TraceError(f"{path}: {path.stat().st_size} bytes is more than {what} can have")
        message.ParseFromString(path.read_bytes())
    except (DecodeError, RuntimeError, OSError) as error:
        raise TraceError(
            f"{path}: cannot be read as {what}, the file is damaged or something else ({one_line(error)})"
        ) from error
    return message


def _shape(shape: tensor_shape_pb2.TensorShapeProto) -> tuple[int | None, ...] | None:
    return None if shape.unknown_rank else tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dim)


def _handles(graph: meta_graph_pb2.MetaGraphDef) -> dict[str, Variable]:
    """Which node stands for which variable: functions list the objects that their arguments are, the objects say what
    is trained.
    """
    objects = graph.object_graph_def.nodes
    trained = {source_of(name) for name in _trained_names(graph)}
    named = {node.variable.name: index for index, node in enumerate(objects) if node.WhichOneof("kind") == "variable"}
    handles: dict[str, Variable] = {}
    for node in graph.graph_def.node:
        if node.op != "VarHandleOp":
            continue
        size, dtype = tuple(int(dim.size) for dim in attr(node, "shape").dim), int(attr(node, "dtype"))
        handles[node.name] = Variable(node.name, size, dtype, node.name in trained if trained else dtype in FLOATING)
        if node.name in named:
            handles[node.name] = _object(named[node.name], objects[named[node.name]].variable)
    for node in graph.graph_def.node:
        if (
            node.op not in ("PartitionedCall", "StatefulPartitionedCall")
            or attr(node, "f").name not in graph.object_graph_def.concrete_functions
        ):
            continue
        bound = graph.object_graph_def.concrete_functions[attr(node, "f").name].bound_inputs
        for ref, index in zip(reversed(data_inputs(node)), reversed(bound), strict=False):
            if source_of(ref) in handles and objects[index].WhichOneof("kind") == "variable":
                handles[source_of(ref)] = _object(index, objects[index].variable)
    return handles


def _object(index: int, variable: Any) -> Variable:
    size = tuple(int(dim.size) for dim in variable.shape.dim)
    return Variable(f"{variable.name or 'variable'}#{index}", size, variable.dtype, variable.trainable)


def _trained_names(graph: meta_graph_pb2.MetaGraphDef) -> list[str]:
    """Trained variables of a SavedModel of TensorFlow 1, listed in a collection."""
    if "trainable_variables" not in graph.collection_def:
        return []
    collection: Mapping[Any, Any] = graph.collection_def
    return [
        variable_pb2.VariableDef.FromString(value).variable_name
        for value in collection["trainable_variables"].bytes_list.value
    ]
