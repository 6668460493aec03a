"""A canonical graph has the parameters and FLOPs of the recorded one, and says where it has not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from raw_graphs import RawGraph

import cgir
from cgir import Graph, Param
from cgir.passes.accounting import account


def linear(raw: RawGraph, source: int, name: str, features: int = 8) -> int:
    weight = Param(name, (features, raw.nodes[source].shape[0]))
    return raw.call("Linear", source, shape=(features,), params=(weight,))


def finished(raw: RawGraph, *outputs: int) -> tuple[Graph, Graph]:
    for index in outputs:
        raw.call("Output", index)
    graph = Graph(tuple(raw.nodes))
    return graph, cgir.canonicalize(graph)


def test_an_output_of_parameters_alone_keeps_them() -> None:
    raw = RawGraph((4,))
    recorded, graph = finished(raw, linear(raw, 0, "w"), raw.call("Exp", raw.param("scale")))
    assert graph.num_params == recorded.num_params == 32 + 8
    assert [node.params for node in graph.detached] == [(Param("scale", (8,)),)]
    assert graph.complete


def test_a_weight_computed_from_parameters_has_its_cost_and_counts_once() -> None:
    raw = RawGraph((4,))
    weight = linear(raw, raw.param("code", (3,)), "hyper", 16)
    product = raw.call("MatMul", 0, weight, shape=(4,), inner=4)
    recorded, graph = finished(raw, product)
    assert graph.num_params == recorded.num_params == 3 + 48
    assert graph.flops == recorded.flops == 2 * 3 * 16 + 2 * 4 * 4
    assert {param.id for param in graph.nodes[1].params} == {"code", "hyper"}
    assert [node.op for node in graph.detached] == ["Linear"]


def test_a_branch_without_output_and_one_multiplied_by_zero_are_detached() -> None:
    raw = RawGraph((4,))
    body = linear(raw, 0, "body")
    linear(raw, body, "auxiliary", 2)
    nothing = raw.call("Mul", linear(raw, body, "none"), scalar=0.0)
    recorded, graph = finished(raw, raw.call("Add", body, nothing))
    assert [node.op for node in graph.nodes] == ["Input", "Linear", "Output"]
    assert graph.num_params == recorded.num_params == 32 + 16 + 64
    assert graph.flops == recorded.flops == 2 * (32 + 16 + 64)
    assert [param.id for node in graph.detached for param in node.params] == ["auxiliary", "none"]


def test_unknown_costs_are_known_to_be_missing_wherever_they_are() -> None:
    raw = RawGraph((4,))
    body = linear(raw, 0, "body")
    raw.call("Opaque", body, name="lib::dead")
    inverse = raw.call("Opaque", raw.param("scale"), name="lib::solve")
    recorded, graph = finished(raw, raw.call("Mul", body, inverse))
    assert not recorded.complete
    assert [gap.reason for gap in graph.gaps] == [
        "operator lib::dead (detached) is opaque, and its cost unknown",
        "operator lib::solve (detached) is opaque, and its cost unknown",
    ]
    assert graph.num_params == recorded.num_params
    assert cgir.canonicalize(recorded, level="inference").complete  # computed beforehand, or left out


def test_a_parameter_shared_with_a_dead_branch_is_not_detached() -> None:
    raw = RawGraph((4,))
    used = linear(raw, 0, "w")
    linear(raw, 0, "w")
    recorded, graph = finished(raw, used)
    assert graph.num_params == recorded.num_params == 32
    assert [node.op for node in graph.detached] == ["Linear"]


def test_canonicalising_again_keeps_detached_nodes_and_inference_drops_them() -> None:
    raw = RawGraph((4,))
    recorded, graph = finished(raw, linear(raw, 0, "w"), raw.param("scale"))
    again = cgir.canonicalize(graph)
    assert (again.detached, again.num_params) == (graph.detached, recorded.num_params)
    assert cgir.canonicalize(recorded, level="inference").num_params == 32


def test_outputs_that_depend_on_no_input_are_said() -> None:
    raw = RawGraph((4,))
    _, graph = finished(raw, raw.call("Exp", raw.param("scale")))
    assert [gap.reason for gap in graph.gaps] == ["no output depends on an input"] * 2
    assert cgir.canonicalize(Graph(tuple(raw.nodes)), level="inference").gaps == graph.gaps
    assert "outputs that depend on no input: 1\n  n3\n" in graph.report()
    raw = RawGraph((4,))
    _, graph = finished(raw, linear(raw, 0, "w"), raw.call("Exp", raw.param("scale")))
    assert graph.complete  # one output does
    raw = RawGraph((4,))
    _, graph = finished(raw, raw.call("Mul", 0, scalar=0.0))
    assert cgir.canonicalize(graph).complete


def test_what_a_pass_loses_is_named() -> None:
    raw = RawGraph((4,))
    recorded, graph = finished(raw, linear(raw, 0, "w"))
    lossy = replace(graph, nodes=tuple(replace(n, op="ReLU", params=()) if n.params else n for n in graph.nodes))
    gaps = account(recorded, lossy).known_gaps
    assert [gap.quantity for gap in gaps] == ["parameters", "FLOPs"]
    assert gaps[0].reason == "the canonical form has 0 parameters instead of the 32 recorded: w (32)"
    assert gaps[1].reason == "the canonical form has 0 FLOPs instead of the 64 recorded"


def test_gaps_and_detached_nodes_are_saved(tmp_path: Path) -> None:
    raw = RawGraph((4,))
    _, graph = finished(raw, linear(raw, 0, "w"), raw.param("scale"))
    graph = replace(graph, known_gaps=(cgir.Gap("FLOPs", "a loop of unknown length"),))
    graph.save(tmp_path / "graph.json")
    loaded = cgir.load(tmp_path / "graph.json")
    assert (loaded.detached, loaded.known_gaps) == (graph.detached, graph.known_gaps)
    assert not loaded.complete
    text = re.sub(',"checksum":"[0-9a-f]{8}"', "", (tmp_path / "graph.json").read_text())
    for before, after, problem in (
        ('["FLOPs",', "[", "known_gaps must be pairs of strings"),
        (
            '"detached":[{"op":"Param"',
            '"detached":[{"op":"Parma"',
            "detached node 'n2' .Parma.: operator 'Parma' is not",
        ),
    ):
        (tmp_path / "graph.json").write_text(text.replace(before, after))
        with pytest.raises(cgir.FileFormatError, match=problem):
            cgir.load(tmp_path / "graph.json")


@given(st.lists(st.tuples(st.sampled_from(("Linear", "Zero", "Add", "Param")), st.integers(0), st.integers(0))))
def test_nothing_is_lost_whatever_is_dead_or_constant(steps: list[tuple[str, int, int]]) -> None:
    raw = RawGraph((8,))
    for number, (op, first, second) in enumerate(steps):
        source, other = first % len(raw.nodes), second % len(raw.nodes)
        if op == "Linear":
            linear(raw, source, f"w{number % 5}")
        elif op == "Zero":
            raw.call("Mul", source, scalar=0.0)
        elif op == "Param":
            raw.param(f"p{number % 3}")
        else:
            raw.call("Add", source, other)
    recorded, graph = finished(raw, len(raw.nodes) - 1, len(raw.nodes) // 2, 0)
    assert (graph.num_params, graph.flops) == (recorded.num_params, recorded.flops)
    assert graph.complete
