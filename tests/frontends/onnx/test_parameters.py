"""What is a parameter in an ONNX file: the same tensors whether they are initializers or Constant nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_samples import model

import cgir
import frontends

node = helper.make_node
RNG = np.random.default_rng(0)


def floats(*size: int) -> np.ndarray:
    return RNG.normal(size=size).astype(np.float32)


def constant(name: str, array: np.ndarray) -> onnx.NodeProto:
    return node("Constant", [], [name], value=numpy_helper.from_array(array, name))


def both(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], **more: Any) -> tuple[int, int]:
    """Parameters and FLOPs of a network of x (1, 8, 16), the same with its weights in Constant nodes."""
    inputs = {"x": [1, 8, 16]}
    graphs = [
        frontends.trace(model(nodes, inputs, ["y"], weights, 17, **more)),
        frontends.trace(
            model([*(constant(*item) for item in weights.items()), *nodes], inputs, ["y"], opset=17, **more)
        ),
    ]
    for graph in graphs:
        cgir.verify(graph)
        assert graph.complete
    assert cgir.isomorphic(*graphs), cgir.diff(*graphs)
    assert (graphs[0].num_params, graphs[0].flops) == (graphs[1].num_params, graphs[1].flops)
    return graphs[1].num_params, graphs[1].flops


BIG = floats(1024, 16)  # more than are read of a file
PLACES = {
    "transpose": ([node("Transpose", ["w"], ["v"], perm=[1, 0])], {"w": BIG}, 1024 * 16),
    "reshape": ([node("Reshape", ["w", "s"], ["v"])], {"w": BIG, "s": np.array([16, 1024])}, 1024 * 16),
    "cast": ([node("Cast", ["w"], ["v"], to=1)], {"w": BIG.T.astype(np.float16)}, 1024 * 16),
    "mul": ([node("Mul", ["w", "c"], ["v"])], {"w": BIG.T, "c": np.array(0.5, np.float32)}, 1024 * 16),
    "squeeze": ([node("Squeeze", ["w", "a"], ["v"])], {"w": BIG.T[None], "a": np.array([0])}, 1024 * 16),
    "slice": (
        [node("Slice", ["w", "a", "b"], ["v"])],
        {"w": floats(32, 1024), "a": np.array([0]), "b": np.array([16])},
        32 * 1024,
    ),
    "gather": (
        [node("Gather", ["w", "i"], ["g"]), node("Transpose", ["g"], ["v"], perm=[1, 0])],
        {"w": floats(2000, 16), "i": np.arange(1024)},
        2000 * 16,
    ),
    "concat": (
        [node("Concat", ["w", "u"], ["v"], axis=1)],
        {"w": floats(16, 1000), "u": floats(16, 24)},
        16 * 1024,
    ),
    "split": (
        [node("Split", ["w"], ["v", "u"], axis=1), node("MatMul", ["x", "u"], ["z"])],
        {"w": floats(16, 2048)},
        16 * 2048,
    ),
    "quantised": (
        [
            node("Transpose", ["w"], ["t"], perm=[1, 0]),
            node("Cast", ["t"], ["f"], to=1),
            node("Mul", ["f", "s"], ["v"]),
        ],
        {"w": np.ones((1024, 16), np.int8), "s": np.array(0.1, np.float32)},
        1024 * 16,
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_large_weights_behind_other_operators(place: str) -> None:
    nodes, weights, num_params = PLACES[place]
    products = 2 if place == "split" else 1  # the other half is a result that nothing reads
    assert both([*nodes, node("MatMul", ["x", "v"], ["y"])], weights) == (num_params, products * 2 * 8 * 16 * 1024)


def test_gates_of_a_recurrent_layer_put_in_another_order() -> None:
    weights = {"w": floats(1024, 16), "r": floats(1024, 256), "a": np.array([0]), "b": np.array([256]),
               "d": np.array([1024])}  # fmt: skip
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), node("Slice", ["w", "a", "b"], ["wa"]),
        node("Slice", ["w", "b", "d"], ["wb"]), node("Concat", ["wb", "wa"], ["wc"], axis=0),
        node("Unsqueeze", ["wc", "a"], ["wu"]), node("Unsqueeze", ["r", "a"], ["ru"]),
        node("LSTM", ["t", "wu", "ru"], ["y", "", ""], hidden_size=256),
    ]  # fmt: skip
    assert both(nodes, weights) == (1024 * (16 + 256), 8 * 2 * 1024 * (16 + 256))


def test_biases_and_scales() -> None:
    product = node("MatMul", ["x", "w"], ["z"])
    assert both([product, node("Add", ["z", "b"], ["y"])], {"w": floats(16, 32), "b": floats(32)})[0] == 16 * 32 + 32
    nodes = [node("Mul", ["x", "a"], ["z"]), node("Add", ["z", "b"], ["y"])]
    assert both(nodes, {"a": floats(16), "b": floats(16)}) == (32, 0)
    assert both(nodes, {"a": np.ones(16, np.float32), "b": np.zeros(16, np.float32)})[0] == 32  # before training


def test_lists_of_numbers_are_tensors_like_any_other() -> None:
    numbers = floats(16 * 4)
    nodes = [
        node("Constant", [], ["n"], value_floats=numbers.tolist()), node("Constant", [], ["s"], value_ints=[16, 4]),
        node("Reshape", ["n", "s"], ["w"]), node("MatMul", ["x", "w"], ["z"]),
        node("Constant", [], ["b"], value_floats=numbers[:4].tolist()), node("Add", ["z", "b"], ["y"]),
    ]  # fmt: skip
    found = frontends.trace(model(nodes, {"x": [1, 8, 16]}, ["y"]))
    weights = {"w": numbers.reshape(16, 4), "b": numbers[:4]}
    expected = frontends.trace(model([nodes[3], nodes[5]], {"x": [1, 8, 16]}, ["y"], weights))
    assert (found.num_params, found.flops) == (expected.num_params, expected.flops) == (16 * 4 + 4, 2 * 8 * 16 * 4)


def test_gemm_with_settings_and_with_the_weight_on_the_left() -> None:
    nodes = [node("Squeeze", ["x", "a"], ["s"]), node("Gemm", ["s", "w", "b"], ["y"], alpha=0.5, beta=2.0)]
    axis = {"a": np.array([0])}
    assert both(nodes, {"w": floats(16, 4), "b": floats(4), **axis}) == (68, 2 * 8 * 16 * 4)
    assert both(nodes, {"w": floats(16, 1), "b": floats(1), **axis}) == (17, 2 * 8 * 16)
    nodes[1] = node("Gemm", ["w", "s", "b"], ["y"])
    assert both(nodes, {"w": floats(4, 8), "b": floats(4, 16), **axis}) == (32 + 64, 2 * 4 * 8 * 16)


def test_initial_states_are_parameters_unless_they_are_zeros() -> None:
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("RNN", ["t", "w", "r", "", "", "h"], ["y", ""], hidden_size=5),
    ]
    weights = {"w": floats(1, 5, 16), "r": floats(1, 5, 5)}
    assert both(nodes, {**weights, "h": floats(1, 1, 5)})[0] == 5 * 21 + 5
    assert both(nodes, {**weights, "h": np.zeros((1, 1, 5), np.float32)})[0] == 5 * 21


def test_a_bias_of_one_element() -> None:
    product, add = node("MatMul", ["x", "w"], ["z"]), node("Add", ["z", "b"], ["y"])
    assert both([product, add], {"w": floats(16, 1), "b": floats(1)}) == (17, 256)
    assert both([product, node("Add", ["b", "z"], ["y"])], {"w": floats(16, 1), "b": floats(1)})[0] == 17
    convolution = node("Conv", ["x", "w"], ["z"])
    assert both([convolution, add], {"w": floats(1, 8, 3), "b": floats(1, 1, 1)})[0] == 25
    # a number added to several channels, to no product, or without axes is none
    assert both([product, add], {"w": floats(16, 2), "b": floats(1)})[0] == 32
    assert both([product, add], {"w": floats(16, 1), "b": np.array(0.5, np.float32)})[0] == 16
    assert both([node("Relu", ["x"], ["z"]), add], {"b": floats(1)})[0] == 0


def test_masks_tables_and_coordinates_are_no_parameters() -> None:
    mask = np.where(np.tri(8, dtype=bool), 0, -1e9).astype(np.float32)
    scores = [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("MatMul", ["x", "t"], ["z"])]
    assert both([*scores, node("Add", ["z", "m"], ["y"])], {"m": mask})[0] == 0
    assert both([node("Gather", ["x", "i"], ["y"], axis=1)], {"i": np.array([5, 0, 3])})[0] == 0
    image = node("Unsqueeze", ["x", "a"], ["z"])
    for tail, more in (
        (node("RoiAlign", ["z", "r", "b"], ["y"]), {"r": np.abs(floats(5, 4)), "b": np.zeros(5, np.int64)}),
        (node("GridSample", ["z", "g"], ["y"]), {"g": floats(1, 4, 4, 2)}),
    ):
        assert both([image, tail], {"a": np.array([1]), **more}) == (0, 0)


def test_numbers_from_which_sizes_are_computed_are_no_parameters() -> None:
    nodes = [
        node("Shape", ["x"], ["s"]), node("Cast", ["s"], ["f"], to=1), node("Mul", ["f", "c"], ["g"]),
        node("Cast", ["g"], ["i"], to=7), node("Resize", ["x", "", "", "i"], ["y"]),
    ]  # fmt: skip
    assert both(nodes, {"c": np.array([1, 1, 2], np.float32)}) == (0, 0)


def test_tables_of_integers_are_no_embeddings() -> None:
    for table, num_params in ((floats(9, 4), 36), (np.ones((9, 4), np.int8), 36), (np.ones((9, 4), np.int64), 0)):
        proto = model([node("Gather", ["t", "i"], ["y"])], {"i": [1, 3]}, ["y"], {"t": table})
        proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
        assert frontends.trace(proto).num_params == num_params


@pytest.mark.parametrize("name", ["fc.weight_scale", "w_scale", "z_scale", "fc.weight_zero_point"])
@pytest.mark.parametrize("size", [(), (4,)])
def test_scales_of_quantised_tensors_are_no_parameters(name: str, size: tuple[int, ...]) -> None:
    nodes = [node("MatMul", ["x", "w"], ["z"]), node("Mul", ["z", name], ["y"])]
    proto = model(nodes, {"x": [1, 8, 16]}, ["y"], {"w": (16, 4), name: np.full(size, 0.1, np.float32)})
    assert frontends.trace(proto).num_params == 64
    nodes[1].input[1] = proto.graph.initializer[1].name = "clip.logit_scale"
    proto = model(nodes, {"x": [1, 8, 16]}, ["y"], {"w": (16, 4), "clip.logit_scale": np.full(size, 0.1, np.float32)})
    assert frontends.trace(proto).num_params == 64 + int(np.prod(size))


def test_constants_of_pytorch_are_no_parameters() -> None:
    nodes = [constant("c", floats(16)), node("Mul", ["x", "c"], ["z"]), node("MatMul", ["z", "w"], ["y"])]
    for producer, num_params in (("pytorch", 64), ("", 64 + 16)):
        proto = model(nodes, {"x": [1, 8, 16]}, ["y"], {"w": (16, 4)}, producer_name=producer)
        assert frontends.trace(proto).num_params == num_params
    # unless all weights are Constant nodes
    proto = model([constant("w", floats(16, 4)), *nodes], {"x": [1, 8, 16]}, ["y"], producer_name="pytorch")
    assert frontends.trace(proto).num_params == 64 + 16


def folded(name: str, size: tuple[int, ...], sources: str) -> onnx.ModelProto:
    """A sum of x and a tensor that PyTorch's exporter has folded from others."""
    proto = model([node("Add", ["x", name], ["y"])], {"x": [1, 8, 16]}, ["y"], {name: floats(*size)}, 17)
    info = proto.graph.value_info.add(name=name)
    info.metadata_props.add(key="pkg.onnxscript.optimizer.folded_from", value=repr(sources.split()))
    return proto


@pytest.mark.parametrize(
    ("sources", "params"),
    [
        ("pos val_0 val_1", 128),  # the slice of a parameter `pos`
        ("l.pos val_0", 128),
        ("arange arange_1 mul reciprocal scalar_tensor_default scalar_tensor_default_1 val_10", 0),
        ("hann_window val_0", 0),
        ("blackman_window_1 mul", 0),
    ],
)
def test_names_of_what_was_folded(sources: str, params: int) -> None:
    assert frontends.trace(folded("slice_1", (8, 16), sources)).num_params == params


@pytest.mark.parametrize("level", ["module", "inference"])
def test_a_table_that_is_also_the_last_layer_counts_once(level: str) -> None:
    nodes = [
        node("Gather", ["table", "x"], ["z"]),
        node("Transpose", ["table"], ["head"], perm=[1, 0]),
        node("MatMul", ["z", "head"], ["y"]),
    ]
    proto = model(nodes, {"x": [1, 6]}, ["y"], {"table": floats(30, 8)}, 17)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    graph = frontends.trace(proto, level=level)
    assert (graph.num_params, graph.flops) == (30 * 8, 6 * 2 * 8 * 30)
