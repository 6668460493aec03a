"""ONNX models that are there already: every form, their inputs by name and order, and files that are not trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from cgir import CgirError
from search.onnx_files import read


def model(**initializers: onnx.TensorProto) -> onnx.ModelProto:
    """y = table[ids] + x, for a batch that is left open."""
    table = initializers.get("table", numpy_helper.from_array(np.ones((5, 4), np.float32), "table"))
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch"]),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4]),
    ]
    nodes = [helper.make_node("Gather", ["table", "ids"], ["row"]), helper.make_node("Add", ["row", "x"], ["y"])]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", inputs, [output], [table])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_every_form_of_a_model(tmp_path: Path) -> None:
    proto, path = model(), tmp_path / "net.onnx"
    onnx.save(proto, path)
    data = proto.SerializeToString()
    assert read(path).model == read(str(path)).model == str(path)
    assert read(data).model == read(proto).model == data
    assert onnx.load_from_string(read(onnx_ir.from_proto(proto)).model).graph.node == proto.graph.node


def test_inputs_that_are_not_given_have_the_size_of_the_file() -> None:
    feeds = read(model()).feeds
    assert {name: (array.dtype, array.shape) for name, array in feeds.items()} == {
        "ids": (np.int64, (1,)),
        "x": (np.float32, (1, 4)),
    }
    assert feeds["ids"].tolist() == [1]
    assert read(model(), input_shape=((3,), (3, 4))).feeds["x"].shape == (3, 4)


@pytest.mark.parametrize("form", ["tuple", "dict", "numpy"])
def test_inputs_that_are_given(form: str) -> None:
    values: dict[str, Any] = {"ids": torch.tensor([4, 0]), "x": torch.randn(2, 4, dtype=torch.float64)}
    if form == "numpy":
        values = {name: tensor.numpy() for name, tensor in values.items()}
    feeds = read(model(), tuple(values.values()) if form == "tuple" else values).feeds
    assert feeds["ids"].tolist() == [4, 0]
    assert feeds["x"].dtype == np.float32
    assert feeds["x"] == pytest.approx(np.asarray(values["x"]), rel=1e-6)


def external(location: str) -> onnx.TensorProto:
    table = onnx.TensorProto(name="table", data_type=TensorProto.FLOAT, dims=[5, 4])
    table.data_location = TensorProto.EXTERNAL
    table.external_data.add(key="location", value=location)
    return table


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd"])
def test_a_file_does_not_reach_out_of_its_folder(tmp_path: Path, location: str) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(model(table=external(location)).SerializeToString())
    with pytest.raises(CgirError, match="contents lie outside the model's folder"):
        read(path)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (b"damaged", {}, "no ONNX model, or a damaged one"),
        (model(), {"input_shape": ((3,), (3, 5, 4))}, "input 'x' has 2 axes in the file"),
        (model(), {"inputs": {"z": torch.ones(3)}}, "there is no input 'z'"),
    ],
)
def test_errors_are_one_line(given: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CgirError, match=message) as caught:
        read(given, **options)
    assert "\n" not in str(caught.value)


def test_a_model_too_large_for_a_message_needs_a_file() -> None:
    class Large:  # protobuf's own classes have no subclasses
        graph = None

    with pytest.raises(CgirError, match=r"weights above 2 GB need a file: onnx\.save"):
        read(Large())
