"""FLOPs of ONNX files by hand-written formulas, and one network with all files that onnxruntime makes of it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from benchmarks.zoo import onnx_costs, onnx_variants, onnx_wheels


def model_of(
    nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]], shape: list[int | str]
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.ones(size, np.float32), name) for name, size in weights.items()]
    inputs = [make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    graph = make_graph(nodes, "g", inputs, [make_tensor_value_info("y", TensorProto.FLOAT, None)], tensors)
    return make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)


def counted(nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]], shape: list[int | str]) -> int | None:
    model = model_of(nodes, weights, shape)
    inputs = onnx_costs.zeros(model, {})
    computed = onnx_costs.values(model, inputs)
    assert computed is not None
    return onnx_costs.flops(model, computed, inputs)


@pytest.mark.parametrize(
    ("nodes", "weights", "shape", "expected"),
    [
        ([make_node("Conv", ["x", "w"], ["y"], group=2)], {"w": (6, 2, 3, 3)}, [1, 4, 8, 8], 2 * 6 * 36 * 18),
        ([make_node("ConvTranspose", ["x", "w"], ["y"])], {"w": (4, 6, 2, 2)}, [1, 4, 8, 8], 2 * 256 * 24),
        ([make_node("MatMul", ["x", "w"], ["y"])], {"w": (5, 7)}, ["n", 3, 5], 2 * 3 * 5 * 7),
        ([make_node("Gemm", ["x", "w"], ["y"], transA=1)], {"w": (5, 7)}, [5, 3], 2 * 3 * 5 * 7),
        (
            [make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=4)],
            {"w": (1, 16, 3), "r": (1, 16, 4)},
            [5, 1, 3],
            2 * 5 * 16 * 7,
        ),
        ([make_node("Einsum", ["x", "w"], ["y"], equation="bij,jk->bik")], {"w": (5, 7)}, [1, 3, 5], 2 * 3 * 5 * 7),
        ([make_node("Relu", ["x"], ["y"])], {}, [1, 3], 0),
    ],
)
def test_flops_by_hand(
    nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]], shape: list[int | str], expected: int
) -> None:
    assert counted(nodes, weights, shape) == expected


@pytest.mark.parametrize("equation", ["bij,jk,kl->bil", "...j,jk->...k"])
def test_a_product_without_a_formula_is_not_compared(equation: str) -> None:
    names = ["x", "w", "v"][: equation.count(",") + 1]
    node = make_node("Einsum", names, ["y"], equation=equation)
    assert counted([node], {"w": (5, 7), "v": (7, 2)}, [1, 3, 5]) is None


def test_files_that_onnxruntime_makes_cost_what_the_module_does() -> None:
    assert onnx_variants.check("perceptron") == dict.fromkeys(onnx_variants.COLUMNS, True)


def test_a_file_that_is_not_there_says_what_to_install() -> None:
    with pytest.raises(FileNotFoundError, match=r"numpy/none\.onnx: numpy has no such file"):
        onnx_wheels.located("numpy/none.onnx")
