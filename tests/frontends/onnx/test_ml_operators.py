"""Classical models of ai.onnx.ml: linear layers, functions and lookups, with sizes as onnxruntime computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import cgir
import frontends
from frontends.common.trace_request import TraceRequest
from frontends.onnx.importer import tensor_sizes
from tests.helpers.onnx_operators import built, check, check_sizes, fused, plain, random_arrays

ROWS = {"x": (3, 6)}


def ml(op: str, inputs: str = "x", outputs: str = "y", **attrs: Any) -> onnx.NodeProto:
    return fused(op, inputs, outputs, "ai.onnx.ml", **attrs)


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


PREPROCESSING = {
    "Scaler": (
        ml("Scaler", offset=[0.5] * 6, scale=[2.0] * 6),
        [plain("Sub", ["x", "half"], ["c"]), plain("Mul", ["c", "two"], ["y"])],
    ),
    "Normalizer": (ml("Normalizer", norm="L2"), [plain("LpNormalization", ["x"], ["y"], p=2, axis=-1)]),
    "Binarizer": (
        ml("Binarizer", threshold=0.5),
        [plain("Greater", ["x", "half"], ["g"]), plain("Cast", ["g"], ["y"], to=onnx.TensorProto.FLOAT)],
    ),
    "Imputer": (
        ml("Imputer", imputed_value_floats=[0.5], replaced_value_float=float("nan")),
        [plain("IsNaN", ["x"], ["n"]), plain("Where", ["n", "half", "x"], ["y"])],
    ),
}


@pytest.mark.parametrize("name", PREPROCESSING)
def test_preprocessing_has_constants_and_no_parameters(name: str) -> None:
    graph = check(*PREPROCESSING[name], ROWS, more={"half": number(0.5), "two": number(2)})
    assert (graph.num_params, graph.flops) == (0, 0)


def test_linear_regression_is_a_linear_layer() -> None:
    found = ml("LinearRegressor", coefficients=[0.5] * 12, intercepts=[1.0, 2.0], targets=2)
    nodes = [plain("Gemm", ["x", "w", "b"], ["y"], transB=1)]
    graph = check(found, nodes, ROWS, more={"w": (2, 6), "b": (2,)})
    assert (graph.num_params, graph.flops) == (2 * 6 + 2, 2 * 2 * 6)


def test_classification_is_a_linear_layer_and_its_largest_score() -> None:
    labels: dict[str, Any] = {"classlabels_ints": [0, 1, 2], "post_transform": "SOFTMAX"}
    found = ml("LinearClassifier", "x", "label y", coefficients=[0.5] * 18, intercepts=[0.0, 1.0, 2.0], **labels)
    nodes = [
        plain("Gemm", ["x", "w", "b"], ["m"], transB=1),
        plain("Softmax", ["m"], ["y"], axis=1),
        plain("ArgMax", ["y"], ["label"], axis=1, keepdims=0),
    ]
    check(found, nodes, ROWS, more={"w": (3, 6), "b": (3,)})


def test_classifier_as_scikit_learn_writes_it() -> None:
    nodes = [
        ml("Scaler", "x", "s", offset=[0.5] * 6, scale=[2.0] * 6),
        ml("LinearClassifier", "s", "label m", coefficients=[0.5] * 18, classlabels_ints=[0, 1, 2]),
        ml("Normalizer", "m", "p", norm="L1"),
        plain("Cast", ["label"], ["y"], to=onnx.TensorProto.INT64),
        ml("ZipMap", "p", "maps", classlabels_int64s=[0, 1, 2]),
    ]
    graph = frontends.trace(built(nodes, ROWS, {}, ["y", "maps"]))
    cgir.verify(graph)
    assert (graph.num_params, graph.flops, graph.complete) == (18, 2 * 18, True)
    assert sorted(node.shape for node in graph.nodes if node.op == "Output") == [(), (3,)]


VECTORS: dict[str, Any] = {"support_vectors": [0.1] * 30, "kernel_type": "RBF", "kernel_params": [0.5, 0.0, 3.0]}


def sizes_agree(node: onnx.NodeProto, inputs: dict[str, Any], outputs: list[str]) -> cgir.Graph:
    proto = built([node], inputs, {}, outputs)
    check_sizes(proto, random_arrays(inputs))
    graph = frontends.trace(proto)
    cgir.verify(graph)
    return graph


def test_support_vectors_are_parameters() -> None:
    regressor = ml("SVMRegressor", coefficients=[0.5] * 5, rho=[1.0], n_supports=5, **VECTORS)
    graph = sizes_agree(regressor, ROWS, ["y"])
    assert (graph.num_params, graph.flops) == (5 * 6 + 5 + 1, 2 * 5 * 6 + 2 * 5)
    classes: dict[str, Any] = {"classlabels_ints": [0, 1, 2], "vectors_per_class": [2, 2, 1], "rho": [1.0, 2.0, 3.0]}
    classifier = ml("SVMClassifier", "x", "label y", coefficients=[0.5] * 10, **VECTORS, **classes)
    graph = sizes_agree(classifier, ROWS, ["label", "y"])
    assert (graph.num_params, graph.flops) == (5 * 6 + 2 * 5 + 3, 2 * 5 * 6 + 2 * 2 * 5)
    classes |= {"prob_a": [0.5] * 3, "prob_b": [0.5] * 3}
    classifier = ml("SVMClassifier", "x", "label y", coefficients=[0.5] * 10, **VECTORS, **classes)
    sizes_agree(classifier, ROWS, ["label", "y"])


TREE: dict[str, Any] = {
    "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "nodes_values": [0.5, 0.0, 0.0],
    "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0],
}  # fmt: skip


def test_trees_cost_no_products_and_have_uncounted_thresholds() -> None:
    leaves: dict[str, Any] = {"target_treeids": [0, 0], "target_nodeids": [1, 2], "target_ids": [0, 0]}
    regressor = ml("TreeEnsembleRegressor", target_weights=[1.0, 2.0], n_targets=1, **leaves, **TREE)
    graph = sizes_agree(regressor, ROWS, ["y"])
    assert (graph.flops, [gap.quantity for gap in graph.gaps]) == (0, ["parameters"])
    leaves = {"class_treeids": [0, 0], "class_nodeids": [1, 2], "class_ids": [0, 1], "class_weights": [1.0, 1.0]}
    classifier = ml("TreeEnsembleClassifier", "x", "label y", classlabels_int64s=[0, 1], **leaves, **TREE)
    graph = sizes_agree(classifier, ROWS, ["label", "y"])
    assert (graph.flops, [gap.quantity for gap in graph.gaps]) == (0, ["parameters"])


def test_lookups() -> None:
    numbers = {"x": np.zeros((3, 2), np.int64)}
    sizes_agree(ml("OneHotEncoder", cats_int64s=[0, 1, 2, 3]), numbers, ["y"])
    sizes_agree(ml("LabelEncoder", keys_int64s=[0, 1], values_floats=[0.5, 1.5]), numbers, ["y"])
    sizes_agree(ml("FeatureVectorizer", "x z", inputdimensions=[6, 2]), {**ROWS, "z": (3, 2)}, ["y"])
    places = {"places": np.array([0, 2, 4])}
    proto = built([ml("ArrayFeatureExtractor", "x places")], ROWS, places, ["y"])
    check_sizes(proto, random_arrays(ROWS))


@pytest.mark.parametrize(
    ("attrs", "kind"),
    [
        ({"keys_int64s": [0, 1], "values_int64s": [5, 6]}, onnx.TensorProto.INT64),
        ({"keys_int64s": [0, 1], "values_floats": [0.5, 1.5]}, onnx.TensorProto.FLOAT),
        (
            {f"{name}_tensor": onnx.numpy_helper.from_array(np.array([3, 4])) for name in ("keys", "values")},
            onnx.TensorProto.INT64,
        ),
    ],
    ids=["integers", "floats", "tensors"],
)
def test_values_of_lookups_keep_their_type(attrs: dict[str, Any], kind: int) -> None:
    nodes = [ml("LabelEncoder", "x", "k", **attrs), plain("Gather", ["w", "k"], ["y"])]
    proto = built(nodes, {"x": np.zeros((3, 2), np.int64)}, {"w": (9, 4)}, ["y"])
    if kind == onnx.TensorProto.INT64:
        assert (frontends.trace(proto).num_params, tensor_sizes(proto, TraceRequest())["y"]) == (36, (3, 2, 4))
    else:
        with pytest.raises(cgir.TraceError, match="Gather"):
            frontends.trace(proto)


# --- what no rule covers


@pytest.mark.parametrize(
    ("op", "domain", "reason"),
    [
        ("Tokenizer", "com.microsoft", "how many tokens there are depends on the text"),
        ("BertTokenizer", "ai.onnx.contrib", "how many tokens there are depends on the text"),
        ("BeamSearch", "com.microsoft", "until an end token"),
        ("Unheard", "com.example", "operators of domain 'com.example' are unknown here"),
    ],
)
def test_operators_of_unknown_size_say_what_helps(op: str, domain: str, reason: str) -> None:
    proto = built([fused(op, "x", domain=domain)], ROWS, {}, ["y"])
    with pytest.raises(cgir.TraceError, match=reason) as caught:
        frontends.trace(proto)
    assert "graph.value_info" in str(caught.value)
    assert "run shape inference" not in str(caught.value)
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (3, 4)))
    graph = frontends.trace(proto)
    assert graph.op_counts()[f"Opaque:{domain}.{op}"] == 1
    assert not graph.complete
