import sys
from dataclasses import replace

import numpy as np
import pytest
from cgir_samples import random_graph, resnet50, ring_graph, shuffled
from hard_isomorphism import cfi, cubic, network_of

from benchmarks import large_graphs
from cgir import LimitError, Limits, diff, isomorphic
from cgir.analysis import graph_diff
from cgir.analysis.weisfeiler_lehman import colors
from cgir.builder import GraphBuilder
from cgir.graph import Graph, Node, Param
from cgir.graph_batch import GraphBatch


def changed(graph, index, **fields):
    return graph.with_nodes(replace(node, **fields) if i == index else node for i, node in enumerate(graph.nodes))


def chain(*widths, kernel=3, extra=()):
    b = GraphBuilder("chain")
    x = b.input((3, 8, 8))
    for i, width in enumerate(widths):
        x = b.conv(x, width, kernel)
        if i in extra:
            x = b.relu(x)
    b.output(x)
    graph = b.build()
    return graph.with_nodes(replace(node, module=f"layer{i}") for i, node in enumerate(graph.nodes))


def test_isomorphic_graphs_have_no_difference():
    graph = resnet50()
    assert diff(graph, shuffled(graph, np.random.default_rng(0))) == ""


@pytest.mark.parametrize("seed", range(30))
def test_empty_exactly_if_isomorphic(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 8, 0.5)
    index = int(rng.integers(2, 10))
    other = changed(graph, index, inputs=(int(rng.integers(index)), *graph.nodes[index].inputs[1:]))
    for b in (other, random_graph(rng, 8), ring_graph(3)):
        assert (diff(graph, b) == "") == isomorphic(graph, b)
        assert (diff(b, graph) == "") == isomorphic(graph, b)


def test_attributes_and_shapes_of_corresponding_nodes():
    text = diff(chain(4, 5, 6), chain(4, 7, 6))
    assert text.splitlines()[0] == "parameters: 558 in a, 738 in b (+32.3%)"
    assert "node 2 Conv (layer2): output 5x8x8 in a, 7x8x8 in b; parameters 5x4x3x3 in a, 7x4x3x3 in b" in text
    assert "node 3 Conv (layer3): inputs 5x8x8 in a, 7x8x8 in b; parameters 6x5x3x3 in a, 6x7x3x3 in b" in text
    assert "layer1" not in text
    text = diff(chain(4, kernel=3), chain(4, kernel=5))
    assert "kernel (3, 3) in a, (5, 5) in b; padding ((1, 1), (1, 1)) in a, ((2, 2), (2, 2)) in b" in text


def test_extra_operators_are_placed():
    text = diff(chain(4, 4, 4), chain(4, 4, 4, extra=(1,)))
    assert "nodes: 5 in a, 6 in b (+20.0%)" in text
    assert "ReLU: 0 in a, 1 in b" in text
    assert "only in a: node 3 Conv (layer3) 4x8x8, which reads node 2 Conv (layer2)" in text
    assert "only in b: node 3 ReLU (layer3) 4x8x8, which reads node 2 Conv (layer2)" in text
    assert "node 4" not in text  # what follows a difference is not one of its own


def test_it_says_where_they_part_and_which_module_is_extra():
    a, b = chain(4, 4, 4), chain(4, 4, 4, extra=(1,))
    b = b.with_nodes(replace(node, module=f"body.{i}" if i != 3 else "body.act.relu") for i, node in enumerate(b.nodes))
    a = a.with_nodes(replace(node, module=f"body.{i}") for i, node in enumerate(a.nodes))
    text = diff(a, b)
    assert "they part at: node 3 Conv (body.3) 4x8x8 in a; node 3 ReLU (body.act.relu) 4x8x8 in b" in text
    assert "only in b: ReLU of module body.act" in text
    assert "of module body.4" not in text  # both have it


def test_costs_are_compared():
    assert "FLOPs: 71,424 in a, 94,464 in b (+32.3%)" in diff(chain(4, 5, 6), chain(4, 7, 6))


def test_long_lists_are_cut():
    text = diff(chain(*range(4, 40)), chain(*range(5, 41)))
    assert "... and 27 more of this sort" in text
    assert len(text.splitlines()) < 15


def tied(names):
    nodes = [Node("Input", shape=(4,))]
    nodes += [Node("Linear", (i,), ((4,),), (4,), (Param(name, (4, 4)),)) for i, name in enumerate(names)]
    return Graph((*nodes, Node("Output", (len(names),), ((4,),), (4,))))


def test_sharing():
    assert "parameters used more than once: 1 in a (uses [2]), 0 in b (uses [])" in diff(tied("aab"), tied("abc"))
    assert diff(tied("aabb"), tied("abab")) == "both share 2 parameters, but between different nodes"


def test_wiring_alone():
    assert diff(ring_graph(6), ring_graph(3, 3)) == "every node has a counterpart, but which feeds which differs"


@pytest.mark.parametrize("seed", range(20))
def test_counterparts_are_those_of_weisfeiler_lehman_rounds(seed):
    """Structure upstream against as many forward rounds as graphs are deep, and pairs against a search through all."""
    rng = np.random.default_rng(seed)
    a, b = random_graph(rng, 30), random_graph(rng, 40)
    first, second = graph_diff._structural_colors(a, b)
    batch = GraphBatch.from_graphs([a, b])
    bare = replace(
        batch, kinds=tuple(kind._replace(in_shapes=(), shape=(), param_shapes=(), attrs=()) for kind in batch.kinds)
    )
    rounds = colors(bare, 80, "forward").tolist()
    assert len(set(zip(rounds, first + second, strict=True))) == len(set(rounds)) == len({*first, *second})
    left, expected = list(range(len(b))), []
    for same_kind in (True, False):
        for i, node in enumerate(a.nodes):
            fits = [j for j in left if second[j] == first[i] and (not same_kind or b.nodes[j].kind == node.kind)]
            if fits and i not in dict(expected):
                expected.append((i, fits[0]))
                left.remove(fits[0])
    assert graph_diff._counterparts(a, b, first, second) == sorted(expected)


def test_work_grows_with_the_graph_and_not_with_its_square():
    """Counted in lines that Python runs."""

    def lines(nodes):
        a, b, count = large_graphs.chain(nodes), large_graphs.chain(5), 0

        def tracer(frame, event, argument):
            nonlocal count
            count += event == "line"
            return tracer

        before = sys.gettrace()
        sys.settrace(tracer)
        try:
            assert "nodes:" in diff(a, b)
        finally:
            sys.settrace(before)
        return count

    assert lines(800) < 2.5 * lines(400)


def test_what_is_not_decided_in_time_is_an_error():
    left, right = (network_of(cfi(cubic(60), twisted)) for twisted in (False, True))
    with pytest.raises(LimitError, match="seconds"):
        diff(left, right, Limits(seconds=1e-3))
