"""Recurrent layers of ONNX: activations, directions and peepholes, against PyTorch where it has them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from onnx import helper
from onnx_samples import exported, model
from torch import nn

import cgir
import frontends

node = helper.make_node
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def layer(op: str, activations: list[str] | None = None, direction: str = "forward", **attrs: Any) -> cgir.Graph:
    directions = 2 if direction == "bidirectional" else 1
    if activations:
        attrs["activations"] = activations
    recurrent = node(op, ["x", "w", "r"], ["y", ""], hidden_size=5, direction=direction, **attrs)
    weights = {"w": (directions, 5 * GATES[op], 6), "r": (directions, 5 * GATES[op], 5)}
    graph = frontends.trace(model([recurrent], {"x": [7, 1, 6]}, ["y"], weights))
    cgir.verify(graph)
    return graph


@pytest.mark.parametrize(
    ("op", "usual", "others"),
    [
        ("LSTM", ["Sigmoid", "Tanh", "Tanh"], [["HardSigmoid", "Tanh", "Tanh"], ["Sigmoid", "Relu", "Relu"]]),
        ("GRU", ["Sigmoid", "Tanh"], [["Tanh", "Tanh"], ["Sigmoid", "Relu"]]),
        ("RNN", ["Tanh"], [["Relu"], ["Sigmoid"]]),
    ],
)
def test_activations_tell_layers_apart(op: str, usual: list[str], others: list[list[str]]) -> None:
    plain = layer(op)
    assert cgir.isomorphic(layer(op, usual), plain)
    assert plain.nodes[1].attr("activations") is None
    for other in others:
        changed = layer(op, other)
        assert changed.nodes[1].attr("activations") == tuple(name.lower() for name in other)
        assert not cgir.isomorphic(changed, plain)
    both = layer(op, usual * 2, "bidirectional")
    assert cgir.isomorphic(both, layer(op, None, "bidirectional"))
    twice = layer(op, others[0] * 2, "bidirectional")
    assert twice.nodes[1].attr("activations") == tuple(name.lower() for name in others[0])
    assert not cgir.isomorphic(twice, layer(op, usual + others[0], "bidirectional"))


def test_settings_of_activations_and_the_direction_tell_layers_apart() -> None:
    graphs = [
        layer("RNN"),
        layer("RNN", direction="reverse"),
        layer("RNN", ["LeakyRelu"], activation_alpha=[0.1]),
        layer("RNN", ["LeakyRelu"], activation_alpha=[0.2]),
    ]
    assert len({graph.hash for graph in graphs}) == 4
    assert graphs[1].nodes[1].attr("reverse") is True


@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
def test_rnn_of_pytorch_and_its_file(nonlinearity: str) -> None:
    module = nn.RNN(6, 5, num_layers=2, nonlinearity=nonlinearity, batch_first=True).eval()
    of_module = frontends.trace(module, input_shape=(1, 7, 6))
    of_file = frontends.trace(exported(module, (torch.zeros(1, 7, 6),), "script"))
    expected = ("relu",) if nonlinearity == "relu" else None
    assert [n.attr("activations") for n in of_module.nodes if n.op == "RNN"] == [expected]
    assert cgir.isomorphic(of_module, of_file), cgir.diff(of_module, of_file)


def test_peepholes_are_parameters() -> None:
    for directions in (1, 2):
        recurrent = node(
            "LSTM",
            ["x", "w", "r", "b", "", "", "", "p"],
            ["y"],
            hidden_size=4,
            direction="forward" if directions == 1 else "bidirectional",
        )
        sizes = {"w": (16, 6), "r": (16, 4), "b": (32,), "p": (12,)}
        weights = {name: (directions, *size) for name, size in sizes.items()}
        graph = frontends.trace(model([recurrent], {"x": [7, 1, 6]}, ["y"], weights))
        assert graph.num_params == directions * (16 * 6 + 16 * 4 + 32 + 12)
        assert graph.flops == 2 * 7 * directions * 16 * (6 + 4)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize(("direction", "found"), [("forward", 2), ("bidirectional", 1), ("reverse", 2), ("forward", 7)])
def test_weights_of_another_number_of_directions_are_an_error(op: str, direction: str, found: int) -> None:
    recurrent = node(op, ["x", "w", "r"], ["y", ""], hidden_size=5, direction=direction)
    weights = {"w": (found, 5 * GATES[op], 6), "r": (found, 5 * GATES[op], 5)}
    with pytest.raises(cgir.TraceError, match=f"{op}.*{found} directions, expected [12]"):
        frontends.trace(model([recurrent], {"x": [7, 1, 6]}, ["y"], weights))
