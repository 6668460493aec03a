"""ONNX operators against PyTorch functions: parts of tensors, windows written as gathers, padding, folded constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import cgir
import frontends

node = helper.make_node


class Function(nn.Module):
    """A function, perhaps of a parameter."""

    def __init__(self, function: Callable[..., Any], **parameters: Tensor) -> None:
        super().__init__()
        self.function = function
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.parameters())


def of_nodes(nodes: list[onnx.NodeProto], size: tuple[int, ...], out: tuple[int, ...], **constants: Any) -> cgir.Graph:
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name, shape in (("x", size), ("y", out))
    ]
    given = [numpy_helper.from_array(np.asarray(value), name.replace("__", ".")) for name, value in constants.items()]
    proto = helper.make_model(helper.make_graph(nodes, "g", *ends, given), opset_imports=[helper.make_opsetid("", 18)])
    graph = frontends.trace(proto, level="inference")
    cgir.verify(graph)
    return graph


def of_torch(function: Callable[..., Any], size: tuple[int, ...], **parameters: Tensor) -> cgir.Graph:
    return frontends.trace(Function(function, **parameters), input_shape=size, level="inference")


def check(found: cgir.Graph, function: Callable[..., Any], size: tuple[int, ...], **parameters: Tensor) -> None:
    expected = of_torch(function, size, **parameters)
    assert cgir.isomorphic(found, expected), cgir.diff(found, expected)


def halves(gated: str) -> list[onnx.NodeProto]:
    return [
        node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2),
        node("Sigmoid", [gated], ["s"]),
        node("Mul", ["a", "s"], ["y"]),
    ]


def test_sigmoid_of_the_same_half_is_silu_and_of_the_other_a_gate() -> None:
    size, half = (1, 8, 6), (1, 4, 6)
    check(of_nodes(halves("a"), size, half), lambda x: F.silu(x.chunk(2, 1)[0]), size)
    check(of_nodes(halves("b"), size, half), lambda x: F.glu(x, 1), size)
    assert not cgir.isomorphic(of_nodes(halves("a"), size, half), of_nodes(halves("b"), size, half))


def test_hand_written_silu_of_a_half_in_pytorch() -> None:
    written = of_torch(lambda x: x.chunk(2, 1)[0] * x.chunk(2, 1)[0].sigmoid(), (1, 8, 6))
    first, second = (
        of_torch(lambda x, i=i: (lambda parts: parts[0] * parts[i].sigmoid())(x.chunk(2, 1)), (1, 8, 6)) for i in (0, 1)
    )
    assert first.op_counts()["SiLU"] == 1
    # two calls of chunk: nothing says that they are the same half
    assert second.op_counts()["Sigmoid"] == written.op_counts()["Sigmoid"] == 1


def test_overlapping_windows_of_one_axis() -> None:
    table = np.arange(3)[:, None] * 2 + np.arange(4)
    found = of_nodes(
        [node("Gather", ["x", "i"], ["g"], axis=2), node("Transpose", ["g"], ["y"], perm=[0, 1, 2, 4, 3])],
        (1, 5, 8, 7),
        (1, 5, 3, 7, 4),
        i=table,
    )
    check(found, lambda x: x.unfold(2, 4, 2), (1, 5, 8, 7))


def test_indices_that_skip_nothing_in_no_order_stay_a_gather() -> None:
    found = of_nodes([node("Gather", ["x", "i"], ["y"], axis=1)], (1, 6, 4), (1, 3, 4), i=np.array([4, 0, 5]))
    assert found.op_counts()["Gather"] == 1
    spaced = of_nodes(
        [node("Gather", ["x", "i"], ["g"], axis=1), node("Relu", ["g"], ["y"])],
        (1, 6, 4),
        (1, 3, 4),
        i=np.array([1, 3, 5]),
    )
    assert "Gather" not in spaced.op_counts()


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (4, 4, 0), (3, 1, 0)])
def test_sliding_windows_of_images(kernel: int, stride: int, padding: int) -> None:
    model = Function(lambda x: F.unfold(x.relu(), kernel, padding=padding, stride=stride))
    expected = frontends.trace(model, input_shape=(1, 3, 8, 8), level="inference")
    side = (8 + 2 * padding - kernel) // stride + 1
    table = np.arange(kernel)[:, None] + np.arange(side) * stride
    nodes = [node("Relu", ["x"], ["r"]), node("Pad", ["r", "p"], ["q"]), node("Gather", ["q", "i"], ["rows"], axis=2)]
    nodes += [
        node("Gather", ["rows", "i"], ["all"], axis=4),
        node("Transpose", ["all"], ["t"], perm=[0, 1, 2, 4, 3, 5]),
        node("Reshape", ["t", "s"], ["y"]),
    ]
    out = (1, 3 * kernel**2, side**2)
    found = of_nodes(nodes, (1, 3, 8, 8), out, i=table, p=np.array([0, 0, padding, padding] * 2), s=np.array(out))
    assert cgir.isomorphic(found, expected), cgir.diff(found, expected)


def test_padding_goes_into_every_convolution_that_reads_it() -> None:
    def function(x: Tensor, *weights: Tensor) -> Tensor:
        padded = F.pad(x, (0, 1, 0, 1))
        return F.conv2d(padded, weights[0]) + F.max_pool2d(padded, 2, 1)

    graph = of_torch(function, (1, 4, 6, 6), weight=torch.rand(4, 4, 2, 2))
    (conv,) = (n for n in graph.nodes if n.op == "Conv")
    assert conv.attr("padding") == ((0, 1), (0, 1))
    assert graph.op_counts()["Pad"] == 1  # pooling still reads it


def test_nested_and_empty_concatenations() -> None:
    one = of_torch(lambda x: torch.cat([x, torch.cat([x.relu(), x.abs()], 1)], 1), (1, 4, 6))
    other = of_torch(lambda x: torch.cat([x, x.relu(), x[:, :0], x.abs()], 1), (1, 4, 6))
    assert cgir.isomorphic(one, other)
    across = of_torch(
        lambda x: torch.cat([torch.cat([x, x.relu()], 1), torch.cat([x.abs(), x.sin()], 1)], 2), (1, 4, 6)
    )
    assert across.op_counts()["Concat"] == 3


def test_writing_all_of_a_tensor_is_a_copy() -> None:
    def function(x: Tensor) -> Tensor:
        y = x.relu()
        y[:, 0:] = x.abs()
        return y.exp()

    assert cgir.isomorphic(of_torch(function, (1, 4, 6)), of_torch(lambda x: x.abs().exp(), (1, 4, 6)))


@pytest.mark.parametrize(("reduction", "reduce"), [("max", "amax"), ("min", "amin"), ("add", "sum")])
def test_extrema_of_what_is_written_to_one_place_are_reductions(reduction: str, reduce: str) -> None:
    places = np.broadcast_to((np.arange(8) % 3).reshape(1, 8, 1), (1, 8, 5)).copy()
    zeros = node("ConstantOfShape", ["target"], ["zeros"])
    before = [node("Tanh", ["x"], ["a"]), zeros]
    written = node("ScatterElements", ["zeros", "places", "a"], ["y"], axis=1, reduction=reduction)
    found = of_nodes([*before, written], (1, 8, 5), (1, 3, 5), places=places, target=[1, 3, 5])
    index = torch.from_numpy(places)
    check(found, lambda x: torch.zeros(1, 3, 5).scatter_reduce(1, index, x.tanh(), reduce), (1, 8, 5))
    written = node("ScatterND", ["zeros", "places", "a"], ["y"], reduction=reduction)
    rows = np.stack([np.zeros(8, np.int64), np.arange(8) % 3], 1)[None]
    check_ops(of_nodes([*before, written], (1, 8, 5), (1, 3, 5), places=rows, target=[1, 3, 5]), found)


def check_ops(found: cgir.Graph, expected: cgir.Graph) -> None:
    assert [(node.op, node.shape) for node in found.nodes] == [(node.op, node.shape) for node in expected.nodes]


def test_numbers_of_modules_are_parameters_and_uniform_constants_numbers() -> None:
    nodes = [node("Mul", ["x", "act.scale"], ["m"]), node("Add", ["m", "zeros"], ["y"])]
    found = of_nodes(
        nodes, (1, 4, 6), (1, 4, 6), act__scale=np.array([0.5], np.float32), zeros=np.zeros((4, 6), np.float32)
    )
    assert found.num_params == 1 + 24  # named like no generated constant: zeros may be trained
    nodes[1] = node("Add", ["m", "c"], ["y"])
    nodes.insert(0, node("Constant", [], ["c"], value=numpy_helper.from_array(np.zeros((1, 4, 6), np.float32))))
    found = of_nodes(nodes, (1, 4, 6), (1, 4, 6), act__scale=np.array([0.5], np.float32))
    assert (found.num_params, len(found)) == (1, 3)


def test_different_parts_of_one_parameter_are_different_parameters_at_inference() -> None:
    graph = of_torch(lambda x, table: (x + table[0]) * table[1], (1, 4, 3), table=torch.rand(2, 4, 3))
    assert len({param.id for n in graph.nodes for param in n.params}) == 2


def test_rotary_tables_that_are_inputs_are_looked_up() -> None:
    """As in onnx's own backend tests, where the tables are no constants."""
    sizes = {"x": (2, 4, 3, 8), "cos": (50, 4), "sin": (50, 4), "at": (2, 3)}
    kinds = {name: TensorProto.INT64 if name == "at" else TensorProto.FLOAT for name in sizes}
    inputs = [helper.make_tensor_value_info(name, kinds[name], size) for name, size in sizes.items()]
    rotary = node("RotaryEmbedding", ["x", "cos", "sin", "at"], ["y"])
    proto = helper.make_model(
        helper.make_graph([rotary], "g", inputs, [helper.make_empty_tensor_value_info("y")]),
        opset_imports=[helper.make_opsetid("", 23)],
    )
    graph = frontends.trace(proto, batch={"x": 0, "at": 0, "cos": None, "sin": None})
    assert (graph.op_counts()["Gather"], graph.num_params, graph.flops) == (2, 0, 0)
    assert graph.nodes[-1].shape == (4, 3, 8)
