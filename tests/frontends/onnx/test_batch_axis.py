"""Costs of ONNX files are those of one example; where the batch is, is the same as for the PyTorch module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx_samples import exported, model
from torch import Tensor, nn
from torch_samples import Function

import cgir
import frontends
from cgir import TraceError

node = helper.make_node
CELL = 2 * 4 * 6 * (5 + 6)  # FLOPs of a step of an LSTM of 5 -> 6

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], dict[str, Any], int]] = {
    "batch first": (lambda: nn.LSTM(5, 6, batch_first=True), (3, 7, 5), {}, 7 * CELL),
    "time first, said": (lambda: nn.LSTM(5, 6), (7, 3, 5), {"batch": 1}, 7 * CELL),
    "time first, of one example": (lambda: nn.LSTM(5, 6), (7, 1, 5), {}, 7 * CELL),
    "time first inside": (
        lambda: Function(lambda m, x: m.r(x.permute(1, 0, 2))[0], r=nn.LSTM(5, 6)),
        (3, 7, 5),
        {},
        7 * CELL,
    ),
    "linear": (lambda: nn.Linear(4, 6), (5, 4), {}, 48),
    "linear without a batch": (lambda: nn.Linear(4, 6), (5, 4), {"batch": None}, 5 * 48),
    "linear of a vector": (lambda: nn.Linear(4, 6), (4,), {}, 48),
    "convolution": (lambda: nn.Conv2d(3, 5, 3), (4, 3, 8, 8), {}, 2 * 5 * 36 * 27),
}


@pytest.mark.parametrize("name", CASES)
def test_files_divide_costs_as_their_modules_do(name: str) -> None:
    make, size, more, flops = CASES[name]
    module = make().eval()
    of_module = frontends.trace(module, torch.zeros(size), **more)
    of_file = frontends.trace(exported(module, (torch.zeros(size),), "script"), **more)
    assert cgir.isomorphic(of_module, of_file), cgir.diff(of_module, of_file)
    assert (of_file.flops, of_file.complete) == (flops, True)


def test_images_without_a_batch() -> None:
    module, x = nn.Conv2d(3, 5, 3).eval(), torch.zeros(3, 8, 8)
    for more in ({}, {"batch": None}):
        graph = frontends.trace(exported(module, (x,), "script"), **more)
        assert (graph.flops, graph.complete) == (2 * 5 * 36 * 27, True)


def test_an_axis_that_a_layer_takes_for_the_batch_is_a_gap() -> None:
    file = exported(nn.LSTM(5, 6).eval(), (torch.zeros(7, 3, 5),), "script")
    graph = frontends.trace(file)
    assert graph.flops == 3 * CELL  # as an example that has one time step of each of three sequences
    assert [gap.reason.partition(";")[0] for gap in graph.gaps] == [
        "/LSTM takes axis 1 for the batch, but costs were divided by the 7 examples on axis 0 of input 'input'"
    ]


def test_chunks_of_one_sequence_have_no_batch() -> None:
    """A convolution over chunks, then a recurrent layer over the sequence of what it finds."""

    def forward(m: Any, x: Tensor) -> Tensor:
        found = m.c(x.unsqueeze(1)).mean(2)
        return m.r(found.unsqueeze(1))[0]

    module = Function(forward, c=nn.Conv1d(1, 5, 3), r=nn.LSTM(5, 6)).eval()
    graph = frontends.trace(exported(module, (torch.zeros(9, 32),), "script"))
    assert (graph.flops, graph.complete) == (9 * (2 * 5 * 30 * 3 + CELL), True)


def product(size: list[Any], axis: int) -> Any:
    """A product behind a permutation that brings the axis to the front."""
    order = [axis, *(other for other in range(3) if other != axis)]
    return model(
        [node("Transpose", ["x"], ["t"], perm=order), node("MatMul", ["t", "w"], ["y"])], {"x": size}, ["y"],
        {"w": (4, 6)},
    )  # fmt: skip


def test_an_axis_that_the_file_calls_the_batch() -> None:
    graph = frontends.trace(product([5, "batch", 4], 1), dims={"batch": 3})
    assert graph.flops == 5 * 48
    assert frontends.trace(product([5, "batch", 4], 1), dims={"batch": 3}, batch=None).flops == 3 * 5 * 48
    assert frontends.trace(product([5, 3, 4], 1)).flops == 3 * 48
    assert frontends.trace(product([5, 3, 4], 1), batch={"x": 1}).flops == 5 * 48


def test_batches_that_do_not_fit() -> None:
    with pytest.raises(TraceError, match="batch names input 'z', which there is not; inputs are x"):
        frontends.trace(product([5, 3, 4], 1), batch={"z": 1})
    with pytest.raises(TraceError, match="batch is 3, expected an axis of the inputs"):
        frontends.trace(product([5, 3, 4], 1), batch=3)


def test_a_scan_takes_its_steps_along_time_and_not_along_the_batch() -> None:
    body = helper.make_graph(
        [node("Add", ["s", "e"], ["a"]), node("MatMul", ["a", "w"], ["s2"]), node("Identity", ["s2"], ["o"])],
        "body",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("s", "e")],
        [helper.make_empty_tensor_value_info(name) for name in ("s2", "o")],
    )
    scan = node("Scan", ["h", "x"], ["last", "y"], num_scan_inputs=1, body=body)
    for size, more, flops, complete in (
        ([6, 1, 4], {"batch": 1}, 6 * 32, True),
        ([6, 1, 4], {}, 6 * 32, True),
        ([6, 4], {}, 6 * 32, True),
        ([6, 3, 4], {"batch": 1}, 6 * 32, True),
        ([6, 3, 4], {}, 6 * 3 * 32, False),  # nothing was divided
    ):
        weights = {"w": (4, 4), "h": np.zeros(size[1:], np.float32)}
        graph = frontends.trace(model([scan], {"x": size}, ["y"], weights), **more)
        assert (graph.flops, graph.complete) == (flops, complete)


def test_a_constant_of_the_whole_batch_is_not_cut_to_one_example() -> None:
    """A cell that starts from zeros of two examples: the file's numbers hold for two, so no example is left alone."""

    def forward(m: Any, x: Tensor) -> Tensor:
        state = (x.new_zeros(2, 6), x.new_zeros(2, 6))
        for step in range(3):
            state = m.r(x[:, step], state)
        return state[0]

    module = Function(forward, r=nn.LSTMCell(5, 6)).eval()
    graph = frontends.trace(exported(module, (torch.zeros(2, 3, 5),), "script"))
    assert not graph.complete
    # the product with the zeros is that of both examples
    assert graph.flops == 3 * CELL + 2 * 4 * 6 * 6


def test_a_reshape_to_the_whole_batch_is_not_cut_to_one_example() -> None:
    graph = frontends.trace(
        model(
            [node("MatMul", ["c", "w"], ["d"]), node("Reshape", ["x", "s"], ["r"]), node("Add", ["r", "d"], ["y"])],
            {"x": [2, 8]}, ["y"], {"c": (2, 4), "w": (4, 4), "s": np.array([2, 2, 4])},
        )
    )  # fmt: skip
    assert [n.shape for n in graph.nodes if n.op == "Input"] == [(8,)]


def test_a_reshape_to_another_number_of_elements() -> None:
    file = model([node("Reshape", ["x", "s"], ["y"])], {"x": ["n", 8]}, ["y"], {"s": np.array([2, 2, 4])})
    assert frontends.trace(file, dims={"n": 2}).complete
    with pytest.raises(TraceError, match=r"of size \(1, 8\) cannot be reshaped to \(2, 2, 4\).*'n' open"):
        frontends.trace(file)


@pytest.mark.parametrize("batch", [1, 2])
def test_frames_of_a_signal_keep_the_batch(batch: int) -> None:
    module = Function(lambda m, x: m.f(torch.view_as_real(m.stft(x)).pow(2).sum(-1).transpose(1, 2)), f=nn.Linear(9, 4))
    module.stft = lambda x: torch.stft(x, 16, 4, window=torch.hann_window(16), return_complex=True)
    x = (torch.zeros(batch, 64),)
    of_program = frontends.trace(torch.export.export(module.eval(), x))
    for graph in (frontends.trace(module, x), of_program, frontends.trace(exported(module, x, "dynamo"))):
        assert (graph.num_params, graph.flops, graph.complete) == (40, 17 * 2 * 9 * 4, True)
