"""NAS-Bench-201: strings, the whole space, published parameter counts, cells that lead nowhere."""

from __future__ import annotations

import pytest
import torch
from space_checks import assert_refused, check_traces, rows, trace

from cgir.analysis.isomorphism import isomorphic
from cgir.analysis.weisfeiler_lehman import graph_hashes
from frontends import spaces

BEST_201 = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"

BAD = (
    ("|skip_connect~0|", "1 nodes"),
    ("|skip_connect~0|+|none~0|+|none~0|none~1|none~2|", "node 2"),
    (BEST_201.replace("nor_conv_1x1", "nor_conv_5x5"), "'nor_conv_5x5~2'"),
    (BEST_201.replace("skip_connect~0", "skip_connect~1"), "'skip_connect~1'"),
    (BEST_201[:-1], "node 3"),
)


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_bad_strings_are_named(text: str, complaint: str) -> None:
    assert_refused(spaces.get("nasbench201"), text, complaint)


def test_nasbench201_enumerates_the_table() -> None:
    space = spaces.get("nasbench201")
    published = [row["arch_str"] for row in rows("nasbench201.csv.gz")]
    assert sorted(map(space.format, space.enumerate())) == sorted(published)


def test_published_parameter_counts_of_nasbench201() -> None:
    space = spaces.get("nasbench201")
    assert space.graph(space.parse(BEST_201)).num_params == 1_073_466
    assert space.graph(("nor_conv_3x3",) * 6).num_params == 1_531_546
    assert space.graph(("skip_connect",) * 6).num_params == 73_306


def test_graphs_are_the_traced_networks() -> None:
    check_traces(spaces.get("nasbench201"), 15, seed=1)


def test_a_cell_that_leads_nowhere_is_not_connected() -> None:
    space = spaces.get("nasbench201", channels=4, cells=2)
    for text in (
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|nor_conv_1x1~1|none~2|",
    ):
        spec = space.parse(text)
        graph, module = space.graph(spec), space.module(spec).eval()
        assert [(node.op, node.inputs, node.shape) for node in graph.nodes] == [
            ("Input", (), (3, 32, 32)),
            ("Output", (), (10,)),
        ]
        assert isomorphic(graph, trace(space, spec))
        with torch.no_grad():
            assert torch.equal(module(torch.randn(2, 3, 32, 32)), module(torch.zeros(2, 3, 32, 32)))


def test_nasbench201_has_5425_distinct_graphs() -> None:
    space = spaces.get("nasbench201", cells=1)
    batch = space.graphs(space.enumerate())
    assert len(set(graph_hashes(batch, [None] * len(batch)))) == 5425
