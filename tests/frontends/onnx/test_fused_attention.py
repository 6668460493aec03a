"""Attention layers, positions and embeddings of onnxruntime against ONNX's Attention and the layers around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import cgir
import frontends
from frontends.common.trace_request import TraceRequest
from frontends.onnx.importer import tensor_sizes
from tests.helpers.onnx_operators import built, check, check_sizes, fused, plain, random_array, random_arrays

ROWS, PACKED = {"x": (2, 5, 16)}, {"w": (16, 48), "b": (48,)}
QKV = {"q": (2, 5, 16), "k": (2, 7, 16), "v": (2, 7, 16)}
PAST = {"pk": (2, 2, 3, 8), "pv": (2, 2, 3, 8)}
PROJECTED = [
    plain("MatMul", ["x", "w"], ["m"]),
    plain("Add", ["m", "b"], ["p"]),
    plain("Split", ["p"], ["q", "k", "v"], axis=2, num_outputs=3),
]


def attention(inputs: str, outputs: str = "y", heads: int = 2, key_heads: int = 2) -> onnx.NodeProto:
    return fused("Attention", inputs, outputs, "", q_num_heads=heads, kv_num_heads=key_heads)


def heads_first(name: str, result: str, heads: int = 2, width: int = 8) -> list[onnx.NodeProto]:
    """(batch, length, heads x width) as (batch, heads, length, width)."""
    sizes = plain("Constant", [], [f"{result}.size"], value_ints=[0, 0, heads, width])
    cut = plain("Reshape", [name, f"{result}.size"], [f"{result}.cut"])
    return [sizes, cut, plain("Transpose", [f"{result}.cut"], [result], perm=[0, 2, 1, 3])]


def test_self_attention_is_a_linear_layer_and_attention() -> None:
    graph = check(fused("Attention", "x w b", num_heads=2), [*PROJECTED, attention("q k v")], ROWS, PACKED)
    # 5 rows times (16, 48), and 2 heads with 5 x 5 scores of width 8, twice
    assert graph.flops == 2 * 5 * 16 * 48 + 2 * (2 * 2 * 5 * 5 * 8)
    assert graph.num_params == 16 * 48 + 48


def test_widths_of_query_key_and_value() -> None:
    cut = plain("Split", ["p", "widths"], ["q", "k", "v"], axis=2)
    found = fused("Attention", "x w b", num_heads=2, qkv_hidden_sizes=[16, 16, 8])
    weights = {"w": (16, 40), "b": (40,)}
    check(found, [*PROJECTED[:2], cut, attention("q k v")], ROWS, weights, {"widths": np.array([16, 16, 8])})


def test_masks_of_self_attention() -> None:
    bias = {"bias": (1, 2, 5, 5)}
    found = fused("Attention", "x w b - - bias", num_heads=2)
    check(found, [*PROJECTED, attention("q k v bias")], {**ROWS, **bias}, PACKED)
    mask = [
        plain("Unsqueeze", ["mask", "axes"], ["a"]), plain("Cast", ["a"], ["c"], to=1),
        plain("Sub", ["one", "c"], ["d"]), plain("Mul", ["d", "low"], ["e"]),
    ]  # fmt: skip
    numbers = {"one": np.float32([1]).reshape(()), "low": np.array(-10000, np.float32), "axes": np.array([1, 2])}
    inputs = {**ROWS, "mask": np.ones((2, 5), np.int32)}
    check(
        fused("Attention", "x w b mask", num_heads=2),
        [*PROJECTED, *mask, attention("q k v e")],
        inputs,
        PACKED,
        numbers,
    )
    lengths = {**ROWS, "mask": np.full(2, 5, np.int32)}
    found = fused("Attention", "x w b mask", num_heads=2)
    check(found, [*PROJECTED, attention("q k v mask")], lengths, PACKED)


def test_keys_and_values_of_self_attention() -> None:
    found = fused("Attention", "x w b - past", "y present", num_heads=2, unidirectional=1)
    nodes = [
        *PROJECTED, plain("Split", ["past"], ["pk5", "pv5"], axis=0, num_outputs=2),
        plain("Reshape", ["pk5", "past.size"], ["pk"]), plain("Reshape", ["pv5", "past.size"], ["pv"]),
        attention("q k v - pk pv", "y nk nv"),
        plain("Unsqueeze", ["nk", "axis"], ["uk"]), plain("Unsqueeze", ["nv", "axis"], ["uv"]),
        plain("Concat", ["uk", "uv"], ["present"], axis=0),
    ]  # fmt: skip
    numbers = {"axis": np.array([0]), "past.size": np.array([2, 2, 3, 8])}
    check(found, nodes, {**ROWS, "past": (2, 2, 2, 3, 8)}, PACKED, numbers)
    found = fused("Attention", "x w b", "y present", num_heads=2, unidirectional=1)
    nodes = [*PROJECTED, attention("q k v"), *heads_first("k", "nk"), *heads_first("v", "nv"), *nodes[-3:]]
    check(found, nodes, ROWS, PACKED, numbers)


def test_attention_of_projected_tensors() -> None:
    check(fused("MultiHeadAttention", "q k v", num_heads=2), [attention("q k v")], QKV)
    found = fused("MultiHeadAttention", "q k v - - bias", num_heads=2)
    check(found, [attention("q k v bias")], {**QKV, "bias": (1, 1, 5, 7)})
    inputs = {**QKV, **PAST}
    found = fused("MultiHeadAttention", "q k v - - - pk pv", "y nk nv", num_heads=2)
    check(found, [attention("q k v - pk pv", "y nk nv")], inputs)
    nodes = [attention("q k v"), *heads_first("k", "nk"), *heads_first("v", "nv")]
    check(fused("MultiHeadAttention", "q k v", "y nk nv", num_heads=2), nodes, QKV)


def test_biases_of_projections_are_three_parameters() -> None:
    nodes = [
        *(plain("MatMul", ["x", f"w{part}"], [f"m{part}"]) for part in "qkv"),
        *(plain("Add", [f"m{part}", f"b{part}"], [f"a{part}"]) for part in "qkv"),
        attention("aq ak av"),
    ]  # fmt: skip
    weights = {"wq": (16, 16), "wk": (16, 16), "wv": (16, 16)}
    expected = frontends.trace(built(nodes, ROWS, {**weights, "bq": (16,), "bk": (16,), "bv": (16,)}, ["y"]))
    layer = fused("MultiHeadAttention", "mq mk mv b", num_heads=2)
    found = frontends.trace(built([*nodes[:3], layer], ROWS, {**weights, "b": (48,)}, ["y"]))
    assert cgir.isomorphic(found, expected), cgir.diff(expected, found)
    assert found.num_params == 3 * 16 * 16 + 48


def test_packed_queries_keys_and_values() -> None:
    nodes = [
        plain("Split", ["kv"], ["k5", "v5"], axis=3, num_outputs=2),
        plain("Reshape", ["k5", "rows"], ["k"]), plain("Reshape", ["v5", "rows"], ["v"]), attention("q k v"),
    ]  # fmt: skip
    found = fused("MultiHeadAttention", "q kv", num_heads=2)
    inputs = {"q": (2, 5, 16), "kv": (2, 7, 2, 2, 8)}
    check(found, nodes, inputs, more={"rows": np.array([2, 7, 16])}, runs=False)
    found = fused("MultiHeadAttention", "q k v", num_heads=2)
    nodes = [plain("Transpose", [name], [f"{name}t"], perm=[0, 2, 1, 3]) for name in ("k", "v")]
    nodes += [plain("Reshape", [f"{name}t", "rows"], [f"{name}r"]) for name in ("k", "v")]
    inputs = {"q": (2, 5, 16), "k": (2, 2, 7, 8), "v": (2, 2, 7, 8)}
    check(found, [*nodes, attention("q kr vr")], inputs, more={"rows": np.array([2, 7, 16])})


GROUPED = {"q": (1, 1, 32), "k": (1, 1, 16), "v": (1, 1, 16), "pk": (1, 2, 6, 8), "pv": (1, 2, 6, 8)}
STEP = {"lengths": np.array([6], np.int32), "total": np.array(7, np.int32)}


def test_grouped_queries_and_their_cache() -> None:
    found = fused("GroupQueryAttention", "q k v pk pv lengths total", "y nk nv", num_heads=4, kv_num_heads=2)
    expected = attention("q k v lengths pk pv", "y nk nv", 4)
    proto = built([found], {**GROUPED, **STEP}, {}, ["y", "nk", "nv"])
    given = random_arrays(GROUPED | STEP)
    graph = frontends.trace(proto, given)
    assert graph.flops == 2 * (2 * 4 * 1 * 7 * 8)
    same = frontends.trace(built([expected], {**GROUPED, **STEP}, {}, ["y", "nk", "nv"]))
    assert cgir.isomorphic(graph, same), cgir.diff(same, graph)
    check_sizes(proto, given)


@pytest.mark.parametrize("length", [0, 20])
def test_caches_that_are_empty_or_longer_than_needed(length: int) -> None:
    found = fused("GroupQueryAttention", "q k v pk pv lengths total", "y nk nv", num_heads=4, kv_num_heads=2)
    rows = 1 if length else 5
    arrays: dict[str, Any] = {
        **{name: random_array((1, rows, width)) for name, width in (("q", 32), ("k", 16), ("v", 16))},
        **{name: random_array((1, 2, length, 8)) for name in ("pk", "pv")},
        "lengths": np.array([6 if length else 4], np.int32), "total": np.array(7 if length else 5, np.int32),
    }  # fmt: skip
    proto = built([found], arrays, {}, ["y", "nk", "nv"])
    check_sizes(proto, arrays)
    cgir.verify(frontends.trace(proto, arrays))


def test_norms_and_sinks_of_heads_are_parameters() -> None:
    found = fused(
        "GroupQueryAttention",
        "q k v - - lengths total - - - - sink - - qn kn",
        num_heads=4,
        kv_num_heads=2,
        do_rotary=1,
    )
    inputs = {"q": (1, 5, 32), "k": (1, 5, 16), "v": (1, 5, 16)}
    settings = {"lengths": np.array([4], np.int32), "total": np.array(5, np.int32)}
    weights = {"sink": (4,), "qn": (8,), "kn": (8,)}
    graph = frontends.trace(built([found], inputs, settings | weights, ["y"]))
    cgir.verify(graph)
    assert (graph.num_params, graph.flops) == (4 + 8 + 8, 2 * (2 * 4 * 5 * 5 * 8))
    assert graph.op_counts()["RMSNorm"] == 2


@pytest.mark.parametrize("op", ["Attention", "DecoderMaskedSelfAttention"])
def test_presents_that_share_the_buffer_of_the_past(op: str) -> None:
    found = fused(op, "x w b - past - length", "y present", num_heads=2, past_present_share_buffer=1)
    inputs = {"x": (1, 1, 16), "past": (2, 1, 2, 20, 8)}
    proto = built([found], inputs, {**PACKED, "length": np.array(6, np.int32)}, ["y", "present"])
    assert tensor_sizes(proto, TraceRequest(batch=None))["present"] == (2, 1, 2, 20, 8)


ANGLES = {"cos": (20, 4), "sin": (20, 4)}


@pytest.mark.parametrize("domain", ["com.microsoft", ""])
def test_rotations_have_no_parameters(domain: str) -> None:
    operands = "x p cos sin" if domain else "x cos sin p"
    found = fused("RotaryEmbedding", operands, domain=domain)
    inputs = {"x": (2, 2, 5, 8), "p": np.zeros((2, 5), np.int64)}
    proto = built([found], inputs, ANGLES, ["y"])
    graph = frontends.trace(proto)
    assert (graph.num_params, graph.flops, graph.complete) == (0, 0, True)
    computed = [node.op for node in graph.nodes if node.op not in ("Input", "Output")]
    assert computed == ["Neg", "Concat", "Mul", "Mul", "Add"]
    check_sizes(proto, random_arrays(inputs))


@pytest.mark.parametrize("looked_up", [True, False])
def test_angles_that_are_computed_are_read(looked_up: bool) -> None:
    inputs: dict[str, Any] = {"x": (2, 2, 5, 8), "cos": (2, 5, 4), "sin": (2, 5, 4)}
    if looked_up:
        inputs |= {"cos": (20, 4), "sin": (20, 4), "p": np.zeros((2, 5), np.int64)}
    found = fused("RotaryEmbedding", "x cos sin p" if looked_up else "x cos sin", domain="")
    proto = built([found], inputs, {}, ["y"])
    check_sizes(proto, random_arrays(inputs))
    graph = frontends.trace(proto, raw=True)
    cgir.verify(graph)
    assert graph.op_counts().get("Gather", 0) == 2 * looked_up
    read = {index for node in graph.nodes for index in node.inputs}
    assert all(index in read for index, node in enumerate(graph.nodes) if node.op == "Input")


def test_rotation_of_some_channels() -> None:
    found = fused("RotaryEmbedding", "x p cos sin", num_heads=2, rotary_embedding_dim=4)
    inputs = {"x": (2, 5, 16), "p": np.zeros((2, 5), np.int64)}
    proto = built([found], inputs, {"cos": (20, 2), "sin": (20, 2)}, ["y"])
    assert frontends.trace(proto).op_counts()["Concat"] == 2
    check_sizes(proto, random_arrays(inputs))


TABLES = {"word": (30, 16), "place": (10, 16), "segment": (2, 16), "g": (16,), "h": (16,)}


def test_embeddings_of_words_positions_and_segments() -> None:
    ids = {name: np.zeros((2, 5), np.int32) for name in ("i", "s")}
    found = fused("EmbedLayerNormalization", "i s word place segment g h - -", "y lengths sum")
    nodes = [
        plain("Gather", ["word", "i"], ["a"]), plain("Gather", ["place", "places"], ["b"]),
        plain("Gather", ["segment", "s"], ["c"]), plain("Add", ["a", "b"], ["d"]), plain("Add", ["d", "c"], ["sum"]),
        plain("LayerNormalization", ["sum", "g", "h"], ["y"], axis=-1),
        plain("Constant", [], ["lengths"], value=onnx.numpy_helper.from_array(np.zeros(2, np.int32))),
    ]  # fmt: skip
    check(found, nodes, ids, TABLES, {"places": np.arange(5)[None]})
    mask = {**ids, "m": np.ones((2, 5), np.int32)}
    found = fused("EmbedLayerNormalization", "i s word place segment g h m", "y lengths sum")
    nodes[-1] = plain("ReduceSum", ["m", "one"], ["lengths"], keepdims=0)
    check(found, nodes, mask, TABLES, {"places": np.arange(5)[None], "one": np.array([1])})


def test_sequences_without_padding() -> None:
    found = fused("PackedAttention", "x w b offsets starts", num_heads=2)
    nodes = [
        *PROJECTED[:2], plain("Split", ["p"], ["q", "k", "v"], axis=1, num_outputs=3),
        *(plain("Reshape", [name, "rows"], [f"{name}r"]) for name in "qkv"), attention("qr kr vr", "z"),
        plain("Reshape", ["z", "packed"], ["y"]),
    ]  # fmt: skip
    settings = {"rows": np.array([2, 5, 16]), "packed": np.array([10, 16])}
    weights = {**PACKED, "offsets": np.zeros((2, 5), np.int32), "starts": np.zeros(3, np.int32)}
    check(found, nodes, {"x": (10, 16)}, weights, settings, runs=False, batch=None)


def test_attention_whose_cost_depends_on_values() -> None:
    found = fused("LongformerAttention", "x w b m gw gb g", num_heads=2, window=2)
    inputs = {"x": (1, 8, 16), "m": (1, 8), "g": np.zeros((1, 8), np.int32)}
    graph = frontends.trace(built([found], inputs, {**PACKED, "gw": (16, 48), "gb": (48,)}, ["y"]))
    assert graph.num_params == 2 * (16 * 48 + 48)
    assert not graph.complete


def test_experts() -> None:
    found = fused("MoE", "x r w1 b1 w2 b2", k=2, activation_type="gelu")
    weights = {"w1": (4, 32, 16), "b1": (4, 32), "w2": (4, 16, 32), "b2": (4, 16)}
    inputs = {"x": (6, 16), "r": (6, 4)}
    proto = built([found], inputs, weights, ["y"])
    graph = frontends.trace(proto)
    cgir.verify(graph)
    assert graph.num_params == 4 * (32 * 16 + 32 + 16 * 32 + 16)
    assert graph.flops == 2 * (2 * 16 * 32 + 2 * 32 * 16)  # of one token: two experts of two layers
    packed = {
        **weights,
        "w1": np.zeros((4, 32, 8), np.uint8),
        "w2": np.zeros((4, 16, 16), np.uint8),
        "s1": (4, 32),
        "s2": (4, 16),
    }
    found = fused("QMoE", "x r w1 s1 b1 w2 s2 b2", k=2, activation_type="gelu", expert_weight_bits=4)
    same = frontends.trace(built([found], inputs, packed, ["y"]))
    assert cgir.isomorphic(same, graph), cgir.diff(graph, same)
    check_sizes(proto, random_arrays(inputs))
