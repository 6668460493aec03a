"""NAS-Bench-Graph: the whole space as published, parameters of all networks, layers as torch_geometric has them."""

from __future__ import annotations

import numpy as np
import pytest
from space_checks import check_traces, rows

import cgir
from cgir.analysis.batch_costs import batch_params
from frontends import spaces
from frontends.spaces.graph_networks.nasbench_graph_spec import DATA_SETS

BAD = (
    ("0 1 1;gat gat gat gat", "expected link and operations"),
    ("0 1 1 2;gat gat gat", "expected link and operations"),
    ("0 1 4 2;gat gat gat gat", "link 2 of"),
    ("0 0 2 2;gat gat gat gat", "expected one of 0 0 0 0, "),
    ("0 1 1 2;gat gat gat conv", "operation 3 of"),
    ("0 1 2 3;gat skip gat gat", "operation 1 of .* is a skip"),
    ("0 1 2 3;skip skip skip skip", "operation 3 of .* is a skip"),
    ("0 0 1 1;skip gat gat gat", "operation 0 of .* is a skip"),
)


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_bad_strings_are_named(text: str, complaint: str) -> None:
    with pytest.raises(cgir.SpecError, match=f"nasbench_graph: .*{complaint}") as caught:
        spaces.get("nasbench_graph").parse(text)
    assert "\n" not in str(caught.value)


def test_operations_that_may_change_places_have_one_order() -> None:
    space = spaces.get("nasbench_graph")
    for text, expected in (
        ("0 0 0 0;fc gat arma gcn", "0 0 0 0;gat gcn arma fc"),
        ("0 0 1 2;gcn gat arma fc", "0 0 1 2;gat gcn fc arma"),
        ("0 0 1 2;gat gat arma cheb", "0 0 1 2;gat gat cheb arma"),
        ("0 0 1 3;gcn gat arma fc", "0 0 1 3;gcn gat arma fc"),
    ):
        assert space.format(space.parse(text)) == expected


def test_more_edges_than_pairs_are_refused() -> None:
    with pytest.raises(cgir.SpecError, match="31 edges between 6 nodes; expected at most 30"):
        spaces.get("nasbench_graph", nodes=6, edges=31)
    spaces.get("nasbench_graph", nodes=6, edges=30)


def test_the_space_is_the_published_table() -> None:
    space = spaces.get("nasbench_graph")
    published = [f"{row['link']};{row['ops']}" for row in rows("more/nasbench_graph.csv.gz")]
    assert [space.format(space.parse(text)) for text in published] == published
    assert {space.format(spec) for spec in space.enumerate()} == set(published)


@pytest.mark.slow
def test_parameters_of_all_networks_are_the_published_ones() -> None:
    """The published counts include a BatchNorm for every skip and a matrix of ARMA, which no output depends on."""
    table = list(rows("more/nasbench_graph.csv.gz"))
    for name, data in DATA_SETS.items():
        space = spaces.get("nasbench_graph", data=name)
        unused = {"arma": data.width**2, "skip": 2 * data.width}
        counts = batch_params(space.graphs(space.parse(f"{row['link']};{row['ops']}") for row in table))
        counts = counts + [sum(unused.get(op, 0) for op in row["ops"].split()) for row in table]
        published = np.asarray([1e6 * float(row[f"{name}_params_M"]) for row in table])
        equal = np.abs(counts - published) < 0.5
        assert equal.sum() == (24_639 if name == "physics" else len(table)), name


def test_parameters_of_modules_are_the_published_ones() -> None:
    table = list(rows("more/nasbench_graph.csv.gz"))
    for name in DATA_SETS:
        space = spaces.get("nasbench_graph", data=name, nodes=4, edges=12)
        for row in table[70::9_000]:
            module = space.module(space.parse(f"{row['link']};{row['ops']}"))
            count = sum(parameter.numel() for parameter in module.parameters())
            assert count == round(1e6 * float(row[f"{name}_params_M"])), (name, row["link"], row["ops"])


@pytest.mark.parametrize("data", DATA_SETS)
def test_graphs_of_all_data_sets_are_the_traced_networks(data: str) -> None:
    check_traces(spaces.get("nasbench_graph", data=data, nodes=30, edges=60), 4, seed=1)
