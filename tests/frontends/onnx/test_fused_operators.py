"""Operators of onnxruntime, one at a time: the graph of what they stand for, and sizes as onnxruntime computes them.

Files declare no sizes between input and output, as those that onnxruntime writes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import frontends
from tests.helpers.onnx_operators import built, check, fused, plain

IMAGE, ROWS = {"x": (2, 8, 6, 6)}, {"x": (2, 5, 16)}
FILTERS = {"w": (8, 8, 3, 3), "b": (8,)}


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


ACTIVATIONS = {
    "Relu": ([], [plain("Relu", ["a"], ["y"])]),
    "Tanh": ([], [plain("Tanh", ["a"], ["y"])]),
    "Sigmoid": ([], [plain("Sigmoid", ["a"], ["y"])]),
    "LeakyRelu": ([0.3], [plain("LeakyRelu", ["a"], ["y"], alpha=0.3)]),
    "HardSigmoid": ([0.2, 0.4], [plain("HardSigmoid", ["a"], ["y"], alpha=0.2, beta=0.4)]),
    "Clip": ([0.0, 6.0], [plain("Clip", ["a", "low", "high"], ["y"])]),
    "": ([], [plain("Identity", ["a"], ["y"])]),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_convolution_with_activation(name: str) -> None:
    params, activation = ACTIVATIONS[name]
    attrs: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}
    given = {"activation": name, **({"activation_params": params} if params else {})} if name else {}
    conv = plain("Conv", ["x", "w", "b"], ["a"], **attrs)
    bounds = {"low": number(0), "high": number(6)}
    check(fused("FusedConv", "x w b", **attrs, **given), [conv, *activation], IMAGE, FILTERS, bounds)


def test_convolution_with_residual() -> None:
    attrs: dict[str, Any] = {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "group": 2}
    weights = {"w": (8, 4, 3, 3), "b": (8,)}
    conv = plain("Conv", ["x", "w", "b"], ["c"], **attrs)
    nodes = [conv, plain("Add", ["c", "z"], ["a"]), plain("Relu", ["a"], ["y"])]
    inputs = {**IMAGE, "z": (2, 8, 6, 6)}
    check(fused("FusedConv", "x w b z", activation="Relu", **attrs), nodes, inputs, weights)


def test_channels_last() -> None:
    before, after = (
        plain("Transpose", [x], [y], perm=order) for x, y, order in (("x", "t", [0, 3, 1, 2]), ("u", "y", [0, 2, 3, 1]))
    )
    inputs, weights = {"x": (2, 6, 6, 8)}, {"w": (4, 8, 3, 3), "b": (4,)}
    nodes = [before, plain("Conv", ["t", "w", "b"], ["u"]), after]
    check(fused("NhwcConv", "x w b"), nodes, inputs, weights, runs=False)
    found = fused("NhwcFusedConv", "x w b", activation="Relu")
    nodes[1:2] = [plain("Conv", ["t", "w", "b"], ["c"]), plain("Relu", ["c"], ["u"])]
    check(found, nodes, inputs, weights, runs=False)
    pool = plain("MaxPool", ["t"], ["u"], kernel_shape=[2, 2], strides=[2, 2])
    found = fused("NhwcMaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])
    check(found, [before, pool, after], inputs, runs=False)


@pytest.mark.parametrize("name", ["Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Softplus", "ThresholdedRelu"])
def test_linear_layer_with_activation(name: str) -> None:
    alpha = {"LeakyRelu": 0.3, "Elu": 0.5, "ThresholdedRelu": 2.0}.get(name)
    given = {} if alpha is None else {"activation_alpha": alpha}
    gemm = plain("Gemm", ["x", "w", "b"], ["a"], transB=1)
    activation = plain(name, ["a"], ["y"], **({} if alpha is None else {"alpha": alpha}))
    found = fused("FusedGemm", "x w b", transB=1, activation=name, **given)
    check(found, [gemm, activation], {"x": (3, 16)}, {"w": (4, 16), "b": (4,)})


@pytest.mark.parametrize("op", ["FusedMatMul", "TransposeMatMul"])
def test_products_of_transposed_factors(op: str) -> None:
    nodes = [
        plain("Transpose", ["k"], ["t"], perm=[0, 2, 1]),
        plain("MatMul", ["q", "t"], ["m"]),
        plain("Mul", ["m", "half"], ["y"]),
    ]
    inputs = {"q": (2, 5, 16), "k": (2, 7, 16)}
    check(fused(op, "q k", transB=1, alpha=0.5), nodes, inputs, more={"half": number(0.5)})
    nodes = [plain("Transpose", ["w"], ["t"], perm=[1, 0]), plain("MatMul", ["x", "t"], ["y"])]
    check(fused(op, "x w", transB=1), nodes, ROWS, {"w": (4, 16)})


def test_product_of_transposed_batches() -> None:
    nodes = [plain("Transpose", ["q"], ["t"], perm=[1, 2, 0, 3]), plain("MatMul", ["t", "k"], ["y"])]
    inputs = {"q": (3, 2, 4, 8), "k": (2, 4, 8, 6)}
    check(fused("FusedMatMul", "q k", transBatchA=1), nodes, inputs, batch=None)


ELEMENTWISE = {
    "Gelu": (fused("Gelu", "x"), [plain("Gelu", ["x"], ["y"])]),
    "BiasGelu": (fused("BiasGelu", "x b"), [plain("Add", ["x", "b"], ["s"]), plain("Gelu", ["s"], ["y"])]),
    "FastGelu": (fused("FastGelu", "x"), [plain("Gelu", ["x"], ["y"], approximate="tanh")]),
    "FastGelu with bias": (
        fused("FastGelu", "x b"), [plain("Add", ["x", "b"], ["s"]), plain("Gelu", ["s"], ["y"], approximate="tanh")],
    ),
    "QuickGelu": (
        fused("QuickGelu", "x", alpha=1.702),
        [plain("Mul", ["x", "a"], ["s"]), plain("Sigmoid", ["s"], ["t"]), plain("Mul", ["x", "t"], ["y"])],
    ),
    "QuickGelu as SiLU": (
        fused("QuickGelu", "x", alpha=1.0), [plain("Sigmoid", ["x"], ["t"]), plain("Mul", ["x", "t"], ["y"])],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activations(name: str) -> None:
    check(*ELEMENTWISE[name], ROWS, {"b": (16,)}, {"a": number(1.702)})


ON_DEVICES = {
    "BiasAdd": (
        fused("BiasAdd", "x b z"), [plain("Add", ["x", "b"], ["s"]), plain("Add", ["s", "z"], ["y"])],
    ),
    "BiasSoftmax": (
        fused("BiasSoftmax", "x b", axis=2, is_inner_broadcast=0),
        [plain("Add", ["x", "b"], ["s"]), plain("Softmax", ["s"], ["y"], axis=2)],
    ),
    "BiasSplitGelu": (
        fused("BiasSplitGelu", "x b"),
        [
            plain("Add", ["x", "b"], ["s"]), plain("Split", ["s"], ["l", "r"], axis=2, num_outputs=2),
            plain("Gelu", ["r"], ["g"]), plain("Mul", ["l", "g"], ["y"]),
        ],
    ),
    "BiasDropout": (
        fused("BiasDropout", "x b z"), [plain("Add", ["x", "b"], ["s"]), plain("Add", ["s", "z"], ["y"])],
    ),
    "GemmFastGelu": (
        fused("GemmFastGelu", "x w c"),
        [
            plain("MatMul", ["x", "w"], ["m"]), plain("Add", ["m", "c"], ["s"]),
            plain("Gelu", ["s"], ["y"], approximate="tanh"),
        ],
    ),
    "FusedMatMulActivation": (
        fused("FusedMatMulActivation", "x w", activation="LeakyRelu", activation_alpha=0.2),
        [plain("MatMul", ["x", "w"], ["m"]), plain("LeakyRelu", ["m"], ["y"], alpha=0.2)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ON_DEVICES)
def test_operators_without_kernels_for_the_cpu(name: str) -> None:
    inputs = {**ROWS, "z": (2, 5, 16)} if "z" in ON_DEVICES[name][0].input else ROWS
    check(*ON_DEVICES[name], inputs, {"b": (16,), "w": (16, 4), "c": (4,)}, runs=False)


def test_norms_of_sums() -> None:
    inputs, weights = {**ROWS, "z": (2, 5, 16)}, {"g": (16,), "h": (16,), "b": (16,)}
    total, biased = plain("Add", ["x", "z"], ["s"]), plain("Add", ["x", "b"], ["a"])
    norm = plain("LayerNormalization", ["s", "g", "h"], ["y"], axis=-1)
    check(fused("SkipLayerNormalization", "x z g h"), [total, norm], inputs, weights)
    nodes = [biased, plain("Add", ["a", "z"], ["s"]), norm]
    check(fused("SkipLayerNormalization", "x z g h b"), nodes, inputs, weights)
    norm = plain("RMSNormalization", ["s", "g"], ["y"], axis=-1)
    check(fused("SkipSimplifiedLayerNormalization", "x z g"), [total, norm], inputs, weights)
    check(fused("SkipSimplifiedLayerNormalization", "x z g b"), [biased, *nodes[1:2], norm], inputs, weights)
    norm = plain("RMSNormalization", ["x", "g"], ["y"])
    check(fused("SimplifiedLayerNormalization", "x g"), [norm], ROWS, weights, runs=False)


def test_sum_before_a_norm_is_a_result() -> None:
    found = fused("SkipLayerNormalization", "x z g h", "y - - s", epsilon=1e-5)
    nodes = [plain("Add", ["x", "z"], ["s"]), plain("LayerNormalization", ["s", "g", "h"], ["y"], axis=-1)]
    check(found, nodes, {**ROWS, "z": (2, 5, 16)}, {"g": (16,), "h": (16,)})


def test_group_norms() -> None:
    weights = {"g": (8,), "h": (8,)}
    to_first, to_last = (
        plain("Transpose", [x], [y], perm=order) for x, y, order in (("x", "t", [0, 3, 1, 2]), ("u", "y", [0, 2, 3, 1]))
    )
    norm = plain("GroupNormalization", ["t", "g", "h"], ["n"], num_groups=4)
    silu = [plain("Sigmoid", ["n"], ["i"]), plain("Mul", ["n", "i"], ["u"])]
    found = fused("GroupNorm", "x g h", groups=4, activation=1)
    check(found, [to_first, norm, *silu, to_last], {"x": (2, 6, 6, 8)}, weights, runs=False)
    added = plain("Add", ["x", "z"], ["t"])
    norm = plain("GroupNormalization", ["t", "g", "h"], ["y"], num_groups=4)
    found = fused("SkipGroupNorm", "x g h z", groups=4, activation=0, channels_last=0)
    check(found, [added, norm], {**IMAGE, "z": (2, 8, 6, 6)}, weights, runs=False)


STANDARD = {
    "Trilu": (fused("Trilu", "x", upper=0), [plain("Trilu", ["x"], ["y"], upper=0)]),
    "Pad": (fused("Pad", "x pads", mode="constant"), [plain("Pad", ["x", "pads"], ["y"])]),
    "ExpandDims": (fused("ExpandDims", "x axis"), [plain("Unsqueeze", ["x", "axes"], ["y"])]),
    "GatherND": (fused("GatherND", "x places"), [plain("GatherND", ["x", "places"], ["y"])]),
}


@pytest.mark.parametrize("name", STANDARD)
def test_operators_that_onnx_has_too(name: str) -> None:
    settings = {
        "pads": np.array([0, 1, 0, 0, 2, 0]),
        "axis": np.array(1, np.int32),
        "axes": np.array([1]),
        "places": np.array([[[0], [1]]]),
    }
    more = {key: value for key, value in settings.items() if any(key in node.input for node in STANDARD[name][1])}
    used = {key: value for key, value in settings.items() if key in STANDARD[name][0].input}
    check(*STANDARD[name], ROWS, used, more)


def test_distances_of_rows() -> None:
    nodes = [
        plain("Unsqueeze", ["x", "one"], ["a"]), plain("Unsqueeze", ["z", "zero"], ["b"]),
        plain("Sub", ["a", "b"], ["d"]), plain("ReduceSumSquare", ["d", "two"], ["s"], keepdims=0),
        plain("Sqrt", ["s"], ["y"]),
    ]  # fmt: skip
    axes = {"one": np.array([1]), "zero": np.array([0]), "two": np.array([2])}
    check(fused("CDist", "x z", metric="euclidean"), nodes, {"x": (4, 16), "z": (3, 16)}, more=axes, batch=None)


def test_inverse_has_a_size_and_unknown_cost() -> None:
    graph = frontends.trace(built([fused("Inverse", "x")], {"x": (2, 4, 4)}, {}, ["y"]))
    assert graph.op_counts()["Opaque:com.microsoft.Inverse"] == 1
    assert not graph.complete
    assert [node.shape for node in graph.nodes if node.op == "Output"] == [(4, 4)]
