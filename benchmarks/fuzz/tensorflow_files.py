"""Hostile TensorFlow files: frozen graphs and SavedModels changed by bytes and by fields, and single random nodes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

import frontends
import frontends.tensorflow.importer  # processes that read inputs are forked after TensorFlow is loaded

from .mutation import mutate_bytes
from .protobuf import mutate_message
from .target import Target

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

DTYPES = (1, 1, 1, 3, 3, 9, 10, 2, 7, 14, 19, 8, 20, 21, 0, 101, 5000)  # numbers of types, floating-point ones first
SIZES = (
    (),
    (1,),
    (2,),
    (2, 3),
    (1, 4, 4, 3),
    (2, 0),
    (3, 3, 3, 2),
    (1, 2, 3, 4, 5),
    (-1, 4),
    (2**31, 2**31),
    (2**62, 4),
)
SETTINGS = (0, 1, -1, 2, 3, 4, -2, 1, 0, 100, 2**31 - 1, 2**31, 2**63 - 1, -(2**63))
TEXTS = (b"SAME", b"VALID", b"NHWC", b"NCHW", b"EXPLICIT", b"float32", b"ab,bc->ac", b"", b"\xff\xfe", b"A" * 1000)


class Seeds(NamedTuple):
    """Serialised messages, and the definitions of the operators that the frontend knows first, then all."""

    graphs: list[bytes]
    saved_models: list[bytes]
    known_operators: list[bytes]
    operators: list[bytes]


def prepare(folder: Path) -> Seeds:
    """Frozen graphs and SavedModels of small functions, and TensorFlow's operators."""
    import tensorflow as tf
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from cgir.ops import TF_NAMES
    from frontends.tensorflow.control_flow import CONTROL_FLOW
    from frontends.tensorflow.converters import CONVERTERS

    graphs, saved_models = [], []
    for index, (module, spec) in enumerate(_modules()):
        function = tf.function(module.__call__, input_signature=[spec]).get_concrete_function()
        for lower in (False, True):
            frozen = convert_variables_to_constants_v2(function, lower_control_flow=lower)
            graphs.append(frozen.graph.as_graph_def().SerializeToString())
        tf.saved_model.save(module, str(folder / str(index)), signatures=function)
        saved_models.append((folder / str(index) / "saved_model.pb").read_bytes())
    operators = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    known = {*TF_NAMES, *CONTROL_FLOW, *CONVERTERS}
    return Seeds(
        graphs,
        saved_models,
        [op.SerializeToString() for op in operators.op if op.name in known],
        [op.SerializeToString() for op in operators.op],
    )


def _modules() -> list[tuple[Any, Any]]:
    """Small networks with layers, a norm, calls, branches and loops, each with the specification of its input."""
    import tensorflow as tf

    class Network(tf.Module):  # type: ignore[misc]
        def __init__(self, body: Callable[..., Any], size: tuple[int, ...]) -> None:
            super().__init__()
            self.body, self.weight = body, tf.Variable(tf.ones(size), name="weight")

        def __call__(self, x: Any) -> Any:
            return self.body(x, self.weight)

    @tf.function  # type: ignore[untyped-decorator]
    def twice(x: Any) -> Any:
        return tf.nn.relu(x) * 2.0

    def convolved(x: Any, weight: Any) -> Any:
        x = tf.nn.relu(tf.nn.conv2d(x, weight, 2, "SAME"))
        mean, variance = tf.nn.moments(x, (0, 1, 2))
        x = tf.nn.max_pool2d(tf.nn.batch_normalization(x, mean, variance, None, None, 1e-3), 2, 2, "VALID")
        return tf.concat([tf.reshape(x, (tf.shape(x)[0], -1)), tf.reduce_mean(x, (1, 2))], 1)

    def looped(x: Any, weight: Any) -> Any:
        for _ in tf.range(7):
            x = tf.nn.tanh(x @ weight)
        return x if tf.reduce_sum(x) > 0.0 else twice(x)

    def scanned(x: Any, weight: Any) -> Any:
        return tf.map_fn(lambda row: tf.linalg.matvec(weight, tf.pad(row, ((1, 1),))), x)

    def gathered(x: Any, weight: Any) -> Any:
        y = tf.transpose(tf.gather(weight, tf.cast(x, tf.int32)), (0, 2, 1))
        return tf.nn.softmax(tf.einsum("bij,bkj->bik", y, y)), tf.strings.as_string(tf.argmax(y, 1))

    return [
        (Network(convolved, (3, 3, 2, 4)), tf.TensorSpec((None, 8, 8, 2))),
        (Network(looped, (4, 4)), tf.TensorSpec((None, 4))),
        (Network(scanned, (4, 4)), tf.TensorSpec((3, 2))),
        (Network(gathered, (5, 4)), tf.TensorSpec((2, 3))),
    ]


def write_graph(rng: Generator, seeds: Seeds, folder: Path) -> Path:
    """A frozen graph or SavedModel of which bytes or fields are changed."""
    from google.protobuf import text_format  # type: ignore[import-untyped]
    from tensorflow.core.framework import graph_pb2
    from tensorflow.core.protobuf import saved_model_pb2

    saved = rng.random() < 0.4
    files = seeds.saved_models if saved else seeds.graphs
    data = files[int(rng.integers(len(files)))]
    message = (saved_model_pb2.SavedModel if saved else graph_pb2.GraphDef).FromString(data)
    name = "saved_model.pb" if saved else "model.pb"
    by_bytes = rng.random() < 0.4
    if not by_bytes:
        mutate_message(rng, message)
    if not by_bytes and not saved and rng.random() < 0.3:
        data, name = text_format.MessageToString(message).encode(), "model.pbtxt"
        data = mutate_bytes(rng, data, 2) if rng.random() < 0.5 else data
    else:
        data = mutate_bytes(rng, data) if by_bytes else message.SerializeToString()
    (folder / name).write_bytes(data)
    return folder if saved else folder / name


# --- one node


def write_operator(rng: Generator, seeds: Seeds, folder: Path) -> Path:
    """A frozen graph of one node of a random operator, with random operands and attributes."""
    from tensorflow.core.framework import graph_pb2, op_def_pb2

    operators = seeds.known_operators if rng.random() < 0.7 else seeds.operators
    definition = op_def_pb2.OpDef.FromString(operators[int(rng.integers(len(operators)))])
    graph = graph_pb2.GraphDef()
    node = graph.node.add(name="n", op=definition.name)
    for attribute in definition.attr:
        if rng.random() < (0.5 if attribute.HasField("default_value") else 0.97):
            _set_attribute(rng, node.attr[attribute.name], attribute)
    for arg in definition.input_arg:
        for dtype in _operand_types(arg, node.attr):
            node.input.append(_add_operand(rng, graph, dtype))
    if rng.random() < 0.05 and node.input:
        del node.input[int(rng.integers(len(node.input)))]
    (folder / "model.pb").write_bytes(graph.SerializeToString())
    return folder / "model.pb"


def _set_attribute(rng: Generator, value: Any, attribute: Any) -> None:
    """A random value, mostly of the type that the operator declares."""
    kind = attribute.type
    if rng.random() < 0.02:
        kind = ("int", "float", "bool", "type", "shape", "string", "tensor", "func", "list(int)")[int(rng.integers(9))]
    if kind == attribute.type and attribute.allowed_values.ListFields() and rng.random() < 0.95:
        allowed = attribute.allowed_values.list
        _, items = allowed.ListFields()[0]
        item = items[int(rng.integers(len(items)))]
        if kind.startswith("list"):
            (value.list.type if kind == "list(type)" else value.list.s).append(item)
        elif kind == "type":
            value.type = item
        elif isinstance(item, bytes):
            value.s = item
        return
    if not kind.startswith("list"):
        _set_one(rng, kind, value, attribute.minimum)
        return
    fields = {
        "int": "i",
        "float": "f",
        "bool": "b",
        "type": "type",
        "shape": "shape",
        "string": "s",
        "tensor": "tensor",
    }
    items = getattr(value.list, fields.get(kind[5:-1], "func"))
    value.list.SetInParent()
    for _ in range(int(rng.integers(6))):
        one = type(value)()
        _set_one(rng, kind[5:-1], one, 0)
        items.append(getattr(one, fields.get(kind[5:-1], "func")))


def _set_one(rng: Generator, kind: str, value: Any, minimum: int) -> None:
    if kind == "int":
        value.i = minimum + int(rng.integers(3)) if rng.random() < 0.4 else int(rng.choice(SETTINGS))
    elif kind == "float":
        value.f = float(rng.choice([0.0, 1.0, -1.0, 0.5, np.inf, np.nan, 1e38]))
    elif kind == "bool":
        value.b = bool(rng.integers(2))
    elif kind == "type":
        value.type = int(rng.choice(DTYPES))
    elif kind == "shape":
        _set_shape(rng, value.shape)
    elif kind == "string":
        value.s = TEXTS[int(rng.integers(len(TEXTS)))]
    elif kind == "tensor":
        _set_tensor(rng, value.tensor, int(rng.choice(DTYPES)))
    else:
        value.func.name = "f"


def _set_shape(rng: Generator, shape: Any) -> None:
    shape.SetInParent()
    if rng.random() < 0.1:
        shape.unknown_rank = True
        return
    for n in SIZES[int(rng.integers(len(SIZES)))]:
        shape.dim.add(size=n)
    if rng.random() < 0.1:
        shape.dim.add(size=int(rng.choice(SETTINGS)))


def _set_tensor(rng: Generator, tensor: Any, dtype: int) -> None:
    """A tensor of a few numbers; its shape is not always that of what it holds."""
    tensor.dtype = dtype
    count = int(rng.integers(6))
    numbers = [int(rng.choice(SETTINGS)) for _ in range(count)]
    if dtype == 1:
        tensor.float_val.extend(map(float, numbers))
    elif dtype == 3:
        tensor.int_val.extend(max(-(2**31), min(2**31 - 1, n)) for n in numbers)
    elif dtype == 9:
        tensor.int64_val.extend(numbers)
    elif dtype == 10:
        tensor.bool_val.extend(bool(n) for n in numbers)
    elif dtype == 7:
        tensor.string_val.extend(b"a" * (n % 5) for n in numbers)
    else:
        tensor.tensor_content = rng.bytes(count * 4)
    if rng.random() < 0.8:
        for n in (count,) if count != 1 or rng.random() < 0.5 else ():
            tensor.tensor_shape.dim.add(size=n)
    else:
        _set_shape(rng, tensor.tensor_shape)


def _operand_types(arg: Any, attributes: Any) -> list[int]:
    """The types of the operands for one argument of an operator."""
    if arg.type_list_attr:
        return list(attributes[arg.type_list_attr].list.type)
    dtype = attributes[arg.type_attr].type if arg.type_attr else arg.type
    return [dtype] * (max(0, min(attributes[arg.number_attr].i, 5)) if arg.number_attr else 1)


def _add_operand(rng: Generator, graph: Any, dtype: int) -> str:
    """A placeholder, a constant, or one that an input may replace."""
    name = f"i{len(graph.node)}"
    dtype = dtype if rng.random() < 0.97 else int(rng.choice(DTYPES))
    if rng.random() < 0.5 and dtype != 20:
        node = graph.node.add(name=name, op="Const")
        node.attr["dtype"].type = dtype
        _set_tensor(rng, node.attr["value"].tensor, dtype)
    else:
        node = graph.node.add(name=name, op="Placeholder" if dtype != 20 else "VarHandleOp")
        node.attr["dtype"].type = dtype if dtype != 20 else 1
        _set_shape(rng, node.attr["shape"].shape)
    return name


TARGETS = (
    Target("frozen .pb, .pbtxt, SavedModel: bytes and fields", prepare, write_graph, frontends.trace),
    Target("frozen .pb: one random node of each operator", prepare, write_operator, frontends.trace),
)
