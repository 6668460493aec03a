"""NASNet's cells: NASNet-A, AmoebaNet-A and ENAS as published, loose ends, every operation."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from space_checks import assert_refused, check_traces, trace

import cgir
from cgir.analysis.isomorphism import isomorphic
from frontends import spaces
from frontends.spaces.darts.genotype import Edge, Genotype
from frontends.spaces.darts.nasnet import OPS

NASNET_A = (
    "Genotype(normal=[('sep_conv_5x5', 1), ('sep_conv_3x3', 0), ('sep_conv_5x5', 0), ('sep_conv_3x3', 0), "
    "('avg_pool_3x3', 1), ('skip_connect', 0), "
    "('avg_pool_3x3', 0), ('avg_pool_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 1)], normal_concat=[2, 3, 4, 5, "
    "6], "
    "reduce=[('sep_conv_5x5', 1), ('sep_conv_7x7', 0), ('max_pool_3x3', 1), ('sep_conv_7x7', 0), ('avg_pool_3x3', 1), "
    "('sep_conv_5x5', 0), "
    "('skip_connect', 3), ('avg_pool_3x3', 2), ('sep_conv_3x3', 2), ('max_pool_3x3', 1)], reduce_concat=[4, 5, 6])"
)
AMOEBANET_A = (
    "Genotype(normal=[('avg_pool_3x3', 0), ('max_pool_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_5x5', 2), "
    "('sep_conv_3x3', 0), ('avg_pool_3x3', 3), "
    "('sep_conv_3x3', 1), ('skip_connect', 1), ('skip_connect', 0), ('avg_pool_3x3', 1)], normal_concat=[4, 5, 6], "
    "reduce=[('avg_pool_3x3', 0), ('sep_conv_3x3', 1), ('max_pool_3x3', 0), ('sep_conv_7x7', 2), ('sep_conv_7x7', 0), "
    "('avg_pool_3x3', 1), "
    "('max_pool_3x3', 0), ('max_pool_3x3', 1), ('conv_7x1_1x7', 0), ('sep_conv_3x3', 5)], reduce_concat=[3, 4, 6])"
)
ENAS = (
    "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 1), ('sep_conv_5x5', 1), ('skip_connect', 0), "
    "('avg_pool_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 0), ('avg_pool_3x3', 1), ('sep_conv_5x5', 1), ('avg_pool_3x3', 0)], normal_concat=[2, 3, 4, 5, "
    "6], "
    "reduce=[('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('avg_pool_3x3', 1), ('sep_conv_3x3', 1), "
    "('avg_pool_3x3', 1), "
    "('avg_pool_3x3', 1), ('sep_conv_5x5', 4), ('sep_conv_3x3', 5), ('sep_conv_5x5', 0)], reduce_concat=[2, 3, 4, 5, "
    "6])"
)


@pytest.mark.parametrize(
    ("text", "concatenates", "parameters"),
    # millions of parameters as listed beside the genotypes in FairDARTS' genotypes.py, and in table 1 of DARTS for
    # AmoebaNet-A in its own setup
    [(NASNET_A, "loose", "3.83"), (ENAS, "all", "4.02"), (AMOEBANET_A, "loose", "3.1")],
    ids=["NASNet-A", "ENAS", "AmoebaNet-A"],
)
def test_published_cells(text: str, concatenates: str, parameters: str) -> None:
    space = spaces.get("nasnet", concatenates=concatenates)
    spec = space.parse(text)
    graph = space.graph(spec)
    assert space.format(spec) == text
    assert f"{graph.num_params / 1e6:.{len(parameters) - 2}f}" == parameters
    assert isomorphic(graph, trace(space, spec))


@pytest.mark.parametrize("concatenates", ["loose", "all"])
def test_graphs_are_the_traced_networks(concatenates: str) -> None:
    check_traces(spaces.get("nasnet", channels=8, layers=6, concatenates=concatenates), 12, seed=1)


@pytest.mark.parametrize("op", OPS)
def test_every_operation_is_the_traced_one_at_both_strides(op: str) -> None:
    space = spaces.get("nasnet", channels=4, layers=3)
    cell = tuple(Edge(op, place % 2) for place in range(10))
    spec = Genotype(cell, cell)
    graph = space.graph(spec)
    assert isomorphic(graph, trace(space, spec))
    cgir.verify(graph)


def test_a_sum_that_only_another_sum_reads_becomes_part_of_it() -> None:
    space = spaces.get("nasnet", channels=4, layers=1)
    pools = (Edge("max_pool_3x3", 0), Edge("max_pool_3x3", 1))
    chain = tuple(edge for state in range(2, 6) for edge in (Edge("skip_connect", state), Edge("max_pool_3x3", 0)))
    graph = space.graph(Genotype(pools + chain, pools + chain))
    assert [len(node.inputs) for node in graph.nodes if node.op == "Add"] == [6]
    assert isomorphic(graph, trace(space, Genotype(pools + chain, pools + chain)))


def test_sampling_is_uniform_over_operations_and_inputs() -> None:
    space, rng = spaces.get("nasnet"), np.random.default_rng(0)
    specs = [space.sample(rng) for _ in range(1500)]
    ops = Counter(edge.op for spec in specs for cell in spec for edge in cell)
    assert sorted(ops) == sorted(OPS)
    assert max(abs(count - 30000 / 13) for count in ops.values()) < 5 * np.sqrt(30000 / 13)
    last = Counter(cell[9].source for spec in specs for cell in spec)
    assert sorted(last) == list(range(6))
    assert max(abs(count - 500) for count in last.values()) < 5 * np.sqrt(500)


def test_cell_graphs_hold_thirteen_nodes_a_cell() -> None:
    space = spaces.get("nasnet")
    cell = space.cell_graph(space.parse(AMOEBANET_A))
    assert len(cell.ops) == 26
    matrix = cell.adjacency()
    # the last operation of the reduction cell reads state 5, its seventh and eighth operation; the output joins states
    # 3, 4 and 6
    assert matrix[:, 24].nonzero()[0].tolist() == [21, 22]
    assert matrix[:, 25].nonzero()[0].tolist() == [17, 18, 19, 20, 23, 24]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            NASNET_A.replace("reduce_concat=[4, 5, 6]", "reduce_concat=[2, 3, 4, 5, 6]"),
            "reduce_concat is [2, 3, 4, 5, 6]; expected [4, 5, 6]",
        ),
        (NASNET_A.replace("('skip_connect', 3)", "('none', 3)"), "the reduce cell, pair 6, has the operation 'none'"),
        (
            NASNET_A.replace("('skip_connect', 3)", "('skip_connect', 5)"),
            "the reduce cell, pair 6, reads state 5; expected 0 to 4",
        ),
        (NASNET_A.replace("normal=[('sep_conv_5x5', 1), ", "normal=["), "the normal cell has 9 pairs; expected 10"),
    ],
)
def test_bad_strings_are_named(text: str, complaint: str) -> None:
    assert_refused(spaces.get("nasnet"), text, complaint)
