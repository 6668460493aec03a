"""ONNX: the same canonical graph as the PyTorch module that was exported, every way to give a model, older opsets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx_samples import NETWORKS, exported, model, network, program, small
from torch import nn

import cgir
import frontends
from cgir import TraceError
from frontends.common.trace_request import TraceRequest
from frontends.onnx.importer import tensor_sizes

# (network, exporter) -> what the exporter does that no pass can see through
PARTED = {
    ("rnn", "dynamo"): "unrolls the loop over time",
    ("rnn", "dynamo raw"): "the same",
    ("rms norm", "script"): "cannot export it",
    **{
        (name, how): "writes it with other operators"
        for name in ("local response norm", "reductions")
        for how in ("dynamo", "dynamo raw", "script")
    },
}
FAST = ("bottleneck", "attention", "lstm two layers", "group norm")
SLOW = [
    (name, how)
    for name in NETWORKS
    for how in ("dynamo", "dynamo raw")
    if (name, how) not in PARTED and (name not in FAST or how != "dynamo")
]
node = helper.make_node


def check_same(name: str, how: str) -> None:
    module, inputs = network(name)
    expected = frontends.trace(module, inputs, level="inference")
    raw = frontends.trace(exported(module, inputs, how), raw=True)
    found = cgir.canonicalize(raw, level="inference")
    cgir.verify(raw)
    cgir.verify(found)
    assert cgir.isomorphic(found, expected), cgir.diff(found, expected)
    assert (found.num_params, found.flops) == (expected.num_params, expected.flops)


@pytest.mark.parametrize("name", [name for name in NETWORKS if (name, "script") not in PARTED])
def test_torchscript_export(name: str) -> None:
    check_same(name, "script")


@pytest.mark.parametrize("name", FAST)
def test_dynamo_export(name: str) -> None:
    check_same(name, "dynamo")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "how"), SLOW)
def test_dynamo_export_of_all(name: str, how: str) -> None:
    check_same(name, how)


# --- ways to give a model


def test_every_way_to_give_a_model(tmp_path: Path) -> None:
    import onnx_ir

    proto = small()
    before = proto.SerializeToString()
    path = tmp_path / "small.onnx"
    path.write_bytes(before)
    graphs = [frontends.trace(given) for given in (proto, before, path, str(path), onnx_ir.from_proto(proto))]
    assert all(cgir.isomorphic(graph, graphs[0]) and graph.num_params == 137 for graph in graphs)
    assert proto.SerializeToString() == before
    assert graphs[2].name == "small"
    assert graphs[0].nodes[1].module == "stem.0"


def test_large_weights_are_left_out_and_small_ones_kept(tmp_path: Path) -> None:
    from frontends.onnx import weight_stripping

    proto = model(
        [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["y"])],
        {"x": [1, 300]},
        ["y"],
        {"w": (300, 400), "b": (400,)},
    )
    for stripped in (weight_stripping.from_proto(proto), weight_stripping.from_bytes(proto.SerializeToString())):
        assert [len(tensor.raw_data) for tensor in stripped.graph.initializer] == [0, 1600]
        assert [list(tensor.dims) for tensor in stripped.graph.initializer] == [[300, 400], [400]]
    graph = frontends.trace(proto)
    assert graph.op_counts() == {"Input": 1, "Linear": 1, "Output": 1}
    assert graph.num_params == 300 * 400 + 400


def test_an_onnx_program_is_taken_as_it_is() -> None:
    assert frontends.trace(program(nn.Linear(3, 4), (torch.zeros(2, 3),))).num_params == 16


def test_module_paths_and_parameter_names_of_both_exporters() -> None:
    module = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Conv2d(4, 2, 1)).eval()
    for how in ("dynamo", "script"):
        graph = frontends.trace(exported(module, (torch.zeros(1, 3, 8, 8),), how))
        assert [n.module for n in graph.nodes] == ["", "0.0", "0.1", "1", ""]
        assert [n.params[0].id for n in graph.nodes if n.params] == ["0.0.weight", "1.weight"]


# --- sizes


def test_open_dimensions() -> None:
    proto = model([node("Conv", ["x", "w"], ["y"])], {"x": ["batch", 3, "height", "width"]}, ["y"], {"w": (4, 3, 3, 3)})
    graph = frontends.trace(proto, dims={"height": 10, "width": 12})
    assert graph.nodes[1].shape == (4, 8, 10)
    assert cgir.isomorphic(frontends.trace(proto, input_shape=(1, 3, 10, 12)), graph)
    assert cgir.isomorphic(frontends.trace(proto, {"x": np.zeros((7, 3, 10, 12))}), graph)
    with pytest.raises(TraceError, match=r"'batch', 'height', 'width' open, which were taken as 1; pass dims="):
        frontends.trace(proto)
    with pytest.raises(
        TraceError, match=r"no input has a dimension named 'heigth'; there are 'batch', 'height', 'width'"
    ):
        frontends.trace(proto, dims={"heigth": 3})
    with pytest.raises(TraceError, match=r"there is no input 'z'; the inputs are 'x'"):
        frontends.trace(proto, {"z": torch.zeros(1)})
    with pytest.raises(TraceError, match=r"input 'x' has 4 axes in the file, found 3"):
        frontends.trace(proto, input_shape=(3, 10, 12))


def test_models_without_shapes() -> None:
    proto = model([node("Relu", ["x"], ["y"])], {"x": None}, ["y"])
    with pytest.raises(TraceError, match=r"input 'x' has no shape in the file; pass input_shape="):
        frontends.trace(proto)
    assert frontends.trace(proto, input_shape=(2, 5)).nodes[1].shape == (5,)


def test_shape_arithmetic_is_followed() -> None:
    """x.reshape(x.shape[0], -1) as exporters write it, halves of it by computed bounds, a resize to twice the size."""
    nodes = [
        node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"]), node("Unsqueeze", ["n", "axis"], ["n1"]),
        node("Concat", ["n1", "rest"], ["target"], axis=0), node("Reshape", ["x", "target"], ["flat"]),
        node("Shape", ["flat"], ["fs"], start=1), node("Div", ["fs", "two"], ["half"]),
        node("Slice", ["flat", "axis", "half", "one"], ["first"]),
        node("Relu", ["first"], ["y"]),
    ]  # fmt: skip
    numbers = {
        "zero": np.array(0),
        "axis": np.array([0]),
        "rest": np.array([-1]),
        "two": np.array([2]),
        "one": np.array([1]),
    }
    proto = model(nodes, {"x": ["batch", 3, 4, 4]}, ["y"], numbers)
    sizes = tensor_sizes(proto, TraceRequest(dims={"batch": 6}))
    assert (sizes["flat"], sizes["y"]) == ((6, 48), (6, 24))
    assert frontends.trace(proto, dims={"batch": 6}).op_counts() == {"Input": 1, "ReLU": 1, "Output": 1}


def test_values_of_example_inputs_tell_sizes() -> None:
    size = helper.make_tensor_value_info("size", TensorProto.INT64, [2])
    proto = model([node("Reshape", ["x", "size"], ["r"]), node("Relu", ["r"], ["y"])], {"x": [2, 6]}, ["y"])
    proto.graph.input.append(size)
    assert tensor_sizes(proto, TraceRequest({"x": np.zeros((2, 6)), "size": np.array([4, -1])}))["y"] == (4, 3)
    with pytest.raises(TraceError, match=r"it depends on the values of 'size'"):
        frontends.trace(proto)


# --- weights


def test_shared_weights_count_once() -> None:
    proto = model(
        [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["b"]), node("MatMul", ["b", "w"], ["y"])],
        {"x": [2, 4]},
        ["y"],
        {"w": (4, 4)},
    )
    graph = frontends.trace(proto)
    assert (graph.op_counts()["Linear"], graph.num_params, graph.flops) == (2, 16, 64)


def test_scalars_and_masks_are_no_parameters() -> None:
    mask = np.where(np.tri(4, dtype=bool), 0, -np.inf).astype(np.float32)
    nodes = [node("Mul", ["x", "c"], ["a"]), node("Add", ["a", "mask"], ["b"]), node("Mul", ["b", "w"], ["y"])]
    graph = frontends.trace(
        model(nodes, {"x": [2, 4, 4]}, ["y"], {"c": np.array([0.1], np.float32), "mask": mask, "w": (4,)})
    )
    assert graph.num_params == 4
    assert graph.nodes[1].attr("scalar") == 0.1


def test_quantised_weights_are_weights() -> None:
    nodes = [node("DequantizeLinear", ["q", "scale"], ["w"]), node("Conv", ["x", "w"], ["y"])]
    weights = {"q": np.ones((4, 3, 3, 3), np.int8), "scale": np.array(0.5, np.float32)}
    graph = frontends.trace(model(nodes, {"x": [1, 3, 8, 8]}, ["y"], weights))
    assert (graph.op_counts(), graph.num_params) == ({"Input": 1, "Conv": 1, "Output": 1}, 108)


def test_microsoft_operators() -> None:
    nodes = [
        node("FusedMatMul", ["x", "w"], ["m"], domain="com.microsoft", transB=1, alpha=0.5),
        node("Gelu", ["m"], ["g"], domain="com.microsoft"),
        node("Unheard", ["g"], ["y"], domain="com.example"),
    ]
    proto = model(nodes, {"x": [2, 4]}, ["y"], {"w": (5, 4)})
    with pytest.raises(
        TraceError,
        match=r"node 2 \(com.example.Unheard -> y\): the size of its result 'y' cannot be known "
        r".* domain 'com.example' are unknown",
    ):
        frontends.trace(proto)
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 7]))
    graph = frontends.trace(proto)
    assert graph.op_counts() == {
        "Input": 1,
        "Linear": 1,
        "Mul": 1,
        "GELU": 1,
        "Opaque:com.example.Unheard": 1,
        "Output": 1,
    }
    with pytest.raises(cgir.UnsupportedOpError, match=r"com.example.Unheard"):
        frontends.trace(proto, strict=True)


# --- older opsets, other exporters


def test_attributes_that_became_inputs() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"], auto_pad="SAME_UPPER", strides=[2, 2]),
        node("Clip", ["c"], ["r"], min=0.0, max=6.0),
        node("Pad", ["r"], ["p"], pads=[0, 0, 1, 1, 0, 0, 1, 1]),
        node("Upsample", ["p", "scales"], ["u"], mode="nearest"),
        node("Slice", ["u"], ["s"], axes=[2], starts=[1], ends=[-1]),
        node("ReduceMean", ["s"], ["m"], axes=[2, 3], keepdims=0),
        node("Unsqueeze", ["m"], ["e"], axes=[2]),
        node("Squeeze", ["e"], ["q"], axes=[2]),
        node("Softmax", ["q"], ["y"]),
    ]
    scales = np.array([1, 1, 2, 2], np.float32)
    graph = frontends.trace(model(nodes, {"x": [1, 3, 9, 9]}, ["y"], {"w": (4, 3, 3, 3), "scales": scales}, opset=9))
    found = [(n.op, n.shape, dict(n.attrs)) for n in graph.nodes[1:-1]]
    assert [op for op, _, _ in found] == ["Conv", "ReLU6", "Pad", "Resize", "GlobalAvgPool", "Softmax"]
    assert found[0][2]["padding"] == ((1, 1), (1, 1))
    assert found[0][1] == (4, 5, 5)
    assert found[3][1:] == ((4, 14, 14), {"mode": "nearest"})
    assert found[5][2] == {"size": 4}


def test_softmax_before_opset_13_is_over_all_later_axes() -> None:
    assert (
        frontends.trace(model([node("Softmax", ["x"], ["y"])], {"x": [2, 3, 4]}, ["y"], opset=12)).nodes[1].attr("size")
        == 12
    )
    assert (
        frontends.trace(model([node("Softmax", ["x"], ["y"])], {"x": [2, 3, 4]}, ["y"], opset=13)).nodes[1].attr("size")
        == 4
    )


def test_transposed_images_are_the_same_network() -> None:
    """TensorFlow's converter turns NHWC round convolutions, and writes norms and activations with small operators."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), node("Conv", ["t", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        node("Sigmoid", ["c"], ["g"]), node("Mul", ["c", "g"], ["s"]),
        node("MaxPool", ["s"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Transpose", ["m"], ["back"], perm=[0, 2, 3, 1]), node("Reshape", ["back", "flat"], ["f"]),
        node("MatMul", ["f", "d"], ["l"]),
            node("Add", ["l", "e"], ["y"]),
    ]  # fmt: skip
    weights = {"w": (4, 3, 3, 3), "b": (4,), "flat": np.array([-1, 64]), "d": (64, 5), "e": (5,)}
    found = frontends.trace(model(nodes, {"x": [1, 8, 8, 3]}, ["y"], weights, opset=11))
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 5))
    expected = frontends.trace(module, input_shape=(1, 3, 8, 8))
    assert cgir.isomorphic(found, expected), cgir.diff(found, expected)


def test_local_functions_are_inlined() -> None:
    function = helper.make_function(
        "local",
        "twice",
        ["a", "w"],
        ["c"],
        [node("MatMul", ["a", "w"], ["b"]), node("Relu", ["b"], ["c"])],
        [helper.make_opsetid("", 20)],
    )
    proto = model(
        [node("twice", ["x", "w"], ["h"], domain="local"), node("twice", ["h", "w"], ["y"], domain="local")],
        {"x": [2, 4]},
        ["y"],
        {"w": (4, 4)},
    )
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("local", 1))
    assert frontends.trace(proto).op_counts() == {"Linear": 2, "ReLU": 2, "Input": 1, "Output": 1}
