"""Quantised operators against those on floating-point numbers, and weights in blocks against linear layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import cgir
import frontends
from tests.helpers.onnx_operators import built, check, fused, plain

RNG = np.random.default_rng(0)
SCALE, ZERO = np.array(0.1, np.float32), np.array(128, np.uint8)


def numbers(*size: int, kind: Any = np.uint8) -> np.ndarray:
    return RNG.integers(1, 100, size).astype(kind)


# scales and zero points: of the first and second operand, and of the result
SETTINGS = {f"{name}s": SCALE for name in "xwy"} | {f"{name}z": ZERO for name in "xwy"}
ROWS, IMAGE = {"x": numbers(2, 5, 6)}, {"x": numbers(2, 4, 6, 6)}
BIAS = np.arange(1, 9, dtype=np.int32)


def test_convolutions() -> None:
    nodes = [plain("Conv", ["x", "w", "b"], ["y"], pads=[1, 1, 1, 1], group=2)]
    found = fused("QLinearConv", "x xs xz w ws wz ys yz b", domain="", pads=[1, 1, 1, 1], group=2)
    weights = SETTINGS | {"w": numbers(8, 2, 3, 3), "b": BIAS}
    graph = check(found, nodes, IMAGE, weights, {"w": (8, 2, 3, 3), "b": (8,)})
    assert graph.num_params == 8 * 2 * 9 + 8  # neither scales nor zero points
    found = fused("ConvInteger", "x w xz wz", domain="")
    check(found, [plain("Conv", ["x", "w"], ["y"])], IMAGE, SETTINGS | {"w": numbers(8, 4, 3, 3)}, {"w": (8, 4, 3, 3)})
    nodes = [
        plain("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), plain("Conv", ["t", "w", "b"], ["u"]),
        plain("Transpose", ["u"], ["y"], perm=[0, 2, 3, 1]),
    ]  # fmt: skip
    found = fused("QLinearConv", "x xs xz w ws wz ys yz b", channels_last=1)
    weights = SETTINGS | {"w": numbers(8, 4, 3, 3), "b": BIAS}
    check(found, nodes, {"x": numbers(2, 6, 6, 4)}, weights, {"w": (8, 4, 3, 3), "b": (8,)})


PRODUCTS = {
    "MatMulInteger": ("x w xz wz", "", False),
    "QLinearMatMul": ("x xs xz w ws wz ys yz", "", False),
    "MatMulIntegerToFloat": ("x w xs ws xz wz b", "com.microsoft", True),
    "MatMulInteger ": ("x w xz wz", "com.microsoft", False),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_matrix_products(name: str) -> None:
    operands, domain, biased = PRODUCTS[name]
    product = plain("MatMul", ["x", "w"], ["m" if biased else "y"])
    nodes = [product, plain("Add", ["m", "b"], ["y"])] if biased else [product]
    weights = SETTINGS | {"w": numbers(6, 8), "b": (8,)}
    runs = domain == "" or biased
    check(fused(name.strip(), operands, domain=domain), nodes, ROWS, weights, {"w": (6, 8)}, runs=runs)


def test_linear_layers() -> None:
    inputs = {"x": numbers(4, 6)}
    weights = SETTINGS | {"w": numbers(8, 6), "b": BIAS}
    found = fused("QGemm", "x xs xz w ws wz b ys yz", transB=1)
    nodes = [plain("Gemm", ["x", "w", "b"], ["y"], transB=1)]
    check(found, nodes, inputs, weights, {"w": (8, 6), "b": (8,)})
    found = fused("DynamicQuantizeMatMul", "x w ws wz b")
    nodes = [plain("MatMul", ["x", "w"], ["m"]), plain("Add", ["m", "b"], ["y"])]
    check(found, nodes, {"x": (2, 5, 6)}, SETTINGS | {"w": numbers(6, 8), "b": (8,)}, {"w": (6, 8)})


def test_constants_of_quantised_arithmetic() -> None:
    weights = SETTINGS | {"w": numbers(6)}
    check(fused("QLinearAdd", "x xs xz w ws wz ys yz"), [plain("Add", ["x", "w"], ["y"])], ROWS, weights, {"w": (6,)})
    one = SETTINGS | {"w": np.array(138, np.uint8)}  # ten steps of 0.1 above zero
    nodes = [plain("Mul", ["x", "w"], ["y"])]
    graph = check(fused("QLinearMul", "x xs xz w ws wz ys yz"), nodes, ROWS, one, {"w": np.array(1, np.float32)})
    assert graph.num_params == 0


POOL = {"kernel_shape": [3, 3], "strides": [2, 2]}
OPERATORS: dict[str, tuple[str, list[onnx.NodeProto], dict[str, Any]]] = {
    "QLinearSigmoid": ("x xs xz ys yz", [plain("Sigmoid", ["x"], ["y"])], {}),
    "QLinearLeakyRelu": ("x xs xz ys yz", [plain("LeakyRelu", ["x"], ["y"], alpha=0.2)], {"alpha": 0.2}),
    "QLinearSoftmax": ("x xs xz ys yz", [plain("Softmax", ["x"], ["y"], axis=1)], {"axis": 1, "opset": 13}),
    "QLinearAveragePool": ("x xs xz ys yz", [plain("AveragePool", ["x"], ["y"], **POOL)], POOL),
    "QLinearGlobalAveragePool": ("x xs xz ys yz", [plain("GlobalAveragePool", ["x"], ["y"])], {}),
    "QLinearReduceMean": (
        "x xs xz ys yz", [plain("ReduceMean", ["x", "axes"], ["y"], keepdims=0)], {"axes": [2, 3], "keepdims": 0}
    ),
    "QLinearConcat": ("ys yz x xs xz z xs xz", [plain("Concat", ["x", "z"], ["y"], axis=1)], {"axis": 1}),
    "QLinearWhere": ("c x xs xz z xs xz ys yz", [plain("Where", ["c", "x", "z"], ["y"])], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_functions_pools_and_joins(name: str) -> None:
    operands, nodes, attrs = OPERATORS[name]
    scale = {"ys": np.array(1 / 256, np.float32), "yz": np.array(0, np.uint8)} if name == "QLinearSoftmax" else {}
    inputs = {**IMAGE, **({"z": numbers(2, 4, 6, 6)} if " z " in operands else {})}
    inputs |= {"c": np.ones((2, 4, 6, 6), bool)} if name == "QLinearWhere" else {}
    axes = {"axes": np.array([2, 3])}
    check(fused(name, operands, **attrs), nodes, inputs, SETTINGS | scale, axes, runs=name != "QLinearReduceMean")


def test_pools_of_channels_last() -> None:
    nodes = [
        plain("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), plain("GlobalAveragePool", ["t"], ["u"]),
        plain("Transpose", ["u"], ["y"], perm=[0, 2, 3, 1]),
    ]  # fmt: skip
    found = fused("QLinearGlobalAveragePool", "x xs xz ys yz", channels_last=1)
    check(found, nodes, {"x": numbers(2, 6, 6, 4)}, SETTINGS)


def test_recurrent_layer_with_quantised_matrices() -> None:
    found = fused("DynamicQuantizeLSTM", "x w r b - - - - ws wz rs rz", "y h c", hidden_size=4)
    nodes = [plain("LSTM", ["x", "w", "r", "b"], ["y", "h", "c"], hidden_size=4)]
    quantized = {"w": numbers(1, 6, 16, kind=np.int8), "r": numbers(1, 4, 16, kind=np.int8), "b": (1, 32)}
    settings = {name: np.array([0.1], np.float32) for name in ("ws", "rs")}
    settings |= {name: np.array([0], np.int8) for name in ("wz", "rz")}
    graph = check(found, nodes, {"x": (5, 2, 6)}, quantized | settings, {"w": (1, 16, 6), "r": (1, 16, 4)}, batch=1)
    assert graph.num_params == 16 * 6 + 16 * 4 + 32


def test_quantised_attention() -> None:
    found = fused("QAttention", "x w b xs ws - xz wz", num_heads=2)
    nodes = [fused("Attention", "x w b", num_heads=2)]
    check(found, nodes, {"x": numbers(2, 5, 16)}, SETTINGS | {"w": numbers(16, 48), "b": (48,)}, {"w": (16, 48)})


# --- weights in blocks

BLOCKS = {"ws": (32,), "wz": numbers(16), "b": (32,)}
LINEAR = [plain("Transpose", ["w"], ["t"], perm=[1, 0]), plain("MatMul", ["x", "t"], ["y"])]


@pytest.mark.parametrize(("bits", "size"), [(4, (32, 1, 8)), (8, (32, 1, 16))])
def test_linear_layers_with_weights_in_blocks(bits: int, size: tuple[int, ...]) -> None:
    found = fused("MatMulNBits", "x w ws", K=16, N=32, bits=bits, block_size=16)
    graph = check(found, LINEAR, {"x": (2, 5, 16)}, BLOCKS | {"w": numbers(*size)}, {"w": (32, 16)})
    assert (graph.num_params, graph.flops) == (32 * 16, 2 * 5 * 16 * 32)


def test_linear_layer_with_weights_in_blocks_and_bias() -> None:
    found = fused("MatMulNBits", "x w ws wz - b", K=16, N=32, bits=4, block_size=16)
    nodes = [LINEAR[0], plain("MatMul", ["x", "t"], ["m"]), plain("Add", ["m", "b"], ["y"])]
    weights = BLOCKS | {"w": numbers(32, 1, 8), "wz": numbers(32)}
    check(found, nodes, {"x": (5, 16)}, weights, {"w": (32, 16)})
    found = fused("MatMulBnb4", "x w ws", K=16, N=32, block_size=16, quant_type=1)
    check(found, LINEAR, {"x": (5, 16)}, BLOCKS | {"w": numbers(256)}, {"w": (32, 16)})


def test_embedding_in_blocks() -> None:
    inputs = {"i": np.zeros((2, 5), np.int64)}
    found = fused("GatherBlockQuantized", "w i ws", bits=4, block_size=16, quantize_axis=1, gather_axis=0)
    weights = {"w": numbers(20, 16), "ws": (20, 2)}
    check(found, [plain("Gather", ["w", "i"], ["y"])], inputs, weights, {"w": (20, 32)})


def test_embedding_and_projection_of_one_table() -> None:
    table = {"w": numbers(20, 16), "ws": (20, 2), "p": numbers(32, 1, 8), "ps": (32,)}
    nodes = [
        fused("GatherBlockQuantized", "w i ws", "e", bits=4, block_size=16, quantize_axis=1, gather_axis=0),
        fused("MatMulNBits", "e wb ws", "y", K=32, N=20, bits=4, block_size=16),
    ]
    nodes[1].input[1] = "w"
    graph = frontends.trace(built(nodes, {"i": np.zeros((2, 5), np.int64)}, table, ["y"]))
    cgir.verify(graph)
    assert (graph.num_params, graph.flops) == (20 * 32, 2 * 5 * 32 * 20)


# --- between floating-point and quantised numbers


@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_weights_stay_parameters_behind_dequantisation(domain: str) -> None:
    weights = SETTINGS | {"w": numbers(4, 6), "c": np.arange(1, 5, dtype=np.int32)}
    nodes = [
        fused("QuantizeLinear", "x xs xz", "q", domain), fused("DequantizeLinear", "q xs xz", "d", domain),
        fused("DequantizeLinear", "w ws wz", "v", domain), fused("DequantizeLinear", "c xs", "b", domain),
        plain("Gemm", ["d", "v", "b"], ["y"], transB=1),
    ]  # fmt: skip
    found = frontends.trace(built(nodes, {"x": (2, 6)}, weights, ["y"]))
    expected = frontends.trace(
        built([plain("Gemm", ["x", "w", "b"], ["y"], transB=1)], {"x": (2, 6)}, {"w": (4, 6), "b": (4,)}, ["y"])
    )
    assert cgir.isomorphic(found, expected), cgir.diff(expected, found)


def test_scales_that_depend_on_values_leave_nothing_behind() -> None:
    nodes = [
        plain("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        plain("MatMulInteger", ["q", "w", "z", "wz"], ["i"]),
        plain("Mul", ["s", "layer.weight_scale"], ["t"]),
        plain("Cast", ["i"], ["f"], to=onnx.TensorProto.FLOAT),
        plain("Mul", ["f", "t"], ["m"]),
        plain("Add", ["m", "b"], ["y"]),
    ]
    weights = {"w": numbers(6, 8), "wz": numbers(8), "layer.weight_scale": (8,), "b": (8,)}
    found = frontends.trace(built(nodes, {"x": (2, 5, 6)}, weights, ["y"]))
    linear = [plain("MatMul", ["x", "w"], ["m"]), plain("Add", ["m", "b"], ["y"])]
    expected = frontends.trace(built(linear, {"x": (2, 5, 6)}, {"w": (6, 8), "b": (8,)}, ["y"]))
    assert cgir.isomorphic(found, expected), cgir.diff(expected, found)
    assert found.num_params == 6 * 8 + 8


def test_half_precision_beside_quantised_weights() -> None:
    found = fused("MatMulNBits", "x w ws", "m", K=16, N=32, bits=4, block_size=16)
    nodes = [found, helper.make_node("Add", ["m", "b"], ["y"])]
    half = np.float16
    weights = {"w": numbers(32, 1, 8), "ws": np.ones(32, half), "b": np.ones(32, half)}
    graph = frontends.trace(built(nodes, {"x": np.ones((5, 16), half)}, weights, ["y"]))
    assert (graph.num_params, graph.flops) == (32 * 16 + 32, 2 * 16 * 32)
    assert graph.op_counts()["Linear"] == 1


def test_products_of_scales_of_the_file_leave_nothing_behind() -> None:
    nodes = [
        plain("QuantizeLinear", ["x", "x_scale", "xz"], ["x_quantized"]),
        plain("MatMulInteger", ["x_quantized", "w_quantized", "xz"], ["i"]),
        plain("Mul", ["x_scale", "w_scale"], ["t"]),
        plain("Cast", ["i"], ["f"], to=onnx.TensorProto.FLOAT),
        plain("Mul", ["f", "t"], ["y"]),
    ]
    weights = SETTINGS | {"x_scale": SCALE, "w_quantized": numbers(6, 8), "w_scale": (8,)}
    found = frontends.trace(built(nodes, {"x": (2, 5, 6)}, weights, ["y"]))
    expected = frontends.trace(built([plain("MatMul", ["x", "w"], ["y"])], {"x": (2, 5, 6)}, {"w": (6, 8)}, ["y"]))
    assert cgir.isomorphic(found, expected), cgir.diff(expected, found)


def test_biases_that_the_graph_quantises_stay_parameters() -> None:
    nodes = [
        plain("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        plain("Mul", ["s", "w_scale"], ["t"]),
        plain("Div", ["b", "t"], ["b1"]),
        plain("Floor", ["b1"], ["b2"]),
        plain("Cast", ["b2"], ["b3"], to=onnx.TensorProto.INT32),
        plain("Reshape", ["b3", "size"], ["b4"]),
        plain("ConvInteger", ["q", "w", "z"], ["c"]),
        plain("Add", ["c", "b4"], ["a"]),
        plain("Cast", ["a"], ["f"], to=onnx.TensorProto.FLOAT),
        plain("Mul", ["f", "t"], ["y"]),
    ]
    weights = {"w": numbers(8, 4, 3, 3), "w_scale": SCALE, "b": (8,), "size": np.array([1, 8, 1, 1])}
    found = frontends.trace(built(nodes, {"x": (2, 4, 6, 6)}, weights, ["y"]), level="inference")
    conv = [plain("Conv", ["x", "w", "b"], ["y"])]
    expected = frontends.trace(
        built(conv, {"x": (2, 4, 6, 6)}, {"w": (8, 4, 3, 3), "b": (8,)}, ["y"]), level="inference"
    )
    assert cgir.isomorphic(found, expected), cgir.diff(expected, found)


def test_biases_of_integers_are_parameters() -> None:
    nodes = [plain("MatMulInteger", ["x", "w"], ["i"]), plain("Add", ["b", "i"], ["y"])]
    found = frontends.trace(built(nodes, ROWS, {"w": numbers(6, 8), "b": BIAS}, ["y"]))
    assert (found.num_params, found.op_counts()["Linear"]) == (6 * 8 + 8, 1)


def test_operators_that_move_quantised_numbers() -> None:
    nodes = [
        plain("QuantizeLinear", ["x", "xs", "zero"], ["q"]),
        plain("Pad", ["q", "pads", "zero"], ["p"]),
        plain("DequantizeLinear", ["p", "xs", "zero"], ["y"]),
    ]
    weights = SETTINGS | {"zero": np.array(0, np.int8), "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    found = frontends.trace(built(nodes, {"x": (2, 4, 6, 6)}, weights, ["y"]))
    assert found.op_counts() == {"Input": 1, "Pad": 1, "Output": 1}
