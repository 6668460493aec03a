"""Tensors beside the file: small ones are read like those within it, and only from the model's folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from onnx_samples import model, quiet
from torch import Tensor, nn

import cgir
import frontends
from cgir import TraceError

node = helper.make_node


def sample() -> onnx.ModelProto:
    """A strided slice written as a Gather with a table, two products, a mask, and the shape of a reshape."""
    nodes = [
        node("Gather", ["x", "i"], ["g"], axis=1), node("MatMul", ["g", "w"], ["a"]), node("MatMul", ["a", "u"], ["b"]),
        node("Reshape", ["b", "s"], ["c"]), node("Add", ["c", "m"], ["y"]),
    ]  # fmt: skip
    mask = np.where(np.tri(8, dtype=bool), 0, -1e9).astype(np.float32)
    shape, table = np.array([-1, 8, 8]), np.arange(1, 300, 2)
    return model(nodes, {"x": [1, 300, 8]}, ["y"], {"i": table, "w": (8, 150), "u": (150, 64), "m": mask, "s": shape})


def saved(proto: onnx.ModelProto, folder: Path, **external: Any) -> Path:
    path = folder / "net.onnx"
    onnx.save_model(proto, path, save_as_external_data=bool(external), size_threshold=0, **external)
    return path


@pytest.mark.parametrize("one_file", [True, False])
def test_small_tensors_are_read_like_embedded_ones(one_file: bool, tmp_path: Path) -> None:
    inside = frontends.trace(saved(sample(), tmp_path))
    folder = tmp_path / "beside"
    folder.mkdir()
    path = saved(sample(), folder, all_tensors_to_one_file=one_file, convert_attribute=True)
    outside = frontends.trace(path)
    assert len(list(folder.iterdir())) > 1
    assert cgir.isomorphic(inside, outside), cgir.diff(inside, outside)
    assert inside.num_params == outside.num_params == 8 * 150 + 150 * 64
    assert "Gather" not in outside.op_counts()


def test_constant_nodes_and_tensors_in_subgraphs_are_read_too(tmp_path: Path) -> None:
    constant = node("Constant", [], ["s"], value=numpy_helper.from_array(np.array([16, 4]), "s"))
    branch = helper.make_graph(
        [constant, node("Reshape", ["x", "s"], ["r"])], "b", [], [helper.make_empty_tensor_value_info("r")]
    )
    proto = model(
        [node("If", ["c"], ["z"], then_branch=branch, else_branch=branch), node("MatMul", ["z", "w"], ["y"])],
        {"x": [8, 8]}, ["y"], {"c": np.array(True), "w": (4, 5)},
    )  # fmt: skip
    external_data_helper.convert_model_to_external_data(
        proto, location="all.bin", size_threshold=0, convert_attribute=True
    )
    path = tmp_path / "net.onnx"
    onnx.save_model(proto, path)
    assert frontends.trace(path, batch=None).flops == 2 * 16 * 4 * 5


def test_tensors_in_functions_are_read_too(tmp_path: Path) -> None:
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("my", 1)]
    constant = node("Constant", [], ["s"], value=numpy_helper.from_array(np.array([16, 4]), "s"))
    function = helper.make_function("my", "Cut", ["a"], ["b"], [constant, node("Reshape", ["a", "s"], ["b"])], opsets)
    nodes = [node("Cut", ["x"], ["z"], domain="my"), node("MatMul", ["z", "w"], ["y"])]
    proto = model(nodes, {"x": [8, 8]}, ["y"], {"w": (4, 5)})
    proto.functions.append(function)
    proto.opset_import.append(opsets[1])
    path = saved(proto, tmp_path, location="all.bin", convert_attribute=True)
    stored = onnx.load(path, load_external_data=False).functions[0].node[0].attribute[0].t
    assert stored.data_location == TensorProto.EXTERNAL
    assert frontends.trace(path, batch=None).flops == 2 * 16 * 4 * 5


def moved(proto: onnx.ModelProto, name: str, **entries: str) -> bytes:
    """The model with some entries of a tensor's place changed."""
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    kept = {entry.key: entry.value for entry in tensor.external_data} | entries
    del tensor.external_data[:]
    for key, value in kept.items():
        tensor.external_data.add(key=key, value=value)
    return proto.SerializeToString()


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "missing.bin"},
        {"offset": "100000000"},
        {"offset": "-8"},
        {"length": "99999999999999999999"},
        {"length": "7"},
        {"offset": "seven"},
        {"location": "."},
        {"location": "pipe"},
        {"location": "link"},
    ],
)
def test_places_that_do_not_fit_are_not_read(entries: dict[str, str], tmp_path: Path) -> None:
    path = saved(sample(), tmp_path, location="all.bin")
    os.mkfifo(tmp_path / "pipe")
    outside = tmp_path.parent / "outside.bin"
    outside.write_bytes(bytes(100_000))
    (tmp_path / "link").symlink_to(outside)
    proto = onnx.load(path, load_external_data=False)
    path.write_bytes(moved(proto, "i", **entries))
    graph = frontends.trace(path)  # what the table says is unknown, so that it stays a Gather
    assert (graph.op_counts()["Gather"], graph.num_params) == (1, 8 * 150 + 150 * 64)
    path.write_bytes(moved(proto, "s", **entries))
    with pytest.raises(TraceError, match="'s'"):
        frontends.trace(path)


def test_places_outside_the_folder_are_refused(tmp_path: Path) -> None:
    path = saved(sample(), tmp_path, location="all.bin")
    proto = onnx.load(path, load_external_data=False)
    path.write_bytes(moved(proto, "i", location="../all.bin"))
    with pytest.raises(TraceError, match="outside the model's folder"):
        frontends.trace(path)


def test_a_model_that_is_a_link_into_the_folder_of_its_data(tmp_path: Path) -> None:
    """As in the cache of huggingface_hub: the snapshot has links to the model and its data."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots"
    blobs.mkdir()
    snapshot.mkdir()
    path = saved(sample(), blobs, location="net.onnx.data")
    for name in ("net.onnx", "net.onnx.data"):
        (snapshot / name).symlink_to(blobs / name)
    assert cgir.isomorphic(frontends.trace(snapshot / "net.onnx"), frontends.trace(path))


class Strided(nn.Module):
    """A mean over height and width that the exporter undoes with `as_strided`, as in the last block of ConvNeXt."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.head = nn.Conv2d(3, 96, 3), nn.LayerNorm(96), nn.Linear(96, 64)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.body(x).mean((2, 3), keepdim=True)
        return self.head(self.norm(pooled.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).flatten(1))


def test_what_the_default_exporter_writes_is_the_module(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, path = Strided().eval(), tmp_path / "net.onnx"
    with quiet():
        torch.onnx.export(module, (torch.zeros(1, 3, 8, 8),), path, dynamo=True, verbose=False)
    assert path.with_name("net.onnx.data").is_file()
    expected, found = frontends.trace(module, input_shape=(1, 3, 8, 8)), frontends.trace(path)
    assert cgir.isomorphic(expected, found), cgir.diff(expected, found)


def test_types_of_several_widths(tmp_path: Path) -> None:
    for dtype in (TensorProto.INT32, TensorProto.INT64):
        table = helper.make_tensor("i", dtype, [4], [1, 3, 5, 7])
        proto = model([node("Gather", ["x", "i"], ["g"], axis=1), node("Relu", ["g"], ["y"])], {"x": [1, 9]}, ["y"])
        proto.graph.initializer.append(table)
        path = saved(proto, tmp_path, location=f"{dtype}.bin")
        assert "Gather" not in frontends.trace(path).op_counts()
