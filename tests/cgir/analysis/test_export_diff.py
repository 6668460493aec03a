"""What `diff` says of a network and its exported file, where the exporter left out zeros, ones and equal tensors."""

from __future__ import annotations

from dataclasses import replace

import pytest
from raw_graphs import RawGraph

from cgir import Graph, InvalidGraphError, Param, canonicalize, diff, isomorphic
from cgir.builder import GraphBuilder

UNEXPLAINED = "they part at"


def network(widths: tuple[int, ...] = (4, 5, 5), norm: bool = False, bias: tuple[bool, ...] = (True,) * 3) -> Graph:
    """Convolutions, each followed by an activation, at level "module"."""
    b = GraphBuilder("net")
    x = b.input((3, 8, 8))
    for width, has_bias in zip(widths, bias, strict=True):
        x = b.conv(x, width, 3, bias=has_bias)
        x = b.relu(b.batch_norm(x) if norm else x)
    b.output(x)
    return canonicalize(b.build())


def shared(graph: Graph, slots: set[int]) -> Graph:
    """The graph with one bias, under one name, in these nodes."""
    return graph.with_nodes(
        replace(node, params=(node.params[0], Param("zeros", node.params[1].shape))) if index in slots else node
        for index, node in enumerate(graph.nodes)
    )


def test_biases_of_one_side() -> None:
    whole, part = network(), network(bias=(True, False, False))
    assert whole.num_params == 9 * (3 * 4 + 4 * 5 + 5 * 5) + 4 + 5 + 5
    assert diff(whole, part).splitlines() == [
        "parameters: 527 in a, 517 in b (-1.9%)",
        "equal but for biases that only a has, of 2 nodes (node 3 Conv, node 5 Conv); exporters leave out zeros",
    ]
    assert "biases that only b has, of 2 nodes" in diff(part, whole)


def test_biases_that_both_sides_lack_are_no_export() -> None:
    text = diff(network(bias=(True, False, True)), network(bias=(False, True, True)))
    assert UNEXPLAINED in text
    assert "exporters" not in text


def test_more_than_biases_is_no_export() -> None:
    text = diff(network(), network((4, 5, 6), bias=(True, False, False)))
    assert UNEXPLAINED in text
    assert "exporters" not in text


def test_vectors_that_are_stored_once() -> None:
    graph = network()
    text = diff(graph, shared(graph, {3, 5}))
    assert text.splitlines()[1:] == [
        "equal but for vectors that are used again, 0 in a, 1 in b; exporters store equal tensors once"
    ]


def test_sharing_of_matrices_is_a_difference() -> None:
    graph = network((3, 3, 3))
    weight = Param("tied", graph.nodes[3].params[0].shape)
    tied = graph.with_nodes(
        replace(node, params=(weight, *node.params[1:])) if index in (3, 5) else node
        for index, node in enumerate(graph.nodes)
    )
    text = diff(graph, tied)
    assert "parameters used more than once: 0 in a (uses []), 1 in b (uses [2])" in text
    assert "equal but for" not in text


def test_normalisation_that_is_folded() -> None:
    module, file = network(norm=True, bias=(False,) * 3), network()
    assert diff(module, file).splitlines()[-1] == (
        'at level="inference" (--level inference), where BatchNorm is folded, they are isomorphic'
    )
    assert isomorphic(canonicalize(module, level="inference"), canonicalize(file, level="inference"))
    fresh = network(bias=(False, False, False))
    assert diff(module, fresh).splitlines()[-1] == (
        'at level="inference" (--level inference), where BatchNorm is folded, they are equal but for biases that only '
        "a has, of 3 nodes (node 1 Conv, node 3 Conv, node 5 Conv); exporters leave out zeros"
    )
    assert UNEXPLAINED not in diff(module, fresh)


@pytest.mark.parametrize("op", ["Mul", "Add"])
def test_single_numbers(op: str) -> None:
    raw = RawGraph((4, 5))
    whole = raw.canonical(raw.call("ReLU", raw.call(op, 0, raw.param("scale", ()))))
    short = RawGraph((4, 5))
    assert diff(whole, short.canonical(short.call("ReLU", 0))).splitlines()[-1] == (
        f"equal but for single numbers that only a has, of 1 node (node 1 {op}); exporters leave out 0 and 1"
    )


def test_levels_that_differ_are_said() -> None:
    module = network(norm=True)
    assert "level module in a, inference in b" in diff(network((4, 4, 4)), canonicalize(module, level="inference"))


def table(size: tuple[int, ...], read: tuple[int, ...]) -> RawGraph:
    """A sum with elements of a trained table that are picked by an index, or with the table itself."""
    raw = RawGraph((4, 5))
    part = raw.param("table", size) if size == read else raw.call("Gather", raw.param("table", size), shape=read)
    raw.call("Add", 0, part)
    return raw


def test_graphs_whose_shapes_are_lost_are_not_brought_to_inference() -> None:
    raw = table((9, 2), (4, 5))
    direct = raw.canonical(len(raw.nodes) - 1, level="inference")
    assert direct.nodes[1].params[0].shape == (4, 5)
    raw = table((9, 2), (4, 5))
    module = raw.canonical(len(raw.nodes) - 1)
    with pytest.raises(InvalidGraphError, match="from level 'module' to 'inference': 1 of its nodes read tensors comp"):
        canonicalize(module, level="inference")
    assert diff(module, network()).splitlines()[-1].startswith('exported files are compared at level="inference"')
    plain = table((4, 5), (4, 5))
    module = plain.canonical(len(plain.nodes) - 1)
    assert canonicalize(module, level="inference").nodes[1].params[0].shape == (4, 5)
