"""`Node` and `Graph`: the contract that everything else stands on."""

from collections import Counter
from dataclasses import FrozenInstanceError, replace
from importlib.util import find_spec

import numpy as np
import pytest
from cgir_samples import random_graph, ring_graph, small_graph
from hypothesis import given, settings
from hypothesis import strategies as st

import cgir
from cgir.graph import Node, Param, attributes


def test_public_names_are_functions_not_modules():
    for name in ("spectrum", "verify", "diff", "isomorphic", "load", "spectral_distance", "canonicalize"):
        assert callable(getattr(cgir, name)), name
        assert find_spec(f"cgir.{name}") is None, f"import cgir.{name} would hide the function"


def test_nodes_and_graphs_are_immutable_and_hashable():
    graph = small_graph()
    assert hash(graph) == hash(small_graph())
    assert graph == small_graph()
    with pytest.raises(FrozenInstanceError):
        graph.nodes[0].op = "ReLU"
    with pytest.raises(FrozenInstanceError):
        graph.name = "other"


def test_kinds_forget_the_place_only():
    node = Node(
        "Conv", (3,), ((3, 8, 8),), (4, 8, 8), (Param("w", (4, 3, 3, 3)),), attributes({"b": 1, "a": 2}), "n", "m"
    )
    assert node.kind == replace(node, inputs=(9,), name="x", module="y", params=(Param("v", (4, 3, 3, 3)),)).kind
    assert node.kind != replace(node, attrs=()).kind
    assert node.attrs == (("a", 2), ("b", 1))
    assert node.attr("a") == node.kind.attr("a") == 2
    assert node.attr("c") is None
    assert node.kind.attr("c", 5) == node.attr("c", 5) == 5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_consumers_invert_inputs(seed, size):
    graph = random_graph(np.random.default_rng(seed), size)
    forward = Counter((s, t) for t, node in enumerate(graph.nodes) for s in node.inputs)
    backward = Counter((s, t) for s, readers in enumerate(graph.consumers) for t in readers)
    assert forward == backward
    assert graph.num_edges == sum(forward.values())
    assert all(list(readers) == sorted(readers) for readers in graph.consumers)


def test_op_counts_and_notes():
    graph = small_graph()
    assert graph.op_counts() == {
        "Linear": 2,
        "Input": 1,
        "Conv": 1,
        "BatchNorm": 1,
        "Clip": 1,
        "Opaque:fold": 1,
        "Output": 1,
    }
    notes = graph.with_nodes(graph.nodes, {"contract_movement": 1, "fold_padding": 2}).notes
    assert notes == (("contract_movement", 4), ("fold_padding", 2))
    assert graph.with_nodes(graph.nodes[:1], level="raw").level == "raw"
    assert graph.with_nodes(graph.nodes).level == "module"
    assert graph.with_nodes(graph.nodes, {"x": 1}) == graph  # notes are not part of what a graph is


def test_graph_methods_are_the_functions(tmp_path):
    graph = ring_graph(3)
    graph.save(tmp_path / "g.json")
    assert cgir.load(tmp_path / "g.json") == graph
    assert graph.hash == replace(graph, name="x").hash
    assert graph.to_networkx().number_of_nodes() == len(graph)
    assert graph.to_dot().startswith("digraph")
    assert graph.report().startswith("ring (module): 9 nodes")
