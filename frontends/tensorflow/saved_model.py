"""TensorFlow models in files: SavedModel folders and frozen graphs; the variables beside a graph are never opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from tensorflow.core.framework import graph_pb2, tensor_shape_pb2, variable_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2, saved_object_graph_pb2

from cgir import TraceError
from cgir.errors import one_line
from frontends.registry import SAVED_MODEL_FILES

from .constant_folding import constant_tensor
from .frozen_weights import weights_are_constants
from .graph_def import (
    FLOATING,
    VARIABLE_OPS,
    GraphInput,
    Program,
    TFTensor,
    Variable,
    contents_of,
    data_inputs,
    functions_of,
    get_attribute,
    handle_of,
    source_of,
)
from .graph_outputs import unread_nodes
from .lowered_control_flow import raise_loops

Parsed = TypeVar("Parsed", bound=Message)
MAX_BYTES = 2**31 - 1  # of a protocol buffer


def read_saved_model(folder: Path, name: str) -> Program:
    """The serving signature of a SavedModel folder, or its only one.

    Raises:
        TraceError: the file is damaged, or there are several signatures and none is called serving_default.
    """
    path = next((path for path in (folder / file for file in SAVED_MODEL_FILES) if path.is_file()), folder)
    model = _parse(saved_model_pb2.SavedModel(), path, "a SavedModel")
    if not model.meta_graphs:
        raise TraceError(f"{path}: holds no graph; is it a SavedModel? a frozen graph must have another name")
    graphs = [graph for graph in model.meta_graphs if "serve" in graph.meta_info_def.tags] or list(model.meta_graphs)
    graph = graphs[0]
    signature = graph.signature_def[select_signature(list(graph.signature_def), _functions(graph), str(folder))]
    inputs = [
        GraphInput(key, source_of(info.name), _shape(info.tensor_shape), info.dtype)
        for key, info in sorted(signature.inputs.items())
    ]
    outputs = [
        (f"output.{key}" if len(signature.outputs) > 1 else "output", info.name)
        for key, info in sorted(signature.outputs.items())
    ]
    nodes, functions = raise_loops(graph.graph_def.node, functions_of(graph.graph_def))
    program = Program(nodes, functions, inputs, outputs, _captures(graph), name=name or folder.name)
    return replace(program, frozen=weights_are_constants(program))


def _functions(graph: meta_graph_pb2.MetaGraphDef) -> list[str]:
    """Names of the functions of the saved object itself."""
    objects = graph.object_graph_def.nodes
    children = objects[0].children if objects else ()
    return [child.local_name for child in children if objects[child.node_id].WhichOneof("kind") == "function"]


def select_signature(signatures: list[str], functions: list[str], label: str) -> str:
    """The signature whose graph is imported: serving_default, or the only one.

    Args:
        signatures: names of all signatures.
        functions: names of the functions of the model, for the message.
        label: how messages refer to the model.

    Raises:
        TraceError: there is none, or several without a serving_default.
    """
    usable = [key for key in signatures if not key.startswith("__saved_model")]
    if "serving_default" in usable:
        return "serving_default"
    if len(usable) == 1:
        return usable[0]
    if not usable:
        there = f"it has the functions {sorted(functions)}; " if functions else ""
        how = (
            "load it with tf.saved_model.load and trace one of them, such as loaded.f"
            if functions
            else "save it with signatures=..."
        )
        raise TraceError(f"{label}: the SavedModel has no signature; {there}{how}")
    raise TraceError(
        f"{label}: none of the signatures {sorted(usable)} is called serving_default; load the model with "
        "tf.saved_model.load and trace loaded.signatures[...]"
    )


def read_frozen_graph(path: Path, name: str) -> Program:
    """A frozen graph in a .pb or .pbtxt file.

    Raises:
        TraceError: the file is damaged, or holds something else.
    """
    return frozen_program(_parse(graph_pb2.GraphDef(), path, "a frozen GraphDef"), name or path.stem, str(path))


def frozen_program(graph: graph_pb2.GraphDef, name: str, label: str) -> Program:
    """A GraphDef; its inputs are the placeholders that are read, its outputs the nodes that no other reads.

    Args:
        graph: the GraphDef.
        name: of the program.
        label: how messages refer to the graph.

    Raises:
        TraceError: it has no nodes, or no result.
    """
    if not graph.node:
        raise TraceError(f"{label}: the graph has no nodes")
    nodes, functions = raise_loops(graph.node, functions_of(graph))
    read_names = {source_of(ref) for node in nodes for ref in data_inputs(node)}
    inputs = [
        GraphInput(node.name, node.name, _shape(get_attribute(node, "shape")), int(get_attribute(node, "dtype")))
        for node in nodes
        if node.op == "Placeholder" and node.name in read_names
    ]
    output_nodes = unread_nodes(nodes, [node.name for node in graph.node if node.op in ("Exit", "RefExit")])
    if not output_nodes:
        raise TraceError(
            f"{label}: no node of the graph is a result, every one is read by another; a graph with cycles cannot run"
        )
    outputs = [(f"output.{node}" if len(output_nodes) > 1 else "output", node) for node in output_nodes]
    return Program(nodes, functions, inputs, outputs, frozen=True, name=name)


def _parse(message: Parsed, path: Path, kind: str) -> Parsed:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TraceError(f"{path}: {path.stat().st_size} bytes is more than {kind} can have")
        if path.suffix == ".pbtxt":
            text_format.Parse(path.read_text(encoding="utf-8"), message)
        else:
            message.ParseFromString(path.read_bytes())
    except (DecodeError, text_format.ParseError, UnicodeDecodeError, RuntimeError, OSError) as error:
        raise TraceError(
            f"{path}: cannot be read as {kind}, the file is damaged or something else ({one_line(error)})"
        ) from error
    return message


def _shape(shape: tensor_shape_pb2.TensorShapeProto) -> tuple[int | None, ...] | None:
    return None if shape.unknown_rank else tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dim)


def _captures(graph: meta_graph_pb2.MetaGraphDef) -> dict[str, TFTensor]:
    """Name of a node -> the handle of a variable, or the constant made outside of the functions, that it stands for.

    Functions list the objects bound to their arguments, and objects record whether they are trained.
    """
    objects = graph.object_graph_def.nodes
    trained = {source_of(name) for name in _trained_names(graph)}
    named = {node.variable.name: index for index, node in enumerate(objects) if node.WhichOneof("kind") == "variable"}
    nodes = {node.name: node for node in graph.graph_def.node}
    captures: dict[str, TFTensor] = {}
    for node in nodes.values():
        if node.op in VARIABLE_OPS:
            size = tuple(int(dim.size) for dim in get_attribute(node, "shape").dim)
            dtype = int(get_attribute(node, "dtype"))
            is_trained = node.name in trained if trained else dtype in FLOATING
            variable = Variable(node.name, size, dtype, is_trained)
            captures[node.name] = handle_of(variable) if node.op == "VarHandleOp" else contents_of(variable)
        if node.name in named:
            captures[node.name] = _object(named[node.name], objects[named[node.name]].variable)
    for ref, index in _bound_inputs(graph):
        source = nodes.get(source_of(ref))
        if source is not None and source.op == "Const":
            captures[source.name] = constant_tensor(source)
        elif source_of(ref) in captures and objects[index].WhichOneof("kind") == "variable":
            captures[source_of(ref)] = _object(index, objects[index].variable)
    return captures


def _bound_inputs(graph: meta_graph_pb2.MetaGraphDef) -> Iterator[tuple[str, int]]:
    """The tensors outside of functions that calls hand to them, and the object that each is."""
    functions = graph.object_graph_def.concrete_functions
    for node in graph.graph_def.node:
        if node.op in ("PartitionedCall", "StatefulPartitionedCall"):
            name = get_attribute(node, "f").name
            if name in functions:
                yield from zip(reversed(data_inputs(node)), reversed(functions[name].bound_inputs), strict=False)


def _object(index: int, variable: saved_object_graph_pb2.SavedVariable) -> TFTensor:
    size = tuple(int(dim.size) for dim in variable.shape.dim)
    return handle_of(Variable(f"{variable.name or 'variable'}#{index}", size, variable.dtype, variable.trainable))


def _trained_names(graph: meta_graph_pb2.MetaGraphDef) -> list[str]:
    """Trained variables of a SavedModel of TensorFlow 1, listed in a collection."""
    if "trainable_variables" not in graph.collection_def:
        return []
    collection: Mapping[str, meta_graph_pb2.CollectionDef] = graph.collection_def
    return [
        variable_pb2.VariableDef.FromString(value).variable_name
        for value in collection["trainable_variables"].bytes_list.value
    ]
